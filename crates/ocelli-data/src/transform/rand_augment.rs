//! RandAugment (Cubuk et al. 2019) as timm has it, configured by timm's strings.

use super::interpolation::InterpolationChoice;
use super::ops::Op;
use crate::error::{DataError, Result};
use crate::rgb::RgbImage;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// What the magnitude is measured against: `m10` is full strength.
const FULL: f64 = 10.0;

/// Which operations are drawn, timm's `t` section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpSet {
    /// The usual fifteen, equally likely.
    #[default]
    Standard,
    /// `tweights`: the increasing fifteen, geometric ones preferred, none drawn twice.
    Weights,
    /// `t3a`: solarize, desaturate, blur ("3-Augment").
    ThreeAugment,
    /// `t3aw`: mostly 3-Augment, none drawn twice.
    ThreeAugmentWeighted,
}

/// RandAugment. In configuration files timm's string, such as `rand-m9-mstd0.5-inc1`.
///
/// Sections: `m` magnitude, `n` operations per picture (default 2), `p` probability of each (0.5), `mstd`
/// deviation of the magnitude (above 100: uniform between 0 and the magnitude), `mmax` its upper bound
/// (10), `inc1` operations that get stronger with the magnitude, `t` the set of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RandAugment {
    /// Strength, 10 is full.
    pub magnitude: u32,
    /// Operations per picture.
    pub layers: usize,
    /// Probability that a drawn operation is carried out.
    pub prob: f64,
    /// Standard deviation of the magnitude; infinite means uniform in `0..magnitude`.
    pub magnitude_std: f64,
    /// Upper bound of the magnitude when it is not 10.
    pub magnitude_max: Option<u32>,
    /// Use the variants of the operations that get stronger with the magnitude.
    pub increasing: bool,
    /// The operations.
    pub set: OpSet,
}

impl Default for RandAugment {
    /// timm's `rand`: magnitude 10, two operations with probability one half.
    fn default() -> Self {
        Self {
            magnitude: 10,
            layers: 2,
            prob: 0.5,
            magnitude_std: 0.0,
            magnitude_max: None,
            increasing: false,
            set: OpSet::Standard,
        }
    }
}

/// Operations by name and weight; a name's magnitude to argument rule is in [`RandAugment::op`].
type Weighted = &'static [(Kind, f64)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AutoContrast,
    Equalize,
    Invert,
    Rotate,
    Posterize,
    Solarize,
    SolarizeAdd,
    Color,
    Contrast,
    Brightness,
    Sharpness,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Desaturate,
    GaussianBlur,
}

const STANDARD: Weighted = &[
    (Kind::AutoContrast, 1.0),
    (Kind::Equalize, 1.0),
    (Kind::Invert, 1.0),
    (Kind::Rotate, 1.0),
    (Kind::Posterize, 1.0),
    (Kind::Solarize, 1.0),
    (Kind::SolarizeAdd, 1.0),
    (Kind::Color, 1.0),
    (Kind::Contrast, 1.0),
    (Kind::Brightness, 1.0),
    (Kind::Sharpness, 1.0),
    (Kind::ShearX, 1.0),
    (Kind::ShearY, 1.0),
    (Kind::TranslateX, 1.0),
    (Kind::TranslateY, 1.0),
];

const WEIGHTS: Weighted = &[
    (Kind::Rotate, 3.0),
    (Kind::ShearX, 2.0),
    (Kind::ShearY, 2.0),
    (Kind::TranslateX, 1.0),
    (Kind::TranslateY, 1.0),
    (Kind::Color, 0.25),
    (Kind::Sharpness, 0.25),
    (Kind::AutoContrast, 0.25),
    (Kind::Solarize, 0.05),
    (Kind::SolarizeAdd, 0.05),
    (Kind::Contrast, 0.05),
    (Kind::Brightness, 0.05),
    (Kind::Equalize, 0.05),
    (Kind::Posterize, 0.05),
    (Kind::Invert, 0.05),
];

const THREE: Weighted = &[(Kind::Solarize, 1.0), (Kind::Desaturate, 1.0), (Kind::GaussianBlur, 1.0)];

