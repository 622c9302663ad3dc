//! The training loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use ocelli_nn::penal;
use ocelli_nn::random::seed_thread;
use ocelli_nn::state_dict::name_param_ids;
use ocelli_report::tensorboard::EventWriter;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Progress, Running};
use crate::config::{OptimizerKind, TrainConfig};
use crate::gradients::by_rate;
use crate::progress::duration;
use crate::{
    AdamW, Average, Console, Evaluation, ProgressStyle, RunFolder, Schedule, Sgd, Task, TrainError, clip_norm,
};

/// What one epoch came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Optimiser steps taken since the start.
    pub step: usize,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Share of training samples got right, where that can be said.
    pub train_accuracy: Option<f64>,
    /// Metrics of the evaluation, empty where none was made.
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// Score of the evaluation.
    pub score: Option<f64>,
    /// Training samples per second.
    pub samples_per_second: f64,
    /// Seconds of training, without the evaluation.
    pub seconds: f64,
    /// Share of those seconds that the network waited for data.
    pub data_wait_share: f64,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// All epochs done.
    Finished(Progress),
    /// Stopped on request; the checkpoint holds everything.
    Interrupted(Progress),
}

/// Trains any [`Task`].
#[derive(Debug)]
pub struct Trainer {
    config: TrainConfig,
    style: ProgressStyle,
    stop: Arc<AtomicBool>,
}

impl Trainer {
    /// A trainer with these settings; setting `stop` ends the run after the current step.
    pub fn new(config: TrainConfig, style: ProgressStyle, stop: Arc<AtomicBool>) -> Result<Self, TrainError> {
        config.check()?;
        Ok(Self { config, style, stop })
    }

    /// Trains `model`, whose parameters lie on an autodiff device, and leaves the run in `folder`.
    ///
    /// Goes on from the folder's checkpoint where there is one. `fingerprint` names the settings that decide
    /// the result; a checkpoint with another one is refused.
    pub fn run<T: Task>(
        &self,
        task: &T,
        model: T::Model,
        folder: &RunFolder,
        fingerprint: &str,
    ) -> Result<Outcome, TrainError> {
        let batches = task.batches_per_epoch();
        if batches == 0 {
            return Err(TrainError::Config("the training part holds no full batch".into()));
        }
        let steps_per_epoch = batches.div_ceil(self.config.accumulate);
        let mut run =
            Run::start(self, task, model, folder, fingerprint, self.config.schedule(steps_per_epoch))?;
        while run.progress.epoch < self.config.epochs {
            if run.epoch()? == Flow::Stop {
                run.save()?;
                run.console.finish();
                return Ok(Outcome::Interrupted(run.progress));
            }
        }
        run.console.finish();
        Ok(Outcome::Finished(run.progress))
    }
}

#[derive(PartialEq)]
enum Flow {
    Go,
    Stop,
}

/// Everything that changes while a run goes on.
struct Run<'a, T: Task> {
    trainer: &'a Trainer,
    task: &'a T,
    folder: &'a RunFolder,
    schedule: Schedule,
    model: Option<T::Model>,
    optimizer: ModuleOptimizer,
    average: Option<Average<T::Model>>,
    progress: Progress,
    console: Console,
    events: EventWriter,
    saved: Instant,
}

impl<'a, T: Task> Run<'a, T> {
    fn start(
        trainer: &'a Trainer,
        task: &'a T,
        model: T::Model,
        folder: &'a RunFolder,
        fingerprint: &str,
        schedule: Schedule,
    ) -> Result<Self, TrainError> {
        let config = &trainer.config;
        let mut model = name_param_ids(model);
        let mut optimizer: ModuleOptimizer = match config.optimizer.kind {
            OptimizerKind::Sgd => Sgd::new(config.optimizer.clone()).into(),
            OptimizerKind::AdamW => AdamW::new(config.optimizer.clone()).into(),
        };
        let mut average = config.ema_decay.map(|decay| Average::new(&model, decay));
        let mut progress = Progress { fingerprint: fingerprint.to_string(), ..Default::default() };
        let path = folder.checkpoint();
        if path.exists() {
            let mut checkpoint = Checkpoint::read(&path)?;
            let broken = |problem: String| TrainError::Checkpoint { path: path.clone(), problem };
            if checkpoint.progress.fingerprint != fingerprint {
                return Err(broken(format!(
                    "belongs to a run with other settings\n  then: {}\n  now:  {fingerprint}",
                    checkpoint.progress.fingerprint
                )));
            }
            if !checkpoint.optimizer.is_empty() {
                let bytes = checkpoint.optimizer_bytes();
                optimizer = optimizer.from_bytes(bytes).map_err(|error| broken(error.to_string()))?;
            }
            model = Checkpoint::restore(&path, model, checkpoint.model)?;
            if let (Some(average), Some(tensors)) = (&mut average, checkpoint.average) {
                average.set_model(Checkpoint::restore(&path, model.valid(), tensors)?);
            }
            progress = checkpoint.progress;
        }
        let total = config.epochs * task.batches_per_epoch();
        let done = progress.epoch * task.batches_per_epoch() + progress.batch;
        let events = match progress.step {
            0 => EventWriter::create(folder.path()),
            step => EventWriter::resume(folder.path(), step as i64),
        };
        let events = events.map_err(TrainError::io(folder.path()))?;
        Ok(Self {
            trainer,
            task,
            folder,
            schedule,
            model: Some(model),
            optimizer,
            average,
            progress,
            console: Console::new(trainer.style, total, done),
            events,
            saved: Instant::now(),
        })
    }

