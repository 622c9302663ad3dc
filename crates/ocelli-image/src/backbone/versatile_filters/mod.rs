//! Versatile filters: "Learning Versatile Filters for Efficient Convolutional Neural Networks" (NeurIPS 2018) and its
//! journal extension "Learning Versatile Convolution Filters for Efficient Visual Recognition" (T-PAMI 2021); with learned
//! masks, "Full-Stack Filters to Build Minimum Viable CNNs" (arXiv 1908.02023).
//!
//! The layers are [`ocelli_nn::versatile`] and [`ocelli_nn::mask_conv`]; any network of this crate that chooses its
//! convolutions by [`ConvKind`](ocelli_nn::ConvKind) can be built of them. Memory is that of convolutions and fully connected
//! layers in float32 ([`ocelli_nn::storage`]); the plain networks' is in brackets.
//!
//! | name | network | parameters | MACs | MiB |
//! | --- | --- | --- | --- | --- |
//! | `versatile_vgg11`, `13`, `16`, `19` | [`vgg`], nested kernels | 51,184,136 / 51,276,488 / 53,931,976 / 56,587,464 | 4.22 / 6.28 / 8.59 / 10.90 G | 205.7 (527.7) for 16 |
//! | the same with `_bn` | with batch norm | 51,189,640 (11) / 53,940,424 (16) | the same | the same |
//! | `versatile_resnet18_v1`, `_v2` | [`resnet`](crate::backbone::resnet), nested kernels; v2 with channel windows | 6,189,720 / 3,357,336 | 1.00 / 0.94 G | |
//! | `versatile_resnet34_v1`, `_v2` | | 11,247,512 / 5,889,944 | 2.03 / 1.91 G | |
//! | `versatile_resnet50_v1`, `_v2` | | 19,891,352 / 10,997,912 | 3.20 / 3.00 G | 75.7 / 41.8 (97.3) |
//! | `versatile_resnet101_v1`, `_v2` | | 33,869,976 / 18,013,336 | 6.04 / 5.66 G | |
//! | `mask_vgg16_cifar_s4_shared` | [`vgg_cifar`], learned masks | 3,829,158 | 313 M | 14.1 (56.1) |
//! | `mask_vgg16_cifar_s4`, `_s64` | a mask for every output | 18,405,882 / 14,958,117 | 313 M | 15.8 / 2.7 (56.1) |
//!
//! Masks are counted among the parameters because they are trained; stored they take a bit. Multiplications, done once per
//! stored filter, would be the MACs by s: this crate's kernels multiply by the masked filters and have no use of that. The
//! mask networks' published accuracies on CIFAR-10 are 92.9, 93.4 and 93.1 % (the plain VGG-16's 93.5 %); no weights are
//! published for any network of this room.

mod entries;
pub mod vgg;
pub mod vgg_cifar;

pub use entries::entries;

/// `foreign` without the marks of data-parallel training, which wraps parts of a network as well as the whole
/// (`features.module.0.weight`).
fn unwrapped(foreign: &str) -> Option<String> {
    let parts: Vec<&str> = foreign.split('.').filter(|part| *part != "module").collect();
    let name = parts.join(".");
    (name.len() < foreign.len()).then_some(name)
}
