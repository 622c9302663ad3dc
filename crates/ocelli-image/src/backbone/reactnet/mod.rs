//! ReActNet: "ReActNet: Towards Precise Binary Neural Network with Generalized Activation Functions" (arXiv 2003.03488), and
//! with Elastic-Link (arXiv 2112.10149).
//!
//! Binary convolutions between learned shifts: what is below the shift of its channel is -1, and activations bend at
//! learned places. ReActNet-A follows MobileNetV1, the others ResNets with a shortcut around every convolution (Bi-Real
//! Net). With Elastic-Link a learned factor weighs every shortcut.
//!
//! | name | blocks | parameters | binary / real MACs |
//! | --- | --- | --- | --- |
//! | `reactnet_a` | 13 of two convolutions | 29,343,592 | 4.817 G / 11.9 M |
//! | `el_reactnet_a` | the same | 29,343,623 | the same |
//! | `reactnet18`, `el_reactnet18` | 4,4,4,4 of one | 11,704,424 (+ 16) | 1.676 G / 137.8 M |
//! | `reactnet34`, `el_reactnet34` | 6,8,12,6 of one | 21,827,432 (+ 32) | 3.526 G / 137.8 M |
//!
//! Keys of ReActNet-A: `feature.0.{conv1,bn1}`, `feature.I.{move11,binary_3x3,bn1,move12,prelu1,move13,move21,binary_pw,bn2,
//! binary_pw_down1,binary_pw_down2,bn2_1,bn2_2,move22,prelu2,move23}`, `fc`; the binary weights are columns called `weights`.
//! Files of the first training step, where they are called `weight` and have four dimensions, load too. Where the authors'
//! code needs sides that are multiples of 32, these networks take any: windows over the edge average what there is.

mod entries;
mod model;
pub mod resnet;

pub use entries::entries;
pub use model::{Block, Config, Net};
