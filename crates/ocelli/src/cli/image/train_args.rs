//! The options of `ocelli image train`, by heading, and what they change in the settings.

use anyhow::{Result, bail};
use clap::Args;
use ocelli_data::transform::TrainCropMode;
use ocelli_image::backbone::drnet::{Stage, TrainingMode};
use ocelli_train::{OptimizerKind, PenalScale, ScheduleKind};

use super::config::RunConfig;

#[derive(Args, Debug)]
pub(super) struct InputArgs {
    /// Share of the pictures to hold out where there is no val part
    #[arg(long, value_name = "SHARE")]
    split: Option<f64>,
    /// Side of the square input in pixels [default: the network's own]
    #[arg(long, value_name = "PIXELS")]
    img_size: Option<usize>,
    /// Pictures per step [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Threads that decode and augment [default: all cores]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Leave unreadable pictures out instead of stopping at the first
    #[arg(long)]
    skip_bad: bool,
    /// Memory for decoded pictures in MiB [default: 1024]
    #[arg(long, value_name = "MIB")]
    cache_mib: Option<usize>,
    /// Weights to start from: file, run folder or hf://org/repo; another class count is fine
    #[arg(long, value_name = "REF")]
    weights: Option<String>,
}

/// How a training picture gets to the input size.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Crop {
    /// A random part of the picture, resized
    Rrc,
    /// Resized to cover, padded by --padding, cropped
    Pad,
    /// Resized whole, whatever the aspect ratio
    Squash,
}

