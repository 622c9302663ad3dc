//! Networks that choose the resolution: routing, the engine, checkpoints, training.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::RunOptions;
use ocelli_image::backbone::drnet::{
    ChainConfig, ClassifierConfig, Config, PredictorConfig, ShortcutNorms, Stage, Training, TrainingMode,
};
use ocelli_image::backbone::resnet::{self, Block};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_image::zoo::{Options, create};
use ocelli_image::{RoutedEngine, Runner, deploy};
use ocelli_nn::state_dict::state_dict;
use ocelli_nn::weights::{WeightFile, write};
use ocelli_nn::{BatchNorm, BatchNormConfig, random, with_norm_set};
use ocelli_testkit::fill;

use crate::{filled, keys, settled};

/// A network of two small residual chains.
fn small(training: Training) -> Config {
    let chain = |widths: [usize; 2]| ChainConfig {
        kernel: 3,
        stride: 2,
        pool: false,
        widths: widths.to_vec(),
        blocks: vec![1, 1],
    };
    Config {
        resolutions: vec![32, 24, 16],
        predictor_input: 16,
        predictor: PredictorConfig::Residual(chain([4, 8])),
        classifier: ClassifierConfig::Residual(chain([8, 16])),
        num_classes: 5,
        training,
        ..Config::resnet([1; 4])
    }
}

fn pictures(count: usize) -> (Vec<f32>, [usize; 4]) {
    let mut pixels = fill::input("pictures", &[count, 3, 32, 32]);
    // Differences that the predictor sees.
    for (i, picture) in pixels.chunks_exact_mut(3 * 32 * 32).enumerate() {
        picture.iter_mut().for_each(|value| *value = *value * (0.2 + i as f32) + (i % 3) as f32 - 1.0);
    }
    (pixels, [count, 3, 32, 32])
}

fn tensor(count: usize, device: &Device) -> Tensor<4> {
    let (pixels, shape) = pictures(count);
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

/// A network whose choices on [`pictures`] differ.
fn undecided(config: Config, count: usize) -> Network {
    let device = Device::flex();
    let network = settled(NetworkConfig::DrNet(config).init(&device));
    let net = network.dynamic().unwrap();
    let scores = net.scores(tensor(count, &device)).into_data().try_to_vec::<f32>().unwrap();
    // Biases under which the first three pictures would choose alike are moved apart by the scores' own means.
    let mean = |j: usize| scores.iter().skip(j).step_by(3).sum::<f32>() / count as f32;
    let mut tensors = network.state_dict();
    let bias: Vec<f32> = tensors["predictor.end_point.bias"].try_to_vec::<f32>().unwrap();
    let bias: Vec<f32> = bias.iter().enumerate().map(|(j, bias)| bias - mean(j)).collect();
    tensors.insert("predictor.end_point.bias".into(), TensorData::from(bias.as_slice()));
    let (network, mismatch) = network.load_state_dict(tensors);
    assert!(mismatch.is_empty(), "{mismatch}");
    network
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(1e-6f32, |most, v| most.max(v.abs()));
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * scale, "{a} is not {b}");
    }
}

#[test]
fn a_batch_is_grouped_and_put_back() {
    let device = Device::flex();
    let count = 7;
    let network = undecided(small(Training::default()), count);
    let net = network.dynamic().unwrap();
    let x = tensor(count, &device);
    let routed = net.route(x.clone());
    let costs = net.costs([32, 32]);
    let mut seen: Vec<usize> = routed.decisions.iter().map(|own| own.index).collect();
    let logits = routed.logits.into_data().try_to_vec::<f32>().unwrap();
    close(&network.forward(x.clone()).into_data().try_to_vec::<f32>().unwrap(), &logits);
    for (i, own) in routed.decisions.iter().enumerate() {
        assert_eq!(own.resolution, [32, 24, 16][own.index]);
        assert_eq!(own.macs, costs.predictor + costs.candidates[own.index]);
        let alone = net.branch(own.index, x.clone().slice(burn::tensor::s![i..i + 1]));
        close(&logits[5 * i..5 * (i + 1)], &alone.into_data().try_to_vec::<f32>().unwrap());
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 1, "all pictures chose alike: the test shows nothing");
}

