//! Checkpoints as the authors' training loop saves them (`testdata/pose/reference`), in both of PyTorch's forms and with both published borders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_pose::grid::Padding;
use ocelli_pose::lifter::{Config, LifterConfig, Variant};
use ocelli_pose::skeleton::{Pose2, Pose3};
use ocelli_pose::train::lift;
use ocelli_pose::{Model, Runner};
use proptest::prelude::*;

const BORDERS: [[Padding; 2]; 2] =
    [[Padding::Circular, Padding::Replicate], [Padding::Circular, Padding::Zeros]];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/pose/reference").join(name)
}

/// The rule of `make_reference.py`.
fn values(name: &str, count: usize) -> Vec<f32> {
    let sum: usize = name.bytes().map(usize::from).sum();
    let norm = name.contains("norm") || name.contains(".bn.");
    let gain = name.ends_with("running_var") || (norm && name.ends_with(".weight"));
    (0..count)
        .map(|i| {
            let draw = ((37 * i + sum) % 101) as f32;
            if gain { 0.75 + draw / 256.0 } else { (draw - 50.0) / 256.0 }
        })
        .collect()
}

/// The network of a file, filled without the file.
fn filled(variant: Variant, padding: [Padding; 2]) -> ocelli_pose::lifter::Lifter {
    let config = LifterConfig::Grid(Config { variant, hidden: 4, blocks: 1, padding, ..Config::default() });
    let lifter = config.init(0, &Device::flex());
    let tensors: BTreeMap<String, TensorData> = state_dict(&lifter)
        .into_iter()
        .map(|(name, data)| {
            let shape: Vec<usize> = data.shape().iter().copied().collect();
            let own = values(&name, shape.iter().product());
            (name, TensorData::new(own, shape))
        })
        .collect();
    let (lifter, mismatch) = load_state_dict(lifter, tensors);
    assert!(mismatch.is_empty(), "{mismatch}");
    lifter
}

fn poses() -> Vec<Pose2> {
    let joint = |p: usize, j: usize| [0.6 * ((7 * p + j) as f32).sin(), 0.6 * ((p + 2 * j) as f32).cos()];
    (0..3).map(|p| std::array::from_fn(|j| joint(p, j))).collect()
}

fn apart(a: &[Pose3], b: &[Pose3]) -> f32 {
    assert_eq!(a.len(), b.len());
    let (a, b) = (a.as_flattened().as_flattened(), b.as_flattened().as_flattened());
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn both_forms_are_read_with_both_borders() {
    let device = Device::flex();
    let mut answers = Vec::new();
    for (name, variant) in [
        ("dgridconv_zip.pth.tar", Variant::DGridConv),
        ("dgridconv_legacy.pth.tar", Variant::DGridConv),
        ("autogrids_zip.pth.tar", Variant::AutoGrids),
        ("gridconv_legacy.pth.tar", Variant::GridConv),
    ] {
        for padding in BORDERS {
            let model = Model::load(&file(name), Some(padding), &device).unwrap();
            let description = &model.description;
            let LifterConfig::Grid(config) = &description.config else { panic!("{name}") };
            assert_eq!((config.variant, config.hidden, config.blocks), (variant, 4, 1), "{name}");
            assert_eq!((config.padding, description.temperature), (padding, 30.0), "{name}");
            let found = lift(&model.lifter, &device, &poses(), description.temperature);
            let wanted = lift(&filled(variant, padding), &device, &poses(), 30.0);
            assert!(found == wanted, "{name} {padding:?}: {}", apart(&found, &wanted));
            let engine = Runner::new(&model.lifter, description.temperature, 1).unwrap();
            let engine = engine.lift(&poses()).unwrap();
            let largest = wanted.as_flattened().as_flattened().iter().fold(0.0f32, |m, v| m.max(v.abs()));
            assert!(apart(&engine, &wanted) < 1e-5 * largest, "{name}: {}", apart(&engine, &wanted));
            answers.push(found);
        }
    }
    // Borders matter, forms do not.
    assert!(apart(&answers[0], &answers[1]) > 1e-3 && answers[..2] == answers[2..4]);
}

#[test]
fn what_a_checkpoint_does_not_say_is_asked_for() {
    let device = Device::flex();
    let error = Model::load(&file("dgridconv_legacy.pth.tar"), None, &device).unwrap_err().to_string();
    assert!(error.contains("dgridconv_legacy") && error.contains("--padding c,r"), "{error}");
    // GridConv has the same borders everywhere.
    let model = Model::load(&file("gridconv_legacy.pth.tar"), None, &device).unwrap();
    let LifterConfig::Grid(config) = &model.description.config else { panic!() };
    assert_eq!(config.padding, BORDERS[1]);
}

#[test]
fn a_cut_checkpoint_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dgridconv_zip.pth.tar", "dgridconv_legacy.pth.tar"] {
        let (bytes, path) = (std::fs::read(file(name)).unwrap(), folder.path().join(name));
        for length in (0..bytes.len()).step_by(bytes.len() / 23) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = Model::load(&path, Some(BORDERS[0]), &Device::flex()).unwrap_err().to_string();
            assert!(error.contains(name), "{length} bytes: {error}");
        }
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let path = folder.path().join("spoilt.safetensors");
    let good = Model::load(&file("dgridconv_zip.pth.tar"), Some(BORDERS[0]), &device).unwrap();
    for (tensor, value) in [
        ("linear_stages.0.w1.branch2_weight", f32::NAN),
        ("w2.branch1_weight", f32::NEG_INFINITY),
        ("atten_conv1.bn.running_mean", f32::INFINITY),
        ("batch_norm1.running_var", -1.0),
    ] {
        let mut tensors = state_dict(&good.lifter);
        let own = tensors.iter_mut().find(|(name, _)| name.as_str() == tensor).unwrap().1;
        let shape: Vec<usize> = own.shape().iter().copied().collect();
        let mut values: Vec<f32> = own.iter::<f32>().collect();
        values[3] = value;
        *own = TensorData::new(values, shape);
        let (lifter, _) = load_state_dict(filled(Variant::DGridConv, BORDERS[0]), tensors);
        Model { description: good.description.clone(), lifter }.save(&path).unwrap();
        let error = Model::load(&path, None, &device).unwrap_err().to_string();
        assert!(error.contains("spoilt.safetensors") && error.contains(tensor), "{error}");
        assert!(error.contains("element 3") && error.contains(&value.to_string()), "{error}");
    }
}

#[test]
fn a_checkpoint_that_nests_without_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.pth");
    let head = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    let deep = [vec![b']'; 1_000_000], vec![b'a'; 999_999]].concat();
    let object = b"ccollections\ndefaultdict\n)RK\x01K\x02s".to_vec();
    for own in [deep, object] {
        std::fs::write(&path, [&head[..], &own, b".\x80\x02]."].concat()).unwrap();
        let error = Model::load(&path, Some(BORDERS[0]), &Device::flex()).unwrap_err().to_string();
        assert!(error.contains("deep.pth") && error.contains("PyTorch"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn damaged_checkpoints(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        // Names and structure stand in front, numbers behind them.
        let mut bytes = std::fs::read(file("gridconv_legacy.pth.tar")).unwrap();
        for (at, byte) in changes {
            let at = at.index(5000);
            bytes[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.pth");
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = Model::load(&path, None, &Device::flex()) {
            prop_assert!(error.to_string().contains("damaged.pth"), "{}", error);
        }
    }
}
