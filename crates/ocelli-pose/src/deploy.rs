//! Grid networks for the engine: batch norms folded, temperature divided in, gathers as views of padded maps.
//!
//! A layer with attention multiplies nine shifted views of each padded map straight into their places among the channels of one map and
//! ends in one product over all taps and both branches. A layer without is two ordinary convolutions. Branches of equal borders are one.

use burn::module::Module;
use burn::tensor::activation::{relu, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_graph::{Graph, capture, passes};
use ocelli_nn::{BatchNorm, Conv2d, Conv2dConfig, Linear, LinearConfig};

use crate::PoseError;
use crate::grid::{Attention, GridConv, Padding, TAPS};
use crate::lifter::{GridNet, Lifter};
use crate::sgt::{forward_matrix, inverse_matrix};
use crate::skeleton::JOINTS;

/// A grid network as it is run.
#[derive(Module, Debug)]
struct Deployed {
    to_grid: Linear,
    first: Layer,
    stages: Vec<(Layer, Layer)>,
    last: Layer,
    to_joints: Linear,
    #[module(skip)]
    grid: [usize; 2],
    #[module(skip)]
    padding: [Padding; 2],
}

#[derive(Module, Debug)]
// A handful exist.
#[allow(clippy::large_enum_variant)]
enum Layer {
    Dynamic(Dynamic),
    Static(Static),
}

#[derive(Module, Debug)]
struct Dynamic {
    fc: Conv2d,
    position_fc: Conv2d,
    /// `1 x 1`, over the taps of one or two branches.
    product: Conv2d,
}

#[derive(Module, Debug)]
struct Static {
    first: Conv2d,
    second: Option<Conv2d>,
}

/// Gains and offsets of a batch norm in evaluation.
fn affine(norm: &BatchNorm) -> (Vec<f64>, Vec<f64>) {
    let values = |tensor: Tensor<1>| -> Vec<f64> { tensor.into_data().iter::<f64>().collect() };
    let (weight, bias) = (values(norm.weight.val()), values(norm.bias.val()));
    let (mean, variance) = (values(norm.running_mean.value()), values(norm.running_var.value()));
    let gains: Vec<f64> = weight.iter().zip(variance).map(|(w, v)| w / (v + norm.epsilon).sqrt()).collect();
    let offsets = (0..gains.len()).map(|c| bias[c] - mean[c] * gains[c]).collect();
    (gains, offsets)
}

/// Puts weights and a bias of `[out, ..]` into a layer built by `config`.
fn filled(config: Conv2dConfig, weight: Vec<f32>, bias: Option<Vec<f32>>, device: &Device) -> Conv2d {
    let mut conv = config.bias(bias.is_some()).init(device);
    let shape = conv.weight.lazy_shape();
    let id = conv.weight.id;
    let tensor = Tensor::from_data(TensorData::new(weight, shape), device);
    conv.weight = conv.weight.transform_for_load(tensor, id);
    if let (Some(own), Some(bias)) = (conv.bias.take(), bias) {
        let id = own.id;
        let count = bias.len();
        conv.bias =
            Some(own.transform_for_load(Tensor::from_data(TensorData::new(bias, [count]), device), id));
    }
    conv
}

fn matrix(values: Vec<f32>, rows: usize, device: &Device) -> Linear {
    let columns = values.len() / rows;
    let mut linear = LinearConfig::new(columns, rows).bias(false).init(device);
    let id = linear.weight.id;
    let tensor = Tensor::from_data(TensorData::new(values, [rows, columns]), device);
    linear.weight = linear.weight.transform_for_load(tensor, id);
    linear
}

struct Builder<'a> {
    net: &'a GridNet,
    temperature: f64,
    device: Device,
}

