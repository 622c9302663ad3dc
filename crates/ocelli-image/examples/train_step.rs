//! Times training steps: `train_step NAME BATCH SIDE STEPS`; prints seconds per step, fastest and median.

use std::time::Instant;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};
use ocelli_image::zoo::{self, Options};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, batch, side, steps] = args.as_slice() else {
        eprintln!("usage: train_step NAME BATCH SIDE STEPS");
        std::process::exit(2);
    };
    let (batch, side, steps): (usize, usize, usize) =
        (batch.parse().unwrap(), side.parse().unwrap(), steps.parse().unwrap());
    let device = Device::flex().autodiff();
    let options = Options { num_classes: Some(10), ..Default::default() };
    let mut model = zoo::create(name, &options, &device).unwrap().initialize(0);
    let mut optimizer = burn::optim::SgdConfig::new().init();
    let x = Tensor::<4>::ones([batch, 3, side, side], &device);
    let y = Tensor::<1, Int>::zeros([batch], &device);
    let mut times = Vec::new();
    for _ in 0..steps {
        let t = Instant::now();
        let loss = burn::tensor::activation::log_softmax(model.forward(x.clone()), 1)
            .gather(1, y.clone().reshape([batch, 1]))
            .mean()
            .neg();
        let _ = loss.clone().into_scalar::<f32>();
        let f = t.elapsed();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let b = t.elapsed();
        model = optimizer.step(0.01, model, grads);
        times.push((t.elapsed().as_secs_f64(), f.as_secs_f64(), (b - f).as_secs_f64()));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let m = times[times.len() / 2];
    println!(
        "{name} {batch}x{side}: {:.3} s/step median (forward {:.3}, backward {:.3}), fastest {:.3}",
        m.0, m.1, m.2, times[0].0
    );
    let _ = model.num_params();
}
