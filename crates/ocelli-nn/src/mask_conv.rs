//! Convolution with learned binary masks ("Full-Stack Filters to Build Minimum Viable CNNs", arXiv 1908.02023; the
//! customised masks of the versatile filters' journal version): a few stored filters, the *basis*, are used several
//! times, each time with other signs. A drop-in for a convolution; a mask costs one bit per weight to store.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::conv::{Conv2dConfig, Window, convolve};
use crate::init::zeros;
use crate::state_dict::Path;

/// Who shares a mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskSharing {
    /// Nobody: every output has a mask of its own (MVNet-B).
    #[default]
    Separate,
    /// All filters of the basis in one use of it (MVNet-A).
    Shared,
}

/// How to build a [`MaskConv2d`].
#[derive(Clone, Debug)]
pub struct MaskConv2dConfig {
    plain: Conv2dConfig,
    basis: usize,
    sharing: MaskSharing,
}

impl MaskConv2dConfig {
    /// `plain` with `basis` stored filters, which the masks of every output choose from.
    pub fn new(plain: Conv2dConfig, basis: usize) -> Self {
        Self { plain, basis, sharing: MaskSharing::Separate }
    }

    /// Who shares a mask.
    pub fn sharing(mut self, sharing: MaskSharing) -> Self {
        self.sharing = sharing;
        self
    }

    /// Why there is no such layer, if so.
    ///
    /// # Errors
    /// If the basis does not divide the outputs or the groups do not divide the channels.
    pub fn check(&self) -> Result<(), String> {
        let Conv2dConfig { channels_in, channels_out, groups, .. } = self.plain;
        if self.basis == 0 || channels_out == 0 || !channels_out.is_multiple_of(self.basis) {
            return Err(format!("{} stored filters do not divide {channels_out} outputs", self.basis));
        }
        if groups == 0 || !channels_in.is_multiple_of(groups) || !channels_out.is_multiple_of(groups) {
            return Err(format!("{groups} groups do not divide {channels_in} -> {channels_out} channels"));
        }
        Ok(())
    }

    /// Builds the layer, its parameters zeros until initialised or loaded.
    ///
    /// # Panics
    /// If [`check`](Self::check) fails: a mistake in a network's own code.
    pub fn init(&self, device: &Device) -> MaskConv2d {
        if let Err(problem) = self.check() {
            panic!("no convolution with masks: {problem}");
        }
        let Conv2dConfig {
            channels_in,
            channels_out,
            kernel: [height, width],
            stride,
            padding,
            dilation,
            groups,
            bias,
        } = self.plain;
        let depth = channels_in / groups;
        let masks = match self.sharing {
            MaskSharing::Separate => channels_out,
            MaskSharing::Shared => channels_out / self.basis,
        };
        MaskConv2d {
            basis_list: zeros([self.basis, depth, height, width], device),
            mask: zeros([masks, depth, height, width], device),
            bias: bias.then(|| zeros([channels_out], device)),
            channels_out,
            stride,
            padding,
            dilation,
            groups,
            sharing: self.sharing,
        }
    }
}

/// 2D convolution with the filters `sign(mask) · basis`.
///
/// The masks are trained as real numbers, the gradient of a sign being taken for that of the number itself; after every
/// step of the optimiser [`clamp_masks`] keeps them in reach of their sign's change.
#[derive(Module, Debug)]
pub struct MaskConv2d {
    /// `[basis, channels_in / groups, kernel_height, kernel_width]`
    pub basis_list: Param<Tensor<4>>,
    /// The latent masks, `[channels_out, ...]` or shared `[channels_out / basis, ...]`; zero disables a weight.
    pub mask: Param<Tensor<4>>,
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
    /// Who shares a mask.
    #[module(skip)]
    pub sharing: MaskSharing,
}

