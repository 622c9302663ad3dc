//! Tests of the crate's public interface.

mod atomic;
mod bars;
mod heatmaps;
mod html;
mod lines;
mod numbers;
mod png;
mod support;
mod tensorboard;
mod ticks;
mod training;
