//! Position embeddings for other picture sizes.

use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, module};

/// `[1, channels, height, width]` at `size`, bicubic with half-pixel centres and no antialiasing (PyTorch's
/// `interpolate(mode="bicubic", align_corners=False)`); the same map where the size is right already.
pub fn resize_positions(map: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = map.dims();
    if [height, width] == size {
        return map;
    }
    let options =
        InterpolateOptions::new(InterpolateMode::Bicubic).with_output_size(size).with_align_corners(false);
    module::interpolate(map, options)
}

/// As [`resize_positions`] for a picture of numbers, in the float32 arithmetic of PyTorch's CPU code: its sampling places are
/// rounded, which shows where thousands of rows are resized.
pub fn resize_table(values: &[f32], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<f32> {
    let taps = [axis(height, size[0]), axis(width, size[1])];
    // Along rows first: those that several results share are computed once.
    let mut narrow = vec![0f32; height * size[1]];
    for (row, out) in values.chunks_exact(width).zip(narrow.chunks_exact_mut(size[1])) {
        for (place, taps) in out.iter_mut().zip(&taps[1]) {
            *place = taps.iter().map(|&(at, weight)| row[at] * weight).sum();
        }
    }
    let mut out = vec![0f32; size[0] * size[1]];
    for (row, taps) in out.chunks_exact_mut(size[1]).zip(&taps[0]) {
        for &(at, weight) in taps {
            for (place, value) in row.iter_mut().zip(&narrow[at * size[1]..][..size[1]]) {
                *place += value * weight;
            }
        }
    }
    out
}

/// The four samples of every result along one axis, and their weights.
fn axis(from: usize, to: usize) -> Vec<[(usize, f32); 4]> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let place = scale * (i as f32 + 0.5) - 0.5;
            let first = place.floor();
            let t = (place - first).clamp(0.0, 1.0);
            let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
            std::array::from_fn(|j| {
                let at = (first as isize + j as isize - 1).clamp(0, from as isize - 1);
                (at as usize, weights[j])
            })
        })
        .collect()
}
