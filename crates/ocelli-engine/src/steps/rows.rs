//! Soft-max, normalisation, reductions.

use ocelli_kernels::rows;

use super::nest::Nest;
use super::{Context, Shared, Step, part, tasks};

/// Rows whose elements are neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub x: *const f32,
    pub x_stride: usize,
    pub y: *mut f32,
    pub y_stride: usize,
    pub rows: usize,
    pub n: usize,
}

impl Rows {
    fn each(&self, context: &mut Context<'_, '_>, job: &(dyn Fn(*const f32, *mut f32) + Sync)) {
        let count = tasks(self.rows * self.n * 4, context.pool.threads(), self.rows);
        let shared = Shared(*self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            for row in part(own.rows, count, task) {
                // SAFETY: the builder checked the extents.
                unsafe { job(own.x.add(row * own.x_stride), own.y.add(row * own.y_stride)) };
            }
        });
    }
}

/// Soft-max of rows.
pub(crate) struct Softmax {
    pub rows: Rows,
    pub log: bool,
}

impl Step for Softmax {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, n, log) = (context.isa, self.rows.n, self.log);
        self.rows.each(context, &|x, y| {
            // SAFETY: rows of `n` elements.
            unsafe {
                if log {
                    let x = std::slice::from_raw_parts(x, n);
                    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let sum: f32 = x.iter().map(|v| (v - largest).exp()).sum();
                    let shift = largest + sum.ln();
                    for (i, v) in x.iter().enumerate() {
                        *y.add(i) = v - shift;
                    }
                } else {
                    rows::softmax(isa, x, y, n, 1.0);
                }
            }
        });
    }
}

/// Normalises rows.
pub(crate) struct LayerNorm {
    pub rows: Rows,
    pub scale: *const f32,
    pub shift: *const f32,
    pub epsilon: f32,
}

impl Step for LayerNorm {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, n, epsilon) = (context.isa, self.rows.n, self.epsilon);
        let shared = Shared((self.scale, self.shift));
        self.rows.each(context, &|x, y| {
            let &(scale, shift) = shared.get();
            // SAFETY: rows of `n` elements.
            unsafe { rows::layer_norm(isa, x, y, n, scale, shift, epsilon) };
        });
    }
}

/// Normalises groups of channels of `[n, c, ..]`.
pub(crate) struct GroupNorm {
    /// Per picture and group: operand 0 is written, 1 read.
    pub outer: Nest<2>,
    /// Channels of a group, then the rest, likewise.
    pub channels: usize,
    pub channel: [usize; 2],
    pub inner: Nest<2>,
    pub groups: usize,
    pub y: *mut f32,
    pub x: *const f32,
    pub scale: *const f32,
    pub shift: *const f32,
    pub epsilon: f32,
}

impl Step for GroupNorm {
    fn run(&self, context: &mut Context<'_, '_>) {
        let shared = Shared(self);
        context.pool.run(self.outer.len(), &|task| {
            let own = shared.get();
            let [y0, x0] = own.outer.offsets(task);
            let first = task % own.groups * own.channels;
            let count = (own.channels * own.inner.len()) as f64;
            let all = || {
                (0..own.channels).flat_map(|c| (0..own.inner.len()).map(move |i| (c, own.inner.offsets(i))))
            };
            // SAFETY: the builder checked the extents.
            unsafe {
                let at = |c: usize, i: usize| f64::from(*own.x.add(x0 + c * own.channel[1] + i));
                let mean = all().map(|(c, [_, i])| at(c, i)).sum::<f64>() / count;
                let variance = all().map(|(c, [_, i])| (at(c, i) - mean).powi(2)).sum::<f64>() / count;
                let inverse = 1.0 / (variance + f64::from(own.epsilon)).sqrt();
                for (c, [to, from]) in all() {
                    let scale = f64::from(*own.scale.add(first + c));
                    let shift = f64::from(*own.shift.add(first + c));
                    let v = (at(c, from) - mean) * inverse * scale + shift;
                    *own.y.add(y0 + c * own.channel[0] + to) = v as f32;
                }
            }
        });
    }
}

/// Means or sums over the pixels of channels-last maps.
pub(crate) struct SumPixels {
    pub x: *const f32,
    pub picture: usize,
    pub pixel: usize,
    pub pixels: usize,
    pub channels: usize,
    pub factor: f32,
    pub y: *mut f32,
    pub y_stride: usize,
    pub batch: usize,
}

impl Step for SumPixels {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let parts = tasks(self.pixels * self.channels, context.pool.threads(), self.channels.div_ceil(16));
        let shared = Shared(self);
        context.pool.run(self.batch * parts, &|task| {
            let own = shared.get();
            let (picture, lines) = (task / parts, part(own.channels.div_ceil(16), parts, task % parts));
            let (begin, end) = (lines.start * 16, (lines.end * 16).min(own.channels));
            // SAFETY: the builder checked the extents.
            unsafe {
                let x = own.x.add(picture * own.picture + begin);
                let y = own.y.add(picture * own.y_stride + begin);
                rows::sum_pixels(isa, x, own.pixel, own.pixels, end - begin, own.factor, y);
            }
        });
    }
}

/// How a general reduction combines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Combine {
    Sum { factor: f32 },
    Max,
    Min,
    Prod,
}

/// Any reduction over any dimensions.
pub(crate) struct Reduce {
    /// Kept dimensions: operand 0 is written, 1 read.
    pub kept: Nest<2>,
    /// Reduced dimensions of the operand that is read.
    pub reduced: Nest<1>,
    pub combine: Combine,
    pub y: *mut f32,
    pub x: *const f32,
}

impl Step for Reduce {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let total = self.kept.len();
        let count = tasks(total * self.reduced.len() * 4, context.pool.threads(), total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            for i in part(total, count, task) {
                let [to, from] = own.kept.offsets(i);
                // SAFETY: the nests were made for these operands.
                unsafe {
                    let x = own.x.add(from);
                    let all = || (0..own.reduced.len()).map(|i| *x.add(own.reduced.offsets(i)[0]));
                    *own.y.add(to) = match own.combine {
                        Combine::Sum { factor } if own.reduced.strides == [[1]] => {
                            rows::sum(isa, x, own.reduced.len()) * factor
                        }
                        Combine::Sum { factor } => {
                            (all().map(f64::from).sum::<f64>() * f64::from(factor)) as f32
                        }
                        Combine::Max => {
                            all().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
                        }
                        Combine::Min => {
                            all().fold(f32::INFINITY, |a, b| if b < a || b.is_nan() { b } else { a })
                        }
                        Combine::Prod => all().map(f64::from).product::<f64>() as f32,
                    };
                }
            }
        });
    }
}
