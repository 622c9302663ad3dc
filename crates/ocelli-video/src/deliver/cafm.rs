//! Content-aware feature modulation (section 3.2 of the paper): a chunk's own scale and shift of a layer's channels.

use burn::module::{Module, Param};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use ocelli_nn::init::zeros;
use ocelli_nn::{Conv2d, Conv2dConfig, Rectified};

/// How the channels of a modulation mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Every channel by itself (EDSR, VDSR, RCAN): `2 C + 1` parameters.
    Depthwise,
    /// Channels in pairs, each output a mix of both (ESPCN, SRCNN): `3 C + 1` parameters.
    Paired,
}

impl Form {
    /// Channels that an output channel is made of.
    pub fn inputs(self) -> usize {
        match self {
            Self::Depthwise => 1,
            Self::Paired => 2,
        }
    }
}

/// The modulation of one chunk at one place: `gamma · conv(x) + x`.
#[derive(Module, Debug)]
pub struct ContentAwareFm {
    /// `[1]`, starts at 0: the layer starts as identity.
    pub gamma: Param<Tensor<1>>,
    /// `[channels, inputs, kernel, kernel]` and its bias.
    pub transformer: Conv2d,
}

impl ContentAwareFm {
    /// For maps of `channels`; networks use kernels of one pixel.
    pub fn new(channels: usize, kernel: usize, form: Form, device: &Device) -> Self {
        let config =
            Conv2dConfig::new(channels, channels, kernel).groups(channels / form.inputs()).bias(true);
        Self { gamma: zeros([1], device), transformer: config.init(device) }
    }

    /// `[batch, channels, height, width]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let gamma = self.gamma.val().reshape([1, 1, 1, 1]);
        self.transformer.forward(x.clone()).mul(gamma).add(x)
    }

    /// What the layer multiplies by beyond the identity, `gamma · weight` `[channels · inputs]`, and what it adds, `gamma · bias`
    /// `[channels]`; for kernels of one pixel.
    pub fn folded(&self) -> (Tensor<1>, Tensor<1>) {
        let gamma = self.gamma.val();
        let weight = self.transformer.weight.val();
        let count = weight.dims().iter().product::<usize>();
        let channels = weight.dims()[0];
        let bias = match &self.transformer.bias {
            Some(bias) => bias.val(),
            None => Tensor::zeros([channels], &gamma.device()),
        };
        (weight.reshape([count]).mul(gamma.clone()), bias.mul(gamma))
    }
}

/// Which chunk's modulation acts on which sample.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    /// One chunk for the whole batch.
    One(usize),
    /// A chunk for every sample. The convolutions run once over all samples; only the modulation is gathered.
    Each(&'a [usize]),
}

/// The modulations at one place of a network, by chunk; empty: the network is not modulated.
pub type Site = Vec<ContentAwareFm>;

/// A place for `chunks` modulations.
pub fn site(chunks: usize, channels: usize, form: Form, device: &Device) -> Site {
    (0..chunks).map(|_| ContentAwareFm::new(channels, 1, form, device)).collect()
}

/// Modulates `x` `[batch, channels, height, width]` at `site`, with a ReLU where `rectified` says.
///
/// # Panics
/// If a chunk has no modulation: callers check chunks when they meet them.
pub fn modulate(site: &Site, x: Tensor<4>, chunk: Chunk, rectified: Rectified) -> Tensor<4> {
    let chunks = match chunk {
        Chunk::Each(chunks) if !site.is_empty() => chunks,
        one => {
            let x = if rectified == Rectified::Before { relu(x) } else { x };
            let y = match one {
                Chunk::One(chunk) if !site.is_empty() => site[chunk].forward(x),
                _ => x,
            };
            return if rectified == Rectified::After { relu(y) } else { y };
        }
    };
    // Chunks that are not in the batch must not get a gradient, not even zeros: Adam skips them.
    let mut present = chunks.to_vec();
    present.sort_unstable();
    present.dedup();
    let channels = x.dims()[1];
    let inputs = site[present[0]].transformer.weight.dims()[1];
    let (scales, shifts): (Vec<_>, Vec<_>) = present.iter().map(|&chunk| site[chunk].folded()).unzip();
    let rows: Vec<i64> =
        chunks.iter().map(|chunk| present.partition_point(|own| own < chunk) as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [chunks.len()]), &x.device());
    let scale = Tensor::stack::<2>(scales, 0).select(0, rows.clone());
    let shift = Tensor::stack::<2>(shifts, 0).select(0, rows);
    ocelli_nn::modulate(x, scale.reshape([chunks.len(), channels, inputs]), shift, rectified)
}
