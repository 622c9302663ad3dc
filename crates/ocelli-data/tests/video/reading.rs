//! Every frame, the right size, from anywhere.

use super::{Studio, TEST, fast, natural, psnr};
use ocelli_data::video::{Codec, Quality, Rate, ReadOptions, Reader, WriteOptions};

#[test]
fn a_constant_rate_survives_with_every_frame() {
    let Some(studio) = Studio::open() else { return };
    let source =
        studio.make("in.mp4", "-f lavfi -i testsrc2=s=96x64:r=30000/1001:d=3 -c:v libx264 -bf 3 -g 20");
    let film = studio.probe(&source);
    assert_eq!((film.width, film.height, film.frames, film.rotation), (96, 64, 90, 0));
    assert_eq!(film.rate, Rate { numerator: 30000, denominator: 1001 });
    assert_eq!(film.rate.to_string(), "30000/1001");
    assert!(!film.variable_rate && film.audio.is_none() && film.bits == 8);
    assert_eq!((film.codec.as_str(), film.pixel_format.as_str()), ("h264", "yuv420p"));
    assert_eq!(film.times.len(), 90);
    assert!(film.times.iter().enumerate().all(|(i, t)| (t - i as f64 * 1001.0 / 30000.0).abs() < 1e-5));
    assert!((film.duration - 3.003).abs() < 1e-3, "{}", film.duration);

    let frames = studio.read(&source, &ReadOptions::default());
    assert_eq!(frames.len(), 90);
    for (name, codec) in [("out.mp4", Codec::H264), ("out.mkv", Codec::H265), ("out.mov", Codec::H264)] {
        let options = WriteOptions { rate: film.rate, ..fast(codec, Quality::Crf(10)) };
        let again = studio.probe(&studio.write(name, (96, 64), &frames, &options));
        assert_eq!((again.frames, again.rate, again.variable_rate), (90, film.rate, false), "{name}");
        assert_eq!(
            (again.matrix.as_deref(), again.range.as_deref()),
            (Some("smpte170m"), Some("tv")),
            "{name}"
        );
    }
}

#[test]
fn a_rotated_film_is_read_as_shown() {
    let Some(studio) = Studio::open() else { return };
    let plain = studio.make("plain.mp4", &format!("{TEST} -c:v libx264"));
    // Newer programs have an option for it, older ones a tag.
    let turned =
        ["-display_rotation 90 -i plain.mp4 -c copy", "-i plain.mp4 -c copy -metadata:s:v rotate=90"]
            .iter()
            .find_map(|arguments| {
                let path = studio.path("turned.mp4");
                let mut command = studio.ffmpeg.command();
                command
                    .current_dir(studio.folder.path())
                    .args(arguments.split_whitespace())
                    .arg("-y")
                    .arg(&path);
                studio.ffmpeg.run(&mut command, "turned").ok().map(|_| path)
            })
            .unwrap();
    let film = studio.probe(&turned);
    assert_eq!((film.width, film.height, film.stored_height), (64, 96, 64));
    assert_eq!(film.rotation.abs(), 90);
    let upright = studio.read(&plain, &ReadOptions::default());
    let frames = studio.read(&turned, &ReadOptions::default());
    assert_eq!(frames.len(), 50);
    // A quarter turn, one way or the other.
    let turn = |clockwise: bool| -> Vec<u8> {
        let at = |x: usize, y: usize| if clockwise { (y, 63 - x) } else { (95 - y, x) };
        let pixels = (0..96).flat_map(|y| (0..64).map(move |x| at(x, y)));
        pixels.flat_map(|(x, y)| upright[9][(y * 96 + x) * 3..][..3].to_vec()).collect()
    };
    let (one, other) = (psnr(&frames[9], &turn(true)), psnr(&frames[9], &turn(false)));
    // Chroma lies between other pixels once it is turned.
    assert!(one.max(other) > 22.0 && one.min(other) < 16.0, "{one:.1} dB, {other:.1} dB");
}

