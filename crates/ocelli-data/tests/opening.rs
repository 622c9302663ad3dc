//! Recognising layouts, splitting, and what people pass on the command line.

use crate::datasets::{cifar10, folders, idx, message};
use ocelli_data::dataset::DatasetFormat;
use ocelli_data::{DecodeLimits, SplitOptions, list_images, open_eval, open_split};
use std::collections::HashSet;

const NONE: SplitOptions = SplitOptions {
    split: None,
    seed: 0,
    limits: DecodeLimits { max_pixels: 1 << 20, max_file_bytes: 1 << 20, max_alloc: 1 << 24 },
};

#[test]
fn train_and_val_folders() {
    for val in ["val", "valid", "validation", "test"] {
        let dir = tempfile::tempdir().unwrap();
        folders(&dir.path().join("train"), &[("a", 2), ("b", 3), ("c", 1)]);
        folders(&dir.path().join(val), &[("b", 1), ("c", 2)]);
        let pair = open_split(dir.path(), &NONE).unwrap();
        assert_eq!((pair.format, pair.train.len(), pair.val.len()), (DatasetFormat::ImageFolder, 6, 3));
        assert_eq!(pair.classes, ["a", "b", "c"]);
        // `val` lacks class a; its labels are those of train all the same.
        assert_eq!((0..3).map(|i| pair.val.label(i)).collect::<Vec<_>>(), [1, 2, 2]);
        let split = SplitOptions { split: Some(0.2), ..NONE };
        assert!(message(open_split(dir.path(), &split)).contains("val part of its own"));
        folders(&dir.path().join(val), &[("z", 1)]);
        let error = message(open_split(dir.path(), &NONE));
        assert!(error.contains("unknown classes: z") && error.contains("missing ones: a"), "{error}");
    }
}

#[test]
fn class_folders_are_split_by_class_and_seed() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("a", 10), ("b", 5), ("one", 1), ("train", 2)]);
    let error = message(open_split(dir.path(), &NONE));
    assert!(error.contains("split") && error.contains("0.2"), "{error}");
    let open = |seed, split| open_split(dir.path(), &SplitOptions { split: Some(split), seed, ..NONE });
    let names = |seed| {
        let pair = open(seed, 0.2).unwrap();
        let list = |d: &dyn ocelli_data::Dataset| (0..d.len()).map(|i| d.name(i)).collect::<Vec<_>>();
        (list(pair.train.as_ref()), list(pair.val.as_ref()))
    };
    let (train, val) = names(3);
    assert_eq!((train.len(), val.len()), (18 - 4, 4));
    let count = |c: &str| val.iter().filter(|n| n.contains(&format!("/{c}/"))).count();
    assert_eq!((count("a"), count("b"), count("one"), count("train")), (2, 1, 0, 1));
    assert_eq!(train.iter().chain(&val).collect::<HashSet<_>>().len(), 18);
    assert_eq!(names(3), (train, val.clone()));
    assert_ne!(names(4).1, val);
    for bad in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(message(open(0, bad)).contains("split"));
    }
}

#[test]
fn cifar_and_idx_are_recognised() {
    let dir = tempfile::tempdir().unwrap();
    cifar10(dir.path(), 6, 3);
    let pair = open_split(dir.path(), &NONE).unwrap();
    assert_eq!((pair.format, pair.train.len(), pair.val.len()), (DatasetFormat::Cifar10, 6, 3));
    std::fs::remove_file(dir.path().join("test_batch.bin")).unwrap();
    assert!(message(open_split(dir.path(), &NONE)).contains("split"));
    let pair = open_split(dir.path(), &SplitOptions { split: Some(0.5), ..NONE }).unwrap();
    assert_eq!((pair.train.len(), pair.val.len()), (3, 3));

    let dir = tempfile::tempdir().unwrap();
    for (part, n) in [("train", 4u32), ("t10k", 2)] {
        let data = vec![7; n as usize * 9];
        idx(&dir.path().join(format!("{part}-images-idx3-ubyte.gz")), &[n, 3, 3], &data);
        let labels: Vec<u8> = (0..n as u8).collect();
        idx(&dir.path().join(format!("{part}-labels-idx1-ubyte.gz")), &[n], &labels);
    }
    let pair = open_split(dir.path(), &NONE).unwrap();
    assert_eq!((pair.format, pair.train.len(), pair.val.len()), (DatasetFormat::Idx, 4, 2));
    assert_eq!(pair.val.classes().len(), 4);
}

#[test]
fn evaluation_matches_classes_by_name() {
    let dir = tempfile::tempdir().unwrap();
    folders(&dir.path().join("train"), &[("a", 1), ("b", 1)]);
    folders(&dir.path().join("val"), &[("a", 1), ("b", 2)]);
    let model = ["x", "b", "a"].map(String::from);
    let set = open_eval(dir.path(), Some(&model), NONE.limits).unwrap();
    assert_eq!((0..3).map(|i| set.data.label(i)).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!(set.classes, model);
    let direct = open_eval(&dir.path().join("val"), None, NONE.limits).unwrap();
    assert_eq!((direct.data.len(), direct.classes), (3, vec!["a".to_string(), "b".to_string()]));
    let error = message(open_eval(dir.path(), Some(&model[..2]), NONE.limits));
    assert!(error.contains("unknown classes: a"), "{error}");
    assert!(message(open_eval(&dir.path().join("gone"), None, NONE.limits)).contains("nothing there"));
}

#[test]
fn inputs_are_expanded() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("b", 2), ("a/deep", 1)]);
    std::fs::write(dir.path().join("b/readme.md"), "text").unwrap();
    std::fs::write(dir.path().join("odd[1].dat"), "any").unwrap();
    let at = |p: &str| dir.path().join(p);
    assert_eq!(list_images(&[at("")]).unwrap(), [at("a/deep/000.png"), at("b/000.png"), at("b/001.png")]);
    assert_eq!(
        list_images(&[at("b/001.png"), at("odd[1].dat"), at("b"), at("**/*.png")]).unwrap(),
        [at("b/001.png"), at("odd[1].dat"), at("b/000.png"), at("a/deep/000.png")]
    );
    assert!(message(list_images(&[at("gone.png")])).contains("gone.png"));
    assert!(message(list_images(&[at("*.gif")])).contains("no match"));
    std::fs::create_dir(at("empty")).unwrap();
    assert!(message(list_images(&[at("empty")])).contains("none in it"));
    assert!(message(list_images(&[at("a***")])).contains("pattern"));
}
