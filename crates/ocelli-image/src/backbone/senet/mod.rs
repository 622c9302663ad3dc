//! "Squeeze-and-Excitation Networks" (arXiv 1709.01507) in the layouts of their released weights.
//!
//! | name | network | parameters | weights |
//! | --- | --- | --- | --- |
//! | `legacy_seresnet18`, `34` | basic blocks (timm's own) | 11,778,592 / 21,958,868 | timm |
//! | `legacy_seresnet50`, `101`, `152` | bottlenecks, stride in the first 1x1 | 28,088,024 / 49,326,872 / 66,821,848 | authors (Caffe), timm |
//! | `legacy_seresnext26_32x4d`, `50`, `101` | grouped bottlenecks | 16,790,280 / 27,559,896 / 48,955,416 | authors (50, 101), timm |
//! | `legacy_senet154` | the challenge network | 115,088,984 | authors, timm |
//! | `se_bn_inception`, `bn_inception` | [`inception`] | 11,931,622 / 11,285,224 | authors (with SE) |
//! | `se_mobilenet_100`, `mobilenet_100` | [`mobilenet`] | 4,718,044 / 4,231,976 | none |
//!
//! The modern layout (`seresnet50`, `seresnext50_32x4d`, `senet154`, ...) and the CIFAR networks are built in
//! [`resnet`](crate::backbone::resnet). [`weights`] converts names among Caffe, this room and the modern layout.

mod entries;
pub mod inception;
pub mod legacy;
pub mod mobilenet;
pub mod weights;

pub use entries::entries;