impl From<Crop> for TrainCropMode {
    fn from(crop: Crop) -> Self {
        match crop {
            Crop::Rrc => Self::Rrc,
            Crop::Pad => Self::RandomCrop,
            Crop::Squash => Self::Squash,
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct AugmentArgs {
    /// How a picture gets to the input size [default: rrc]
    #[arg(long, value_enum, value_name = "MODE")]
    crop: Option<Crop>,
    /// Pixels added on all sides with --crop pad
    #[arg(long, value_name = "PIXELS")]
    padding: Option<usize>,
    /// Least and largest share of the picture a random crop covers, as MIN,MAX
    #[arg(long, value_name = "MIN,MAX", value_delimiter = ',', num_args = 1)]
    scale: Option<Vec<f64>>,
    /// Least and largest aspect ratio of a random crop, as MIN,MAX
    #[arg(long, value_name = "MIN,MAX", value_delimiter = ',', num_args = 1)]
    ratio: Option<Vec<f64>>,
    /// Probability of mirroring left and right
    #[arg(long, value_name = "P")]
    hflip: Option<f64>,
    /// Probability of mirroring top and bottom
    #[arg(long, value_name = "P")]
    vflip: Option<f64>,
    /// Strength of colour jitter
    #[arg(long, value_name = "X")]
    color_jitter: Option<f64>,
    /// RandAugment policy, such as rand-m9-mstd0.5-inc1, or none
    #[arg(long, value_name = "POLICY")]
    auto_augment: Option<String>,
    /// Probability of random erasing
    #[arg(long, value_name = "P")]
    reprob: Option<f64>,
    /// Mixup alpha, 0 for none
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f64>,
    /// CutMix alpha, 0 for none
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f64>,
    /// Label smoothing [default: 0.1]
    #[arg(long, value_name = "X")]
    smoothing: Option<f64>,
}

#[derive(Args, Debug)]
pub(super) struct OptimiseArgs {
    /// Passes over the training pictures [default: 30]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// sgd or adamw [default: sgd]
    #[arg(long, value_name = "NAME")]
    opt: Option<String>,
    /// Peak learning rate [default: 0.05, or 0.001 with adamw]
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// cosine, step or constant [default: cosine]
    #[arg(long, value_name = "NAME")]
    sched: Option<String>,
    /// Epochs of linear warm-up [default: 1]
    #[arg(long, value_name = "N")]
    warmup_epochs: Option<f64>,
    /// Epochs between reductions of the step schedule [default: 30]
    #[arg(long, value_name = "N")]
    decay_epochs: Option<f64>,
    /// Factor of a reduction of the step schedule [default: 0.1]
    #[arg(long, value_name = "X")]
    decay_rate: Option<f64>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "X")]
    momentum: Option<f64>,
    /// Weight decay; norms and biases are left out [default: 5e-5]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Largest norm of the gradient
    #[arg(long, value_name = "NORM")]
    clip_grad: Option<f64>,
    /// Batches averaged into one step [default: 1]
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,
    /// Keep a moving average of the weights with this decay, and evaluate that
    #[arg(long, value_name = "DECAY")]
    ema: Option<f64>,
    /// Dropout before the classifier
    #[arg(long, value_name = "P")]
    drop: Option<f64>,
    /// Stochastic depth: probability of dropping the last block's branch, linear from 0 at the first
    #[arg(long, value_name = "P")]
    drop_path: Option<f64>,
    /// Strength of the penal connection on residual branches, such as 3e-4
    #[arg(long, value_name = "TAU")]
    penal_tau: Option<f64>,
    /// What --penal-tau is relative to: sum over the batch (the reference) or mean-batch [default: sum]
    #[arg(long, value_name = "NAME")]
    penal_scale: Option<String>,
    /// Epochs between evaluations [default: 1]
    #[arg(long, value_name = "N")]
    eval_every: Option<usize>,
    /// Minutes between checkpoints inside an epoch [default: 10]
    #[arg(long, value_name = "N")]
    checkpoint_minutes: Option<f64>,
    /// Seed of weights, order and augmentation [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// For networks that choose the resolution per picture (`dr_*`).
#[derive(Args, Debug)]
pub(super) struct DynamicArgs {
    /// pretrain: the classifier alone, every batch at every resolution; joint: with the predictor [default: joint]
    #[arg(long, value_name = "STAGE")]
    drnet_stage: Option<String>,
    /// split: every picture at its chosen resolution; dense: at all of them [default: split]
    #[arg(long, value_name = "MODE")]
    drnet_mode: Option<String>,
    /// Average cost aimed at, in 10^9 multiply-accumulates without the predictor [default: 75 % of the largest]
    #[arg(long, value_name = "G")]
    flops_target: Option<f64>,
    /// Weight of the cost in the loss [default: 0.2]
    #[arg(long, value_name = "X")]
    flops_weight: Option<f64>,
    /// Factor of the predictor's learning rate [default: 0.1]
    #[arg(long, value_name = "X")]
    predictor_lr: Option<f64>,
}

impl DynamicArgs {
    /// Sets what was given.
    pub(super) fn apply(&self, config: &mut RunConfig) -> Result<()> {
        let own = &mut config.dynamic;
        match self.drnet_stage.as_deref() {
            None => {}
            Some("pretrain") => own.stage = Some(Stage::Pretrain),
            Some("joint") => own.stage = Some(Stage::Joint),
            Some(other) => bail!("--drnet-stage {other}: expected pretrain or joint"),
        }
        match self.drnet_mode.as_deref() {
            None => {}
            Some("split") => own.mode = Some(TrainingMode::Split),
            Some("dense") => own.mode = Some(TrainingMode::Dense),
            Some(other) => bail!("--drnet-mode {other}: expected split or dense"),
        }
        some(&mut own.flops_target, &self.flops_target);
        some(&mut own.flops_weight, &self.flops_weight);
        some(&mut own.predictor_lr, &self.predictor_lr);
        Ok(())
    }
}

/// Sets what was given.
pub(super) fn set<T: Clone>(target: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        target.clone_from(value);
    }
}

/// Sets what was given where nothing has to be.
fn some<T: Clone>(target: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        target.clone_from(value);
    }
}

impl InputArgs {
    /// Sets what was given.
    pub(super) fn apply(&self, config: &mut RunConfig) {
        some(&mut config.split, &self.split);
        some(&mut config.img_size, &self.img_size);
        set(&mut config.batch_size, &self.batch_size);
        some(&mut config.workers, &self.workers);
        config.skip_bad |= self.skip_bad;
        set(&mut config.cache_mib, &self.cache_mib);
        some(&mut config.weights, &self.weights);
    }
}

