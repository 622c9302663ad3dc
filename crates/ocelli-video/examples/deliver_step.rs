//! Steps of joint training, timed: `deliver_step NETWORK BATCH CHUNKS STEPS THREADS` prints the median seconds of a step, from patches to weights.
//! What `benches/deliver_step.py` runs.

use std::sync::Arc;
use std::time::Instant;

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use ocelli_train::{AdamW, OptimizerConfig, OptimizerKind, Recycler, Task};
use ocelli_video::deliver::init::initialize;
use ocelli_video::deliver::patches::{Frames, Pair};
use ocelli_video::deliver::train::DeliverTask;
use ocelli_video::deliver::{Config, Net};

#[global_allocator]
static ALLOCATOR: Recycler = Recycler::new();

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, batch, chunks, steps, threads] = words.as_slice() else {
        panic!("deliver_step NETWORK BATCH CHUNKS STEPS THREADS");
    };
    let number = |word: &String| word.parse::<usize>().expect("a number");
    rayon::ThreadPoolBuilder::new().num_threads(number(threads)).build_global().expect("threads");
    let chunks = number(chunks);
    let config = Config::preset(name, 2).expect("a network").with_chunks(chunks);
    let device = Device::flex();
    let noise = |count: usize| Arc::new((0..count).map(|i| ((i * 7919) >> 5) as u8).collect::<Vec<u8>>());
    let pair = |chunk| Pair { low: noise(96 * 96 * 3), high: noise(192 * 192 * 3), chunk };
    let task = DeliverTask {
        config: config.clone(),
        frames: Frames { size: [96, 96], scale: 2, pairs: (0..chunks).map(pair).collect() },
        batches: number(steps) + 1,
        batch: number(batch),
        patch: 48,
        seed: 0,
        modulations_only: false,
        target: None,
        reached: Arc::default(),
        stop: Arc::default(),
        threads: 1,
        device: device.clone(),
    };
    let adam =
        OptimizerConfig { kind: OptimizerKind::AdamW, weight_decay: 0.0, ..OptimizerConfig::default() };
    let mut optimizer: ModuleOptimizer = AdamW::new(adam).into();
    let mut net: Net = initialize(config.build(&device.autodiff()), &config, 0);
    let mut times = Vec::new();
    for batch in task.batches(0, 0).expect("patches") {
        let begun = Instant::now();
        let loss = task.step(&net, batch.expect("a batch")).loss;
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-4, net, gradients);
        times.push(begun.elapsed().as_secs_f64());
    }
    // The first one makes the memory.
    let times = &mut times[1..];
    times.sort_by(f64::total_cmp);
    println!("{}", times[times.len() / 2]);
}
