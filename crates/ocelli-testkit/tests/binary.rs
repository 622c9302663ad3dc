//! Binary networks: what they cost, files of their authors, fine-tuning with noisy supervision.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_engine::RunOptions;
use ocelli_image::backbone::noisy_binary::{Config, Labels, Supervision};
use ocelli_image::backbone::reactnet;
use ocelli_image::deploy;
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_image::zoo::{Options, create};
use ocelli_nn::binary::{NoiseRates, Reduction};
use ocelli_testkit::fill;

use crate::settled;

/// The specification's table at 224 pixels: binary and real multiply-accumulates.
#[test]
fn networks_cost_what_is_published() {
    let mobile = 11_862_016;
    for (name, binary, real) in [
        ("reactnet_a", 4_816_896_000u64, mobile),
        ("el_reactnet_a", 4_816_896_000, mobile),
        ("reactnet18", 1_676_279_808, 137_793_536),
        ("el_reactnet18", 1_676_279_808, 137_793_536),
        ("reactnet34", 3_525_967_872, 137_793_536),
        ("el_reactnet34", 3_525_967_872, 137_793_536),
        ("el_resnet26", 1_862_533_120, 479_723_520),
        ("resnet26_binary", 1_862_533_120, 479_723_520),
        ("el_mobilenet_v1", 556_878_336, mobile),
        ("mobilenet_v1_binary", 556_878_336, mobile),
    ] {
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        let layers = network.layer_costs([3, 224, 224]);
        let sum = |signs: bool| -> u64 {
            let own = layers.iter().filter(|layer| (layer.kind == "binary_conv") == signs);
            own.map(|layer| layer.macs).sum()
        };
        assert_eq!((sum(true), sum(false)), (binary, real), "{name}");
    }
}

/// A whole bottleneck without links is counted: no number is written before its sum.
#[test]
fn bits_pass_where_only_signs_are_read() {
    let convolutions = |name: &str| -> [usize; 2] {
        let network = settled(create(name, &Options::default(), &Device::flex()).unwrap());
        let model = deploy::compile(&network, name, [3, 64, 64], None).unwrap();
        let mut session = model.session(1, RunOptions { threads: 1, pin: false }).unwrap();
        let (x, mut y) = (vec![0.5; 3 * 64 * 64], vec![0.0; 1000]);
        let steps = session.profile(&[&x], &mut [&mut y]).unwrap();
        ["binary conv to bits", "binary conv"]
            .map(|kind| steps.iter().filter(|step| step.kind == kind).count())
    };
    assert_eq!(convolutions("resnet26_binary"), [16, 8]);
    // Links and shortcuts need numbers.
    assert_eq!(convolutions("el_resnet26"), [0, 24]);
    assert_eq!(convolutions("bnn_resnet18"), [0, 16]);
}

fn little_reactnet() -> Network {
    NetworkConfig::ReActNet(reactnet::Config {
        stem: 4,
        stages: vec![[8, 1], [8, 2]],
        num_classes: 5,
        ..reactnet::Config::a()
    })
    .init(&Device::flex())
}

#[test]
fn weights_of_the_first_training_step_are_columns_of_the_second() {
    let network = settled(little_reactnet());
    let expected = network.state_dict();
    let shapes: BTreeMap<&str, Vec<usize>> = [
        ("feature.1.binary_3x3", vec![4, 4, 3, 3]),
        ("feature.1.binary_pw_down1", vec![4, 4, 1, 1]),
        ("feature.1.binary_pw_down2", vec![4, 4, 1, 1]),
        ("feature.2.binary_3x3", vec![8, 8, 3, 3]),
        ("feature.2.binary_pw", vec![8, 8, 1, 1]),
    ]
    .into();
    let first: BTreeMap<String, TensorData> = expected
        .iter()
        .map(|(name, data)| match name.strip_suffix(".weights") {
            Some(layer) => {
                let (bytes, _, dtype) = data.clone().into_parts();
                (format!("{layer}.weight"), TensorData::from_bytes(bytes, shapes[layer].clone(), dtype))
            }
            None => (name.clone(), data.clone()),
        })
        .collect();
    assert_ne!(first, expected);
    let (loaded, mismatch) = little_reactnet().load_state_dict(first);
    assert!(mismatch.is_empty(), "{mismatch}");
    assert_eq!(loaded.state_dict(), expected);
}

/// A network small enough to be trained here.
fn small(supervision: Option<Supervision>) -> Config {
    Config { widths: vec![4, 8], units: 2, num_classes: 3, supervision, ..Config::resnet20() }
}

fn picture(device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(fill::input("x", &[4, 3, 8, 8]), [4, 3, 8, 8]), device)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

