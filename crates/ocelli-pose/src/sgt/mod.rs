//! The semantic grid transformation (SGT): joints laid out on the cells of a small grid, and back.

mod handcrafted;
mod learnable;
mod prior;

pub use handcrafted::{CELL_JOINTS, forward_matrix, inverse_matrix};
pub use learnable::{Assignment, LearnableSgt, gumbel_noise, owners, to_grid, to_joints};
pub use prior::Prior;
