//! Deterministic tensors: every parameter follows from its name and shape alone, so that a golden case of a
//! full-size network needs no weight file. The same numbers as `goldens/fill.py`, to the bit.

use ocelli_nn::state_dict::fnv1a;

const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// `count` float64 values, uniform in `[-1, 1)`, determined by `name` (splitmix64 seeded by FNV-1a).
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let seed = fnv1a(name);
    (1..=count as u64).map(move |i| {
        let s = seed.wrapping_add(i.wrapping_mul(GAMMA));
        let s = (s ^ (s >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let s = (s ^ (s >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = s ^ (s >> 31);
        2.0 * ((z >> 11) as f64 * 2f64.powi(-53)) - 1.0
    })
}

/// Values of the parameter or buffer `name` of `shape`, row-major.
pub fn parameter(name: &str, shape: &[usize]) -> Vec<f32> {
    let count = shape.iter().product();
    let map: Box<dyn Fn(f64) -> f64> = if name.ends_with("num_batches_tracked") {
        Box::new(|_| 0.0)
    } else if name.ends_with("running_mean") {
        Box::new(|v| 0.1 * v)
    } else if name.ends_with("running_var") {
        Box::new(|v| 1.0 + 0.5 * v)
    } else if shape.len() >= 2 && shape[0] == 1 {
        Box::new(|v| 0.5 * v)
    } else if shape.len() >= 2 {
        let scale = (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
        Box::new(move |v| v * scale)
    } else if name.ends_with("weight") {
        Box::new(|v| 1.0 + 0.1 * v)
    } else {
        Box::new(|v| 0.1 * v)
    };
    uniform(name, count).map(|v| map(v) as f32).collect()
}

/// Values of the input `name` of `shape`, row-major.
pub fn input(name: &str, shape: &[usize]) -> Vec<f32> {
    uniform(name, shape.iter().product()).map(|v| v as f32).collect()
}