    fn model(&self) -> &T::Model {
        self.model.as_ref().expect("the model is only out during the optimiser's step")
    }

    /// One epoch, from where the run stands.
    fn epoch(&mut self) -> Result<Flow, TrainError> {
        let config = &self.trainer.config;
        let batches_per_epoch = self.task.batches_per_epoch();
        let epoch = self.progress.epoch;
        let mut batches = self.task.batches(epoch, self.progress.batch)?;
        let mut accumulator = GradientsAccumulator::new();
        let mut lr = self.schedule.at(self.progress.step.saturating_sub(1));
        loop {
            let begun = Instant::now();
            let Some(batch) = batches.next() else { break };
            let batch = batch?;
            let waited = begun.elapsed().as_secs_f64();
            let index = epoch * batches_per_epoch + self.progress.batch;
            seed_thread(config.seed, index as u64);

            let tau = config.penal.tau_for(self.task.batch_size(&batch));
            let step = penal::with_tau(tau, || self.task.step(self.model(), batch));
            let loss = f64::from(step.loss.clone().into_scalar::<f32>());
            if !loss.is_finite() {
                self.console.finish();
                return Err(TrainError::NotFinite { loss, step: self.progress.step, epoch: epoch + 1 });
            }
            // The last group of an epoch may be smaller; its mean is over the batches it has.
            let group = self.progress.batch / config.accumulate * config.accumulate;
            let group_size = config.accumulate.min(batches_per_epoch - group);
            let grads = step.loss.div_scalar(group_size as f64).backward();
            let grads = GradientsParams::from_grads(grads, self.model());
            self.progress.batch += 1;
            let full = self.progress.batch == group + group_size;
            let grads = if group_size == 1 {
                Some(grads)
            } else {
                accumulator.accumulate(self.model(), grads);
                full.then(|| accumulator.grads())
            };
            if let Some(grads) = grads {
                lr = self.schedule.at(self.progress.step);
                self.update(grads, lr);
            }

            let seconds = begun.elapsed().as_secs_f64();
            self.progress.running.add(loss, step.samples, step.correct, seconds, waited);
            let running = self.progress.running;
            self.console.batch(index + 1, || line(epoch + 1, config.epochs, running));

            if full {
                if self.trainer.stop.load(Ordering::Relaxed) {
                    return Ok(Flow::Stop);
                }
                if self.saved.elapsed().as_secs_f64() > 60.0 * config.checkpoint_minutes {
                    self.save()?;
                }
            }
        }
        drop(batches);
        self.finish_epoch(lr)?;
        Ok(Flow::Go)
    }

    /// One step of the optimiser.
    fn update(&mut self, grads: GradientsParams, lr: f64) {
        let grads = match self.trainer.config.clip_grad {
            Some(max) => clip_norm(self.model(), grads, max).0,
            None => grads,
        };
        let groups = by_rate(self.model(), grads, |name| self.task.rate(name));
        let mut model = self.model.take().expect("the model is put back below");
        for (factor, grads) in groups {
            model = self.optimizer.step(lr * factor, model, grads);
        }
        let model = self.task.after_step(model);
        self.progress.step += 1;
        self.average = self.average.take().map(|average| average.update(&model, self.progress.step));
        self.model = Some(model);
    }

