//! GhostNet and Ghost drop-ins: "GhostNet: More Features from Cheap Operations" (arXiv 1911.11907), "GhostNets
//! on Heterogeneous Devices via Cheap Operations" (arXiv 2201.03297): C-Ghost for CPUs, G-Ghost for GPUs.
//!
//! | name | network | parameters | MACs |
//! | --- | --- | --- | --- |
//! | `ghostnet_050`, `100`, `130` | [`model`] (C-GhostNet, timm's and the authors' names) | 2,587,292 / 5,182,508 / 7,358,820 | 42.3 / 141.2 / 227.0 M |
//! | `ghost_resnet50_s2`, `_s4` | [`resnet50`], the paper's form | 13,953,512 / 8,151,752 | 2.15 / 1.18 G |
//! | `ghost_resnet50_s2_released`, `_s4_released` | [`resnet50`], as the released checkpoints compute | 13,927,016 / 8,125,256 | 2.15 / 1.18 G |
//! | `ghost_resnet56_cifar` | [`resnet_cifar`] | 438,154 | 65.3 M |
//! | `ghost_vgg16_cifar`, `vgg16_cifar` | [`vgg_cifar`] | 7,650,474 / 14,986,698 | 158.1 / 313.5 M |
//! | `g_ghost_regnetx_002` … `320` | [`g_ghost`], RegNetX | 1,825,440 … 62,815,448 | 130.9 M … 17.2 G |
//! | `g_ghost_resnet50`, `101` | [`g_ghost`], ResNet (our reading) | 26,217,896 / 35,435,432 | 2.99 / 3.92 G |

mod entries;
pub mod g_ghost;
pub mod model;
pub mod resnet50;
pub mod resnet_cifar;
pub mod vgg_cifar;

pub use entries::entries;
pub use model::{BlockConfig, Config, DetectorMaps, GhostBottleneck, Net, Style};
