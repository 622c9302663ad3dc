//! The registry: published sizes, maps for detectors.

use burn::tensor::{Device, Tensor};
use ocelli_image::backbone::BackboneConfig;
use ocelli_image::backbone::ghostnet::{self, DetectorMaps};
use ocelli_image::backbone::resnet::{self, SeConfig};
use ocelli_image::network::NetworkConfig;
use ocelli_image::zoo::{Options, create, entries, entry};

/// Parameters of every registered network: published tables, timm, torchvision; for the Ghost-ResNets in the
/// paper's form the released form's with norms (2 per channel) for biases, for others with gates Σ 2C²/r + C/r + C
/// more than without.
const PARAMETERS: &[(&str, usize)] = &[
    ("resnet18", 11_689_512),
    ("resnet34", 21_797_672),
    ("resnet50", 25_557_032),
    ("resnet101", 44_549_160),
    ("resnet152", 60_192_808),
    ("resnext50_32x4d", 25_028_904),
    ("seresnet18", 11_779_624),
    ("seresnet34", 21_960_416),
    ("seresnet50", 28_088_024),
    ("seresnet101", 49_326_872),
    ("seresnet152", 66_821_848),
    ("seresnext50_32x4d", 27_559_896),
    ("seresnext101_32x4d", 48_955_416),
    ("senet154", 115_088_984),
    ("resnet20_cifar", 269_722),
    ("resnet32_cifar", 464_154),
    ("resnet44_cifar", 658_586),
    ("resnet56_cifar", 853_018),
    ("resnet110_cifar", 1_727_962),
    ("seresnet20_cifar", 272_095),
    ("seresnet56_cifar", 860_137),
    ("seresnet110_cifar", 1_742_200),
    ("legacy_seresnet18", 11_778_592),
    ("legacy_seresnet34", 21_958_868),
    ("legacy_seresnet50", 28_088_024),
    ("legacy_seresnet101", 49_326_872),
    ("legacy_seresnet152", 66_821_848),
    ("legacy_seresnext26_32x4d", 16_790_280),
    ("legacy_seresnext50_32x4d", 27_559_896),
    ("legacy_seresnext101_32x4d", 48_955_416),
    ("legacy_senet154", 115_088_984),
    ("se_bn_inception", 11_931_622),
    ("bn_inception", 11_285_224),
    ("se_mobilenet_100", 4_718_044),
    ("mobilenet_100", 4_231_976),
    ("ghostnet_050", 2_587_292),
    ("ghostnet_100", 5_182_508),
    ("ghostnet_130", 7_358_820),
    ("ghost_resnet50_s2", 13_953_512),
    ("ghost_resnet50_s4", 8_151_752),
    ("ghost_resnet50_s2_released", 13_927_016),
    ("ghost_resnet50_s4_released", 8_125_256),
    ("ghost_resnet56_cifar", 438_154),
    ("ghost_vgg16_cifar", 7_650_474),
    ("vgg16_cifar", 14_986_698),
    ("mobilenetv2_035", 1_677_128),
    ("mobilenetv2_050", 1_968_680),
    ("mobilenetv2_075", 2_636_424),
    ("mobilenetv2_100", 3_504_872),
    ("mobilenetv2_140", 6_108_776),
    ("mobilenetv2_110d", 4_516_520),
    ("mobilenetv2_120d", 5_831_144),
    ("vgg16_bn", 138_365_992),
    ("se_vgg16_bn", 138_596_784),
    // Published to the thousand, or counted by the golden cases.
    ("tnt_ti_patch16_224", 6_076_408),
    ("tnt_s_patch16_224", 23_768_584),
    ("tnt_b_patch16_224", 65_428_680),
    ("tnt_s_patch16_384", 23_914_504),
    ("vig_ti_224_gelu", 7_184_744),
    ("vig_s_224_gelu", 22_747_752),
    ("vig_b_224_gelu", 86_841_832),
    ("pvig_ti_224_gelu", 10_714_376),
    ("pvig_s_224_gelu", 27_251_912),
    ("pvig_m_224_gelu", 49_525_832),
    ("pvig_b_224_gelu", 92_980_328),
    ("versatile_vgg11", 51_184_136),
    ("versatile_vgg11_bn", 51_189_640),
    ("versatile_vgg13", 51_276_488),
    // The plain networks' norms: 2 per channel.
    ("versatile_vgg13_bn", 51_276_488 + 5_888),
    ("versatile_vgg16", 53_931_976),
    ("versatile_vgg16_bn", 53_940_424),
    ("versatile_vgg19", 56_587_464),
    ("versatile_vgg19_bn", 56_587_464 + 11_008),
    ("versatile_resnet18_v1", 6_189_720),
    ("versatile_resnet18_v2", 3_357_336),
    ("versatile_resnet34_v1", 11_247_512),
    ("versatile_resnet34_v2", 5_889_944),
    ("versatile_resnet50_v1", 19_891_352),
    ("versatile_resnet50_v2", 10_997_912),
    ("versatile_resnet101_v1", 33_869_976),
    ("versatile_resnet101_v2", 18_013_336),
    ("mask_vgg16_cifar_s4", 18_405_882),
    // 14,710,464 weights of convolutions by 4 and 64, 4,224 biases, 8,448 of norms, 5,130 of the classifier, and masks: one
    // for all filters of a use, or one per output.
    ("mask_vgg16_cifar_s4_shared", 3_677_616 + 4_224 + 8_448 + 5_130 + 4 * 33_435),
    ("mask_vgg16_cifar_s64", 229_851 + 14_710_464 + 4_224 + 8_448 + 5_130),
    // ResNet with two or four more norm sets, and the predictor's 4,907,331 (513 more per candidate).
    ("g_ghost_regnetx_002", 1_825_440),
    ("g_ghost_regnetx_004", 2_884_456),
    ("g_ghost_regnetx_006", 4_029_776),
    ("g_ghost_regnetx_008", 5_248_328),
    ("g_ghost_regnetx_016", 7_109_660),
    ("g_ghost_regnetx_032", 10_511_000),
    ("g_ghost_regnetx_040", 15_726_268),
    ("g_ghost_regnetx_064", 17_993_748),
    ("g_ghost_regnetx_080", 24_586_928),
    ("g_ghost_regnetx_120", 30_627_208),
    ("g_ghost_regnetx_160", 32_381_704),
    ("g_ghost_regnetx_320", 62_815_448),
    // Our reading of the stage with ResNet's blocks: nothing is published.
    ("g_ghost_resnet50", 26_217_896),
    ("g_ghost_resnet101", 35_435_432),
    ("parameternet_600m", 34_504_504),
    // Published in millions: 19.853, 24.737, 54.040, 15.737, 8.65, 25.18; the same layout with plain convolutions.
    ("parameternet_600m_e1", 19_852_939),
    ("parameternet_600m_e2", 24_736_794),
    ("parameternet_600m_e8", 54_039_924),
    ("parameternet_300m", 15_737_100),
    ("parameternet_300m_e1", 8_652_063),
    ("parameternet_300m_e8", 25_183_816),
    ("ghostnet_600m", 19_822_198),
    ("dr_resnet50", 30_570_603),
    ("dr_resnet50_released", 30_570_603),
    ("dr_resnet50_5way", 30_677_869),
    ("dr_resnet101", 49_667_179),
    ("dr_mobilenetv2", 3_713_147),
    ("reactnet_a", 29_343_592),
    ("el_reactnet_a", 29_343_623),
    // A factor per shortcut more.
    ("reactnet18", 11_704_424),
    ("el_reactnet18", 11_704_424 + 16),
    ("reactnet34", 21_827_432),
    ("el_reactnet34", 21_827_432 + 32),
    ("el_resnet26", 16_006_720),
    ("resnet26_binary", 16_006_696),
    ("el_mobilenet_v1", 4_242_914),
    ("mobilenet_v1_binary", 4_242_914 - 26),
    ("bnn_resnet20_cifar", 273_146),
    ("bnn_resnet18", 11_693_352),
    // Counted by the golden cases; ResNet-32 by the same code.
    ("adder_resnet20", 272_484),
    ("adder_resnet32", 466_916),
    ("adder_resnet18", 11_691_512),
    ("adder_resnet50", 25_559_032),
];

