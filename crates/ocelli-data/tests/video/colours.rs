//! What is read is what was written.

use super::{Studio, fast, natural, psnr};
use ocelli_data::video::{Codec, Probe, Quality, ReadOptions, Reader, WriteOptions};

#[test]
fn lossless_films_come_back_to_the_bit() {
    let Some(studio) = Studio::open() else { return };
    let frames: Vec<_> = (0..5).map(|i| natural(91, 53, f64::from(i))).collect();
    for (name, codec) in [
        ("a.mp4", Codec::H264),
        ("b.mkv", Codec::H265),
        ("c.mkv", Codec::Ffv1),
        ("d.mkv", Codec::RawRgb),
        ("e.avi", Codec::RawRgb),
    ] {
        let path = studio.write(name, (91, 53), &frames, &fast(codec, Quality::Lossless));
        assert!(studio.read(&path, &ReadOptions::default()) == frames, "{name}");
    }
}

#[test]
fn colours_survive_with_every_matrix() {
    let Some(studio) = Studio::open() else { return };
    for (size, matrix, tag) in [
        ((128, 96), None, "smpte170m"),
        ((128, 96), Some("bt709"), "bt709"),
        ((128, 96), Some("bt470bg"), "bt470bg"),
        ((128, 640), None, "bt709"),
        ((128, 640), Some("smpte170m"), "smpte170m"),
        ((128, 96), Some("bt2020nc"), "bt2020nc"),
        ((91, 53), Some("bt709"), "bt709"),
    ] {
        let frames = vec![natural(size.0, size.1, 0.3)];
        let options = WriteOptions { matrix: matrix.map(Into::into), ..fast(Codec::H264, Quality::Crf(1)) };
        let path = studio.write(&format!("{tag}-{}.mp4", size.1), size, &frames, &options);
        let film = studio.probe(&path);
        assert_eq!((film.width, film.height), size);
        assert_eq!((film.matrix.as_deref(), film.range.as_deref()), (Some(tag), Some("tv")));
        assert!(film.primaries.is_some() && film.transfer.is_some());
        let decibel = psnr(&frames[0], &studio.read(&path, &ReadOptions::default())[0]);
        assert!(decibel > 42.0, "{size:?} {matrix:?}: {decibel:.1} dB");
        // The measure is fine enough to see a slip.
        let other = if film.matrix.as_deref() == Some("bt709") { "smpte170m" } else { "bt709" };
        let slipped = Probe { matrix: Some(other.into()), ..film };
        let slip =
            Reader::open(&studio.ffmpeg, &slipped, &ReadOptions::default()).unwrap().next().unwrap().unwrap();
        let slip = psnr(&frames[0], slip.data());
        assert!(slip < 38.0, "{size:?} {matrix:?}: {slip:.1} dB with {other}");
    }
}

#[test]
fn untagged_films_are_taken_by_their_height() {
    let Some(studio) = Studio::open() else { return };
    for (size, scale) in [((128, 96), "smpte170m"), ((128, 640), "bt709")] {
        let frame = natural(size.0, size.1, 0.3);
        let raw = studio.path("frame.rgb");
        std::fs::write(&raw, &frame).unwrap();
        let arguments = format!(
            "-f rawvideo -pix_fmt rgb24 -s {}x{} -i frame.rgb -vf scale=out_color_matrix={scale},format=yuv444p -c:v ffv1",
            size.0, size.1
        );
        let path = studio.make("untagged.avi", &arguments);
        assert_eq!(studio.probe(&path).matrix, None);
        let decibel = psnr(&frame, &studio.read(&path, &ReadOptions::default())[0]);
        assert!(decibel > 42.0, "{size:?}: {decibel:.1} dB");
    }
}

#[test]
fn full_range_is_seen() {
    let Some(studio) = Studio::open() else { return };
    let frame = natural(128, 96, 0.3);
    std::fs::write(studio.path("frame.rgb"), &frame).unwrap();
    let path = studio.make(
        "full.mkv",
        "-f rawvideo -pix_fmt rgb24 -s 128x96 -i frame.rgb -vf scale=out_range=pc,format=yuvj420p -c:v libx264 -crf 1",
    );
    assert_eq!(studio.probe(&path).range.as_deref(), Some("pc"));
    let decibel = psnr(&frame, &studio.read(&path, &ReadOptions::default())[0]);
    assert!(decibel > 42.0, "{decibel:.1} dB");
}
