//! The engine against burn, on every registered network.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::RunOptions;
use ocelli_image::{deploy, zoo};

use ocelli_testkit::fill;

use crate::settled;

/// Compiles `name` for `[height, width]` pictures and compares both at the given batch; the relative error.
fn compare(name: &str, [height, width]: [usize; 2], batch: usize, threads: usize) -> f32 {
    let device = Device::flex();
    let network = zoo::create(name, &zoo::Options::default(), &device).expect("registered");
    let network = settled(network);
    let channels = zoo::entry(name).expect("registered").input_shape()[0];
    let model = deploy::compile(&network, name, [channels, height, width], None)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    let x = fill::parameter("x", &[batch, channels, height, width]);
    let data = TensorData::new(x.clone(), [batch, channels, height, width]);
    let expected = network.forward(Tensor::from_data(data, &device)).into_data();
    let expected = expected.as_slice::<f32>().expect("logits are float32");
    let options = RunOptions { threads, pin: false };
    let found = model.run(batch, options, &[&x]).unwrap_or_else(|e| panic!("{name}: {e}"));
    let scale = expected.iter().fold(1e-6f32, |a, b| a.max(b.abs()));
    assert_eq!(found[0].len(), expected.len());
    found[0].iter().zip(expected).fold(0.0, |worst: f32, (a, b)| {
        let error = (a - b).abs() / scale;
        if error.is_nan() { f32::INFINITY } else { worst.max(error) }
    })
}

#[test]
fn equals_burn_on_every_network() {
    let mut worst = (0.0f32, String::new());
    for entry in zoo::entries() {
        let name = &entry.name;
        // Small pictures, not square, with odd sides where the network takes them.
        let network = entry.config().init(&Device::flex());
        let size = if entry.input_size < 64 {
            [entry.input_size; 2]
        } else if network.check_size([97, 65]).is_ok() {
            [97, 65]
        } else {
            let side = crate::small_side(&network, 65);
            let longer = (side + 1..).find(|&longer| network.check_size([side, longer]).is_ok());
            [side, longer.expect("some longer picture")]
        };
        let error = compare(name, size, 1, 1);
        eprintln!("{name}: {error:.1e}");
        assert!(error < 1e-4, "{name}: {error:e}");
        if error > worst.0 {
            worst = (error, name.to_string());
        }
    }
    eprintln!("largest: {:.1e} ({})", worst.0, worst.1);
}

#[test]
fn batches_threads_and_full_sizes() {
    for (name, size, batch, threads) in [
        ("resnet18", [224, 224], 1, 2),
        ("resnet50", [64, 128], 3, 2),
        ("seresnet50", [75, 101], 2, 1),
        ("ghostnet_100", [224, 224], 2, 2),
        ("mobilenetv2_100", [127, 95], 5, 2),
    ] {
        let error = compare(name, size, batch, threads);
        assert!(error < 1e-4, "{name} {size:?} x{batch}: {error:e}");
    }
}
