//! What several tests use.

use burn::tensor::{Device, TensorData};
use ocelli_data::video::Ffmpeg;
use ocelli_nn::random::{keyed, unit};
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_video::deliver::{Config, Net};

/// ffmpeg; nothing, said, where it is not installed, unless OCELLI_REQUIRE_FFMPEG demands it.
pub fn ffmpeg() -> Option<Ffmpeg> {
    match Ffmpeg::find() {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(error) if std::env::var_os("OCELLI_REQUIRE_FFMPEG").is_some() => panic!("{error}"),
        Err(_) => {
            eprintln!("not run: ffmpeg is not installed");
            None
        }
    }
}

/// A network whose every parameter is drawn, gammas too, small enough for pictures to stay pictures.
pub fn drawn(config: &Config, seed: u64) -> Net {
    let net = ocelli_video::deliver::init::initialize(config.build(&Device::flex()), config, seed);
    let tensors = state_dict(&net)
        .into_iter()
        .enumerate()
        .map(|(at, (name, data))| {
            if name.contains("_mean.") {
                return (name, data);
            }
            let mut rng = keyed(seed, at as u64 + 1);
            let shape = data.shape().to_vec();
            let fan: usize = shape.iter().skip(1).product::<usize>().max(1);
            let reach = if name.ends_with("gamma") { 0.5 } else { 1.2 / (fan as f64).sqrt() };
            let count = shape.iter().product::<usize>();
            let values: Vec<f32> =
                (0..count).map(|_| ((2.0 * unit(&mut rng) - 1.0) * reach) as f32).collect();
            (name, TensorData::new(values, shape))
        })
        .collect();
    let (net, mismatch) = load_state_dict(net, tensors);
    assert!(mismatch.is_empty(), "{mismatch}");
    net
}

/// A picture that is neither flat nor noise.
pub fn picture(height: usize, width: usize, seed: usize) -> Vec<u8> {
    (0..height * width * 3)
        .map(|at| {
            let (y, x, c) = (at / 3 / width, at / 3 % width, at % 3);
            let wave = ((y * (3 + c) + seed) as f64 / 7.0).sin() + ((x * (5 - c)) as f64 / 9.0).cos();
            (127.0 + 55.0 * wave + ((x * 31 + y * 17 + seed) % 13) as f64) as u8
        })
        .collect()
}
