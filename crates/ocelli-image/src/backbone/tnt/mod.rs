//! TNT: "Transformer in Transformer" (arXiv 2103.00112).
//!
//! A picture is cut into patches ("sentences") and every patch into small groups of pixels ("words"). In each block an
//! inner transformer mixes the words of one patch, a projection adds them to the patch's token, and an outer
//! transformer mixes the patches.
//!
//! | name | outer width, heads | inner width, heads | parameters | MACs |
//! | --- | --- | --- | --- | --- |
//! | `tnt_ti_patch16_224` | 192, 3 | 12, 2 | 6,076,408 | 1.41 G |
//! | `tnt_s_patch16_224` | 384, 6 | 24, 4 | 23,768,584 | 5.23 G |
//! | `tnt_b_patch16_224` | 640, 10 | 40, 4 | 65,428,680 | 14.07 G |
//! | `tnt_s_patch16_384` | 384, 6 | 24, 4 | 23,914,504 | 17.35 G |

mod attention;
mod block;
mod config;
mod embed;
mod entries;
mod model;
pub mod weights;

pub use attention::Attention;
pub use block::{Block, BlockShape};
pub use config::Config;
pub use embed::PatchEmbed;
pub use entries::entries;
pub use model::Net;
