//! The page of a run.

use super::curves;
use super::findings::findings;
use super::metrics::{ClassMetrics, class_metrics, confused_pairs, totals, wilson_interval};
use super::{EpochRow, TrainingReport};
use crate::chart::{Heatmap, count, duration, percent, short};
use crate::html::{Card, Page, Picture};

/// With more classes than this, the table of classes begins with the weakest and folds the rest away.
const CLASSES_SHOWN: usize = 20;
const PAIRS_SHOWN: usize = 10;
const CLASS_HEADERS: [&str; 5] = ["Class, weakest first", "Recall", "Precision", "F1", "Images"];

pub(super) fn page(report: &TrainingReport) -> Page {
    let title = if report.run_name.is_empty() { "Training report" } else { &report.run_name };
    let mut page = Page::new(title).subtitle(subtitle(report)).stat_tiles(&tiles(report));
    page = page.list(&[findings(report), report.notes.clone()].concat());
    for part in [training, classes, samples, usage, config] {
        page = part(report, page);
    }
    page
}

fn subtitle(report: &TrainingReport) -> String {
    let mut parts = Vec::new();
    if !report.model.is_empty() {
        parts.push(report.model.clone());
    }
    for (word, value) in [("on", &report.dataset), ("trained with", &report.device)] {
        if !value.is_empty() {
            parts.push(format!("{word} {value}"));
        }
    }
    parts.join(" ")
}

fn tiles(report: &TrainingReport) -> Vec<(String, String, String)> {
    let mut tiles = Vec::new();
    let mut add = |label: &str, value: String, hint: String| tiles.push((label.to_owned(), value, hint));
    if let Some(top1) = report.top1() {
        add("Top-1 accuracy", percent(top1, 2), accuracy_hint(report, top1));
    }
    if let Some(top5) = report.final_top5.filter(|_| report.top5_tells()) {
        add("Top-5 accuracy", percent(top5, 2), String::new());
    }
    if report.params > 0 {
        add("Parameters", short(report.params as f64), count(report.params));
    }
    if let Some(macs) = report.macs {
        add("MACs per image", short(macs as f64), String::new());
    }
    let seconds: f64 = report.epochs.iter().map(|row| row.seconds).filter(|s| s.is_finite()).sum();
    if seconds > 0.0 {
        let epochs = report.epochs.len();
        let each = duration(seconds / epochs as f64);
        let hint = if epochs == 1 { "1 epoch".into() } else { format!("{epochs} epochs of {each}") };
        add("Training time", duration(seconds), hint);
    }
    if let Some(speed) = median(report.epochs.iter().map(|row| row.images_per_s)).filter(|s| *s > 0.0) {
        let hint = report.data_wait().map(|share| format!("{} waiting for data", percent(share, 0)));
        add("Images per second", count(speed.round() as u64), hint.unwrap_or_default());
    }
    tiles
}

/// How sure the accuracy is, if the confusion matrix is of the same evaluation.
fn accuracy_hint(report: &TrainingReport, top1: f64) -> String {
    let (hits, total) = totals(&report.confusion);
    match wilson_interval(hits, total) {
        Some((low, high)) if (hits as f64 / total as f64 - top1).abs() < 1e-3 => {
            format!("95% interval {:.1}–\u{2060}{:.1}%, {} images", low * 100.0, high * 100.0, count(total))
        }
        _ => String::new(),
    }
}

/// The median of the finite values.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

impl TrainingReport {
    /// The mean share of time spent waiting for data.
    pub(super) fn data_wait(&self) -> Option<f64> {
        let shares = || self.epochs.iter().map(|row| row.data_wait_share).filter(|s| s.is_finite());
        let number = shares().count();
        (number > 0).then(|| shares().sum::<f64>() / number as f64)
    }

    /// With five classes or fewer, the true one is always among the first five.
    pub(super) fn top5_tells(&self) -> bool {
        let classes = self.classes.len().max(self.confusion.len());
        classes == 0 || classes > 5
    }
}

fn training(report: &TrainingReport, page: Page) -> Page {
    if report.epochs.is_empty() {
        return page;
    }
    let (loss, accuracy) = (curves::loss(report), curves::accuracy(report));
    let (rate, speed) = (curves::learning_rate(report), curves::speed(report));
    page.section("Training").charts(&[&loss, &accuracy, &rate, &speed]).details(
        "Numbers of every epoch",
        |page| {
            let headers = [
                "Epoch",
                "Learning rate",
                "Train loss",
                "Train acc.",
                "Val. loss",
                "Val. top-1",
                "Val. top-5",
                "Images/s",
                "Time",
                "Data wait",
            ];
            let rows: Vec<Vec<String>> = report.epochs.iter().map(epoch_cells).collect();
            page.table(&headers, &rows)
        },
    )
}

