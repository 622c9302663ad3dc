//! Packages from films to films.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ocelli_data::video::{Codec, Destination, Ffmpeg, Quality, ReadOptions, Reader, probe};
use ocelli_train::ProgressStyle;
use ocelli_video::VideoError;
use ocelli_video::deliver::encode::{EncodeOptions, Encoded, encode};
use ocelli_video::deliver::package::Package;
use ocelli_video::deliver::play::{PlayOptions, each_low, play};
use ocelli_video::deliver::upscale::{Precision, Upscaler};
use ocelli_video::deliver::{Config, Residual};

use crate::common::{drawn, ffmpeg};

/// A film of moving patterns by ffmpeg's own source.
fn film(ffmpeg: &Ffmpeg, path: &Path, size: &str, seconds: f64, audio: bool, more: &[&str]) {
    let mut command = ffmpeg.command();
    command.args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=20:duration={seconds}")]);
    if audio {
        command.args(["-f", "lavfi", "-i", &format!("sine=frequency=440:duration={seconds}"), "-c:a", "aac"]);
    }
    command.args(more).args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-y"]).arg(path);
    ffmpeg.run(&mut command, "making a film").expect("a film");
}

fn options() -> EncodeOptions {
    let network =
        Config { residual: Residual::Bicubic, feats: 8, ..Config::preset("espcn-xs", 2).expect("a name") };
    EncodeOptions {
        chunk_seconds: 1.0,
        steps: 60,
        batch: 4,
        lr: 2e-3,
        verify_every: 5,
        preset: "ultrafast".into(),
        ..EncodeOptions::new(network)
    }
}

fn made(
    ffmpeg: &Ffmpeg,
    input: &Path,
    output: &Path,
    options: &EncodeOptions,
) -> Result<Option<Encoded>, VideoError> {
    let stop = Arc::new(AtomicBool::new(false));
    encode(ffmpeg, input, output, options, 1, ProgressStyle::Quiet, &stop, &mut |_, _, _| {})
}

struct Room {
    _folder: tempfile::TempDir,
    film: PathBuf,
    package: PathBuf,
    out: PathBuf,
}

fn room() -> Room {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    Room { film: at("film.mp4"), package: at("film.cafm"), out: at("out.mp4"), _folder: folder }
}

#[test]
fn a_film_comes_back_in_full_resolution() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    // Sides that are multiples of nothing, and audio.
    film(&ffmpeg, &room.film, "122x90", 2.4, true, &[]);
    let encoded = made(&ffmpeg, &room.film, &room.package, &options()).expect("encodes").expect("finishes");
    assert!(encoded.psnr >= encoded.bicubic - 0.05, "{} against {} dB", encoded.psnr, encoded.bicubic);
    let package = Package::open(&room.package).expect("a package");
    package.verify().expect("all files");
    let manifest = &package.manifest;
    assert_eq!(manifest.chunks.iter().map(|chunk| chunk.frames).collect::<Vec<_>>(), [20, 28]);
    assert!(!room.package.join(".encode").exists(), "nothing is left of the work");
    // The account is of the files that are there.
    let size = |uri: &str| fs::metadata(room.package.join(uri)).expect("a file").len();
    let segments: u64 = manifest.chunks.iter().map(|chunk| size(&chunk.segment.uri)).sum();
    assert_eq!(manifest.lr.bytes, segments + size("lr/init.mp4"));
    assert_eq!(manifest.account.lr, manifest.lr.bytes - manifest.lr.audio_bytes);
    assert_eq!(manifest.account.shared, size("model/shared.cafw"));
    let account = manifest.account;
    assert_eq!(account.total, account.lr + account.shared + account.mod_total + account.manifest);
    assert!(manifest.lr.audio_bytes > 1000, "{} bytes of audio", manifest.lr.audio_bytes);
    // The playlists play by themselves.
    for playlist in ["master.m3u8", "lr/stream.m3u8"] {
        let low = probe(&ffmpeg, &room.package.join(playlist)).expect("plays");
        assert_eq!((low.width, low.height, low.frames), (62, 46, 48));
    }
    let played = play(
        &ffmpeg,
        &package,
        Destination::File(&room.out),
        &PlayOptions { preset: "ultrafast".into(), ..PlayOptions::default() },
        &mut |_, _| {},
    )
    .expect("plays");
    assert_eq!((played.frames, played.warnings.len()), (48, 0));
    let (before, after) =
        (probe(&ffmpeg, &room.film).expect("probes"), probe(&ffmpeg, &room.out).expect("probes"));
    assert_eq!((after.width, after.height, after.frames), (122, 90, 48));
    assert!((after.duration - before.duration).abs() < 0.06);
    assert!(after.audio.is_some());
}

