//! Choosing elements: the largest, by index, from a border.

use super::nest::Nest;
use super::{Context, Shared, Step, part, tasks};

/// The `k` best along one dimension, best first; of equals the first.
pub(crate) struct TopK {
    /// The other dimensions: operands 0 and 1 are written (values, indices), 2 read.
    pub outer: Nest<3>,
    /// Distances along the dimension.
    pub along: [usize; 3],
    pub n: usize,
    pub k: usize,
    pub largest: bool,
    /// Null where nobody reads them.
    pub values: *mut f32,
    /// Null where nobody reads them.
    pub indices: *mut f32,
    pub x: *const f32,
}

impl Step for TopK {
    fn run(&self, context: &mut Context<'_, '_>) {
        let total = self.outer.len();
        let count = tasks(total * self.n * 4, context.pool.threads(), total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            // The best so far, best first: `k` is small, so insertion beats any heap.
            let mut best: [(f32, usize); 64] = [(0.0, 0); 64];
            let mut many = Vec::new();
            let best: &mut [(f32, usize)] = if own.k <= best.len() {
                &mut best[..own.k]
            } else {
                many.resize(own.k, (0.0, 0));
                &mut many
            };
            for i in part(total, count, task) {
                let [values, indices, x] = own.outer.offsets(i);
                let mut held = 0;
                for j in 0..own.n {
                    // SAFETY: the nest was made for these operands.
                    let v = unsafe { *own.x.add(x + j * own.along[2]) };
                    let key = if own.largest { v } else { -v };
                    if held == own.k && key <= best[held - 1].0 {
                        continue;
                    }
                    let mut at = if held < own.k { held } else { held - 1 };
                    while at > 0 && best[at - 1].0 < key {
                        best[at] = best[at - 1];
                        at -= 1;
                    }
                    best[at] = (key, j);
                    held = (held + 1).min(own.k);
                }
                for (j, &(key, index)) in best.iter().enumerate() {
                    let v = if own.largest { key } else { -key };
                    // SAFETY: as above.
                    unsafe {
                        if !own.values.is_null() {
                            *own.values.add(values + j * own.along[0]) = v;
                        }
                        if !own.indices.is_null() {
                            *own.indices.add(indices + j * own.along[1]) = index as f32;
                        }
                    }
                }
            }
        });
    }
}

/// Slices of x along one dimension by index; or elements, where the indices have the output's shape.
pub(crate) struct Gather {
    /// The output's dimensions; operand 0 is written, 1 gives the index, 2 read (0 along the dimension).
    pub nest: Nest<3>,
    /// Distance along the dimension in x, and its extent.
    pub along: usize,
    pub extent: usize,
    pub y: *mut f32,
    pub indices: *const f32,
    pub x: *const f32,
}

impl Step for Gather {
    fn run(&self, context: &mut Context<'_, '_>) {
        let total = self.nest.len();
        let count = tasks(total * 4, context.pool.threads(), total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            let inner = own.nest.extents[own.nest.extents.len() - 1];
            let [y_step, i_step, x_step] = own.nest.strides[own.nest.strides.len() - 1];
            let range = part(total / inner, count, task);
            for row in range {
                let [y, i, x] = own.nest.offsets(row * inner);
                for j in 0..inner {
                    // SAFETY: the nest was made for these operands; indices are held inside of the dimension.
                    unsafe {
                        let index = (*own.indices.add(i + j * i_step)).max(0.0) as usize;
                        let index = index.min(own.extent - 1);
                        *own.y.add(y + j * y_step) = *own.x.add(x + j * x_step + index * own.along);
                    }
                }
            }
        });
    }
}

/// How a border is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Border {
    Constant(f32),
    Reflect,
    Edge,
}

/// Adds a border on any side.
pub(crate) struct Pad {
    pub shape: Vec<usize>,
    pub before: Vec<usize>,
    pub input: Vec<usize>,
    pub y_strides: Vec<usize>,
    pub x_strides: Vec<usize>,
    pub border: Border,
    pub y: *mut f32,
    pub x: *const f32,
}

impl Step for Pad {
    fn run(&self, context: &mut Context<'_, '_>) {
        let total: usize = self.shape.iter().product();
        let count = tasks(total * 4, context.pool.threads(), total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            for i in part(total, count, task) {
                let (mut rest, mut to, mut from, mut outside) = (i, 0, 0, false);
                for d in (0..own.shape.len()).rev() {
                    let at = rest % own.shape[d];
                    rest /= own.shape[d];
                    to += at * own.y_strides[d];
                    let (place, last) = (at as isize - own.before[d] as isize, own.input[d] as isize - 1);
                    outside |= place < 0 || place > last;
                    let inside = match own.border {
                        Border::Reflect if place < 0 => -place,
                        Border::Reflect if place > last => 2 * last - place,
                        _ => place,
                    };
                    from += inside.clamp(0, last) as usize * own.x_strides[d];
                }
                // SAFETY: both places lie inside of the operands.
                unsafe {
                    *own.y.add(to) = match own.border {
                        Border::Constant(value) if outside => value,
                        _ => *own.x.add(from),
                    };
                }
            }
        });
    }
}
