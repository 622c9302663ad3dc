//! Layers, pools and gates on codes.

use ocelli_kernels::conv::Window;
use ocelli_kernels::gemm;
use ocelli_kernels::int8::arithmetic::{Add, Fixed, Target};
use ocelli_kernels::int8::elementwise::{Gated, gate};
use ocelli_kernels::int8::pool::Kind;
use ocelli_kernels::int8::winograd::{Filters, TILE};
use ocelli_kernels::int8::{
    Conv, Depthwise, Epilogue, Excess, Isa, MapIn, Output, Pooling, Requantiser, Residual, Weights, Winograd,
    conv, depthwise, pool, winograd,
};

use super::matrix::share_out;
use super::{Context, Shared, Step, part, part_of_units, tasks};
use crate::blob::Blob;

/// Products a task should have at least, as elements of [`tasks`]' measure.
const MACS_PER_UNIT: usize = 64;

/// Rows of pixels that are cut at.
const ROWS: usize = 16;

/// Where a layer writes.
pub(crate) enum Place {
    Codes(*mut u8),
    Numbers(*mut f32),
}

/// A dense or grouped convolution, or a linear layer.
pub(crate) struct ConvCodes {
    pub input: MapIn,
    pub window: Window,
    pub depth: usize,
    pub padding: Box<[u8]>,
    /// Packed weights, group by group.
    pub blob: Blob,
    pub sums: Box<[i32]>,
    pub bytes_per_group: usize,
    pub sums_per_group: usize,
    pub seven_bits: bool,
    /// The weights of every group taken apart, or nothing.
    pub excess: Box<[Option<Excess>]>,
    /// The code beyond the edges.
    pub zero: u8,
    /// Filters of [`winograd`], where that is the way.
    pub filters: Option<Filters>,
    pub groups: usize,
    /// Output channels of a group.
    pub columns: usize,
    pub output_size: [usize; 2],
    pub requantiser: Requantiser,
    pub output: Place,
    pub output_stride: usize,
    pub residual: Option<(*const u8, usize, Add)>,
    pub pixels: usize,
}

impl ConvCodes {
    /// What becomes of the sums of the group whose first output channel is `column`.
    ///
    /// # Safety
    /// The channel exists.
    unsafe fn epilogue(&self, column: usize) -> Epilogue<'_> {
        let stride = self.output_stride;
        // SAFETY: the caller's promise.
        unsafe {
            let output = match self.output {
                Place::Codes(data) => Output::Codes { data: data.add(column), stride },
                Place::Numbers(data) => Output::Reals { data: data.add(column), stride },
            };
            let residual =
                self.residual.map(|(data, stride, add)| Residual { data: data.add(column), stride, add });
            Epilogue { requantiser: &self.requantiser, column, output, residual }
        }
    }

    /// Tile by tile through transformed filters.
    fn run_winograd(&self, filters: &Filters, context: &mut Context<'_, '_>) {
        let (isa, threads) = (Isa::best(), context.pool.threads());
        let [down, across] = self.output_size.map(|extent| extent.div_ceil(TILE));
        let pictures = self.pixels / (self.output_size[0] * self.output_size[1]).max(1);
        let (tiles, panels) = (pictures * down * across, gemm::panels(self.columns));
        let macs = self.pixels * self.columns * self.depth * 9;
        let wanted = tasks(macs / MACS_PER_UNIT, threads, usize::MAX);
        let (by_tiles, by_panels) =
            share_out(wanted, threads, [tiles, 16 * self.depth, self.columns], 2 * ROWS);
        let shared = Shared(self);
        context.pool.run(by_tiles * by_panels, &|task| {
            let own = shared.get();
            // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
            unsafe {
                let layer = Winograd {
                    input: own.input,
                    pad: own.window.pad,
                    depth: own.depth,
                    zero: own.zero,
                    filters,
                    columns: own.columns,
                    output_size: own.output_size,
                    epilogue: own.epilogue(0),
                };
                let tiles = part(tiles, by_tiles, task % by_tiles);
                winograd(isa, &layer, tiles, part(panels, by_panels, task / by_tiles));
            }
        });
    }
}

