//! Copies, functions of one and two elements, choices, and the way in and out of the session.

use ocelli_kernels::elementwise::{Function, Operation, Pair, Triple, binary, multiply_add, unary};
use ocelli_kernels::layout;

use super::nest::{Nest, Split};
use super::{Context, Shared, Step, part, tasks};

/// Copies between strided places.
pub(crate) struct Copy {
    /// Operand 0 is written, 1 read.
    pub split: Split<2>,
    pub to: *mut f32,
    pub from: *const f32,
}

impl Copy {
    fn run_from(&self, from: *const f32, to: *mut f32, context: &mut Context<'_, '_>) {
        let split = &self.split;
        let (threads, work) = (context.pool.threads(), self.split.len);
        let pieces = split.pieces(tasks(work, threads, work));
        let shared = Shared((from, to));
        let rounds = split.outer.len();
        // Many short rounds, as the rows of a picture, go in a few tasks.
        let count = (rounds * pieces).min(threads * 4);
        context.pool.run(count, &|task| {
            let &(from, to) = shared.get();
            for piece in part(rounds * pieces, count, task) {
                let [a, b] = split.outer.offsets(piece / pieces);
                let rows = part(split.rows, pieces, piece % pieces);
                // SAFETY: the nest was made for these operands.
                unsafe {
                    let to = to.add(a + rows.start * split.row[0]);
                    let from = from.add(b + rows.start * split.row[1]);
                    copy_rows(split, rows.len(), from, to);
                }
            }
        });
    }
}

/// # Safety
/// Both sides must be valid for `rows` rows of the nest.
unsafe fn copy_rows(split: &Split<2>, rows: usize, from: *const f32, to: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match (split.inner, split.row) {
            ([1, 1], _) => {
                for row in 0..rows {
                    let (to, from) = (to.add(row * split.row[0]), from.add(row * split.row[1]));
                    std::ptr::copy_nonoverlapping(from, to, split.n);
                }
            }
            // Rows lie side by side in the source: a transposition.
            ([1, column], [y_row, 1]) => layout::transpose(from, column, to, y_row, rows, split.n),
            _ => {
                for row in 0..rows {
                    let (to, from) = (to.add(row * split.row[0]), from.add(row * split.row[1]));
                    for i in 0..split.n {
                        *to.add(i * split.inner[0]) = *from.add(i * split.inner[1]);
                    }
                }
            }
        }
    }
}

impl Step for Copy {
    fn run(&self, context: &mut Context<'_, '_>) {
        self.run_from(self.from, self.to, context);
    }
}

/// A caller's input into the session's memory.
pub(crate) struct Import {
    pub index: usize,
    pub copy: Copy,
}

impl Step for Import {
    fn run(&self, context: &mut Context<'_, '_>) {
        let from = context.inputs[self.index].as_ptr();
        self.copy.run_from(from, self.copy.to, context);
    }
}

/// A result into the caller's memory.
pub(crate) struct Export {
    pub index: usize,
    pub copy: Copy,
}

impl Step for Export {
    fn run(&self, context: &mut Context<'_, '_>) {
        let to = context.outputs[self.index].as_mut_ptr();
        self.copy.run_from(self.copy.from, to, context);
    }
}

/// A function of every element.
pub(crate) struct Unary {
    pub function: Function,
    /// Operand 0 is written, 1 read.
    pub split: Split<2>,
    pub y: *mut f32,
    pub x: *const f32,
}

impl Step for Unary {
    fn run(&self, context: &mut Context<'_, '_>) {
        let work = self.split.len * 4;
        let pieces = self.split.pieces(tasks(work, context.pool.threads(), work));
        let shared = Shared(self);
        let isa = context.isa;
        context.pool.run(self.split.outer.len() * pieces, &|task| {
            let &&Self { function, ref split, x, y } = shared.get();
            let [a, b] = split.outer.offsets(task / pieces);
            // A single long row is cut too.
            let single = split.rows == 1 && split.inner == [1, 1];
            let (rows, columns) = if single {
                (0..1, part(split.n, pieces, task % pieces))
            } else {
                (part(split.rows, pieces, task % pieces), 0..split.n)
            };
            // SAFETY: the nest was made for these operands.
            unsafe {
                let y = y.add(a + rows.start * split.row[0] + columns.start * split.inner[0]);
                let x = x.add(b + rows.start * split.row[1] + columns.start * split.inner[1]);
                if split.inner == [1, 1] {
                    unary(isa, function, rows.len(), columns.len(), x, split.row[1], y, split.row[0]);
                } else {
                    for row in 0..rows.len() {
                        for i in 0..columns.len() {
                            let v = *x.add(row * split.row[1] + i * split.inner[1]);
                            *y.add(row * split.row[0] + i * split.inner[0]) = function.apply(v);
                        }
                    }
                }
            }
        });
    }
}

