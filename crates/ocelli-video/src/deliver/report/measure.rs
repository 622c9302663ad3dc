//! Comparing films frame by frame.

use std::ops::Range;
use std::path::Path;

use ocelli_data::video::{Ffmpeg, Probe, ReadOptions, Reader, probe};
use serde::{Deserialize, Serialize};

use super::pictures::Place;
use crate::VideoError;
use crate::deliver::low::Extents;
use crate::deliver::metrics::{Mean, ssim};
use crate::deliver::package::Package;
use crate::deliver::play::{Enlarger, each_low};
use crate::deliver::upscale::Precision;

/// How close a film is to the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Frames that were compared.
    pub frames: usize,
    /// Frames that are the reference's to the bit; the means of dB leave them out.
    pub identical: usize,
    /// PSNR over the three colours, in dB, [`Report::cut`](super::Report::cut) pixels cut from every side: the mean over frames.
    /// [`IDENTICAL`](crate::deliver::metrics::IDENTICAL) if all frames are.
    pub psnr_rgb: f64,
    /// The same of the mean of squares over frames.
    pub psnr_rgb_of_mean: f64,
    /// PSNR of the luma-like sum of colours weighted by 65.738, 129.057 and 25.064, over 256, in dB, scale pixels cut: the mean over frames.
    /// Several dB above `psnr_rgb`.
    pub psnr_y: f64,
    /// The same of the mean of squares over frames.
    pub psnr_y_of_mean: f64,
    /// Structural similarity of luma, the mean over frames.
    pub ssim: f64,
    /// VMAF, the mean over frames, where it was asked for and ffmpeg has it.
    pub vmaf: Option<f64>,
}

/// What every comparison has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Height and width of the film.
    pub size: [usize; 2],
    /// The factor that borders are cut by.
    pub scale: usize,
    /// Frames of the film.
    pub frames: u64,
    /// Every how many frames are compared.
    pub every: u64,
}

impl Grid {
    /// Whether frame `number` is compared: the middle of every run.
    pub fn takes(&self, number: u64) -> bool {
        number % self.every == (self.every / 2).min(self.frames.saturating_sub(1) / 2)
    }

    /// Pixels cut from every side for PSNR of colours.
    pub fn cut(&self) -> usize {
        self.scale + 6
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    rgb: Mean,
    luma: Mean,
    ssim: f64,
}

impl Sum {
    fn add(&mut self, [rgb, luma]: [&Mean; 2], ssim: f64) {
        self.rgb.join(rgb);
        self.luma.join(luma);
        self.ssim += ssim;
    }

    fn figures(&self) -> Figures {
        let frames = self.rgb.frames();
        Figures {
            frames,
            identical: self.rgb.identical(),
            psnr_rgb: self.rgb.psnr(),
            psnr_rgb_of_mean: self.rgb.psnr_of_mean(),
            psnr_y: self.luma.psnr(),
            psnr_y_of_mean: self.luma.psnr_of_mean(),
            ssim: self.ssim / frames.max(1) as f64,
            vmaf: None,
        }
    }
}

/// A film's figures.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub whole: Figures,
    /// Of every chunk; nothing where none of its frames was compared.
    pub chunks: Vec<Option<Figures>>,
}

/// Collects the figures of one film.
struct Meter<'a> {
    grid: &'a Grid,
    whole: Sum,
    chunks: Vec<Sum>,
}

impl<'a> Meter<'a> {
    fn new(grid: &'a Grid, chunks: usize) -> Self {
        Self { grid, whole: Sum::default(), chunks: vec![Sum::default(); chunks] }
    }

    fn add(&mut self, chunk: usize, film: &[u8], other: &[u8]) {
        let (size, mut means) = (self.grid.size, [Mean::default(); 2]);
        means[0].add(film, other, size, self.grid.cut());
        means[1].add_luma(film, other, size, self.grid.scale);
        let ssim = ssim(film, other, size);
        for sum in [&mut self.whole, &mut self.chunks[chunk]] {
            sum.add([&means[0], &means[1]], ssim);
        }
    }

    fn finish(self) -> Measured {
        let chunk = |sum: &Sum| (sum.rgb.frames() > 0).then(|| sum.figures());
        Measured { whole: self.whole.figures(), chunks: self.chunks.iter().map(chunk).collect() }
    }
}

