//! Files of weights.

use std::path::Path;

use burn::tensor::Device;
use ocelli_nn::state_dict::{parameter_count, state_dict};
use ocelli_video::deliver::config::PRESETS;
use ocelli_video::deliver::container::{
    HEADER, Storage, assemble, modulation_bytes, read_modulation, read_shared, shared_bytes,
};
use ocelli_video::deliver::fold::to_half;
use ocelli_video::deliver::{Backbone, Config};
use proptest::prelude::*;

use crate::common::drawn;

fn config() -> Config {
    Config { feats: 16, blocks: 2, ..Config::new(Backbone::Edsr, 2) }.with_chunks(3)
}

#[test]
fn a_chunk_takes_less_than_a_hundredth_of_the_published_networks() {
    for (name, _) in PRESETS {
        for scale in [2, 3, 4] {
            let config = Config::preset(name, scale).expect("a name");
            if config.feats < 64 || config.backbone == Backbone::Rcan && scale > 2 {
                continue;
            }
            let count = |chunks| parameter_count(&config.with_chunks(chunks).build(&Device::flex()));
            let (shared, own) = (count(0), count(1) - count(0));
            assert!(own * 100 < shared, "{name} x{scale}: {own} of {shared}");
            assert!(config.chunk_values() <= own, "{name}: more is sent than learnt");
        }
    }
}

#[test]
fn what_is_written_is_read() {
    let config = config();
    let net = drawn(&config, 3);
    let path = Path::new("x.cafw");
    for storage in [Storage::F32, Storage::F16, Storage::I8] {
        let bytes = shared_bytes(&config, &net, storage);
        let (shared, found) = read_shared(path, &bytes, &config).expect("reads");
        assert_eq!(found, storage);
        for (name, data) in state_dict(&net) {
            let Some(own) = shared.get(&name) else {
                assert!(name.contains("cafm") || name.contains("_mean."), "{name} is not sent");
                continue;
            };
            let reach = data.iter::<f32>().fold(0.0f32, |most, value| most.max(value.abs()));
            for (a, b) in own.iter::<f32>().zip(data.iter::<f32>()) {
                match storage {
                    Storage::F32 => assert_eq!(a, b),
                    Storage::I8 if data.shape().len() == 4 => assert!((a - b).abs() <= reach / 253.0),
                    _ => assert_eq!(a, to_half(b)),
                }
            }
        }
        let modulations: Vec<_> = (0..3)
            .map(|chunk| {
                let bytes = modulation_bytes(&config, &net, chunk, storage);
                assert_eq!(
                    bytes.len(),
                    HEADER + config.chunk_values() * if storage == Storage::F32 { 4 } else { 2 }
                );
                read_modulation(path, &bytes, &config, chunk).expect("reads")
            })
            .collect();
        let built = assemble(&config, &shared, &modulations);
        assert_eq!(parameter_count(&built), parameter_count(&net));
    }
}

#[test]
fn files_of_other_networks_chunks_and_versions_are_refused() {
    let config = config();
    let net = drawn(&config, 3);
    let path = Path::new("x.cafw");
    let bytes = shared_bytes(&config, &net, Storage::F16);
    let refused =
        |bytes: &[u8], config: &Config| read_shared(path, bytes, config).expect_err("is refused").to_string();
    let other = Config { feats: 20, ..config.clone() };
    assert!(refused(&bytes, &other).contains("another network"));
    assert!(refused(&bytes[..20], &config).contains("CFW1"));
    assert!(refused(&bytes[..bytes.len() - 2], &config).contains("bytes of numbers"));
    let mut damaged = bytes.clone();
    damaged[100] ^= 1;
    assert!(refused(&damaged, &config).contains("damaged"));
    let mut later = bytes.clone();
    later[6] = 4;
    assert!(refused(&later, &config).contains("later version"));
    let modulation = modulation_bytes(&config, &net, 1, Storage::F16);
    assert!(refused(&modulation, &config).contains("kind"));
    let error = read_modulation(path, &modulation, &config, 2).expect_err("another chunk's").to_string();
    assert!(error.contains("chunk 1"), "{error}");
}

#[test]
fn numbers_that_are_none_are_refused() {
    let config = config();
    let mut tensors = state_dict(&drawn(&config, 3));
    let name = "head.0.bias";
    let data = burn::tensor::TensorData::new(vec![f32::NAN; 16], [16]);
    tensors.insert(name.into(), data);
    let (net, _) = ocelli_nn::state_dict::load_state_dict(config.build(&Device::flex()), tensors);
    let bytes = shared_bytes(&config, &net, Storage::F32);
    let error = read_shared(Path::new("x.cafw"), &bytes, &config).expect_err("not finite").to_string();
    assert!(error.contains("NaN"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Damaged files are refused or read, never a panic or a large allocation.
    #[test]
    fn damaged_files_do_not_panic(at in 0usize..4000, value in any::<u8>(), cut in 0usize..4000) {
        let config = config();
        let net = config.build(&Device::flex());
        let mut bytes = shared_bytes(&config, &net, Storage::I8);
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(length - cut % length);
        let _ = read_shared(Path::new("x.cafw"), &bytes, &config);
        let mut bytes = modulation_bytes(&config, &net, 0, Storage::F16);
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(length - cut % length);
        let _ = read_modulation(Path::new("x.cafw"), &bytes, &config, 0);
    }
}
