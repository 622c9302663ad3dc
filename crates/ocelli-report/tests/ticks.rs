//! The choice of ticks.

use ocelli_report::chart::{Ticks, linear_ticks, log_ticks};

use crate::support::Random;

fn check(ticks: &Ticks) {
    assert!(ticks.low < ticks.high && ticks.low.is_finite() && ticks.high.is_finite(), "{ticks:?}");
    let slack = (ticks.high - ticks.low) * 1e-6;
    for pair in ticks.marks.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{ticks:?}");
        assert_ne!(pair[0].1, pair[1].1, "{ticks:?}");
    }
    for (value, _) in &ticks.marks {
        assert!((ticks.low - slack..=ticks.high + slack).contains(value), "{ticks:?}");
    }
}

#[test]
fn random_ranges() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let size = 10_f64.powf(random.unit() * 24.0 - 12.0);
        let low = (random.unit() - 0.5) * size * if random.unit() < 0.3 { 100.0 } else { 1.0 };
        let (high, target) = (low + size * random.unit(), 2 + (random.unit() * 8.0) as usize);
        let widen = random.unit() < 0.5;
        let ticks = linear_ticks(low, high, target, widen, false);
        check(&ticks);
        assert!(ticks.marks.len() <= 2 * target + 3, "{low} {high} {target} {ticks:?}");
        if widen {
            assert!(ticks.marks.len() >= 2, "{low} {high} {target} {ticks:?}");
        }
        if high - low > low.abs().max(high.abs()) * 1e-8 {
            let slack = (high - low) * 1e-5;
            assert!(ticks.low <= low + slack && ticks.high >= high - slack, "{low} {high} {ticks:?}");
        }
        if let [first, second, ..] = ticks.marks[..].iter().map(|m| m.0).collect::<Vec<_>>()[..] {
            let step = second - first;
            let mantissa = step / 10_f64.powf(step.log10().floor());
            let nice = [1.0, 2.0, 5.0, 10.0].iter().any(|n| (mantissa - n).abs() < 1e-3);
            assert!(nice, "step {step} {low} {high}");
        }
    }
}

#[test]
fn random_log_ranges() {
    let mut random = Random(2);
    for _ in 0..20_000 {
        let low = 10_f64.powf(random.unit() * 30.0 - 15.0);
        let high = low * 10_f64.powf(random.unit() * 12.0);
        let ticks = log_ticks(low, high);
        check(&ticks);
        assert!(ticks.low <= low * 1.001 && ticks.high >= high * 0.999, "{low} {high} {ticks:?}");
        assert!((1..=12).contains(&ticks.marks.len()), "{low} {high} {ticks:?}");
    }
}

#[test]
fn odd_ranges() {
    let odd = [0.0, -0.0, 1.0, -5.0, 1e15, 1e15 + 0.25, 1e-300, 1e300, f64::MAX, f64::MIN, f64::NAN];
    let odd = odd.iter().chain(&[f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE]);
    for low in odd.clone() {
        for high in odd.clone() {
            check(&linear_ticks(*low, *high, 5, true, false));
            check(&linear_ticks(*low, *high, 5, false, true));
            check(&log_ticks(*low, *high));
        }
    }
}

#[test]
fn texts() {
    let texts = |ticks: Ticks| ticks.marks.into_iter().map(|m| m.1).collect::<Vec<_>>();
    assert_eq!(texts(linear_ticks(0.1, 2.3, 5, true, false)), ["0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
    assert_eq!(texts(linear_ticks(1.0, 3.0, 8, false, true)), ["1", "2", "3"]);
    assert_eq!(texts(linear_ticks(-1.0, 1.0, 2, true, false)), ["−1", "0", "1"]);
    assert_eq!(texts(linear_ticks(0.0, 50_000.0, 5, false, false)), ["0", "10k", "20k", "30k", "40k", "50k"]);
    assert_eq!(texts(linear_ticks(0.0, 4e-7, 2, true, false)), ["0", "2e−7", "4e−7"]);
    assert_eq!(texts(log_ticks(0.002, 3.0)), ["0.01", "0.1", "1"]);
}
