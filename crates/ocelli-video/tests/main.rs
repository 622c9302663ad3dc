//! One test binary, so that everything is linked once.

mod common;
mod container;
mod encode;
mod manifest;
mod report;
mod upscale;
