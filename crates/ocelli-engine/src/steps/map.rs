//! Pooling, resizing and padding of maps.

use ocelli_kernels::pool::{Pooling, pool};
use ocelli_kernels::resize::{Resize, Taps, resize};

use super::{Context, Shared, Step, part, tasks};

/// A pooling.
pub(crate) struct Pool {
    pub pooling: Pooling,
    /// Output rows of the whole batch.
    pub rows: usize,
}

impl Step for Pool {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let p = &self.pooling;
        let work = self.rows * p.output_size[1] * p.channels * p.window.kernel[0] * p.window.kernel[1] / 2;
        let count = tasks(work, context.pool.threads(), self.rows);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            // SAFETY: the builder checked the extents; tasks write apart from one another.
            unsafe { pool(isa, &own.pooling, part(own.rows, count, task)) };
        });
    }
}

/// A resize; the taps are worked out when the session is made.
pub(crate) struct ResizeStep {
    pub resize: Resize<'static>,
    pub down: Box<[Taps]>,
    pub across: Box<[Taps]>,
    pub batch: usize,
}

impl Step for ResizeStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let rows = self.batch * self.down.len();
        let count = tasks(rows * self.across.len() * self.resize.channels * 2, context.pool.threads(), rows);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let r = Resize { rows: &own.down, columns: &own.across, ..own.resize };
            // SAFETY: the builder checked the extents; tasks write apart from one another.
            unsafe { resize(isa, &r, part(rows, count, task)) };
        });
    }
}

/// Means over windows that share a map out into the output's extent, as PyTorch's adaptive pooling.
pub(crate) struct Adaptive {
    pub x: *const f32,
    /// Distances of pictures, channels, rows, pixels.
    pub x_strides: [usize; 4],
    pub input: [usize; 2],
    pub y: *mut f32,
    pub y_strides: [usize; 4],
    /// `[n, c, h, w]`
    pub shape: [usize; 4],
}

impl Step for Adaptive {
    fn run(&self, context: &mut Context<'_, '_>) {
        let [n, c, h, w] = self.shape;
        let shared = Shared(self);
        context.pool.run(n * h * w, &|task| {
            let own = shared.get();
            let (picture, oy, ox) = (task / (h * w), task / w % h, task % w);
            let window = |at: usize, input: usize, output: usize| {
                at * input / output..((at + 1) * input).div_ceil(output)
            };
            let (ys, xs) = (window(oy, own.input[0], h), window(ox, own.input[1], w));
            let count = (ys.len() * xs.len()) as f32;
            for channel in 0..c {
                let mut sum = 0.0;
                for y in ys.clone() {
                    for x in xs.clone() {
                        let s = own.x_strides;
                        // SAFETY: windows lie inside of the map.
                        sum += unsafe { *own.x.add(picture * s[0] + channel * s[1] + y * s[2] + x * s[3]) };
                    }
                }
                let s = own.y_strides;
                // SAFETY: the place lies inside of the output.
                unsafe { *own.y.add(picture * s[0] + channel * s[1] + oy * s[2] + ox * s[3]) = sum / count };
            }
        });
    }
}
