//! Images per second: `cargo run --release -p ocelli-data --example throughput -- SIZE FOLDER [WORKERS]`.
//!
//! Reads every picture below FOLDER with one thread, once per stage (read and decode, evaluate, augment), for
//! at least two seconds each, then the whole loader with WORKERS threads.

use ocelli_data::*;
use std::sync::Arc;
use std::time::Instant;

fn rate(name: &str, count: usize, mut pass: impl FnMut() -> Result<()>) -> Result<()> {
    pass()?;
    let (start, mut passes) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < 2.0 {
        pass()?;
        passes += 1;
    }
    println!("{name:<28} {:9.1} images/s", (passes * count) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(size), Some(folder)) = (arguments.next().and_then(|s| s.parse().ok()), arguments.next()) else {
        eprintln!("usage: throughput SIZE FOLDER [WORKERS]");
        std::process::exit(2);
    };
    let workers = arguments.next().and_then(|w| w.parse().ok()).unwrap_or(2);
    let limits = DecodeLimits::default();
    let paths = list_images(&[&folder])?;
    let images = paths.iter().map(|p| decode_file(p, &limits)).collect::<Result<Vec<_>>>()?;
    let config = TransformConfig {
        preprocess: Preprocess { input_size: [3, size, size], ..Preprocess::default() },
        ..TransformConfig::default()
    };
    let strong =
        AugmentConfig { auto_augment: Some("rand-m9-mstd0.5-inc1".parse()?), ..config.augment.clone() };
    let plain = AugmentConfig { color_jitter: 0.0, ..config.augment.clone() };
    println!("{} pictures, to {size} x {size}, one thread", paths.len());
    rate("decode", paths.len(), || paths.iter().try_for_each(|p| decode_file(p, &limits).map(drop)))?;
    let eval = config.eval()?;
    rate("eval transform", paths.len(), || images.iter().try_for_each(|i| eval.apply(i).map(drop)))?;
    for (name, augment) in
        [("crop + flip", &plain), ("... + jitter", &config.augment), ("... + RandAugment", &strong)]
    {
        let train = TrainTransform::new(&config.preprocess, augment)?;
        let mut epoch = 0;
        rate(name, paths.len(), || {
            epoch += 1;
            let mut samples = images.iter().enumerate();
            samples.try_for_each(|(n, i)| train.apply(i, &mut Rng::for_sample(0, epoch, n as u64)).map(drop))
        })?;
    }
    for (name, cache_bytes) in [("loader, crop + flip", 0), ("the same, cached", 8 << 30)] {
        let settings =
            LoaderConfig { batch_size: 32, workers, cache_bytes, drop_last: false, ..LoaderConfig::train() };
        let train = TrainTransform::new(&config.preprocess, &plain)?;
        let data = Arc::new(FileList::new(paths.clone(), limits));
        let loader = Loader::new(data, settings, Arc::new(train))?;
        let mut epoch = 0;
        rate(&format!("{name}, {workers} threads"), paths.len(), || {
            epoch += 1;
            loader.epoch(epoch, 0)?.try_for_each(|b| b.map(drop))
        })?;
    }
    Ok(())
}
