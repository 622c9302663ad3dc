//! Films, made by ffmpeg's own test sources, to frames and back.

mod colours;
mod faults;
mod reading;
mod writing;

use ocelli_data::video::{
    Codec, Destination, Ffmpeg, Probe, Quality, ReadOptions, Reader, WriteOptions, Writer, probe,
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The programs, or `None` (said once a test) where they are not installed.
fn ffmpeg() -> Option<Ffmpeg> {
    match Ffmpeg::find() {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(e) if std::env::var_os("OCELLI_REQUIRE_FFMPEG").is_some() => panic!("{e}"),
        Err(e) => {
            println!("skipped: {e}");
            None
        }
    }
}

/// A folder of films.
struct Studio {
    ffmpeg: Ffmpeg,
    folder: TempDir,
}

impl Studio {
    fn open() -> Option<Self> {
        Some(Self { ffmpeg: ffmpeg()?, folder: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs ffmpeg with these arguments, split at spaces, into the file `name`.
    fn make(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        let mut command = self.ffmpeg.command();
        command.current_dir(self.folder.path()).args(arguments.split_whitespace()).arg("-y").arg(&path);
        self.ffmpeg.run(&mut command, name).unwrap();
        path
    }

    fn probe(&self, path: &Path) -> Probe {
        probe(&self.ffmpeg, path).unwrap()
    }

    fn read(&self, path: &Path, options: &ReadOptions) -> Vec<Vec<u8>> {
        Reader::open(&self.ffmpeg, &self.probe(path), options)
            .unwrap()
            .map(|frame| frame.unwrap().into_vec())
            .collect()
    }

    fn write(
        &self,
        name: &str,
        (width, height): (usize, usize),
        frames: &[Vec<u8>],
        options: &WriteOptions,
    ) -> PathBuf {
        let path = self.path(name);
        let mut writer =
            Writer::create(&self.ffmpeg, Destination::File(&path), width, height, options).unwrap();
        frames.iter().for_each(|frame| writer.write(frame).unwrap());
        assert_eq!(writer.frames(), frames.len() as u64);
        assert!(!path.exists(), "a half film under its name");
        writer.finish().unwrap();
        assert_eq!(self.hidden(), 0);
        path
    }

    /// The number of temporary files.
    fn hidden(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).count()
    }
}

const TEST: &str = "-f lavfi -i testsrc2=s=96x64:r=25:d=2";

/// In dB; of equal frames 100.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let error: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    if error == 0.0 { 100.0 } else { 10.0 * (255.0 * 255.0 * a.len() as f64 / error).log10() }
}

fn fast(codec: Codec, quality: Quality) -> WriteOptions {
    WriteOptions { codec, quality, preset: "ultrafast".into(), ..Default::default() }
}

/// A smooth coloured frame, as a natural one: 4:2:0 loses little of it.
fn natural(width: usize, height: usize, phase: f64) -> Vec<u8> {
    let mut frame = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f64 / 29.0 + phase, y as f64 / 23.0);
            for v in [x.sin() + (y * 0.7).cos(), (x + y).cos() * 2.0, (y - x * 0.5).sin() * 1.5] {
                frame.push((v * 55.0 + 128.0).round() as u8);
            }
        }
    }
    frame
}
