//! Adder convolutions.

use ocelli_kernels::adder::sad::{Encode, SadConv, codes, convolve};
use ocelli_kernels::adder::{self, Finish, finish};
use ocelli_kernels::conv::{Conv, MapIn};
use ocelli_kernels::elementwise::{Function, unary};
use ocelli_kernels::gemm;

use super::{Context, Shared, Step, part, part_of_units, tasks};

/// Distances a task should have at least, as elements of [`tasks`]' measure.
const DISTANCES_PER_UNIT: usize = 6;

/// Distances of codes, likewise.
const CODES_PER_UNIT: usize = 64;

/// Pixels whose sums are still in the cache when they are finished.
const BLOCK: usize = 96;

/// Of numbers: sums are written where the result will be, and finished there.
pub(crate) struct AdderStep {
    pub conv: Conv,
    pub finish: Finish,
    /// Output pixels of the whole batch.
    pub pixels: usize,
    pub post: Option<Function>,
    /// What `conv` and `finish` point into.
    pub _owned: [Box<[f32]>; 3],
}

impl Step for AdderStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let c = &self.conv;
        let (panels, taps) = (gemm::panels(c.columns), c.window.kernel[0] * c.window.kernel[1]);
        let wanted =
            tasks(self.pixels * c.columns * c.depth * taps / DISTANCES_PER_UNIT, threads, usize::MAX);
        let (by_pixels, by_panels) = super::matrix::share_out(
            wanted,
            threads,
            [self.pixels, c.depth * taps, c.columns],
            2 * gemm::tile_rows(isa, 2),
        );
        let shared = Shared(self);
        context.pool.run(by_pixels * by_panels, &|task| {
            let own = shared.get();
            let pixels = part_of_units(own.pixels, by_pixels, task % by_pixels, gemm::tile_rows(isa, 2));
            let panels = part(panels, by_panels, task / by_pixels);
            let columns = panels.start * gemm::PANEL..own.conv.columns.min(panels.end * gemm::PANEL);
            let mut first = pixels.start;
            while first < pixels.end {
                let some = first..(first + BLOCK).min(pixels.end);
                first = some.end;
                // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
                unsafe {
                    adder::conv(isa, &own.conv, some.clone(), panels.clone());
                    finish(isa, &own.finish, some.start, some.len(), columns.start, columns.end);
                    if let Some(function) = own.post {
                        let stride = own.finish.stride;
                        let y = own.finish.output.add(some.start * stride + columns.start);
                        unary(isa, function, some.len(), columns.len(), y, stride, y, stride);
                    }
                }
            }
        });
    }
}

/// Of codes: the input gets some for every group of filters, then sums of absolute differences.
pub(crate) struct AdderCodesStep {
    pub input: MapIn,
    /// Pictures.
    pub batch: usize,
    /// How a pixel becomes codes; places and scale are set group by group.
    pub encode: Encode,
    pub scales: Box<[f32]>,
    /// Codes of the first group.
    pub codes: *mut u8,
    pub conv: SadConv,
    /// Output pixels of the whole batch.
    pub pixels: usize,
    pub post: Option<Function>,
    /// What `conv` points into.
    pub _numbers: [Box<[f32]>; 2],
    pub _bytes: Box<[u8]>,
    pub _groups: Box<[[usize; 2]]>,
    pub _places: Box<[u32]>,
    pub _weights: crate::blob::Blob,
}

impl Step for AdderCodesStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let shared = Shared(self);
        let MapIn { height, width, .. } = self.input;
        let (rows, groups) = (self.batch * height, self.scales.len());
        let count = tasks(rows * width * self.encode.channels * groups / 2, threads, rows);
        context.pool.run(count, &|task| {
            let own = shared.get();
            for row in part(rows, count, task) {
                let at = row / height * own.input.picture + row % height * own.input.row;
                for (group, &scale) in own.scales.iter().enumerate() {
                    let out =
                        own.codes.wrapping_add(group * own.conv.group + row * width * own.encode.padded);
                    let encode = Encode { x: own.input.data.wrapping_add(at), scale, out, ..own.encode };
                    // SAFETY: the builder checked the map's extents and gave room for its codes.
                    unsafe { codes(isa, &encode) };
                }
            }
        });
        let c = &self.conv;
        let taps = c.window.kernel[0] * c.window.kernel[1];
        let work = self.pixels * c.sums * c.channels * taps / CODES_PER_UNIT;
        let count = tasks(work, threads, self.pixels);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let pixels = part_of_units(own.pixels, count, task, 4);
            // SAFETY: as above; tasks write apart from one another.
            unsafe {
                convolve(isa, &own.conv, pixels.clone());
                if let Some(function) = own.post {
                    let (stride, n) = (own.conv.finish.stride, own.conv.outputs);
                    let y = own.conv.finish.output.add(pixels.start * stride);
                    unary(isa, function, pixels.len(), n, y, stride, y, stride);
                }
            }
        });
    }
}
