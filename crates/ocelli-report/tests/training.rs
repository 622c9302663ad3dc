//! The report of a run.

use ocelli_report::png::encode_rgb;
use ocelli_report::training::{
    EpochRow, Sample, TrainingReport, class_metrics, confused_pairs, wilson_interval,
};

use crate::support::{html_texts, parse_html, parse_svg};

fn row(epoch: u32) -> EpochRow {
    let t = f64::from(epoch);
    EpochRow {
        epoch,
        lr: 1e-3 / t,
        train_loss: 2.0 / t,
        train_acc: Some(1.05 - 0.5 / t),
        val_loss: Some(2.2 / t),
        val_top1: Some(0.9 - 0.5 / t),
        val_top5: Some(0.99),
        images_per_s: 1500.0,
        seconds: 30.0,
        data_wait_share: 0.3,
    }
}

fn report() -> TrainingReport {
    TrainingReport {
        run_name: "run <1>".into(),
        model: "net".into(),
        dataset: "R&D".into(),
        device: "cpu".into(),
        params: 1_234_567,
        macs: Some(58_300_000),
        epochs: (1..=5).map(row).collect(),
        best_epoch: Some(5),
        final_top1: Some(0.8),
        final_top5: Some(0.99),
        classes: ["cat", "<script>alert(1)</script>", "a & b"].map(String::from).to_vec(),
        confusion: vec![vec![8, 2, 0], vec![1, 9, 0], vec![0, 3, 7]],
        samples: vec![
            Sample {
                png: encode_rgb(2, 2, &[7; 12]).unwrap(),
                truth: Some("cat".into()),
                predictions: vec![("cat".into(), 0.75), ("a & b".into(), 0.25)],
            },
            Sample { truth: Some("cat".into()), predictions: vec![("dog".into(), 0.5)], ..Sample::default() },
            Sample::default(),
        ],
        config_toml: "[train]\nname = \"<x>\"\n".into(),
        next_commands: vec!["ocelli predict a && b".into()],
        notes: vec!["a note".into()],
    }
}

#[test]
fn a_page() {
    let html = report().to_html();
    assert!(!html.contains("<script"));
    let document = parse_html(&html);
    let sections = ["Training", "Classes", "Sample predictions", "Use the model", "Configuration"];
    assert_eq!(html_texts(&document, "h2"), sections);
    let tiles = html_texts(&document, "dd");
    for value in ["80.00%", "1.23 M", "1,234,567", "58.3 M", "1,500", "30% waiting for data"] {
        assert!(tiles.iter().any(|t| t == value), "{value} in {tiles:?}");
    }
    assert!(tiles.iter().any(|t| t.starts_with("95% interval")), "{tiles:?}");
    // With three classes, the top five say nothing.
    assert!(!html_texts(&document, "dt").iter().any(|t| t.contains("Top-5")));
    let found = html_texts(&document, "li").join("\n");
    for text in [
        "best in epoch 5",
        "15 points above",
        "“a & b” is the weakest class: 7 of 10 recognised. It was most often taken for \
         “<script>alert(1)</script>” (3 times).",
        "waited for data 30%",
        "a note",
        "✗ wrong",
    ] {
        assert!(found.contains(text), "{text} in {found}");
    }
    assert!(html.contains("1 of the 2 shown are correct."));
}

#[test]
fn the_weakest_class_comes_first() {
    let html = report().to_html();
    let document = parse_html(&html);
    let rows: Vec<String> = document
        .descendants()
        .filter(|n| n.attribute("scope") == Some("row") && n.attribute("class").is_none())
        .filter_map(|n| n.text().map(str::to_owned))
        .collect();
    assert_eq!(rows[..3], ["a & b", "cat", "<script>alert(1)</script>"]);
}

#[test]
fn curves() {
    let svg = report().curves_svg();
    parse_svg(&svg);
    assert!(svg.contains("Loss") && svg.contains("Accuracy") && svg.contains("kept"));
    parse_svg(&TrainingReport::default().curves_svg());
}

#[test]
fn an_empty_report_has_a_page() {
    let html = TrainingReport::default().to_html();
    let document = parse_html(&html);
    assert_eq!(html_texts(&document, "h1"), ["Training report"]);
    assert!(html_texts(&document, "h2").is_empty());
}

#[test]
fn json_round_trip() {
    let report = report();
    let json = serde_json::to_string(&report).unwrap();
    let read: TrainingReport = serde_json::from_str(&json).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.to_html(), report.to_html());
    // Fields that an older writer did not know take their defaults.
    let old: TrainingReport =
        serde_json::from_str("{\"run_name\":\"old\",\"epochs\":[{\"epoch\":1}]}").unwrap();
    parse_html(&old.to_html());
}

#[test]
fn a_diverged_run_has_a_report() {
    let nan = f64::NAN;
    let bad = EpochRow {
        train_loss: nan,
        lr: f64::INFINITY,
        val_loss: Some(nan),
        val_top1: Some(nan),
        images_per_s: nan,
        seconds: nan,
        data_wait_share: nan,
        ..row(6)
    };
    let mut report = report();
    report.epochs.push(bad);
    report.samples[0].predictions[0].1 = f32::NAN;
    parse_svg(&report.curves_svg());
    let json = serde_json::to_string(&report).unwrap();
    let read: TrainingReport = serde_json::from_str(&json).unwrap();
    assert!(read.epochs[5].train_loss.is_nan() && read.samples[0].predictions[0].1.is_nan());
    let html = read.to_html();
    parse_html(&html);
    assert!(html.contains("was not a number in epoch 6"));
    assert!(!html.contains("NaN"));
}

#[test]
fn many_classes_make_a_page_of_bearable_size() {
    let size = 1000;
    let confusion =
        (0..size).map(|i| (0..size).map(|j| ((i * 7 + j * 13) % 50 == 0) as u64).collect()).collect();
    let classes = (0..size).map(|i| format!("a class with a name of some length, number {i}")).collect();
    let report = TrainingReport { classes, confusion, ..report() };
    let html = report.to_html();
    parse_html(&html);
    assert!(html.len() < 1_500_000, "{}", html.len());
}

#[test]
fn metrics_of_a_known_matrix() {
    let metrics = class_metrics(&[vec![8, 2, 0], vec![1, 9, 0], vec![0, 0, 0]]);
    assert_eq!((metrics[0].recall(), metrics[0].precision()), (Some(0.8), Some(8.0 / 9.0)));
    assert!((metrics[0].f1().unwrap() - 16.0 / 19.0).abs() < 1e-12);
    assert_eq!((metrics[2].recall(), metrics[2].precision(), metrics[2].f1()), (None, None, None));
    let pairs = confused_pairs(&[vec![8, 2], vec![1, 9]], 5);
    assert_eq!((pairs.len(), pairs[0].truth, pairs[0].predicted, pairs[0].count), (2, 0, 1, 2));
    assert!((pairs[0].share - 0.2).abs() < 1e-12);
    // A matrix with more columns than rows: classes without images.
    assert_eq!(class_metrics(&[vec![1, 2, 3]]).len(), 3);
}

#[test]
fn wilson() {
    // Reference values from the closed form, worked out separately.
    let (low, high) = wilson_interval(90, 100).unwrap();
    assert!((low - 0.8256).abs() < 1e-4 && (high - 0.9448).abs() < 1e-4, "{low} {high}");
    let (low, high) = wilson_interval(10, 10).unwrap();
    assert!((low - 0.7225).abs() < 1e-4 && (high - 1.0).abs() < 1e-12, "{low} {high}");
    assert_eq!(wilson_interval(0, 0), None);
}
