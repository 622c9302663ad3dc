//! Multiply-accumulates, which must need neither arithmetic nor weights.

use burn::tensor::Device;
use ocelli_image::zoo::{Options, create};
use ocelli_nn::storage::storage;

#[test]
fn networks_cost_what_is_published() {
    for (name, side, macs) in [
        ("resnet50", 224, 4_089_184_256u64),
        ("seresnet50", 224, 4_091_699_200),
        ("legacy_seresnet50", 224, 3_860_488_192),
        ("legacy_seresnext50_32x4d", 224, 4_232_994_816),
        ("legacy_senet154", 224, 20_688_363_520),
        ("se_mobilenet_100", 224, 569_220_096),
        ("ghostnet_100", 224, 141_150_512),
        ("ghostnet_050", 224, 42_328_152),
        ("ghost_resnet50_s4_released", 224, 1_181_942_912),
        ("ghost_resnet56_cifar", 32, 65_286_784),
        ("ghost_vgg16_cifar", 32, 158_109_696),
        ("versatile_vgg16", 224, 8_590_819_328),
        ("mask_vgg16_cifar_s4", 32, 313_201_664),
        // Distances count as multiply-accumulates.
        ("adder_resnet20", 32, 443_008 + 40_370_176),
        ("adder_resnet32", 32, 443_008 + 68_681_728),
        ("adder_resnet18", 224, 118_525_952 + 1_695_547_392),
        ("adder_resnet50", 224, 120_061_952 + 3_969_122_304),
        ("versatile_resnet50_v1", 96, 589_365_248),
        ("versatile_resnet50_v2", 96, 553_238_528),
    ] {
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        assert_eq!(network.macs([3, side, side]), macs, "{name}");
    }
}

/// Tables that give three or four digits.
#[test]
fn networks_cost_what_tables_round() {
    for (name, side, millions) in [
        ("legacy_seresnet18", 224, 1_814.0),
        ("legacy_seresnet34", 224, 3_664.0),
        ("legacy_seresnet101", 224, 7_575.0),
        ("legacy_seresnet152", 224, 11_289.0),
        ("legacy_seresnext101_32x4d", 224, 7_975.0),
        ("mobilenet_100", 224, 568.7),
        ("ghostnet_130", 224, 227.00),
        ("ghost_resnet50_s2_released", 224, 2_150.0),
        ("ghost_resnet50_s4", 224, 1_180.0),
        ("vgg16_cifar", 32, 313.5),
        ("se_bn_inception", 224, 2_040.0),
        ("vgg16_bn", 224, 15_470.0),
        ("g_ghost_regnetx_002", 224, 130.9),
        ("g_ghost_regnetx_004", 224, 221.2),
        ("g_ghost_regnetx_006", 224, 389.8),
        ("g_ghost_regnetx_008", 224, 528.6),
        ("g_ghost_regnetx_016", 224, 1_021.0),
        ("g_ghost_regnetx_032", 224, 1_802.0),
        ("g_ghost_regnetx_040", 224, 2_228.0),
        ("g_ghost_regnetx_064", 224, 4_055.0),
        ("g_ghost_regnetx_080", 224, 4_150.0),
        ("g_ghost_regnetx_120", 224, 7_378.0),
        ("g_ghost_regnetx_160", 224, 8_997.0),
        ("g_ghost_regnetx_320", 224, 17_158.0),
        ("parameternet_600m_e1", 224, 575.0),
        ("parameternet_600m_e2", 224, 579.9),
        ("parameternet_600m", 224, 589.6),
        ("parameternet_600m_e8", 224, 609.2),
        ("parameternet_300m", 224, 292.3),
        ("tnt_ti_patch16_224", 224, 1_409.0),
        ("tnt_s_patch16_224", 224, 5_228.0),
        ("tnt_b_patch16_224", 224, 14_066.0),
        ("tnt_s_patch16_384", 384, 17_354.0),
        ("vig_ti_224_gelu", 224, 1_306.0),
        ("vig_s_224_gelu", 224, 4_528.0),
        ("vig_b_224_gelu", 224, 17_665.0),
        ("pvig_ti_224_gelu", 224, 1_710.0),
        ("pvig_s_224_gelu", 224, 4_564.0),
        ("pvig_m_224_gelu", 224, 8_871.0),
        ("pvig_b_224_gelu", 224, 16_839.0),
        ("versatile_vgg11_bn", 224, 4_224.0),
        ("versatile_vgg13", 224, 6_279.0),
        ("versatile_vgg19", 224, 10_903.0),
        ("versatile_resnet18_v1", 224, 1_002.0),
        ("versatile_resnet18_v2", 224, 942.0),
        ("versatile_resnet34_v1", 224, 2_029.0),
        ("versatile_resnet34_v2", 224, 1_906.0),
        ("versatile_resnet50_v1", 224, 3_200.0),
        ("versatile_resnet50_v2", 224, 3_003.0),
        ("versatile_resnet101_v1", 224, 6_038.0),
        ("versatile_resnet101_v2", 224, 5_664.0),
    ] {
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        let found = network.macs([3, side, side]) as f64 / 1e6;
        // The reference's counter of TNT and ViG adds one per element of norms, softmax and maxima.
        assert!((found / millions - 1.0).abs() < 1e-2, "{name}: {found} M, the table has {millions} M");
    }
}