#[test]
fn frames_are_scaled() {
    let Some(studio) = Studio::open() else { return };
    let frames = vec![natural(128, 96, 0.0); 2];
    let path = studio.write("in.mkv", (128, 96), &frames, &fast(Codec::Ffv1, Quality::Lossless));
    let options = ReadOptions { size: Some((33, 47)), ..Default::default() };
    let mut reader = Reader::open(&studio.ffmpeg, &studio.probe(&path), &options).unwrap();
    assert_eq!((reader.width(), reader.height()), (33, 47));
    let frame = reader.next().unwrap().unwrap();
    assert_eq!((frame.width(), frame.height()), (33, 47));
    let picture = ocelli_data::RgbImage::from_vec(128, 96, frames[0].clone()).unwrap();
    let ours = ocelli_data::resize(&picture, 33, 47, ocelli_data::Interpolation::Bicubic).unwrap();
    let decibel = psnr(frame.data(), ours.data());
    assert!(decibel > 40.0, "{decibel:.1} dB");
}

#[test]
fn reading_starts_at_any_frame() {
    let Some(studio) = Studio::open() else { return };
    let open = "-x264-params open-gop=1:keyint=12:bframes=3";
    let mp4 = studio.make("open.mp4", &format!("{TEST} -c:v libx264 {open}"));
    let ts = studio.make("open.ts", "-i open.mp4 -c copy");
    let mkv = studio.make("open.mkv", "-i open.mp4 -c copy");
    let raw = studio.make("open.h264", "-i open.mp4 -c copy");
    // An edit list: two seconds are shown, more are stored.
    let cut = studio.make("cut.mp4", "-ss 0.7 -i open.mp4 -c copy");
    for path in [mp4, ts, mkv, raw, cut] {
        let film = studio.probe(&path);
        let all = studio.read(&path, &ReadOptions::default());
        assert_eq!(all.len() as u64, film.frames, "{path:?}");
        for (first, late) in [(1, 0.4), (11, -0.4), (12, 0.0), (13, 0.4), (26, -0.4), (all.len() - 1, 0.0)] {
            let options =
                ReadOptions { start: Some(film.times[first] + late / 25.0), frames: Some(2), size: None };
            let frames: Vec<_> = Reader::open(&studio.ffmpeg, &film, &options)
                .unwrap()
                .map(|frame| frame.unwrap().into_vec())
                .collect();
            assert!(frames == all[first..(first + 2).min(all.len())], "{path:?}: frame {first}, {late}");
        }
    }
    let film = studio.probe(&studio.path("open.mp4"));
    let after = ReadOptions { start: Some(2.5), ..Default::default() };
    let e = Reader::open(&studio.ffmpeg, &film, &after).unwrap_err().to_string();
    assert!(e.contains("start") && e.contains("2.000 s"), "{e}");
    let none = ReadOptions { frames: Some(0), ..Default::default() };
    assert_eq!(Reader::open(&studio.ffmpeg, &film, &none).unwrap().count(), 0);
}

#[test]
fn pixels_that_are_not_square_stay_so() {
    let Some(studio) = Studio::open() else { return };
    let source = studio.make("pal.mp4", &format!("{TEST} -vf setsar=16/11 -c:v libx264"));
    let film = studio.probe(&source);
    assert_eq!((film.width, film.height, film.pixel_aspect), (96, 64, Some((16, 11))));
    let frames = studio.read(&source, &ReadOptions::default());
    for (name, codec) in [("out.mp4", Codec::H264), ("out.mkv", Codec::Ffv1)] {
        let options = WriteOptions { codec, preset: "ultrafast".into(), ..WriteOptions::like(&film) };
        assert_eq!(
            studio.probe(&studio.write(name, (96, 64), &frames, &options)).pixel_aspect,
            Some((16, 11))
        );
    }
}
