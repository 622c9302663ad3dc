//! A fixed filter, or one drawn per picture.

use crate::error::{DataError, Result};
use crate::resize::Interpolation;
use crate::rng::Rng;
use serde::{Deserialize, Serialize};

/// The interpolation of training transforms; in configuration files a filter's name or `"random"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum InterpolationChoice {
    /// Bilinear or bicubic, drawn per picture and operation. timm's default.
    #[default]
    Random,
    /// Always this one.
    Fixed(Interpolation),
}

impl InterpolationChoice {
    /// The filter for the next picture.
    pub fn pick(self, rng: &mut Rng) -> Interpolation {
        match self {
            Self::Fixed(filter) => filter,
            Self::Random if rng.chance(0.5) => Interpolation::Bilinear,
            Self::Random => Interpolation::Bicubic,
        }
    }
}

impl std::str::FromStr for InterpolationChoice {
    type Err = DataError;

    fn from_str(s: &str) -> Result<Self> {
        if s == "random" { Ok(Self::Random) } else { s.parse().map(Self::Fixed) }
    }
}

impl TryFrom<String> for InterpolationChoice {
    type Error = DataError;

    fn try_from(s: String) -> Result<Self> {
        s.parse()
    }
}

impl From<InterpolationChoice> for String {
    fn from(choice: InterpolationChoice) -> Self {
        match choice {
            InterpolationChoice::Random => "random".into(),
            InterpolationChoice::Fixed(filter) => filter.name().into(),
        }
    }
}
