//! Frames through the engine, in tiles.

use std::sync::Mutex;

use ocelli_compress::ptq;
use ocelli_engine::{Model, RunOptions, Session};
use ocelli_graph::codes::Rounding;
use ocelli_graph::passes;

use super::bicubic::{phases, upsample_rows};
use super::config::{Backbone, Config, Residual};
use super::deploy;
use super::net::{MEAN, Net};
use crate::VideoError;

/// Arithmetic of a player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Float,
    /// 8-bit integers, ranges found in the chunk's first frame.
    Int8,
}

/// Low-resolution pixels of a tile with its rim, at most: maps of 64 channels take 256 bytes a pixel.
const TILE_PIXELS: usize = 96 << 10;

/// A network of one chunk, compiled for frames of one size.
pub struct Upscaler {
    config: Config,
    size: [usize; 2],
    tile: [usize; 2],
    rim: usize,
    /// Without, frames are interpolated.
    model: Option<Model>,
    threads: usize,
    idle: Mutex<Vec<Worker>>,
}

impl std::fmt::Debug for Upscaler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upscaler({}, tiles of {:?} in {:?})", self.config.architecture(), self.tile, self.size)
    }
}

/// What a thread works with.
struct Worker {
    session: Option<Session>,
    input: Vec<f32>,
    output: Vec<f32>,
}

/// A stretch of one axis: where the tile begins, and which of its pixels are right whatever is beyond its edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: usize,
    valid: [usize; 2],
}

/// Tiles of `tile` pixels over `extent`, `rim` pixels of which are not to be trusted where the tile ends inside the picture.
fn spans(extent: usize, tile: usize, rim: usize) -> Vec<Span> {
    if tile >= extent {
        return vec![Span { start: 0, valid: [0, extent] }];
    }
    let step = tile - 2 * rim;
    let mut all: Vec<Span> = Vec::new();
    let mut done = 0;
    while done < extent {
        let start = done.saturating_sub(rim).min(extent - tile);
        let end = if start + tile == extent { extent } else { start + tile - rim };
        all.push(Span { start, valid: [done, end] });
        done = end;
        debug_assert!(all.len() <= extent / step + 2);
    }
    all
}

/// Height and width of tiles for a picture of `size`, so that there are about equally many for every thread.
fn tile_of(size: [usize; 2], rim: usize, threads: usize, pixels: usize) -> [usize; 2] {
    // Wide tiles: rows stay long.
    let widest = 1024;
    let columns = size[1].div_ceil(widest);
    let width = if columns == 1 { size[1] } else { (size[1].div_ceil(columns) + 2 * rim).min(size[1]) };
    let most = (pixels / width).max(4 * rim + 8);
    let mut rows = if size[0] <= most { 1 } else { size[0].div_ceil(most - 2 * rim) };
    // Threads share rows of tiles out.
    while !rows.is_multiple_of(threads) && size[0] / (rows + 1) > 16 {
        rows += 1;
    }
    let height = if rows == 1 { size[0] } else { (size[0].div_ceil(rows) + 2 * rim).min(size[0]) };
    [height, width]
}

impl Upscaler {
    /// Compiles `net` in `chunk` for frames of `size` (height, width). With [`Precision::Int8`] `sample` is a frame of the chunk,
    /// `[height, width, 3]`.
    ///
    /// # Errors
    /// If the network cannot be captured, quantised or compiled.
    pub fn new(
        config: &Config,
        net: &Net,
        chunk: usize,
        size: [usize; 2],
        threads: usize,
        precision: Precision,
        sample: Option<&[u8]>,
    ) -> Result<Self, VideoError> {
        // The mean over the map that attention takes is the whole picture's.
        let whole = config.backbone == Backbone::Rcan;
        let rim = config.reach();
        let tile = if whole { size } else { tile_of(size, rim, threads.max(1), TILE_PIXELS) };
        let factor = if config.takes_enlarged() { config.scale } else { 1 };
        let graph = deploy::graph(config, net, chunk, tile.map(|extent| extent * factor))?;
        let mut float = graph.clone();
        passes::optimize(&mut float);
        let mut own = Self {
            config: config.clone(),
            size,
            tile,
            rim,
            model: Some(Model::compile(float, "")?),
            threads: threads.max(1),
            idle: Mutex::new(Vec::new()),
        };
        if precision == Precision::Int8 {
            let Some(sample) = sample else {
                return Err(VideoError::Config("8-bit arithmetic needs a frame to find ranges in".into()));
            };
            let batches = own.samples(sample);
            let settings = ptq::Settings {
                activations: ocelli_compress::range::Estimator::MinMax,
                correct: false,
                round_steps: None,
                report: false,
                ..ptq::Settings::default()
            };
            let options = RunOptions { threads: own.threads, pin: false };
            let quantised = ptq::quantise(graph, &batches, &settings, options, &mut |_, _, _| {})?;
            let mut graph = quantised.graph;
            passes::lower_to_integers(&mut graph, Rounding::default());
            passes::fuse_code_sums(&mut graph);
            own.model = Some(Model::compile(graph, "")?);
        }
        Ok(own)
    }

