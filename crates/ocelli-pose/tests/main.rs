//! Tests of ocelli-pose.

mod bvh;
mod geometry;
mod hostile;
mod npz;
mod reference;
