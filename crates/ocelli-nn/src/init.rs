//! Initialisation of parameters, independent of the order in which they are visited.
//!
//! Layers are built with lazy zeros; [`initialize`] then draws every parameter from a generator keyed by the
//! seed and the parameter's own name. Two networks that share a part start it alike, and loading a checkpoint
//! costs no drawing.

use std::cell::Cell;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};

use crate::random::{keyed, unit};
use crate::state_dict::{Path, fnv1a};

/// A lazy parameter of zeros.
pub fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    lazy(shape, device, |shape, device| Tensor::zeros(shape, device))
}

/// A lazy parameter of ones.
pub fn ones<const D: usize>(shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    lazy(shape, device, |shape, device| Tensor::ones(shape, device))
}

thread_local! {
    /// The generator of the parameter that is being initialised, for parameters that draw themselves.
    static KEY: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// A lazy parameter that [`initialize`] draws uniformly in `±bound`, for weights whose shape does not tell their fan-in;
/// zeros if it is never initialised.
pub fn drawn<const D: usize>(shape: [usize; D], bound: f64, device: &Device) -> Param<Tensor<D>> {
    drawn_between(shape, -bound, bound, device)
}

/// As [`drawn`], between `low` and `high`.
pub fn drawn_between<const D: usize>(
    shape: [usize; D],
    low: f64,
    high: f64,
    device: &Device,
) -> Param<Tensor<D>> {
    let count = shape.iter().product();
    let (middle, reach) = ((low + high) / 2.0, (high - low) / 2.0);
    computed(shape, device, move || match KEY.get() {
        Some((seed, name)) => {
            let mut rng = keyed(seed, name);
            (0..count).map(|_| (middle + (2.0 * unit(&mut rng) - 1.0) * reach) as f32).collect()
        }
        None => vec![0.0; count],
    })
}

/// A lazy parameter of what `values` computes, row-major, when it is needed first.
pub fn computed<const D: usize>(
    shape: [usize; D],
    device: &Device,
    values: impl Fn() -> Vec<f32> + Send + Sync + 'static,
) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| {
            let tensor = Tensor::from_data(TensorData::new(values(), shape), device);
            if require_grad { tensor.require_grad() } else { tensor }
        },
        device.clone(),
        true,
        Shape::from(shape),
    )
}

fn lazy<const D: usize>(
    shape: [usize; D],
    device: &Device,
    fill: fn([usize; D], &Device) -> Tensor<D>,
) -> Param<Tensor<D>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| {
            let tensor = fill(shape, device);
            if require_grad { tensor.require_grad() } else { tensor }
        },
        device.clone(),
        true,
        Shape::from(shape),
    )
}

/// How the weights of one kind of layer are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Normal with variance `2 / fan_out` (He initialisation; `kaiming_normal_(mode="fan_out")`).
    KaimingNormalFanOut,
    /// As above with `fan_out / groups` for depthwise kernels, as EfficientNet-style code does.
    KaimingNormalFanOutPerGroup,
    /// Uniform in `±1 / sqrt(fan_in)`, what PyTorch does by default for weights and biases.
    PyTorchDefault,
    /// Normal with variance `2 / fan_in` (`kaiming_normal_`).
    KaimingNormalFanIn,
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal with this standard deviation, drawn again where it leaves `±2` (timm's `trunc_normal_`).
    TruncatedNormal(f64),
    /// Zeros.
    Zeros,
}

/// How a network's layers start.
#[derive(Clone, Copy, Debug)]
pub struct InitScheme {
    /// Weights of convolutions.
    pub conv: Draw,
    /// Biases of convolutions.
    pub conv_bias: Draw,
    /// Weights of fully connected layers.
    pub linear: Draw,
    /// Biases of fully connected layers.
    pub linear_bias: Draw,
    /// Position embeddings and class tokens.
    pub positions: Draw,
}

impl InitScheme {
    /// He initialisation of convolutions, the rest as PyTorch does by default: the scheme of most ResNets.
    pub const KAIMING: Self = Self {
        conv: Draw::KaimingNormalFanOutPerGroup,
        conv_bias: Draw::PyTorchDefault,
        linear: Draw::PyTorchDefault,
        linear_bias: Draw::PyTorchDefault,
        positions: Draw::Zeros,
    };
}

