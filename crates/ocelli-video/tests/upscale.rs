//! Frames through the engine against the networks in burn.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::Taps;
use ocelli_video::deliver::init::initialize;
use ocelli_video::deliver::metrics::{Mean, quantise};
use ocelli_video::deliver::upscale::{Precision, Upscaler};
use ocelli_video::deliver::{Backbone, Chunk, Config, Net, Residual};

use crate::common::{drawn, picture};

/// The enlarged frame before it is rounded, `[height, width, 3]`.
fn by_burn(config: &Config, net: &Net, chunk: usize, low: &[u8], [height, width]: [usize; 2]) -> Vec<f32> {
    let planes: Vec<f32> =
        (0..3).flat_map(|c| low.iter().skip(c).step_by(3).map(|&value| f32::from(value))).collect();
    let x = Tensor::<4>::from_data(TensorData::new(planes, [1, 3, height, width]), &Device::flex());
    let y = config.enlarge(net, x, Chunk::One(chunk), &mut Taps::none());
    y.permute([0, 2, 3, 1]).into_data().iter::<f32>().collect()
}

/// Every pixel is the rounded value of the network, up to values within rounding of a half.
fn agrees(config: &Config, size: [usize; 2], threads: usize) {
    let net = drawn(config, 5);
    let low = picture(size[0], size[1], 3);
    let chunk = config.chunks.saturating_sub(1);
    let wanted = by_burn(config, &net, chunk, &low, size);
    let scaler = Upscaler::new(config, &net, chunk, size, threads, Precision::Float, None).expect("compiles");
    let mut high = vec![0u8; wanted.len()];
    scaler.run(&low, &mut high).expect("runs");
    let inside = wanted.iter().filter(|value| (1.0..254.0).contains(*value)).count();
    assert!(inside > wanted.len() / 4, "{}: the test's pictures are saturated", config.architecture());
    let mut other = 0;
    for (at, (found, wanted)) in high.iter().zip(&wanted).enumerate() {
        if f32::from(*found) != quantise(*wanted) {
            let off = (f32::from(*found) - wanted.clamp(0.0, 255.0)).abs();
            assert!(off < 0.5 + 2e-2, "{}: pixel {at}: {found}, not {wanted}", config.architecture());
            other += 1;
        }
    }
    assert!(
        other * 200 < high.len(),
        "{}: {other} of {} rounded otherwise",
        config.architecture(),
        high.len()
    );
}

#[test]
fn all_networks_enlarge_as_in_burn() {
    for (backbone, blocks, feats, groups) in [
        (Backbone::Espcn, 0, 16, 0),
        (Backbone::Srcnn, 0, 16, 0),
        (Backbone::Vdsr, 4, 16, 0),
        (Backbone::Edsr, 2, 16, 0),
        (Backbone::Rcan, 2, 16, 2),
    ] {
        for (scale, residual) in [(2, Residual::None), (3, Residual::Bicubic), (4, Residual::None)] {
            let config = Config { blocks, feats, groups, residual, ..Config::new(backbone, scale) };
            agrees(&config.with_chunks(2), [34, 46], 1);
            agrees(&config, [20, 30], 2);
        }
    }
}

#[test]
fn tiles_are_seamless() {
    // Larger than a tile in both directions.
    let config = Config { feats: 8, residual: Residual::Bicubic, ..Config::new(Backbone::Espcn, 2) };
    agrees(&config.with_chunks(1), [170, 600], 2);
    let config = Config { feats: 8, blocks: 2, ..Config::new(Backbone::Edsr, 2) };
    agrees(&config.with_chunks(1), [170, 600], 1);
    let config = Config { feats: 8, blocks: 3, ..Config::new(Backbone::Vdsr, 2) };
    agrees(&config, [130, 560], 2);
}

