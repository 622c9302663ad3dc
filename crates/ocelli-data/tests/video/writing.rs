//! Films with their own times, with audio, and films that never came to be.

use super::{Studio, TEST, fast, natural};
use ocelli_data::video::{
    Codec, Destination, Quality, Rate, ReadOptions, Reader, WriteOptions, Writer, packets,
};
use std::path::Path;

#[test]
fn times_survive_writing_and_reading() {
    let Some(studio) = Studio::open() else { return };
    // Times as a telephone's: 25 a second, then 10, then jittered; in a container that keeps them finely.
    let source = studio.make(
        "in.mp4",
        "-f lavfi -i testsrc2=s=96x64:r=25:d=2 -vf settb=1/90000,setpts=if(lt(N\\,20)\\,N*3600\\,72000+(N-20)*9000+mod(N*1237\\,800)) \
         -fps_mode passthrough -enc_time_base 1:90000 -video_track_timescale 90000 -c:v libx264 -bf 2",
    );
    let film = studio.probe(&source);
    assert_eq!((film.frames, film.variable_rate), (50, true));
    assert!((film.times[20] - 0.8).abs() < 0.01 && (film.times[40] - 2.8).abs() < 0.01, "{:?}", film.times);
    let frames = studio.read(&source, &ReadOptions::default());
    assert_eq!(frames.len(), 50);
    for (name, codec) in [
        ("out.mp4", Codec::H264),
        ("out.mkv", Codec::H264),
        ("out.mov", Codec::H265),
        ("ffv1.mkv", Codec::Ffv1),
    ] {
        let options = WriteOptions { codec, preset: "ultrafast".into(), ..WriteOptions::like(&film) };
        assert!(options.times.is_some());
        let again = studio.probe(&studio.write(name, (96, 64), &frames, &options));
        assert_eq!((again.frames, again.variable_rate), (50, true), "{name}");
        for (i, (old, new)) in film.times.iter().zip(&again.times).enumerate() {
            assert!((old - new).abs() <= 0.001, "{name}: frame {i} at {old}, written at {new}");
        }
    }
    // Odd sizes through the same stream, to the bit, and times that begin late and repeat.
    let frames: Vec<_> = (0..4).map(|i| natural(91, 53, f64::from(i))).collect();
    let times = Some(vec![10.0, 10.0, 10.5, 12.0]);
    let options = WriteOptions { times, ..fast(Codec::Ffv1, Quality::Lossless) };
    let path = studio.write("odd.mkv", (91, 53), &frames, &options);
    assert!(studio.read(&path, &ReadOptions::default()) == frames);
    assert_eq!(studio.probe(&path).times, [0.0, 0.001, 0.5, 2.0]);
}

#[test]
fn packets_are_listed() {
    let Some(studio) = Studio::open() else { return };
    let source = studio.make("in.mp4", &format!("{TEST} -c:v libx264 -g 10 -bf 2"));
    let list = packets(&studio.ffmpeg, &source).unwrap();
    assert_eq!(list.len(), 50);
    assert_eq!(list.iter().filter(|packet| packet.key).count(), 5);
    assert_eq!(list.iter().map(|packet| packet.bytes).sum::<u64>(), studio.probe(&source).video_bytes);
    assert!(list.iter().all(|packet| packet.shown && (0.0..2.0).contains(&packet.time)));
    assert!(list.windows(2).any(|pair| pair[1].time < pair[0].time), "they are in decoding order");
}

