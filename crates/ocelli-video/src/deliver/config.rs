//! What a network of the delivery system is.

use serde::{Deserialize, Serialize};

use super::cafm::Form;
use crate::VideoError;

/// The family of super-resolution networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backbone {
    /// Four convolutions at low resolution, pixels shuffled at the end.
    Espcn,
    /// Three convolutions on the enlarged picture.
    Srcnn,
    /// A deep chain of convolutions on the enlarged picture, which is added to their output.
    Vdsr,
    /// Residual blocks at low resolution.
    Edsr,
    /// Groups of residual blocks with channel attention.
    Rcan,
}

/// What is added to the network's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residual {
    /// Nothing: the published networks.
    #[default]
    None,
    /// The picture enlarged bicubically. The last convolution starts at zero, so that training starts where interpolation ends.
    /// EDSR and RCAN then put no mean colour back; VDSR adds the picture anyway.
    Bicubic,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The family.
    pub backbone: Backbone,
    /// Factor between both resolutions: 2, 3 or 4.
    pub scale: usize,
    /// Chunks that have a modulation; 0: the network has none.
    pub chunks: usize,
    /// Channels of the inner maps.
    pub feats: usize,
    /// Residual blocks (per group in RCAN). Of VDSR all convolutions count, the inner ones are two fewer. ESPCN and SRCNN have none.
    pub blocks: usize,
    /// Groups of RCAN.
    pub groups: usize,
    /// Factor of EDSR's residual branches.
    pub res_scale: f64,
    /// What is added to the output.
    #[serde(default)]
    pub residual: Residual,
    /// EDSR as its own authors lay it out, without places for modulation.
    #[serde(default)]
    pub upstream: bool,
}

/// Names of networks for the command line: name, what it is.
pub const PRESETS: [(&str, &str); 11] = [
    ("espcn", "ESPCN: 64, 64, 32 channels"),
    ("espcn-s", "ESPCN of half the width: 32, 32, 16 channels"),
    ("espcn-xs", "ESPCN of a quarter of the width: 16, 16, 8 channels"),
    ("srcnn", "SRCNN 9-5-5 on the enlarged picture"),
    ("vdsr", "VDSR of 20 convolutions on the enlarged picture"),
    ("vdsr16", "VDSR of 16 convolutions"),
    ("edsr-xs", "EDSR of 2 blocks, 16 channels"),
    ("edsr-s", "EDSR of 8 blocks, 32 channels"),
    ("edsr-m", "EDSR of 16 blocks, 64 channels: the paper's"),
    ("edsr-l", "EDSR of 32 blocks, 64 channels"),
    ("rcan", "RCAN of 10 groups of 20 blocks, 64 channels"),
];

impl Config {
    /// A network of `backbone` with the published extents.
    pub fn new(backbone: Backbone, scale: usize) -> Self {
        let (blocks, groups) = match backbone {
            Backbone::Espcn | Backbone::Srcnn => (0, 0),
            Backbone::Vdsr => (20, 0),
            Backbone::Edsr => (16, 0),
            Backbone::Rcan => (20, 10),
        };
        Self {
            backbone,
            scale,
            chunks: 0,
            feats: 64,
            blocks,
            groups,
            res_scale: 1.0,
            residual: Residual::None,
            upstream: false,
        }
    }

    /// The network called `name`, see [`PRESETS`].
    pub fn preset(name: &str, scale: usize) -> Option<Self> {
        let of = |backbone| Self::new(backbone, scale);
        Some(match name {
            "espcn" => of(Backbone::Espcn),
            "espcn-s" => Self { feats: 32, ..of(Backbone::Espcn) },
            "espcn-xs" => Self { feats: 16, ..of(Backbone::Espcn) },
            "srcnn" => of(Backbone::Srcnn),
            "vdsr" => of(Backbone::Vdsr),
            "vdsr16" => Self { blocks: 16, ..of(Backbone::Vdsr) },
            "edsr-xs" => Self { blocks: 2, feats: 16, ..of(Backbone::Edsr) },
            "edsr-s" => Self { blocks: 8, feats: 32, ..of(Backbone::Edsr) },
            "edsr-m" | "edsr" => of(Backbone::Edsr),
            "edsr-l" => Self { blocks: 32, ..of(Backbone::Edsr) },
            "rcan" => of(Backbone::Rcan),
            _ => return None,
        })
    }

