//! Measuring packages against their film and against codecs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ocelli_data::video::Ffmpeg;
use ocelli_train::ProgressStyle;
use ocelli_video::deliver::encode::{EncodeOptions, encode};
use ocelli_video::deliver::low::LowCodec;
use ocelli_video::deliver::package::Package;
use ocelli_video::deliver::report::account::{Bytes, break_even, delays, seconds};
use ocelli_video::deliver::report::bd::{Curve, Point, bd_quality, bd_rate, rate_at};
use ocelli_video::deliver::report::{Report, ReportOptions, report};
use ocelli_video::deliver::{Config, Residual};

/// ffmpeg, or nothing with a line that says so; where tests must not be left out it has to be there.
fn ffmpeg() -> Option<Ffmpeg> {
    match Ffmpeg::find() {
        Ok(ffmpeg) if ffmpeg.has_encoder("libx264") && ffmpeg.has_encoder("libx265") => Some(ffmpeg),
        _ if std::env::var_os("OCELLI_REQUIRE_FFMPEG").is_some() => {
            panic!("no ffmpeg with libx264 and libx265")
        }
        _ => {
            eprintln!("left out: no ffmpeg with libx264 and libx265");
            None
        }
    }
}

fn points(points: &[(f64, f64)]) -> Vec<Point> {
    points.iter().map(|&(rate, quality)| Point { rate, quality }).collect()
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-9 * expected.abs().max(1.0), "{found}, expected {expected}");
}

/// Numbers of scipy 1.17.1: with `P = scipy.interpolate.PchipInterpolator` and L the logarithm to base 10 of the rates, the rate delta is
/// `100 (10^d - 1)` for `d = (P(q2, L2).integrate(a, b) - P(q1, L1).integrate(a, b)) / (b - a)` over the qualities [a, b] that both have,
/// the delta of quality the same of `P(L, q)`.
#[test]
fn bjontegaard_deltas_are_those_of_scipy() {
    let anchor = points(&[(686.76, 40.28), (309.58, 37.18), (157.11, 34.24), (85.95, 31.42)]);
    let test = points(&[(893.34, 40.39), (407.8, 37.21), (204.93, 34.17), (112.75, 31.24)]);
    close(bd_rate(&anchor, &test), 31.379878202397627);
    close(bd_quality(&anchor, &test), -1.1834724046224592);
    close(bd_rate(&test, &anchor), -23.884843426369507);
    close(bd_quality(&test, &anchor), 1.1834724046224592);
    // A bend that a cubic through all four points would swing at, two points, and three that overlap in part.
    let bent = points(&[(120.0, 30.0), (200.0, 34.5), (420.0, 35.0), (900.0, 39.0)]);
    close(bd_rate(&anchor, &bent), 78.64694460967033);
    close(bd_quality(&anchor, &bent), -2.3331835381584574);
    let two = points(&[(100.0, 30.0), (500.0, 36.0)]);
    close(bd_rate(&anchor, &two), 92.6053812834335);
    close(bd_quality(&anchor, &two), -2.7409050330367153);
    close(bd_rate(&anchor[..3], &test[1..]), 31.67545579353539);
    close(bd_quality(&anchor[..3], &test[1..]), -1.2017891917255474);
    close(rate_at(&anchor, 36.0), 233.99051338395358);
}

/// By the same `PchipInterpolator`.
#[test]
fn curves_are_those_of_scipy() {
    let curve = Curve::new([(5.0, 6.0), (0.0, 0.0), (1.0, 2.0), (2.5, 1.5), (4.0, 1.5)]).unwrap();
    let expected =
        [(0.3, 0.8632), (0.9, 1.9704), (1.7, 1.7749629629629629), (3.0, 1.5), (4.6, 3.508799999999998)];
    for (x, y) in expected {
        close(curve.at(x), y);
    }
    close(Some(curve.integral(0.2, 4.7)), 7.771981388888889);
    assert_eq!((curve.at(-0.1), curve.at(5.1)), (None, None));
    let curve = Curve::new([(0.0, 0.0), (1.0, 5.0), (3.0, 5.2)]).unwrap();
    for (x, y) in [(0.3, 2.041270731707317), (0.9, 4.901919512195122), (1.7, 5.121270731707317), (3.0, 5.2)] {
        close(curve.at(x), y);
    }
    close(Some(curve.integral(0.2, 2.7)), 11.612583238482385);
}

#[test]
fn without_a_common_range_there_is_no_delta() {
    let low = points(&[(10.0, 20.0), (20.0, 25.0)]);
    let high = points(&[(100.0, 30.0), (200.0, 35.0)]);
    assert_eq!((bd_rate(&low, &high), bd_quality(&low, &high)), (None, None));
    assert_eq!(bd_rate(&low, &high[..1]), None);
    assert_eq!(rate_at(&low, 26.0), None);
    let nonsense = points(&[(0.0, 20.0), (20.0, 25.0)]);
    assert_eq!(bd_rate(&nonsense, &low), None);
}

