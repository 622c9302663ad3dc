//! `ocelli video deliver bench`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use ocelli_data::Rng;
use ocelli_video::deliver::init::initialize;
use ocelli_video::deliver::upscale::{Precision, Upscaler};
use ocelli_video::deliver::{Config, Residual};

use crate::cli::Global;
use crate::cli::output::{Format, line, table};

/// Time enlarging with each network, floats and 8-bit integers in turns; random weights.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    ocelli video deliver bench\n  \
    ocelli video deliver bench espcn edsr-s --size 1280x720 --threads 1")]
pub struct Bench {
    /// Networks
    #[arg(value_name = "NAME", default_values_t = ["espcn-xs", "espcn-s", "espcn"].map(String::from))]
    networks: Vec<String>,
    /// Size of the enlarged frames
    #[arg(long, default_value = "1920x1080", value_name = "WxH")]
    size: String,
    /// Factor between both resolutions
    #[arg(long, default_value_t = 2, value_name = "2|3|4")]
    scale: usize,
    /// Frames of each kind; medians are told
    #[arg(long, default_value_t = 11, value_name = "N")]
    rounds: usize,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Bench {
    pub(in crate::cli) fn run(self, global: &Global) -> Result<ExitCode> {
        let sides: Vec<usize> = self.size.split('x').filter_map(|side| side.parse().ok()).collect();
        let &[width, height] = sides.as_slice() else {
            bail!("--size {}: expected WIDTHxHEIGHT, such as 1920x1080", self.size);
        };
        if !(2..=4).contains(&self.scale) {
            bail!("--scale {}: expected 2, 3 or 4", self.scale);
        }
        if width == 0 || height == 0 || width.max(height) > 16_384 {
            bail!("--size {}: expected sides of 1 to 16384", self.size);
        }
        if !(1..=100_000).contains(&self.rounds) {
            bail!("--rounds {}: expected 1 to 100000", self.rounds);
        }
        let low = [height.div_ceil(self.scale), width.div_ceil(self.scale)];
        let threads = global.threads();
        // Noise of low contrast: pictures do not matter to the time, ranges must not be empty.
        let mut rng = Rng::for_sample(7, 0, 0);
        let frame: Vec<u8> = (0..low[0] * low[1] * 3).map(|_| 96 + (rng.next_u64() >> 59) as u8).collect();
        let mut rows = Vec::new();
        let mut json = Vec::new();
        for name in &self.networks {
            let Some(config) = Config::preset(name, self.scale) else { bail!("no network called '{name}'") };
            let config = Config { residual: Residual::Bicubic, ..config }.with_chunks(1);
            config.check()?;
            let net = initialize(config.build(&Device::flex()), &config, 0);
            let kinds = [Precision::Float, Precision::Int8];
            let mut made = Vec::new();
            for precision in kinds {
                let begun = Instant::now();
                let scaler = Upscaler::new(&config, &net, 0, low, threads, precision, Some(&frame))?;
                made.push((scaler, begun.elapsed().as_secs_f64(), Vec::with_capacity(self.rounds)));
            }
            let size = made[0].0.output_size();
            let mut high = vec![0u8; size[0] * size[1] * 3];
            for round in 0..=self.rounds {
                for (scaler, _, times) in &mut made {
                    let begun = Instant::now();
                    scaler.run(&frame, &mut high)?;
                    if round > 0 {
                        times.push(begun.elapsed().as_secs_f64());
                    }
                }
            }
            for ((_, compiling, times), kind) in made.iter_mut().zip(["float", "int8"]) {
                times.sort_by(f64::total_cmp);
                let median = times[times.len() / 2];
                rows.push(vec![
                    name.clone(),
                    kind.to_string(),
                    format!("{:.1}", median * 1e3),
                    format!("{:.1}", 1.0 / median),
                    format!("{compiling:.2}"),
                ]);
                json.push(serde_json::json!({
                    "network": name, "arithmetic": kind, "ms": median * 1e3, "frames_per_s": 1.0 / median,
                    "compile_s": compiling, "width": size[1], "height": size[0], "threads": threads,
                }));
            }
        }
        if self.format == Format::Json {
            line(&serde_json::to_string_pretty(&json)?)?;
        } else {
            line(&format!(
                "{width}x{height} from {}x{}, {threads} threads, medians of {}",
                low[1], low[0], self.rounds
            ))?;
            let header = ["network", "arithmetic", "ms a frame", "frames/s", "new chunk (s)"];
            line(&table(&header, &rows, &[2, 3, 4]))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
