//! Versatile convolution ("Learning Versatile Filters for Efficient Convolutional Neural Networks", NeurIPS 2018, and
//! its journal extension): every stored *primary* filter is used several times, each time through a binary mask, so
//! that it makes several maps. A drop-in for a convolution.
//!
//! *Spatial* masks are nested: the `k × k` filter, its core of side `k - 2`, and so on, `⌈k / 2⌉` in all. *Channel* masks
//! are windows that slide over the channels. Both together make `⌈k / 2⌉ · windows` maps of one filter.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, s};
use ocelli_kernels::train::ConvShape;
use ocelli_kernels::train::versatile::VersatileShape;
use serde::{Deserialize, Serialize};

use crate::conv::{Conv2dConfig, Window, convolve};
use crate::init::zeros;
use crate::kernels;

/// Which versatile filters the convolutions of a network get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versatile {
    /// Nested kernels in all convolutions larger than 1x1.
    pub spatial: bool,
    /// Two channel windows, each without this fraction of the channels (16: all but a sixteenth), in all ungrouped
    /// convolutions with that many input channels.
    pub channel: Option<usize>,
}

impl Versatile {
    /// The papers' v1: nested kernels.
    pub const V1: Self = Self { spatial: true, channel: None };
    /// The papers' v2: nested kernels and two channel windows. The fraction, which is not published, follows from the
    /// published cost of ResNet-50.
    pub const V2: Self = Self { spatial: true, channel: Some(16) };

    /// The layer that takes the place of `plain`, unless it stays as it is: depthwise convolutions do, and 1x1 ones
    /// without channel windows.
    pub fn layer(&self, plain: &Conv2dConfig) -> Option<VersatileConv2dConfig> {
        let [height, width] = plain.kernel;
        if plain.groups > 1 && plain.groups == plain.channels_in || height != width {
            return None;
        }
        let fraction = self
            .channel
            .filter(|&fraction| plain.groups == 1 && fraction > 0 && plain.channels_in >= fraction);
        let channel = match fraction.map(|fraction| plain.channels_in / fraction) {
            Some(delta) => ChannelWindow { delta, step: delta, mode: ChannelMode::Slide },
            None => ChannelWindow::WHOLE,
        };
        let spatial = self.spatial && height > 1;
        (spatial || channel.count() > 1).then(|| VersatileConv2dConfig {
            plain: plain.clone(),
            spatial,
            channel,
        })
    }
}

/// Which filter channels meet which input channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelMode {
    /// The first channels of the filter slide over the input: what the authors' code does. The last `delta` channels of
    /// the filter are never used.
    #[default]
    Slide,
    /// The filter stays where it is and the window hides the rest: the papers' formula.
    Mask,
}

/// Windows over the channels: `delta / step + 1` of them, each of all but `delta` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelWindow {
    /// Channels a window leaves out.
    pub delta: usize,
    /// Channels from one window to the next; divides `delta`.
    pub step: usize,
    /// Which filter channels it uses.
    #[serde(default)]
    pub mode: ChannelMode,
}

impl ChannelWindow {
    /// One window over all channels.
    pub const WHOLE: Self = Self { delta: 0, step: 1, mode: ChannelMode::Slide };

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.delta / self.step.max(1) + 1
    }
}

/// How to build a [`VersatileConv2d`].
#[derive(Clone, Debug)]
pub struct VersatileConv2dConfig {
    pub(crate) plain: Conv2dConfig,
    spatial: bool,
    channel: ChannelWindow,
}

impl VersatileConv2dConfig {
    /// `plain` with nested kernels.
    pub fn new(plain: Conv2dConfig) -> Self {
        Self { plain, spatial: true, channel: ChannelWindow::WHOLE }
    }

    /// Whether the kernels are nested.
    pub fn spatial(mut self, spatial: bool) -> Self {
        self.spatial = spatial;
        self
    }

    /// Windows over the channels.
    pub fn channel(mut self, channel: ChannelWindow) -> Self {
        self.channel = channel;
        self
    }

