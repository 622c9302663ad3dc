//! Tests of ocelli-pose.

mod bvh;
mod geometry;
