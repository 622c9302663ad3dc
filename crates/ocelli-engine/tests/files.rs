//! Compiled model files, sound and not.

use std::path::Path;

use ocelli_engine::{Model, RunOptions, assemble_file};
use proptest::prelude::*;

use crate::graphs::{Maker, little_network, random};

const ONE: RunOptions = RunOptions { threads: 1, pin: false };

fn compiled() -> (Model, Vec<u8>) {
    let model = Model::compile(little_network(), r#"{"labels":["a"]}"#).expect("compiles");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("little.ocelli");
    model.save(&path).expect("saves");
    assert_eq!(std::fs::read_dir(folder.path()).expect("reads").count(), 1, "a temporary file is left");
    (model, std::fs::read(path).expect("reads"))
}

pub fn load(bytes: &[u8]) -> Result<Model, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.ocelli");
    std::fs::write(&path, bytes).expect("writes");
    let loaded = Model::load(&path).map_err(|e| e.to_string());
    if let Err(error) = &loaded {
        assert!(error.contains("model.ocelli"), "the error does not name the file: {error}");
    }
    loaded
}

#[test]
fn a_loaded_model_gives_the_same_answers() {
    let (model, bytes) = compiled();
    let loaded = load(&bytes).expect("loads");
    let x = random(2 * 3 * 21 * 17, 5);
    assert_eq!(loaded.run(2, ONE, &[&x]).expect("runs"), model.run(2, ONE, &[&x]).expect("runs"));
    assert_eq!(loaded.description(), r#"{"labels":["a"]}"#);
    assert_eq!(loaded.graph().nodes, model.graph().nodes);
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let (_, bytes) = compiled();
    for cut in [0, 1, 63, 64, 100, bytes.len() / 2, bytes.len() - 1] {
        assert!(load(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(load(&longer).expect_err("too long").contains("cut short or damaged"));
    for at in (0..bytes.len()).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        // The prefix's reserved zeros and the padding after the header carry nothing.
        if let Ok(model) = load(&damaged) {
            let x = random(3 * 21 * 17, 5);
            assert!(model.run(1, ONE, &[&x]).is_ok());
            assert!((36..64).contains(&at) || bytes[at] == 0, "a changed byte {at} went unnoticed");
        }
    }
}

#[test]
fn other_files_and_later_versions_say_what_they_are() {
    let (_, bytes) = compiled();
    assert!(load(b"").expect_err("empty").contains("too short"));
    assert!(load(&[b'x'; 200]).expect_err("another file").contains("not a compiled model"));
    let mut later = bytes.clone();
    later[8] = 9;
    assert!(
        load(&later).expect_err("a later version").contains("format version 9; this program reads version 3")
    );
    let mut huge = bytes.clone();
    huge[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(load(&huge).expect_err("a huge header").contains("at most"));
    assert!(Model::load(Path::new("/nowhere/at.all")).is_err());
    assert!(Model::load(Path::new("/")).is_err());
}

/// Header and data of a file.
pub fn parts(bytes: &[u8]) -> (serde_json::Value, Vec<u8>) {
    let len = u64::from_le_bytes(bytes[16..24].try_into().expect("eight")) as usize;
    let data = (64 + len).next_multiple_of(64);
    (serde_json::from_slice(&bytes[64..64 + len]).expect("JSON"), bytes[data..].to_vec())
}

#[test]
fn hostile_headers_with_good_checksums() {
    let (_, bytes) = compiled();
    let (header, data) = parts(&bytes);
    assert!(load(&assemble_file(header.to_string().as_bytes(), &data)).is_ok());
    let change = |path: &str, value: serde_json::Value| {
        let mut header = header.clone();
        *header.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        load(&assemble_file(header.to_string().as_bytes(), &data)).err()
    };
    let huge = serde_json::json!(1u64 << 60);
    for path in [
        "/packed/0/start",
        "/packed/0/len",
        "/packed/0/node",
        "/constants/0/start",
        "/constants/0/len",
        "/constants/0/value",
        "/inputs/0",
        "/outputs/0",
        "/nodes/0/inputs/0",
        "/nodes/0/outputs/0",
        "/nodes/0/op/attrs/stride/0",
        "/nodes/0/op/attrs/pad_begin/1",
        "/nodes/0/op/attrs/dilation/0",
        "/nodes/0/op/attrs/groups",
        "/values/0/shape/1/fixed",
        "/values/0/shape/0/batch",
    ] {
        assert!(change(path, huge.clone()).is_some(), "{path} = 2^60 was believed");
        if !path.contains("start")
            && !path.contains("value")
            && !path.ends_with("node")
            && !path.contains("pad_")
        {
            let zero = serde_json::json!(0);
            // Places where zero is the right number stay as they are.
            if *header.pointer(path).expect("there") != zero && !path.ends_with("puts/0") {
                assert!(change(path, zero).is_some(), "{path} = 0 was believed");
            }
        }
    }
    assert!(change("/packed/0/kernel", serde_json::json!("linear")).is_some());
    assert!(change("/packed", serde_json::json!([])).is_some());
    assert!(change("/nodes", serde_json::json!([])).is_some());
}

/// A padding whose buffer would not be countable, with a step that keeps the recorded output.
#[test]
fn padding_beyond_all_memory_is_refused() {
    let (_, bytes) = compiled();
    let (mut header, data) = parts(&bytes);
    assert_eq!(header["packed"][0]["kernel"], "conv_rows");
    let attrs = &mut header["nodes"][0]["op"]["attrs"];
    let pad = serde_json::json!([1_000_000_000, 800_000_000]);
    (attrs["pad_begin"], attrs["pad_end"]) = (pad.clone(), pad);
    attrs["stride"] = serde_json::json!([200_000_000, 200_000_000]);
    let error = load(&assemble_file(header.to_string().as_bytes(), &data)).expect_err("huge padding");
    assert!(error.contains("a shape of more than"), "{error}");
}

#[test]
fn windows_the_kernels_do_not_take_are_refused() {
    let (mut m, x) = Maker::new(&[16, 20, 20]);
    let (y, _) = m.conv(x, [16, 20, 20], 16, [17, 1, 8, 1, 1]);
    let error = Model::compile(m.finish(&[y]), "").expect_err("289 taps").to_string();
    assert!(error.contains("289 taps"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Any number of the header replaced by any other: an error, or a model that runs.
    #[test]
    fn any_changed_number(which in any::<prop::sample::Index>(), value in number()) {
        let (_, bytes) = compiled();
        survives(&bytes, which, value);
    }
}

/// What a header's number may be replaced by.
pub fn number() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        4 => (0u64..40).prop_map(serde_json::Value::from),
        4 => any::<u64>().prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => any::<f32>().prop_map(serde_json::Value::from),
        1 => (-2.0f64..2.0).prop_map(serde_json::Value::from),
    ]
}

/// Replaces one of the header's numbers: the file has to be refused, or to hold a model that runs or says why not.
pub fn survives(bytes: &[u8], which: prop::sample::Index, value: serde_json::Value) {
    let (mut header, data) = parts(bytes);
    let mut numbers = Vec::new();
    collect(&header, String::new(), &mut numbers);
    let path = &numbers[which.index(numbers.len())];
    *header.pointer_mut(path).expect("collected") = value;
    if let Ok(model) = load(&assemble_file(header.to_string().as_bytes(), &data)) {
        let graph = model.graph();
        let extents = graph.inputs.iter().map(|&id| graph.value(id).shape_at(1).iter().product::<usize>());
        let len: usize = extents.sum();
        if len < 1 << 20 {
            let x = random(len, 5);
            let _ = model.run(1, ONE, &[&x]);
        }
    }
}

fn collect(value: &serde_json::Value, path: String, numbers: &mut Vec<String>) {
    match value {
        serde_json::Value::Number(_) => numbers.push(path),
        serde_json::Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, format!("{path}/{i}"), numbers);
            }
        }
        serde_json::Value::Object(items) => {
            for (key, item) in items {
                collect(item, format!("{path}/{key}"), numbers);
            }
        }
        _ => {}
    }
}
