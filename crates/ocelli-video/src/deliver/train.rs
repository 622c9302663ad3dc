//! Joint training of one network and the modulations of all chunks (section 3.3 of the paper).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};
use ocelli_nn::random::{keyed, unit};
use ocelli_nn::state_dict::{is_frozen, state_dict};
use ocelli_nn::{Taps, weights};
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};

use super::cafm::Chunk;
use super::config::Config;
use super::metrics;
use super::net::Net;
use super::patches::{Frames, Turn, crop_planes};
use super::upscale::Upscaler;

/// The loss of a batch: L1 in levels of 0 to 255, the mean over all pixels and colours of every sample, summed and divided by the batch size.
/// Samples without a chunk (frames past the last run of the paper's protocol) add nothing to the sum and count in the divisor.
///
/// `low` is `[batch, 3, height, width]`, `high` of `scale` times the extents; nothing where no sample has a chunk.
pub fn joint_loss(
    config: &Config,
    net: &Net,
    low: Tensor<4>,
    high: Tensor<4>,
    chunks: &[Option<usize>],
) -> Option<Tensor<1>> {
    let batch = chunks.len();
    let kept: Vec<i64> = (0..batch as i64).filter(|&at| chunks[at as usize].is_some()).collect();
    let own: Vec<usize> = chunks.iter().flatten().copied().collect();
    if kept.is_empty() {
        return None;
    }
    let (low, high) = if kept.len() == batch {
        (low, high)
    } else {
        let rows = Tensor::<1, Int>::from_data(TensorData::new(kept.clone(), [kept.len()]), &low.device());
        (low.select(0, rows.clone()), high.select(0, rows))
    };
    let chunk = if config.chunks == 0 { Chunk::One(0) } else { Chunk::Each(&own) };
    let found = config.enlarge(net, low, chunk, &mut Taps::none());
    let share = kept.len() as f64 / batch as f64;
    Some(found.sub(high).abs().mean().mul_scalar(share))
}

/// Whether the parameter called `name` is a modulation's: what is trained when a network is adapted to another film.
pub fn is_modulation(name: &str) -> bool {
    name.split('.').any(|part| part == "transformer" || part == "gamma")
}

/// Overfitting one network and its modulations to the frames of a film.
#[derive(Debug)]
pub struct DeliverTask {
    /// The network.
    pub config: Config,
    /// What is learnt.
    pub frames: Frames,
    /// Batches per epoch.
    pub batches: usize,
    /// Patches per step.
    pub batch: usize,
    /// Side of a patch of the high resolution, in pixels.
    pub patch: usize,
    /// Seed of patches.
    pub seed: u64,
    /// Only modulations are trained.
    pub modulations_only: bool,
    /// PSNR in dB at which training has reached what was asked for.
    pub target: Option<f64>,
    /// Set when it has.
    pub reached: Arc<AtomicBool>,
    /// Ends the run.
    pub stop: Arc<AtomicBool>,
    /// Threads of evaluations.
    pub threads: usize,
    /// Device without autodiff.
    pub device: Device,
}

/// What one step consumes.
#[derive(Debug)]
pub struct Batch {
    low: Vec<f32>,
    high: Vec<f32>,
    chunks: Vec<Option<usize>>,
}

/// Frames of an evaluation, at most.
const EVALUATED: usize = 24;

impl DeliverTask {
    /// Patch number `at` of the run: frame, place and turn are functions of the seed.
    fn patch(&self, at: u64, batch: &mut Batch) {
        let frames = &self.frames;
        let mut rng = keyed(self.seed ^ 0x00ca_f31d, at);
        let mut below = |n: usize| ((unit(&mut rng) * n as f64) as usize).min(n - 1);
        let pair = &frames.pairs[below(frames.pairs.len())];
        let side = (self.patch / frames.scale).min(frames.size[0]).min(frames.size[1]);
        let left = below(frames.size[1] - side + 1);
        let top = below(frames.size[0] - side + 1);
        let turn = Turn { horizontal: below(2) == 1, vertical: below(2) == 1, transpose: below(2) == 1 };
        let scale = frames.scale;
        crop_planes(&pair.low, frames.size[1], [top, left], side, turn, &mut batch.low);
        let place = [top * scale, left * scale];
        crop_planes(&pair.high, frames.size[1] * scale, place, side * scale, turn, &mut batch.high);
        batch.chunks.push(Some(pair.chunk));
    }

