//! Bilinear resizing of maps, by the two conventions in use.

use burn::tensor::{Int, Tensor, TensorData};
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

impl ResizeRule {
    /// Place in an axis of `from` pixels that pixel `i` of `to` looks at. In float32, as the frameworks compute it: in
    /// float64 a picture of 224 px comes out different in the fifth digit.
    fn place(self, i: usize, from: usize, to: usize) -> f32 {
        let scale = from as f32 / to as f32;
        match self {
            Self::HalfPixel => ((i as f32 + 0.5) * scale - 0.5).max(0.0),
            Self::Asymmetric => i as f32 * scale,
        }
    }
}

/// `[batch, channels, height, width]` → `[batch, channels, size...]`; the same map where the size is its own.
///
/// Made of gathers with constant indices, so that a recorded graph computes the very same pixels.
pub fn resize_bilinear(x: Tensor<4>, size: [usize; 2], rule: ResizeRule) -> Tensor<4> {
    stretch(stretch(x, 2, size[0], rule), 3, size[1], rule)
}

/// One axis: neighbours picked and weighed.
fn stretch(x: Tensor<4>, axis: usize, to: usize, rule: ResizeRule) -> Tensor<4> {
    let from = x.dims()[axis];
    if from == to {
        return x;
    }
    let device = x.device();
    let places: Vec<f32> = (0..to).map(|i| rule.place(i, from, to)).collect();
    let pick = |next: usize| {
        let indices: Vec<i64> =
            places.iter().map(|place| (*place as usize + next).min(from - 1) as i64).collect();
        x.clone().select(axis, Tensor::<1, Int>::from_data(TensorData::new(indices, [to]), &device))
    };
    let near = pick(0);
    let shares: Vec<f32> = places.iter().map(|place| place.fract()).collect();
    if shares.iter().all(|share| *share == 0.0) {
        return near;
    }
    let mut shape = [1; 4];
    shape[axis] = to;
    let shares = Tensor::<4>::from_data(TensorData::new(shares, shape), &device);
    near.clone().add(pick(1).sub(near).mul(shares))
}