#[test]
fn audio_is_kept() {
    let Some(studio) = Studio::open() else { return };
    let sound = "-f lavfi -i sine=f=440:r=48000:d=2";
    let aac = studio.make("aac.mp4", &format!("{TEST} {sound} -c:v libx264 -c:a aac"));
    let vorbis = studio.make("vorbis.mkv", &format!("{TEST} {sound} -c:v libx264 -c:a libvorbis -ac 2"));
    let pcm = studio.make("pcm.wav", sound);
    let late =
        studio.make("late.mkv", "-itsoffset 0.5 -i aac.mp4 -i pcm.wav -map 0:v -map 1:a -c:v copy -c:a flac");
    let frames = vec![natural(96, 64, 0.0); 50];
    for (from, name, codec) in [
        (&aac, "copied.mp4", "aac"),
        (&aac, "copied.mkv", "aac"),
        (&vorbis, "coded.mp4", "aac"),
        (&vorbis, "copied2.mkv", "vorbis"),
        (&pcm, "sound.mov", "pcm_s16le"),
        (&pcm, "sound.mp4", "aac"),
        (&late, "late.mp4", "aac"),
        (&late, "sound.mkv", "flac"),
    ] {
        let options = WriteOptions { audio_from: Some(from.clone()), ..fast(Codec::H264, Quality::Crf(30)) };
        let film = studio.probe(&studio.write(name, (96, 64), &frames, &options));
        assert_eq!(film.frames, 50, "{name}");
        assert_eq!(film.start, 0.0, "{name}");
        let audio = film.audio.unwrap();
        let rate = if from == &pcm || from == &aac || from == &vorbis { 48000 } else { audio.sample_rate };
        assert_eq!((audio.codec.as_str(), audio.sample_rate), (codec, rate), "{name}");
    }
    // A film without audio gives none, and that is no error.
    let silent = studio.make("silent.mp4", &format!("{TEST} -c:v libx264"));
    let options = WriteOptions { audio_from: Some(silent), ..fast(Codec::H264, Quality::Crf(30)) };
    assert_eq!(studio.probe(&studio.write("still.mp4", (96, 64), &frames, &options)).audio, None);
}

/// The times at which a film's audio begins and ends to be loud, in s from its first frame.
fn loud(studio: &Studio, film: &Path) -> (f64, f64) {
    let mut command = studio.ffmpeg.command();
    // Sound as the player hears it: what is missing before it is silence.
    command.arg("-i").arg(film).args(["-map", "0:a:0", "-af", "aresample=8000:async=1:first_pts=0"]);
    command.args(["-ac", "1", "-f", "s16le", "pipe:1"]);
    let samples = studio.ffmpeg.run(&mut command, "sound").unwrap();
    let is_loud = |pair: &[u8]| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 1000;
    let first = samples.chunks_exact(2).position(is_loud).unwrap();
    let last = samples.chunks_exact(2).rposition(is_loud).unwrap();
    (first as f64 / 8000.0, last as f64 / 8000.0)
}

#[test]
fn audio_stays_where_it_was() {
    let Some(studio) = Studio::open() else { return };
    // Loud from 1.0 to 1.5 s.
    let beep = "-f lavfi -i aevalsrc=0.5*sin(2764*t)*between(t\\,1\\,1.5):s=48000:d=2";
    let plain = studio.make("plain.mkv", &format!("{TEST} {beep} -c:v libx264 -g 10 -c:a flac"));
    // The frames of this one begin 0.4 s after its audio.
    let late = studio.make("late.mkv", "-itsoffset 0.4 -i plain.mkv -i plain.mkv -map 0:v -map 1:a -c copy");
    assert!((studio.probe(&late).start - 0.4).abs() < 0.002);
    let frames = vec![natural(96, 64, 0.0); 50];
    for (from, start, name, expected) in [
        (&plain, 0.0, "a.mkv", 1.0),
        (&plain, 0.6, "b.mkv", 0.4),
        (&plain, 0.6, "b.mp4", 0.4),
        (&late, 0.0, "c.mkv", 0.6),
        (&late, 0.2, "d.mp4", 0.4),
        (&late, 0.2, "e.avi", 0.4),
    ] {
        let options = WriteOptions {
            audio_from: Some(from.clone()),
            audio_start: start,
            ..fast(Codec::H264, Quality::Crf(30))
        };
        let film = studio.write(name, (96, 64), &frames, &options);
        let (first, last) = loud(&studio, &film);
        // Copied audio is cut between packets.
        assert!(
            (first - expected).abs() < 0.06 && (last - expected - 0.5).abs() < 0.06,
            "{name}: {first}, {last}"
        );
        assert_eq!(studio.probe(&film).frames, 50, "{name}");
    }
    let options = WriteOptions {
        audio_from: Some(plain),
        audio_duration: Some(1.2),
        ..fast(Codec::H264, Quality::Crf(30))
    };
    let (first, last) = loud(&studio, &studio.write("short.mkv", (96, 64), &frames, &options));
    assert!((first - 1.0).abs() < 0.06 && (last - 1.2).abs() < 0.12, "{first}, {last}");
}