impl Builder<'_> {
    fn layer(&self, conv: &GridConv, attention: Option<&Attention>, norm: Option<&BatchNorm>) -> Layer {
        let [a, b] = conv.weights();
        let [channels_out, channels_in, _, _] = a.dims();
        let affine = norm.map(affine);
        let gain = |out: usize| affine.as_ref().map_or(1.0, |(gains, _)| gains[out]);
        let values = |tensor: Tensor<4>| -> Vec<f64> { tensor.into_data().iter::<f64>().collect() };
        let (mut kernels, same) = (vec![values(a), values(b)], self.net.padding[0] == self.net.padding[1]);
        if same {
            let second = kernels.pop().unwrap_or_default();
            kernels[0].iter_mut().zip(second).for_each(|(a, b)| *a += b);
        }
        let per_output = channels_in * TAPS;
        for kernel in &mut kernels {
            for (place, value) in kernel.iter_mut().enumerate() {
                *value *= gain(place / per_output);
            }
        }
        let bias: Option<Vec<f64>> = conv.bias().map(|bias| bias.into_data().iter::<f64>().collect());
        let bias: Option<Vec<f32>> = match (&affine, bias) {
            (None, bias) => bias.map(|bias| bias.into_iter().map(|v| v as f32).collect()),
            (Some((gains, offsets)), bias) => Some(
                (0..channels_out)
                    .map(|c| (offsets[c] + gains[c] * bias.as_ref().map_or(0.0, |bias| bias[c])) as f32)
                    .collect(),
            ),
        };
        let Some(attention) = attention else {
            let conv = |branch: usize, bias| {
                // A border of zeros is the convolution's own.
                let pad = usize::from(self.net.padding[branch] == Padding::Zeros);
                let config = Conv2dConfig::new(channels_in, channels_out, 3).padding(pad);
                filled(config, kernels[branch].iter().map(|&v| v as f32).collect(), bias, &self.device)
            };
            let second = (!same).then(|| conv(1, None));
            return Layer::Static(Static { first: conv(0, bias), second });
        };
        // [out, in, tap] per branch -> [out, branch, tap, in].
        let branches = kernels.len();
        let mut joined = vec![0.0f32; channels_out * branches * per_output];
        for (branch, kernel) in kernels.iter().enumerate() {
            for (place, value) in kernel.iter().enumerate() {
                let (out, channel, tap) = (place / per_output, place / TAPS % channels_in, place % TAPS);
                joined[((out * branches + branch) * TAPS + tap) * channels_in + channel] = *value as f32;
            }
        }
        let product =
            filled(Conv2dConfig::new(branches * per_output, channels_out, 1), joined, bias, &self.device);
        let (fc, position_fc) = self.attention(attention);
        Layer::Dynamic(Dynamic { fc, position_fc, product })
    }

    /// The norm goes into the first layer, the temperature into the second.
    fn attention(&self, attention: &Attention) -> (Conv2d, Conv2d) {
        let (gains, offsets) = affine(&attention.bn);
        let [hidden, channels, _, _] = attention.fc.weight.val().dims();
        let weight: Vec<f32> = attention
            .fc
            .weight
            .val()
            .into_data()
            .iter::<f64>()
            .enumerate()
            .map(|(place, value)| (value * gains[place / channels]) as f32)
            .collect();
        let offsets = offsets.into_iter().map(|v| v as f32).collect();
        let fc = filled(Conv2dConfig::new(channels, hidden, 1), weight, Some(offsets), &self.device);
        let cooled = |values: TensorData| -> Vec<f32> {
            values.iter::<f64>().map(|value| (value / self.temperature) as f32).collect()
        };
        let second = &attention.position_fc;
        let outputs = second.weight.val().dims()[0];
        let bias = second.bias.as_ref().map(|bias| cooled(bias.val().into_data()));
        let weight = cooled(second.weight.val().into_data());
        (fc, filled(Conv2dConfig::new(hidden, outputs, 1), weight, bias, &self.device))
    }

    fn build(&self) -> Deployed {
        let net = self.net;
        let cells = net.grid[0] * net.grid[1];
        let (to, back) = match &net.sgt_layer {
            None => (forward_matrix(), inverse_matrix()),
            Some(sgt) => by_owners(&sgt.owners()),
        };
        Deployed {
            to_grid: matrix(to, cells, &self.device),
            first: self.layer(&net.w1, net.atten_conv1.as_ref(), Some(&net.batch_norm1)),
            stages: net
                .linear_stages
                .iter()
                .map(|stage| {
                    (
                        self.layer(&stage.w1, stage.atten_conv1.as_ref(), Some(&stage.batch_norm1)),
                        self.layer(&stage.w2, stage.atten_conv2.as_ref(), Some(&stage.batch_norm2)),
                    )
                })
                .collect(),
            last: self.layer(&net.w2, net.atten_conv2.as_ref(), None),
            to_joints: matrix(back, JOINTS, &self.device),
            grid: net.grid,
            padding: net.padding,
        }
    }
}

/// `[cells, 17]` and `[17, cells]` of a learnt assignment.
fn by_owners(owners: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let cells = owners.len();
    let (mut to, mut back) = (vec![0.0; cells * JOINTS], vec![0.0; JOINTS * cells]);
    for (cell, &joint) in owners.iter().enumerate() {
        let count = owners.iter().filter(|&&own| own == joint).count();
        to[cell * JOINTS + joint] = 1.0;
        back[joint * cells + cell] = 1.0 / (count as f32 + 1e-8);
    }
    (to, back)
}

/// `[batch, channels, height, width]` with a border of one cell. Slices and concatenations are what the engine copies fastest.
fn bordered(x: Tensor<4>, padding: Padding) -> Tensor<4> {
    [2, 3].into_iter().fold(x, |x, axis| {
        let extent = x.dims()[axis];
        let part = |at: usize| x.clone().narrow(axis, at, 1);
        let (before, after) = match padding {
            Padding::Circular => (part(extent - 1), part(0)),
            Padding::Replicate => (part(0), part(extent - 1)),
            Padding::Zeros => {
                let mut shape = x.dims();
                shape[axis] = 1;
                let zeros = Tensor::zeros(shape, &x.device());
                (zeros.clone(), zeros)
            }
        };
        Tensor::cat(vec![before, x, after], axis)
    })
}

