//! Networks for the engine: a chunk's modulation folded in, the mean colours left to the caller, channels before a shuffle in the order in
//! which pixels are stored.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_graph::{Graph, capture};
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_nn::{Conv2d, Conv2dConfig};

use super::cafm::{Chunk, Form};
use super::config::{Backbone, Config};
use super::fold::folded_sites;
use super::net::{Net, Order, Upsampler, edsr, rcan};
use crate::VideoError;

type Tensors = BTreeMap<String, Vec<f32>>;

/// A network of one chunk.
#[derive(Module, Debug)]
struct Deployed {
    net: Net,
    /// Where modulations cannot be folded into the convolution before them, since a ReLU is between: convolutions of one pixel.
    mixes: Vec<Conv2d>,
}

/// Rows of a convolution's parameters in another order, from `c r² + i r + j` to `(i r + j) C + c`.
fn reorder(tensors: &mut Tensors, layer: &str, r: usize) {
    let rows = tensors.get(&format!("{layer}.bias")).map_or(0, Vec::len);
    for leaf in ["weight", "bias"] {
        let Some(values) = tensors.get_mut(&format!("{layer}.{leaf}")) else { continue };
        let (channels, columns) = (rows / (r * r), values.len() / rows.max(1));
        let old = values.clone();
        for (to, row) in values.chunks_mut(columns.max(1)).enumerate() {
            let (place, channel) = (to / channels, to % channels);
            row.copy_from_slice(&old[(channel * r * r + place) * columns..][..columns]);
        }
    }
}

/// Layers before a shuffle, and its factor.
fn before_shuffles(net: &Net, scale: usize) -> Vec<(&'static str, usize)> {
    let upsampler = match net {
        Net::Espcn(_) => return vec![("conv4", scale)],
        Net::Srcnn(_) | Net::Vdsr(_) => return Vec::new(),
        Net::Edsr(edsr::Edsr { tail, .. }) | Net::Rcan(rcan::Rcan { tail, .. }) => &tail.0,
    };
    match upsampler {
        Upsampler::Once(_) => vec![("tail.0.0", if scale == 3 { 3 } else { 2 })],
        Upsampler::Twice(_) => vec![("tail.0.0", 2), ("tail.0.2", 2)],
    }
}

fn deployed(config: &Config, net: &Net, chunk: usize, device: &Device) -> Deployed {
    let mut shapes = BTreeMap::new();
    let mut tensors: Tensors = BTreeMap::new();
    for (name, data) in state_dict(net) {
        if !super::train::is_modulation(&name) {
            shapes.insert(name.clone(), data.shape().to_vec());
            tensors.insert(name, data.iter::<f32>().collect());
        }
    }
    let mut mixes = Vec::new();
    for (site, scale, shift) in folded_sites(net, chunk) {
        match config.form() {
            Form::Depthwise => {
                // `cafms` and `cafms1` follow `conv1`, `cafms2` follows `conv2`.
                let (block, place) = site.rsplit_once('.').unwrap_or(("", &site));
                let layer = format!("{block}.conv{}", if place.ends_with('2') { 2 } else { 1 });
                if let Some(weights) = tensors.get_mut(&format!("{layer}.weight")) {
                    let columns = weights.len() / scale.len();
                    for (row, scale) in weights.chunks_mut(columns).zip(&scale) {
                        row.iter_mut().for_each(|weight| *weight *= 1.0 + scale);
                    }
                }
                if let Some(bias) = tensors.get_mut(&format!("{layer}.bias")) {
                    for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(&shift) {
                        *bias = *bias * (1.0 + scale) + shift;
                    }
                }
            }
            Form::Paired => {
                let channels = shift.len();
                let mut weight = vec![0.0f32; channels * channels];
                for channel in 0..channels {
                    weight[channel * channels + channel] = 1.0;
                    for input in 0..2 {
                        weight[channel * channels + channel / 2 * 2 + input] += scale[channel * 2 + input];
                    }
                }
                mixes.push(filled(channels, weight, shift, device));
            }
        }
    }
    for (layer, r) in before_shuffles(net, config.scale) {
        reorder(&mut tensors, layer, r);
    }
    let tensors = tensors
        .into_iter()
        .map(|(name, values)| {
            let shape = shapes.remove(&name).unwrap_or_default();
            (name, TensorData::new(values, shape))
        })
        .collect();
    let (net, _) = load_state_dict(config.with_chunks(0).build(device), tensors);
    Deployed { net, mixes }
}

/// A convolution of one pixel.
fn filled(channels: usize, weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Conv2d {
    let mut conv = Conv2dConfig::new(channels, channels, 1).bias(true).init(device);
    let id = conv.weight.id;
    let weight = Tensor::from_data(TensorData::new(weight, [channels, channels, 1, 1]), device);
    conv.weight = conv.weight.transform_for_load(weight, id);
    if let Some(own) = conv.bias.take() {
        let id = own.id;
        let bias = Tensor::from_data(TensorData::new(bias, [channels]), device);
        conv.bias = Some(own.transform_for_load(bias, id));
    }
    conv
}

impl Deployed {
    /// `[batch, height, width, 3]` → `[batch, height', width', channels']`, channels before the last shuffle in the order of the pixels.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = x.permute([0, 3, 1, 2]);
        let none = Chunk::One(0);
        let y = match &self.net {
            _ if self.mixes.is_empty() => self.net.core(x, none, Order::ChannelsLast),
            Net::Espcn(net) => {
                let y = self.mixed([&net.conv1, &net.conv2, &net.conv3], x);
                net.conv4.forward(y)
            }
            Net::Srcnn(net) => {
                let y = self.mixed([&net.conv1, &net.conv2], x);
                net.conv3.forward(y)
            }
            net => net.core(x, none, Order::ChannelsLast),
        };
        y.permute([0, 2, 3, 1])
    }

    fn mixed<const N: usize>(&self, convs: [&Conv2d; N], x: Tensor<4>) -> Tensor<4> {
        convs
            .into_iter()
            .zip(&self.mixes)
            .fold(x, |x, (conv, mix)| mix.forward(burn::tensor::activation::relu(conv.forward(x))))
    }
}

/// The graph of `net` in `chunk` for pictures of `size` (height, width; of the enlarged picture where the network takes that):
/// `[batch, height, width, 3]` without the mean colour to `[batch, height', width', channels']`; see [`Net::core`]. As captured, not optimised.
///
/// # Errors
/// If the network cannot be captured.
pub fn graph(config: &Config, net: &Net, chunk: usize, size: [usize; 2]) -> Result<Graph, VideoError> {
    let deployed = deployed(config, net, chunk, &Device::flex());
    let input = [size[0], size[1], 3];
    Ok(capture::capture(&deployed, input, "frame", str::to_string, Deployed::forward)?)
}

/// Whether the engine's picture has its mean colour taken away.
pub fn takes_mean_away(config: &Config) -> bool {
    !matches!(config.backbone, Backbone::Espcn | Backbone::Srcnn)
}
