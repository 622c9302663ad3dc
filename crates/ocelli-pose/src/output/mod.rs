//! Lifted poses for people and other programs.

mod gif;
mod gltf;
mod lifted;
mod raster;
mod scene;
mod svg;

pub use gif::{gif, png};
pub use gltf::gltf;
pub use lifted::read_lifted;
pub use scene::{Picture, Shown};
pub use svg::svg;