#[test]
fn bitrates_are_kept() {
    let Some(studio) = Studio::open() else { return };
    let source = studio.make("in.mkv", "-f lavfi -i testsrc2=s=320x240:r=25:d=4 -c:v ffv1");
    let frames = studio.read(&source, &ReadOptions::default());
    let mut sizes = Vec::new();
    for bits_per_second in [150_000, 600_000] {
        let options =
            WriteOptions { preset: "fast".into(), ..fast(Codec::H264, Quality::Bitrate { bits_per_second }) };
        let film =
            studio.probe(&studio.write(&format!("{bits_per_second}.mp4"), (320, 240), &frames, &options));
        let rate = film.video_bytes as f64 * 8.0 / film.duration;
        assert!((0.5..1.6).contains(&(rate / bits_per_second as f64)), "{rate} of {bits_per_second}");
        sizes.push(film.video_bytes);
    }
    assert!(sizes[1] > sizes[0] * 2);
}

#[test]
fn an_unfinished_film_leaves_nothing() {
    let Some(studio) = Studio::open() else { return };
    let path = studio.path("film.mp4");
    let frame = natural(96, 64, 0.0);
    let options = fast(Codec::H264, Quality::Crf(30));
    let create =
        |options: &WriteOptions| Writer::create(&studio.ffmpeg, Destination::File(&path), 96, 64, options);
    let mut writer = create(&options).unwrap();
    for _ in 0..60 {
        writer.write(&frame).unwrap();
    }
    drop(writer);
    assert_eq!(std::fs::read_dir(studio.folder.path()).unwrap().count(), 0);
    let e = create(&options).unwrap().finish().unwrap_err().to_string();
    assert!(e.contains("at least one frame"), "{e}");
    assert_eq!(std::fs::read_dir(studio.folder.path()).unwrap().count(), 0);

    std::fs::write(&path, "precious").unwrap();
    let e = create(&options).unwrap_err().to_string();
    assert!(e.contains("film.mp4") && e.contains("overwrite"), "{e}");
    let replace = WriteOptions { overwrite: true, ..options };
    let mut writer = create(&replace).unwrap();
    writer.write(&frame).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    writer.finish().unwrap();
    assert_eq!(studio.probe(&path).frames, 1);
}

#[test]
fn options_out_of_bounds_are_named() {
    let Some(studio) = Studio::open() else { return };
    let good = fast(Codec::H264, Quality::Crf(30));
    let with = |change: &dyn Fn(&mut WriteOptions)| {
        let mut options = good.clone();
        change(&mut options);
        options
    };
    for (field, options) in [
        ("crf", with(&|o| o.quality = Quality::Crf(52))),
        ("bits_per_second", with(&|o| o.quality = Quality::Bitrate { bits_per_second: 0 })),
        ("preset", with(&|o| o.preset = "glacial".into())),
        ("rate", with(&|o| o.rate = Rate { numerator: 25, denominator: 0 })),
        ("times", with(&|o| o.times = Some(vec![0.0, 2.0, 1.0]))),
        ("times", with(&|o| o.times = Some(vec![0.0, f64::NAN]))),
        ("audio_start", with(&|o| o.audio_start = -1.0)),
        ("audio_duration", with(&|o| o.audio_duration = Some(f64::INFINITY))),
        ("transfer", with(&|o| o.transfer = Some("bt709,movie=x".into()))),
        ("nowhere.wav", with(&|o| o.audio_from = Some("nowhere.wav".into()))),
    ] {
        let to = studio.path("film.mp4");
        let e =
            Writer::create(&studio.ffmpeg, Destination::File(&to), 96, 64, &options).unwrap_err().to_string();
        assert!(e.contains(field), "{field}: {e}");
    }
    let to = |name: &str, size: (usize, usize)| {
        let path = studio.path(name);
        Writer::create(&studio.ffmpeg, Destination::File(&path), size.0, size.1, &good)
    };
    assert!(to("film", (96, 64)).unwrap_err().to_string().contains("extension"));
    assert!(to("film.mp4", (0, 64)).unwrap_err().to_string().contains("0x64"));
    assert!(to("film.mp4", (96, 20_000)).unwrap_err().to_string().contains("16384"));
    let mut writer = to("film.mp4", (96, 64)).unwrap();
    let e = writer.write(&[0; 5]).unwrap_err().to_string();
    assert!(e.contains("18432 bytes") && e.contains("5 bytes"), "{e}");
    let options = with(&|o| o.times = Some(vec![0.0]));
    let path = studio.path("timed.mp4");
    let mut writer = Writer::create(&studio.ffmpeg, Destination::File(&path), 96, 64, &options).unwrap();
    let frame = natural(96, 64, 0.0);
    writer.write(&frame).unwrap();
    assert!(writer.write(&frame).unwrap_err().to_string().contains("as many as times"));
}

