//! Elastic-Link: "Elastic-Link for Binarized Neural Network" (arXiv 2112.10149). A learned multiple of a binary convolution's
//! real-valued input is added to its output, so that 1x1 convolutions can be binary too.
//!
//! | name | network | parameters | binary / real MACs |
//! | --- | --- | --- | --- |
//! | `el_resnet26` | bottlenecks 2,2,2,2 | 16,006,720 | 1.863 G / 479.7 M |
//! | `resnet26_binary` | the same without links | 16,006,696 | the same |
//! | `el_mobilenet_v1` | 13 depthwise and pointwise pairs | 4,242,914 | 0.557 G / 11.9 M |
//! | `mobilenet_v1_binary` | the same without links | 4,242,888 | the same |
//!
//! There is no public code; of the paper only the abstract and a figure's caption were known to us. Where links stand, and that
//! the batch norm comes after the sum, is our reading. Keys: a *unit* has `conv.weight`, `conv.el.weight`, `bn`, `act.weight`;
//! a bottleneck `u1, u2, u3, downsample.{conv,bn}, act`; a pair `dw, pw`. EL-ReActNet is in [`reactnet`](super::reactnet).

mod entries;
pub mod mobilenet;
mod resnet;
mod unit;

pub use entries::entries;
pub use resnet::{Bottleneck, Config, Net};
pub use unit::Unit;
