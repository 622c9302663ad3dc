//! Neural video delivery: "Overfitting the Data: Compact Neural Video Delivery via Content-aware Feature Modulation" (ICCV 2021).
//!
//! A film is cut into chunks of a few seconds. What is sent is the film at low resolution, one super-resolution network for all of it, and for each
//! chunk a scale and a shift of the network's channels, less than a hundredth of its size. All are overfitted to the one film.
//!
//! | network | shared parameters x2 | per chunk | share |
//! | --- | --- | --- | --- |
//! | ESPCN | 60,652 | 483 | 0.796 % |
//! | SRCNN | 69,251 | 290 | 0.419 % |
//! | VDSR, 20 convolutions | 668,227 | 2,322 | 0.347 % |
//! | EDSR, 16 blocks | 1,369,859 | 4,128 | 0.301 % |
//! | EDSR, 32 blocks | 2,551,555 | 8,256 | 0.324 % |
//! | RCAN, 10 groups of 20 | 15,444,643 | 51,600 | 0.334 % |

pub mod bicubic;
pub mod cafm;
pub mod chunks;
pub mod config;
pub mod container;
pub mod deploy;
pub mod encode;
pub mod fold;
pub mod init;
pub mod low;
pub mod manifest;
pub mod metrics;
pub mod net;
pub mod options;
pub mod package;
pub mod patches;
pub mod play;
pub mod report;
pub mod start;
pub mod train;
pub mod trial;
pub mod upscale;

pub use cafm::Chunk;
pub use config::{Backbone, Config, Residual};
pub use net::Net;
