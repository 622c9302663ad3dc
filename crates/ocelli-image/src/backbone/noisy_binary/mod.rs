//! "Training Binary Neural Networks through Learning with Noisy Supervision" (arXiv 2010.04871): binary ResNets with a shortcut
//! around every convolution, and their fine-tuning with mapping networks.
//!
//! | name | network | parameters |
//! | --- | --- | --- |
//! | `bnn_resnet20_cifar` | 3 x 6 units of 16, 32, 64 channels | 273,146 (2,324,090 in fine-tuning) |
//! | `bnn_resnet18` | 4 x 4 units of 64 to 512 channels ("Bi-Real Net + PReLU") | 11,693,352 |
//!
//! With a [`Supervision`] every binary convolution gets a mapping network, which makes the signs of its weights while the network is
//! trained, and the signs that the weights had before count as noisy labels of these. [`Net::warmed_up`] begins, [`Net::baked`] gives the
//! ordinary network that is left afterwards. There is no public code; names are ours: `conv1, bn1, layerS.J.{conv.weight,conv.map.net.N,bn,act,down.{1,2}},
//! fc`, and `layerS.J.label` for frozen labels. A file without mapping networks loads into a network with them.

mod config;
mod entries;
mod model;
mod unit;
mod warm_up;

pub use config::{Config, Labels, Stem, Supervision};
pub use entries::entries;
pub use model::{Net, Supervised};
pub use unit::Unit;
