//! Codes and numbers, element by element.

use ocelli_graph::codes::Codes;
use ocelli_kernels::int8::arithmetic::{self, Add, Product, Target};
use ocelli_kernels::int8::{Isa, elementwise};

use super::nest::Split;
use super::{Context, Shared, Step, part, tasks};

/// Calls `row(offsets, n)` for every row of the nest, on all threads; the offsets are the operands' at the row's first element.
fn each_row<const N: usize>(
    split: &Split<N>,
    context: &mut Context<'_, '_>,
    row: &(dyn Fn([usize; N], usize) + Sync),
) {
    let work = split.len;
    let pieces = split.pieces(tasks(work, context.pool.threads(), work));
    context.pool.run(split.outer.len() * pieces, &|task| {
        let base = split.outer.offsets(task / pieces);
        // A single long row is cut too.
        if split.rows == 1 {
            let columns = part(split.n, pieces, task % pieces);
            let at = std::array::from_fn(|i| base[i] + columns.start * split.inner[i]);
            row(at, columns.len());
        } else {
            for r in part(split.rows, pieces, task % pieces) {
                row(std::array::from_fn(|i| base[i] + r * split.row[i]), split.n);
            }
        }
    });
}

/// Numbers become codes.
pub(crate) struct Quantise {
    /// Operand 0 is written, 1 read.
    pub split: Split<2>,
    pub y: *mut u8,
    pub x: *const f32,
    pub codes: Codes,
}

impl Step for Quantise {
    fn run(&self, context: &mut Context<'_, '_>) {
        let shared = Shared((self.y, self.x));
        let (codes, [to, from], isa) = (self.codes, self.split.inner, Isa::best());
        each_row(&self.split, context, &|[at, source], n| {
            let &(y, x) = shared.get();
            // SAFETY: the nest was made for these operands.
            unsafe {
                if [to, from] == [1, 1] && codes.bits == 8 {
                    let (x, y) = (x.add(source), y.add(at));
                    return elementwise::quantise(isa, x, codes.scale, codes.zero_point as u8, y, n);
                }
                (0..n).for_each(|i| *y.add(at + i * to) = codes.code(*x.add(source + i * from)));
            }
        });
    }
}

/// Codes become numbers.
pub(crate) struct Dequantise {
    /// Operand 0 is written, 1 read.
    pub split: Split<2>,
    pub y: *mut f32,
    pub x: *const u8,
    pub scale: f32,
    pub zero_point: u8,
}

impl Step for Dequantise {
    fn run(&self, context: &mut Context<'_, '_>) {
        let shared = Shared((self.y, self.x));
        let (scale, zero, [to, from]) = (self.scale, self.zero_point, self.split.inner);
        let isa = Isa::best();
        each_row(&self.split, context, &|[at, source], n| {
            let &(y, x) = shared.get();
            // SAFETY: the nest was made for these operands.
            unsafe {
                if [to, from] == [1, 1] {
                    return elementwise::dequantise(isa, x.add(source), scale, zero, y.add(at), n);
                }
                for i in 0..n {
                    *y.add(at + i * to) = arithmetic::dequantise(*x.add(source + i * from), scale, zero);
                }
            }
        });
    }
}

/// What a table says of every code; without one, the code itself: a copy.
pub(crate) struct Table {
    /// Operand 0 is written, 1 read.
    pub split: Split<2>,
    pub y: *mut u8,
    pub x: *const u8,
    pub table: Option<Box<[u8; 256]>>,
}

impl Step for Table {
    fn run(&self, context: &mut Context<'_, '_>) {
        let shared = Shared((self.y, self.x));
        let [to, from] = self.split.inner;
        let (table, isa) = (self.table.as_deref(), Isa::best());
        each_row(&self.split, context, &|[at, source], n| {
            let &(y, x) = shared.get();
            // SAFETY: the nest was made for these operands.
            unsafe {
                match table {
                    None if to == 1 && from == 1 => {
                        std::ptr::copy_nonoverlapping(x.add(source), y.add(at), n)
                    }
                    None => (0..n).for_each(|i| *y.add(at + i * to) = *x.add(source + i * from)),
                    Some(table) if to == 1 && from == 1 => {
                        elementwise::lookup(isa, table, x.add(source), n, y.add(at), n, 1, n);
                    }
                    Some(table) => (0..n)
                        .for_each(|i| *y.add(at + i * to) = table[usize::from(*x.add(source + i * from))]),
                }
            }
        });
    }
}

/// What is computed from two codes.
pub(crate) enum Pair {
    Sum(Add),
    Product { zeros: [u8; 2], by: Product, target: Target },
}

/// A function of two codes.
pub(crate) struct Combine {
    /// Operand 0 is written, 1 and 2 read.
    pub split: Split<3>,
    pub y: *mut u8,
    pub a: *const u8,
    pub b: *const u8,
    pub pair: Pair,
}

impl Step for Combine {
    fn run(&self, context: &mut Context<'_, '_>) {
        let shared = Shared(self);
        let ([to, a_step, b_step], isa) = (self.split.inner, Isa::best());
        each_row(&self.split, context, &|[at, of_a, of_b], n| {
            let own = shared.get();
            if let (Pair::Sum(by), [1, 1, 1]) = (&own.pair, own.split.inner) {
                // SAFETY: the nest was made for these operands.
                return unsafe {
                    elementwise::add(isa, own.a.add(of_a), own.b.add(of_b), own.y.add(at), n, by)
                };
            }
            for i in 0..n {
                // SAFETY: the nest was made for these operands.
                unsafe {
                    let (a, b) = (*own.a.add(of_a + i * a_step), *own.b.add(of_b + i * b_step));
                    *own.y.add(at + i * to) = match &own.pair {
                        Pair::Sum(sum) => sum.apply(a, b),
                        Pair::Product { zeros, by, target } => by.apply(a, b, *zeros, *target),
                    };
                }
            }
        });
    }
}
