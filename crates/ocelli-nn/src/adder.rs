//! Adder convolution: filters and windows are compared by their distance instead of multiplied.
//!
//! Source: Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?" (2020, arXiv 1912.13200), and for codes Nie et
//! al., "Redistribution of Weights and Activations for AdderNet Quantization" (2022, arXiv 2212.10200).
//!
//! What is done around a pass is said for the thread, so that no network has an argument for it: [`observe`] looks at the inputs
//! of all adder layers, [`with_codes`] lets them compute with codes.

mod codes;
mod qat;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::tensor::module::unfold4d;
use burn::tensor::ops::UnfoldOptions;
use burn::tensor::{Device, Tensor};
use ocelli_kernels::train::ConvShape;

pub use codes::LayerCodes;
pub use qat::{FakeCodes, fake_activations, fake_weights};

use crate::init::zeros;
use crate::kernels;

/// Learning rate of a layer's weights in the authors' code.
pub const ETA: f64 = 0.2;

/// How to build an [`AdderConv2d`].
#[derive(Clone, Debug)]
pub struct AdderConv2dConfig {
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    bias: bool,
    eta: f64,
}

impl AdderConv2dConfig {
    /// A `kernel × kernel` window, stride 1, padded by `(kernel - 1) / 2`, without bias.
    pub fn new(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        let padding = kernel.saturating_sub(1) / 2;
        Self { channels_in, channels_out, kernel, stride: 1, padding, bias: false, eta: ETA }
    }

    /// Step of the window, in pixels.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// Zeros added on every side, in pixels; they have a distance to the weights like any number.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// Adds a bias per output channel.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Another learning rate of the layer; 0 leaves the weights' gradient unscaled.
    pub fn eta(mut self, eta: f64) -> Self {
        self.eta = eta;
        self
    }

    /// Builds the layer, its weights zeros until initialised (normal, deviation 1) or loaded.
    pub fn init(&self, device: &Device) -> AdderConv2d {
        AdderConv2d {
            adder: zeros([self.channels_out, self.channels_in, self.kernel, self.kernel], device),
            b: self.bias.then(|| zeros([self.channels_out], device)),
            stride: self.stride,
            padding: self.padding,
            eta: self.eta,
        }
    }
}

/// `y = -Σ |adder - x| (+ b)` over all taps and channels of a window.
///
/// Training has the method's gradients: `Σ (x - w) g` for the weights, scaled to the length `eta · sqrt(elements)` over the whole
/// layer, `Σ clamp(w - x, -1, 1) g` for the input. On devices without our kernels the scaling is missing: burn has no place in a
/// composition where a gradient's length is known; see [`adapt`].
#[derive(Module, Debug)]
pub struct AdderConv2d {
    /// `[channels_out, channels_in, kernel, kernel]`
    pub adder: Param<Tensor<4>>,
    /// `[channels_out]`
    pub b: Option<Param<Tensor<1>>>,
    /// Step of the window, in pixels.
    pub stride: usize,
    /// Zeros on every side, in pixels.
    pub padding: usize,
    /// The layer's learning rate.
    pub eta: f64,
}

thread_local! {
    static OBSERVER: RefCell<Option<Observer>> = const { RefCell::new(None) };
    static CODES: RefCell<Option<Arc<Codes>>> = const { RefCell::new(None) };
    static FAKE: RefCell<Option<HashMap<ParamId, (FakeCodes, Tensor<1>)>>> = const { RefCell::new(None) };
}

/// What looks at the input of an adder layer, which is known by its weights.
pub type Observer = Box<dyn FnMut(ParamId, &Tensor<4>)>;

/// Layers, known by their weights, and what they compute with.
pub type Codes = HashMap<ParamId, LayerCodes>;

/// Runs `forward`; `observer` sees the input of every adder layer of this thread.
pub fn observe<T>(observer: Observer, forward: impl FnOnce() -> T) -> T {
    struct Restore(Option<Observer>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OBSERVER.set(self.0.take());
        }
    }
    let _restore = Restore(OBSERVER.replace(Some(observer)));
    forward()
}

/// Runs `forward`; adder layers of this thread that `codes` names compute with codes, exactly as integers do.
pub fn with_codes<T>(codes: &Arc<Codes>, forward: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<Codes>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CODES.set(self.0.take());
        }
    }
    let _restore = Restore(CODES.replace(Some(codes.clone())));
    forward()
}

/// Runs `forward`; adder layers of this thread that `layers` names compute with what their codes stand for, and learn: their weights,
/// and the scales `[groups]` beside them.
pub fn with_fake_codes<T>(
    layers: HashMap<ParamId, (FakeCodes, Tensor<1>)>,
    forward: impl FnOnce() -> T,
) -> T {
    struct Restore(Option<HashMap<ParamId, (FakeCodes, Tensor<1>)>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FAKE.set(self.0.take());
        }
    }
    let _restore = Restore(FAKE.replace(Some(layers)));
    forward()
}