#[test]
fn the_engine_takes_the_same_way_with_and_without_saving() {
    let count = 7;
    for shared_norms in [false, true] {
        let config = Config { shared_norms, ..small(Training::default()) };
        let network = undecided(config, count);
        let (pixels, shape) = pictures(count);
        let burn = Runner::burn(network.clone(), &Device::flex());
        let expected = burn.answers(pixels.clone(), shape).unwrap();
        let options = RunOptions { threads: 1, pin: false };
        let engine = RoutedEngine::compile(network.dynamic().unwrap(), [3, 32, 32], options).unwrap();
        let routed = Runner::Routed(Box::new(engine)).answers(pixels.clone(), shape).unwrap();
        close(&routed.logits, &expected.logits);
        assert_eq!(routed.decisions, expected.decisions);
        // One graph that computes every candidate and selects.
        let dense = deploy::compile(&network, "small", [3, 32, 32], None).unwrap();
        let found = dense.run(count, options, &[&pixels]).unwrap();
        close(&found[0], &expected.logits);
    }
}

#[test]
fn before_there_is_a_choice_the_largest_resolution_serves() {
    let device = Device::flex();
    let training = Training { stage: Stage::Pretrain, ..Default::default() };
    let network = settled(NetworkConfig::DrNet(small(training)).init(&device));
    let net = network.dynamic().unwrap();
    let routed = net.route(tensor(3, &device));
    let largest = net.costs([32, 32]).candidates[0];
    assert!(routed.decisions.iter().all(|own| own.index == 0 && own.macs == largest));
    let engine = RoutedEngine::compile(net, [3, 32, 32], RunOptions { threads: 1, pin: false }).unwrap();
    let (pixels, shape) = pictures(3);
    let found = Runner::Routed(Box::new(engine)).answers(pixels, shape).unwrap();
    close(&found.logits, &routed.logits.into_data().try_to_vec::<f32>().unwrap());
    assert_eq!(found.decisions, routed.decisions);
}

#[test]
fn released_names_load_and_pinned_norms_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("released.safetensors");
    let tensors = filled(keys("drnet/end_to_end_r50"));
    write(&path, &tensors, None).unwrap();
    let network = create("dr_resnet50_released", &Options::default(), &Device::flex()).unwrap();
    let file = WeightFile::read(&path).unwrap();
    let (network, mismatch) = network.load_weights(file, "released", false).unwrap_or_else(|e| panic!("{e}"));
    assert!(mismatch.is_empty());
    for (name, data) in network.state_dict() {
        assert_eq!(data, tensors[&name], "{name}");
    }
}

#[test]
fn the_two_released_files_load_one_after_the_other() {
    let config = Config { shortcut_norms: ShortcutNorms::Always0, ..Config::resnet([3, 4, 6, 3]) };
    let network = NetworkConfig::DrNet(config).init(&Device::flex());
    let classifier = filled(keys("drnet/classifier_r50_224_bn0"));
    let (network, mismatch) = network.load_state_dict(classifier.clone());
    assert!(mismatch.unexpected.is_empty() && mismatch.misshapen.is_empty(), "{mismatch}");
    assert!(mismatch.missing.iter().all(|name| name.starts_with("predictor.")), "{mismatch}");
    // MindSpore's names of the norms' tensors.
    let predictor = filled(keys("drnet/predictor_128"));
    let theirs = predictor
        .iter()
        .map(|(name, data)| {
            let (owner, leaf) = name.rsplit_once('.').unwrap();
            let norm = owner.contains("bn") || owner.ends_with("down_sample_layer.1");
            let leaf = match leaf {
                "weight" if norm => "gamma",
                "bias" if norm => "beta",
                "running_mean" => "moving_mean",
                "running_var" => "moving_variance",
                leaf => leaf,
            };
            (format!("{owner}.{leaf}"), data.clone())
        })
        .collect();
    let (network, mismatch) = network.load_state_dict(theirs);
    assert!(mismatch.unexpected.is_empty() && mismatch.misshapen.is_empty(), "{mismatch}");
    assert!(mismatch.missing.iter().all(|name| name.starts_with("classifier.")), "{mismatch}");
    for (name, data) in network.state_dict() {
        let (part, bare) = name.split_once('.').unwrap();
        let whole = if part == "predictor" { &predictor } else { &classifier };
        assert_eq!(data, whole[bare], "{name}");
    }
}