    /// Why there is no such layer, if so.
    ///
    /// # Errors
    /// For kernels that are not square, windows that leave no channel or do not come out even, windows in a grouped
    /// convolution, groups that do not divide the channels or the stored filters.
    pub fn check(&self) -> Result<(), String> {
        let Conv2dConfig { channels_in, channels_out, kernel: [height, width], groups, .. } = self.plain;
        let ChannelWindow { delta, step, .. } = self.channel;
        if height != width || height == 0 {
            return Err(format!("nested kernels are square, not {height}x{width}"));
        }
        if step == 0 || !delta.is_multiple_of(step) || delta >= channels_in {
            return Err(format!("windows without {delta} of {channels_in} channels, {step} apart"));
        }
        if groups == 0 || !channels_in.is_multiple_of(groups) || !self.primary().is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups do not divide {channels_in} channels and {} stored filters",
                self.primary()
            ));
        }
        if groups > 1 && delta > 0 {
            return Err("channel windows need an ungrouped convolution".into());
        }
        if channels_out == 0 {
            return Err("no output channels".into());
        }
        Ok(())
    }

    /// Maps that one filter makes.
    fn uses(&self) -> usize {
        nests(self.spatial, self.plain.kernel[0]) * self.channel.count()
    }

    /// Stored filters.
    fn primary(&self) -> usize {
        self.plain.channels_out.div_ceil(self.uses())
    }

    /// Builds the layer, its parameters zeros until initialised or loaded.
    ///
    /// # Panics
    /// If [`check`](Self::check) fails: a mistake in a network's own code.
    pub fn init(&self, device: &Device) -> VersatileConv2d {
        if let Err(problem) = self.check() {
            panic!("no versatile convolution: {problem}");
        }
        let Conv2dConfig { channels_in, channels_out, kernel, stride, padding, dilation, groups, bias } =
            self.plain;
        VersatileConv2d {
            weight: zeros([self.primary(), channels_in / groups, kernel[0], kernel[1]], device),
            bias: bias.then(|| zeros([channels_out], device)),
            channels_out,
            stride,
            padding,
            dilation,
            groups,
            spatial: self.spatial,
            channel: self.channel,
        }
    }
}

/// Number of nested kernels.
fn nests(spatial: bool, side: usize) -> usize {
    if spatial { side.div_ceil(2) } else { 1 }
}

/// 2D convolution with filters that are used several times.
///
/// Maps come in blocks of as many as there are stored filters, the largest kernel first, its channel windows one after
/// another; surplus maps are cut from the end.
#[derive(Module, Debug)]
pub struct VersatileConv2d {
    /// Primary filters `[⌈channels_out / uses⌉, channels_in / groups, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[channels_out]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Channels of the output.
    pub channels_out: usize,
    /// Step of the window `[height, width]`.
    pub stride: [usize; 2],
    /// Zeros on every side `[height, width]`.
    pub padding: [usize; 2],
    /// Distance of the taps `[height, width]`.
    pub dilation: [usize; 2],
    /// Number of channel groups.
    pub groups: usize,
    /// Whether the kernels are nested.
    pub spatial: bool,
    /// Windows over the channels.
    #[module(skip)]
    pub channel: ChannelWindow,
}

impl VersatileConv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        // Where surplus maps are cut, the bias comes after.
        let even = self.weight.lazy_shape()[0] * self.uses() == self.channels_out;
        let early = bias.clone().filter(|_| even);
        // Without gradients all nested kernels cost what the largest does: 5 to 40 % less time than one convolution each
        // (`cargo run --release -p ocelli-kernels --example versatile`). A recording shows the convolutions.
        let maps = match self.rings(&x, early.clone()) {
            Some(maps) => maps,
            None => self.apart(x, early),
        };
        if even {
            return maps;
        }
        let maps = maps.slice(s![.., 0..self.channels_out]);
        match bias {
            Some(bias) => maps.add(bias.reshape([1, self.channels_out, 1, 1])),
            None => maps,
        }
    }

    /// Maps that one filter makes.
    fn uses(&self) -> usize {
        nests(self.spatial, self.weight.lazy_shape()[2]) * self.channel.count()
    }

    /// All maps by the kernel that sums nested filters from the inside out.
    fn rings(&self, x: &Tensor<4>, bias: Option<Tensor<1>>) -> Option<Tensor<4>> {
        if !kernels::serve(x) || x.device().is_autodiff() {
            return None;
        }
        let weight = self.weight.val();
        let [batch, channels_in, height, width] = x.dims();
        let [primary, _, side, _] = weight.dims();
        let conv = ConvShape {
            batch,
            channels_in,
            channels_out: primary,
            size: [height, width],
            kernel: [side; 2],
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        };
        let ChannelWindow { delta, step, mode } = self.channel;
        let nests = nests(self.spatial, side);
        let shape = VersatileShape { conv, nests, delta, step, mask: mode == ChannelMode::Mask };
        kernels::versatile(x.clone(), weight, bias, &shape)
    }

    /// One convolution per block of maps; each has its windows in the same places of the input, whatever its kernel.
    fn apart(&self, x: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
        let weight = self.weight.val();
        let [primary, channels, side, _] = weight.dims();
        let ChannelWindow { delta, step, mode } = self.channel;
        let window = channels - delta;
        let mut blocks = Vec::new();
        for nest in 0..nests(self.spatial, side) {
            let (x, padding) = self.inset(x.clone(), nest);
            let core = nest..side - nest;
            for position in 0..self.channel.count() {
                let at = position * step;
                let from = if mode == ChannelMode::Slide { 0 } else { at };
                let x = if delta == 0 { x.clone() } else { x.clone().slice(s![.., at..at + window]) };
                let kernel = match (delta, nest) {
                    (0, 0) => weight.clone(),
                    _ => weight.clone().slice(s![.., from..from + window, core.clone(), core.clone()]),
                };
                let first = blocks.len() * primary;
                let bias = bias.clone().map(|bias| bias.slice(s![first..first + primary]));
                let moves =
                    Window { stride: self.stride, padding, dilation: self.dilation, groups: self.groups };
                blocks.push(convolve(x, kernel, bias, moves));
            }
        }
        joined(blocks)
    }

    /// The input and padding of the kernel that is `nest` taps smaller on every side: less padding, and where there is
    /// none left, a smaller input.
    fn inset(&self, x: Tensor<4>, nest: usize) -> (Tensor<4>, [usize; 2]) {
        let inset = self.dilation.map(|dilation| nest * dilation);
        let padding = [0, 1].map(|axis| self.padding[axis].saturating_sub(inset[axis]));
        let [cut_y, cut_x] = [0, 1].map(|axis| inset[axis].saturating_sub(self.padding[axis]));
        if [cut_y, cut_x] == [0, 0] {
            return (x, padding);
        }
        let [_, _, height, width] = x.dims();
        let end = |size: usize, cut: usize| size.saturating_sub(cut).max(cut.min(size));
        let x =
            x.slice(s![.., .., cut_y.min(height)..end(height, cut_y), cut_x.min(width)..end(width, cut_x)]);
        (x, padding)
    }
}

