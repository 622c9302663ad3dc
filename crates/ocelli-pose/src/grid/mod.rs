//! Grid convolution: 3 x 3 convolutions on a grid of joints, in two branches that differ in how they see beyond its border.
//!
//! Maps are `[batch, cells, channels]`, cells row by row: a layer is then one gather of neighbours and one product, whatever the border.

mod attention;
mod layer;
mod neighbours;
mod padding;

pub use attention::{Attention, AttentionConfig};
pub use layer::{GridConv, GridConvConfig, Naming};
pub use neighbours::Neighbours;
pub use padding::{Padding, TAPS, neighbour_table};

use burn::tensor::Tensor;

/// `[batch, channels, height, width]` -> `[batch, cells, channels]`.
pub fn cells_of(map: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = map.dims();
    map.reshape([batch, channels, height * width]).swap_dims(1, 2)
}

/// The inverse of [`cells_of`] for a grid of `[height, width]`.
pub fn map_of(cells: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = cells.dims();
    cells.swap_dims(1, 2).reshape([batch, channels, height, width])
}
