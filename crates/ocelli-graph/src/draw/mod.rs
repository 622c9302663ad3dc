//! Drawings of a graph: text for Graphviz, or a finished SVG picture.
//!
//! One box per operation with its name, what it computes and its output's shape; constants are not drawn.

mod dot;
mod label;
mod layout;
mod order;
mod place;
mod svg;

pub use dot::dot;
pub use svg::svg;
