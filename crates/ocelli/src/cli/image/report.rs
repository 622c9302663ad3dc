//! The report of a run: curves, confusion matrix, sample predictions.

use anyhow::{Context, Result};
use ocelli_data::resize::Interpolation;
use ocelli_image::classify::{Classifier, ClassifyTask, EvaluationReport, evaluate};
use ocelli_image::model_file;
use ocelli_report::atomic::write_atomic;
use ocelli_report::training::{EpochRow, Sample, TrainingReport};
use ocelli_train::{EpochRecord, RunFolder, SavedProgress};

use super::config::RunConfig;

/// Pictures shown in the report.
const SAMPLES: usize = 18;
/// Side of their thumbnails, in pixels.
const THUMBNAIL: usize = 112;

/// Judges the best model once more and writes `report.html`, `report.json` and `curves.svg`.
pub fn write(
    config: &RunConfig,
    task: &ClassifyTask,
    folder: &RunFolder,
    progress: &SavedProgress,
) -> Result<EvaluationReport> {
    let (network, description) = model_file::load(&folder.best(), &task.device)?;
    let (params, macs) = (network.parameter_count(), network.macs(description.preprocess.input_size));
    let labels = description.labels.clone();
    let classifier =
        Classifier::new(description.name, network, description.labels, description.preprocess, &task.device)?;
    let evaluation =
        evaluate(|pixels, shape| classifier.runner.answers(pixels, shape), &task.val, &labels, |_| {})?;
    // A network that chooses the resolution costs what its choices cost.
    let macs = evaluation.routing.as_ref().map_or(macs, |routing| routing.mean_macs.round() as u64);
    let best = folder.best().display().to_string();
    let report = TrainingReport {
        run_name: folder.path().display().to_string(),
        model: config.model.clone(),
        dataset: config.data.display().to_string(),
        device: format!("cpu, {} threads", rayon::current_num_threads()),
        params: params as u64,
        macs: Some(macs),
        epochs: progress.history.iter().map(row).collect(),
        best_epoch: u32::try_from(progress.best_epoch).ok(),
        final_top1: Some(evaluation.top1),
        final_top5: (labels.len() > 5).then_some(evaluation.top5),
        classes: labels,
        confusion: evaluation.confusion.clone(),
        samples: samples(task, &classifier)?,
        config_toml: config.to_toml()?,
        next_commands: vec![
            format!("ocelli image predict PICTURE.jpg --model {best}"),
            format!("ocelli image eval --data {} --model {best}", config.data.display()),
            format!("ocelli image train --data YOUR_PICTURES --split 0.2 --weights {best}"),
        ],
        notes: notes(&evaluation),
    };
    let files = [
        ("report.html", report.to_html()),
        ("curves.svg", report.curves_svg()),
        ("report.json", serde_json::to_string_pretty(&report)?),
    ];
    for (name, text) in files {
        let path = folder.file(name);
        write_atomic(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
    }
    Ok(evaluation)
}

fn row(record: &EpochRecord) -> EpochRow {
    EpochRow {
        epoch: record.epoch as u32,
        lr: record.lr,
        train_loss: record.train_loss,
        train_acc: record.train_accuracy,
        val_loss: record.metrics.get("loss").copied(),
        val_top1: record.metrics.get("top1").copied(),
        val_top5: record.metrics.get("top5").copied(),
        images_per_s: record.samples_per_second,
        seconds: record.seconds,
        data_wait_share: record.data_wait_share,
    }
}

fn notes(evaluation: &EvaluationReport) -> Vec<String> {
    let mut notes =
        vec!["Accuracies are of the best epoch's model, chosen by the same held-out part.".to_string()];
    if !evaluation.skipped.is_empty() {
        notes.push(format!(
            "{} held-out pictures could not be read and were left out.",
            evaluation.skipped.len()
        ));
    }
    notes
}

/// Held-out pictures with their guesses: up to half of them wrong ones, the rest spread over the classes.
fn samples(task: &ClassifyTask, classifier: &Classifier) -> Result<Vec<Sample>> {
    let dataset = task.val.dataset();
    // An even walk over the part meets every class of any ordering.
    let step = (dataset.len() / (SAMPLES * 8)).max(1);
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for index in (0..dataset.len()).step_by(step) {
        let Ok(picture) = dataset.load(index) else { continue };
        let guesses = classifier.classify(std::slice::from_ref(&picture), 3)?.remove(0).guesses;
        let truth = dataset.label(index);
        let list = if guesses[0].index == truth { &mut right } else { &mut wrong };
        list.push((index, picture, guesses));
    }
    let wrong_shown = wrong.len().min(SAMPLES / 2);
    let right_shown = (SAMPLES - wrong_shown).min(right.len());
    let every = (right.len() / right_shown.max(1)).max(1);
    let chosen =
        wrong.into_iter().take(wrong_shown).chain(right.into_iter().step_by(every).take(right_shown));
    chosen
        .map(|(index, picture, guesses)| {
            let scale = THUMBNAIL as f64 / picture.width().max(picture.height()) as f64;
            let side = |length: usize| ((length as f64 * scale).round() as usize).max(1);
            let small = ocelli_data::resize::resize(
                &picture,
                side(picture.width()),
                side(picture.height()),
                Interpolation::Bilinear,
            )?;
            Ok(Sample {
                png: ocelli_report::png::encode_rgb(
                    small.width() as u32,
                    small.height() as u32,
                    small.data(),
                )?,
                truth: Some(classifier.labels[dataset.label(index)].clone()),
                predictions: guesses.into_iter().map(|guess| (guess.label, guess.probability)).collect(),
            })
        })
        .collect()
}
