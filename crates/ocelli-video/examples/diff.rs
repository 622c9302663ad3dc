//! scratch
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::Taps;
use ocelli_video::deliver::upscale::*;
use ocelli_video::deliver::*;
#[path = "../tests/common.rs"]
mod common;
fn main() {
    for feats in [16, 32, 64] {
        for chunks in [0, 2] {
            let config = Config { blocks: 0, feats, ..Config::new(Backbone::Espcn, 2) }.with_chunks(chunks);
            let size = [34, 46];
            let net = common::drawn(&config, 5);
            let low = common::picture(size[0], size[1], 3);
            let planes: Vec<f32> =
                (0..3).flat_map(|c| low.iter().skip(c).step_by(3).map(|&v| f32::from(v))).collect();
            let x = Tensor::<4>::from_data(TensorData::new(planes, [1, 3, 34, 46]), &Device::flex());
            let y = config
                .enlarge(&net, x, Chunk::One(chunks.max(1) - 1), &mut Taps::none())
                .permute([0, 2, 3, 1]);
            let want: Vec<f32> = y.into_data().iter::<f32>().collect();
            let up =
                Upscaler::new(&config, &net, chunks.max(1) - 1, size, 1, Precision::Float, None).unwrap();
            let mut high = vec![0u8; want.len()];
            up.run(&low, &mut high).unwrap();
            let bad: Vec<usize> = (0..want.len())
                .filter(|&i| (f32::from(high[i]) - want[i].clamp(0., 255.)).abs() > 0.6)
                .collect();
            println!(
                "feats {feats} chunks {chunks}: {} bad of {}; range {:?}",
                bad.len(),
                want.len(),
                want.iter().fold((0f32, 0f32), |m, &v| (m.0.min(v), m.1.max(v)))
            );
            for &i in bad.iter().take(6) {
                println!("  y {} x {} c {}: {} want {}", i / 276, i / 3 % 92, i % 3, high[i], want[i]);
            }
            let mut session = up.model().unwrap().session(1, Default::default()).unwrap();
            let (x, mut y) = (vec![1.0f32; 34 * 46 * 3], vec![0.0f32; 34 * 46 * 12]);
            for s in session.profile(&[&x], &mut [&mut y]).unwrap() {
                print!("{} {}; ", s.name, s.kind);
            }
            println!();
        }
    }
}
