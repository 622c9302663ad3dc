//! Matrix products.

use ocelli_kernels::elementwise::{Function, unary};
use ocelli_kernels::gemm::{self, Epilogue, Product, product};
use ocelli_kernels::layout;

use super::nest::Nest;
use super::{Context, Shared, Step, part, part_of_units, tasks};

/// How a product of `[rows, depth, columns]` is shared out: pieces of rows and pieces of panels. Whichever operand is
/// larger is read by one thread each: weights of late layers come from memory, and come once.
pub(super) fn share_out(
    wanted: usize,
    threads: usize,
    [rows, depth, columns]: [usize; 3],
    fewest_rows: usize,
) -> (usize, usize) {
    if wanted <= 1 {
        return (1, 1);
    }
    let strips = gemm::panels(columns).div_ceil(2);
    if columns * depth > rows * (depth + columns) && strips >= threads {
        // Two pieces a thread even out what the cores do besides.
        return (1, wanted.min(2 * threads).min(strips));
    }
    let by_rows = wanted.min(rows.div_ceil(fewest_rows)).max(1);
    (by_rows, wanted.div_ceil(by_rows).min(strips).max(1))
}

/// A product with constant weights.
pub(crate) struct Linear {
    pub product: Product,
    pub rows: usize,
    pub post: Option<Function>,
    /// The padded bias.
    pub _bias: Box<[f32]>,
}

impl Step for Linear {
    fn run(&self, context: &mut Context<'_, '_>) {
        let (isa, threads) = (context.isa, context.pool.threads());
        let p = &self.product;
        let panels = gemm::panels(p.columns);
        let wanted = tasks(self.rows * p.depth * p.columns / 16, threads, usize::MAX);
        let (by_rows, by_panels) =
            share_out(wanted, threads, [self.rows, p.depth, p.columns], 2 * gemm::tile_rows(isa, 2));
        let shared = Shared(self);
        context.pool.run(by_rows * by_panels, &|task| {
            let own = shared.get();
            let rows = part_of_units(own.rows, by_rows, task % by_rows, gemm::tile_rows(isa, 2));
            let panels = part(panels, by_panels, task / by_rows);
            let p = &own.product;
            let step = if own.post.is_some() { 96 } else { rows.len().max(1) };
            let mut first = rows.start;
            while first < rows.end {
                let some = first..(first + step).min(rows.end);
                first = some.end;
                // SAFETY: the builder checked the extents; tasks write apart from one another.
                unsafe {
                    product(isa, p, some.clone(), panels.clone());
                    if let Some(function) = own.post {
                        let column = panels.start * gemm::PANEL;
                        let n = p.columns.min(panels.end * gemm::PANEL) - column;
                        let y = p.c.add(some.start * p.c_stride + column);
                        unary(isa, function, some.len(), n, y, p.c_stride, y, p.c_stride);
                    }
                }
            }
        });
    }
}

/// Products of computed matrices, one per entry of the batch.
pub(crate) struct MatMul {
    /// Batch entries; operand 0 is written, 1 and 2 read.
    pub batch: Nest<3>,
    pub a: *const f32,
    pub a_stride: usize,
    pub b: *const f32,
    /// Distances of b's rows and columns.
    pub b_strides: [usize; 2],
    pub c: *mut f32,
    pub c_stride: usize,
    pub extents: [usize; 3],
    /// Room for one packed operand per batch entry.
    pub packed: *mut f32,
}

impl Step for MatMul {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let [m, k, n] = self.extents;
        let entries = self.batch.len();
        let len = gemm::packed_len(k, n);
        let shared = Shared(self);
        context.pool.run(entries, &|entry| {
            let own = shared.get();
            let at = own.batch.offsets(entry)[2];
            // SAFETY: the builder checked the extents; every entry has a room of its own.
            unsafe {
                let to = own.packed.add(entry * len);
                layout::pack_strided(own.b.add(at), own.b_strides[0], own.b_strides[1], k, n, to);
            }
        });
        let per_entry = tasks(entries * m * k * n / 16, context.pool.threads(), usize::MAX)
            .div_ceil(entries)
            .min(m.div_ceil(2 * gemm::tile_rows(isa, 2)))
            .max(1);
        context.pool.run(entries * per_entry, &|task| {
            let own = shared.get();
            let entry = task / per_entry;
            let rows = part_of_units(m, per_entry, task % per_entry, gemm::tile_rows(isa, 2));
            let [c, a, _] = own.batch.offsets(entry);
            // SAFETY: as above; tasks write apart from one another.
            unsafe {
                let p = Product {
                    a: own.a.add(a),
                    a_stride: own.a_stride,
                    b: own.packed.add(entry * len),
                    depth: k,
                    columns: n,
                    c: own.c.add(c),
                    c_stride: own.c_stride,
                    accumulate: false,
                    epilogue: Epilogue::NONE,
                };
                product(isa, &p, rows, 0..gemm::panels(n));
            }
        });
    }
}
