//! Weight files as users have them.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_image::backbone::versatile_filters::{self, vgg::Depth, vgg_cifar};
use ocelli_image::backbone::{resnet::cifar, tnt, vgg};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_image::zoo::{self, Options, create};
use ocelli_nn::weights::{WeightFile, write};
use ocelli_nn::{ConvKind, MaskSharing};

use crate::{filled, keys, testdata};

/// The network of `testdata/weights`.
fn small() -> Network {
    let config = cifar::Config { widths: [4, 8, 16], ..cifar::Config::new(3) };
    NetworkConfig::ResNetCifar(config).init(&Device::flex())
}

#[test]
fn pytorch_files_load_as_they_are() {
    for name in ["bare.pth", "legacy.pth", "checkpoint.pth"] {
        let file = WeightFile::read(testdata(&format!("weights/{name}"))).unwrap();
        let network = small();
        let expected = filled(network.tensor_specs());
        let (network, mismatch) =
            network.load_weights(file, "small", false).unwrap_or_else(|e| panic!("{e}"));
        assert!(mismatch.is_empty());
        assert_eq!(network.state_dict(), expected, "{name}");
    }
}

#[test]
fn published_layouts_load_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    for (name, case) in [
        ("ghostnet_100", "ghostnet/ghostnet_100_224"),
        ("mobilenetv2_100", "baselines/mobilenetv2_100"),
        ("legacy_seresnet18", "baselines/legacy_seresnet18"),
        ("ghost_resnet50_s4_released", "ghostnet/ghost_resnet50_s4_released_224"),
        ("tnt_s_patch16_224", "tnt/tnt_s_224"),
        ("vig_ti_224_gelu", "vig/vig_ti_224"),
        ("pvig_ti_224_gelu", "vig/pvig_ti_224"),
        ("g_ghost_regnetx_032", "ghostnet/g_ghost_regnetx_032_224"),
        ("parameternet_600m", "parameternet/parameternet_600m_224_calibrated"),
        ("parameternet_300m", "parameternet/dynamic_ghostnet_145_e4_224_calibrated"),
        ("versatile_vgg16", "versatile_filters/vgg16_spatial"),
        ("versatile_resnet50_v2", "versatile_filters/resnet50_v2"),
        ("mask_vgg16_cifar_s4", "versatile_filters/mask_vgg16_r4"),
        ("reactnet_a", "elastic_link/reactnet_a"),
        ("reactnet18", "elastic_link/reactnet18"),
        ("el_mobilenet_v1", "elastic_link/el_mobilenet_v1"),
        ("bnn_resnet20_cifar", "noisy_supervision_bnn/bnn_resnet20"),
    ] {
        let path = folder.path().join(format!("{name}.safetensors"));
        // With the entries nothing reads: counters, and what the released Ghost-ResNet carries along.
        let tensors = filled(keys(case));
        write(&path, &tensors, None).unwrap();
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        let file = WeightFile::read(&path).unwrap();
        let (network, mismatch) = network.load_weights(file, name, false).unwrap_or_else(|e| panic!("{e}"));
        assert!(mismatch.is_empty());
        for (name, data) in network.state_dict() {
            assert_eq!(data, tensors[&name], "{name}");
        }
    }
}

#[test]
fn parts_of_a_network_may_be_wrapped_for_several_devices() {
    let config = versatile_filters::vgg::Config {
        stages: vec![vec![4]; 5],
        num_classes: 3,
        ..versatile_filters::vgg::Config::new(Depth::Vgg11, true)
    };
    let network = NetworkConfig::VersatileVgg(config).init(&Device::flex());
    let expected = filled(network.tensor_specs());
    let wrapped = expected
        .iter()
        .map(|(name, data)| (name.replacen("features.", "features.module.", 1), data.clone()))
        .collect();
    let (network, mismatch) = network.load_state_dict(wrapped);
    assert!(mismatch.is_empty(), "{mismatch}");
    assert_eq!(network.state_dict(), expected);
}

/// The network of `weights/masks.*`.
fn masked() -> Network {
    let conv = ConvKind::Mask { ratio: 2, sharing: MaskSharing::Separate };
    let stages = vec![vec![4], vec![4]];
    NetworkConfig::VersatileVggCifar(vgg_cifar::Config { stages, ..vgg_cifar::Config::new(conv) })
        .init(&Device::flex())
}