/// Plays `package` beside `film`: the figures of the package and of interpolation of the same low-resolution film. `watch` sees the frames that are
/// compared: number, film, interpolation, package.
pub(super) fn package(
    ffmpeg: &Ffmpeg,
    film: &Probe,
    package: &Package,
    grid: &Grid,
    threads: usize,
    watch: &mut dyn FnMut(u64, [&[u8]; 3]),
    progress: &mut dyn FnMut(u64),
) -> Result<[Measured; 2], VideoError> {
    let mut enlargers = [
        Enlarger::new(package, Precision::Float, threads, false)?,
        Enlarger::new(package, Precision::Float, threads, true)?,
    ];
    let chunks = package.manifest.chunks.len();
    let mut meters = [Meter::new(grid, chunks), Meter::new(grid, chunks)];
    let mut reader = Reader::open(ffmpeg, film, &ReadOptions::default())?;
    let mut shown = Vec::new();
    let mut enlarged = [Vec::new(), Vec::new()];
    let mut number = 0;
    let mut step = |chunk: usize, low: &[u8]| -> Result<(), VideoError> {
        if !reader.read_into(&mut shown)? {
            return Err(ends(&film.file, number, grid.frames));
        }
        if grid.takes(number) {
            for ((enlarger, frame), meter) in enlargers.iter_mut().zip(&mut enlarged).zip(&mut meters) {
                enlarger.enlarge(chunk, low, frame)?;
                meter.add(chunk, &shown, frame);
            }
            watch(number, [&shown, &enlarged[1], &enlarged[0]]);
        }
        number += 1;
        progress(number);
        Ok(())
    };
    let mut failed = None;
    each_low(ffmpeg, package, 0, grid.frames, &mut |chunk, low| {
        failed = step(chunk, low).err();
        failed.is_none()
    })?;
    // What is not as it should be is no measurement of the package.
    let warning = enlargers.iter_mut().find_map(|enlarger| enlarger.warnings.pop());
    match (failed, warning) {
        (Some(error), _) => Err(error),
        (None, Some(warning)) => Err(VideoError::malformed(&package.root, warning)),
        (None, None) => Ok(meters.map(Meter::finish)),
    }
}

/// The figures of the coded film in the file `coded`, whose frames may be padded at right and bottom; frames of `pictures` are cut out.
pub(super) fn coded(
    ffmpeg: &Ffmpeg,
    film: &Probe,
    coded: &Path,
    grid: &Grid,
    chunks: &[Range<u64>],
    pictures: &mut [Place],
    name: &str,
    progress: &mut dyn FnMut(u64),
) -> Result<Measured, VideoError> {
    let about = probe(ffmpeg, coded)?;
    if about.frames != grid.frames {
        let problem = format!("{name} wrote {} frames of {}", about.frames, grid.frames);
        return Err(VideoError::malformed(&film.file, problem));
    }
    let extents = Extents { film: grid.size, low: [about.height, about.width], scale: 1 };
    let mut film_reader = Reader::open(ffmpeg, film, &ReadOptions::default())?;
    let mut coded_reader = Reader::open(ffmpeg, &about, &ReadOptions::default())?;
    let mut meter = Meter::new(grid, chunks.len());
    let (mut shown, mut padded, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..grid.frames {
        if !film_reader.read_into(&mut shown)? {
            return Err(ends(&film.file, number, grid.frames));
        }
        if !coded_reader.read_into(&mut padded)? {
            return Err(ends(coded, number, grid.frames));
        }
        if grid.takes(number) {
            extents.crop(&padded, &mut frame);
            let chunk = chunks.partition_point(|range| range.end <= number);
            meter.add(chunk.min(chunks.len() - 1), &shown, &frame);
            for picture in pictures.iter_mut().filter(|picture| picture.frame == number) {
                picture.add(name, &frame, grid.size);
            }
        }
        progress(number + 1);
    }
    Ok(meter.finish())
}

fn ends(path: &Path, frame: u64, frames: u64) -> VideoError {
    VideoError::malformed(path, format!("ends at frame {frame} of {frames}"))
}
