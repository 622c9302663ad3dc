//! AdderNet: residual networks whose inner convolutions add instead of multiplying: "AdderNet: Do We Really Need
//! Multiplications in Deep Learning?" (Chen et al., CVPR 2020, arXiv 1912.13200).
//!
//! The first convolution and the classifier multiply; everything between is [`AdderConv2d`](ocelli_nn::AdderConv2d), and the logits go
//! through a batch norm. Keys are those of huawei-noah's files (`layer1.0.conv1.adder`; the prefix `module.` of files saved on several
//! devices is taken off). The 18-layer network is the released 50-layer one with basic blocks.
//!
//! | name | input | parameters | multiply-accumulates | distances |
//! | --- | --- | --- | --- | --- |
//! | `adder_resnet20` | 32 | 272,484 | 443,008 | 40,370,176 |
//! | `adder_resnet32` | 32 | 466,916 | 443,008 | 68,681,728 |
//! | `adder_resnet18` | 224 | 11,691,512 | 118,525,952 | 1,695,547,392 |
//! | `adder_resnet50` | 224 | 25,559,032 | 120,061,952 | 3,969,122,304 |
//!
//! The authors' recipe for CIFAR: `ocelli image train --model adder_resnet20 --data cifar-10-batches-bin --epochs 400 --batch-size 256 --opt sgd
//! --lr 0.1 --warmup-epochs 0 --weight-decay 5e-4 --crop pad --padding 4 --hflip 0.5 --smoothing 0`, with `decay_norms_and_biases = true` in the
//! run's settings (they decay all parameters). The learning rate of a layer, eta = 0.2, is in its gradient.
//!
//! Quantisation is in `ocelli-compress` (`adder`): `ocelli compress MODEL --method adder --bits 4 --calibrate DIR -o FILE`.

mod block;
pub mod cifar;
mod entries;
mod model;

pub use entries::entries;
pub use model::{Block, Config, Net};