    fn finish_epoch(&mut self, lr: f64) -> Result<(), TrainError> {
        let config = &self.trainer.config;
        let epoch = self.progress.epoch + 1;
        let sums = std::mem::take(&mut self.progress.running);
        let (samples, seconds) = (sums.samples.max(1.0), sums.seconds.max(1e-9));
        let mut record = EpochRecord {
            epoch,
            step: self.progress.step,
            lr,
            train_loss: sums.loss / samples,
            train_accuracy: sums.accuracy(),
            samples_per_second: samples / seconds,
            seconds,
            data_wait_share: sums.waited / seconds,
            ..Default::default()
        };
        if epoch.is_multiple_of(config.eval_every) || epoch == config.epochs {
            let evaluation = self.evaluate()?;
            record.score = Some(evaluation.score);
            record.metrics = evaluation.metrics;
        }
        self.console.line(&summary(&record, config.epochs, self.progress.best_epoch == epoch));
        self.log(&record)?;
        self.progress.history.push(record);
        self.progress.epoch = epoch;
        self.progress.batch = 0;
        self.save()
    }

    /// Evaluates, and keeps the model if it is the best so far.
    fn evaluate(&mut self) -> Result<Evaluation, TrainError> {
        let plain;
        let judged = match &self.average {
            Some(average) => average.model(),
            None => {
                plain = self.model().valid();
                &plain
            }
        };
        let evaluation = self.task.evaluate(judged)?;
        if self.progress.best_score.is_none_or(|best| evaluation.score > best) {
            self.task.save(judged, &self.folder.best(), &evaluation)?;
            self.progress.best_score = Some(evaluation.score);
            self.progress.best_epoch = self.progress.epoch + 1;
        }
        Ok(evaluation)
    }

    fn log(&mut self, record: &EpochRecord) -> Result<(), TrainError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut scalars = vec![
            ("train/loss".to_string(), record.train_loss),
            ("train/lr".into(), record.lr),
            ("train/samples_per_second".into(), record.samples_per_second),
        ];
        scalars.extend(record.train_accuracy.map(|share| ("train/accuracy".into(), share)));
        scalars.extend(record.metrics.iter().map(|(name, value)| (format!("val/{name}"), *value)));
        let path = self.folder.path();
        for (tag, value) in scalars {
            self.events.add_scalar(&tag, value, record.step as i64, now).map_err(TrainError::io(path))?;
        }
        self.events.flush().map_err(TrainError::io(path))?;
        // Rewritten whole: a resumed run repeats an epoch, its log must not.
        let lines: String = self
            .progress
            .history
            .iter()
            .chain([record])
            .filter_map(|record| serde_json::to_string(record).ok())
            .map(|line| line + "\n")
            .collect();
        let path = self.folder.metrics();
        ocelli_report::atomic::write_atomic(&path, lines.as_bytes()).map_err(TrainError::io(&path))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        let path = self.folder.checkpoint();
        let optimizer = self
            .optimizer
            .into_bytes()
            .map_err(|error| TrainError::Checkpoint { path: path.clone(), problem: error.to_string() })?;
        let average = self.average.as_ref().map(Average::model);
        Checkpoint::new(self.model(), average, optimizer.to_vec(), self.progress.clone()).write(&path)?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// The text beside the bar.
fn line(epoch: usize, epochs: usize, sums: Running) -> String {
    let accuracy = sums.accuracy().map_or(String::new(), |share| format!("  acc {:5.1}%", 100.0 * share));
    let (loss, rate) = (sums.loss / sums.samples, sums.samples / sums.seconds);
    format!("epoch {epoch}/{epochs}  loss {loss:.3}{accuracy}  {rate:.0} img/s")
}

/// The line an epoch leaves.
fn summary(record: &EpochRecord, epochs: usize, best: bool) -> String {
    use std::fmt::Write;
    let mut text = format!("epoch {:>3}/{epochs}  loss {:.4}", record.epoch, record.train_loss);
    if let Some(share) = record.train_accuracy {
        write!(text, "  train {:.1}%", 100.0 * share).ok();
    }
    for name in ["loss", "top1", "top5"] {
        if let Some(value) = record.metrics.get(name) {
            match name {
                "loss" => write!(text, "  val loss {value:.4}").ok(),
                _ => write!(text, "  {name} {:.2}%", 100.0 * value).ok(),
            };
        }
    }
    write!(text, "  {:.0} img/s  {}", record.samples_per_second, duration(record.seconds)).ok();
    if best {
        text.push_str("  best");
    }
    text
}
