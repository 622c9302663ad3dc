//! Codecs at the packages' bytes, and around them.

use std::ops::Range;

use super::bd::{Point, bd_quality, bd_rate, rate_at};
use super::codec::{ADJUSTMENTS, Coder};
use super::{CodecCurve, CodecPoint, Delta, Equal, Figures, Job, Needs, PackageReport};
use crate::VideoError;
use crate::deliver::encode::Stages;
use crate::deliver::low::LowCodec;
use crate::deliver::metrics::IDENTICAL;
use crate::deliver::package::Package;

/// Shares of the smallest and the largest package's bytes at which codecs are measured besides.
const BELOW: [f64; 2] = [0.5, 0.7];
const ABOVE: f64 = 1.4;
/// The most points that are added to reach the packages' PSNR.
const FARTHER: usize = 5;

/// Measures `codec`: at the bytes of every package, which hear of it, then around them.
pub(super) fn measure(
    job: &mut Job<'_>,
    codec: LowCodec,
    packages: &[Package],
    reports: &mut [PackageReport],
    stages: Stages<'_>,
) -> Result<CodecCurve, VideoError> {
    let (options, encoder) = (job.options, codec.encoder());
    let how = (codec, options.preset.as_str(), options.threads);
    let mut coder = Coder::new(job.ffmpeg, job.film, how, job.folder)?;
    let mut points: Vec<CodecPoint> = Vec::new();
    for (at, (package, report)) in packages.iter().zip(&mut *reports).enumerate() {
        let goal = report.bytes.total;
        let stage = format!("coding with {encoder} to {goal} bytes");
        let most = 1 + ADJUSTMENTS as u64;
        stages(&stage, 0, most);
        let landing = coder.near(goal, &mut |tries| stages(&stage, tries as u64, most))?;
        stages(&stage, most, most);
        let parts = &package.manifest.chunks;
        let chunks: Vec<Range<u64>> =
            parts.iter().map(|chunk| chunk.first_frame..chunk.first_frame + chunk.frames).collect();
        let measured = job.coded(&landing.coded, &chunks, encoder, at == 0, stages)?;
        let (bytes, kbit) = (landing.coded.bytes, landing.coded.kbit);
        points.push(CodecPoint { bytes, kbit, figures: measured.whole });
        report.equal.push(Equal {
            codec,
            bytes,
            kbit,
            tries: landing.tries,
            missed: landing.missed,
            figures: measured.whole,
            chunks: measured.chunks,
            ahead: measured.whole.psnr_rgb - report.package.psnr_rgb,
            needs: Needs::default(),
        });
    }
    if options.curve {
        around(job, &mut coder, reports, &mut points, stages)?;
    }
    points.sort_by_key(|point| point.bytes);
    points.dedup_by_key(|point| point.bytes);
    for report in reports {
        let (goal, psnr) = (report.bytes.total as f64, report.package.psnr_rgb);
        if let Some(equal) = report.equal.iter_mut().rfind(|equal| equal.codec == codec) {
            equal.needs = needs(&points, psnr, goal);
        }
    }
    Ok(CodecCurve { codec, points })
}

/// Adds points around the packages' bytes, then beyond until the packages' PSNR lies between them.
fn around(
    job: &mut Job<'_>,
    coder: &mut Coder<'_>,
    reports: &[PackageReport],
    points: &mut Vec<CodecPoint>,
    stages: Stages<'_>,
) -> Result<(), VideoError> {
    let totals = || reports.iter().map(|report| report.bytes.total as f64);
    let (least, most) = (totals().fold(f64::INFINITY, f64::min), totals().fold(0.0, f64::max));
    for bytes in BELOW.map(|share| share * least).into_iter().chain([ABOVE * most]) {
        let kbit = coder.kbit(bytes);
        add(job, coder, kbit, points, stages)?;
    }
    let psnr = || reports.iter().map(|report| report.package.psnr_rgb);
    let (low, high) = (psnr().fold(f64::INFINITY, f64::min), psnr().fold(0.0, f64::max));
    for _ in 0..FARTHER {
        let Some(smallest) = points.iter().min_by_key(|point| point.bytes).copied() else { break };
        if smallest.figures.psnr_rgb <= low || smallest.kbit <= 1 {
            break;
        }
        if !add(job, coder, (smallest.kbit as f64 * 0.6).floor().max(1.0) as u64, points, stages)? {
            break;
        }
    }
    for _ in 0..FARTHER {
        let Some(largest) = points.iter().max_by_key(|point| point.bytes).copied() else { break };
        if largest.figures.psnr_rgb >= high {
            break;
        }
        if !add(job, coder, (largest.kbit as f64 * 1.6).ceil() as u64, points, stages)? {
            break;
        }
    }
    Ok(())
}