    fn make(&self, number: u64) -> Batch {
        let mut batch = Batch { low: Vec::new(), high: Vec::new(), chunks: Vec::with_capacity(self.batch) };
        (0..self.batch as u64).for_each(|i| self.patch(number * self.batch as u64 + i, &mut batch));
        batch
    }

    /// Frames that judge: evenly spread, every chunk at least once where they suffice.
    fn judged(&self) -> Vec<usize> {
        let pairs = &self.frames.pairs;
        let chunks = pairs.iter().map(|pair| pair.chunk).max().map_or(1, |last| last + 1);
        let per_chunk = (EVALUATED / chunks).max(1);
        let mut all = Vec::new();
        for chunk in 0..chunks {
            let own: Vec<usize> = (0..pairs.len()).filter(|&at| pairs[at].chunk == chunk).collect();
            let count = per_chunk.min(own.len());
            all.extend((0..count).map(|i| own[(2 * i + 1) * own.len() / (2 * count)]));
        }
        let step = all.len().div_ceil(EVALUATED.max(chunks.min(4 * EVALUATED))).max(1);
        all.into_iter().step_by(step).collect()
    }

    /// Mean PSNR in dB over [`judged`](Self::judged) frames, of what a player shows.
    pub fn quality(&self, net: &Net) -> Result<f64, crate::VideoError> {
        let mut mean = metrics::Mean::default();
        let mut scaler: Option<(usize, Upscaler)> = None;
        let size = self.frames.size;
        let output = size.map(|extent| extent * self.frames.scale);
        let mut high = vec![0u8; output[0] * output[1] * 3];
        for at in self.judged() {
            let pair = &self.frames.pairs[at];
            let own = match scaler.take() {
                Some((chunk, own)) if chunk == pair.chunk => own,
                _ => {
                    let precision = super::upscale::Precision::Float;
                    Upscaler::new(&self.config, net, pair.chunk, size, self.threads, precision, None)?
                }
            };
            own.run(&pair.low, &mut high)?;
            mean.add(&high, &pair.high, output, self.frames.scale + 6);
            scaler = Some((pair.chunk, own));
        }
        Ok(mean.psnr())
    }
}

impl Task for DeliverTask {
    type Model = Net;
    type Batch = Batch;

    fn batches_per_epoch(&self) -> usize {
        self.batches
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Batch>, TrainError> {
        let first = (epoch * self.batches) as u64;
        Ok(Box::new((start..self.batches).map(move |batch| Ok(self.make(first + batch as u64)))))
    }

    fn step(&self, model: &Net, batch: Batch) -> Step {
        let device = self.device.clone().autodiff();
        let samples = batch.chunks.len();
        let side = ((batch.low.len() / (3 * samples)) as f64).sqrt().round() as usize;
        let high = side * self.config.scale;
        let low = Tensor::from_data(TensorData::new(batch.low, [samples, 3, side, side]), &device);
        let high = Tensor::from_data(TensorData::new(batch.high, [samples, 3, high, high]), &device);
        let loss = joint_loss(&self.config, model, low, high, &batch.chunks);
        Step { loss: loss.unwrap_or_else(|| Tensor::zeros([1], &device)), samples, correct: None }
    }

    fn batch_size(&self, batch: &Batch) -> usize {
        batch.chunks.len()
    }

    fn rate(&self, name: &str) -> f64 {
        let frozen = is_frozen(name) || (self.modulations_only && !is_modulation(name));
        f64::from(u8::from(!frozen))
    }

    fn evaluate(&self, model: &Net) -> Result<Evaluation, TrainError> {
        let psnr = self.quality(model).map_err(TrainError::task)?;
        if self.target.is_some_and(|target| psnr >= target) {
            self.reached.store(true, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(Evaluation { score: psnr, metrics: [("psnr_rgb_db".to_string(), psnr)].into() })
    }

    fn save(&self, model: &Net, path: &Path, _evaluation: &Evaluation) -> Result<(), TrainError> {
        let text = serde_json::to_string(&self.config).map_err(TrainError::task)?;
        weights::write(path, &state_dict(model), Some(&text)).map_err(TrainError::task)
    }
}