impl Deployed {
    /// `[batch, 2, 17]` -> `[batch, 3, 17]`.
    fn forward(&self, joints: Tensor<3>) -> Tensor<3> {
        let [batch, _, _] = joints.dims();
        let [height, width] = self.grid;
        let x = self.to_grid.forward(joints);
        let x = x.reshape([batch, 2, height, width]);
        let mut y = relu(self.layer(&self.first, x));
        for (first, second) in &self.stages {
            let inner = relu(self.layer(first, y.clone()));
            y = y.add(relu(self.layer(second, inner)));
        }
        let y = self.layer(&self.last, y).reshape([batch, 3, height * width]);
        self.to_joints.forward(y)
    }

    fn layer(&self, layer: &Layer, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        match layer {
            Layer::Static(own) => {
                let seen = |branch: usize| match self.padding[branch] {
                    Padding::Zeros => x.clone(),
                    other => bordered(x.clone(), other),
                };
                let y = own.first.forward(seen(0));
                match &own.second {
                    Some(second) => second.forward(seen(1)).add(y),
                    None => y,
                }
            }
            Layer::Dynamic(own) => {
                let mean = x.clone().mean_dim(2).mean_dim(3);
                let factors = sigmoid(own.position_fc.forward(relu(own.fc.forward(mean))));
                let factors = factors.reshape([batch, TAPS, height, width]);
                let branches = if self.padding[0] == self.padding[1] { 1 } else { 2 };
                let mut taps = Vec::with_capacity(branches * TAPS);
                for &padding in &self.padding[..branches] {
                    let map = bordered(x.clone(), padding);
                    for tap in 0..TAPS {
                        let (dy, dx) = (tap / 3, tap % 3);
                        let shifted = map.clone().narrow(2, dy, height).narrow(3, dx, width);
                        debug_assert_eq!(shifted.dims()[1], channels);
                        taps.push(shifted.mul(factors.clone().narrow(1, tap, 1)));
                    }
                }
                own.product.forward(Tensor::cat(taps, 1))
            }
        }
    }
}

/// The graph of a network at `temperature`: joints `[batch, 2, 17, 1]` to `[batch, 3, 17]`, optimised.
///
/// # Errors
/// If it cannot be captured.
pub fn graph(lifter: &Lifter, temperature: f64) -> Result<Graph, PoseError> {
    let (name, input) = (str::to_string, [2, JOINTS, 1]);
    let mut graph = match lifter {
        Lifter::Grid(net) => {
            let deployed = Builder { net, temperature, device: Device::flex() }.build();
            capture::capture(&deployed, input, "pose", name, |net, joints| net.forward(flat(joints)))?
        }
        other => capture::capture(other, input, "pose", name, |other, joints| {
            other.forward(flat(joints).swap_dims(1, 2), temperature).swap_dims(1, 2)
        })?,
    };
    passes::optimize(&mut graph);
    Ok(graph)
}

/// Name of the input of [`exchange_graph`]: joints in the network's units `[batch, 17, 2]`.
pub const INPUT: &str = "joints";

/// Name of its output: metres relative to the pelvis, in the camera's axes `[batch, 17, 3]`.
pub const OUTPUT: &str = "lifted";

/// The same for other programs, which keep a joint's coordinates together: [`INPUT`] `[batch, 17, 2]` to [`OUTPUT`] `[batch, 17, 3]`.
///
/// # Errors
/// If it cannot be captured.
pub fn exchange_graph(lifter: &Lifter, temperature: f64) -> Result<Graph, PoseError> {
    let (name, input) = (str::to_string, [JOINTS, 2, 1]);
    let mut graph = match lifter {
        Lifter::Grid(net) => {
            let deployed = Builder { net, temperature, device: Device::flex() }.build();
            capture::capture(&deployed, input, "pose", name, |net, joints| {
                net.forward(flat(joints).swap_dims(1, 2)).swap_dims(1, 2)
            })?
        }
        other => capture::capture(other, input, "pose", name, |other, joints| {
            other.forward(flat(joints), temperature)
        })?,
    };
    passes::optimize(&mut graph);
    let (joints, lifted) = (graph.inputs[0], graph.outputs[0]);
    let own = &mut graph.values[joints.index()];
    // Maps are what is captured; reshaping takes their last extent, which is 1, away again.
    own.shape.truncate(3);
    own.name = INPUT.into();
    graph.values[lifted.index()].name = OUTPUT.into();
    Ok(graph)
}

/// `[batch, a, b, 1]` -> `[batch, a, b]`.
fn flat(map: Tensor<4>) -> Tensor<3> {
    let [batch, a, b, _] = map.dims();
    map.reshape([batch, a, b])
}
