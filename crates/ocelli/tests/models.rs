//! `ocelli models` and the shape of the command line.

use crate::common::{fails, run};

#[test]
fn the_list_holds_the_networks_and_their_costs() {
    let (out, _) = run(&["models", "list", "--format", "json"], 0);
    let list: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    let find =
        |name: &str| list.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    for (name, parameters) in [
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("seresnet50", 28_088_024),
        ("legacy_seresnet50", 28_088_024),
        ("seresnext50_32x4d", 27_559_896),
        ("legacy_senet154", 115_088_984),
        ("ghostnet_050", 2_587_292),
        ("ghostnet_100", 5_182_508),
        ("ghostnet_130", 7_358_820),
        ("mobilenetv2_100", 3_504_872),
    ] {
        assert_eq!(find(name)["parameters"], parameters, "{name}");
    }
    assert_eq!(find("seresnet50")["macs"], 4_091_699_200u64);
}

#[test]
fn filters_and_shows() {
    let (out, _) = run(&["models", "list", "ghost"], 0);
    assert!(out.contains("ghostnet_100") && !out.contains("resnet18 "), "{out}");
    let (out, _) = run(&["models", "show", "ghostnet_100"], 0);
    assert!(out.contains("5182508") && out.contains("blocks.8"), "{out}");
}

#[test]
fn unknown_names_suggest_near_ones() {
    let error = fails(&["models", "show", "ghostnet_10"]);
    assert!(error.contains("unknown model 'ghostnet_10'") && error.contains("ghostnet_100"), "{error}");
    let error = fails(&["image", "train", "--data", ".", "--model", "resnet19"]);
    assert!(error.contains("resnet18"), "{error}");
}

#[test]
fn misuse_exits_with_2_and_help_with_0() {
    run(&["image", "predict"], 2);
    run(&["image", "train", "--epochs", "many"], 2);
    run(&["no-such-command"], 2);
    let (out, _) = run(&["image", "train", "--help"], 0);
    assert!(out.contains("Examples:") && out.contains("--auto-augment"), "{out}");
    let (out, _) = run(&["completions", "bash"], 0);
    assert!(out.contains("ocelli"), "{out}");
    let (out, _) = run(&["repro", "list"], 0);
    assert!(out.contains("senet") && out.contains("ghostnet"), "{out}");
}

#[test]
fn pictures_too_small_for_the_network_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let drawing = dir.path().join("small.svg");
    let drawing = drawing.to_str().unwrap();
    for command in [
        &["models", "show", "vgg16_bn", "--input-size", "5"][..],
        &["export", "vgg16_bn", "--input-size", "5", "-o", drawing],
        &["bench", "vgg16_bn", "--size", "5"],
    ] {
        let error = fails(command);
        assert!(error.contains("3x5x5") && error.contains("smaller than"), "{error}");
    }
    assert!(!std::path::Path::new(drawing).exists());
}
