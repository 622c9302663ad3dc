//! Pooling.

/// Sum of every plane of `area` elements times `scale`: global average pooling with `scale = 1 / area`.
pub fn global(x: &[f32], area: usize, scale: f32) -> Vec<f32> {
    x.chunks_exact(area.max(1)).map(|plane| sum(plane) * scale).collect()
}

/// Sum in sixteen lanes, an order that compilers can vectorise.
fn sum(data: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = data.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