    /// Bicubic interpolation, as in networks' residuals, for frames of `size` (height, width).
    pub fn bicubic(scale: usize, size: [usize; 2], threads: usize) -> Self {
        let config = Config { residual: Residual::Bicubic, ..Config::new(Backbone::Espcn, scale) };
        let (rim, threads) = (2, threads.max(1));
        let tile = tile_of(size, rim, threads, TILE_PIXELS);
        Self { config, size, tile, rim, model: None, threads, idle: Mutex::new(Vec::new()) }
    }

    /// Height and width of the enlarged frames.
    pub fn output_size(&self) -> [usize; 2] {
        self.size.map(|extent| extent * self.config.scale)
    }

    /// The compiled network of a tile; none where frames are interpolated.
    pub fn model(&self) -> Option<&Model> {
        self.model.as_ref()
    }

    /// Tiles of a frame.
    fn tiles(&self) -> Vec<[Span; 2]> {
        let rows = spans(self.size[0], self.tile[0], self.rim);
        let columns = spans(self.size[1], self.tile[1], self.rim);
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| [row, column])).collect()
    }

    /// Up to two tiles of a frame as the network takes them.
    fn samples(&self, low: &[u8]) -> Vec<ocelli_compress::Batch> {
        let tiles = self.tiles();
        // All maps of a deep network take memory and time enough once.
        let most = if self.config.sites().len() > 8 { 1 } else { 2 };
        let step = tiles.len().div_ceil(most);
        let batch = |tile: &[Span; 2]| {
            let mut data = Vec::new();
            self.fill(low, tile, &mut data);
            ocelli_compress::Batch { count: 1, data }
        };
        tiles.iter().step_by(step).map(batch).collect()
    }

    /// Puts the tile of `low` into the network's input.
    fn fill(&self, low: &[u8], tile: &[Span; 2], input: &mut Vec<f32>) {
        let [height, width] = self.tile;
        let mean = if deploy::takes_mean_away(&self.config) { MEAN } else { [0.0; 3] };
        input.clear();
        if !self.config.takes_enlarged() {
            for y in 0..height {
                let at = ((tile[0].start + y) * self.size[1] + tile[1].start) * 3;
                let row = low[at..at + width * 3].as_chunks::<3>().0;
                input.extend(
                    row.iter().flat_map(|pixel| {
                        std::array::from_fn::<f32, 3, _>(|c| f32::from(pixel[c]) - mean[c])
                    }),
                );
            }
            return;
        }
        let enlarged = self.enlarged(low, tile);
        input.extend(
            enlarged
                .as_chunks::<3>()
                .0
                .iter()
                .flat_map(|pixel| std::array::from_fn::<f32, 3, _>(|c| pixel[c] - mean[c])),
        );
    }

    /// The tile enlarged bicubically, with what surrounds it in the picture.
    fn enlarged(&self, low: &[u8], tile: &[Span; 2]) -> Vec<f32> {
        const AROUND: usize = 2;
        let scale = self.config.scale;
        // Two pixels more on every side than the interpolation reads, where there are any.
        let [rows, columns] = [0, 1].map(|axis| {
            let start = tile[axis].start.saturating_sub(AROUND);
            [start, (tile[axis].start + self.tile[axis] + AROUND).min(self.size[axis])]
        });
        let (height, width) = (rows[1] - rows[0], columns[1] - columns[0]);
        let mut around = Vec::with_capacity(height * width * 3);
        for y in rows[0]..rows[1] {
            let at = (y * self.size[1] + columns[0]) * 3;
            around.extend(low[at..at + width * 3].iter().map(|&value| f32::from(value)));
        }
        let enlarged = upsample_rows(&around, [height, width, 3], scale);
        let (top, left) = ((tile[0].start - rows[0]) * scale, (tile[1].start - columns[0]) * scale);
        let wide = width * scale * 3;
        let mut own = Vec::with_capacity(self.tile[0] * self.tile[1] * scale * scale * 3);
        for y in top..top + self.tile[0] * scale {
            own.extend_from_slice(&enlarged[y * wide + left * 3..][..self.tile[1] * scale * 3]);
        }
        own
    }

    /// Enlarges `low` `[height, width, 3]` to `high` `[scale · height, scale · width, 3]`, clamped and rounded halves to even.
    ///
    /// # Errors
    /// If the lengths are others, or the engine cannot run.
    pub fn run(&self, low: &[u8], high: &mut [u8]) -> Result<(), VideoError> {
        let [height, width] = self.output_size();
        if low.len() != self.size[0] * self.size[1] * 3 || high.len() != height * width * 3 {
            return Err(VideoError::Config(format!(
                "frames of {} and {} bytes, expected {:?} pixels enlarged by {}",
                low.len(),
                high.len(),
                self.size,
                self.config.scale
            )));
        }
        // A row of tiles after the other: each is a stretch of whole rows of the result, which nobody else writes.
        let columns = spans(self.size[1], self.tile[1], self.rim);
        let rows = spans(self.size[0], self.tile[0], self.rim);
        let mut rest = high;
        let mut bands = Vec::with_capacity(rows.len());
        for row in rows {
            let (own, after) =
                rest.split_at_mut((row.valid[1] - row.valid[0]) * self.config.scale * width * 3);
            bands.push((row, own));
            rest = after;
        }
        let threads = self.threads.min(bands.len());
        let alone = if bands.len() == 1 { self.threads } else { 1 };
        let bands = Mutex::new(bands);
        let work = || -> Result<(), VideoError> {
            let mut worker = self.worker(alone)?;
            loop {
                let next = bands.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
                let Some((row, band)) = next else { break };
                for &column in &columns {
                    let tile = [row, column];
                    if let Some(session) = &mut worker.session {
                        self.fill(low, &tile, &mut worker.input);
                        session.run(&[&worker.input], &mut [&mut worker.output])?;
                    }
                    self.finish(low, &tile, &worker.output, band);
                }
            }
            self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(worker);
            Ok(())
        };
        if threads <= 1 {
            return work();
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn worker(&self, threads: usize) -> Result<Worker, VideoError> {
        let kept = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        if let Some(worker) = kept {
            return Ok(worker);
        }
        let Some(model) = &self.model else {
            return Ok(Worker { session: None, input: Vec::new(), output: Vec::new() });
        };
        let session = Some(model.session(1, RunOptions { threads, pin: false })?);
        let scale = self.config.scale;
        let outputs = self.tile[0] * self.tile[1] * scale * scale * 3;
        Ok(Worker { session, input: Vec::new(), output: vec![0.0; outputs] })
    }

    /// The valid pixels of a tile's output as bytes, into the rows `band` of the result.
    fn finish(&self, low: &[u8], tile: &[Span; 2], output: &[f32], band: &mut [u8]) {
        let scale = self.config.scale;
        // Of VDSR the enlarged picture is a part of the network.
        let adds_picture =
            self.config.backbone == Backbone::Vdsr || self.config.residual == Residual::Bicubic;
        // The enlarged picture has its mean colour.
        let mean = (deploy::takes_mean_away(&self.config) && !adds_picture).then_some(MEAN);
        let mut base = Base::new(self, low, tile, adds_picture);
        let [rows, columns] = tile.map(|span| span.valid);
        let wide = (columns[1] - columns[0]) * scale * 3;
        let left = (columns[0] - tile[1].start) * 3;
        let mut row = vec![0.0f32; wide];
        let (width, begin) = (self.size[1] * scale * 3, columns[0] * scale * 3);
        let mut lines = band.chunks_exact_mut(width);
        for y in (rows[0] - tile[0].start)..(rows[1] - tile[0].start) {
            for i in 0..scale {
                if output.is_empty() {
                    row.fill(0.0);
                } else if self.config.backbone == Backbone::Espcn {
                    // Of a pixel's 3 s² numbers, 3 s belong to this row.
                    let width = self.tile[1];
                    let own = &output[(y * width * 3 + left) * scale * scale..][..wide * scale];
                    let step = 3 * scale;
                    for (to, from) in row.chunks_exact_mut(step).zip(own.chunks_exact(step * scale)) {
                        to.copy_from_slice(&from[i * step..][..step]);
                    }
                } else {
                    let own = &output[((y * scale + i) * self.tile[1] * 3 + left) * scale..][..wide];
                    row.copy_from_slice(own);
                    if let Some(mean) = mean {
                        for pixel in row.as_chunks_mut::<3>().0 {
                            (0..3).for_each(|c| pixel[c] += mean[c]);
                        }
                    }
                }
                base.add(tile[0].start + y, i, &mut row);
                let Some(line) = lines.next() else { return };
                for (byte, value) in line[begin..begin + wide].iter_mut().zip(&row) {
                    *byte = to_byte(*value);
                }
            }
        }
    }
}

/// Clamped to 0..255 and rounded, halves to even. Adding 2²³ leaves no place for a fraction.
fn to_byte(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// The picture enlarged bicubically, row by row: each source row is widened once.
struct Base<'a> {
    scaler: &'a Upscaler,
    low: &'a [u8],
    columns: [usize; 2],
    phases: Vec<(isize, [f32; 4])>,
    /// Widened rows of the picture, by the row's number modulo 4.
    rows: [(Option<usize>, Vec<f32>); 4],
    /// Whether the picture is added at all.
    adds: bool,
}

impl<'a> Base<'a> {
    fn new(scaler: &'a Upscaler, low: &'a [u8], tile: &[Span; 2], adds: bool) -> Self {
        let rows = std::array::from_fn(|_| (None, Vec::new()));
        let phases = phases(scaler.config.scale);
        Self { scaler, low, columns: tile[1].valid, phases, rows, adds }
    }

    /// Adds row `i` of the `scale` that row `y` of the picture becomes.
    fn add(&mut self, y: usize, i: usize, row: &mut [f32]) {
        if !self.adds {
            return;
        }
        let height = self.scaler.size[0] as isize;
        let (first, weights) = self.phases[i];
        let taps: [usize; 4] =
            std::array::from_fn(|tap| (y as isize + first + tap as isize).clamp(0, height - 1) as usize);
        for tap in taps {
            self.widen(tap);
        }
        let [a, b, c, d] = taps.map(|tap| &self.rows[tap % 4].1);
        let w = weights;
        for ((((out, a), b), c), d) in row.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *out += (w[0] * a + w[1] * b) + (w[2] * c + w[3] * d);
        }
    }

    fn widen(&mut self, y: usize) {
        let slot = &mut self.rows[y % 4];
        if slot.0 == Some(y) {
            return;
        }
        slot.0 = Some(y);
        let width = self.scaler.size[1];
        let scale = self.phases.len();
        let source = &self.low[y * width * 3..][..width * 3];
        // With two pixels more on both sides, clamped to the picture.
        let padded: Vec<f32> = (self.columns[0] as isize - 2..self.columns[1] as isize + 2)
            .flat_map(|x| {
                let at = x.clamp(0, width as isize - 1) as usize * 3;
                [0, 1, 2].map(|c| f32::from(source[at + c]))
            })
            .collect();
        let count = self.columns[1] - self.columns[0];
        slot.1.resize(count * scale * 3, 0.0);
        for (phase, (first, weights)) in self.phases.iter().enumerate() {
            let offset = (2 + first) as usize * 3;
            for x in 0..count {
                for c in 0..3 {
                    let at = offset + x * 3 + c;
                    slot.1[(x * scale + phase) * 3 + c] = (weights[0] * padded[at]
                        + weights[1] * padded[at + 3])
                        + (weights[2] * padded[at + 6] + weights[3] * padded[at + 9]);
                }
            }
        }
    }
}
