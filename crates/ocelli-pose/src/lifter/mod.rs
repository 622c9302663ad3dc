//! Networks that lift 2D joints to 3D.
//!
//! The grid lifting network is "3D Human Pose Lifting with Grid Convolution" (AAAI 2023); names of tensors are those of the authors'
//! repository OSVAI/GridConv, so that its checkpoints load as they are.
//!
//! | hidden, blocks | GridConv | D-GridConv | AutoGrids | MACs a pose |
//! | --- | --- | --- | --- | --- |
//! | 64, 2 | 301,952 | 330,246 | 330,671 | 7.5 M |
//! | 128, 2 | 1,193,728 | 1,227,142 | 1,227,567 | 29.8 M |
//! | 256, 1 | 2,385,408 | 2,413,156 | 2,413,581 | 59.6 M |
//! | 256, 2 | 4,746,752 | 4,790,406 | 4,790,831 | 118.6 M |
//! | 256, 3 | 7,108,096 | 7,167,656 | 7,168,081 | 177.6 M |
//! | 256, 4 | 9,469,440 | 9,544,906 | 9,545,331 | 236.6 M |
//! | 512, 2 | 18,930,688 | 19,053,942 | 19,054,367 | 473.1 M |

mod baseline;
mod config;
mod init;
mod net;
mod network;

pub use baseline::{FullyConnected, GraphNet};
pub use config::{BaselineConfig, Config, LifterConfig, Variant};
pub use init::initialize;
pub use net::{GridNet, Stage};
pub use network::Lifter;
