//! The loss that knows its labels to be wrong now and then (arXiv 2010.04871, after Natarajan et al. 2013).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How often labels are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 2]", into = "[f64; 2]")]
pub struct NoiseRates {
    plus: f64,
    minus: f64,
}

/// These rates leave the labels without meaning.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("noise rates {0} and {1}: both must lie in 0..1 and their sum below 0.9")]
pub struct RatesError(f64, f64);

impl NoiseRates {
    /// `plus` of the labels of what is truly +1 say -1, `minus` of those of -1 say +1.
    ///
    /// # Errors
    /// If a rate is negative or their sum is not below 0.9: the loss grows with one over what is left of 1.
    pub fn new(plus: f64, minus: f64) -> Result<Self, RatesError> {
        let fits = plus >= 0.0 && minus >= 0.0 && plus + minus < 0.9;
        if fits { Ok(Self { plus, minus }) } else { Err(RatesError(plus, minus)) }
    }

    /// The rates `[plus, minus]`.
    pub fn rates(&self) -> [f64; 2] {
        [self.plus, self.minus]
    }
}

impl Default for NoiseRates {
    /// A tenth of either.
    fn default() -> Self {
        Self { plus: 0.1, minus: 0.1 }
    }
}

impl TryFrom<[f64; 2]> for NoiseRates {
    type Error = RatesError;

    fn try_from([plus, minus]: [f64; 2]) -> Result<Self, RatesError> {
        Self::new(plus, minus)
    }
}

impl From<NoiseRates> for [f64; 2] {
    fn from(rates: NoiseRates) -> Self {
        rates.rates()
    }
}

/// How a layer's terms become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Their sum (the paper's squared Frobenius norm); wants a factor of 1e-6 to 1e-4.
    Sum,
    /// Their mean.
    #[default]
    Mean,
}

impl Reduction {
    /// `[1]`
    pub fn of<const D: usize>(self, terms: Tensor<D>) -> Tensor<1> {
        match self {
            Self::Sum => terms.sum(),
            Self::Mean => terms.mean(),
        }
    }
}

/// The squared distance of `q` from labels of -1 and +1, corrected for their noise, element by element:
///
/// `[(1 - rho(-t)) (q - t)² - rho(t) (q + t)²] / (1 - rho(+) - rho(-))` with the label `t` and `rho(t)` the rate named after its
/// sign. Over the noise its expectation is the distance from the true label. It may be negative. No gradient reaches
/// the labels.
pub fn noisy_loss<const D: usize>(q: Tensor<D>, labels: Tensor<D>, rates: NoiseRates) -> Tensor<D> {
    let [plus, minus] = rates.rates();
    let left = 1.0 - plus - minus;
    let labels = labels.detach();
    // The rate named after the label's sign, and the other.
    let (mean, half) = ((plus + minus) / 2.0, (plus - minus) / 2.0);
    let own = labels.clone().mul_scalar(half).add_scalar(mean);
    let other = labels.clone().mul_scalar(-half).add_scalar(mean);
    let square = |x: Tensor<D>| x.clone().mul(x);
    let fit = square(q.clone().sub(labels.clone())).mul(other.neg().add_scalar(1.0));
    let opposite = square(q.add(labels)).mul(own);
    fit.sub(opposite).div_scalar(left)
}
