//! The measurement of packages: against their film, against interpolation, and against what x264 and x265 make of the same bytes.
//!
//! Sizes are those of coded frames (packets) on both sides, plus everything else that the package needs: weights, modulations, manifest.
//! Containers and audio are left out on both sides. All films are compared with the reference on the same frames, as 8-bit RGB.

pub mod account;
pub mod bd;
pub(in crate::deliver) mod codec;
mod csv;
mod curve;
mod measure;
mod page;
mod pictures;
mod types;
mod vmaf;
mod words;

use std::ops::Range;
use std::path::Path;

use ocelli_data::video::{Ffmpeg, Probe, packets, probe};

use super::encode::Stages;
use super::low::LowCodec;
use super::package::Package;
use crate::VideoError;
pub use account::{Bytes, Delay};
pub use measure::Figures;
pub use pictures::Shown;
pub use types::{ChunkReport, CodecCurve, CodecPoint, Delta, Equal, Film, Needs, PackageReport, Report};

/// How packages are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Codecs to compare with.
    pub against: Vec<LowCodec>,
    /// Their preset, as `medium`.
    pub preset: String,
    /// Every how many frames films are compared.
    pub every: usize,
    /// Threads of networks and encoders.
    pub threads: usize,
    /// Whether VMAF is measured, where ffmpeg has it. Packages are then played as a whole once more.
    pub vmaf: bool,
    /// Places that are shown side by side.
    pub pictures: usize,
    /// Whether codecs are measured at other rates too.
    pub curve: bool,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            against: vec![LowCodec::H264, LowCodec::H265],
            preset: "medium".into(),
            every: 5,
            threads: 1,
            vmaf: false,
            pictures: 3,
            curve: true,
        }
    }
}

impl ReportOptions {
    fn check(&self) -> Result<(), VideoError> {
        let wrong = |text: String| Err(VideoError::Config(text));
        if self.every == 0 {
            return wrong("comparing every 0 frames: expected 1 or more".into());
        }
        if self.preset.is_empty() || !self.preset.chars().all(|c| c.is_ascii_lowercase()) {
            return wrong(format!("preset \"{}\": expected a name, as medium or slow", self.preset));
        }
        Ok(())
    }
}

/// Measures `packages`, all made of the film `reference`. Several of them, of different quality, make a curve.
///
/// # Errors
/// If a package is damaged, `reference` is another film, ffmpeg lacks a codec or fails, or options make no sense.
pub fn report(
    ffmpeg: &Ffmpeg,
    packages: &[Package],
    reference: &Path,
    options: &ReportOptions,
    stages: Stages<'_>,
) -> Result<Report, VideoError> {
    options.check()?;
    let scale = packages.iter().map(|package| package.config().scale).max();
    let Some(scale) = scale else { return Err(VideoError::Config("no package to measure".into())) };
    let film = probe(ffmpeg, reference)?;
    packages.iter().try_for_each(|package| same_film(&film, package))?;
    let grid = measure::Grid {
        size: [film.height, film.width],
        scale,
        frames: film.frames,
        every: options.every as u64,
    };
    if film.height.min(film.width) < 2 * grid.cut() + 16 {
        let (width, height) = (film.width, film.height);
        return Err(VideoError::malformed(
            reference,
            format!("frames of {width}x{height}, expected at least {0}x{0} to compare", 2 * grid.cut() + 16),
        ));
    }
    let folder = tempfile::Builder::new()
        .prefix("ocelli-report-")
        .tempdir()
        .map_err(VideoError::io(&std::env::temp_dir()))?;
    let mut job = Job {
        ffmpeg,
        film: &film,
        options,
        grid,
        folder: folder.path(),
        vmaf: None,
        notes: codec::loses(&film).into_iter().collect(),
        pictures: Vec::new(),
    };
    job.find_vmaf();
    let mut measured = Vec::new();
    for package in packages {
        measured.push(job.package(package, stages)?);
    }
    let mut curves: Vec<CodecCurve> = Vec::new();
    for (at, &codec) in options.against.iter().enumerate() {
        if options.against[..at].contains(&codec) {
            continue;
        }
        curves.push(curve::measure(&mut job, codec, packages, &mut measured, stages)?);
    }
    let deltas = if measured.len() > 1 { curve::deltas(&measured, &curves) } else { Vec::new() };
    let Job { notes, pictures, .. } = job;
    let pictures = pictures.into_iter().map(pictures::Place::finish).collect::<Result<_, _>>()?;
    folder.close().map_err(VideoError::io(&std::env::temp_dir()))?;
    Ok(Report {
        film: Film {
            name: name_of(&film.file),
            width: film.width,
            height: film.height,
            frames: film.frames,
            seconds: film.duration,
            codec: film.codec.clone(),
            bytes: film.video_bytes,
        },
        ffmpeg: ffmpeg.version(),
        preset: options.preset.clone(),
        every: options.every,
        cut: grid.cut(),
        packages: measured,
        curves,
        deltas,
        notes,
        pictures,
    })
}

