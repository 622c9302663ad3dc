//! `ocelli video deliver inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use ocelli_video::deliver::package::Package;

use super::size;
use crate::cli::output::{Format, line, table};

/// Show what a package holds: bytes of its parts, what chunks gain, how long starting takes; checks every file.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  ocelli video deliver inspect film.cafm")]
pub struct Inspect {
    /// The package's folder
    package: PathBuf,
    /// How the result is printed: json gives the manifest
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Inspect {
    pub(in crate::cli) fn run(self) -> Result<ExitCode> {
        let package = Package::open(&self.package)?;
        package.verify()?;
        let manifest = &package.manifest;
        if self.format == Format::Json {
            line(&serde_json::to_string_pretty(manifest)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (video, low, account) = (&manifest.video, &manifest.lr, manifest.account);
        line(&format!(
            "{}x{}, {} frames, {:.2} frames/s, {:.1} s, from {}x{} {}{}",
            video.width,
            video.height,
            video.frames,
            video.fps.value(),
            video.duration,
            low.width,
            low.height,
            low.codec,
            if low.audio { ", with audio" } else { "" }
        ))?;
        line(&format!(
            "network {} ({} bits per weight)",
            manifest.sr.network.architecture(),
            manifest.sr.storage.bits()
        ))?;
        let share = |bytes: u64| format!("{:.2} %", 100.0 * bytes as f64 / account.total.max(1) as f64);
        let rows: Vec<Vec<String>> = [
            ("low-resolution film", account.lr),
            ("shared network", account.shared),
            ("modulations", account.mod_total),
            ("manifest and playlist", account.manifest),
            ("all", account.total),
        ]
        .into_iter()
        .map(|(name, bytes)| vec![name.to_string(), size(bytes), share(bytes)])
        .collect();
        line(&format!("\n{}", table(&["part", "bytes", "share"], &rows, &[1, 2])))?;
        let decibels = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.2}"));
        let rows: Vec<Vec<String>> = manifest
            .chunks
            .iter()
            .map(|chunk| {
                let modulation = chunk.modulation.as_ref().map_or(0, |part| part.bytes);
                vec![
                    chunk.index.to_string(),
                    format!("{:.2}", chunk.start),
                    chunk.frames.to_string(),
                    size(chunk.segment.bytes),
                    if chunk.sr { size(modulation) } else { "interpolated".into() },
                    format!("{:.2} %", 100.0 * modulation as f64 / account.shared.max(1) as f64),
                    decibels(chunk.psnr_rgb),
                    decibels(chunk.psnr_bicubic),
                ]
            })
            .collect();
        let header =
            ["chunk", "begins (s)", "frames", "film", "modulation", "of network", "PSNR (dB)", "bicubic"];
        line(&table(&header, &rows, &[0, 1, 2, 3, 4, 5, 6, 7]))?;
        let first = manifest.chunks.first().map_or(0, |chunk| chunk.segment.bytes) + low.init.bytes;
        let rows: Vec<Vec<String>> = [0.5, 1.0, 2.0, 5.0, 20.0]
            .into_iter()
            .map(|mbit: f64| {
                let seconds = |bytes: u64| format!("{:.2}", bytes as f64 * 8.0 / (mbit * 1e6));
                vec![format!("{mbit} Mbit/s"), seconds(first), seconds(first + account.shared)]
            })
            .collect();
        line(&table(&["bandwidth", "first chunk (s)", "with the network (s)"], &rows, &[0, 1, 2]))?;
        let per_second = (account.lr + account.mod_total) as f64 / video.duration.max(1e-9);
        line(&format!(
            "the network is less than 5 % of the bytes of a film longer than {:.0} s",
            account.shared as f64 * 19.0 / per_second.max(1e-9)
        ))?;
        line(&format!("{} files, all as the manifest says", manifest.parts().count()))?;
        Ok(ExitCode::SUCCESS)
    }
}
