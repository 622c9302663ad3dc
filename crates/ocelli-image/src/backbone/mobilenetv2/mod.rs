//! "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv 1801.04381) in timm's layout.
//!
//! | name | parameters |
//! | --- | --- |
//! | `mobilenetv2_035`, `050`, `075` | 1,677,128 / 1,968,680 / 2,636,424 |
//! | `mobilenetv2_100`, `140` | 3,504,872 / 6,108,776 |
//! | `mobilenetv2_110d`, `120d` (deeper) | 4,516,520 / 5,831,144 |

mod entries;
mod model;

pub use entries::entries;
pub(crate) use model::Block;
pub use model::{Config, Net};
