//! ResNet and its descendants in timm's layout: "Deep Residual Learning" (arXiv 1512.03385), ResNeXt
//! (1611.05431), and with squeeze-and-excitation (1709.01507) as timm publishes them.
//!
//! | name | blocks | parameters |
//! | --- | --- | --- |
//! | `resnet18`, `resnet34` | basic 2,2,2,2 / 3,4,6,3 | 11,689,512 / 21,797,672 |
//! | `resnet50`, `resnet101`, `resnet152` | bottleneck 3,4,6,3 / 3,4,23,3 / 3,8,36,3 | 25,557,032 / 44,549,160 / 60,192,808 |
//! | `seresnet18` ... `seresnet152` | the same with SE | 28,088,024 (50) |
//! | `resnext50_32x4d`, `seresnext50_32x4d` | grouped bottleneck | 25,028,904 / 27,559,896 |

pub mod cifar;
mod config;
mod entries;
mod model;

pub use config::{Block, Config, Norms, SeConfig, SePlacement, Stem};
pub use entries::entries;
pub use model::{BasicBlock, Bottleneck, BottleneckShape, Net};