/// A function of two elements, then bounds.
pub(crate) struct Binary {
    pub operation: Operation,
    pub low: f32,
    pub high: f32,
    /// Operand 0 is written, 1 and 2 read.
    pub split: Split<3>,
    pub y: *mut f32,
    pub a: *const f32,
    pub b: *const f32,
}

impl Step for Binary {
    fn run(&self, context: &mut Context<'_, '_>) {
        let work = self.split.len * 2;
        let pieces = self.split.pieces(tasks(work, context.pool.threads(), work));
        let shared = Shared(self);
        let isa = context.isa;
        context.pool.run(self.split.outer.len() * pieces, &|task| {
            let &&Self { operation, low, high, ref split, a, b, y } = shared.get();
            let at = split.outer.offsets(task / pieces);
            let rows = part(split.rows, pieces, task % pieces);
            // SAFETY: the nest was made for these operands.
            unsafe {
                let y = y.add(at[0] + rows.start * split.row[0]);
                let a = a.add(at[1] + rows.start * split.row[1]);
                let b = b.add(at[2] + rows.start * split.row[2]);
                let [inner_y, a_step, b_step] = split.inner;
                if inner_y == 1 && a_step <= 1 && b_step <= 1 {
                    let pair = Pair { a, a_step, b, b_step, low, high };
                    let [y_row, a_row, b_row] = split.row;
                    binary(isa, operation, rows.len(), split.n, pair, a_row, b_row, y, y_row);
                } else {
                    for row in 0..rows.len() {
                        for i in 0..split.n {
                            let a = *a.add(row * split.row[1] + i * a_step);
                            let b = *b.add(row * split.row[2] + i * b_step);
                            let v = operation.apply(a, b);
                            let v = if v < low {
                                low
                            } else if v > high {
                                high
                            } else {
                                v
                            };
                            *y.add(row * split.row[0] + i * inner_y) = v;
                        }
                    }
                }
            }
        });
    }
}

/// A product of two plus a third, then bounds: a gate and the shortcut around it in one pass.
pub(crate) struct MultiplyAdd {
    pub low: f32,
    pub high: f32,
    /// Operand 0 is written, 1 to 3 read.
    pub split: Split<4>,
    pub y: *mut f32,
    pub operands: [*const f32; 3],
}

impl Step for MultiplyAdd {
    fn run(&self, context: &mut Context<'_, '_>) {
        let work = self.split.len * 3;
        let pieces = self.split.pieces(tasks(work, context.pool.threads(), work));
        let shared = Shared(self);
        let isa = context.isa;
        context.pool.run(self.split.outer.len() * pieces, &|task| {
            let &&Self { low, high, ref split, y, operands: [a, b, c] } = shared.get();
            let at = split.outer.offsets(task / pieces);
            let rows = part(split.rows, pieces, task % pieces);
            let [y_row, a_row, b_row, c_row] = split.row;
            // SAFETY: the nest was made for these operands, and the builder checked their innermost distances.
            unsafe {
                let x = Triple {
                    a: a.add(at[1] + rows.start * a_row),
                    b: b.add(at[2] + rows.start * b_row),
                    b_step: split.inner[2],
                    c: c.add(at[3] + rows.start * c_row),
                    low,
                    high,
                };
                let y = y.add(at[0] + rows.start * y_row);
                multiply_add(isa, rows.len(), split.n, x, [a_row, b_row, c_row], y, y_row);
            }
        });
    }
}

/// One of two elements, by a truth value.
pub(crate) struct Where {
    /// Operand 0 is written, 1 to 3 read: condition, value if true, value if false.
    pub nest: Nest<4>,
    pub y: *mut f32,
    pub operands: [*const f32; 3],
}

impl Step for Where {
    fn run(&self, context: &mut Context<'_, '_>) {
        let total = self.nest.len();
        let count = tasks(total * 4, context.pool.threads(), total);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let &&Self { ref nest, y, operands: [condition, a, b] } = shared.get();
            for i in part(total, count, task) {
                let at = nest.offsets(i);
                // SAFETY: the nest was made for these operands.
                unsafe {
                    let chosen = if *condition.add(at[1]) != 0.0 { *a.add(at[2]) } else { *b.add(at[3]) };
                    *y.add(at[0]) = chosen;
                }
            }
        });
    }
}

/// One number everywhere.
pub(crate) struct Fill {
    pub nest: Nest<1>,
    pub y: *mut f32,
    pub value: f32,
}

impl Step for Fill {
    fn run(&self, _: &mut Context<'_, '_>) {
        for i in 0..self.nest.len() {
            // SAFETY: the nest was made for this operand.
            unsafe { *self.y.add(self.nest.offsets(i)[0]) = self.value };
        }
    }
}