#[test]
fn shared_weights_pay_off_at_a_twentieth() {
    // 50 kB of weights beside 10 kB/s: after 95 s there are 1 MB.
    assert!((break_even(50_000, 10_000.0) - 95.0).abs() < 1e-9);
    assert!((seconds(125_000, 0.5) - 2.0).abs() < 1e-12);
}

struct Made {
    folder: tempfile::TempDir,
    ffmpeg: Ffmpeg,
}

impl Made {
    fn film(&self, name: &str, source: &str) -> PathBuf {
        self.film_of(name, source, &["-pix_fmt", "yuv420p", "-c:v", "libx264", "-crf", "10"])
    }

    fn film_of(&self, name: &str, source: &str, how: &[&str]) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut command = self.ffmpeg.command();
        command.args(["-f", "lavfi", "-i", source]).args(how).arg("-y").arg(&path);
        self.ffmpeg.run(&mut command, name).unwrap();
        path
    }

    fn package(&self, film: &Path, name: &str, crf: u32) -> Package {
        let mut network = Config::preset("espcn-xs", 2).unwrap();
        network.residual = Residual::Bicubic;
        let options = EncodeOptions {
            chunk_seconds: 1.0,
            crf,
            preset: "veryfast".into(),
            steps: 20,
            batch: 4,
            ..EncodeOptions::new(network)
        };
        let stop = Arc::new(AtomicBool::new(false));
        let output = self.folder.path().join(name);
        let encoded =
            encode(&self.ffmpeg, film, &output, &options, 1, ProgressStyle::Quiet, &stop, &mut |_, _, _| {});
        encoded.unwrap().unwrap().package
    }

    fn report(&self, packages: &[Package], film: &Path, options: &ReportOptions) -> Report {
        report(&self.ffmpeg, packages, film, options, &mut |_, _, _| {}).unwrap()
    }
}

fn made() -> Option<Made> {
    Some(Made { ffmpeg: ffmpeg()?, folder: tempfile::tempdir().unwrap() })
}

fn fast() -> ReportOptions {
    ReportOptions { preset: "ultrafast".into(), pictures: 2, ..ReportOptions::default() }
}

const SOURCE: &str = "testsrc2=size=160x96:rate=12:duration=2";

#[test]
fn packages_are_measured_against_codecs() {
    let Some(made) = made() else { return };
    let film = made.film("a film.mp4", SOURCE);
    let packages = [made.package(&film, "fine", 20), made.package(&film, "coarse", 36)];
    let found = made.report(&packages, &film, &ReportOptions { every: 3, ..fast() });
    for (package, own) in packages.iter().zip(&found.packages) {
        let (bytes, size) =
            (&own.bytes, |part: &str| std::fs::metadata(package.root.join(part)).unwrap().len());
        assert_eq!(bytes.shared, size("model/shared.cafw"));
        let modulations: u64 = own.chunks.iter().map(|chunk| chunk.modulation).sum();
        assert_eq!(bytes.modulations, modulations);
        assert_eq!(bytes.manifest, size("manifest.json"));
        assert_eq!(bytes.total, bytes.low + bytes.shared + bytes.modulations + bytes.manifest);
        let low: u64 = ["init.mp4", "seg_00000.m4s", "seg_00001.m4s", "stream.m3u8"]
            .map(|name| size(&format!("lr/{name}")))
            .iter()
            .sum();
        assert_eq!(bytes.low + bytes.container + bytes.audio, low);
        assert!(bytes.low > 0 && bytes.container < low && bytes.differences.is_empty(), "{bytes:?}");
        assert_eq!(own.package.frames, 8, "every third of 24");
        let by_chunk: usize = own.chunks.iter().map(|chunk| chunk.package.unwrap().frames).sum();
        assert_eq!(by_chunk, 8);
        assert!(own.package.psnr_rgb >= own.bicubic.psnr_rgb - 0.05, "{own:?}");
        // The check at the end of the encoding saw other frames of the same film.
        let said = package.manifest.chunks[0].psnr_bicubic.unwrap();
        assert!((own.chunks[0].bicubic.unwrap().psnr_rgb - said).abs() < 1.0, "{said}, {own:?}");
        for equal in &own.equal {
            let share = equal.bytes as f64 / bytes.total as f64;
            assert!(equal.missed.is_some() || (0.99..=1.0).contains(&share), "{equal:?}");
            assert!(equal.tries <= 6 && (0.3..1.0).contains(&equal.figures.ssim), "{equal:?}");
            assert_eq!(equal.ahead, equal.figures.psnr_rgb - own.package.psnr_rgb);
            let by_chunk: usize = equal.chunks.iter().map(|chunk| chunk.unwrap().frames).sum();
            assert_eq!(by_chunk, 8);
        }
    }
    assert_eq!(found.curves.len(), 2);
    for curve in &found.curves {
        assert!(curve.points.len() >= 4, "{curve:?}");
        assert!(curve.points.windows(2).all(|pair| pair[0].bytes < pair[1].bytes));
    }
    assert_eq!(found.deltas.len(), 2);
    assert!(found.verdicts().iter().any(|text| text.starts_with("The bytes of the networks")));
    let page = found.page();
    for text in ["Who wins", "libx264", "libx265", "data:image/png;base64,", "<svg", "Bjøntegaard", "coarse"]
    {
        assert!(page.contains(text), "{text}");
    }
    assert!(
        found.pictures.iter().all(|shown| shown.films.len() == 5),
        "film, interpolated, package, two codecs"
    );
    let rows = found.csv().lines().count();
    assert_eq!(rows, 1 + 2 * 4 + found.curves.iter().map(|curve| curve.points.len()).sum::<usize>());
    let json = serde_json::to_string(&found).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.packages.len(), 2);
}

