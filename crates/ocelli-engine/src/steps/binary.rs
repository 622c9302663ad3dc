//! Convolutions of signs.

use ocelli_kernels::binary::{BinaryConv, convolve, pack_signs, signs};

use super::conv::{Dense, DepthwiseStep};
use super::{Context, Shared, Step, part, part_of_units, tasks};

/// Signs that a task's element stands for, as products are counted: one instruction handles hundreds.
const SIGNS_PER_UNIT: usize = 256;

/// A map whose signs are taken, row by row.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub x: *const f32,
    pub picture: usize,
    pub row: usize,
    pub pixel: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// Pictures.
    pub batch: usize,
}

impl Source {
    fn rows(&self) -> usize {
        self.batch * self.height
    }

    /// The first number of a row, counted through the batch.
    fn at(&self, row: usize) -> *const f32 {
        self.x.wrapping_add(row / self.height * self.picture + row % self.height * self.row)
    }
}

/// Packs the signs of its input, where these are not bits already, then counts.
pub(crate) struct BinaryStep {
    pub source: Option<Source>,
    /// A number per channel that is added before signs are taken.
    pub shift: Option<Box<[f32]>>,
    /// `[batch][height][width][words]`
    pub bits: *mut u64,
    pub words: usize,
    pub conv: BinaryConv,
    /// Output pixels of the whole batch.
    pub pixels: usize,
    pub panels: usize,
    /// Words per output pixel that must be zeroed first, and where they begin.
    pub cleared: Option<(*mut u64, usize)>,
    /// What `conv` points into.
    pub _numbers: Vec<Box<[f32]>>,
    pub _words: [Box<[u64]>; 2],
    pub _ones: Box<[i32]>,
}

impl Step for BinaryStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let shared = Shared(self);
        if let Some(source) = &self.source {
            let rows = source.rows();
            let count = tasks(rows * source.width * source.channels, threads, rows);
            context.pool.run(count, &|task| {
                let own = shared.get();
                let Some(source) = own.source else { return };
                let Source { channels, width, pixel, .. } = source;
                let shift = own.shift.as_ref().map_or(std::ptr::null(), |shift| shift.as_ptr());
                for row in part(rows, count, task) {
                    // SAFETY: the builder checked the map's extents and gave room for its words.
                    unsafe {
                        let bits = own.bits.add(row * width * own.words);
                        pack_signs(isa, width, channels, source.at(row), pixel, shift, bits, own.words);
                    }
                }
            });
        }
        let taps = self.conv.window.kernel[0] * self.conv.window.kernel[1];
        let work = self.pixels * self.conv.columns * self.words.max(1) * taps * 64 / SIGNS_PER_UNIT;
        let count = tasks(work, threads, self.pixels);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let pixels = part_of_units(own.pixels, count, task, 4);
            if let Some((words, per_pixel)) = own.cleared {
                // SAFETY: the task's own pixels, for which the builder gave room.
                unsafe {
                    words.add(pixels.start * per_pixel).write_bytes(0, pixels.len() * per_pixel);
                }
            }
            // SAFETY: as above; tasks write apart from one another.
            unsafe { convolve(isa, &own.conv, pixels, 0..own.panels) };
        });
    }
}

/// Writes signs as numbers, then convolves these: for groups of channels.
pub(crate) struct SignedStep {
    pub source: Source,
    pub shift: Option<Box<[f32]>>,
    /// `[batch][height][width][channels]`
    pub signs: *mut f32,
    pub conv: Signed,
    /// The weights that `conv` points into.
    pub _numbers: Box<[f32]>,
}

/// The convolution of numbers behind a [`SignedStep`].
pub(crate) enum Signed {
    Dense(Box<Dense>),
    Depthwise(Box<DepthwiseStep>),
}

impl Step for SignedStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let shared = Shared(self);
        let rows = self.source.rows();
        let count = tasks(rows * self.source.width * self.source.channels, threads, rows);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let Source { channels, width, pixel, .. } = own.source;
            let shift = own.shift.as_ref().map_or(std::ptr::null(), |shift| shift.as_ptr());
            for row in part(rows, count, task) {
                // SAFETY: the builder checked the map's extents and gave room for its signs.
                unsafe {
                    let to = own.signs.add(row * width * channels);
                    signs(isa, width, channels, own.source.at(row), pixel, shift, to, channels);
                }
            }
        });
        match &self.conv {
            Signed::Dense(conv) => conv.run(context),
            Signed::Depthwise(conv) => conv.run(context),
        }
    }
}