#[test]
fn masks_are_read_from_bytes() {
    let expected = filled(masked().tensor_specs());
    for name in ["masks.pth", "masks.safetensors"] {
        let file = WeightFile::read(testdata(&format!("weights/{name}"))).unwrap();
        let (network, _) = masked().load_weights(file, "masked", false).unwrap_or_else(|e| panic!("{e}"));
        for (tensor, found) in network.state_dict() {
            let (found, expected) = (found.try_to_vec::<f32>().unwrap(), &expected[&tensor]);
            let expected = expected.try_to_vec::<f32>().unwrap();
            if tensor.ends_with(".mask") {
                let signs = expected.iter().map(|v| v.signum() / 2.0).collect::<Vec<_>>();
                assert_eq!(found, signs, "{name}: {tensor}");
            } else {
                assert_eq!(found, expected, "{name}: {tensor}");
            }
        }
    }
}

#[test]
fn timm_writes_the_fully_connected_layers_of_vgg_as_convolutions() {
    let config = vgg::Config { stages: vec![vec![2]; 5], num_classes: 3, ..vgg::Config::new(None) };
    let network = NetworkConfig::Vgg(config).init(&Device::flex());
    let expected = filled(network.tensor_specs());
    let timm = expected
        .iter()
        .map(|(name, data)| {
            let values = data.try_to_vec::<f32>().unwrap();
            let data = match name.as_str() {
                "classifier.0.weight" => TensorData::new(values, [4096, 2, 7, 7]),
                "classifier.3.weight" => TensorData::new(values, [4096, 4096, 1, 1]),
                _ => data.clone(),
            };
            let name =
                name.replace("classifier.0", "pre_logits.fc1").replace("classifier.3", "pre_logits.fc2");
            (name.replace("classifier.6", "head.fc"), data)
        })
        .collect();
    let (network, mismatch) = network.load_state_dict(timm);
    assert!(mismatch.is_empty(), "{mismatch}");
    assert_eq!(network.state_dict(), expected);
}

#[test]
fn the_paper_form_does_not_swallow_the_released_checkpoint() {
    let network = create("ghost_resnet50_s4", &Options::default(), &Device::flex()).unwrap();
    let (_, mismatch) = network.load_state_dict(filled(keys("ghostnet/ghost_resnet50_s4_released_224")));
    assert!(!mismatch.missing.is_empty() && !mismatch.unexpected.is_empty());
}

fn load(path: &Path) -> String {
    let file = match WeightFile::read(path) {
        Ok(file) => file,
        Err(error) => return error.to_string(),
    };
    small().load_weights(file, "small", false).map(|_| ()).expect_err("it must not load").to_string()
}

#[test]
fn one_error_lists_everything_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.safetensors");
    let mut tensors = filled(small().tensor_specs());
    tensors.remove("layer2.0.conv1.weight");
    tensors.remove("bn1.bias");
    tensors.insert("head.weight".into(), TensorData::new(vec![0f32; 4], [4]));
    tensors.insert("fc.weight".into(), TensorData::new(vec![0f32; 48], [3, 16]));
    write(&path, &tensors, None).unwrap();
    let error = load(&path);
    for part in [
        "wrong.safetensors",
        "small",
        "2 missing",
        "layer2.0.conv1.weight",
        "bn1.bias",
        "1 unexpected",
        "head.weight",
        "1 of another shape",
        "fc.weight: the network has [10, 16], the file [3, 16]",
    ] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn another_architecture_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    write(&path, &filled(keys("senet/se_resnet20_cifar")), None).unwrap();
    let error = load(&path);
    assert!(error.contains("unexpected") && error.contains("of another shape"), "{error}");
}

#[test]
fn other_classes_keep_all_but_the_classifier() {
    let config = cifar::Config { widths: [4, 8, 16], num_classes: 3, ..cifar::Config::new(3) };
    let network = NetworkConfig::ResNetCifar(config).init(&Device::flex());
    let file = WeightFile::read(testdata("weights/bare.pth")).unwrap();
    let stem = file.tensors["conv1.weight"].clone();
    let (network, whole) = network.load_for_fine_tuning(file, "small").unwrap();
    assert!(!whole);
    assert_eq!(network.state_dict()["conv1.weight"], stem);
}

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.safetensors");
    write(&good, &filled(small().tensor_specs()), None).unwrap();
    let safetensors = std::fs::read(&good).unwrap();
    let pth = std::fs::read(testdata("weights/bare.pth")).unwrap();
    let old = std::fs::read(testdata("weights/legacy.pth")).unwrap();
    let cut = |bytes: &[u8], share: f64| bytes[..(bytes.len() as f64 * share) as usize].to_vec();
    let huge = |length: u64| [&length.to_le_bytes()[..], b"{\"a\":{}}"].concat();
    for (name, bytes) in [
        ("cut.safetensors", cut(&safetensors, 0.7)),
        ("headless.safetensors", cut(&safetensors, 0.01)),
        ("oversized.safetensors", huge(u64::MAX)),
        ("large.safetensors", huge(1 << 40)),
        ("cut.pth", cut(&pth, 0.5)),
        ("barely.pth", cut(&pth, 0.02)),
        ("cut_old.pth", cut(&old, 0.5)),
        ("empty.pth", Vec::new()),
        ("text.pth", b"not weights at all".to_vec()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = WeightFile::read(&path).map(|_| ()).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = WeightFile::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("directory"), "{error}");
    let error = WeightFile::read(folder.path().join("absent.pth")).unwrap_err().to_string();
    assert!(error.contains("absent.pth"), "{error}");
}