impl AugmentArgs {
    /// Sets what was given.
    pub(super) fn apply(&self, config: &mut RunConfig) -> Result<()> {
        fn pair(name: &str, values: &Option<Vec<f64>>, target: &mut [f64; 2]) -> Result<()> {
            if let Some(values) = values {
                *target = values.as_slice().try_into().map_err(|_| {
                    anyhow::anyhow!("--{name}: expected two numbers MIN,MAX, found {values:?}")
                })?;
            }
            Ok(())
        }
        let augment = &mut config.augment;
        pair("scale", &self.scale, &mut augment.scale)?;
        pair("ratio", &self.ratio, &mut augment.ratio)?;
        if let Some(mode) = self.crop {
            augment.train_crop_mode = mode.into();
        }
        set(&mut augment.padding, &self.padding);
        set(&mut augment.hflip, &self.hflip);
        set(&mut augment.vflip, &self.vflip);
        set(&mut augment.color_jitter, &self.color_jitter);
        set(&mut augment.re_prob, &self.reprob);
        if let Some(policy) = &self.auto_augment {
            augment.auto_augment = match policy.as_str() {
                "none" => None,
                policy => Some(policy.parse()?),
            };
        }
        set(&mut config.mix.mixup_alpha, &self.mixup);
        set(&mut config.mix.cutmix_alpha, &self.cutmix);
        set(&mut config.mix.label_smoothing, &self.smoothing);
        Ok(())
    }
}

impl OptimiseArgs {
    /// Sets what was given; naming AdamW brings its usual rate and decay along, unless a file has set them
    /// (`defaults` is false then).
    pub(super) fn apply(&self, config: &mut RunConfig, defaults: bool) -> Result<()> {
        some(&mut config.drop_rate, &self.drop);
        some(&mut config.drop_path, &self.drop_path);
        let train = &mut config.train;
        if let Some(name) = &self.opt {
            train.optimizer.kind = match name.as_str() {
                "sgd" => OptimizerKind::Sgd,
                "adamw" => OptimizerKind::AdamW,
                other => bail!("--opt {other}: expected sgd or adamw"),
            };
            if train.optimizer.kind == OptimizerKind::AdamW && defaults {
                train.lr = 1e-3;
                train.optimizer.weight_decay = 0.05;
            }
        }
        if let Some(name) = &self.sched {
            train.schedule = match name.as_str() {
                "cosine" => ScheduleKind::Cosine,
                "step" => ScheduleKind::Step,
                "constant" => ScheduleKind::Constant,
                other => bail!("--sched {other}: expected cosine, step or constant"),
            };
        }
        set(&mut train.epochs, &self.epochs);
        set(&mut train.lr, &self.lr);
        set(&mut train.warmup_epochs, &self.warmup_epochs);
        set(&mut train.decay_epochs, &self.decay_epochs);
        set(&mut train.decay_rate, &self.decay_rate);
        set(&mut train.optimizer.momentum, &self.momentum);
        set(&mut train.optimizer.weight_decay, &self.weight_decay);
        some(&mut train.clip_grad, &self.clip_grad);
        set(&mut train.accumulate, &self.accumulate);
        set(&mut train.penal.tau, &self.penal_tau);
        match self.penal_scale.as_deref() {
            None => {}
            Some("sum") => train.penal.scale = PenalScale::Sum,
            Some("mean-batch") => train.penal.scale = PenalScale::MeanBatch,
            Some(other) => bail!("--penal-scale {other}: expected sum or mean-batch"),
        }
        some(&mut train.ema_decay, &self.ema);
        set(&mut train.eval_every, &self.eval_every);
        set(&mut train.checkpoint_minutes, &self.checkpoint_minutes);
        set(&mut train.seed, &self.seed);
        Ok(())
    }
}
