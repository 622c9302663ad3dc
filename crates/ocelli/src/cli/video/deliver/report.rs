//! `ocelli video deliver report`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use ocelli_data::video::Ffmpeg;
use ocelli_report::atomic::write_atomic;
use ocelli_report::chart::count;
use ocelli_video::deliver::low::LowCodec;
use ocelli_video::deliver::package::Package;
use ocelli_video::deliver::report::{self as measure, Figures, ReportOptions};

use super::Stages;
use crate::cli::Global;
use crate::cli::output::{Format, line, table};

/// Measure packages against their film, against interpolation, and against x264 and x265 at the same bytes.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli video deliver report talk.pack --reference talk.mp4\n  \
    ocelli video deliver report q20 q26 q32 q38 --reference talk.mp4 --csv talk.csv     (Bjøntegaard deltas of four qualities)\n  \
    ocelli video deliver report talk.pack --reference talk.mp4 --against h264 --preset slow --every 1 --format json\n\n\
    Bytes are those of coded frames on both sides, for packages plus weights, modulations and manifest; containers and audio are left out.")]
pub struct Report {
    /// Folders of packages of one film; several of different quality make a curve
    #[arg(required = true, value_name = "PACKAGE")]
    package: Vec<PathBuf>,
    /// The film that they were made of
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,
    /// Codecs to compare with
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["h264", "h265"], value_name = "CODECS")]
    against: Vec<Against>,
    /// The codecs' preset: ultrafast .. medium, slow .. veryslow
    #[arg(long, default_value = "medium", value_name = "NAME")]
    preset: String,
    /// Every how many frames films are compared
    #[arg(long, default_value_t = 5, value_name = "N")]
    every: usize,
    /// Places that the page shows side by side
    #[arg(long, default_value_t = 3, value_name = "N")]
    pictures: usize,
    /// Only the packages' bytes, no other rates
    #[arg(long)]
    no_curve: bool,
    /// Measure VMAF too, where ffmpeg has it
    #[arg(long)]
    vmaf: bool,
    /// Where the page goes
    #[arg(long, short, default_value = "report.html", value_name = "FILE")]
    output: PathBuf,
    /// Write every measured film as a line of CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// How results are printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Against {
    /// By libx264
    H264,
    /// By libx265
    H265,
}

impl Report {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        if self.every == 0 {
            bail!("--every 0: expected at least 1");
        }
        for path in [Some(&self.output), self.csv.as_ref()].into_iter().flatten() {
            // Measuring takes minutes: what cannot be written had better be known before.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                bail!("{}: there is no folder {}", path.display(), folder.display());
            }
        }
        let ffmpeg = Ffmpeg::find()?;
        let packages = self.package.iter().map(|path| Package::open(path)).collect::<Result<Vec<_>, _>>()?;
        let options = ReportOptions {
            against: self
                .against
                .iter()
                .map(|codec| match codec {
                    Against::H264 => LowCodec::H264,
                    Against::H265 => LowCodec::H265,
                })
                .collect(),
            preset: self.preset.clone(),
            every: self.every,
            threads: global.threads(),
            vmaf: self.vmaf,
            pictures: self.pictures,
            curve: !self.no_curve,
        };
        let mut stages = Stages::new(global);
        let found =
            measure::report(&ffmpeg, &packages, &self.reference, &options, &mut |stage, done, all| {
                stages.show(stage, done, all);
            });
        let found = found?;
        write_atomic(&self.output, found.page().as_bytes())
            .with_context(|| self.output.display().to_string())?;
        if let Some(path) = &self.csv {
            write_atomic(path, found.csv().as_bytes()).with_context(|| path.display().to_string())?;
        }
        match self.format {
            Format::Json => line(&serde_json::to_string_pretty(&found)?)?,
            Format::Table => print(&found)?,
        }
        if !global.quiet {
            for text in found.verdicts().iter().chain(&found.notes) {
                eprintln!("{text}");
            }
            eprintln!("page in {}", self.output.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(found: &measure::Report) -> Result<()> {
    let row = |name: String, bytes: u64, own: &Figures| {
        let vmaf = own.vmaf.map_or("-".into(), |vmaf| format!("{vmaf:.2}"));
        vec![
            name,
            count(bytes),
            format!("{:.1}", bytes as f64 * 8.0 / 1000.0 / found.film.seconds),
            format!("{:.2}", own.psnr_rgb),
            format!("{:.2}", own.psnr_rgb_of_mean),
            format!("{:.2}", own.psnr_y),
            format!("{:.4}", own.ssim),
            vmaf,
        ]
    };
    let mut rows = Vec::new();
    for package in &found.packages {
        rows.push(row(package.name.clone(), package.bytes.total, &package.package));
        rows.push(row("  interpolated".into(), package.bytes.low, &package.bicubic));
        for equal in &package.equal {
            let missed = if equal.missed.is_some() { " (bytes not reached)" } else { "" };
            let name = format!("  {}{missed}", equal.codec.encoder());
            rows.push(row(name, equal.bytes, &equal.figures));
        }
    }
    let header = ["", "bytes", "kbit/s", "PSNR rgb", "of mean square", "PSNR Y", "SSIM", "VMAF"];
    line(&table(&header, &rows, &[1, 2, 3, 4, 5, 6, 7]))
}
