//! A convolution of any kind, chosen by configuration.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{
    Conv2d, Conv2dConfig, Dynamic, DynamicConv2d, MaskConv2d, MaskConv2dConfig, MaskSharing, Versatile,
    VersatileConv2d,
};

/// Which convolution a network is built of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvKind {
    /// One filter per output.
    #[default]
    Plain,
    /// Nested filters and channel windows; see [`Versatile`].
    Versatile(Versatile),
    /// A basis and learned masks; see [`MaskConv2d`].
    Mask {
        /// Outputs per stored filter; what does not come out even is rounded up to a basis that divides the outputs.
        ratio: usize,
        /// Who shares a mask.
        #[serde(default)]
        sharing: MaskSharing,
    },
    /// Experts mixed per picture; see [`Dynamic`].
    Dynamic(Dynamic),
}

impl ConvKind {
    /// Whether it is the plain one.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl From<Option<Versatile>> for ConvKind {
    fn from(versatile: Option<Versatile>) -> Self {
        versatile.map_or(Self::Plain, Self::Versatile)
    }
}

impl ConvKind {
    /// A convolution of this kind in the place of `plain`.
    pub fn init(&self, plain: Conv2dConfig, device: &Device) -> Convolution {
        match *self {
            Self::Versatile(versatile) => match versatile.layer(&plain) {
                Some(layer) => Convolution::Versatile(layer.init(device)),
                None => Convolution::Plain(plain.init(device)),
            },
            Self::Mask { ratio, sharing } => {
                let most = (plain.channels_out / ratio.max(1)).max(1);
                let basis =
                    (most..=plain.channels_out).find(|&basis| plain.channels_out.is_multiple_of(basis));
                let basis = basis.unwrap_or(plain.channels_out);
                Convolution::Mask(MaskConv2dConfig::new(plain, basis).sharing(sharing).init(device))
            }
            Self::Dynamic(dynamic) => Convolution::Dynamic(dynamic.layer(&plain, device)),
            Self::Plain => Convolution::Plain(plain.init(device)),
        }
    }
}

/// A convolution of any kind. The parameters' names are those of the kind.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Convolution {
    /// One filter per output.
    Plain(Conv2d),
    /// Nested filters and channel windows.
    Versatile(VersatileConv2d),
    /// A basis and learned masks.
    Mask(MaskConv2d),
    /// Experts mixed per picture.
    Dynamic(DynamicConv2d),
}

impl Convolution {
    /// `[batch, channels_in, height, width]` → `[batch, channels_out, height', width']`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Plain(conv) => conv.forward(x),
            Self::Versatile(conv) => conv.forward(x),
            Self::Mask(conv) => conv.forward(x),
            Self::Dynamic(conv) => conv.forward(x),
        }
    }
}
