//! Places of parameterless layers.

use burn::module::Module;

/// Keeps the place of a parameterless layer (a ReLU, a dropout) in the numbering of a sequential, so that the
/// layers around it carry the published indices.
#[derive(Module, Debug, Default)]
pub struct Slot {}
