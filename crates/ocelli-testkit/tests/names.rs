//! The naming layouts of published SENets.

use std::collections::BTreeSet;

use burn::tensor::Device;
use ocelli_image::backbone::senet::weights::{Layout, convert};
use ocelli_image::zoo::{Options, create};

use crate::keys;

fn without_counters(names: Vec<(String, Vec<usize>)>) -> Vec<String> {
    names.into_iter().map(|(name, _)| name).filter(|name| !name.ends_with("num_batches_tracked")).collect()
}

#[test]
fn every_name_goes_both_ways() {
    for (case, deep) in
        [("se_resnet50_224", false), ("se_resnext50_32x4d_224", false), ("senet154_224", true)]
    {
        for name in without_counters(keys(&format!("senet/{case}"))) {
            for layout in [Layout::Caffe, Layout::Modern, Layout::Legacy] {
                let there = convert(&name, Layout::Legacy, layout, deep).expect(&name);
                let back = convert(&there, layout, Layout::Legacy, deep);
                assert_eq!(back.as_deref(), Some(name.as_str()), "{name} by way of {there}");
            }
        }
    }
}

#[test]
fn legacy_names_become_exactly_the_modern_networks() {
    for (legacy, modern) in [
        ("legacy_seresnet50", "seresnet50"),
        ("legacy_seresnext50_32x4d", "seresnext50_32x4d"),
        ("legacy_senet154", "senet154"),
        ("legacy_seresnet34", "seresnet34"),
    ] {
        let deep = legacy == "legacy_senet154";
        let specs = |name: &str| create(name, &Options::default(), &Device::flex()).unwrap().tensor_specs();
        let names = |specs: Vec<(String, Vec<usize>)>| -> BTreeSet<String> {
            specs.into_iter().map(|(name, _)| name).collect()
        };
        let converted: BTreeSet<String> = names(specs(legacy))
            .into_iter()
            .map(|name| convert(&name, Layout::Legacy, Layout::Modern, deep).expect(&name))
            .collect();
        assert_eq!(converted, names(specs(modern)), "{legacy}");
    }
}

#[test]
fn caffe_names_are_the_prototxts() {
    let caffe = |name: &str, deep| convert(name, Layout::Legacy, Layout::Caffe, deep);
    for (legacy, published) in [
        ("layer0.conv1.weight", "conv1/7x7_s2.weight"),
        ("layer0.bn1.running_var", "conv1/7x7_s2/bn.running_var"),
        ("layer1.0.conv1.weight", "conv2_1_1x1_reduce.weight"),
        ("layer2.1.bn2.bias", "conv3_2_3x3/bn/scale.bias"),
        ("layer4.2.conv3.weight", "conv5_3_1x1_increase.weight"),
        ("layer3.4.se_module.fc1.bias", "conv4_5_1x1_down.bias"),
        ("layer3.4.se_module.fc2.weight", "conv4_5_1x1_up.weight"),
        ("layer3.0.downsample.0.weight", "conv4_1_1x1_proj.weight"),
        ("layer3.0.downsample.1.running_mean", "conv4_1_1x1_proj/bn.running_mean"),
        ("last_linear.bias", "classifier.bias"),
    ] {
        assert_eq!(caffe(legacy, false).as_deref(), Some(published));
    }
    assert_eq!(caffe("layer0.conv2.weight", true).as_deref(), Some("conv1_2/3x3.weight"));
    assert_eq!(caffe("layer0.bn1.weight", true).as_deref(), Some("conv1_1/3x3_s2/bn/scale.weight"));
}

#[test]
fn other_names_are_refused() {
    for name in [
        "layer5.0.conv1.weight",
        "layer1.x.conv1.weight",
        "conv1.weight",
        "last_linear",
        "",
        ".",
        "layer0.conv2.weight",
    ] {
        assert_eq!(convert(name, Layout::Legacy, Layout::Caffe, false), None, "{name}");
    }
    for name in ["conv6_1_3x3.weight", "conv2_0_3x3.weight", "conv2_1_3x3/bn.weight", "conv2_1_5x5.weight"] {
        assert_eq!(convert(name, Layout::Caffe, Layout::Legacy, false), None, "{name}");
    }
    let counter = "layer1.0.bn1.num_batches_tracked";
    assert_eq!(convert(counter, Layout::Legacy, Layout::Caffe, false), None);
    assert_eq!(convert(counter, Layout::Legacy, Layout::Modern, false).as_deref(), Some(counter));
}