const THREE_WEIGHTED: Weighted = &[
    (Kind::Solarize, 6.0),
    (Kind::Desaturate, 6.0),
    (Kind::GaussianBlur, 6.0),
    (Kind::Rotate, 3.0),
    (Kind::ShearX, 2.0),
    (Kind::ShearY, 2.0),
    (Kind::Posterize, 1.0),
    (Kind::AutoContrast, 1.0),
    (Kind::Color, 1.0),
    (Kind::Sharpness, 1.0),
    (Kind::Contrast, 1.0),
    (Kind::Brightness, 1.0),
    (Kind::Equalize, 1.0),
    (Kind::Invert, 1.0),
];

impl RandAugment {
    /// Draws and carries out the operations. `fill` is the colour of what geometric operations uncover.
    pub fn apply(
        &self,
        image: RgbImage,
        interpolation: InterpolationChoice,
        fill: [u8; 3],
        rng: &mut Rng,
    ) -> RgbImage {
        let mut picture = image;
        for op in self.ops(rng) {
            picture = op.apply(&picture, interpolation.pick(rng), fill);
        }
        picture
    }

    /// The operations for one picture, with their arguments; those their probability spared are left out.
    pub fn ops(&self, rng: &mut Rng) -> Vec<Op> {
        let mut ops = Vec::with_capacity(self.layers);
        for kind in self.draw(rng) {
            if self.prob >= 1.0 || rng.unit() <= self.prob {
                ops.push(self.op(kind, rng));
            }
        }
        ops
    }

    /// Whether the set is one of the 3-Augment ones, with which timm keeps the colour jitter.
    pub(super) fn is_three_augment(&self) -> bool {
        matches!(self.set, OpSet::ThreeAugment | OpSet::ThreeAugmentWeighted)
    }

    /// The operations for one picture, before their probability.
    fn draw(&self, rng: &mut Rng) -> Vec<Kind> {
        let (table, again) = match self.set {
            OpSet::Standard => (STANDARD, true),
            OpSet::Weights => (WEIGHTS, false),
            OpSet::ThreeAugment => (THREE, true),
            OpSet::ThreeAugmentWeighted => (THREE_WEIGHTED, false),
        };
        let mut left = table.to_vec();
        let mut drawn = Vec::with_capacity(self.layers);
        while drawn.len() < self.layers && !left.is_empty() {
            let mut point = rng.unit() * left.iter().map(|o| o.1).sum::<f64>();
            let mut at = 0;
            while at + 1 < left.len() && point >= left[at].1 {
                point -= left[at].1;
                at += 1;
            }
            drawn.push(left[at].0);
            if !again {
                left.remove(at);
            }
        }
        drawn
    }

    fn op(&self, kind: Kind, rng: &mut Rng) -> Op {
        let magnitude = f64::from(self.magnitude);
        let magnitude = match self.magnitude_std {
            s if s == f64::INFINITY => rng.uniform(0.0, magnitude),
            s if s > 0.0 => magnitude + s * rng.normal(),
            _ => magnitude,
        };
        // As in timm, an upper bound of 0 stands for none given.
        let bound = self.magnitude_max.filter(|&m| m > 0).map_or(FULL, f64::from);
        let level = magnitude.clamp(0.0, bound) / FULL;
        // All but the two sets of plain RandAugment are made of increasing operations.
        let increasing = self.increasing || self.set != OpSet::Standard;
        let mut sign = |v: f64| if rng.chance(0.5) { -v } else { v };
        let mut factor = || if increasing { (1.0 + sign(level * 0.9)).max(0.1) } else { level * 1.8 + 0.1 };
        match kind {
            Kind::AutoContrast => Op::AutoContrast,
            Kind::Equalize => Op::Equalize,
            Kind::Invert => Op::Invert,
            Kind::Posterize => {
                let bits = (level * 4.0) as u8;
                Op::Posterize(if increasing { 4u8.saturating_sub(bits) } else { bits })
            }
            Kind::Solarize => {
                let threshold = ((level * 256.0) as u16).min(256);
                Op::Solarize(if increasing { 256 - threshold } else { threshold })
            }
            Kind::SolarizeAdd => Op::SolarizeAdd((level * 110.0).min(128.0) as u8),
            Kind::Color => Op::Color(factor()),
            Kind::Contrast => Op::Contrast(factor()),
            Kind::Brightness => Op::Brightness(factor()),
            Kind::Sharpness => Op::Sharpness(factor()),
            Kind::Rotate => Op::Rotate(sign(level * 30.0)),
            Kind::ShearX => Op::ShearX(sign(level * 0.3)),
            Kind::ShearY => Op::ShearY(sign(level * 0.3)),
            Kind::TranslateX => Op::TranslateXRel(sign(level * 0.45)),
            Kind::TranslateY => Op::TranslateYRel(sign(level * 0.45)),
            Kind::Desaturate => Op::Desaturate((0.5 + 0.5 * level).clamp(0.5, 1.0)),
            Kind::GaussianBlur => Op::GaussianBlur((0.1 + 1.9 * level).clamp(0.1, 2.0)),
        }
    }
}

