//! Binary convolution.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::link::{self, ElasticLink};
use super::mapping::MappingNetwork;
use super::sign::{Estimator, binarize, sign};
use crate::conv::{Conv2dConfig, Window, convolve};
use crate::init::drawn_between;
use crate::kernels;

/// How to build a [`BinaryConv2d`] or a [`FlatBinaryConv2d`].
#[derive(Clone, Debug)]
pub struct BinaryConv2dConfig {
    plain: Conv2dConfig,
    estimator: Estimator,
    scaled: bool,
    activation_scale: bool,
    el: bool,
    mapping: Option<bool>,
    range: (f64, f64),
}

impl BinaryConv2dConfig {
    /// `plain` with signs: the approximate estimator, filters scaled by their mean absolute weight, no scale of the
    /// activations, no link, no mapping network; weights begin within ±0.001.
    pub fn new(plain: Conv2dConfig) -> Self {
        Self {
            plain,
            estimator: Estimator::Approx,
            scaled: true,
            activation_scale: false,
            el: false,
            mapping: None,
            range: (-1e-3, 1e-3),
        }
    }

    /// What stands for the derivative of the activations' sign.
    pub fn estimator(mut self, estimator: Estimator) -> Self {
        self.estimator = estimator;
        self
    }

    /// Whether filters are scaled by their mean absolute weight.
    pub fn scaled(mut self, scaled: bool) -> Self {
        self.scaled = scaled;
        self
    }

    /// Whether outputs are scaled by the mean absolute activation under their window (XNOR-Net, section 3.2).
    pub fn activation_scale(mut self, scale: bool) -> Self {
        self.activation_scale = scale;
        self
    }

    /// Whether a learned multiple of the real-valued input is added: see [`ElasticLink`].
    pub fn elastic_link(mut self, el: bool) -> Self {
        self.el = el;
        self
    }

    /// A mapping network that makes the signs of the weights, with (`Some(true)`) or without its skip connection; the
    /// filters are not scaled then.
    pub fn mapping(mut self, skip: Option<bool>) -> Self {
        self.mapping = skip;
        self
    }

    /// Weights begin uniformly between `low` and `high`.
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = (low, high);
        self
    }

    /// Why there is no such layer, if so.
    ///
    /// # Errors
    /// If the groups do not divide the channels, there is a bias, or there is a link between channels of which neither number
    /// divides the other, or to a map that is not as large (divided by the stride, rounded up) as the output.
    pub fn check(&self) -> Result<(), String> {
        let Conv2dConfig { channels_in, channels_out, kernel, stride, padding, dilation, groups, bias } =
            self.plain;
        if groups == 0 || !channels_in.is_multiple_of(groups) || !channels_out.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {channels_in} -> {channels_out} channels"));
        }
        if bias {
            return Err("a bias: binary convolutions have none".to_string());
        }
        if self.mapping.is_some() && self.scaled {
            return Err("scaled filters from a mapping network".to_string());
        }
        if !self.el {
            return Ok(());
        }
        link::check(channels_in, channels_out)?;
        for axis in 0..2 {
            let reach = dilation[axis] * (kernel[axis] - 1);
            if !matches!(stride[axis], 1 | 2) || 2 * padding[axis] != reach || stride[0] != stride[1] {
                return Err(format!(
                    "a link around a window of {kernel:?}, stride {stride:?}, padding {padding:?}"
                ));
            }
        }
        Ok(())
    }

    fn checked(&self) -> &Self {
        if let Err(problem) = self.check() {
            panic!("no binary convolution with {problem}");
        }
        self
    }

    fn shape(&self) -> [usize; 4] {
        let Conv2dConfig { channels_in, channels_out, kernel: [kh, kw], groups, .. } = self.plain;
        [channels_out, channels_in / groups, kh, kw]
    }

    fn rule(&self) -> Rule {
        let Conv2dConfig { kernel, stride, padding, dilation, groups, channels_out, .. } = self.plain;
        Rule {
            channels_out,
            kernel,
            window: Window { stride, padding, dilation, groups },
            estimator: self.estimator,
            scaled: self.scaled,
            activation_scale: self.activation_scale,
        }
    }

    /// Builds the layer.
    ///
    /// # Panics
    /// If [`check`](Self::check) fails: a mistake in a network's own code.
    pub fn init(&self, device: &Device) -> BinaryConv2d {
        let own = self.checked();
        let (low, high) = own.range;
        BinaryConv2d {
            weight: drawn_between(own.shape(), low, high, device),
            el: own.el.then(|| ElasticLink::new(device)),
            map: own.mapping.map(|skip| MappingNetwork::new(own.shape()[1], skip, device)),
            rule: own.rule(),
        }
    }

    /// Builds the layer with its weights in one column.
    ///
    /// # Panics
    /// If [`check`](Self::check) fails, or with a link or a mapping network: a mistake in a network's own code.
    pub fn init_flat(&self, device: &Device) -> FlatBinaryConv2d {
        let own = self.checked();
        assert!(!own.el && own.mapping.is_none(), "flat weights have neither link nor mapping network");
        let (low, high) = own.range;
        let count = own.shape().iter().product();
        FlatBinaryConv2d {
            weights: drawn_between([count, 1], low, high, device),
            shape: own.shape(),
            rule: own.rule(),
        }
    }
}