#[test]
fn a_plain_network_fills_every_norm_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet.safetensors");
    let device = Device::flex();
    let own = resnet::Config { num_classes: 5, ..resnet::Config::new(Block::Bottleneck, [1; 4]) };
    let plain = settled(NetworkConfig::ResNet(own.clone()).init(&device)).state_dict();
    write(&path, &plain, None).unwrap();
    let config = Config { num_classes: 5, ..Config::new(ClassifierConfig::ResNet(own)) };
    let network = NetworkConfig::DrNet(config).init(&device).initialize(1);
    let fresh = network.state_dict();
    let file = WeightFile::read(&path).unwrap();
    let (network, head) = network.load_for_fine_tuning(file, "dr").unwrap_or_else(|e| panic!("{e}"));
    assert!(head);
    for (name, data) in network.state_dict() {
        match name.strip_prefix("classifier.") {
            Some(bare) => {
                let mut bare = bare.replace("down_sample_layer", "downsample").replace("end_point", "fc");
                for set in 0..3 {
                    bare = bare.replace(&format!(".bn_{set}."), ".");
                }
                assert_eq!(data, plain[&bare], "{name}");
            }
            None => assert_eq!(data, fresh[&name], "{name}"),
        }
    }
}

#[test]
fn a_network_of_its_own_kind_round_trips() {
    let device = Device::flex();
    for config in [small(Training::default()), Config::mobilenetv2()] {
        let network = settled(NetworkConfig::DrNet(config.clone()).init(&device));
        let tensors: BTreeMap<String, TensorData> = network.state_dict();
        let (other, mismatch) = NetworkConfig::DrNet(config).init(&device).load_state_dict(tensors.clone());
        assert!(mismatch.is_empty(), "{mismatch}");
        assert_eq!(other.state_dict(), tensors);
    }
}

#[test]
fn steps_draw_their_noise_from_the_thread() {
    let device = Device::flex().autodiff();
    let mut targets = vec![0f32; 6 * 5];
    targets.chunks_exact_mut(5).enumerate().for_each(|(i, row)| row[i % 5] = 1.0);
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [6, 5]), &device);
    let loss = |mode: TrainingMode, stage: Stage, step: u64| {
        let training = Training { mode, stage, ..Default::default() };
        let network = NetworkConfig::DrNet(small(training)).init(&device).initialize(3);
        random::seed_thread(7, step);
        let (loss, logits) = network.training_loss(tensor(6, &device), targets.clone());
        assert_eq!(logits.dims(), [6, 5]);
        loss.into_scalar::<f32>()
    };
    for mode in [TrainingMode::Split, TrainingMode::Dense] {
        let losses: Vec<f32> = (0..6).map(|step| loss(mode, Stage::Joint, step)).collect();
        assert_eq!(losses, (0..6).map(|step| loss(mode, Stage::Joint, step)).collect::<Vec<f32>>());
        assert!(losses.iter().any(|own| *own != losses[0]), "the noise changes nothing: {losses:?}");
    }
    assert_eq!(loss(TrainingMode::Split, Stage::Pretrain, 0), loss(TrainingMode::Split, Stage::Pretrain, 1));
}

#[test]
fn absurd_descriptions_are_refused() {
    for resolutions in [vec![], vec![224], vec![112, 224], vec![224, 224], (1..40).rev().collect()] {
        let config = NetworkConfig::DrNet(Config { resolutions, ..Config::resnet([1; 4]) });
        assert!(config.check().is_err(), "{config:?}");
    }
    let sets = resnet::Norms { sets: 1000, pin_projections: false };
    let config = resnet::Config { norms: sets, ..resnet::Config::new(Block::Basic, [1; 4]) };
    assert!(NetworkConfig::ResNet(config).check().unwrap_err().contains("sets"));
}

#[test]
fn norm_sets_are_chosen_for_a_whole_pass_and_learn_apart() {
    let device = Device::flex().autodiff();
    let norm = BatchNormConfig::new(1).sets(3).init(&device);
    let pinned = BatchNormConfig::new(1).sets(3).pinned(true).init(&device);
    let ordinary = BatchNormConfig::new(1).init(&device);
    let x = Tensor::<4>::from_data(TensorData::new(vec![1f32, 3.0], [2, 1, 1, 1]), &device);
    let means = |norm: &BatchNorm| -> Vec<f32> {
        let tensors = state_dict(norm);
        let means = tensors.iter().filter(|(name, _)| name.ends_with("running_mean"));
        means.map(|(_, data)| data.as_slice::<f32>().unwrap()[0]).collect()
    };
    with_norm_set(2, || {
        norm.forward(x.clone());
        pinned.forward(x.clone());
        ordinary.forward(x.clone());
    });
    // In the order of the names: the second, the third, the first set.
    assert_eq!(means(&norm), [0.0, 0.2, 0.0]);
    assert_eq!(means(&pinned), [0.0, 0.0, 0.2]);
    assert_eq!(means(&ordinary), [0.2]);
    // Afterwards the first set is back, and one value teaches nothing: it has no variance.
    norm.forward(x.slice(burn::tensor::s![0..1]));
    assert_eq!(means(&norm), [0.0, 0.2, 0.0]);
}