#[test]
fn playing_gives_the_bits_of_enlarging_in_memory() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    film(&ffmpeg, &room.film, "96x64", 2.0, false, &[]);
    made(&ffmpeg, &room.film, &room.package, &options()).expect("encodes").expect("finishes");
    let package = Package::open(&room.package).expect("a package");
    assert!(!package.manifest.lr.audio);
    let out = room.out.with_extension("mkv");
    let how =
        PlayOptions { codec: Codec::Ffv1, quality: Quality::Lossless, threads: 2, ..PlayOptions::default() };
    play(&ffmpeg, &package, Destination::File(&out), &how, &mut |_, _| {}).expect("plays");
    let shown = probe(&ffmpeg, &out).expect("probes");
    let mut reader = Reader::open(&ffmpeg, &shown, &ReadOptions::default()).expect("opens");
    let shared = package.shared().expect("weights");
    let scalers: Vec<Upscaler> = (0..2)
        .map(|chunk| match package.net(&shared, chunk).expect("a network") {
            Some(net) => {
                let config = package.config().with_chunks(1);
                Upscaler::new(&config, &net, 0, [32, 48], 1, Precision::Float, None).expect("compiles")
            }
            None => Upscaler::bicubic(2, [32, 48], 1),
        })
        .collect();
    let (mut high, mut frame, mut seen) = (vec![0u8; 96 * 64 * 3], Vec::new(), 0);
    each_low(&ffmpeg, &package, 0, 40, &mut |chunk, low| {
        scalers[chunk].run(low, &mut high).expect("runs");
        assert!(reader.read_into(&mut frame).expect("reads"));
        assert!(high == frame, "frame {seen} differs");
        seen += 1;
        true
    })
    .expect("decodes");
    assert_eq!(seen, 40);
    // From the middle on: the same frames.
    let part = out.with_file_name("part.mkv");
    let how = PlayOptions { start: 0.8, duration: Some(0.4), ..how };
    let played = play(&ffmpeg, &package, Destination::File(&part), &how, &mut |_, _| {}).expect("plays");
    assert_eq!(played.frames, 8);
    let shown = probe(&ffmpeg, &part).expect("probes");
    let mut some = Reader::open(&ffmpeg, &shown, &ReadOptions::default()).expect("opens");
    let whole = probe(&ffmpeg, &out).expect("probes");
    let mut all = Reader::open(&ffmpeg, &whole, &ReadOptions::default()).expect("opens");
    let mut other = Vec::new();
    for at in 0..24 {
        assert!(all.read_into(&mut frame).expect("reads"));
        if at >= 16 {
            assert!(some.read_into(&mut other).expect("reads"));
            assert!(frame == other, "frame {at} differs");
        }
    }
}

