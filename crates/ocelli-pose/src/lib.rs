//! Human pose: 2D joints from any detector in, 3D skeletons out.
//!
//! The method is grid convolution ("3D Human Pose Lifting with Grid Convolution", AAAI 2023): a semantic grid transformation lays the 17
//! joints of Human3.6M out on a small grid ([`sgt`]), 3 x 3 convolutions with two kinds of border work on it ([`grid`]), and a residual network of
//! them lifts the pose ([`lifter`]). 2D joints are in the network's units ([`picture::normalise`]); 3D joints are metres relative to the pelvis in the
//! camera's axes: x right, y down, z away.

pub mod bvh;
pub mod camera;
pub mod data;
pub mod deploy;
pub mod error;
pub mod grid;
pub mod keypoints;
pub mod lifter;
pub mod metrics;
pub mod model_file;
pub mod output;
pub mod picture;
pub mod procrustes;
pub mod runner;
pub mod schedule;
pub mod sgt;
pub mod skeleton;
pub mod train;

pub use error::PoseError;
pub use model_file::Model;
pub use runner::Runner;