impl MaskConv2d {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let window = Window {
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        };
        convolve(x, self.weight(), self.bias.as_ref().map(|bias| bias.val()), window)
    }

    /// The filters `[channels_out, channels_in / groups, kernel_height, kernel_width]`: output `o` is made by filter
    /// `o mod basis` of the basis.
    pub fn weight(&self) -> Tensor<4> {
        let basis = self.basis_list.val();
        let [count, depth, height, width] = basis.dims();
        let uses = self.channels_out / count;
        let signs = match self.sharing {
            MaskSharing::Separate => sign(self.mask.val()),
            // Each mask `count` times in a row. Copies behind each other rather than broadcasting, so that a graph's
            // constants can be computed beforehand.
            MaskSharing::Shared => {
                let flat = sign(self.mask.val()).reshape([uses, depth * height * width]);
                Tensor::cat(vec![flat; count], 1).reshape([self.channels_out, depth, height, width])
            }
        };
        signs.mul(Tensor::cat(vec![basis; uses], 0))
    }
}

/// `sign(x)` with the gradient of `x`.
fn sign<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !x.device().is_autodiff() {
        return x.sign();
    }
    // `x - x` is exactly zero, so that the sum is the sign to the bit.
    let hard = x.clone().sign().detach();
    x.clone().sub(x.detach()).add(hard)
}

fn is_mask(path: &Path) -> bool {
    path.owner() == "MaskConv2d" && path.leaf() == "mask"
}

/// How alike the masks of `module`'s layers are: the sum over all [`MaskConv2d`] of the mean of `(X Xᵀ / L - I)²`, where the
/// rows of `X` are the layer's masks of `L` signs. To be added to the loss with a small factor (1e-2). `[1]`, or nothing
/// where there are no masks. Gradients pass through the signs.
pub fn orthogonality<M: Module>(module: &M) -> Option<Tensor<1>> {
    sum_over_masks(module, |likeness, unit| likeness.sub(unit).square().mean())
}

/// The mean absolute likeness of two different masks, averaged over the layers of `module`: 0 for orthogonal masks, 1 for
/// equal or opposite ones. Nothing where no layer has two masks.
pub fn mean_likeness<M: Module>(module: &M) -> Option<f32> {
    let layers = std::cell::Cell::new(0usize);
    let sum = sum_over_masks(module, |likeness, unit| {
        let masks = unit.dims()[0];
        layers.set(layers.get() + usize::from(masks > 1));
        let others = unit.neg().add_scalar(1.0);
        likeness.abs().mul(others).sum().div_scalar((masks * masks.saturating_sub(1)).max(1) as f32)
    })?;
    let layers = layers.get();
    (layers > 0).then(|| sum.into_scalar::<f32>() / layers as f32)
}

/// Sums `term(X Xᵀ / L, I)` over the layers with masks.
fn sum_over_masks<M: Module>(
    module: &M,
    term: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<1>,
) -> Option<Tensor<1>> {
    struct Sum<F>(Path, Option<Tensor<1>>, F);
    impl<F: Fn(Tensor<2>, Tensor<2>) -> Tensor<1>> ModuleVisitor for Sum<F> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !is_mask(&self.0) {
                return;
            }
            let dims = param.lazy_shape();
            let (masks, length) = (dims[0], dims.iter().skip(1).product::<usize>());
            let rows = sign(param.val()).reshape([masks, length]);
            let likeness = rows.clone().matmul(rows.transpose()).div_scalar(length as f32);
            let unit = Tensor::eye(masks, &likeness.device());
            let own = (self.2)(likeness, unit);
            self.1 = Some(match self.1.take() {
                Some(sum) => sum.add(own),
                None => own,
            });
        }
    }
    let mut visitor = Sum(Path::default(), None, term);
    module.visit(&mut visitor);
    visitor.1
}