#[test]
fn an_interrupted_encoding_goes_on_to_the_same_package() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    film(&ffmpeg, &room.film, "64x48", 2.0, false, &[]);
    let whole = room.package.with_file_name("whole.cafm");
    // More than one epoch, so that there is a middle.
    let options = EncodeOptions { steps: 600, batch: 2, patch: 16, ..options() };
    made(&ffmpeg, &room.film, &whole, &options).expect("encodes").expect("finishes");
    let stop = Arc::new(AtomicBool::new(true));
    let run = |stop: &Arc<AtomicBool>| {
        encode(&ffmpeg, &room.film, &room.package, &options, 1, ProgressStyle::Quiet, stop, &mut |_, _, _| {})
    };
    assert!(run(&stop).expect("runs").is_none(), "it was told to stop");
    let error = Package::open(&room.package).expect_err("no package yet").to_string();
    assert!(error.contains("interrupted"), "{error}");
    // With other options it is refused, and nothing is lost.
    let other = EncodeOptions { seed: 9, ..options.clone() };
    let error = made(&ffmpeg, &room.film, &room.package, &other).expect_err("other options").to_string();
    assert!(error.contains("other options"), "{error}");
    stop.store(false, Ordering::Relaxed);
    run(&stop).expect("runs").expect("finishes");
    for name in ["model/shared.cafw", "model/mod_00000.cafw", "lr/seg_00000.m4s", "manifest.json"] {
        let read = |root: &Path| fs::read(root.join(name)).ok();
        assert_eq!(read(&whole), read(&room.package), "{name}");
    }
    let error = made(&ffmpeg, &room.film, &room.package, &options).expect_err("holds one").to_string();
    assert!(error.contains("holds a package already"), "{error}");
}

#[test]
fn damage_is_told_or_made_up_for() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    film(&ffmpeg, &room.film, "96x64", 2.0, false, &[]);
    made(&ffmpeg, &room.film, &room.package, &options()).expect("encodes").expect("finishes");
    let how = PlayOptions { preset: "ultrafast".into(), overwrite: true, ..PlayOptions::default() };
    let run = || {
        let package = Package::open(&room.package)?;
        play(&ffmpeg, &package, Destination::File(&room.out), &how, &mut |_, _| {})
    };
    // Every chunk has a modulation, whatever the training came to.
    let manifest = room.package.join("manifest.json");
    let modulation = room.package.join("model/mod_00001.cafw");
    if let Ok(kept) = fs::read(&modulation) {
        fs::write(&modulation, &kept[..kept.len() - 1]).expect("writes");
        let played = run().expect("plays");
        assert_eq!(played.frames, 40);
        assert!(
            played.warnings.len() == 1 && played.warnings[0].contains("mod_00001.cafw"),
            "{:?}",
            played.warnings
        );
        fs::remove_file(&modulation).expect("removes");
        assert!(run().expect("plays").warnings[0].contains("missing"));
        fs::write(&modulation, kept).expect("writes");
    }
    let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>), says: &str| {
        let path = room.package.join(name);
        let kept = fs::read(&path).expect("reads");
        let mut bytes = kept.clone();
        change(&mut bytes);
        fs::write(&path, bytes).expect("writes");
        fs::remove_file(&room.out).ok();
        let error = run().expect_err(says).to_string();
        assert!(error.contains(says) && error.contains(name.rsplit('/').next().unwrap_or(name)), "{error}");
        assert!(!room.out.exists(), "a half film is left");
        fs::write(&path, kept).expect("writes");
    };
    refused("lr/seg_00001.m4s", &|bytes| bytes.truncate(100), "100 bytes");
    refused("lr/seg_00001.m4s", &|bytes| bytes[300] ^= 1, "SHA-256");
    refused("model/shared.cafw", &|bytes| bytes[40] ^= 1, "SHA-256");
    refused("manifest.json", &|bytes| bytes.truncate(200), "no JSON");
    let later = fs::read_to_string(&manifest).expect("reads").replace("\"version\": 1", "\"version\": 7");
    let kept = fs::read(&manifest).expect("reads");
    fs::write(&manifest, later).expect("writes");
    assert!(run().expect_err("later").to_string().contains("version 7"));
    fs::write(&manifest, kept).expect("writes");
    // A film that is said to last longer than its frames: the last of them is shown, nothing panics.
    let kept = fs::read(&manifest).expect("reads");
    let mut json: serde_json::Value = serde_json::from_slice(&kept).expect("JSON");
    json["video"]["duration"] = 1e6.into();
    fs::write(&manifest, json.to_string()).expect("writes");
    let package = Package::open(&room.package).expect("a package");
    for duration in [None, Some(1.0)] {
        let late = PlayOptions { start: 5e5, duration, ..how.clone() };
        let played =
            play(&ffmpeg, &package, Destination::File(&room.out), &late, &mut |_, _| {}).expect("plays");
        assert_eq!(played.frames, 1);
    }
    fs::write(&manifest, kept).expect("writes");
    let segment = room.package.join("lr/seg_00000.m4s");
    fs::remove_file(&segment).expect("removes");
    assert!(run().expect_err("missing").to_string().contains("missing"));
}

