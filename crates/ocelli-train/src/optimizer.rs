//! SGD and AdamW with PyTorch's rules, on burn's optimiser interface.
//!
//! On the CPU backend a parameter, its gradient and its state are taken out of their tensors without a copy
//! and updated in one pass; a chain of tensor operations would read and write memory eight times. Other
//! devices take the chain of tensor operations.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor, TensorData};

use ocelli_kernels::train::optim;

use crate::config::OptimizerConfig;

/// Stochastic gradient descent with momentum, `torch.optim.SGD` with dampening 0.
#[derive(Clone, Debug)]
pub struct Sgd(OptimizerConfig);

/// `torch.optim.AdamW`.
#[derive(Clone, Debug)]
pub struct AdamW(OptimizerConfig);

impl Sgd {
    /// With these settings.
    pub fn new(config: OptimizerConfig) -> Self {
        Self(config)
    }
}

impl AdamW {
    /// With these settings.
    pub fn new(config: OptimizerConfig) -> Self {
        Self(config)
    }
}

/// Decay of a tensor of this shape: norms and biases, which have one axis, are left alone, and so are class tokens and
/// their positions, `[1, tokens, width]`.
fn decay(config: &OptimizerConfig, shape: &[usize]) -> f64 {
    let weight = shape.len() > 1 && !matches!(shape, [1, _, _]);
    if weight || config.decay_norms_and_biases { config.weight_decay } else { 0.0 }
}

/// State of [`Sgd`].
#[derive(Clone)]
pub struct SgdState<const D: usize> {
    velocity: Tensor<D>,
}

impl<const D: usize> RecordState for SgdState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "velocity", self.velocity.to_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        Some(Self { velocity: Tensor::from_data(src.take_tensor(prefix, "velocity")?, device) })
    }
}

impl Optimizer for Sgd {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let decay = decay(&self.0, &tensor.dims());
        let momentum = self.0.momentum;
        let device = tensor.device();
        let velocity = state.map(|state| state.velocity);
        if !on_cpu(&device) {
            let grad = if decay > 0.0 { grad.add(tensor.clone().mul_scalar(decay)) } else { grad };
            let velocity = match velocity {
                Some(velocity) => velocity.mul_scalar(momentum).add(grad.clone()),
                None => grad.clone(),
            };
            let direction = if self.0.nesterov {
                grad.add(velocity.clone().mul_scalar(momentum))
            } else {
                velocity.clone()
            };
            return (tensor.sub(direction.mul_scalar(lr)), Some(SgdState { velocity }));
        }
        let mut weights = tensor.into_data();
        let grad = grad.into_data();
        let (mut velocity, first) = match velocity {
            Some(velocity) => (velocity.into_data(), false),
            None => (grad.clone(), true),
        };
        let settings = optim::Sgd {
            rate: lr as f32,
            decay: decay as f32,
            momentum: momentum as f32,
            nesterov: self.0.nesterov,
        };
        optim::sgd(settings, first, slice(&mut weights), view(&grad), slice(&mut velocity));
        let velocity = Tensor::from_data(velocity, &device);
        (Tensor::from_data(weights, &device), Some(SgdState { velocity }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        SgdState { velocity: state.velocity.to_device(device) }
    }
}

/// State of [`AdamW`].
#[derive(Clone)]
pub struct AdamWState<const D: usize> {
    time: usize,
    first: Tensor<D>,
    second: Tensor<D>,
}

impl<const D: usize> RecordState for AdamWState<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_tensor(prefix, "time", TensorData::new(vec![self.time as i64], [1]));
        out.push_tensor(prefix, "first", self.first.to_data());
        out.push_tensor(prefix, "second", self.second.to_data());
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let time = src.take_tensor(prefix, "time")?.as_slice::<i64>().ok()?.first().copied()?;
        let mut tensor = |leaf| Some(Tensor::from_data(src.take_tensor(prefix, leaf)?, device));
        Some(Self { time: usize::try_from(time).ok()?, first: tensor("first")?, second: tensor("second")? })
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let decay = decay(&self.0, &tensor.dims());
        let [beta1, beta2] = self.0.betas;
        let device = tensor.device();
        let AdamWState { time, first, second } = state.unwrap_or_else(|| AdamWState {
            time: 0,
            first: Tensor::zeros(tensor.dims(), &device),
            second: Tensor::zeros(tensor.dims(), &device),
        });
        let time = time + 1;
        let correct1 = 1.0 - beta1.powi(time as i32);
        let correct2 = 1.0 - beta2.powi(time as i32);
        if !on_cpu(&device) {
            let first = first.mul_scalar(beta1).add(grad.clone().mul_scalar(1.0 - beta1));
            let second = second.mul_scalar(beta2).add(grad.clone().mul(grad).mul_scalar(1.0 - beta2));
            let scale = second.clone().div_scalar(correct2).sqrt().add_scalar(self.0.eps);
            let step = first.clone().div_scalar(correct1).div(scale).mul_scalar(lr);
            let tensor = tensor.mul_scalar(1.0 - lr * decay).sub(step);
            return (tensor, Some(AdamWState { time, first, second }));
        }
        let mut weights = tensor.into_data();
        let grad = grad.into_data();
        let (mut first, mut second) = (first.into_data(), second.into_data());
        let settings = optim::AdamW {
            keep: (1.0 - lr * decay) as f32,
            step: (lr / correct1) as f32,
            root: correct2.sqrt() as f32,
            betas: [beta1 as f32, beta2 as f32],
            epsilon: self.0.eps as f32,
        };
        let moments = (slice(&mut first), slice(&mut second));
        optim::adamw(settings, slice(&mut weights), view(&grad), moments.0, moments.1);
        let tensor = |data| Tensor::from_data(data, &device);
        (tensor(weights), Some(AdamWState { time, first: tensor(first), second: tensor(second) }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamWState {
            time: state.time,
            first: state.first.to_device(device),
            second: state.second.to_device(device),
        }
    }
}

fn on_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

fn slice(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("parameters are float32")
}

fn view(data: &TensorData) -> &[f32] {
    data.as_slice().expect("gradients are float32")
}
