//! Lifted poses for people and other programs.

mod gltf;
mod svg;

pub use gltf::gltf;
pub use svg::{Picture, Shown, svg};
