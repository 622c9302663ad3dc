//! The three dataset formats, whole and damaged.

use crate::common::testdata;
use flate2::{Compression, write::GzEncoder};
use ocelli_data::dataset::{Cached, CifarKind};
use ocelli_data::{Cifar, Dataset, DecodeLimits, Idx, ImageFolder};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Class folders with copies of a small picture: `(class, pictures)`.
pub fn folders(root: &Path, classes: &[(&str, usize)]) {
    for (class, count) in classes {
        let folder = root.join(class);
        std::fs::create_dir_all(&folder).unwrap();
        for i in 0..*count {
            std::fs::copy(testdata("flat.png"), folder.join(format!("{i:03}.png"))).unwrap();
        }
    }
}

/// An IDX file of bytes.
pub fn idx(path: &Path, dims: &[u32], data: &[u8]) {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|d| bytes.extend_from_slice(&d.to_be_bytes()));
    bytes.extend_from_slice(data);
    if path.extension().is_some_and(|e| e == "gz") {
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(&bytes).unwrap();
        bytes = gz.finish().unwrap();
    }
    std::fs::write(path, bytes).unwrap();
}

/// A CIFAR-10 folder with records whose pixels are all the record's number.
pub fn cifar10(root: &Path, train: usize, test: usize) {
    let records = |n: usize| {
        (0..n).flat_map(|i| std::iter::once((i % 3) as u8).chain(vec![i as u8; 3072])).collect::<Vec<_>>()
    };
    let half = train / 2;
    let all = records(train);
    std::fs::write(root.join("data_batch_1.bin"), &all[..half * 3073]).unwrap();
    std::fs::write(root.join("data_batch_2.bin"), &all[half * 3073..]).unwrap();
    std::fs::write(root.join("test_batch.bin"), records(test)).unwrap();
    std::fs::write(root.join("batches.meta.txt"), "plane\ncar\nbird\n\n").unwrap();
}

pub fn message<T>(result: ocelli_data::Result<T>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn folders_become_sorted_classes() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("zebra", 1), ("ant", 2), ("ant/deeper", 1), (".hidden", 1)]);
    std::fs::write(dir.path().join("ant/notes.txt"), "no picture").unwrap();
    std::fs::write(dir.path().join("ant/.thumb.png"), "hidden").unwrap();
    let data = ImageFolder::open(dir.path(), DecodeLimits::default()).unwrap();
    assert_eq!(data.classes(), ["ant", "zebra"]);
    assert_eq!((0..data.len()).map(|i| data.label(i)).collect::<Vec<_>>(), [0, 0, 0, 1]);
    assert!(data.name(3).ends_with("zebra/000.png"), "{}", data.name(3));
    assert_eq!(data.load(0).unwrap().width(), 9);
}

#[test]
fn bad_folders_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| message(ImageFolder::open(path, DecodeLimits::default()));
    assert!(open(&dir.path().join("gone")).contains("gone"));
    assert!(open(dir.path()).contains("empty folder"));
    std::fs::write(dir.path().join("a.png"), "x").unwrap();
    assert!(open(dir.path()).contains("1 pictures directly"));
    folders(dir.path(), &[("full", 1), ("hollow", 0)]);
    assert!(open(dir.path()).contains("hollow"));
}

#[cfg(unix)]
#[test]
fn a_link_to_its_own_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("a", 1)]);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
    let error = message(ImageFolder::open(dir.path(), DecodeLimits::default()));
    assert!(error.contains("link") && error.contains("leads back"), "{error}");
}

#[test]
fn cifar_10_reads_all_its_files() {
    let dir = tempfile::tempdir().unwrap();
    cifar10(dir.path(), 7, 4);
    let data = Cifar::open(dir.path(), CifarKind::Cifar10, true).unwrap();
    assert_eq!((data.len(), data.classes()), (7, &["plane", "car", "bird"].map(String::from)[..]));
    assert_eq!(data.label(4), 1);
    assert!(data.name(4).ends_with("data_batch_2.bin#1"), "{}", data.name(4));
    assert_eq!(data.load(5).unwrap().pixel(31, 31), Some([5, 5, 5]));
    assert_eq!(Cifar::open(dir.path(), CifarKind::Cifar10, false).unwrap().len(), 4);
}

#[test]
fn cifar_100_uses_the_fine_label() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = vec![1u8, 2];
    record.extend(vec![10; 1024]);
    record.extend(vec![20; 1024]);
    record.extend(vec![30; 1024]);
    std::fs::write(dir.path().join("train.bin"), &record).unwrap();
    std::fs::write(dir.path().join("fine_label_names.txt"), "apple\nbaby\nbear\n").unwrap();
    std::fs::write(dir.path().join("coarse_label_names.txt"), "fruit\nlife\n").unwrap();
    let fine = Cifar::open(dir.path(), CifarKind::Cifar100Fine, true).unwrap();
    assert_eq!((fine.label(0), fine.load(0).unwrap().pixel(3, 7)), (2, Some([10, 20, 30])));
    let coarse = Cifar::open(dir.path(), CifarKind::Cifar100Coarse, true).unwrap();
    assert_eq!((coarse.label(0), coarse.classes().len()), (1, 2));
    assert!(message(Cifar::open(dir.path(), CifarKind::Cifar100Fine, false)).contains("test.bin"));
}

