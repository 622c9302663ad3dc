//! The charts of a run.

use super::{EpochRow, TrainingReport};
use crate::chart::{LineChart, Series};

fn series(report: &TrainingReport, name: &str, value: impl Fn(&EpochRow) -> Option<f64>) -> Series {
    let point = |row: &EpochRow| (f64::from(row.epoch), value(row).unwrap_or(f64::NAN));
    Series::new(name, report.epochs.iter().map(point).collect())
}

/// The series that have something to show, so that absent metrics leave no legend entry.
fn present(all: Vec<Series>) -> Vec<Series> {
    all.into_iter().filter(|s| s.points.iter().any(|p| p.1.is_finite())).collect()
}

fn chart(title: &str, y_label: &str, series: Vec<Series>) -> LineChart {
    LineChart {
        title: title.into(),
        x_label: "epoch".into(),
        y_label: y_label.into(),
        series,
        ..LineChart::default()
    }
}

/// Training and validation loss.
pub(super) fn loss(report: &TrainingReport) -> LineChart {
    let all = vec![
        series(report, "training", |row| Some(row.train_loss)),
        series(report, "validation", |row| row.val_loss),
    ];
    chart("Loss", "", present(all))
}

/// Accuracies in percent, with the kept epoch marked.
pub(super) fn accuracy(report: &TrainingReport) -> LineChart {
    let in_percent = |share: Option<f64>| share.map(|share| share * 100.0);
    let mut all = vec![
        series(report, "training", |row| in_percent(row.train_acc)),
        series(report, "validation top-1", |row| in_percent(row.val_top1)),
    ];
    if report.top5_tells() {
        all.push(series(report, "validation top-5", |row| in_percent(row.val_top5)));
    }
    // Validation keeps its colour when there is no training accuracy.
    let drop_first = all[0].points.iter().all(|p| !p.1.is_finite());
    if drop_first {
        all[0].name.clear();
    }
    let marks = report.best_epoch.map(|epoch| (f64::from(epoch), "kept".to_owned()));
    let found = all.iter().any(|s| s.points.iter().any(|p| p.1.is_finite()));
    LineChart {
        x_marks: marks.into_iter().collect(),
        ..chart("Accuracy", "%", if found { all } else { Vec::new() })
    }
}

/// The learning rate.
pub(super) fn learning_rate(report: &TrainingReport) -> LineChart {
    chart("Learning rate", "", vec![series(report, "", |row| Some(row.lr))])
}

/// Training throughput.
pub(super) fn speed(report: &TrainingReport) -> LineChart {
    let mut chart =
        chart("Speed", "images per second", vec![series(report, "", |row| Some(row.images_per_s))]);
    let highest = report.epochs.iter().map(|row| row.images_per_s).filter(|v| v.is_finite());
    // From zero: small changes of speed should look small.
    chart.y_range = highest.reduce(f64::max).filter(|v| *v > 0.0).map(|v| (0.0, v * 1.1));
    chart
}
