//! Files to training batches: decoding, transforms, datasets and a deterministic loader.
//!
//! This crate knows no tensors. It turns picture files into plain `f32` buffers with known shapes:
//!
//! 1. [`decode_file`] reads a picture of any common format as 8-bit RGB ([`RgbImage`]);
//! 2. [`resize()`](resize::resize) and [`transform`] do what Pillow, torchvision and timm do, to the same pixels;
//! 3. a [`Dataset`] is a list of labelled pictures: class folders, CIFAR, the MNIST family;
//! 4. a [`Loader`] decodes and augments ahead on several threads and gives [`Batch`]es, the same ones for
//!    any number of threads, and the same ones again when a run resumes in the middle of an epoch.
//!
//! Films are apart from this: [`video`] gives their frames one by one and writes them back, through the programs
//! `ffmpeg` and `ffprobe`.
//!
//! ```no_run
//! use ocelli_data::{Loader, LoaderConfig, SplitOptions, TransformConfig, open_split};
//! use std::sync::Arc;
//!
//! # fn main() -> ocelli_data::Result<()> {
//! let data = open_split("flowers".as_ref(), &SplitOptions { split: Some(0.2), ..Default::default() })?;
//! let transform = TransformConfig::default().train()?;
//! let config = LoaderConfig { batch_size: 64, ..LoaderConfig::train() };
//! let loader = Loader::new(data.train, config, Arc::new(transform))?;
//! for batch in loader.epoch(0, 0)? {
//!     let batch = batch?;
//!     assert_eq!(batch.shape[1..], [3, 224, 224]);
//! }
//! # Ok(())
//! # }
//! ```

pub mod dataset;
pub mod decode;
mod error;
pub mod loader;
pub mod resize;
mod rgb;
pub mod rng;
pub mod transform;
pub mod video;

pub use dataset::{
    Cifar, Dataset, DatasetFormat, DatasetPair, EvalSet, FileList, Idx, ImageFolder, SplitOptions,
    list_images, open_eval, open_split,
};
pub use decode::{DecodeLimits, decode_bytes, decode_file};
pub use error::{DataError, Result};
pub use loader::{BadImages, Batch, Epoch, Loader, LoaderConfig, Skipped};
pub use resize::{Interpolation, Rect, crop, crop_resize, resize, resize_window};
pub use rgb::RgbImage;
pub use rng::Rng;
pub use transform::{
    AugmentConfig, EvalTransform, MixConfig, Preprocess, SampleTransform, TrainTransform, TransformConfig,
};
