//! Curves of quality over bytes, and how far two of them are apart.
//!
//! Bjøntegaard (ITU-T VCEG-M33, 2001) compares two codecs by the mean distance of their curves, the logarithm of the rate over quality in dB
//! or the other way round. The curve between points is the monotone piecewise cubic of Fritsch and Butland (1984), as in later practice
//! (JCTVC-L1100 and VCEG-AL22): a cubic through all points, as first proposed, swings where points are unevenly spaced.

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Bytes, or bits per second: any unit of size, above 0.
    pub rate: f64,
    /// dB, or any measure that grows with quality.
    pub quality: f64,
}

/// A monotone piecewise cubic through points.
#[derive(Clone, Debug)]
pub struct Curve {
    x: Vec<f64>,
    y: Vec<f64>,
    slopes: Vec<f64>,
}

impl Curve {
    /// Through `points` in any order; of points with the same abscissa the first counts. Nothing for fewer than two, or if one is no number.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let mut points: Vec<(f64, f64)> = points.into_iter().collect();
        if points.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            return None;
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|b, a| b.0 == a.0);
        if points.len() < 2 {
            return None;
        }
        let (x, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        let slopes = slopes(&x, &y);
        Some(Self { x, y, slopes })
    }

    /// The logarithm (base 10) of the rate over quality.
    pub fn of_rate(points: &[Point]) -> Option<Self> {
        Self::new(points.iter().map(|point| (point.quality, point.rate.log10())))
    }

    /// Quality over the logarithm (base 10) of the rate.
    pub fn of_quality(points: &[Point]) -> Option<Self> {
        Self::new(points.iter().map(|point| (point.rate.log10(), point.quality)))
    }

    /// The least and the greatest abscissa.
    pub fn range(&self) -> (f64, f64) {
        (self.x[0], self.x[self.x.len() - 1])
    }

    /// Its height at `x`; nothing outside the points.
    pub fn at(&self, x: f64) -> Option<f64> {
        let (low, high) = self.range();
        if !(low..=high).contains(&x) {
            return None;
        }
        let piece = self.piece(x);
        let [a, b, c, d] = self.coefficients(piece);
        let t = x - self.x[piece];
        Some(a + t * (b + t * (c + t * d)))
    }

    /// The area under it from `from` to `to`, both within the points.
    pub fn integral(&self, from: f64, to: f64) -> f64 {
        (0..self.x.len() - 1)
            .map(|piece| {
                let (low, high) = (from.max(self.x[piece]), to.min(self.x[piece + 1]));
                if high <= low {
                    return 0.0;
                }
                let [a, b, c, d] = self.coefficients(piece);
                let until = |x: f64| {
                    let t = x - self.x[piece];
                    t * (a + t * (b / 2.0 + t * (c / 3.0 + t * d / 4.0)))
                };
                until(high) - until(low)
            })
            .sum()
    }

    /// Which piece `x` lies on.
    fn piece(&self, x: f64) -> usize {
        self.x.partition_point(|own| *own <= x).clamp(1, self.x.len() - 1) - 1
    }

    /// The cubic of a piece, by the distance from its left end.
    fn coefficients(&self, piece: usize) -> [f64; 4] {
        let h = self.x[piece + 1] - self.x[piece];
        let m = (self.y[piece + 1] - self.y[piece]) / h;
        let (left, right) = (self.slopes[piece], self.slopes[piece + 1]);
        [self.y[piece], left, (3.0 * m - 2.0 * left - right) / h, (left + right - 2.0 * m) / (h * h)]
    }
}

/// Slopes at the points: weighted harmonic means of those of both sides, 0 at a turn.
fn slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let h: Vec<f64> = x.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let m: Vec<f64> = y.windows(2).zip(&h).map(|(pair, h)| (pair[1] - pair[0]) / h).collect();
    let last = m.len() - 1;
    if last == 0 {
        return vec![m[0]; 2];
    }
    let mut slopes = vec![end(h[0], h[1], m[0], m[1])];
    for at in 0..last {
        let (before, after) = (m[at], m[at + 1]);
        slopes.push(if before * after <= 0.0 {
            0.0
        } else {
            let (a, b) = (2.0 * h[at + 1] + h[at], h[at + 1] + 2.0 * h[at]);
            (a + b) / (a / before + b / after)
        });
    }
    slopes.push(end(h[last], h[last - 1], m[last], m[last - 1]));
    slopes
}

/// The slope at an end from the two pieces next to it, kept from turning.
fn end(h0: f64, h1: f64, m0: f64, m1: f64) -> f64 {
    let slope = ((2.0 * h0 + h1) * m0 - h0 * m1) / (h0 + h1);
    if slope * m0 <= 0.0 {
        0.0
    } else if m0 * m1 <= 0.0 && slope.abs() > 3.0 * m0.abs() {
        3.0 * m0
    } else {
        slope
    }
}

/// How far `test` lies above `anchor` in the mean, over the abscissas that both have.
fn apart(anchor: &Curve, test: &Curve) -> Option<f64> {
    let (a, t) = (anchor.range(), test.range());
    let (low, high) = (a.0.max(t.0), a.1.min(t.1));
    (high > low).then(|| (test.integral(low, high) - anchor.integral(low, high)) / (high - low))
}

/// Bjøntegaard delta rate in percent: how much more bytes `test` takes than `anchor` for the same quality; below 0 it takes fewer. Nothing
/// where either has fewer than two points or they share no range of quality.
pub fn bd_rate(anchor: &[Point], test: &[Point]) -> Option<f64> {
    let logarithm = apart(&Curve::of_rate(anchor)?, &Curve::of_rate(test)?)?;
    Some(100.0 * (10f64.powf(logarithm) - 1.0))
}

/// Bjøntegaard delta quality (of PSNR: dB): how much better `test` is than `anchor` at the same bytes. Nothing where either has fewer than
/// two points or they share no range of bytes.
pub fn bd_quality(anchor: &[Point], test: &[Point]) -> Option<f64> {
    apart(&Curve::of_quality(anchor)?, &Curve::of_quality(test)?)
}

/// The bytes at which the curve through `points` has `quality`; nothing outside of it.
pub fn rate_at(points: &[Point], quality: f64) -> Option<f64> {
    Some(10f64.powf(Curve::of_rate(points)?.at(quality)?))
}