    /// The same network with modulations for `chunks` chunks.
    pub fn with_chunks(&self, chunks: usize) -> Self {
        Self { chunks, ..self.clone() }
    }

    /// The form of the modulations.
    pub fn form(&self) -> Form {
        match self.backbone {
            Backbone::Espcn | Backbone::Srcnn => Form::Paired,
            Backbone::Vdsr | Backbone::Edsr | Backbone::Rcan => Form::Depthwise,
        }
    }

    /// Channels at every place of modulation, in the order of the network.
    pub fn sites(&self) -> Vec<usize> {
        let f = self.feats;
        match self.backbone {
            Backbone::Espcn => vec![f, f, f / 2],
            Backbone::Srcnn => vec![f, f / 2],
            Backbone::Vdsr => vec![f; self.blocks.saturating_sub(2)],
            Backbone::Edsr if self.upstream => Vec::new(),
            Backbone::Edsr => vec![f; 2 * self.blocks],
            Backbone::Rcan => vec![f; 2 * self.blocks * self.groups],
        }
    }

    /// Numbers that a chunk's folded modulation consists of.
    pub fn chunk_values(&self) -> usize {
        self.sites().iter().map(|channels| channels * (self.form().inputs() + 1)).sum()
    }

    /// Pixels of the low-resolution picture on every side that an output pixel depends on.
    pub fn reach(&self) -> usize {
        match self.backbone {
            Backbone::Espcn => 4,
            // Pixels of the enlarged picture, plus the two that the interpolation reads.
            Backbone::Srcnn => (4usize + 2 + 2).div_ceil(self.scale) + 2,
            Backbone::Vdsr => self.blocks.div_ceil(self.scale) + 2,
            Backbone::Edsr => 2 * self.blocks + 2 + self.tail_reach(),
            Backbone::Rcan => self.groups * (2 * self.blocks + 1) + 2 + self.tail_reach(),
        }
    }

    fn tail_reach(&self) -> usize {
        // Every step of the upsampler, then the last convolution, on ever finer maps.
        if self.scale == 4 { 1 + 1 + 1 } else { 1 + 1 }
    }

    /// Whether the network takes the enlarged picture.
    pub fn takes_enlarged(&self) -> bool {
        matches!(self.backbone, Backbone::Srcnn | Backbone::Vdsr)
    }

    /// The architecture as one line; its hash stands in files of weights.
    pub fn architecture(&self) -> String {
        let backbone = match self.backbone {
            Backbone::Espcn => "espcn",
            Backbone::Srcnn => "srcnn",
            Backbone::Vdsr => "vdsr",
            Backbone::Edsr => "edsr",
            Backbone::Rcan => "rcan",
        };
        let residual = match self.residual {
            Residual::None => "none",
            Residual::Bicubic => "bicubic",
        };
        format!(
            "{backbone};{};3;{};{};{};{};{residual}",
            self.scale, self.feats, self.blocks, self.groups, self.res_scale
        )
    }

    /// Refuses extents that make no network or one of unreasonable size.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn check(&self) -> Result<(), VideoError> {
        let wrong = |text: String| Err(VideoError::Config(text));
        if !(2..=4).contains(&self.scale) {
            return wrong(format!("scale {}: expected 2, 3 or 4", self.scale));
        }
        if !(4..=512).contains(&self.feats) || !self.feats.is_multiple_of(4) {
            return wrong(format!("{} channels: expected a multiple of 4 from 4 to 512", self.feats));
        }
        let least = match self.backbone {
            Backbone::Espcn | Backbone::Srcnn => 0,
            Backbone::Vdsr => 3,
            Backbone::Edsr | Backbone::Rcan => 1,
        };
        if !(least..=128).contains(&self.blocks) {
            return wrong(format!("{} blocks: expected {least} to 128", self.blocks));
        }
        if self.groups > 64 || (self.backbone == Backbone::Rcan && self.groups == 0) {
            return wrong(format!("{} groups: expected 1 to 64", self.groups));
        }
        if self.backbone == Backbone::Rcan && self.feats < 16 {
            return wrong(format!("{} channels: RCAN's attention needs 16 or more", self.feats));
        }
        if !self.res_scale.is_finite() || self.res_scale.abs() > 100.0 {
            return wrong(format!("residual scale {}: expected a number within 100", self.res_scale));
        }
        if self.chunks > 1_000_000 {
            return wrong(format!("{} chunks: expected at most a million", self.chunks));
        }
        Ok(())
    }
}
