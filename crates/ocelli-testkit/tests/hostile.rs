//! Weight files with bytes changed at random: an error or other numbers, never a panic or a huge allocation.

use std::path::{Path, PathBuf};

use ocelli_nn::random::keyed;
use ocelli_nn::weights::{WeightFile, write};
use rand_chacha::rand_core::Rng;

fn survives(original: &Path, name: &str) {
    let bytes = std::fs::read(original).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join(name);
    let mut rng = keyed(5, 0);
    for round in 0..300 {
        let mut damaged = bytes.clone();
        for _ in 0..=round % 4 {
            // Most damage goes to the first bytes, where headers stand.
            let reach = if rng.next_u32().is_multiple_of(4) { damaged.len() } else { damaged.len().min(600) };
            let at = rng.next_u32() as usize % reach;
            damaged[at] = rng.next_u32() as u8;
        }
        if round % 5 == 0 {
            damaged.truncate(rng.next_u32() as usize % damaged.len());
        }
        std::fs::write(&path, &damaged).unwrap();
        if let Err(error) = WeightFile::read(&path) {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn safetensors() {
    let file = WeightFile::read(super::testdata("weights/bare.pth")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("good.safetensors");
    write(&path, &file.tensors, Some("{}")).unwrap();
    survives(&path, "damaged.safetensors");
}

#[test]
fn pytorch() {
    survives(&super::testdata("weights/bare.pth"), "damaged.pth");
    survives(&super::testdata("weights/legacy.pth"), "damaged_legacy.pth");
}
