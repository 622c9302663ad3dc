//! Cross-layer equalisation: consecutive layers share their channels' ranges out, so that one scale fits all.
//!
//! Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019).

/// A layer of a chain: weights `[channels, depth, taps]` and a bias per channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Weights, row-major.
    pub weights: Vec<f32>,
    /// One number per output channel.
    pub bias: Vec<f32>,
    /// Output channels.
    pub channels: usize,
    /// Input channels of a group; 1 where every channel has a filter of its own.
    pub depth: usize,
    /// Whether output channel `i` reads input channel `i` alone.
    pub depthwise: bool,
}

impl Layer {
    fn taps(&self) -> usize {
        self.weights.len() / (self.channels * self.depth).max(1)
    }

    /// The largest weight of output channel `i`.
    fn output_range(&self, i: usize) -> f64 {
        let row = self.weights.len() / self.channels.max(1);
        most(self.weights[i * row..(i + 1) * row].iter())
    }

    /// The weights that read input channel `i`.
    fn reading(&mut self, i: usize) -> impl Iterator<Item = &mut f32> {
        let (taps, depth, depthwise) = (self.taps(), self.depth, self.depthwise);
        let place = move |at: usize| if depthwise { at / taps } else { at / taps % depth };
        self.weights.iter_mut().enumerate().filter(move |(at, _)| place(*at) == i).map(|(_, w)| w)
    }

    fn input_range(&mut self, i: usize) -> f64 {
        most(self.reading(i).map(|w| &*w))
    }
}

fn most<'a>(weights: impl Iterator<Item = &'a f32>) -> f64 {
    weights.fold(0.0, |most, w| most.max(f64::from(w.abs())))
}

/// Divides output channel `i` of the first layer by the factor and multiplies what reads it, so that both reach as far. Returns
/// the factors, 1 where a range is nothing.
fn pair(first: &mut Layer, second: &mut Layer) -> Vec<f64> {
    let row = first.weights.len() / first.channels.max(1);
    (0..first.channels)
        .map(|i| {
            let (a, b) = (first.output_range(i), second.input_range(i));
            let factor = if a > 0.0 && b > 0.0 { (a / b).sqrt() } else { 1.0 };
            for w in &mut first.weights[i * row..(i + 1) * row] {
                *w = (f64::from(*w) / factor) as f32;
            }
            first.bias[i] = (f64::from(first.bias[i]) / factor) as f32;
            for w in second.reading(i) {
                *w = (f64::from(*w) * factor) as f32;
            }
            factor
        })
        .collect()
}

/// What equalisation did to a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Equalised {
    /// For every pair of consecutive layers the factors of its channels: the first layer's outputs are divided by them. A ReLU6
    /// between the two becomes `clamp(0, 6 / factor)`.
    pub factors: Vec<Vec<f64>>,
    /// Rounds over all pairs.
    pub rounds: usize,
}

/// Most rounds over a chain.
const MOST_ROUNDS: usize = 50;

/// Equalises the layers of a chain, each read by the next alone, with ReLU or nothing between them: pair by pair, until every
/// factor is within 1e-4 of 1.
pub fn equalise(chain: &mut [Layer]) -> Equalised {
    let mut factors: Vec<Vec<f64>> =
        chain.iter().take(chain.len().saturating_sub(1)).map(|layer| vec![1.0; layer.channels]).collect();
    let mut rounds = 0;
    while rounds < MOST_ROUNDS {
        rounds += 1;
        let mut settled = true;
        for i in 1..chain.len() {
            let (before, after) = chain.split_at_mut(i);
            let own = pair(&mut before[i - 1], &mut after[0]);
            for (all, own) in factors[i - 1].iter_mut().zip(own) {
                *all *= own;
                settled &= (own - 1.0).abs() < 1e-4;
            }
        }
        if settled {
            break;
        }
    }
    Equalised { factors, rounds }
}

/// How much of each channel of a layer before a ReLU is nearly always positive, `max(0, shift - 3 |gain|)` of its batch norm: the
/// next layer's bias can take it.
pub fn absorbable(gain: &[f32], shift: &[f32]) -> Vec<f64> {
    gain.iter().zip(shift).map(|(g, b)| (f64::from(*b) - 3.0 * f64::from(g.abs())).max(0.0)).collect()
}

/// Moves `amounts` from the bias of the first layer into that of the second (exact but at zero-padded borders).
pub fn absorb(first: &mut Layer, second: &mut Layer, amounts: &[f64]) {
    let (taps, depth) = (second.taps(), second.depth);
    for (b, amount) in first.bias.iter_mut().zip(amounts) {
        *b = (f64::from(*b) - amount) as f32;
    }
    for o in 0..second.channels {
        let row = &second.weights[o * depth * taps..(o + 1) * depth * taps];
        let input = |at: usize| if second.depthwise { o } else { at / taps };
        let moved: f64 = row.iter().enumerate().map(|(at, w)| f64::from(*w) * amounts[input(at)]).sum();
        second.bias[o] = (f64::from(second.bias[o]) + moved) as f32;
    }
}

/// The mean of a normal variable of this mean and deviation, clipped to `[low, high]`.
pub fn clipped_mean(mean: f64, deviation: f64, low: f64, high: f64) -> f64 {
    let g = deviation.abs();
    if g == 0.0 {
        return mean.clamp(low, high);
    }
    let (a, c) = ((low - mean) / g, (high - mean) / g);
    let density =
        |t: f64| if t.is_finite() { (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt() } else { 0.0 };
    let below = |t: f64| match t {
        t if t == f64::INFINITY => 1.0,
        t if t == f64::NEG_INFINITY => 0.0,
        t => 0.5 * erfc(-t / std::f64::consts::SQRT_2),
    };
    let upper = if high.is_finite() { high * (1.0 - below(c)) } else { 0.0 };
    let lower = if low.is_finite() { low * below(a) } else { 0.0 };
    g * (density(a) - density(c)) + mean * (below(c) - below(a)) + lower + upper
}

/// The complementary error function, to about 1e-15: a series near zero, a continued fraction far from it.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while f64::abs(term) > 1e-17 * f64::abs(sum) && n < 200.0 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return 1.0 - 2.0 / std::f64::consts::PI.sqrt() * sum;
    }
    let fraction = (1..=80).rev().fold(0.0, |tail, k| f64::from(k) / 2.0 / (x + tail));
    (-x * x).exp() / std::f64::consts::PI.sqrt() / (x + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_is_exact() {
        for (x, expected) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122_186_953_5),
            (1.0, 0.157_299_207_050_285_13),
            (2.0, 0.004_677_734_981_047_266),
            (3.0, 2.209_049_699_858_544e-5),
            (-1.0, 1.842_700_792_949_714_8),
        ] {
            assert!((erfc(x) - expected).abs() < 1e-14, "{x}: {}", erfc(x));
        }
    }
}