#[test]
fn sizes_out_of_a_codecs_reach_are_told() {
    let Some(made) = made() else { return };
    // Nothing moves: a codec can hardly spend the bytes.
    let film = made.film("still.mp4", "color=c=gray:size=160x96:rate=12:duration=2");
    let package = made.package(&film, "still", 20);
    let options = ReportOptions { against: vec![LowCodec::H264], curve: false, ..fast() };
    let found = made.report(&[package], &film, &options);
    let equal = &found.packages[0].equal[0];
    assert!(equal.missed.as_ref().unwrap().contains("does not get up to"), "{equal:?}");
    assert!(found.verdicts()[0].contains("Equal bytes were not reached"), "{:?}", found.verdicts());
}

/// Odd sides are padded for the codecs and cropped again; colours go through one matrix and come back by it.
#[test]
fn films_of_odd_sides_and_of_rgb_are_measured() {
    let Some(made) = made() else { return };
    let smooth = "testsrc2=size=161x97:rate=12:duration=2,gblur=sigma=6";
    let film = made.film_of("rgb.mkv", smooth, &["-pix_fmt", "gbrp", "-c:v", "ffv1"]);
    let package = made.package(&film, "rgb", 10);
    let found = made.report(&[package], &film, &ReportOptions { curve: false, ..fast() });
    let own = &found.packages[0];
    assert!(own.bicubic.psnr_rgb > 35.0, "{own:?}");
    assert!(own.equal.iter().all(|equal| equal.figures.psnr_rgb > 35.0), "{own:?}");
    assert!(found.notes.iter().any(|note| note.contains("halved chroma")), "{:?}", found.notes);
}

#[test]
fn another_film_is_refused() {
    let Some(made) = made() else { return };
    let film = made.film("film.mp4", SOURCE);
    let package = made.package(&film, "package", 30);
    let refused = |name: &str, source: &str| {
        let other = made.film(name, source);
        let packages = std::slice::from_ref(&package);
        report(&made.ffmpeg, packages, &other, &fast(), &mut |_, _, _| {}).unwrap_err().to_string()
    };
    let wide = refused("wide.mp4", "testsrc2=size=192x96:rate=12:duration=2");
    assert!(wide.contains("wide.mp4: frames of 192x96") && wide.contains("of a film of 160x96"), "{wide}");
    let long = refused("long.mp4", "testsrc2=size=160x96:rate=12:duration=3");
    assert!(long.contains("36 frames") && long.contains("of a film of 24"), "{long}");
    let none = report(&made.ffmpeg, &[], &film, &fast(), &mut |_, _, _| {}).unwrap_err().to_string();
    assert!(none.contains("no package"), "{none}");

    // A file that is not as the manifest says, and an account that is not as the files say.
    let shared = package.path(&package.manifest.sr.shared);
    let whole = std::fs::read(&shared).unwrap();
    std::fs::write(&shared, &whole[1..]).unwrap();
    let packages = std::slice::from_ref(&package);
    let short = report(&made.ffmpeg, packages, &film, &fast(), &mut |_, _, _| {}).unwrap_err().to_string();
    assert!(short.contains("shared.cafw: holds"), "{short}");
    let mut manifest = package.manifest.clone();
    let own = manifest.account.manifest - manifest.lr.playlist.bytes;
    assert!(Bytes::from_manifest(&manifest, 1000, own).differences.is_empty());
    manifest.account.shared += 7;
    let found = Bytes::from_manifest(&manifest, 1000, own);
    assert_eq!(found.differences.len(), 2, "shared and total: {found:?}");
    let first = manifest.chunks[0].segment.bytes + manifest.lr.init.bytes + own;
    assert_eq!(delays(&manifest, own)[1].interpolated, seconds(first, 1.0));
    assert!(delays(&manifest, own).iter().all(|delay| delay.enlarged > delay.interpolated));
}