#[test]
fn films_at_irregular_times_keep_them() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    let input = room.film.with_extension("mkv");
    // Every frame after the tenth comes later and later.
    let times = "setpts='if(gt(N,10),PTS+N*N*0.0006/TB,PTS)'";
    film(&ffmpeg, &input, "64x48", 2.0, false, &["-vf", times, "-fps_mode", "passthrough"]);
    let before = probe(&ffmpeg, &input).expect("probes");
    assert!(before.variable_rate, "{:?}", before.times);
    made(&ffmpeg, &input, &room.package, &EncodeOptions { steps: 4, ..options() })
        .expect("encodes")
        .expect("finishes");
    let package = Package::open(&room.package).expect("a package");
    let how = PlayOptions { preset: "ultrafast".into(), ..PlayOptions::default() };
    play(&ffmpeg, &package, Destination::File(&room.out), &how, &mut |_, _| {}).expect("plays");
    let after = probe(&ffmpeg, &room.out).expect("probes");
    assert_eq!(before.times.len(), after.times.len());
    let apart = before.times.iter().zip(&after.times).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 2e-3, "{apart} s apart");
}

#[test]
fn segments_are_chunks_at_any_rate() {
    let Some(ffmpeg) = ffmpeg() else { return };
    for (rate, ending) in [("24000/1001", "mkv"), ("30000/1001", "mp4"), ("12.5", "mkv"), ("60", "mp4")] {
        let room = room();
        let input = room.film.with_extension(ending);
        let again = format!("fps={rate}");
        film(&ffmpeg, &input, "64x48", 6.0, true, &["-vf", &again]);
        let options = EncodeOptions { steps: 2, chunk_seconds: 0.7, ..options() };
        let encoded = made(&ffmpeg, &input, &room.package, &options).expect(rate).expect("finishes");
        let chunks = &encoded.package.manifest.chunks;
        assert_eq!(chunks.len(), 8, "{rate}");
        for chunk in chunks {
            let first = chunk.index as f64 * 0.7;
            let frame = 1.0 / encoded.package.manifest.video.fps.value();
            assert!((first - 1e-3..first + frame + 1e-3).contains(&chunk.start), "{rate}: {}", chunk.start);
        }
    }
}

