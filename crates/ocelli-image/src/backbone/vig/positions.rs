//! Relative positions of nodes, as something to add to their distances (section 3.2 of the paper's supplement; the
//! reference's `get_2d_relative_pos_embed`).

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::resize_positions;

/// Sines and cosines of the places of a `side x side` grid, `[side², channels]`: the first half codes the column, the
/// second the row, each by sines, then cosines of `channels / 4` frequencies.
pub fn sin_cos(channels: usize, side: usize) -> Vec<f64> {
    let count = channels / 4;
    let frequencies: Vec<f64> = (0..count).map(|i| 10000f64.powf(-(i as f64) / count as f64)).collect();
    let mut code = Vec::with_capacity(side * side * channels);
    for row in 0..side {
        for column in 0..side {
            for place in [column, row] {
                code.extend(frequencies.iter().map(|w| (place as f64 * w).sin()));
                code.extend(frequencies.iter().map(|w| (place as f64 * w).cos()));
            }
        }
    }
    code
}

/// Minus the similarity of the places of a `side x side` grid, 1 for a place and itself, the second place on a grid
/// `reduce` times coarser: `[side², side² / reduce²]`, row-major.
pub fn relative_positions(channels: usize, side: usize, reduce: usize) -> Vec<f32> {
    let (code, width) = (sin_cos(channels, side), channels / 4 * 4);
    let nodes = side * side;
    let mut table = vec![0f32; nodes * nodes];
    for i in 0..nodes {
        for j in 0..=i {
            let (a, b) = (&code[i * width..][..width], &code[j * width..][..width]);
            let similarity = 2.0 * a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / channels as f64;
            table[i * nodes + j] = similarity as f32;
            table[j * nodes + i] = similarity as f32;
        }
    }
    let targets = nodes / (reduce * reduce);
    let map = Tensor::<4>::from_data(TensorData::new(table, [1, 1, nodes, nodes]), &Device::flex());
    let table = resize_positions(map, [nodes, targets]).neg().into_data();
    table.try_into_vec().expect("a float32 map")
}
