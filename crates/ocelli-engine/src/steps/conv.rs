//! Convolutions.

use ocelli_kernels::conv::{Conv, conv};
use ocelli_kernels::depthwise::{Depthwise, depthwise};
use ocelli_kernels::elementwise::{Function, unary};
use ocelli_kernels::gemm;
use ocelli_kernels::winograd::{self, POINTS, Winograd};

use super::{Context, Shared, Step, part, part_of_units, tasks};

/// Products a task should have at least, as elements of [`tasks`]' measure.
const MACS_PER_UNIT: usize = 16;

/// A dense or grouped convolution.
pub(crate) struct Dense {
    /// The first group.
    pub conv: Conv,
    pub groups: usize,
    /// Elements of one group's packed weights.
    pub weights_per_group: usize,
    /// One group's bias, whole panels.
    pub bias_per_group: usize,
    pub pixels: usize,
    /// Applied to the result.
    pub post: Option<Function>,
    /// What `conv` points into.
    pub _owned: [Box<[f32]>; 2],
}

impl Step for Dense {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let c = &self.conv;
        let panels = gemm::panels(c.columns);
        let macs = self.pixels * c.columns * c.depth * c.window.kernel[0] * c.window.kernel[1];
        let wanted = tasks(macs * self.groups / MACS_PER_UNIT, threads, usize::MAX).div_ceil(self.groups);
        let taps = c.window.kernel[0] * c.window.kernel[1];
        let (by_pixels, by_panels) = super::matrix::share_out(
            wanted,
            threads,
            [self.pixels, c.depth * taps, c.columns],
            2 * gemm::tile_rows(isa, 2),
        );
        let shared = Shared(self);
        context.pool.run(self.groups * by_pixels * by_panels, &|task| {
            let own = shared.get();
            let (group, rest) = (task / (by_pixels * by_panels), task % (by_pixels * by_panels));
            let pixels = part_of_units(own.pixels, by_pixels, rest % by_pixels, gemm::tile_rows(isa, 2));
            let panels = part(panels, by_panels, rest / by_pixels);
            // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
            unsafe {
                let mut c = own.conv;
                c.input.data = c.input.data.add(group * c.depth);
                c.weights = c.weights.add(group * own.weights_per_group);
                c.output = c.output.add(group * c.columns);
                c.epilogue = c.epilogue.at(0, 0);
                if !c.epilogue.bias.is_null() {
                    c.epilogue.bias = c.epilogue.bias.add(group * own.bias_per_group);
                }
                if !c.epilogue.residual.is_null() {
                    c.epilogue.residual = c.epilogue.residual.add(group * c.columns);
                }
                // Blocks small enough to be still in the cache when the function is applied.
                let step = if own.post.is_some() { 96 } else { pixels.len().max(1) };
                let mut first = pixels.start;
                while first < pixels.end {
                    let some = first..(first + step).min(pixels.end);
                    first = some.end;
                    conv(isa, &c, some.clone(), panels.clone());
                    if let Some(function) = own.post {
                        let column = panels.start * gemm::PANEL;
                        let n = c.columns.min(panels.end * gemm::PANEL) - column;
                        let y = c.output.add(some.start * c.output_stride + column);
                        unary(isa, function, some.len(), n, y, c.output_stride, y, c.output_stride);
                    }
                }
            }
        });
    }
}

/// A depthwise convolution.
pub(crate) struct DepthwiseStep {
    pub depthwise: Depthwise,
    /// Output rows of the whole batch.
    pub rows: usize,
    pub post: Option<Function>,
    /// Added after the convolution: pointer and distance of pixels.
    pub residual: Option<(*const f32, usize)>,
    /// Bounds that apply after the residual.
    pub bounds: (f32, f32),
    /// What `depthwise` points into.
    pub _bias: Option<Box<[f32]>>,
}

impl Step for DepthwiseStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let d = &self.depthwise;
        let width = d.output_size[1];
        let work = self.rows * width * d.channels * d.window.kernel[0] * d.window.kernel[1] / 4;
        let count = tasks(work, context.pool.threads(), self.rows);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let d = &own.depthwise;
            let rows = part(own.rows, count, task);
            // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
            unsafe {
                depthwise(isa, d, rows.clone(), 0..d.channels);
                let pixels = rows.len() * width;
                let y = d.output.add(rows.start * width * d.output_stride);
                if let Some((residual, stride)) = own.residual {
                    let pair = ocelli_kernels::elementwise::Pair {
                        a: y,
                        a_step: 1,
                        b: residual.add(rows.start * width * stride),
                        b_step: 1,
                        low: own.bounds.0,
                        high: own.bounds.1,
                    };
                    let add = ocelli_kernels::elementwise::Operation::Add;
                    ocelli_kernels::elementwise::binary(
                        isa,
                        add,
                        pixels,
                        d.channels,
                        pair,
                        d.output_stride,
                        stride,
                        y,
                        d.output_stride,
                    );
                }
                if let Some(function) = own.post {
                    unary(isa, function, pixels, d.channels, y, d.output_stride, y, d.output_stride);
                }
            }
        });
    }
}

/// A 3×3 convolution by Winograd's method.
pub(crate) struct WinogradStep {
    pub winograd: Winograd,
    /// Tiles of the whole batch.
    pub tiles: usize,
    pub post: Option<Function>,
    /// The padded bias.
    pub _bias: Box<[f32]>,
}

impl Step for WinogradStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let shared = Shared(self);
        let w = &self.winograd;
        let panels = gemm::panels(w.columns);
        for (first, tiles) in gemm::split(self.tiles, w.block) {
            let by_tiles = tasks(tiles * POINTS * w.depth, threads, tiles);
            // SAFETY (all three): the builder checked the extents; tasks write apart from one another, and each
            // phase ends before the next begins.
            context.pool.run(by_tiles, &|task| unsafe {
                winograd::transform_input(isa, &shared.get().winograd, first, part(tiles, by_tiles, task));
            });
            let halves = if threads == 1 { 1 } else { panels.div_ceil(4).min(2) };
            context.pool.run(POINTS * halves, &|task| unsafe {
                let own = part(panels, halves, task % halves);
                winograd::multiply(isa, &shared.get().winograd, tiles, task / halves, own);
            });
            let by_tiles = tasks(tiles * POINTS * w.columns, threads, tiles);
            context.pool.run(by_tiles, &|task| unsafe {
                winograd::transform_output(isa, &shared.get().winograd, first, part(tiles, by_tiles, task));
            });
        }
        if let Some(function) = self.post {
            let pixels = w.output_size[0] * w.output_size[1] * (self.tiles / (w.tiles()[0] * w.tiles()[1]));
            let count = tasks(pixels * w.columns * 4, threads, pixels);
            context.pool.run(count, &|task| {
                let w = &shared.get().winograd;
                let own = part(pixels, count, task);
                // SAFETY: as above.
                unsafe {
                    let y = w.output.add(own.start * w.output_stride);
                    unary(isa, function, own.len(), w.columns, y, w.output_stride, y, w.output_stride);
                }
            });
        }
    }
}