/// The papers' "MB" (MiB) of convolutions and fully connected layers.
#[test]
fn networks_take_the_published_room() {
    for (name, mebibytes) in [
        ("resnet50", 97.2),
        ("versatile_resnet50_v1", 75.6),
        ("versatile_resnet50_v2", 41.7),
        ("versatile_vgg16", 205.7),
        ("mask_vgg16_cifar_s4_shared", 14.1),
        ("mask_vgg16_cifar_s4", 16.0),
        ("mask_vgg16_cifar_s64", 2.7),
    ] {
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        let found = storage(&network).mebibytes();
        // Tables cut as well as round, and count biases or not.
        assert!((found - mebibytes).abs() < 0.25, "{name}: {found} MiB, the table has {mebibytes}");
    }
}

#[test]
fn every_resolution_costs_what_is_published() {
    let costs = |name: &str, side: usize| {
        let network = create(name, &Options::default(), &Device::flex()).unwrap();
        network.dynamic().unwrap().costs([side; 2])
    };
    let own = costs("dr_resnet50_5way", 224);
    // One linear layer with two more outputs than in the predictor of three candidates.
    assert_eq!(own.predictor, 290_194_944 + 2 * 512);
    assert_eq!(own.candidates[0], 4_089_184_256);
    assert_eq!((own.candidates[2], own.candidates[3]), (2_503_027_712, 1_077_899_264));
    for (macs, table) in own.candidates.iter().zip([4.0892, 3.0048, 2.5030, 1.0779, 0.7527]) {
        assert!((*macs as f64 / 1e9 - table).abs() < 1e-4, "{macs}: {table}");
    }
    let own = costs("dr_resnet50", 224);
    assert_eq!(own.predictor, 290_194_944);
    assert_eq!(own.candidates, [4_089_184_256, 2_503_027_712, 1_077_899_264]);
    // The paper's tables: 7.8 G, 300 M.
    assert!((costs("dr_resnet101", 224).candidates[0] as f64 / 1e9 - 7.8).abs() < 0.05);
    let mobile = costs("dr_mobilenetv2", 224);
    assert!((mobile.candidates[0] as f64 / 1e6 - 300.0).abs() < 1.0, "{mobile:?}");
    assert!(mobile.predictor < mobile.candidates[2] / 10, "{mobile:?}");
}

#[test]
fn layers_are_listed_by_their_published_names() {
    let network = create("ghostnet_100", &Options::default(), &Device::flex()).unwrap();
    let layers = network.layer_costs([3, 224, 224]);
    let first = &layers[0];
    assert_eq!((first.name.as_str(), first.kind), ("conv_stem", "conv"));
    assert_eq!(first.output, [1, 16, 112, 112]);
    assert_eq!((first.macs, first.params), (16 * 112 * 112 * 27, 16 * 27));
    let last = layers.last().unwrap();
    assert_eq!((last.name.as_str(), last.kind), ("classifier", "linear"));
    assert_eq!((last.macs, last.params), (1_280_000, 1_281_000));
    assert!(layers.iter().any(|layer| layer.name == "blocks.3.0.se.conv_reduce"));
    assert!(layers.iter().all(|layer| !layer.name.is_empty()));

    // Nested kernels are parts of one layer's weights.
    let versatile = create("versatile_resnet18_v2", &Options::default(), &Device::flex()).unwrap();
    let layers = versatile.layer_costs([3, 224, 224]);
    assert!(layers.iter().all(|layer| !layer.name.is_empty()), "{layers:?}");

    let inception = create("se_bn_inception", &Options::default(), &Device::flex()).unwrap();
    let layers = inception.layer_costs([3, 224, 224]);
    assert!(layers.iter().any(|layer| layer.name == "inception_4e/double3x3b"), "{layers:?}");
}

#[test]
fn counting_leaves_the_network_as_it_was() {
    let network = create("seresnet20_cifar", &Options::default(), &Device::flex()).unwrap().initialize(3);
    let before = network.state_dict();
    assert_eq!(network.macs([3, 32, 32]), network.macs([3, 32, 32]));
    assert_eq!(network.state_dict(), before);
    let output = network.forward(burn::tensor::Tensor::ones([1, 3, 32, 32], &Device::flex()));
    assert!(output.into_data().try_to_vec::<f32>().unwrap().iter().all(|value| value.is_finite()));
}