/// The channels of all `maps` behind each other.
fn joined(mut maps: Vec<Tensor<4>>) -> Tensor<4> {
    match (maps.len(), maps.pop()) {
        (1, Some(only)) => only,
        (2, Some(second)) if kernels::serve(&second) => {
            let kept = second.dims()[1];
            kernels::join(maps.remove(0), second, kept)
        }
        (_, last) => {
            maps.extend(last);
            Tensor::cat(maps, 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn tensor<const D: usize>(shape: [usize; D], seed: usize) -> Tensor<D> {
        let count = shape.iter().product::<usize>();
        let numbers: Vec<f32> =
            (0..count).map(|i| ((i * 131 + seed * 37) % 251) as f32 / 125.0 - 1.0).collect();
        Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
    }

    #[test]
    fn both_ways_of_computing_agree() {
        let windows = |delta, step, mode| ChannelWindow { delta, step, mode };
        for (kernel, padding, channels_out, channel) in [
            (3, 1, 16, ChannelWindow::WHOLE),
            (5, 1, 17, ChannelWindow::WHOLE),
            (7, 0, 9, windows(4, 2, ChannelMode::Mask)),
            (4, 1, 13, windows(3, 3, ChannelMode::Slide)),
            (1, 0, 10, windows(2, 1, ChannelMode::Mask)),
        ] {
            let plain = Conv2dConfig::new(6, channels_out, kernel).padding(padding).stride(2).bias(true);
            let mut layer = VersatileConv2dConfig::new(plain).channel(channel).init(&Device::flex());
            layer.weight = Param::from_tensor(tensor(layer.weight.lazy_shape().dims(), 1));
            layer.bias = Some(Param::from_tensor(tensor([channels_out], 2)));
            let x = tensor([2, 6, 13, 10], 3);
            let rings = layer.rings(&x, None).expect("a tensor of the CPU without gradients");
            let apart = layer.apart(x.clone(), None);
            let close = |a: Tensor<4>, b: Tensor<4>| a.sub(b).abs().max().into_scalar::<f32>() < 1e-4;
            assert!(close(rings.clone(), apart), "{kernel} {channel:?}");
            let bias = layer.bias.as_ref().map(|bias| bias.val()).expect("set above");
            let expected = rings.slice(s![.., 0..channels_out]).add(bias.reshape([1, channels_out, 1, 1]));
            assert!(close(layer.forward(x), expected), "{kernel} {channel:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |plain: Conv2dConfig, delta, step| {
            let channel = ChannelWindow { delta, step, mode: ChannelMode::Slide };
            VersatileConv2dConfig::new(plain).channel(channel).check()
        };
        let plain = || Conv2dConfig::new(8, 16, 3);
        assert!(check(plain(), 4, 2).is_ok());
        for (plain, delta, step) in [
            (plain(), 8, 8),
            (plain(), 3, 2),
            (plain(), 2, 0),
            (plain().groups(2), 2, 2),
            (plain().groups(3), 0, 1),
        ] {
            assert!(check(plain.clone(), delta, step).is_err(), "{plain:?} {delta} {step}");
        }
    }

    #[test]
    fn some_convolutions_stay_plain() {
        let becomes =
            |versatile: Versatile, plain: Conv2dConfig| versatile.layer(&plain).map(|own| own.uses());
        assert_eq!(becomes(Versatile::V1, Conv2dConfig::new(3, 64, 7)), Some(4));
        assert_eq!(becomes(Versatile::V2, Conv2dConfig::new(3, 64, 7)), Some(4));
        assert_eq!(becomes(Versatile::V1, Conv2dConfig::new(64, 64, 1)), None);
        assert_eq!(becomes(Versatile::V2, Conv2dConfig::new(64, 64, 1)), Some(2));
        assert_eq!(becomes(Versatile::V2, Conv2dConfig::new(64, 64, 3).groups(64)), None);
        assert_eq!(becomes(Versatile::V2, Conv2dConfig::new(64, 64, 3).groups(2)), Some(2));
    }
}
