//! Bicubic enlargement as the networks compute it: a = -0.75, source coordinate `(i + 1/2) / s - 1/2`, taps clamped to the edge,
//! no antialiasing, values not clamped (PyTorch's `Upsample(mode="bicubic", align_corners=False)`).

use burn::tensor::{Device, Tensor, TensorData};

const A: f64 = -0.75;

/// The cubic kernel at distance `x`.
fn kernel(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
    } else {
        0.0
    }
}

/// For each of `scale` phases the first tap's distance from the source pixel, and the four taps' weights.
pub fn phases(scale: usize) -> Vec<(isize, [f32; 4])> {
    (0..scale)
        .map(|phase| {
            let place = (phase as f64 + 0.5) / scale as f64 - 0.5;
            let first = place.floor() as isize - 1;
            let weights = std::array::from_fn(|tap| kernel(place - (first + tap as isize) as f64) as f32);
            (first, weights)
        })
        .collect()
}

/// `[scale · extent, extent]`: what each enlarged pixel is made of along one axis.
fn matrix(extent: usize, scale: usize, device: &Device) -> Tensor<2> {
    let phases = phases(scale);
    let mut values = vec![0.0f32; scale * extent * extent];
    for (row, values) in values.chunks_mut(extent).enumerate() {
        let (first, weights) = &phases[row % scale];
        for (tap, weight) in weights.iter().enumerate() {
            let at = (row / scale) as isize + first + tap as isize;
            values[at.clamp(0, extent as isize - 1) as usize] += weight;
        }
    }
    Tensor::from_data(TensorData::new(values, [scale * extent, extent]), device)
}

/// `[batch, channels, height, width]` → `[batch, channels, scale · height, scale · width]`.
pub fn upsample(x: Tensor<4>, scale: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let device = x.device();
    let down = matrix(height, scale, &device);
    let across = matrix(width, scale, &device).transpose();
    let rows = x.reshape([batch * channels * height, width]).matmul(across);
    let columns = rows.reshape([batch * channels, height, scale * width]);
    let down = down.unsqueeze_dim::<3>(0).repeat_dim(0, batch * channels);
    down.matmul(columns).reshape([batch, channels, scale * height, scale * width])
}

/// Enlarges rows of interleaved pixels: `x` is `[height, width, channels]`, the result `[scale · height, scale · width, channels]`.
pub fn upsample_rows(x: &[f32], [height, width, channels]: [usize; 3], scale: usize) -> Vec<f32> {
    let phases = phases(scale);
    let (wide, row) = (scale * width * channels, width * channels);
    // Across first, so that every row is widened once.
    let mut widened = vec![0.0f32; height * wide];
    for (input, output) in x.chunks_exact(row).zip(widened.chunks_exact_mut(wide)) {
        widen(input, output, channels, &phases);
    }
    let mut enlarged = vec![0.0f32; scale * height * wide];
    for (at, output) in enlarged.chunks_exact_mut(wide).enumerate() {
        let (first, weights) = &phases[at % scale];
        let taps: [&[f32]; 4] = std::array::from_fn(|tap| {
            let y = ((at / scale) as isize + first + tap as isize).clamp(0, height as isize - 1) as usize;
            &widened[y * wide..][..wide]
        });
        for (i, value) in output.iter_mut().enumerate() {
            *value = (weights[0] * taps[0][i] + weights[1] * taps[1][i])
                + (weights[2] * taps[2][i] + weights[3] * taps[3][i]);
        }
    }
    enlarged
}

fn widen(input: &[f32], output: &mut [f32], channels: usize, phases: &[(isize, [f32; 4])]) {
    let (width, scale) = (input.len() / channels, phases.len());
    for x in 0..width {
        for (phase, (first, weights)) in phases.iter().enumerate() {
            let taps: [usize; 4] = std::array::from_fn(|tap| {
                (x as isize + first + tap as isize).clamp(0, width as isize - 1) as usize * channels
            });
            for channel in 0..channels {
                let at = |tap: usize| input[taps[tap] + channel];
                output[(x * scale + phase) * channels + channel] =
                    (weights[0] * at(0) + weights[1] * at(1)) + (weights[2] * at(2) + weights[3] * at(3));
            }
        }
    }
}
