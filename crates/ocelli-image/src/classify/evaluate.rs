//! Judging a classifier on labelled pictures.

use std::collections::BTreeMap;

use ocelli_data::Loader;
use ocelli_engine::EngineError;
use serde::{Deserialize, Serialize};

use super::classifier::ClassifierError;
use crate::backbone::drnet::Decision;
use crate::deploy::DeployError;
use crate::runner::Answers;

/// How a classifier did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Pictures judged.
    pub samples: usize,
    /// Share whose best guess is right.
    pub top1: f64,
    /// Share with the right class among the five best guesses (all, where there are fewer classes).
    pub top5: f64,
    /// Mean cross entropy.
    pub loss: f64,
    /// Per class, in label order.
    pub classes: Vec<ClassReport>,
    /// `confusion[truth][guess]` pictures.
    pub confusion: Vec<Vec<u64>>,
    /// Pictures left out because they could not be read, with the reason.
    pub skipped: Vec<(String, String)>,
    /// Which resolutions a network that chooses them chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<Routing>,
}

/// The choices of a network over all pictures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// Pictures per chosen resolution, largest first.
    pub chosen: Vec<Chosen>,
    /// Mean multiply-accumulates per picture, the predictor's included.
    pub mean_macs: f64,
}

/// How often one resolution was chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// Height of the resolution in pixels.
    pub resolution: usize,
    /// Multiply-accumulates of a picture at it, the predictor's included.
    pub macs: u64,
    /// Pictures.
    pub pictures: u64,
}

impl Routing {
    fn of(decisions: &BTreeMap<usize, (Decision, u64)>) -> Option<Self> {
        let chosen: Vec<Chosen> = decisions
            .values()
            .map(|(own, pictures)| Chosen { resolution: own.resolution, macs: own.macs, pictures: *pictures })
            .collect();
        let pictures: u64 = chosen.iter().map(|own| own.pictures).sum();
        let spent: f64 = chosen.iter().map(|own| own.macs as f64 * own.pictures as f64).sum();
        (pictures > 0).then(|| Self { chosen, mean_macs: spent / pictures as f64 })
    }
}

/// How a classifier did on one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Pictures of it.
    pub support: u64,
    /// Share of its pictures that were recognised.
    pub recall: f64,
    /// Share of the pictures called by its name that were of it.
    pub precision: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Evaluates `answers` (see [`Runner::answers`](crate::Runner::answers); logits alone will do) over all batches of
/// `loader`; `seen` is told the number of pictures done.
pub fn evaluate<A: Into<Answers>>(
    answers: impl Fn(Vec<f32>, [usize; 4]) -> Result<A, EngineError>,
    loader: &Loader,
    classes: &[String],
    mut seen: impl FnMut(usize),
) -> Result<EvaluationReport, ClassifierError> {
    let mut report =
        EvaluationReport { confusion: vec![vec![0; classes.len()]; classes.len()], ..Default::default() };
    let (mut top5, mut loss, mut chosen) = (0u64, 0f64, BTreeMap::new());
    for batch in loader.epoch(0, 0)? {
        let batch = batch?;
        report.skipped.extend(batch.skipped.into_iter().map(|bad| (bad.name, bad.error)));
        if batch.labels.is_empty() {
            continue;
        }
        let Answers { logits, decisions } =
            answers(batch.pixels, batch.shape).map_err(DeployError::from)?.into();
        for decision in decisions {
            chosen.entry(decision.index).or_insert((decision, 0)).1 += 1;
        }
        for (row, &truth) in logits.chunks_exact(classes.len()).zip(&batch.labels) {
            let guess = argmax(row);
            // Rank of the truth: how many classes look better.
            let better = row.iter().filter(|&&value| value > row[truth]).count();
            top5 += u64::from(better < 5);
            loss += cross_entropy(row, truth);
            report.confusion[truth][guess] += 1;
        }
        report.samples += batch.labels.len();
        seen(report.samples);
    }
    let total = report.samples.max(1) as f64;
    let right: u64 = (0..classes.len()).map(|class| report.confusion[class][class]).sum();
    report.top1 = right as f64 / total;
    report.top5 = top5 as f64 / total;
    report.loss = loss / total;
    report.routing = Routing::of(&chosen);
    report.classes = per_class(classes, &report.confusion);
    Ok(report)
}

fn per_class(classes: &[String], confusion: &[Vec<u64>]) -> Vec<ClassReport> {
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let right = confusion[class][class];
            let support = confusion[class].iter().sum();
            let called = confusion.iter().map(|row| row[class]).sum();
            let f1 = share(2 * right, support + called);
            ClassReport {
                name: name.clone(),
                support,
                recall: share(right, support),
                precision: share(right, called),
                f1,
            }
        })
        .collect()
}

/// Index of the largest value.
pub(super) fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index)
}

/// Minus the logarithm of the probability that logits `row` give to class `truth`.
fn cross_entropy(row: &[f32], truth: usize) -> f64 {
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|&v| (f64::from(v) - largest).exp()).sum();
    largest + sum.ln() - f64::from(row[truth])
}