#[test]
fn threads_do_not_matter() {
    let config = Config { feats: 8, residual: Residual::Bicubic, ..Config::new(Backbone::Espcn, 2) };
    let net = drawn(&config, 2);
    let (size, low) = ([120, 200], picture(120, 200, 8));
    let frames: Vec<Vec<u8>> = [1, 2, 3]
        .into_iter()
        .map(|threads| {
            let mut high = vec![0; 240 * 400 * 3];
            let scaler =
                Upscaler::new(&config, &net, 0, size, threads, Precision::Float, None).expect("compiles");
            scaler.run(&low, &mut high).expect("runs");
            high
        })
        .collect();
    let apart = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    assert!(apart(&frames[0], &frames[1]) == 0 && apart(&frames[0], &frames[2]) == 0);
}

#[test]
fn interpolation_is_the_residual_alone() {
    let config = Config { feats: 8, residual: Residual::Bicubic, ..Config::new(Backbone::Espcn, 3) };
    // Zeros in the last layer: the network adds nothing.
    let net = ocelli_video::deliver::init::initialize(config.build(&Device::flex()), &config, 1);
    let (size, low) = ([40, 52], picture(40, 52, 1));
    let (mut a, mut b) = (vec![0; 120 * 156 * 3], vec![1; 120 * 156 * 3]);
    let scaler = Upscaler::new(&config, &net, 0, size, 1, Precision::Float, None).expect("compiles");
    scaler.run(&low, &mut a).expect("runs");
    Upscaler::bicubic(3, size, 2).run(&low, &mut b).expect("runs");
    let apart = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert!(apart < 20, "{apart} pixels differ");
    assert!(a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn integers_lose_little() {
    let config =
        Config { residual: Residual::Bicubic, feats: 16, blocks: 2, ..Config::new(Backbone::Edsr, 2) };
    let net = drawn(&config.with_chunks(1), 4);
    let (size, low) = ([60, 80], picture(60, 80, 5));
    let run = |precision| {
        let mut high = vec![0; 120 * 160 * 3];
        let own = config.with_chunks(1);
        let scaler = Upscaler::new(&own, &net, 0, size, 1, precision, Some(&low)).expect("compiles");
        scaler.run(&low, &mut high).expect("runs");
        high
    };
    let mut mean = Mean::default();
    mean.add(&run(Precision::Float), &run(Precision::Int8), [120, 160], 0);
    assert!(mean.psnr() > 35.0 && mean.identical() == 0, "{} dB", mean.psnr());
}

#[test]
fn frames_of_other_sizes_are_refused() {
    let scaler = Upscaler::bicubic(2, [10, 12], 1);
    let error = scaler.run(&[0; 30], &mut [0; 30]).expect_err("too short").to_string();
    assert!(error.contains("30") && error.contains("[10, 12]"), "{error}");
}

#[test]
fn with_a_bicubic_residual_every_network_starts_at_interpolation() {
    let size = [24, 30];
    let low = picture(size[0], size[1], 1);
    let mut wanted = vec![0u8; 4 * low.len()];
    Upscaler::bicubic(2, size, 1).run(&low, &mut wanted).expect("runs");
    for (backbone, blocks, groups) in [
        (Backbone::Espcn, 0, 0),
        (Backbone::Srcnn, 0, 0),
        (Backbone::Vdsr, 4, 0),
        (Backbone::Edsr, 1, 0),
        (Backbone::Rcan, 1, 1),
    ] {
        let residual = Residual::Bicubic;
        let config = Config { blocks, feats: 16, groups, residual, ..Config::new(backbone, 2) };
        let net = initialize(config.build(&Device::flex()), &config, 3);
        let burn = by_burn(&config, &net, 0, &low, size);
        let scaler = Upscaler::new(&config, &net, 0, size, 1, Precision::Float, None).expect("compiles");
        let mut high = vec![0u8; wanted.len()];
        scaler.run(&low, &mut high).expect("runs");
        for ((high, burn), wanted) in high.iter().zip(&burn).zip(&wanted) {
            let burn = (burn.clamp(0.0, 255.0) - f32::from(*wanted)).abs();
            assert!(burn < 0.51 && high.abs_diff(*wanted) <= 1, "{backbone:?}: {high}, not {wanted}");
        }
    }
}
