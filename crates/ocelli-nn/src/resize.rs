//! Bilinear resizing of maps, by the two conventions in use.

use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Int, Tensor, TensorData, module::interpolate};
use serde::{Deserialize, Serialize};

/// Which point of the input a pixel of the output looks at; between pixels both interpolate, and neither filters
/// (no antialiasing).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// `(i + 1/2) · in / out - 1/2`: PyTorch's bilinear without aligned corners, MindSpore's with half-pixel centres.
    #[default]
    HalfPixel,
    /// `i · in / out`: TensorFlow 1's and MindSpore 1.5's rule.
    Asymmetric,
}

/// `[batch, channels, height, width]` → `[batch, channels, size...]`; the same map where the size is its own.
pub fn resize_bilinear(x: Tensor<4>, size: [usize; 2], rule: ResizeRule) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == size {
        return x;
    }
    match rule {
        ResizeRule::HalfPixel => {
            let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_output_size(size);
            interpolate(x, options.with_align_corners(false))
        }
        ResizeRule::Asymmetric => stretch(stretch(x, 2, size[0]), 3, size[1]),
    }
}

/// One axis by the asymmetric rule: neighbours picked by constant indices and weighed.
fn stretch(x: Tensor<4>, axis: usize, to: usize) -> Tensor<4> {
    let from = x.dims()[axis];
    if from == to {
        return x;
    }
    let device = x.device();
    let place = |i: usize| i as f64 * from as f64 / to as f64;
    let pick = |next: usize| {
        let indices: Vec<i64> = (0..to).map(|i| (place(i) as usize + next).min(from - 1) as i64).collect();
        x.clone().select(axis, Tensor::<1, Int>::from_data(TensorData::new(indices, [to]), &device))
    };
    let shares: Vec<f32> = (0..to).map(|i| place(i).fract() as f32).collect();
    if shares.iter().all(|share| *share == 0.0) {
        return pick(0);
    }
    let mut shape = [1; 4];
    shape[axis] = to;
    let shares = Tensor::<4>::from_data(TensorData::new(shares, shape), &device);
    let (near, far) = (pick(0), pick(1));
    near.clone().add(far.sub(near).mul(shares))
}
