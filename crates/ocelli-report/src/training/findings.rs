//! What stands out in a run, in sentences.

use super::TrainingReport;
use super::metrics::{class_metrics, confused_pairs};
use crate::chart::percent;

/// Observations with the numbers behind them, most general first. Advice is kept to what those bear out.
pub(super) fn findings(report: &TrainingReport) -> Vec<String> {
    [diverged(report), outcome(report), gap(report), weakest(report), waiting(report)]
        .into_iter()
        .flatten()
        .collect()
}

fn diverged(report: &TrainingReport) -> Option<String> {
    let row = report.epochs.iter().find(|row| !row.train_loss.is_finite())?;
    Some(format!(
        "The training loss was not a number in epoch {}: the run diverged there. A lower learning rate, a \
         longer warm-up or gradient clipping may keep it stable.",
        row.epoch
    ))
}

fn outcome(report: &TrainingReport) -> Option<String> {
    let (best, last) = (report.best_epoch?, report.epochs.last()?);
    let row = report.epochs.iter().find(|row| row.epoch == best)?;
    let top1 = percent(row.val_top1?, 2);
    let start = format!("Validation accuracy was best in epoch {best}, at {top1}.");
    if best == last.epoch && report.epochs.len() >= 3 {
        return Some(format!("{start} That is the last epoch: a longer run may gain more."));
    }
    Some(start)
}

fn gap(report: &TrainingReport) -> Option<String> {
    let last = report.epochs.last()?;
    let gap = last.train_acc? - last.val_top1?;
    (gap > 0.1).then(|| {
        format!(
            "In the last epoch, training accuracy ({}) is {:.0} points above validation accuracy ({}): the \
             model fits its training images better than new ones. More data or stronger augmentation may \
             narrow this.",
            percent(last.train_acc.unwrap_or_default(), 1),
            gap * 100.0,
            percent(last.val_top1.unwrap_or_default(), 1)
        )
    })
}

fn weakest(report: &TrainingReport) -> Option<String> {
    let metrics = class_metrics(&report.confusion);
    let seen = metrics.iter().filter(|m| m.support > 0);
    let weakest = seen.min_by(|a, b| a.recall().unwrap_or(1.0).total_cmp(&b.recall().unwrap_or(1.0)))?;
    if weakest.hits == weakest.support {
        return None;
    }
    let row = report.confusion.get(weakest.class)?.clone();
    let mut alone = vec![Vec::new(); weakest.class];
    alone.push(row);
    let taken = confused_pairs(&alone, 1).first().map(|pair| {
        format!(" It was most often taken for “{}” ({} times).", report.class(pair.predicted), pair.count)
    });
    Some(format!(
        "“{}” is the weakest class: {} of {} recognised.{}",
        report.class(weakest.class),
        weakest.hits,
        weakest.support,
        taken.unwrap_or_default()
    ))
}

fn waiting(report: &TrainingReport) -> Option<String> {
    let share = report.data_wait()?;
    (share > 0.2).then(|| {
        format!(
            "Training waited for data {} of the time: more loader threads, or images stored at the size \
             they are used, may speed it up.",
            percent(share, 0)
        )
    })
}
