//! A small network on made-up pictures, with everything a resume must restore: batch norm, dropout, order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{
    BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Dropout, InitScheme, Linear, LinearConfig,
    global_avg_pool, initialize, random,
};
use ocelli_train::{Batches, Evaluation, Step, Task, TrainError};
use rand_chacha::rand_core::Rng;

pub const BATCHES: usize = 5;

#[derive(Module, Debug)]
pub struct Toy {
    conv: Conv2d,
    norm: BatchNorm,
    dropout: Dropout,
    head: Linear,
}

impl Toy {
    pub fn new(width: usize) -> Self {
        let device = Device::flex().autodiff();
        let toy = Self {
            conv: Conv2dConfig::new(1, width, 3).init(&device),
            norm: BatchNormConfig::new(width).init(&device),
            dropout: Dropout::new(0.3),
            head: LinearConfig::new(width, 2).init(&device),
        };
        initialize(toy, InitScheme::KAIMING, 1)
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward(self.conv.forward(x));
        let x = global_avg_pool(burn::tensor::activation::relu(x)).flatten::<2>(1, 3);
        self.head.forward(self.dropout.forward(x))
    }
}

/// The task; `stop` is set after `stop_at` batches, the loss becomes NaN at `nan_at`.
#[derive(Default)]
pub struct ToyTask {
    pub stop: Arc<AtomicBool>,
    pub stop_at: Option<usize>,
    pub nan_at: Option<usize>,
    pub seen: AtomicUsize,
}

impl Task for ToyTask {
    type Model = Toy;
    type Batch = (Vec<f32>, Vec<f32>);

    fn batches_per_epoch(&self) -> usize {
        BATCHES
    }

    fn batches<'a>(&'a self, epoch: usize, start: usize) -> Result<Batches<'a, Self::Batch>, TrainError> {
        Ok(Box::new((start..BATCHES).map(move |index| {
            let mut rng = random::keyed(7, (epoch * BATCHES + index) as u64);
            let mut draw = |n: usize| (0..n).map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5).collect();
            Ok((draw(4 * 36), draw(8)))
        })))
    }

    fn step(&self, model: &Toy, (x, y): Self::Batch) -> Step {
        let device = Device::flex().autodiff();
        let x = Tensor::<4>::from_data(TensorData::new(x, [4, 1, 6, 6]), &device);
        let y = Tensor::<2>::from_data(TensorData::new(y, [4, 2]), &device);
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if self.stop_at == Some(seen) {
            self.stop.store(true, Ordering::Relaxed);
        }
        let mut loss = model.forward(x).sub(y).powf_scalar(2.0).mean();
        if self.nan_at == Some(seen) {
            loss = loss.mul_scalar(f32::NAN);
        }
        Step { loss, samples: 4, correct: None }
    }

    fn evaluate(&self, model: &Toy) -> Result<Evaluation, TrainError> {
        let x = Tensor::<4>::ones([1, 1, 6, 6], &Device::flex());
        let score = f64::from(model.forward(x).sum().into_scalar::<f32>());
        Ok(Evaluation { score, metrics: [("top1".to_string(), score)].into() })
    }

    fn save(&self, model: &Toy, path: &Path, _: &Evaluation) -> Result<(), TrainError> {
        let tensors = ocelli_nn::state_dict::state_dict(model);
        ocelli_nn::weights::write(path, &tensors, None).map_err(TrainError::task)
    }
}
