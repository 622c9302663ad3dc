//! Bar charts.

use ocelli_report::chart::{Bar, BarChart};

use crate::support::{parse_svg, texts};

fn draw(bars: Vec<Bar>, x_range: Option<(f64, f64)>) -> String {
    BarChart { title: "arms".into(), x_label: "top-1".into(), bars, x_range, ..BarChart::default() }.to_svg()
}

fn bars(svg: &str) -> usize {
    let document = parse_svg(svg);
    document.descendants().filter(|n| n.tag_name().name() == "rect" && n.attribute("rx").is_some()).count()
}

#[test]
fn seeds_give_mean_and_deviation() {
    let bar = Bar::of_seeds("arm", &[90.0, 92.0, f64::NAN, 91.0]);
    assert_eq!((bar.value, bar.error), (91.0, Some((90.0, 92.0))));
    assert_eq!(bar.text.as_deref(), Some("91.0 ± 1.0"));
    assert_eq!(bar.points.len(), 3);
    assert!(Bar::of_seeds("none", &[]).value.is_nan());
    assert_eq!(Bar::of_seeds("one", &[5.0]).error, None);
}

#[test]
fn ordinary_bars() {
    let svg = draw(vec![Bar::of_seeds("a & <b>", &[1.0, 2.0, 3.0]), Bar::new("b", 4.0)], None);
    assert_eq!(bars(&svg), 2);
    let document = parse_svg(&svg);
    let texts = texts(&document, "text");
    assert!(texts.iter().any(|t| t == "a & <b>") && texts.iter().any(|t| t == "2.0 ± 1.0"), "{texts:?}");
}

#[test]
fn without_zero_there_are_dots() {
    assert_eq!(bars(&draw(vec![Bar::new("a", 91.0), Bar::new("b", 92.0)], Some((90.0, 93.0)))), 0);
}

#[test]
fn odd_bars() {
    for value in [0.0, -3.0, f64::NAN, f64::INFINITY, 1e300] {
        let error = Some((f64::NAN, 1.0));
        let bar = Bar { error, points: vec![value, 0.5], ..Bar::new("a", value) };
        for range in [None, Some((0.0, 0.0)), Some((2.0, -2.0)), Some((f64::NAN, 1.0))] {
            parse_svg(&draw(vec![bar.clone()], range));
        }
    }
    let svg = draw(Vec::new(), None);
    assert!(texts(&parse_svg(&svg), "text").iter().any(|t| t == "no data"));
    let long = "a label far too long for its place ".repeat(20);
    parse_svg(&draw(vec![Bar::new(long, 1.0)], None));
}