/// What is computed with the weights.
#[derive(Clone, Copy, Debug)]
struct Rule {
    channels_out: usize,
    kernel: [usize; 2],
    window: Window,
    estimator: Estimator,
    scaled: bool,
    activation_scale: bool,
}

impl Rule {
    /// `filters` are ±1, times a scale perhaps.
    fn convolve(&self, x: Tensor<4>, filters: Tensor<4>) -> Tensor<4> {
        // Padding comes after the sign: it adds nothing.
        let y = convolve(sign(x.clone(), self.estimator), filters, None, self.window);
        self.rescale(x, y)
    }

    fn rescale(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        if self.activation_scale { y.mul(self.activation_mean(x)) } else { y }
    }

    fn activation_mean(&self, x: Tensor<4>) -> Tensor<4> {
        let mean = x.abs().mean_dim(1);
        let [kh, kw] = self.kernel;
        let filter = Tensor::full([1, 1, kh, kw], 1.0 / (kh * kw) as f32, &mean.device());
        convolve(mean, filter, None, Window { groups: 1, ..self.window })
    }

    /// Output channels, kernel, stride, padding, dilation, groups, and whether filters are scaled.
    fn geometry(&self) -> [usize; 11] {
        let Window { stride: [sh, sw], padding: [ph, pw], dilation: [dh, dw], groups } = self.window;
        let [kh, kw] = self.kernel;
        [self.channels_out, kh, kw, sh, sw, ph, pw, dh, dw, groups, usize::from(self.scaled)]
    }

    /// With latent weights in any shape.
    fn record<const D: usize>(&self, x: Tensor<4>, latent: Tensor<D>) -> Tensor<4> {
        let y = kernels::recorded_binary_conv(x.clone(), latent, self.geometry());
        self.rescale(x, y)
    }
}

/// Mean absolute value per filter: `[channels_out, weights]` → `[channels_out]`. No gradient passes.
pub fn weight_scale(weight: Tensor<2>) -> Tensor<1> {
    let count = weight.dims()[0];
    weight.detach().abs().mean_dim(1).reshape([count])
}

/// 2D convolution of the signs of `[batch, channels, height, width]` with the signs of the weights, beyond the edge zero.
#[derive(Module, Debug)]
pub struct BinaryConv2d {
    /// The latent weights, `[channels_out, channels_in / groups, kernel_height, kernel_width]`.
    pub weight: Param<Tensor<4>>,
    /// A learned multiple of the real-valued input is added.
    pub el: Option<ElasticLink>,
    /// Makes the weights' signs, all filters together.
    pub map: Option<MappingNetwork>,
    #[module(skip)]
    rule: Rule,
}

impl BinaryConv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = if kernels::is_recorded(&x) {
            match &self.map {
                Some(map) => self.rule.record(x.clone(), map.forward(self.weight.val())),
                None => self.rule.record(x.clone(), self.weight.val()),
            }
        } else {
            self.rule.convolve(x.clone(), self.filters())
        };
        self.linked(x, y)
    }

    /// [`forward`](Self::forward) with the given [`filters`](Self::filters).
    pub fn forward_with(&self, x: Tensor<4>, filters: Tensor<4>) -> Tensor<4> {
        let y = self.rule.convolve(x.clone(), filters);
        self.linked(x, y)
    }

    fn linked(&self, x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
        match &self.el {
            Some(el) => y.add(el.forward(x, self.rule.channels_out, self.rule.window.stride[0])),
            None => y,
        }
    }

    /// What is convolved with: signs of the weights (or of what the mapping network makes of them), times the scale per filter.
    pub fn filters(&self) -> Tensor<4> {
        match &self.map {
            Some(map) => sign(map.forward(self.weight.val()), Estimator::HardTanh),
            None => binarize(self.weight.val(), self.rule.scaled),
        }
    }

    /// The signs of the latent weights, without gradient.
    pub fn latent_signs(&self) -> Tensor<4> {
        sign(self.weight.val().detach(), Estimator::Identity)
    }

    /// XNOR-Net's `K`: the mean absolute activation under every window, `[batch, 1, height', width']`. Beyond the edge
    /// there are zeros; gradients pass.
    pub fn activation_mean(&self, x: Tensor<4>) -> Tensor<4> {
        self.rule.activation_mean(x)
    }
}

/// A [`BinaryConv2d`] whose weights are stored in one column, as in the authors' ReActNet-A.
#[derive(Module, Debug)]
pub struct FlatBinaryConv2d {
    /// The latent weights, `[channels_out · channels_in / groups · kernel_height · kernel_width, 1]`.
    pub weights: Param<Tensor<2>>,
    shape: [usize; 4],
    #[module(skip)]
    rule: Rule,
}

impl FlatBinaryConv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        if kernels::is_recorded(&x) {
            return self.rule.record(x, self.weights.val());
        }
        self.rule.convolve(x, self.filters())
    }

    /// As [`BinaryConv2d::activation_mean`].
    pub fn activation_mean(&self, x: Tensor<4>) -> Tensor<4> {
        self.rule.activation_mean(x)
    }

    /// What is convolved with, `[channels_out, channels_in / groups, kernel_height, kernel_width]`.
    pub fn filters(&self) -> Tensor<4> {
        binarize(self.weights.val().reshape(self.shape), self.rule.scaled)
    }
}