#[test]
fn an_encoder_that_ends_is_an_error_with_its_words() {
    let Some(studio) = Studio::open() else { return };
    let frame = natural(640, 480, 0.0);
    // Each fails only once the first frame is there.
    for (name, options, words) in [
        ("film.mp4", fast(Codec::RawRgb, Quality::Lossless), "codec not currently supported"),
        (
            "film.mp4",
            WriteOptions {
                matrix: None,
                primaries: Some("nonsense".into()),
                ..fast(Codec::H264, Quality::Crf(20))
            },
            "nonsense",
        ),
        ("film.zzz", fast(Codec::H264, Quality::Crf(20)), "output format"),
        ("no/such/folder/film.mp4", fast(Codec::H264, Quality::Crf(20)), "No such file"),
    ] {
        let path = studio.path(name);
        let result = Writer::create(&studio.ffmpeg, Destination::File(&path), 640, 480, &options).and_then(
            |mut writer| {
                (0..20).try_for_each(|_| writer.write(&frame))?;
                writer.finish()
            },
        );
        let e = result.unwrap_err().to_string();
        assert!(e.contains(words) && e.contains(name), "{name}: {e}");
        assert_eq!(studio.hidden(), 0, "{name}");
    }
}

#[test]
fn a_player_is_fed_through_stdout() {
    // Ours is the harness's, so only the beginning is tried: nothing is written before the first frame.
    let Some(studio) = Studio::open() else { return };
    let options = fast(Codec::H264, Quality::Crf(30));
    let writer = Writer::create(&studio.ffmpeg, Destination::Stdout, 96, 64, &options).unwrap();
    assert!(writer.finish().unwrap_err().to_string().contains("stdout"));
}

#[test]
fn parts_are_read_as_one_film() {
    let Some(studio) = Studio::open() else { return };
    let whole = studio.make(
        "whole.mp4",
        &format!("{TEST} -c:v libx264 -g 10 -movflags +frag_keyframe+empty_moov+default_base_moof"),
    );
    let bytes = std::fs::read(&whole).unwrap();
    let at: Vec<usize> = (0..bytes.len() - 4).filter(|i| bytes[i + 4..].starts_with(b"moof")).collect();
    assert_eq!(at.len(), 5);
    let parts: Vec<_> = [0..at[0], at[0]..at[2], at[2]..bytes.len()]
        .into_iter()
        .enumerate()
        .map(|(i, range)| {
            let part = studio.path(&format!("part{i}"));
            std::fs::write(&part, &bytes[range]).unwrap();
            part
        })
        .collect();
    let read = |parts: &[std::path::PathBuf]| {
        let reader = Reader::from_bytes(&studio.ffmpeg, "segments", parts.to_vec(), 96, 64, None);
        reader.unwrap().map(|frame| frame.unwrap().into_vec()).collect::<Vec<_>>()
    };
    let all = studio.read(&whole, &ReadOptions::default());
    assert!(read(&parts) == all);
    // From a later segment on.
    assert!(read(&[parts[0].clone(), parts[2].clone()]) == all[20..]);
    let e =
        Reader::from_bytes(&studio.ffmpeg, "segments", vec![studio.path("gone")], 96, 64, None).unwrap_err();
    assert!(e.to_string().contains("gone"), "{e}");
    // The initialisation alone has no frame, and one that is no film fails.
    let junk = studio.path("junk");
    std::fs::write(&junk, vec![7; 100_000]).unwrap();
    let mut reader = Reader::from_bytes(&studio.ffmpeg, "segments", vec![junk], 96, 64, None).unwrap();
    let e = reader.next().unwrap().unwrap_err().to_string();
    assert!(e.contains("segments"), "{e}");
    assert!(reader.next().is_none());
}
