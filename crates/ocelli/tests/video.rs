//! `ocelli video deliver`: films in, packages, films out.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::common::{fails, ocelli};

/// What the program prints; it must succeed.
fn run(args: &[&str]) -> String {
    crate::common::run(args, 0).0
}

/// Whether ffmpeg is there; OCELLI_REQUIRE_FFMPEG demands it.
fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").output().is_ok_and(|out| out.status.success());
    assert!(found || std::env::var_os("OCELLI_REQUIRE_FFMPEG").is_none(), "ffmpeg is not installed");
    if !found {
        eprintln!("not run: ffmpeg is not installed");
    }
    found
}

fn film(path: &Path, seconds: u32) {
    let source = format!("testsrc2=size=128x96:rate=20:duration={seconds}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", &source, "-c:v", "libx264", "-preset", "ultrafast", "-y"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

fn encode(film: &Path, package: &Path, more: &[&str]) -> Vec<String> {
    let words = ["video", "deliver", "encode", film.to_str().unwrap(), "--output", package.to_str().unwrap()];
    let how =
        ["--backbone", "espcn-xs", "--chunk-seconds", "1", "--batch-size", "4", "--lr-preset", "ultrafast"];
    words.iter().chain(&how).chain(more).map(|word| word.to_string()).collect()
}

#[test]
fn a_film_goes_through_the_program() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    film(&at("film.mp4"), 2);
    let words = encode(&at("film.mp4"), &at("p"), &["--steps", "300", "--bits", "8", "--threads", "1"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = run(&words);
    assert!(said.contains("dB") && said.contains("2 modulations") && said.contains("kbit/s"), "{said}");
    let json: Value = serde_json::from_str(&run(&[
        "video",
        "deliver",
        "inspect",
        at("p").to_str().unwrap(),
        "--format",
        "json",
    ]))
    .unwrap();
    assert_eq!(json["video"]["frames"], 40);
    let said = run(&["video", "deliver", "inspect", at("p").to_str().unwrap()]);
    assert!(said.contains("shared network") && said.contains("Mbit/s"), "{said}");
    let (package, out) = (at("p"), at("out.mp4"));
    let play = ["video", "deliver", "play", package.to_str().unwrap(), "--output", out.to_str().unwrap()];
    let said = run(&play);
    assert!(said.contains("40 frames of 128x96"), "{said}");
    let before = std::fs::read(&out).unwrap();
    // It is not replaced unless one says so.
    let said = fails(&play);
    assert!(said.contains("out.mp4"), "{said}");
    assert_eq!(std::fs::read(&out).unwrap(), before);
    let int8: Vec<&str> = play.iter().copied().chain(["--int8", "--force", "--threads", "1"]).collect();
    assert!(run(&int8).contains("40 frames"));
    // To a player: Matroska on standard output.
    let piped = Command::new(env!("CARGO_BIN_EXE_ocelli"))
        .args(["video", "deliver", "play", package.to_str().unwrap(), "--output", "-", "--codec", "raw"])
        .output()
        .unwrap();
    assert!(piped.status.success());
    assert!(piped.stdout.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]), "no Matroska");
    assert!(piped.stdout.len() > 40 * 128 * 96 * 3);
    let page = at("report.html");
    let said = run(&[
        "video",
        "deliver",
        "report",
        package.to_str().unwrap(),
        "--reference",
        at("film.mp4").to_str().unwrap(),
        "--against",
        "h264",
        "--no-curve",
        "--preset",
        "ultrafast",
        "--output",
        page.to_str().unwrap(),
    ]);
    assert!(said.contains("x264"), "{said}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("<svg"));
}

#[test]
fn a_killed_encoding_goes_on() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    film(&at("film.mp4"), 2);
    let words = encode(&at("film.mp4"), &at("p"), &["--steps", "1500", "--patch", "16", "--threads", "1"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocelli")).args(&words).spawn().unwrap();
    let checkpoint = at("p").join(".encode/train/last.ckpt");
    let begun = std::time::Instant::now();
    while !checkpoint.exists() && child.try_wait().unwrap().is_none() && begun.elapsed().as_secs() < 120 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoint.exists());
    assert!(!at("p").join("manifest.json").exists(), "it was too quick to be killed");
    let said = fails(&["video", "deliver", "inspect", at("p").to_str().unwrap()]);
    assert!(said.contains("interrupted"), "{said}");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(&words);
    let whole =
        encode(&at("film.mp4"), &at("whole"), &["--steps", "1500", "--patch", "16", "--threads", "1"]);
    run(&whole.iter().map(String::as_str).collect::<Vec<_>>());
    for name in ["manifest.json", "model/shared.cafw", "lr/seg_00001.m4s"] {
        let read = |folder: &str| std::fs::read(at(folder).join(name)).unwrap();
        assert!(read("p") == read("whole"), "{name} differs");
    }
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (film, package) = (at("film.mp4"), at("p"));
    std::fs::write(&film, "no film").unwrap();
    let encode = |more: &[&str]| {
        let words = ["video", "deliver", "encode", &film, "--output", &package];
        fails(&words.iter().chain(more).copied().collect::<Vec<_>>())
    };
    assert!(encode(&["--backbone", "vgg"]).contains("espcn"), "names are listed");
    assert!(encode(&["--bits", "4"]).contains("8, 16 or 32"));
    if has_ffmpeg() {
        assert!(encode(&["--scale", "5"]).contains("2, 3 or 4"));
        assert!(encode(&[]).contains("film.mp4"));
        assert!(!Path::new(&package).exists(), "something was written");
    }
    for (flag, value) in [
        ("--scale", "0"),
        ("--rounds", "18446744073709551615"),
        ("--threads", "1000000"),
        ("--size", "0x9"),
        ("--size", "wide"),
    ] {
        let said = fails(&["video", "deliver", "bench", flag, value]);
        assert!(said.contains(flag), "{said}");
    }
    let said = fails(&["video", "deliver", "play", &package, "--output", &at("out.mp4")]);
    assert!(said.contains("package"), "{said}");
    // Without ffmpeg it says how to get it.
    let out = ocelli()
        .args(["video", "deliver", "encode", &film, "--output", &package])
        .env("PATH", at("nothing-here"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("ffmpeg") && said.contains("install"), "{said}");
}