/// Adds the point at a rate; says whether it is a new one, which it is not where the encoder's bytes no longer change.
fn add(
    job: &mut Job<'_>,
    coder: &mut Coder<'_>,
    kbit: u64,
    points: &mut Vec<CodecPoint>,
    stages: Stages<'_>,
) -> Result<bool, VideoError> {
    if points.iter().any(|point| point.kbit == kbit) {
        return Ok(false);
    }
    let encoder = coder.codec.encoder();
    let stage = format!("coding with {encoder} at {kbit} kbit/s");
    stages(&stage, 0, 1);
    let coded = coder.at(kbit)?;
    stages(&stage, 1, 1);
    let close = |point: &CodecPoint| (point.bytes as f64 / coded.bytes.max(1) as f64 - 1.0).abs() < 0.02;
    if points.iter().any(close) {
        super::codec::remove(&coded)?;
        return Ok(false);
    }
    let whole = 0..job.grid.frames;
    let figures = job.coded(&coded, std::slice::from_ref(&whole), encoder, false, stages)?.whole;
    points.push(CodecPoint { bytes: coded.bytes, kbit, figures });
    Ok(true)
}

/// How many times `goal` bytes the curve through `points` takes for `psnr`.
fn needs(points: &[CodecPoint], psnr: f64, goal: f64) -> Needs {
    let curve = points_of(points.iter().map(|point| (point.bytes, &point.figures)), |own| own.psnr_rgb);
    if let Some(bytes) = rate_at(&curve, psnr) {
        return Needs { times: Some(bytes / goal), ..Needs::default() };
    }
    let all = |better: fn(f64, f64) -> bool| curve.iter().all(|point| better(point.quality, psnr));
    let rates = || curve.iter().map(|point| point.rate / goal);
    if curve.is_empty() {
        Needs::default()
    } else if all(|own, package| own > package) {
        Needs { less_than: Some(rates().fold(f64::INFINITY, f64::min)), ..Needs::default() }
    } else if all(|own, package| own < package) {
        Needs { more_than: Some(rates().fold(0.0, f64::max)), ..Needs::default() }
    } else {
        Needs::default()
    }
}

/// Points of a curve; those without any difference have no finite quality and are left out.
fn points_of<'a>(
    films: impl Iterator<Item = (u64, &'a Figures)>,
    quality: fn(&Figures) -> f64,
) -> Vec<Point> {
    let point = |(bytes, figures): (u64, &Figures)| Point { rate: bytes as f64, quality: quality(figures) };
    films.map(point).filter(|point| point.quality < IDENTICAL && point.rate > 0.0).collect()
}

/// The packages as one curve against every codec's.
pub(super) fn deltas(packages: &[PackageReport], curves: &[CodecCurve]) -> Vec<Delta> {
    let delta = |curve: &CodecCurve| {
        let both = |quality: fn(&Figures) -> f64| {
            let codec = points_of(curve.points.iter().map(|own| (own.bytes, &own.figures)), quality);
            let own = points_of(packages.iter().map(|own| (own.bytes.total, &own.package)), quality);
            (bd_rate(&codec, &own), bd_quality(&codec, &own))
        };
        let ((rate_rgb, psnr_rgb), (rate_y, psnr_y)) = (both(|own| own.psnr_rgb), both(|own| own.psnr_y));
        Delta { codec: curve.codec, packages: packages.len(), rate_rgb, psnr_rgb, rate_y, psnr_y }
    };
    curves.iter().map(delta).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: u64, psnr_rgb: f64) -> CodecPoint {
        CodecPoint { bytes, kbit: 1, figures: Figures { psnr_rgb, ..Figures::default() } }
    }

    #[test]
    fn needs_are_interpolated_or_bounded() {
        let points = [at(500, 30.0), at(1000, 33.0), at(2000, 36.0)];
        let found = needs(&points, 31.5, 1000.0).times.unwrap();
        // Half way by decibels is half way by the logarithm of bytes: the three lie on a line.
        assert!((found - 0.5f64.sqrt()).abs() < 1e-12, "{found}");
        assert_eq!(needs(&points, 29.0, 1000.0).less_than, Some(0.5));
        assert_eq!(needs(&points, 37.0, 1000.0).more_than, Some(2.0));
        assert_eq!(needs(&[], 37.0, 1000.0), Needs::default());
    }
}
