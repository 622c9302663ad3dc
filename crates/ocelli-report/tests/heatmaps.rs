//! Confusion matrices.

use ocelli_report::chart::Heatmap;

use crate::support::{Random, parse_svg, texts};

fn random_map(size: usize) -> Heatmap {
    let mut random = Random(size as u64);
    let cells = (0..size).map(|_| (0..size).map(|_| (random.unit() * 60.0) as u64).collect()).collect();
    Heatmap { labels: (0..size).map(|i| format!("class number {i}")).collect(), cells, ..Heatmap::default() }
}

#[test]
fn small_matrices_have_counts() {
    let map = Heatmap {
        title: "t".into(),
        labels: vec!["cat".into(), "<script>".into()],
        cells: vec![vec![41, 2], vec![0, 57]],
    };
    let svg = map.to_svg();
    assert!(!svg.contains("<script"));
    let document = parse_svg(&svg);
    let all = texts(&document, "text");
    for text in ["41", "2", "0", "57", "cat", "<script>", "true class", "predicted class"] {
        assert!(all.iter().any(|t| t == text), "{text} in {all:?}");
    }
    let tips = texts(&document, "title");
    assert!(tips.iter().any(|t| t == "true cat, predicted <script>: 2 (4.7%)"), "{tips:?}");
}

#[test]
fn colour_is_the_share_of_the_row() {
    let map = Heatmap { cells: vec![vec![1, 0], vec![0, 1_000_000]], ..Heatmap::default() };
    let svg = map.to_svg();
    let document = parse_svg(&svg);
    let full = document.descendants().filter(|n| n.tag_name().name() == "g").filter(|g| {
        g.descendants().any(|n| n.tag_name().name() == "rect" && n.attribute("fill-opacity") == Some("1"))
    });
    assert_eq!(full.count(), 2);
}

#[test]
fn every_size_is_bounded() {
    for (size, limit) in [(25, 300_000), (26, 60_000), (100, 600_000), (101, 600_000), (1000, 600_000)] {
        let svg = random_map(size).to_svg();
        parse_svg(&svg);
        assert!(svg.len() < limit, "{size} classes: {} bytes", svg.len());
    }
    let svg = random_map(1000).to_svg();
    assert!(svg.contains("Each cell sums 10 × 10 neighbouring classes."));
}

#[test]
fn incomplete_matrices() {
    parse_svg(&Heatmap::default().to_svg());
    let names = |n: usize| (0..n).map(|i| i.to_string()).collect();
    for (labels, cells) in [
        (names(3), vec![]),
        (names(0), vec![vec![1, 2], vec![3]]),
        (names(1), vec![vec![], vec![1, 2, 3]]),
        (names(2), vec![vec![u64::MAX, u64::MAX], vec![1, 1]]),
    ] {
        parse_svg(&Heatmap { labels, cells, ..Heatmap::default() }.to_svg());
    }
}
