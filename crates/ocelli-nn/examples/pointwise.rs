//! A 1x1 convolution in training as burn's convolution and as the matrix product `Conv2d` makes of it: milliseconds
//! forward and backward, fastest of ten.

use std::time::Instant;

use burn::tensor::{Device, Tensor, module::conv2d, ops::ConvOptions};
use ocelli_nn::{Conv2dConfig, InitScheme, initialize};

fn main() {
    let device = Device::flex().autodiff();
    for (channels_in, channels_out, side) in [(256, 256, 16), (64, 128, 32), (960, 160, 4)] {
        let layer =
            initialize(Conv2dConfig::new(channels_in, channels_out, 1).init(&device), InitScheme::KAIMING, 0);
        let x = Tensor::<4>::ones([16, channels_in, side, side], &device).require_grad();
        let time = |forward: &dyn Fn() -> Tensor<4>| {
            let mut best = [f64::MAX; 2];
            for _ in 0..10 {
                let begun = Instant::now();
                let y = forward();
                let loss = y.clone().mul(y).sum();
                loss.clone().into_scalar::<f32>();
                let half = begun.elapsed().as_secs_f64();
                loss.backward();
                let whole = begun.elapsed().as_secs_f64();
                best = [best[0].min(half), best[1].min(whole - half)];
            }
            format!("{:5.1} + {:5.1} ms", 1e3 * best[0], 1e3 * best[1])
        };
        let options = || ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
        let convolution = time(&|| conv2d(x.clone(), layer.weight.val(), None, options()));
        let product = time(&|| layer.forward(x.clone()));
        println!(
            "{channels_in} -> {channels_out}, {side}x{side}, batch 16: convolution {convolution}, product {product}"
        );
    }
}
