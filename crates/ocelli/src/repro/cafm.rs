//! The experiment of neural video delivery: one network with modulations against one without and one per chunk, with the same steps on the same film;
//! and x264 and x265 at the same bytes. PSNR over colours in dB.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ocelli_data::video::Ffmpeg;
use ocelli_report::chart::{Bar, BarChart};
use ocelli_train::ProgressStyle;
use ocelli_video::deliver::encode::EncodeOptions;
use ocelli_video::deliver::low::LowCodec;
use ocelli_video::deliver::trial::{self, Choice, Kind, Material};
use ocelli_video::deliver::upscale::Upscaler;
use ocelli_video::deliver::{Backbone, Config, Residual};
use serde::Serialize;

use super::{apart, mean_std};

/// Its name on the command line.
pub const NAME: &str = "cafm";

/// Arms, without interpolation and codecs.
pub const ARMS: usize = 4;

/// What is expected at this size.
pub const EXPECTATION: &str = "all networks above interpolation; one network with modulations at or above one without; x264 and x265 above all of them at equal \
                               bytes on films as short as these";

const CLAIM: &str = "With EDSR on 15 s of games (x2) one network with modulations reaches 43.13 dB, one network per chunk 42.82 dB, one network without modulation \
                     42.24 dB; over its tables the modulated network is 0.4 to 1.6 dB above the shared one. It is said to beat H.264 and H.265 at the same storage. \
                     (\"Overfitting the Data: Compact Neural Video Delivery via Content-aware Feature Modulation\", ICCV 2021; the authors' readme)";

const SCALE: usize = 2;
/// Frames of a chunk, and height and width they are scaled to.
const FRAMES: usize = 36;
const SIZE: [usize; 2] = [240, 432];
/// Chunks of a single film.
const CHUNKS: usize = 6;
const STEPS: usize = 2500;
const BATCH: usize = 8;
const RATE: f64 = 2e-3;
const CRF: u32 = 23;
/// Every so many frames are measured.
const EVERY: usize = 3;

/// How to run it.
pub struct Options {
    /// A film, or a folder of films.
    pub data: PathBuf,
    /// Seeds per arm.
    pub seeds: u64,
    /// Steps in place of the usual ones.
    pub steps: Option<usize>,
    /// Whether progress is shown.
    pub style: ProgressStyle,
    /// Threads.
    pub threads: usize,
}

struct Arm {
    name: &'static str,
    network: Config,
    kind: Kind,
}

fn arms() -> Vec<Arm> {
    let of = |blocks, feats| Config {
        blocks,
        feats,
        residual: Residual::Bicubic,
        ..Config::new(Backbone::Edsr, SCALE)
    };
    vec![
        Arm { name: "one network, modulated (M1-n)", network: of(2, 16), kind: Kind::Modulated },
        Arm { name: "one network (M0)", network: of(2, 16), kind: Kind::Shared },
        Arm { name: "one per chunk, equal steps (S1-n)", network: of(2, 16), kind: Kind::Separate },
        Arm { name: "one per chunk, equal steps and bytes", network: of(1, 8), kind: Kind::Separate },
    ]
}

/// Pairs `(better, worse)` by which the expectation is judged.
const ORDER: [(usize, usize); 3] = [(0, 1), (0, 2), (0, 3)];

/// What one arm came to, per seed.
#[derive(Clone, Debug, Serialize)]
pub struct ArmResults {
    name: String,
    parameters: u64,
    weight_bytes: u64,
    /// All that is sent.
    bytes: u64,
    psnr: Vec<f64>,
    train_loss: Vec<f64>,
    seconds: Vec<f64>,
}

/// A codec at the bytes of the first arm.
#[derive(Clone, Debug, Serialize)]
pub struct CodecResult {
    name: String,
    bytes: u64,
    psnr: f64,
    missed: Option<String>,
}