#[test]
fn an_ordinary_file_begins_fine_tuning() {
    let plain = settled(NetworkConfig::NoisyBinary(small(None)).init(&Device::flex()));
    let file = plain.state_dict();
    // With a skip connection and a last convolution of zeros the signs begin as those of the file.
    let supervision = Supervision { skip: true, ..Supervision::default() };
    let config = NetworkConfig::NoisyBinary(small(Some(supervision)));
    config.check().unwrap();
    let fresh = config.init(&Device::flex()).initialize(1);
    let (tuned, mismatch) = fresh.load_state_dict(file.clone());
    assert!(mismatch.is_empty(), "{mismatch}");
    let x = picture(&Device::flex());
    assert_eq!(values(tuned.forward(x.clone())), values(plain.forward(x.clone())));
    let labels = tuned.state_dict();
    for (name, data) in &file {
        let Some(layer) = name.strip_suffix(".conv.weight") else { continue };
        let label = labels[&format!("{layer}.label")].try_to_vec::<f32>().unwrap();
        let signs: Vec<f32> = data.iter::<f32>().map(|w| if w < 0.0 { -1.0 } else { 1.0 }).collect();
        assert_eq!(label, signs, "{name}");
    }
    // Labels stay when a checkpoint of the fine-tuning is loaded, whatever the weights are by then.
    let mut later = labels.clone();
    for (name, data) in &mut later {
        if name.ends_with(".conv.weight") {
            let shape = data.shape().clone();
            *data = TensorData::new(data.iter::<f32>().map(|w| -w).collect::<Vec<_>>(), shape);
        }
    }
    let (resumed, _) = config.init(&Device::flex()).load_state_dict(later);
    let resumed = resumed.state_dict();
    assert!(
        labels.iter().filter(|(name, _)| name.ends_with(".label")).all(|(name, data)| resumed[name] == *data)
    );
    // Counted are trained parameters alone.
    let layers: [usize; 4] = [4, 4, 4, 8];
    let added: usize = layers.iter().map(|c| 72 * c * c + 8 * c).sum();
    assert_eq!(tuned.parameter_count(), plain.parameter_count() + added);
}

#[test]
fn what_was_learnt_is_baked_into_an_ordinary_network() {
    let supervision = Supervision { labels: Labels::Online, ..Supervision::default() };
    let network = NetworkConfig::NoisyBinary(small(Some(supervision))).init(&Device::flex());
    let network = settled(network);
    let Network::NoisyBinary(net) = &network else { panic!("another network") };
    let (baked, mismatch) =
        NetworkConfig::NoisyBinary(small(None)).init(&Device::flex()).load_state_dict(net.baked());
    assert!(mismatch.is_empty(), "{mismatch}");
    let x = picture(&Device::flex());
    assert_eq!(values(baked.forward(x.clone())), values(network.forward(x)));
    for (name, rate) in net.flip_rates() {
        assert!((0.01..0.99).contains(&rate), "{name}: a mapping network drawn at random: {rate}");
    }
}

#[test]
fn a_training_step_reaches_weights_through_the_mapping_network() {
    let device = Device::flex().autodiff();
    let supervision = Supervision {
        rates: NoiseRates::new(0.05, 0.2).unwrap(),
        reduction: Reduction::Sum,
        weight: 0.5,
        ..Supervision::default()
    };
    let network = settled(NetworkConfig::NoisyBinary(small(Some(supervision))).init(&device));
    let targets = Tensor::<2>::from_data(
        [[1f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
        &device,
    );
    let Network::NoisyBinary(net) = &network else { panic!("another network") };
    let step = net.supervise(picture(&device), targets.clone(), &supervision);
    let [entropy, noisy, total] =
        [&step.cross_entropy, &step.noisy, &step.total].map(|loss| loss.clone().into_scalar::<f32>());
    assert!((total - entropy - 0.5 * noisy).abs() <= 1e-4 * total.abs(), "{entropy} {noisy} {total}");
    let (loss, _) = network.training_loss(picture(&device), targets);
    let grads = loss.backward();
    assert!((loss.into_scalar::<f32>() - total).abs() <= 1e-4 * total.abs());
    for (name, unit) in net.units() {
        let grad = unit.conv.weight.val().grad(&grads).expect("a gradient");
        let largest = grad.abs().max().into_scalar::<f32>();
        assert!(largest > 0.0 && largest.is_finite(), "{name}: {largest}");
    }
    assert!(net.clone().no_grad().units().count() == 4);
}

#[test]
fn descriptions_that_make_no_network_are_refused() {
    for change in [
        r#"{"network":"re_act_net","stem":4,"stages":[[12,1]],"elastic_link":false,"in_channels":3,"num_classes":5,"drop_rate":0.0}"#,
        r#"{"network":"re_act_net","stem":4,"stages":[[8,3]],"elastic_link":false,"in_channels":3,"num_classes":5,"drop_rate":0.0}"#,
        r#"{"network":"el_mobile_net","stem":4,"stages":[[6,1]],"elastic_link":true,"binary_depthwise":true,"in_channels":3,"num_classes":5,"drop_rate":0.0}"#,
        r#"{"network":"noisy_binary","stem":"small","widths":[4,4,4,4,4],"units":1,"in_channels":3,"num_classes":5,"drop_rate":0.0}"#,
    ] {
        let config: NetworkConfig = serde_json::from_str(change).unwrap_or_else(|e| panic!("{change}: {e}"));
        assert!(config.check().is_err(), "{change}");
    }
    let noisy = r#"{"network":"noisy_binary","stem":"small","widths":[4],"units":1,"supervision":{"rates":[0.5,0.5]},"in_channels":3,"num_classes":5,"drop_rate":0.0}"#;
    let error = serde_json::from_str::<NetworkConfig>(noisy).expect_err("labels without meaning").to_string();
    assert!(error.contains("0.9"), "{error}");
}
