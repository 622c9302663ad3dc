//! scratch
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use ocelli_train::*;
use ocelli_video::deliver::patches::*;
use ocelli_video::deliver::train::*;
use ocelli_video::deliver::*;
#[global_allocator]
static ALLOCATOR: Recycler = Recycler::new();
fn main() {
    let args: Vec<String> = std::env::args().collect();
    rayon::ThreadPoolBuilder::new().num_threads(args[1].parse().unwrap()).build_global().unwrap();
    let config = Config {
        residual: if args.len() > 5 { Residual::Bicubic } else { Residual::None },
        ..Config::preset(&args[2], 2).unwrap()
    }
    .with_chunks(6);
    let device = Device::flex().autodiff();
    let mut net = init::initialize(config.build(&device), &config, 1);
    let pairs = (0..6)
        .map(|chunk| Pair {
            low: std::sync::Arc::new((0..100 * 100 * 3).map(|i| (i * 7919 >> 4) as u8).collect()),
            high: std::sync::Arc::new((0..200 * 200 * 3).map(|i| (i * 7919 >> 5) as u8).collect()),
            chunk,
        })
        .collect();
    let task = DeliverTask {
        config: config.clone(),
        frames: Frames { size: [100, 100], scale: 2, pairs },
        batches: args[4].parse().unwrap(),
        batch: args[3].parse().unwrap(),
        patch: 48,
        seed: 0,
        modulations_only: false,
        target: None,
        reached: Default::default(),
        stop: Default::default(),
        threads: 1,
        device: Device::flex(),
    };
    let mut optimizer: ModuleOptimizer =
        AdamW::new(OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: 0.0, ..Default::default() })
            .into();
    let mut times = Vec::new();
    let mut parts = [0.0f64; 3];
    for batch in task.batches(0, 0).unwrap() {
        let begun = std::time::Instant::now();
        let step = task.step(&net, batch.unwrap());
        let a = begun.elapsed().as_secs_f64();
        let grads = step.loss.backward();
        let b = begun.elapsed().as_secs_f64();
        let grads = GradientsParams::from_grads(grads, &net);
        net = optimizer.step(1e-4, net, grads);
        let c = begun.elapsed().as_secs_f64();
        times.push(c);
        parts[0] += a;
        parts[1] += b - a;
        parts[2] += c - b;
    }
    let n = times.len() as f64;
    times.sort_by(f64::total_cmp);
    println!(
        "ocelli {} batch {} threads {}: median {:.1} ms, best {:.1}; forward {:.1} backward {:.1} step {:.1}",
        args[2],
        args[3],
        args[1],
        times[times.len() / 2] * 1e3,
        times[0] * 1e3,
        parts[0] / n * 1e3,
        parts[1] / n * 1e3,
        parts[2] / n * 1e3
    );
}