impl std::str::FromStr for RandAugment {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |expected: &str, found: &str| {
            Err(DataError::config("auto_augment", expected, format!("{found:?} in {text:?}")))
        };
        let mut sections = text.split('-');
        let first = sections.next().unwrap_or_default();
        if first != "rand" {
            return wrong("a string such as rand-m9-mstd0.5-inc1", first);
        }
        let mut out = Self::default();
        for section in sections {
            if let Some(set) = section.strip_prefix('t') {
                out.set = match set {
                    "weights" => OpSet::Weights,
                    "3a" => OpSet::ThreeAugment,
                    "3aw" => OpSet::ThreeAugmentWeighted,
                    _ => return wrong("a set of operations: tweights, t3a or t3aw", section),
                };
                continue;
            }
            let split = section.find(|c: char| c.is_ascii_digit()).unwrap_or(section.len());
            let (key, value) = section.split_at(split);
            let whole = value.parse::<u32>().ok();
            let number = value.parse::<f64>().ok().filter(|v| v.is_finite());
            match (key, whole, number) {
                ("m", Some(m), _) if m <= 1000 => out.magnitude = m,
                ("n", Some(n), _) if (1..=100).contains(&n) => out.layers = n as usize,
                ("inc", Some(i @ 0..=1), _) => out.increasing = i == 1,
                ("mmax", Some(m), _) if m <= 1000 => out.magnitude_max = Some(m),
                ("mstd", _, Some(s)) => out.magnitude_std = if s > 100.0 { f64::INFINITY } else { s },
                ("p", _, Some(p)) if p <= 1.0 => out.prob = p,
                ("m", ..) => return wrong("m and a whole number up to 1000", section),
                ("n", ..) => return wrong("n and a whole number from 1 to 100", section),
                ("inc", ..) => return wrong("inc0 or inc1", section),
                ("mmax", ..) => return wrong("mmax and a whole number up to 1000", section),
                ("mstd", ..) => return wrong("mstd and a number", section),
                ("p", ..) => return wrong("p and a probability", section),
                ("w", ..) => return wrong("tweights for weighted operations (timm dropped w0)", section),
                _ => return wrong("a section m, n, p, mstd, mmax, inc or t", section),
            }
        }
        Ok(out)
    }
}

impl std::fmt::Display for RandAugment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rand-m{}-n{}", self.magnitude, self.layers)?;
        if self.prob != 0.5 {
            write!(f, "-p{}", self.prob)?;
        }
        match self.magnitude_std {
            s if s == f64::INFINITY => write!(f, "-mstd101")?,
            s if s > 0.0 => write!(f, "-mstd{s}")?,
            _ => {}
        }
        if let Some(max) = self.magnitude_max {
            write!(f, "-mmax{max}")?;
        }
        if self.increasing {
            write!(f, "-inc1")?;
        }
        match self.set {
            OpSet::Standard => Ok(()),
            OpSet::Weights => write!(f, "-tweights"),
            OpSet::ThreeAugment => write!(f, "-t3a"),
            OpSet::ThreeAugmentWeighted => write!(f, "-t3aw"),
        }
    }
}

impl TryFrom<String> for RandAugment {
    type Error = DataError;

    fn try_from(s: String) -> Result<Self> {
        s.parse()
    }
}

impl From<RandAugment> for String {
    fn from(value: RandAugment) -> Self {
        value.to_string()
    }
}
