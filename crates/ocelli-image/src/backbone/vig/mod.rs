//! Vision GNN: "Vision GNN: An Image is Worth Graph of Nodes" (arXiv 2206.00272).
//!
//! The cells of a map are nodes of a graph. In every block a node finds its most similar nodes, anywhere in the picture,
//! and mixes their features in (Grapher); a feed-forward network per node follows.
//!
//! | name | form | blocks | channels | parameters | MACs |
//! | --- | --- | --- | --- | --- | --- |
//! | `vig_ti_224_gelu` | isotropic, 14x14 nodes | 12 | 192 | 7,184,744 | 1.31 G |
//! | `vig_s_224_gelu` | isotropic | 16 | 320 | 22,747,752 | 4.53 G |
//! | `vig_b_224_gelu` | isotropic | 16 | 640 | 86,841,832 | 17.67 G |
//! | `pvig_ti_224_gelu` | pyramid | 2, 2, 6, 2 | 48, 96, 240, 384 | 10,714,376 | 1.71 G |
//! | `pvig_s_224_gelu` | pyramid | 2, 2, 6, 2 | 80, 160, 400, 640 | 27,251,912 | 4.56 G |
//! | `pvig_m_224_gelu` | pyramid | 2, 2, 16, 2 | 96, 192, 384, 768 | 49,525,832 | 8.87 G |
//! | `pvig_b_224_gelu` | pyramid | 2, 2, 18, 2 | 128, 256, 512, 1024 | 92,980,328 | 16.84 G |
//!
//! Parameters without the tables of relative positions (`relative_pos`), which published files hold and nothing trains.

mod config;
mod entries;
mod graph_conv;
mod grapher;
mod model;
mod positions;
mod stem;

pub use config::{BlockConfig, Config, Graph, Stage};
pub use entries::entries;
pub use graph_conv::{Aggregate, GraphConv, GraphConvShape};
pub use grapher::{Ffn, Grapher, GrapherShape};
pub use model::{Downsample, Net};
pub use positions::{relative_positions, sin_cos};
pub use stem::Stem;