impl AdderConv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        // Taken out while it looks, so that it may run layers itself.
        if let Some(mut observer) = OBSERVER.take() {
            observer(self.adder.id, &x);
            OBSERVER.set(Some(observer));
        }
        let codes = CODES.with_borrow(Clone::clone);
        let fake = FAKE.with_borrow(|layers| layers.as_ref()?.get(&self.adder.id).cloned());
        let y = match (codes.as_ref().and_then(|codes| codes.get(&self.adder.id)), fake) {
            (Some(own), _) => own.forward(x, self.stride, self.padding),
            (None, Some((own, scales))) => {
                own.forward(x, self.adder.val(), scales, self.stride, self.padding, self.eta)
            }
            (None, None) => distances(x, self.adder.val(), self.stride, self.padding, self.eta),
        };
        match &self.b {
            Some(bias) => {
                let [channels] = bias.lazy_shape().dims();
                y.add(bias.val().reshape([1, channels, 1, 1]))
            }
            None => y,
        }
    }
}

/// `-Σ |weight - x|` with the method's gradients; `eta` scales that of the weights (0: not at all).
pub fn distances(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize, eta: f64) -> Tensor<4> {
    if kernels::serve(&x) {
        let [batch, channels_in, height, width] = x.dims();
        let [channels_out, _, kernel_height, kernel_width] = weight.dims();
        let shape = ConvShape {
            batch,
            channels_in,
            channels_out,
            size: [height, width],
            kernel: [kernel_height, kernel_width],
            stride: [stride; 2],
            padding: [padding; 2],
            dilation: [1; 2],
            groups: 1,
        };
        return kernels::adder_conv(x, weight, shape, eta);
    }
    if kernels::is_recorded(&x) {
        return kernels::recorded_adder_conv(x, weight, [stride, stride, padding, padding, 1, 1]);
    }
    composed(x, weight, stride, padding)
}

/// `weight`, whose gradient is scaled on the way back as a layer's is; where kernels are missing, `weight` alone.
pub fn adapted(weight: Tensor<4>, eta: f64) -> Tensor<4> {
    if kernels::serve(&weight) && eta > 0.0 { kernels::adapted(weight, eta) } else { weight }
}

/// The same of burn's operations, for other devices: a table of all differences, `filters · taps` numbers per pixel. The weights'
/// gradient is not scaled.
pub fn composed(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let [filters, channels, kernel_height, kernel_width] = weight.dims();
    let along = |size: usize, kernel: usize| (size + 2 * padding - kernel) / stride + 1;
    let output = [batch, filters, along(height, kernel_height), along(width, kernel_width)];
    let taps = channels * kernel_height * kernel_width;
    let options = UnfoldOptions::new([stride; 2], [padding; 2], [1; 2]);
    let columns = unfold4d(x, [kernel_height, kernel_width], options);
    let pixels = output[2] * output[3];
    let columns = columns.reshape([batch, 1, taps, pixels]);
    let weight = weight.reshape([1, filters, taps, 1]);
    let difference = |w: Tensor<4>, x: Tensor<4>| {
        let shape = [batch, filters, taps, pixels];
        w.expand(shape).sub(x.expand(shape))
    };
    let value = difference(weight.clone().detach(), columns.clone().detach()).abs().neg().sum_dim(2);
    // Nothing, whose derivatives are the method's gradients: that of `-d²/2` is `-d` to the weights; that of Huber's function is
    // `clamp(d)` to the input.
    let to_weights = difference(weight.clone(), columns.clone().detach()).square().mul_scalar(-0.5);
    let d = difference(weight.detach(), columns);
    let near = d.clone().clamp(-1.0, 1.0);
    let to_input = near.clone().detach().mul(d.clone()).neg();
    let slopes = to_weights.add(to_input).sum_dim(2);
    let nothing = slopes.clone().sub(slopes.detach());
    value.add(nothing).reshape(output)
}

/// The gradient of a layer's weights scaled to the length `eta · sqrt(elements)`, as the kernels do on the way back: for devices
/// without them, before an optimiser sees it.
pub fn adapt(raw: Tensor<4>, eta: f64) -> Tensor<4> {
    let elements = raw.dims().iter().product::<usize>() as f64;
    let length = raw.clone().square().sum().sqrt().clamp_min(1e-12);
    let factor = length.recip().mul_scalar(eta * elements.sqrt());
    raw.mul(factor.reshape([1, 1, 1, 1]))
}
