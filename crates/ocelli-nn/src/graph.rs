//! Graphs of nodes: nearest neighbours in feature space and what nodes take from them (Vision GNN, arXiv 2206.00272).
//!
//! The nodes of a map `[batch, channels, height, width]` are its pixels, row by row.

use burn::tensor::{Int, Tensor, TensorData};

use crate::{kernels, resize_positions, resize_table};

/// The neighbours of every node of `x` among those of `y`: of the `k · dilation` nearest every `dilation`-th, the
/// nearest first, `[batch, nodes, k]`. No gradient flows through the choice.
///
/// Nodes are compared as unit vectors: `|u - v|²`, plus `positions` `[1, nodes, targets]`. Equal distances go to the lower
/// index; what is not a number comes last.
///
/// # Panics
/// If `y` has fewer than `k · dilation` nodes.
pub fn neighbours(
    x: Tensor<4>,
    y: Tensor<4>,
    positions: Option<Tensor<3>>,
    k: usize,
    dilation: usize,
) -> Tensor<3, Int> {
    let [_, _, height, width] = y.dims();
    assert!(k * dilation <= height * width, "{k} x {dilation} neighbours of {} nodes", height * width);
    if kernels::serve(&x) || kernels::is_recorded(&x) {
        return kernels::neighbours(x, y, positions, k, dilation);
    }
    let ranked = distances(x.detach(), y.detach(), positions.map(Tensor::detach));
    let (_, nearest) = ranked.neg().topk_with_indices(k * dilation, 2);
    let every = Tensor::arange_step(0..(k * dilation) as i64, dilation, &nearest.device());
    nearest.select(2, every)
}

/// The squared distances of unit vectors, `[batch, nodes, targets]`, plus `positions`.
pub fn distances(x: Tensor<4>, y: Tensor<4>, positions: Option<Tensor<3>>) -> Tensor<3> {
    let unit = |map: Tensor<4>| {
        let nodes = map.flatten::<3>(2, 3);
        let length = nodes.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        nodes.div(length)
    };
    let (u, v) = (unit(x), unit(y));
    let square = |nodes: &Tensor<3>| nodes.clone().square().sum_dim(1);
    let products = u.clone().swap_dims(1, 2).matmul(v.clone()).mul_scalar(-2.0);
    let all = square(&u).swap_dims(1, 2).add(products).add(square(&v));
    match positions {
        Some(positions) => all.add(positions),
        None => all,
    }
}

/// The neighbours' channels `[batch, channels, nodes, k]`.
pub fn gather(y: Tensor<4>, neighbours: Tensor<3, Int>) -> Tensor<4> {
    let [batch, channels, ..] = y.dims();
    let [_, nodes, k] = neighbours.dims();
    let index = neighbours.reshape([batch, 1, nodes * k]).expand([batch, channels, nodes * k]);
    y.flatten::<3>(2, 3).gather(2, index).reshape([batch, channels, nodes, k])
}

/// Every channel `h` of a node followed by `max_j y_j - h` over its neighbours in `y`:
/// `[batch, channels, h, w]` → `[batch, 2 · channels, h, w]`.
pub fn max_relative(x: Tensor<4>, y: Tensor<4>, neighbours: Tensor<3, Int>) -> Tensor<4> {
    if kernels::serve(&x) || kernels::is_recorded(&x) {
        return kernels::max_relative(x, y, neighbours);
    }
    let [batch, channels, height, width] = x.dims();
    let most = gather(y, neighbours).max_dim(3).reshape([batch, channels, height, width]).sub(x.clone());
    Tensor::stack::<5>(vec![x, most], 2).reshape([batch, 2 * channels, height, width])
}

/// A table `[1, rows, columns]` as a picture, resized to `[1, size[0], size[1]]` (bicubic).
///
/// On a recording device it is recorded; elsewhere its numbers are computed as PyTorch does, and no gradient flows.
pub fn resize_distances(table: Tensor<3>, size: [usize; 2]) -> Tensor<3> {
    let [_, rows, columns] = table.dims();
    if [rows, columns] == size {
        return table;
    }
    if kernels::is_recorded(&table) {
        return resize_positions(table.reshape([1, 1, rows, columns]), size).reshape([1, size[0], size[1]]);
    }
    let device = table.device();
    let values = table.into_data().convert::<f32>();
    let values = resize_table(values.as_slice().expect("just converted"), [rows, columns], size);
    Tensor::from_data(TensorData::new(values, [1, size[0], size[1]]), &device)
}