/// Keeps all latent masks of `module` within -1 and 1; to be called after every step of the optimiser.
pub fn clamp_masks<M: Module>(module: M) -> M {
    struct Clamp(Path);
    impl ModuleMapper for Clamp {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !is_mask(&self.0) {
                return param;
            }
            let (id, trained) = (param.id, param.is_require_grad());
            let value = param.val();
            let tracked = value.device().is_autodiff();
            let clamped = if tracked {
                Tensor::from_inner(value.without_autodiff().clamp(-1.0, 1.0))
            } else {
                value.clamp(-1.0, 1.0)
            };
            Param::initialized(id, if tracked && trained { clamped.require_grad() } else { clamped })
        }
    }
    module.map(&mut Clamp(Path::default()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::{InitScheme, initialize};

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().expect("float32")
    }

    fn layer(sharing: MaskSharing, device: &Device) -> MaskConv2d {
        let layer = MaskConv2dConfig::new(Conv2dConfig::new(2, 6, 1), 3).sharing(sharing).init(device);
        initialize(layer, InitScheme::KAIMING, 1)
    }

    #[test]
    fn filters_are_signs_of_a_repeated_basis() {
        for (sharing, masks) in [(MaskSharing::Separate, 6), (MaskSharing::Shared, 2)] {
            let mut layer = layer(sharing, &Device::flex());
            let mut latent = values(layer.mask.val());
            assert_eq!(latent.len(), 2 * masks);
            latent[1] = 0.0;
            let data = TensorData::new(latent.clone(), [masks, 2, 1, 1]);
            layer.mask = Param::from_tensor(Tensor::from_data(data, &Device::flex()));
            let basis = values(layer.basis_list.val());
            for (at, weight) in values(layer.weight()).into_iter().enumerate() {
                let (output, channel) = (at / 2, at % 2);
                let mask = if masks == 6 { output } else { output / 3 };
                let sign =
                    if latent[2 * mask + channel] == 0.0 { 0.0 } else { latent[2 * mask + channel].signum() };
                assert_eq!(weight, sign * basis[2 * (output % 3) + channel], "{sharing:?} {at}");
            }
        }
    }

    #[test]
    fn the_penalty_parts_masks_and_clamping_keeps_them_trainable() {
        let device = Device::flex().autodiff();
        let plain = Conv2dConfig::new(4, 8, 3);
        let mut layer = MaskConv2dConfig::new(plain, 4).init(&device);
        // All but equal masks, small enough to change.
        let latent = (0..8 * 36).map(|i| ((i % 36) as f32 - 17.5) / 100.0 + ((i * 31) % 17) as f32 / 100.0);
        let data = TensorData::new(latent.collect::<Vec<_>>(), [8, 4, 3, 3]);
        layer.mask = Param::from_tensor(Tensor::from_data(data, &device).require_grad());
        let likeness = |layer: &MaskConv2d| mean_likeness(layer).expect("there are masks");
        let (before, basis) = (likeness(&layer), layer.basis_list.id);
        for _ in 0..60 {
            let grads = orthogonality(&layer).expect("there are masks").backward();
            let mask = layer.mask.val();
            let grad = mask.grad(&grads).expect("masks have gradients");
            let stepped = mask.without_autodiff().sub(grad.mul_scalar(20.0));
            let id = layer.mask.id;
            layer.mask = Param::initialized(id, Tensor::from_inner(stepped).require_grad());
            layer = clamp_masks(layer);
            assert_eq!((layer.mask.id, layer.basis_list.id), (id, basis));
            assert!(values(layer.mask.val().abs()).into_iter().all(|v| v <= 1.0));
        }
        let after = likeness(&layer);
        assert!(after < 0.7 * before, "{before} -> {after}");
        assert!(orthogonality(&Conv2dConfig::new(1, 1, 1).init(&device)).is_none());
    }

    #[test]
    fn likeness_is_that_of_the_signs() {
        let mut layer = MaskConv2dConfig::new(Conv2dConfig::new(4, 2, 1), 1).init(&Device::flex());
        for (latent, expected) in [
            ([0.1, 2.0, -0.3, -4.0, 5.0, 0.6, -7.0, -0.8], 1.0),
            ([1.0, 1.0, 1.0, 1.0, 3.0, -3.0, 3.0, -3.0], 0.0),
        ] {
            let data = TensorData::new(latent.to_vec(), [2, 4, 1, 1]);
            layer.mask = Param::from_tensor(Tensor::from_data(data, &Device::flex()));
            assert_eq!(mean_likeness(&layer), Some(expected));
            let penalty = orthogonality(&layer).map(|own| own.into_scalar::<f32>());
            assert_eq!(penalty, Some(expected / 2.0));
        }
    }

    #[test]
    fn a_basis_that_does_not_come_out_even_is_refused() {
        for basis in [0, 4, 7] {
            assert!(MaskConv2dConfig::new(Conv2dConfig::new(2, 6, 1), basis).check().is_err());
        }
    }
}