#[test]
fn damaged_cifar_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    cifar10(dir.path(), 4, 2);
    let test = dir.path().join("test_batch.bin");
    let open = || message(Cifar::open(dir.path(), CifarKind::Cifar10, false));
    let mut bytes = std::fs::read(&test).unwrap();
    bytes[3073] = 9;
    std::fs::write(&test, &bytes).unwrap();
    assert!(open().contains("test_batch.bin#1") && open().contains("label 9"), "{}", open());
    std::fs::write(&test, &bytes[..5000]).unwrap();
    assert!(open().contains("multiple of 3073") && open().contains("5000 bytes"), "{}", open());
    std::fs::write(&test, "").unwrap();
    assert!(open().contains("0 bytes"));
    std::fs::remove_file(dir.path().join("batches.meta.txt")).unwrap();
    assert!(open().contains("batches.meta.txt"));
}

#[test]
fn idx_reads_plain_and_gzipped() {
    for end in ["", ".gz"] {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(format!("{name}{end}"));
        idx(&file("train-images-idx3-ubyte"), &[3, 2, 4], &(0..24).collect::<Vec<u8>>());
        idx(&file("train-labels-idx1-ubyte"), &[3], &[0, 2, 1]);
        idx(&file("t10k-images-idx3-ubyte"), &[1, 2, 4], &[9; 8]);
        idx(&file("t10k-labels-idx1-ubyte"), &[1], &[4]);
        let data = Idx::open(dir.path(), true).unwrap();
        assert_eq!((data.len(), data.label(1)), (3, 2));
        // Five classes, as the test part has a label 4.
        assert_eq!(data.classes(), ["0", "1", "2", "3", "4"]);
        let picture = data.load(1).unwrap();
        assert_eq!((picture.width(), picture.height(), picture.pixel(1, 1)), (4, 2, Some([13; 3])));
        assert!(data.name(1).ends_with("#1"));
        std::fs::write(dir.path().join("classes.txt"), "a\nb\nc\nd\ne\n").unwrap();
        assert_eq!(Idx::open(dir.path(), false).unwrap().classes()[4], "e");
        std::fs::write(dir.path().join("classes.txt"), "a\nb\n").unwrap();
        assert!(message(Idx::open(dir.path(), true)).contains("label 2"));
    }
}

#[test]
fn hostile_idx_headers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("i.gz"), dir.path().join("l"));
    let open = || message(Idx::open_files(&images, &labels, None));
    idx(&labels, &[2], &[0, 1]);
    idx(&images, &[u32::MAX, u32::MAX, u32::MAX], &[0; 8]);
    assert!(open().contains("too large"), "{}", open());
    idx(&images, &[1 << 20, 32, 32], &[0; 64]);
    assert!(open().contains("found 64"), "{}", open());
    idx(&images, &[2, 2, 2], &[0; 1 << 20]);
    assert!(open().contains("found more"), "{}", open());
    idx(&images, &[2, 0, 2], &[]);
    assert!(open().contains("[2, 0, 2]"), "{}", open());
    idx(&images, &[0, 2, 2], &[]);
    assert!(open().contains("0 labels") || open().contains("2 labels"), "{}", open());
    idx(&images, &[3, 2, 2], &[0; 12]);
    assert!(open().contains("3 labels") && open().contains("2 labels"), "{}", open());
    idx(&images, &[2, 2], &[0; 4]);
    assert!(open().contains("2 dimension(s)"), "{}", open());
    std::fs::write(&images, [0, 0, 13, 3]).unwrap();
    assert!(open().contains("4 bytes"), "{}", open());
    std::fs::write(&images, [&[0, 0, 13, 3][..], &[0; 40]].concat()).unwrap();
    assert!(open().contains("0x0d"), "{}", open());
    std::fs::write(&images, [&[0x1f, 0x8b][..], &[7; 40]].concat()).unwrap();
    assert!(open().contains("gzip"), "{}", open());
    std::fs::write(&images, "some text that is long enough").unwrap();
    assert!(open().contains("text"), "{}", open());
}

#[test]
fn the_cache_keeps_to_its_budget() {
    let dir = tempfile::tempdir().unwrap();
    folders(dir.path(), &[("a", 4)]);
    let data = Arc::new(ImageFolder::open(dir.path(), DecodeLimits::default()).unwrap());
    let bytes = data.load(0).unwrap().data().len() as u64;
    let cached = Cached::new(data, bytes * 5 / 2);
    let first = (0..4).map(|i| cached.load(i).unwrap()).collect::<Vec<_>>();
    assert_eq!(cached.held(), 2);
    std::fs::remove_file(dir.path().join("a/000.png")).unwrap();
    std::fs::remove_file(dir.path().join("a/003.png")).unwrap();
    assert_eq!(cached.load(0).unwrap(), first[0]);
    assert!(message(cached.load(3)).contains("003.png"));
}