#[test]
fn a_transformer_loads_from_the_authors_layout_and_from_timms() {
    let config = NetworkConfig::Tnt(tnt::Config {
        image_size: 48,
        depth: 2,
        squeeze_excite: true,
        num_classes: 5,
        ..tnt::Config::new(32, 2, 8, 2)
    });
    let build = || config.init(&Device::flex());
    let file = WeightFile::read(testdata("weights/tnt_micro.pth.tar")).unwrap();
    let (network, _) = build().load_weights(file, "tnt", false).unwrap_or_else(|e| panic!("{e}"));
    let expected = filled(build().tensor_specs());
    assert_eq!(network.state_dict(), expected);

    // To timm's names and back, to the bit.
    let timm: BTreeMap<String, TensorData> = expected
        .iter()
        .map(|(name, data)| {
            let data = match name.as_str() {
                "inner_pos" => tnt::weights::positions_to_timm(data).unwrap(),
                _ => data.clone(),
            };
            (tnt::weights::to_timm(name).unwrap(), data)
        })
        .collect();
    assert!(timm.contains_key("blocks.1.norm_mlp_in.weight") && timm.contains_key("pixel_embed.proj.bias"));
    assert_eq!(timm["pixel_pos"].shape().as_slice(), [1, 8, 4, 4]);
    assert_eq!(tnt::weights::to_timm("outer_tokens"), None);
    let (network, mismatch) = build().load_state_dict(timm);
    assert!(mismatch.is_empty(), "{mismatch}");
    assert_eq!(network.state_dict(), expected);

    // The first version of the paper's code computed something else under almost the same names.
    let mut legacy = expected.clone();
    let bias = legacy["blocks.0.proj_norm2.bias"].clone();
    legacy.insert("blocks.0.proj.bias".into(), bias);
    let (_, mismatch) = build().load_state_dict(legacy);
    assert_eq!(mismatch.unexpected, ["blocks.0.proj.bias"]);
    assert!(mismatch.to_string().contains("first version"), "{mismatch}");
}

#[test]
fn position_tables_fit_pictures_of_another_size() {
    let at = |side: usize| {
        let mut tnt = zoo::entry("tnt_ti_patch16_224").unwrap().config();
        tnt.set_image_size(side);
        let mut vig = zoo::entry("pvig_ti_224_gelu").unwrap().config();
        vig.set_image_size(side);
        [tnt, vig].map(|config| config.init(&Device::flex()))
    };
    for (at_224, at_96) in at(224).into_iter().zip(at(96)) {
        let mut tensors = filled(at_224.tensor_specs());
        let (small, mismatch) = at_96.load_state_dict(tensors.clone());
        assert!(mismatch.is_empty(), "{mismatch}");
        let (large, _) = at_224.load_state_dict(tensors.clone());
        // A network with tables for 224 pixels resizes them whenever it sees others.
        let x = Tensor::<4>::from_data(
            TensorData::new(ocelli_testkit::fill::input("x", &[1, 3, 96, 96]), [1, 3, 96, 96]),
            &Device::flex(),
        );
        let [a, b] = [&small, &large]
            .map(|network| network.forward(x.clone()).into_data().try_to_vec::<f32>().unwrap());
        let scale = b.iter().fold(0f32, |most, v| most.max(v.abs()));
        let error = a.iter().zip(&b).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / scale;
        assert!(error < 1e-5, "{error:e}");
        // Tables that a formula makes may be missing.
        tensors.retain(|name, _| !name.ends_with("relative_pos"));
        let (_, mismatch) = large.load_state_dict(tensors);
        assert!(mismatch.is_empty(), "{mismatch}");
    }
}
