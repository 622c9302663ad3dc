//! What is no film, programs that are missing, and programs that fail.

use super::{Studio, TEST, fast, natural};
use ocelli_data::video::{Codec, Ffmpeg, Quality, ReadOptions, Reader, probe};
use std::ffi::OsString;

#[test]
fn what_is_no_film_is_named() {
    let Some(studio) = Studio::open() else { return };
    let write = |name: &str, bytes: &[u8]| std::fs::write(studio.path(name), bytes).unwrap();
    write("text.txt", &b"Not a film at all.\n".repeat(100));
    write("text.mp4", &b"Not a film at all.\n".repeat(100));
    write(
        "noise.mkv",
        &(0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>(),
    );
    write("empty.mp4", b"");
    studio.make("picture.png", "-f lavfi -i testsrc2=s=96x64 -frames:v 1");
    studio.make("sound.m4a", "-f lavfi -i sine=d=1 -c:a aac");
    studio.make(
        "cover.mp3",
        "-f lavfi -i sine=d=1 -i picture.png -map 0 -map 1 -c:v copy -disposition:v attached_pic",
    );
    std::fs::create_dir(studio.path("folder.mp4")).unwrap();
    for (name, found) in [
        ("text.txt", "a video"),
        ("text.mp4", "a video"),
        ("noise.mkv", "a video"),
        ("empty.mp4", "an empty file"),
        ("picture.png", "a still picture"),
        ("sound.m4a", "expected a video stream, found none"),
        ("cover.mp3", "expected a video stream, found none"),
        ("folder.mp4", "a folder"),
        ("missing.mp4", "cannot open"),
    ] {
        let e = probe(&studio.ffmpeg, &studio.path(name)).unwrap_err().to_string();
        assert!(e.contains(found) && e.contains(name), "{name}: {e}");
    }
}

#[test]
fn films_cut_short_are_no_films() {
    let Some(studio) = Studio::open() else { return };
    let mp4 = studio.make("whole.mp4", &format!("{TEST} -c:v libx264 -g 10"));
    let front = studio.make("front.mp4", "-i whole.mp4 -c copy -movflags +faststart");
    let mkv = studio.make("whole.mkv", "-i whole.mp4 -c copy");
    for (path, found) in [(mp4, "cut short"), (front, "a whole file"), (mkv, "a whole file")] {
        let whole = studio.probe(&path);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let e = probe(&studio.ffmpeg, &path).unwrap_err().to_string();
        assert!(e.contains(found), "{path:?}: {e}");
        // As one that is cut after it was probed.
        let frames: Vec<_> = Reader::open(&studio.ffmpeg, &whole, &ReadOptions::default()).unwrap().collect();
        let e = frames.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(e.contains("whole") || e.contains("front"), "{e}");
        assert!(frames.len() < 50 && frames[..frames.len() - 1].iter().all(Result::is_ok));
    }
}

#[test]
fn films_that_begin_in_the_middle_are_read_from_the_first_whole_frame() {
    let Some(studio) = Studio::open() else { return };
    let long = "-f lavfi -i testsrc2=s=96x64:r=25:d=5";
    let open = "open-gop=1:keyint=30:bframes=4:repeat-headers=1";
    for (name, codec) in [
        ("h264.ts", format!("-c:v libx264 -x264-params {open}")),
        ("h265.ts", format!("-c:v libx265 -x265-params {open}:log-level=error")),
        ("mpeg2.ts", "-c:v mpeg2video -g 15 -bf 2".to_string()),
    ] {
        let path = studio.make(name, &format!("{long} {codec}"));
        let bytes = std::fs::read(&path).unwrap();
        // Transport packets are of 188 bytes.
        std::fs::write(&path, &bytes[bytes.len() / 188 / 3 * 188..]).unwrap();
        let film = studio.probe(&path);
        let frames = studio.read(&path, &ReadOptions::default());
        assert!(frames.len() > 60 && frames.len() < 110, "{name}: {}", frames.len());
        assert_eq!(frames.len() as u64, film.frames, "{name}");
        let options = ReadOptions { start: Some(film.times[40]), frames: Some(2), ..Default::default() };
        assert!(studio.read(&path, &options) == frames[40..42], "{name}");
    }
}

#[test]
fn ten_bits_and_odd_names_are_read() {
    let Some(studio) = Studio::open() else { return };
    let deep = studio.make("deep.mkv", &format!("{TEST} -pix_fmt yuv420p10le -c:v ffv1"));
    let film = studio.probe(&deep);
    assert_eq!((film.bits, film.pixel_format.as_str()), (10, "yuv420p10le"));
    assert_eq!(studio.read(&deep, &ReadOptions::default()).len(), 50);
    // ffmpeg would take these for a protocol, a pattern and an option.
    for name in ["http:film.mkv", "film %03d 'a' [x], é.mkv", "-i.mkv"] {
        let path = studio.path(name);
        std::fs::copy(&deep, &path).unwrap();
        assert_eq!(studio.read(&path, &ReadOptions::default()).len(), 50, "{name}");
        let frames = [natural(96, 64, 0.0)];
        let again = format!("{name}.new.mkv");
        let path = studio.write(&again, (96, 64), &frames, &fast(Codec::Ffv1, Quality::Lossless));
        assert_eq!(studio.probe(&path).frames, 1, "{name}");
    }
}

#[test]
fn missing_programs_are_named_with_what_to_do() {
    let lookup = |pairs: &[(&str, OsString)], name: &str| {
        pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    };
    let folder = tempfile::tempdir().unwrap();
    let program = |name: &str| {
        let path = folder.path().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        std::fs::write(&path, "").unwrap();
        path
    };
    let path = ("PATH", folder.path().as_os_str().to_owned());
    let e = Ffmpeg::find_with(|name| lookup(std::slice::from_ref(&path), name)).unwrap_err().to_string();
    for words in
        ["ffmpeg", "apt install", "dnf install", "brew install", "winget", "OCELLI_FFMPEG", "OCELLI_FFPROBE"]
    {
        assert!(e.contains(words), "{words}: {e}");
    }
    let ffmpeg = program("ffmpeg");
    let e = Ffmpeg::find_with(|name| lookup(std::slice::from_ref(&path), name)).unwrap_err().to_string();
    assert!(e.starts_with("ffprobe: "), "{e}");
    program("ffprobe");
    let found = Ffmpeg::find_with(|name| lookup(std::slice::from_ref(&path), name)).unwrap();
    assert_eq!(found.command().get_program(), ffmpeg.as_os_str());
    // The variables come first, and are not passed over where they are wrong.
    let other = program("other");
    let pairs = [path.clone(), ("OCELLI_FFMPEG", other.clone().into_os_string())];
    assert_eq!(
        Ffmpeg::find_with(|name| lookup(&pairs, name)).unwrap().command().get_program(),
        other.as_os_str()
    );
    let pairs = [path.clone(), ("OCELLI_FFPROBE", "/nowhere/ffprobe".into())];
    let e = Ffmpeg::find_with(|name| lookup(&pairs, name)).unwrap_err().to_string();
    assert!(e.contains("OCELLI_FFPROBE") && e.contains("/nowhere/ffprobe"), "{e}");
    let pairs = [path, ("OCELLI_FFMPEG", OsString::new())];
    assert!(Ffmpeg::find_with(|name| lookup(&pairs, name)).is_ok());

    let none = Ffmpeg::at("/nowhere/ffmpeg", "/nowhere/ffprobe");
    assert!(none.version().is_none() && !none.has_encoder("libx264") && !none.has_filter("scale"));
    let e = probe(&none, &ffmpeg).unwrap_err().to_string();
    // The empty file is told first; a program is needed only for one with something in it.
    assert!(e.contains("an empty file"), "{e}");
    std::fs::write(&ffmpeg, "x").unwrap();
    let e = probe(&none, &ffmpeg).unwrap_err().to_string();
    assert!(e.contains("/nowhere/ffprobe") && e.contains("apt install"), "{e}");
    let e = Reader::from_bytes(&none, "part", vec![ffmpeg], 2, 2, None).unwrap_err().to_string();
    assert!(e.contains("/nowhere/ffmpeg") && e.contains("apt install"), "{e}");
}

#[test]
fn a_failing_command_gives_its_last_words() {
    let Some(studio) = Studio::open() else { return };
    let mut command = studio.ffmpeg.command();
    command.args(["-i", "nowhere.mp4", "-f", "null", "-"]);
    let e = studio.ffmpeg.run(&mut command, "measuring").unwrap_err().to_string();
    assert!(e.contains("measuring") && e.contains("nowhere.mp4: No such file"), "{e}");
    assert!(studio.ffmpeg.has_encoder("ffv1") && studio.ffmpeg.has_filter("scale"));
    assert!(!studio.ffmpeg.has_encoder("scale") && !studio.ffmpeg.has_filter("ffv1"));
    assert!(studio.ffmpeg.version().unwrap().contains(|c: char| c.is_ascii_digit()));
}

/// Programs that only look like ffmpeg.
#[cfg(target_os = "linux")]
mod pretenders {
    use super::*;
    use ocelli_data::video::{Destination, WriteOptions, Writer};
    use std::path::Path;

    fn pretender(folder: &Path, script: &str) -> Ffmpeg {
        let path = folder.join("ffmpeg");
        let script =
            format!("#!/bin/sh\n[ \"$5\" = -version ] && exit 1\ncd {}\n{script}\n", folder.display());
        // Written by another process: a file that a test running beside this one inherited open cannot be started.
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "printf %s \"$1\" > \"$2\" && chmod +x \"$2\"", "sh", &script]).arg(&path);
        assert!(shell.status().unwrap().success());
        Ffmpeg::at(path, "/nowhere/ffprobe")
    }

    fn reader(ffmpeg: &Ffmpeg, folder: &Path) -> Reader {
        let part = folder.join("part");
        // More than a pipe holds.
        std::fs::write(&part, vec![0; 1 << 20]).unwrap();
        Reader::from_bytes(ffmpeg, "part", vec![part], 16, 16, None).unwrap()
    }

    fn write(ffmpeg: &Ffmpeg, folder: &Path) -> ocelli_data::Result<()> {
        let path = folder.join("film.mp4");
        let options = WriteOptions::default();
        let mut writer = Writer::create(ffmpeg, Destination::File(&path), 64, 64, &options)?;
        let frame = natural(64, 64, 0.0);
        (0..100).try_for_each(|_| writer.write(&frame))?;
        writer.finish()
    }

    fn is_running(folder: &Path) -> bool {
        let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
        Path::new("/proc").join(pid.trim()).exists()
    }

    #[test]
    fn no_process_outlives_its_handle() {
        let folder = tempfile::tempdir().unwrap();
        let ffmpeg = pretender(folder.path(), "echo $$ > pid; exec cat /dev/zero");
        let mut reader = reader(&ffmpeg, folder.path());
        let mut frame = Vec::new();
        assert!(reader.read_into(&mut frame).unwrap());
        assert!(is_running(folder.path()));
        drop(reader);
        assert!(!is_running(folder.path()));

        let ffmpeg = pretender(folder.path(), "echo $$ > pid; echo half > .film.half.mp4; exec cat > sink");
        let path = folder.path().join("film.mp4");
        let options = WriteOptions::default();
        let mut writer = Writer::create(&ffmpeg, Destination::File(&path), 64, 64, &options).unwrap();
        // More than the pipe holds, so that it has begun to read.
        (0..20).for_each(|_| writer.write(&natural(64, 64, 0.0)).unwrap());
        assert!(is_running(folder.path()));
        drop(writer);
        assert!(!is_running(folder.path()));
    }

    #[test]
    fn many_complaints_block_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let complain =
            "head -c 3000000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; echo '[h264 @ 0x1f] the last words' >&2";
        let ffmpeg = pretender(folder.path(), &format!("{complain}; head -c 1536 /dev/zero"));
        assert_eq!(reader(&ffmpeg, folder.path()).filter(Result::is_ok).count(), 2);
        let ffmpeg = pretender(folder.path(), &format!("head -c 1000 /dev/zero; {complain}"));
        let frames: Vec<_> = reader(&ffmpeg, folder.path()).collect();
        let e = frames.last().unwrap().as_ref().unwrap_err().to_string();
        assert!(frames.len() == 2 && e.contains("frames of 768 bytes") && e.contains("232 bytes"), "{e}");
        assert!(e.ends_with("the last words") && e.len() < 6000, "{e}");
        let ffmpeg = pretender(folder.path(), &format!("head -c 768 /dev/zero; {complain}; exit 3"));
        let e = reader(&ffmpeg, folder.path()).last().unwrap().unwrap_err().to_string();
        assert!(e.contains("the last words") && e.contains('3'), "{e}");
        let ffmpeg = pretender(folder.path(), &format!("{complain}; exit 3"));
        let e = write(&ffmpeg, folder.path()).unwrap_err().to_string();
        assert!(e.contains("the last words") && e.contains("film.mp4"), "{e}");
    }

    #[test]
    fn a_full_disk_is_an_error_even_where_ffmpeg_ends_well() {
        let folder = tempfile::tempdir().unwrap();
        let ffmpeg = pretender(
            folder.path(),
            "cat > sink; echo frame=100; echo 'Error writing trailer of film.mp4: No space left on device' >&2",
        );
        let e = write(&ffmpeg, folder.path()).unwrap_err().to_string();
        assert!(e.contains("No space left"), "{e}");
        let ffmpeg = pretender(folder.path(), "cat > sink; echo frame=60; echo frame=98");
        let e = write(&ffmpeg, folder.path()).unwrap_err().to_string();
        assert!(e.contains("100 frames written") && e.contains("98"), "{e}");
        assert!(!folder.path().join("film.mp4").exists());
    }
}