#[test]
fn every_network_has_its_published_number_of_parameters() {
    let device = Device::flex();
    let mut wrong = Vec::new();
    for &(name, expected) in PARAMETERS {
        let found = create(name, &Options::default(), &device).unwrap().parameter_count();
        if found != expected {
            wrong.push(format!("{name}: {found}, expected {expected}"));
        }
    }
    wrong.extend(
        entries()
            .iter()
            .filter(|entry| !PARAMETERS.iter().any(|(name, _)| *name == entry.name))
            .map(|entry| format!("{}: not in the table", entry.name)),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique_and_near_misses_are_suggested() {
    let mut names: Vec<&str> = entries().iter().map(|entry| entry.name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    let error = entry("ghostnet-100").err().unwrap().to_string();
    assert!(error.contains("ghostnet_100"), "{error}");
}

#[test]
fn reduction_changes_the_size_as_published() {
    // The paper's ablation, millions of parameters of SE-ResNet-50.
    for (reduction, millions) in [(2, 45.699), (4, 35.636), (8, 30.604), (16, 28.088), (32, 26.830)] {
        let config = resnet::Config {
            se: Some(SeConfig::paper(reduction)),
            ..resnet::Config::new(resnet::Block::Bottleneck, [3, 4, 6, 3])
        };
        let found = NetworkConfig::ResNet(config).init(&Device::flex()).parameter_count();
        assert!((found as f64 / 1e6 - millions).abs() < 5e-4, "r = {reduction}: {found}");
    }
}

#[test]
fn maps_have_the_announced_channels_and_sizes() {
    let device = Device::flex();
    for entry in entries() {
        let network = entry.config().init(&device);
        let side = crate::small_side(&network, 64);
        let maps = network.forward_multi_scale(Tensor::zeros([1, 3, side, side], &device), &[]);
        let info = network.feature_info();
        assert_eq!(maps.len(), info.len(), "{}", entry.name);
        for (map, info) in maps.iter().zip(&info) {
            let side = side.div_ceil(info.reduction);
            assert_eq!(map.dims(), [1, info.channels, side, side], "{} {info:?}", entry.name);
        }
        assert!(
            network
                .tensor_specs()
                .iter()
                .any(|(name, _)| *name == format!("{}.weight", network.classifier())),
            "{} has no classifier called {}",
            entry.name,
            network.classifier()
        );
    }
}

#[test]
fn detectors_choose_the_first_or_last_map_of_every_stride() {
    let names = |detector_maps| -> Vec<String> {
        let config = ghostnet::Config { detector_maps, ..ghostnet::Config::new(1.0) };
        let network = NetworkConfig::GhostNet(config).init(&Device::flex());
        network.feature_info().into_iter().map(|info| info.module).collect()
    };
    assert_eq!(names(DetectorMaps::Last), ["act1", "blocks.2", "blocks.4", "blocks.6", "blocks.8"]);
    assert_eq!(names(DetectorMaps::First), ["act1", "blocks.1", "blocks.3", "blocks.5", "blocks.7"]);
}

#[test]
fn configurations_survive_a_round_trip_through_json() {
    for entry in entries() {
        let config = entry.config();
        let text = serde_json::to_string(&config).unwrap();
        let back: NetworkConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(back, config, "{}", entry.name);
    }
}

#[test]
fn networks_take_other_classes_and_channels() {
    let device = Device::flex();
    let options = Options { num_classes: Some(7), in_channels: Some(1), drop_rate: Some(0.1) };
    for name in ["ghostnet_050", "mobilenetv2_035", "se_mobilenet_100", "ghost_vgg16_cifar", "bn_inception"] {
        let network = create(name, &options, &device).unwrap().initialize(0);
        let logits = network.forward(Tensor::ones([2, 1, 32, 32], &device));
        assert_eq!(logits.dims(), [2, 7], "{name}");
        let values = logits.into_data().try_to_vec::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{name}");
    }
}

#[test]
fn the_network_without_a_wrapper_is_built_from_its_own_configuration() {
    let net = ghostnet::Config::new(0.5).init(&Device::flex());
    let x = Tensor::zeros([1, 3, 64, 64], &Device::flex());
    let features = ocelli_image::backbone::Backbone::forward_features(&net, x, &mut ocelli_nn::Taps::none());
    assert_eq!(features.dims(), [1, 480, 2, 2]);
}
