//! The operator of binary networks.

use serde::{Deserialize, Serialize};

use crate::op::ConvAttrs;

/// A convolution of the signs of x (-1 below zero, else +1) with the signs of the weights; beyond the edge lies zero.
///
/// Inputs: x `[n, c, h, w]`, weights (`out · c / groups · kernel` numbers in any shape), then what the attributes say, in their order.
/// Result: `prelu(factor · conv(sign(x + shift), sign(weights)) + bias + residual, slope) + after`, where the factor of an output channel is
/// its `scale`, times the mean absolute weight of its filter if `mean`. Passes make use of shift, scale, bias and what comes after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryConv {
    /// Geometry.
    pub attrs: ConvAttrs,
    /// Extent of the kernel.
    pub kernel: [usize; 2],
    /// Filters are scaled by their mean absolute weight.
    pub mean: bool,
    /// `[c]`
    #[serde(default)]
    pub shift: bool,
    /// `[out]`
    #[serde(default)]
    pub scale: bool,
    /// `[out]`
    #[serde(default)]
    pub bias: bool,
    /// Of the output's shape.
    #[serde(default)]
    pub residual: bool,
    /// `[out]`, for what is below zero.
    #[serde(default)]
    pub slope: bool,
    /// `[out]`
    #[serde(default)]
    pub after: bool,
}

/// An input of a [`BinaryConv`] beyond x and the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Shift,
    Scale,
    Bias,
    Residual,
    Slope,
    After,
}

impl Part {
    /// All, in the order of the inputs.
    pub const ALL: [Self; 6] =
        [Self::Shift, Self::Scale, Self::Bias, Self::Residual, Self::Slope, Self::After];
}

impl BinaryConv {
    /// Whether it has the input `part`.
    pub fn has(&self, part: Part) -> bool {
        match part {
            Part::Shift => self.shift,
            Part::Scale => self.scale,
            Part::Bias => self.bias,
            Part::Residual => self.residual,
            Part::Slope => self.slope,
            Part::After => self.after,
        }
    }

    /// Which of the node's inputs is `part`, if it has it; without it, where it would come.
    pub fn place(&self, part: Part) -> Result<usize, usize> {
        let before =
            Part::ALL.into_iter().take_while(|own| *own != part).filter(|own| self.has(*own)).count();
        if self.has(part) { Ok(2 + before) } else { Err(2 + before) }
    }

    /// How many inputs it has.
    pub fn inputs(&self) -> usize {
        2 + Part::ALL.into_iter().filter(|part| self.has(*part)).count()
    }

    /// Notes that it has the input `part`.
    pub(crate) fn add(&mut self, part: Part) {
        *match part {
            Part::Shift => &mut self.shift,
            Part::Scale => &mut self.scale,
            Part::Bias => &mut self.bias,
            Part::Residual => &mut self.residual,
            Part::Slope => &mut self.slope,
            Part::After => &mut self.after,
        } = true;
    }

    /// Whether nothing is done to the sum but what is linear per channel.
    pub(crate) fn is_affine(&self) -> bool {
        !(self.residual || self.slope || self.after)
    }
}
