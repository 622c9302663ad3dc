//! Times training steps (forward, backward, SGD): `train_step NAME BATCH SIDE STEPS [THREADS]`.
//!
//! Prints the median seconds of a step, of its forward and of its backward pass. `benches/train_step.py` runs it
//! beside PyTorch.

use std::time::Instant;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, activation::log_softmax};
use ocelli_image::zoo::{self, Options};
use ocelli_train::{OptimizerConfig, Sgd};

#[global_allocator]
static ALLOCATOR: ocelli_train::Recycler = ocelli_train::Recycler::new();

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args.get(i).and_then(|arg| arg.parse::<usize>().ok());
    let (Some(name), Some(batch), Some(side), Some(steps)) = (args.first(), number(1), number(2), number(3))
    else {
        eprintln!("usage: train_step NAME BATCH SIDE STEPS [THREADS]");
        std::process::exit(2);
    };
    if let Some(threads) = number(4) {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().ok();
    }
    let device = Device::flex().autodiff();
    let options = Options { num_classes: Some(10), ..Default::default() };
    let mut model = match zoo::create(name, &options, &device) {
        Ok(model) => model.initialize(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    };
    let mut optimizer = ModuleOptimizer::from(Sgd::new(OptimizerConfig::default()));
    let x = Tensor::<4>::random([batch, 3, side, side], burn::tensor::Distribution::Default, &device);
    let mut times = Vec::new();
    for _ in 0..steps {
        let begun = Instant::now();
        let loss = log_softmax(model.forward(x.clone()), 1).mean().neg();
        loss.clone().into_scalar::<f32>();
        let forward = begun.elapsed().as_secs_f64();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let backward = begun.elapsed().as_secs_f64() - forward;
        model = optimizer.step(0.01, model, grads);
        times.push([begun.elapsed().as_secs_f64(), forward, backward]);
    }
    let median = |part: usize| {
        let mut list: Vec<f64> = times.iter().map(|time| time[part]).collect();
        list.sort_by(f64::total_cmp);
        list[list.len() / 2]
    };
    println!("{:.4} {:.4} {:.4}", median(0), median(1), median(2));
}
