//! Random data and comparison.

/// Deterministic numbers in -1..1.
pub fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Largest difference relative to the largest expected element, at least to 1, the size of what was summed.
pub fn error(found: &[f32], expected: &[f32]) -> f32 {
    error_at(found, expected, expected.iter().fold(1.0f32, |a, b| a.max(b.abs())))
}

/// Largest difference relative to `scale`.
pub fn error_at(found: &[f32], expected: &[f32], scale: f32) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0f32, |worst, (a, b)| {
        let difference = (a - b).abs() / scale;
        if difference.is_nan() { f32::INFINITY } else { worst.max(difference) }
    })
}