/// Draws all weights of `module` by `scheme`, as a function of `seed` and the parameters' names only.
/// Batch norms start as identity; their running statistics are left alone.
pub fn initialize<M: Module>(module: M, scheme: InitScheme, seed: u64) -> M {
    module.map(&mut Initializer { scheme, seed, path: Path::default(), fan_in: 0 })
}

struct Initializer {
    scheme: InitScheme,
    seed: u64,
    path: Path,
    /// Fan-in of the layer whose weight was seen last: its bias follows and needs it.
    fan_in: usize,
}

impl ModuleMapper for Initializer {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.lazy_shape();
        let dims: Vec<usize> = shape.iter().copied().collect();
        let leaf = self.path.leaf();
        // The two layers of a squeeze-and-excitation gate are fully connected ones stored as convolutions.
        let gate = self.path.block().ends_with("SqueezeExcite");
        let draw = match (self.path.owner(), leaf) {
            ("Conv2d", "weight") if gate => self.scheme.linear,
            ("Conv2d", "bias") if gate => self.scheme.linear_bias,
            // A versatile filter's fan-out is that of the stored weights, as its authors' code has it.
            ("Conv2d" | "VersatileConv2d", "weight") => self.scheme.conv,
            ("Conv2d" | "VersatileConv2d" | "MaskConv2d", "bias") => self.scheme.conv_bias,
            ("MaskConv2d", "basis_list" | "mask") => Draw::PyTorchDefault,
            ("Linear", "weight") => self.scheme.linear,
            ("Linear", "bias") => self.scheme.linear_bias,
            ("AdderConv2d", "adder") => Draw::Normal(1.0),
            ("AdderConv2d", "b") => Draw::Zeros,
            (_, "cls_token" | "pos_embed" | "inner_pos" | "outer_pos") => self.scheme.positions,
            ("Experts" | "BinaryConv2d" | "FlatBinaryConv2d" | "MapConv", _) => {
                // Draws itself when it is first looked at.
                KEY.set(Some((self.seed, fnv1a(&self.path.name()))));
                let value = param.val();
                KEY.set(None);
                return Param::initialized(param.id, value);
            }
            _ => return param,
        };
        let receptive: usize = dims.iter().skip(2).product();
        if matches!(leaf, "weight" | "basis_list" | "mask") {
            self.fan_in = dims[1] * receptive;
        }
        let count: usize = dims.iter().product();
        let mut rng = keyed(self.seed, fnv1a(&self.path.name()));
        let mut uniform =
            |bound: f64| (0..count).map(|_| ((2.0 * unit(&mut rng) - 1.0) * bound) as f32).collect();
        let values: Vec<f32> = match draw {
            Draw::Zeros => vec![0.0; count],
            Draw::PyTorchDefault => uniform(1.0 / (self.fan_in.max(1) as f64).sqrt()),
            Draw::Normal(std) => normal(&mut rng, count, std),
            Draw::TruncatedNormal(std) => {
                let mut more = normal(&mut rng, count, std);
                while let Some(at) = more.iter().position(|value| value.abs() > 2.0) {
                    more[at] = normal(&mut rng, 1, std)[0];
                }
                more
            }
            Draw::KaimingNormalFanIn => normal(&mut rng, count, (2.0 / self.fan_in as f64).sqrt()),
            Draw::KaimingNormalFanOut => normal(&mut rng, count, (2.0 / (dims[0] * receptive) as f64).sqrt()),
            Draw::KaimingNormalFanOutPerGroup => {
                // A depthwise kernel has one input channel per group: groups = channels_out for multiplier 1.
                let groups = if D == 4 && dims[1] == 1 { dims[0] } else { 1 };
                normal(&mut rng, count, (2.0 / (dims[0] / groups * receptive) as f64).sqrt())
            }
        };
        let device = param.lazy_device();
        let id = param.id;
        param.transform_for_load(Tensor::from_data(TensorData::new(values, shape), &device), id)
    }
}

/// Box–Muller from the counter-based generator.
fn normal(rng: &mut impl rand_chacha::rand_core::Rng, count: usize, std: f64) -> Vec<f32> {
    let mut out = Vec::with_capacity(count + 1);
    while out.len() < count {
        let radius = (-2.0 * (1.0 - unit(rng)).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * unit(rng)).sin_cos();
        out.push((radius * cos) as f32);
        out.push((radius * sin) as f32);
    }
    out.truncate(count);
    out
}