#[test]
fn training_begins_with_given_weights() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    film(&ffmpeg, &room.film, "64x48", 2.0, false, &[]);
    // Numbers that a second training would not find by itself.
    let config = options().network.with_chunks(2);
    let tensors = ocelli_nn::state_dict::state_dict(&drawn(&config, 3));
    let path = room.film.with_extension("safetensors");
    ocelli_nn::weights::write(&path, &tensors, None).expect("writes");
    let wrong = |start: &Path, says: &str| {
        let other = EncodeOptions { start_from: Some(start.to_path_buf()), ..options() };
        let other = EncodeOptions { network: Config { feats: 12, ..other.network.clone() }, ..other };
        let package = room.package.with_file_name("wrong.cafm");
        let error = made(&ffmpeg, &room.film, &package, &other).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
        assert!(!package.exists(), "something was written");
    };
    wrong(&path, "expected [12");
    // Modulations alone: the shared weights stay to the bit.
    let how = EncodeOptions {
        start_from: Some(path),
        modulations_only: true,
        storage: ocelli_video::deliver::container::Storage::F32,
        steps: 5,
        ..options()
    };
    let encoded = made(&ffmpeg, &room.film, &room.package, &how).expect("encodes").expect("finishes");
    for (name, data) in encoded.package.shared().expect("weights") {
        assert_eq!(data, tensors[&name], "{name}");
    }
    // And a package begins another one.
    let second = room.package.with_file_name("second.cafm");
    let how = EncodeOptions { start_from: Some(room.package.clone()), ..how };
    let again = made(&ffmpeg, &room.film, &second, &how).expect("encodes").expect("finishes");
    assert_eq!(again.package.shared().expect("weights")["conv2.weight"], tensors["conv2.weight"]);
    wrong(&room.package, "holds the network");
    let alone = EncodeOptions { start_from: None, ..how };
    assert!(made(&ffmpeg, &room.film, &second, &alone).is_err());
}

#[test]
fn training_ends_at_the_ratio_asked_for() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    film(&ffmpeg, &room.film, "64x48", 2.0, false, &[]);
    // Reached after the first of two epochs, whatever was learnt.
    let options = EncodeOptions { steps: 500, batch: 2, patch: 16, target_psnr: Some(5.0), ..options() };
    let stop = Arc::new(AtomicBool::new(false));
    let encoded = encode(
        &ffmpeg,
        &room.film,
        &room.package,
        &options,
        1,
        ProgressStyle::Quiet,
        &stop,
        &mut |_, _, _| {},
    );
    let encoded = encoded.expect("encodes").expect("finishes");
    assert!(stop.load(Ordering::Relaxed) && encoded.psnr > 5.0);
}

#[test]
fn what_is_no_film_is_refused() {
    let Some(ffmpeg) = ffmpeg() else { return };
    let room = room();
    fs::write(&room.film, "no film\n").expect("writes");
    let refused = |says: &str| {
        let error = made(&ffmpeg, &room.film, &room.package, &options()).expect_err(says).to_string();
        assert!(error.contains("film.mp4"), "{error}");
        assert!(!room.package.exists(), "something was written");
    };
    refused("a text");
    fs::write(&room.film, "").expect("writes");
    refused("nothing");
    fs::remove_file(&room.film).expect("removes");
    refused("missing");
    film(&ffmpeg, &room.film, "64x48", 1.0, false, &[]);
    let whole = fs::read(&room.film).expect("reads");
    fs::write(&room.film, &whole[..whole.len() / 2]).expect("writes");
    refused("cut");
    fs::write(&room.film, &whole).expect("writes");
    fs::create_dir(&room.package).expect("makes");
    fs::write(room.package.join("letter.txt"), "mine").expect("writes");
    let error = made(&ffmpeg, &room.film, &room.package, &options()).expect_err("occupied").to_string();
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(fs::read_to_string(room.package.join("letter.txt")).expect("reads"), "mine");
    for (wrong, says) in [
        (EncodeOptions { crf: 60, ..options() }, "60"),
        (EncodeOptions { chunk_seconds: f64::NAN, ..options() }, "NaN"),
        (EncodeOptions { patch: 47, ..options() }, "47"),
        (EncodeOptions { lr: 0.0, ..options() }, "learning rate"),
        (EncodeOptions { steps: usize::MAX, ..options() }, "steps"),
        (EncodeOptions { batch: 4096, patch: 1024, ..options() }, "pixels a step"),
    ] {
        let other = room.package.with_file_name("other");
        let error = made(&ffmpeg, &room.film, &other, &wrong).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}
