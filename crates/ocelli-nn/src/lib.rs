//! Layers on burn tensors that two or more of ocelli's networks share.
//!
//! Parameters carry PyTorch's names and layouts (`weight` of a linear layer is `[out, in]`, batch norm has
//! `weight`, `bias`, `running_mean`, `running_var`), so a network whose fields are named as in the reference
//! implementation reads the reference's checkpoints key by key, without a translation table.
//!
//! Training behaviour (batch statistics, dropout) follows burn's rule: it is on where the input lives on an
//! autodiff device and the layer's own flag is enabled. `module.valid()` switches both off.

pub mod activation;
pub mod adder;
pub mod attention;
pub mod binary;
pub mod conv;
pub mod convolution;
pub mod cost;
pub mod dropout;
pub mod dynamic;
pub mod fake_quant;
pub mod ghost;
pub mod graph;
pub mod init;
mod kernels;
pub mod layer_norm;
pub mod linear;
pub mod mask_conv;
pub mod mlp;
pub mod modulate;
pub mod norm;
pub mod penal;
pub mod pool;
pub mod position;
pub mod prune;
pub mod random;
pub mod recording;
pub mod resize;
pub mod shortcut;
pub mod slot;
pub mod squeeze_excite;
pub mod state_dict;
pub mod storage;
pub mod taps;
pub mod versatile;
pub mod weights;

pub use activation::Activation;
pub use adder::{AdderConv2d, AdderConv2dConfig};
pub use attention::{attention, attention_of_joined, attention_of_pair};
pub use conv::{Conv2d, Conv2dConfig};
pub use convolution::{ConvKind, Convolution};
pub use dropout::{DropPath, Dropout};
pub use dynamic::{Dynamic, DynamicConv2d, Gate};
pub use ghost::{GhostConfig, GhostModule};
pub use init::{InitScheme, initialize};
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearConfig};
pub use mask_conv::{MaskConv2d, MaskConv2dConfig, MaskSharing};
pub use mlp::Mlp;
pub use modulate::{Rectified, modulate};
pub use norm::{BatchNorm, BatchNormConfig, NormSet, with_frozen_statistics, with_momentum, with_norm_set};
pub use penal::PenalConnection;
pub use pool::{MaxPool2d, avg_pool2d, global_avg_pool};
pub use position::{resize_positions, resize_table};
pub use resize::{ResizeRule, resize_bilinear};
pub use shortcut::option_a;
pub use slot::Slot;
pub use squeeze_excite::{MobileSqueezeExcite, Squeeze, SqueezeExcite, axpy, squeeze_excite};
pub use taps::Taps;
pub use versatile::{ChannelMode, ChannelWindow, Versatile, VersatileConv2d, VersatileConv2dConfig};

/// Rounds a channel count `value` to a multiple of `divisor`, at least `divisor`, and never more than a
/// fraction `1 - round_limit` below the wanted value.
///
/// The rule of MobileNet's reference code (`round_limit = 0.9`); timm's squeeze-and-excitation uses
/// `round_limit = 0.0`, plain rounding.
pub fn make_divisible(value: f64, divisor: usize, round_limit: f64) -> usize {
    let rounded = ((value + divisor as f64 / 2.0) as usize / divisor * divisor).max(divisor);
    if (rounded as f64) < round_limit * value { rounded + divisor } else { rounded }
}
