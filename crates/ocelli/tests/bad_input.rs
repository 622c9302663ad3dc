//! Bad input: a clear error that names the file, exit code 1, nothing half-written.

use std::path::Path;

use crate::common::{dataset, fails, picture, run, train_args, trained};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn folders_that_hold_no_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("run");
    let missing = dir.path().join("missing");
    let error = fails(&train_args(text(&missing), text(&output)));
    assert!(error.contains("missing"), "{error}");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let error = fails(&train_args(text(&empty), text(&output)));
    assert!(error.contains("empty"), "{error}");
    let data = dataset(dir.path(), 4);
    std::fs::create_dir(data.join("train/violet")).unwrap();
    let error = fails(&train_args(text(&data), text(&output)));
    assert!(error.contains("violet"), "{error}");
    assert!(!output.exists(), "nothing was begun");
}

#[test]
fn one_folder_wants_a_split() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 8).join("train");
    let output = dir.path().join("run");
    let error = fails(&train_args(text(&data), text(&output)));
    assert!(error.contains("split"), "{error}");
    run(&[train_args(text(&data), text(&output)), vec!["--split", "0.25"]].concat(), 0);
}

#[test]
fn pictures_that_are_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(dir.path(), 8);
    let good = std::fs::read(data.join("train/red/0.png")).unwrap();
    std::fs::write(data.join("train/red/broken.png"), &good[..good.len() / 2]).unwrap();
    std::fs::write(data.join("train/blue/text.jpg"), "this is no picture").unwrap();
    std::fs::write(data.join("val/red/none.png"), "").unwrap();
    let output = dir.path().join("run");
    let error = fails(&train_args(text(&data), text(&output)));
    assert!(["broken.png", "text.jpg", "none.png"].iter().any(|name| error.contains(name)), "{error}");
    let output = dir.path().join("skipping");
    run(&[train_args(text(&data), text(&output)), vec!["--skip-bad"]].concat(), 0);

    let model = text(&output);
    let error = fails(&["image", "eval", "--model", model, "--data", text(&data)]);
    assert!(error.contains("none.png"), "{error}");
    let (_, err) = run(&["image", "eval", "--model", model, "--data", text(&data), "--skip-bad"], 0);
    assert!(err.contains("none.png") && err.contains("1 of 10 pictures skipped"), "{err}");
    let error = fails(&["image", "predict", text(&data.join("train/red/broken.png")), "--model", model]);
    assert!(error.contains("broken.png"), "{error}");
    let folder = data.join("val/red");
    let (out, err) = run(&["image", "predict", text(&folder), "--model", model, "--skip-bad"], 0);
    assert!(out.contains("0.png") && err.contains("none.png") && err.contains("1 skipped"), "{out} {err}");
}

#[test]
fn a_picture_that_declares_ten_thousand_million_pixels() {
    let dir = tempfile::tempdir().unwrap();
    let model = trained(dir.path());
    let path = dir.path().join("huge.png");
    picture(&path, 8, [1, 2, 3], 0);
    let mut bytes = std::fs::read(&path).unwrap();
    // Width and height stand in the IHDR chunk; its CRC is made right so that only the size is wrong.
    bytes[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&100_000u32.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = fails(&["image", "predict", text(&path), "--model", text(&model)]);
    assert!(error.contains("huge.png") && error.contains("too large"), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn weights_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let best = trained(dir.path()).join("best.safetensors");
    let image = dir.path().join("data/val/red/0.png");
    let bytes = std::fs::read(&best).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let cut = write("cut.safetensors", &bytes[..bytes.len() / 2]);
    let mut oversized = bytes.clone();
    oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let oversized = write("oversized.safetensors", &oversized);
    let nonsense = write("nonsense.pth", b"PK\x03\x04 and then nothing of use");
    let empty = write("empty.safetensors", b"");
    for path in [&cut, &oversized, &nonsense, &empty] {
        let error = fails(&["image", "predict", text(&image), "--model", text(path)]);
        assert!(error.contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    }
    // The right format, another network: everything that does not fit is listed at once.
    let error = fails(&[
        "image",
        "train",
        "--data",
        text(&dir.path().join("data")),
        "--model",
        "mobilenetv2_100",
        "--weights",
        text(&best),
        "--batch-size",
        "6",
        "--output",
        text(&dir.path().join("other")),
    ]);
    assert!(
        error.contains("missing") && error.contains("unexpected") && error.contains("conv_stem.weight"),
        "{error}"
    );
    let error = fails(&["image", "predict", text(&image), "--model", "ghostnet_100"]);
    assert!(error.contains("--weights"), "{error}");
    let error = fails(&["image", "predict", text(&image), "--model", "no/such/file.safetensors"]);
    assert!(error.contains("no such file"), "{error}");
    let error = fails(&["image", "predict", text(&dir.path().join("gone.jpg")), "--model", text(&best)]);
    assert!(error.contains("gone.jpg"), "{error}");
}

#[test]
fn a_newer_or_damaged_description() {
    let dir = tempfile::tempdir().unwrap();
    let best = trained(dir.path()).join("best.safetensors");
    let file = ocelli::nn::weights::WeightFile::read(&best).unwrap();
    let image = dir.path().join("data/val/red/0.png");
    let newer = file.description.clone().unwrap().replacen("\"format\":1", "\"format\":99", 1);
    let changed = |from: &str, to: &str| {
        let whole = file.description.clone().unwrap();
        assert!(whole.contains(from), "{whole}");
        whole.replacen(from, to, 1)
    };
    let short = changed("\"blue\",", "");
    let still = changed("\"stem_stride\":1", "\"stem_stride\":0");
    let endless = changed("\"blocks\":3", "\"blocks\":4000000000");
    let grey = changed("\"input_size\":[3,", "\"input_size\":[1,");
    for (name, description, expected) in [
        ("newer", newer.as_str(), "newer"),
        ("short", &short, "labels"),
        ("bad", "{\"format\":1", "damaged"),
        ("still", &still, "stem_stride = 0"),
        ("endless", &endless, "blocks = 4000000000"),
        ("grey", &grey, "mean"),
    ] {
        let path = dir.path().join(format!("{name}.safetensors"));
        ocelli::nn::weights::write(&path, &file.tensors, Some(description)).unwrap();
        let error = fails(&["image", "predict", text(&image), "--model", text(&path)]);
        assert!(error.contains(expected), "{name}: {error}");
    }
}