/// Refuses another film than `package` was made of.
fn same_film(film: &Probe, package: &Package) -> Result<(), VideoError> {
    let video = &package.manifest.video;
    let wrong = |found: String, expected: String| {
        let name = package.root.display();
        Err(VideoError::malformed(
            &film.file,
            format!("{found}; {name} was made of a film {expected}, so this is not its reference"),
        ))
    };
    if (film.width, film.height) != (video.width, video.height) {
        return wrong(
            format!("frames of {}x{}", film.width, film.height),
            format!("of {}x{}", video.width, video.height),
        );
    }
    if film.frames != video.frames {
        return wrong(format!("{} frames", film.frames), format!("of {}", video.frames));
    }
    if (film.duration - video.duration).abs() > 0.02 * video.duration {
        return wrong(format!("{:.2} s", film.duration), format!("of {:.2} s", video.duration));
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What all measurements share.
struct Job<'a> {
    ffmpeg: &'a Ffmpeg,
    film: &'a Probe,
    options: &'a ReportOptions,
    grid: measure::Grid,
    folder: &'a Path,
    vmaf: Option<vmaf::Vmaf<'a>>,
    notes: Vec<String>,
    pictures: Vec<pictures::Place>,
}

impl Job<'_> {
    fn find_vmaf(&mut self) {
        if !self.options.vmaf {
            return;
        }
        if !self.ffmpeg.has_filter(vmaf::FILTER) {
            self.notes.push("no VMAF: this ffmpeg was built without libvmaf".into());
            return;
        }
        self.vmaf = Some(vmaf::Vmaf {
            ffmpeg: self.ffmpeg,
            film: self.film,
            every: self.grid.every,
            threads: self.options.threads,
            folder: self.folder,
        });
    }

    /// Measures a package; places for pictures are looked for in the first one.
    fn package(&mut self, package: &Package, stages: Stages<'_>) -> Result<PackageReport, VideoError> {
        let manifest = &package.manifest;
        let name = name_of(&package.root);
        let low = packets(self.ffmpeg, &package.path(&manifest.lr.playlist))?;
        let bytes = Bytes::of(package, low.iter().map(|packet| packet.bytes).sum())?;
        let pictures = if self.pictures.is_empty() { self.options.pictures } else { 0 };
        let mut finder = pictures::Finder::new(self.grid.size, self.grid.frames, pictures);
        let stage = format!("comparing {name}");
        let [mut own, mut bicubic] = measure::package(
            self.ffmpeg,
            self.film,
            package,
            &self.grid,
            self.options.threads.max(1),
            &mut |number, frames| finder.look(number, frames),
            &mut |number| stages(&stage, number, self.grid.frames),
        )?;
        if pictures > 0 {
            self.pictures = finder.finish();
        }
        if bicubic.whole.psnr_rgb < 12.0 {
            self.notes.push(format!(
                "{name}: interpolation is {:.1} dB from the film, which films of the same content hardly are; is it the right reference?",
                bicubic.whole.psnr_rgb
            ));
        }
        if let Some(vmaf) = &self.vmaf {
            stages(&format!("VMAF of {name}"), 0, 1);
            own.whole.vmaf = Some(vmaf.of_package(package, false)?);
            bicubic.whole.vmaf = Some(vmaf.of_package(package, true)?);
            stages(&format!("VMAF of {name}"), 1, 1);
        }
        let difference = |text: &String| format!("{name}: {text}");
        self.notes.extend(bytes.differences.iter().map(difference));
        let chunks = manifest.chunks.iter().map(|chunk| ChunkReport {
            index: chunk.index,
            start: chunk.start,
            end: chunk.end,
            sr: chunk.sr,
            modulation: chunk.modulation.as_ref().map_or(0, |part| part.bytes),
            package: own.chunks[chunk.index],
            bicubic: bicubic.chunks[chunk.index],
        });
        let quality = manifest.lr.crf.map_or(String::new(), |crf| format!(" crf {crf}"));
        let lr = &manifest.lr;
        Ok(PackageReport {
            network: package.config().architecture(),
            scale: package.config().scale,
            bits: u32::from(manifest.sr.storage.bits()),
            low: format!("{}{quality}, {}x{}", lr.codec, lr.width, lr.height),
            kbit_per_s: bytes.total as f64 * 8.0 / 1000.0 / manifest.video.duration,
            delays: account::delays(manifest, bytes.manifest),
            bytes,
            package: own.whole,
            bicubic: bicubic.whole,
            chunks: chunks.collect(),
            equal: Vec::new(),
            name,
        })
    }

    /// Measures a film that a codec made, and removes it.
    fn coded(
        &mut self,
        coded: &codec::Coded,
        chunks: &[Range<u64>],
        encoder: &str,
        pictures: bool,
        stages: Stages<'_>,
    ) -> Result<measure::Measured, VideoError> {
        let stage = format!("comparing {encoder} at {} kbit/s", coded.kbit);
        let frames = self.grid.frames;
        let none: &mut [pictures::Place] = &mut [];
        let mut measured = measure::coded(
            self.ffmpeg,
            self.film,
            &coded.path,
            &self.grid,
            chunks,
            if pictures { &mut self.pictures } else { none },
            encoder,
            &mut |number| stages(&stage, number, frames),
        )?;
        if let Some(vmaf) = &self.vmaf {
            measured.whole.vmaf = Some(vmaf.of(&coded.path)?);
        }
        codec::remove(coded)?;
        Ok(measured)
    }
}
