//! scratch
use burn::tensor::Device;
use ocelli_video::deliver::upscale::*;
use ocelli_video::deliver::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let config =
        Config { residual: Residual::Bicubic, ..Config::preset(&args[1], 2).unwrap() }.with_chunks(1);
    let (h, w): (usize, usize) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let threads: usize = args[4].parse().unwrap();
    let precision = if args[5] == "int8" { Precision::Int8 } else { Precision::Float };
    let net = init::initialize(config.build(&Device::flex()), &config, 1);
    let low: Vec<u8> = (0..h * w * 3).map(|i| ((i * 7919) >> 5) as u8).collect();
    let begun = std::time::Instant::now();
    let up = Upscaler::new(&config, &net, 0, [h, w], threads, precision, Some(&low)).unwrap();
    println!("{up:?} compiled in {:?}", begun.elapsed());
    let mut high = vec![0; h * w * 12];
    let mut times = Vec::new();
    for _ in 0..args[6].parse().unwrap() {
        let begun = std::time::Instant::now();
        up.run(&low, &mut high).unwrap();
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("median {:.1} ms, best {:.1} ms", times[times.len() / 2] * 1e3, times[0] * 1e3);
    let mut session =
        up.model().unwrap().session(1, ocelli_engine::RunOptions { threads: 1, pin: false }).unwrap();
    let g = up.model().unwrap().graph();
    let n: usize = g
        .value(g.inputs[0])
        .shape
        .iter()
        .map(|d| match d {
            ocelli_graph::Dim::Fixed(n) => *n,
            ocelli_graph::Dim::Batch(n) => *n,
        })
        .product();
    let m: usize = g
        .value(g.outputs[0])
        .shape
        .iter()
        .map(|d| match d {
            ocelli_graph::Dim::Fixed(n) => *n,
            ocelli_graph::Dim::Batch(n) => *n,
        })
        .product();
    let (x, mut y) = (vec![1.0f32; n], vec![0.0f32; m]);
    for s in session.profile(&[&x], &mut [&mut y]).unwrap() {
        println!(
            "{:20} {:24} {:8.2} GMAC/s {:?}",
            s.name,
            s.kind,
            s.macs as f64 / s.time.as_secs_f64() / 1e9,
            s.time
        );
    }
}