/// What the experiment came to.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    experiment: &'static str,
    data: String,
    chunks: usize,
    low_bytes: u64,
    manifest_bytes: u64,
    steps: usize,
    bicubic: f64,
    arms: Vec<ArmResults>,
    codecs: Vec<CodecResult>,
    seconds: f64,
}

/// Runs all arms with all seeds; `say` is told what happens.
pub fn run(options: &Options, say: &dyn Fn(&str)) -> Result<Results> {
    if options.seeds == 0 {
        bail!("--seeds must be at least 1");
    }
    let started = Instant::now();
    let ffmpeg = Ffmpeg::find()?;
    let scratch = tempfile::tempdir().context("a folder for films")?;
    let choice = Choice { source: options.data.clone(), chunks: CHUNKS, frames: FRAMES, size: SIZE };
    let material = Material::make(&ffmpeg, &choice, SCALE, (LowCodec::H264, CRF), scratch.path())?;
    let size = material.frames.size;
    let bicubic = material.psnr(EVERY, |_| Ok(Upscaler::bicubic(SCALE, size, options.threads)))?;
    say(&format!("{} chunks of {FRAMES} frames; interpolated {bicubic:.2} dB", material.chunks));
    let steps = options.steps.unwrap_or(STEPS);
    let mut results = Results {
        experiment: NAME,
        data: options.data.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        chunks: material.chunks,
        low_bytes: material.low_bytes,
        manifest_bytes: material.manifest_bytes,
        steps,
        bicubic,
        arms: Vec::new(),
        codecs: Vec::new(),
        seconds: 0.0,
    };
    let arms = arms();
    for arm in &arms {
        results.arms.push(ArmResults {
            name: arm.name.into(),
            parameters: 0,
            weight_bytes: 0,
            bytes: 0,
            psnr: Vec::new(),
            train_loss: Vec::new(),
            seconds: Vec::new(),
        });
    }
    // Seed by seed, so that a run cut short still compares like with like.
    for seed in 0..options.seeds {
        for (arm, found) in arms.iter().zip(&mut results.arms) {
            let begun = Instant::now();
            let how = EncodeOptions {
                steps,
                batch: BATCH,
                lr: RATE,
                seed,
                ..EncodeOptions::new(arm.network.clone())
            };
            let measured = (options.threads, EVERY);
            let out = trial::run(&material, &arm.network, arm.kind, &how, measured, options.style)?;
            found.parameters = out.parameters;
            found.weight_bytes = out.weight_bytes;
            found.bytes = material.low_bytes + material.manifest_bytes + out.weight_bytes;
            found.psnr.push(out.psnr);
            found.train_loss.push(out.loss);
            found.seconds.push(begun.elapsed().as_secs_f64());
            say(&format!(
                "{:<38} seed {seed}  {:.3} dB  ({:.0} s so far)",
                arm.name,
                out.psnr,
                started.elapsed().as_secs_f64()
            ));
        }
    }
    let goal = results.arms[0].bytes;
    for codec in [LowCodec::H264, LowCodec::H265] {
        let (bytes, psnr, missed) = trial::coded(&ffmpeg, &material, codec, goal, (options.threads, EVERY))?;
        say(&format!("{} {bytes} bytes  {psnr:.2} dB", codec.encoder()));
        let name = codec.encoder().trim_start_matches("lib").to_string();
        results.codecs.push(CodecResult { name, bytes, psnr, missed });
    }
    results.seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

/// Markdown for `docs/results/`; `command` is what re-runs it.
pub fn markdown(results: &Results, command: &str) -> String {
    let mut text = format!("# {NAME}\n\n**The paper's claim.** {CLAIM}\n\n");
    let mut verdicts: Vec<String> = ORDER
        .iter()
        .map(|&(a, b)| {
            let (a, b) = (&results.arms[a], &results.arms[b]);
            let (more, noise, word) = apart(&a.psnr, &b.psnr);
            let (a, b) = (&a.name, &b.name);
            format!("\"{a}\" {more:+.3} dB against \"{b}\" (two standard errors {noise:.3}): {word}.")
        })
        .collect();
    let modulated = mean_std(&results.arms[0].psnr).0;
    for codec in &results.codecs {
        let more = codec.psnr - modulated;
        verdicts.push(format!(
            "{} {more:+.2} dB against the modulated network at equal bytes{}.",
            codec.name,
            if more > 0.0 { ": the codec wins" } else { ": the network wins" }
        ));
    }
    writeln!(text, "**Expected at this size.** {EXPECTATION}.\n\n**Measured.** {}\n", verdicts.join(" "))
        .ok();
    text += "| arm | parameters sent | bytes: weights | bytes: all | PSNR dB (seeds) | mean ± std | above interpolation | train loss | training s |\n\
             | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |\n";
    writeln!(
        text,
        "| interpolated (bicubic) | 0 | 0 | {} | | {:.2} | | | |",
        results.low_bytes + results.manifest_bytes,
        results.bicubic
    )
    .ok();
    for arm in &results.arms {
        let (mean, std) = mean_std(&arm.psnr);
        let seeds = arm.psnr.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(", ");
        writeln!(
            text,
            "| {} | {} | {} | {} | {seeds} | {mean:.3} ± {std:.3} | {:+.2} | {:.3} | {:.0} |",
            arm.name,
            arm.parameters,
            arm.weight_bytes,
            arm.bytes,
            mean - results.bicubic,
            mean_std(&arm.train_loss).0,
            mean_std(&arm.seconds).0
        )
        .ok();
    }
    for codec in &results.codecs {
        let missed = codec.missed.as_deref().map_or(String::new(), |why| format!(" ({why})"));
        writeln!(
            text,
            "| {}, two passes, medium{missed} | | | {} | | {:.2} | {:+.2} | | |",
            codec.name,
            codec.bytes,
            codec.psnr,
            codec.psnr - results.bicubic
        )
        .ok();
    }
    let seeds = results.arms.first().map_or(0, |arm| arm.psnr.len());
    writeln!(
        text,
        "\n{} chunks of {FRAMES} frames of {}, scaled to {}x{}; low resolution half of that, x264 of quality {CRF}, {} bytes; networks see what a player decodes. EDSR of 2 blocks of 16 \
         channels (1 of 8 where bytes are equal), bicubic residual; {} steps of {BATCH} patches of 48 pixels (shared out among the chunks' own networks), Adam {RATE}, warm-up, cosine; weights of 16 bits. \
         PSNR over colours, mean over every {EVERY}rd frame, which was learnt from: overfitting is the method. {seeds} seed{}. Small-scale results: not comparable with published full-data figures. {:.0} minutes in all.\n",
        results.chunks,
        results.data,
        SIZE[1],
        SIZE[0],
        results.low_bytes,
        results.steps,
        if seeds == 1 { "" } else { "s" },
        results.seconds / 60.0
    )
    .ok();
    writeln!(text, "```\n{command}\n```").ok();
    text
}

/// Mean and seeds of every arm.
pub fn chart(results: &Results) -> String {
    let mut bars = vec![Bar::of_seeds("interpolated".to_string(), &[results.bicubic])];
    bars.extend(results.arms.iter().map(|arm| Bar::of_seeds(arm.name.clone(), &arm.psnr)));
    bars.extend(
        results.codecs.iter().map(|own| Bar::of_seeds(format!("{}, equal bytes", own.name), &[own.psnr])),
    );
    let values = || {
        let arms = results.arms.iter().flat_map(|arm| arm.psnr.iter().copied());
        arms.chain(results.codecs.iter().map(|own| own.psnr)).chain([results.bicubic])
    };
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    BarChart {
        title: format!("{NAME}: PSNR over colours, higher is better"),
        x_label: "PSNR, dB".into(),
        bars,
        x_range: Some(((low - 1.0).floor(), (high + 0.5).ceil())),
        ..Default::default()
    }
    .to_svg()
}
