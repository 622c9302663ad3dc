//! Poses per second of untrained networks in the engine: `cargo run --release -p ocelli-pose --example throughput -- [THREADS]`.

use std::time::Instant;

use burn::tensor::Device;
use ocelli_engine::RunOptions;
use ocelli_pose::Runner;
use ocelli_pose::grid::Padding;
use ocelli_pose::lifter::{Config, LifterConfig, Variant};
use ocelli_pose::train::lift;

fn main() {
    let threads = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(2);
    let device = Device::flex();
    for (variant, hidden, padding) in [
        (Variant::DGridConv, 32, "c,r"),
        (Variant::DGridConv, 48, "c,r"),
        (Variant::DGridConv, 64, "c,r"),
        (Variant::DGridConv, 64, "r,r"),
        (Variant::GridConv, 64, "c,z"),
        (Variant::DGridConv, 256, "c,r"),
        (Variant::GridConv, 256, "c,z"),
    ] {
        let padding = Padding::pair(padding).expect("two letters");
        let config = LifterConfig::Grid(Config { variant, hidden, padding, ..Config::default() });
        let lifter = config.init(1, &device);
        let runner = Runner::new(&lifter, 2.0, threads).expect("the engine runs it");
        let poses: Vec<[[f32; 2]; 17]> = (0..256)
            .map(|p| std::array::from_fn(|j| [((p * 17 + j) as f32).sin(), ((p + 3 * j) as f32).cos()]))
            .collect();
        let (engine, burn) = (runner.lift(&poses).expect("it runs"), lift(&lifter, &device, &poses, 2.0));
        let (engine, burn) = (engine.as_flattened().as_flattened(), burn.as_flattened().as_flattened());
        let apart = engine.iter().zip(burn).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let best = |poses: &[[[f32; 2]; 17]], rounds: usize| {
            (0..rounds)
                .map(|_| {
                    let start = Instant::now();
                    runner.lift(poses).expect("it runs");
                    start.elapsed().as_secs_f64()
                })
                .fold(f64::INFINITY, f64::min)
        };
        let (many, one) = (best(&poses, 30), best(&poses[..1], 300));
        println!(
            "{:<10} {hidden:>4} {:<6} {:>7.2} M MACs  {:>8.0} poses/s at 256  {:.3} ms for one  (burn apart by {apart:.1e})",
            config.name(),
            padding.map(Padding::letter).iter().collect::<String>(),
            config.macs() as f64 / 1e6,
            256.0 / many,
            1000.0 * one,
        );
        if std::env::var_os("STEPS").is_some() {
            steps(&runner);
        }
    }
}

/// Where the time of 16 poses goes, by kind of step.
fn steps(runner: &Runner) {
    let mut session = runner.model().session(16, RunOptions { threads: 1, pin: false }).expect("a session");
    let (input, mut output) = (vec![0.1f32; 16 * 34], vec![0.0f32; 16 * 51]);
    let mut sums = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let times = session.profile(&[&input], &mut [&mut output]).expect("it runs");
        for step in times {
            let entry: &mut (f64, usize) = sums.entry(step.kind).or_default();
            entry.0 += step.time.as_secs_f64() * 1e6 / 20.0;
            entry.1 += 1;
        }
    }
    for (kind, (micros, count)) in sums {
        println!("    {kind:<12} {micros:>8.1} us in {} steps", count / 20);
    }
}