impl Step for ConvCodes {
    fn run(&self, context: &mut Context<'_, '_>) {
        if let Some(filters) = &self.filters {
            return self.run_winograd(filters, context);
        }
        let (isa, threads) = (Isa::best(), context.pool.threads());
        let panels = gemm::panels(self.columns);
        let taps = self.window.kernel[0] * self.window.kernel[1];
        let macs = self.pixels * self.columns * self.depth * taps;
        let wanted = tasks(macs * self.groups / MACS_PER_UNIT, threads, usize::MAX).div_ceil(self.groups);
        let (by_pixels, by_panels) =
            share_out(wanted, threads, [self.pixels, self.depth * taps, self.columns], 2 * ROWS);
        let shared = Shared(self);
        context.pool.run(self.groups * by_pixels * by_panels, &|task| {
            let own = shared.get();
            let (group, rest) = (task / (by_pixels * by_panels), task % (by_pixels * by_panels));
            let pixels = part_of_units(own.pixels, by_pixels, rest % by_pixels, ROWS);
            let panels = part(panels, by_panels, rest / by_pixels);
            let column = group * own.columns;
            // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
            unsafe {
                let weights = Weights {
                    data: own.blob.as_ptr().cast::<i8>().add(group * own.bytes_per_group),
                    sums: own.sums.as_ptr().add(group * own.sums_per_group),
                    seven_bits: own.seven_bits,
                    excess: own.excess.get(group).and_then(Option::as_ref),
                };
                let mut input = own.input;
                input.data = input.data.add(group * own.depth);
                let layer = Conv {
                    input,
                    window: own.window,
                    depth: own.depth,
                    padding: own.padding.as_ptr(),
                    weights,
                    columns: own.columns,
                    output_size: own.output_size,
                    epilogue: own.epilogue(column),
                };
                conv(isa, &layer, pixels, panels);
            }
        });
    }
}

/// A depthwise convolution.
pub(crate) struct DepthwiseCodes {
    pub input: MapIn,
    pub window: Window,
    pub channels: usize,
    pub zero: u8,
    pub blob: Blob,
    pub seven_bits: bool,
    pub output_size: [usize; 2],
    pub requantiser: Requantiser,
    pub output: *mut u8,
    pub output_stride: usize,
    /// Output rows of the whole batch.
    pub rows: usize,
}

impl Step for DepthwiseCodes {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = Isa::best();
        let work =
            self.rows * self.output_size[1] * self.channels * self.window.kernel[0] * self.window.kernel[1];
        let count = tasks(work / 8, context.pool.threads(), self.rows);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let layer = Depthwise {
                input: own.input,
                window: own.window,
                channels: own.channels,
                zero: own.zero,
                filters: own.blob.as_ptr().cast(),
                seven_bits: own.seven_bits,
                output_size: own.output_size,
                requantiser: &own.requantiser,
                output: own.output,
                output_stride: own.output_stride,
            };
            // SAFETY: the builder checked the maps' extents; tasks write apart from one another.
            unsafe { depthwise(isa, &layer, part(own.rows, count, task), 0..own.channels) };
        });
    }
}

/// What a pool makes of a window.
pub(crate) enum Pick {
    Max,
    Mean { by: Fixed, target: Target },
}

/// A pool.
pub(crate) struct PoolCodes {
    pub input: MapIn,
    pub window: Window,
    pub pad_end: [usize; 2],
    pub pick: Pick,
    pub channels: usize,
    pub zero: u8,
    pub output: *mut u8,
    pub output_stride: usize,
    pub output_size: [usize; 2],
    /// Output rows of the whole batch.
    pub rows: usize,
}

impl Step for PoolCodes {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = Isa::best();
        let work =
            self.rows * self.output_size[1] * self.channels * self.window.kernel[0] * self.window.kernel[1];
        let count = tasks(work / 16, context.pool.threads(), self.rows);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let (by, kind);
            kind = match &own.pick {
                Pick::Max => Kind::Max,
                Pick::Mean { by: one, target } => {
                    by = [*one];
                    Kind::Mean { count_padding: false, by: &by, target: *target }
                }
            };
            let pooling = Pooling {
                input: own.input,
                window: own.window,
                pad_end: own.pad_end,
                kind,
                channels: own.channels,
                zero: own.zero,
                output: own.output,
                output_stride: own.output_stride,
                output_size: own.output_size,
            };
            // SAFETY: the builder checked the extents; tasks write apart from one another.
            unsafe { pool(isa, &pooling, part(own.rows, count, task)) };
        });
    }
}

/// Channels times their gates.
pub(crate) struct GateCodes {
    pub gated: Gated,
    /// Pixels of the whole batch.
    pub total: usize,
}

impl Step for GateCodes {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = Isa::best();
        let count = tasks(self.total * self.gated.channels / 8, context.pool.threads(), self.total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            // SAFETY: the builder checked the extents; tasks write apart from one another.
            unsafe { gate(isa, &own.gated, part(own.total, count, task)) };
        });
    }
}
