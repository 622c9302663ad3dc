//! Where an axis has its marks, and what they say.

use super::number::{scientific, signed};

/// The marks of an axis and the range it covers.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticks {
    /// The low end of the axis.
    pub low: f64,
    /// The high end of the axis, greater than `low`.
    pub high: f64,
    /// Marks in ascending order with their texts.
    pub marks: Vec<(f64, String)>,
}

/// Values beyond this are not charted: their differences could overflow.
pub(super) const LIMIT: f64 = 1e150;

/// The range from the least to the greatest chartable value.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut range = None;
    for value in values {
        if value.abs() <= LIMIT {
            let (low, high) = range.unwrap_or((value, value));
            range = Some((f64::min(low, value), f64::max(high, value)));
        }
    }
    range
}

/// Opens a range that is empty, or too narrow for double precision, to something an axis can show.
fn opened(low: f64, high: f64) -> (f64, f64) {
    let size = low.abs().max(high.abs());
    if low.is_nan() || high.is_nan() || size > LIMIT {
        return (0.0, 1.0);
    }
    if high - low > size * 1e-9 && high - low > 1e-150 {
        return (low, high);
    }
    if size < 1e-140 {
        return (-1.0, 1.0);
    }
    let middle = low / 2.0 + high / 2.0;
    (middle - size * 0.1, middle + size * 0.1)
}

/// The least of 1, 2, 5, 10, 20, ... and their decimal fractions that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let exponent = rough.log10().floor() as i32;
    for (factor, up) in [(1.0, 0), (2.0, 0), (5.0, 0), (1.0, 1), (2.0, 1)] {
        let step = factor * power_of_ten(exponent + up);
        if step >= rough * (1.0 - 1e-9) {
            return step;
        }
    }
    power_of_ten(exponent + 2)
}

/// 10^n, exact where a double can be: negative powers by division.
fn power_of_ten(n: i32) -> f64 {
    if n < 0 { 1.0 / 10_f64.powi(-n) } else { 10_f64.powi(n) }
}

/// Marks at multiples of 1, 2 or 5 times a power of ten.
///
/// About `target` of them. With `widen` the range grows to the marks that enclose it; without, it stays and
/// marks lie inside. With `whole` marks are whole numbers, as for epochs. An empty range is opened up, one
/// that is not finite is taken for 0 to 1.
#[must_use]
pub fn linear_ticks(low: f64, high: f64, target: usize, widen: bool, whole: bool) -> Ticks {
    let (low, high) = opened(low.min(high), high.max(low));
    let mut step = nice_step((high - low) / target.max(1) as f64);
    if whole {
        step = step.max(1.0);
    }
    let near = 1e-6;
    let (first, last) = if widen {
        ((low / step + near).floor(), (high / step - near).ceil())
    } else {
        ((low / step - near).ceil(), (high / step + near).floor())
    };
    let values: Vec<f64> =
        (0..=(last - first).clamp(0.0, 100.0) as u32).map(|i| (first + f64::from(i)) * step).collect();
    let values = if last < first { Vec::new() } else { values };
    let (low, high) = if widen { (first * step, last * step) } else { (low, high) };
    let size = low.abs().max(high.abs());
    Ticks { low, high, marks: values.into_iter().map(|v| (v, label(v, step, size))).collect() }
}

/// Marks at powers of ten, and at twice and five times those where the range is short. Without a positive
/// range, the axis covers 0.1 to 1.
#[must_use]
pub fn log_ticks(low: f64, high: f64) -> Ticks {
    let valid = low > 1e-140 && high >= low && high <= LIMIT;
    let (mut low, mut high) = if valid { (low, high) } else { (0.1, 1.0) };
    if high / low < 1.5 {
        (low, high) = (low / 2.0, high * 2.0);
    }
    let (first, last) =
        ((low.log10() + 1e-9).floor() as i32, ((high.log10() - 1e-9).ceil() as i32).max(-200));
    let decades = last - first;
    let slack = 1.0 + 1e-9;
    let all = |factors: &'static [f64], every: usize| {
        let decades = (first..=last).step_by(every);
        decades.flat_map(|n| factors.iter().map(move |factor| factor * power_of_ten(n)))
    };
    // The range widens to a fine mark even where only whole decades are marked.
    let fine = || all(&[1.0, 2.0, 5.0], 1);
    low = fine().take_while(|v| *v <= low * slack).last().unwrap_or(low);
    high = fine().find(|v| *v * slack >= high).unwrap_or(high);
    let marks =
        if decades <= 2 { all(&[1.0, 2.0, 5.0], 1) } else { all(&[1.0], (decades as usize).div_ceil(8)) };
    let inside = marks.filter(|v| *v >= low / slack && *v <= high * slack);
    Ticks { low, high, marks: inside.map(|v| (v, label(v, v, v))).collect() }
}

/// The text of the mark at `value`, one of those `step` apart on an axis that reaches `size`.
fn label(value: f64, step: f64, size: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !(1e-5..1e15).contains(&size) || step < 0.99e-6 {
        let digits = (size.log10().floor() - step.log10().floor()).clamp(0.0, 12.0);
        return scientific(value, digits as usize);
    }
    let (scale, unit) = match size {
        _ if size >= 1e12 => (1e12, "T"),
        _ if size >= 1e9 => (1e9, "G"),
        _ if size >= 1e6 => (1e6, "M"),
        _ if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let decimals = (-(step / scale).log10() - 1e-9).ceil().clamp(0.0, 12.0);
    format!("{}{unit}", signed(value / scale, decimals as usize))
}