fn epoch_cells(row: &EpochRow) -> Vec<String> {
    let number = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "–".into() };
    let share = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| percent(value, 2));
    vec![
        row.epoch.to_string(),
        short(row.lr),
        number(row.train_loss),
        share(row.train_acc),
        row.val_loss.map_or_else(|| "–".into(), number),
        share(row.val_top1),
        share(row.val_top5),
        short(row.images_per_s),
        duration(row.seconds),
        percent(row.data_wait_share, 0),
    ]
}

fn classes(report: &TrainingReport, page: Page) -> Page {
    if totals(&report.confusion).1 == 0 {
        return page;
    }
    let heatmap = Heatmap {
        title: "Confusion matrix".into(),
        labels: report.classes.clone(),
        cells: report.confusion.clone(),
    };
    let mut metrics = class_metrics(&report.confusion);
    // Classes without images go last.
    let key = |m: &ClassMetrics| m.recall().unwrap_or(2.0);
    metrics.sort_by(|a, b| key(a).total_cmp(&key(b)));

    let rows: Vec<Vec<String>> = metrics.iter().map(|m| class_cells(report, m)).collect();
    let page = page.section("Classes");
    let page = if rows.len() <= CLASSES_SHOWN {
        page.columns(|left| left.charts(&[&heatmap]), |right| right.table(&CLASS_HEADERS, &rows))
    } else {
        page.svg(heatmap.to_svg())
            .text(format!("The {CLASSES_SHOWN} weakest of {} classes.", rows.len()))
            .table(&CLASS_HEADERS, &rows[..CLASSES_SHOWN])
            .details("All classes", |page| page.table(&CLASS_HEADERS, &rows))
    };
    let pairs = confused_pairs(&report.confusion, PAIRS_SHOWN);
    if pairs.is_empty() {
        return page.text("No image was taken for another class.");
    }
    let rows: Vec<Vec<String>> = pairs
        .iter()
        .map(|pair| {
            let (truth, predicted) = (report.class(pair.truth), report.class(pair.predicted));
            vec![truth, predicted, count(pair.count), percent(pair.share, 1)]
        })
        .collect();
    page.text("The most frequent confusions.")
        .table(&["True class", "Taken for", "Times", "Of the class"], &rows)
}

fn class_cells(report: &TrainingReport, metrics: &ClassMetrics) -> Vec<String> {
    let share = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| percent(value, 1));
    let numbers = [metrics.recall(), metrics.precision(), metrics.f1()].map(share);
    let mut cells = vec![report.class(metrics.class)];
    cells.extend(numbers);
    cells.push(count(metrics.support));
    cells
}

fn samples(report: &TrainingReport, page: Page) -> Page {
    if report.samples.is_empty() {
        return page;
    }
    let known = report.samples.iter().filter_map(super::Sample::correct);
    let (right, all) = known.fold((0, 0), |(right, all), ok| (right + usize::from(ok), all + 1));
    let page = page.section("Sample predictions");
    let page = if all > 0 { page.text(format!("{right} of the {all} shown are correct.")) } else { page };
    let cards: Vec<Card> = report
        .samples
        .iter()
        .map(|sample| {
            let mut lines: Vec<String> = sample
                .predictions
                .iter()
                .take(3)
                .map(|(name, p)| format!("{name} {}", percent(f64::from(*p), 1)))
                .collect();
            let correct = sample.correct();
            if let (Some(truth), Some(false) | None) = (&sample.truth, correct) {
                lines.insert(lines.len().min(1), format!("truth: {truth}"));
            }
            Card { image: Picture::png(sample.png.clone()), caption_lines: lines, good: correct }
        })
        .collect();
    page.gallery(&cards)
}

fn usage(report: &TrainingReport, page: Page) -> Page {
    if report.next_commands.is_empty() {
        return page;
    }
    let page = page.section("Use the model");
    report.next_commands.iter().fold(page, |page, command| page.code("sh", command))
}

fn config(report: &TrainingReport, page: Page) -> Page {
    if report.config_toml.trim().is_empty() {
        return page;
    }
    page.section("Configuration").code("toml", &report.config_toml)
}
