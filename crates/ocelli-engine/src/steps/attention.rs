//! Attention, head by head, in the nearest caches.

use ocelli_kernels::gemm::{Epilogue, Product, packed_len, panels, product};
use ocelli_kernels::{layout, rows};

use super::nest::Nest;
use super::nodes::MOST_PIECES;
use super::{Context, Shared, Step, part, tasks};

/// Queries that are worked on at once.
pub(crate) const ROWS: usize = 28;

/// A room for one thread's work: packed keys, packed values, scores of a block of queries.
pub(crate) fn room_len([_, keys, depth, width]: [usize; 4]) -> usize {
    packed_len(depth, keys) + packed_len(keys, width) + ROWS * keys
}

/// `softmax(q kᵀ · scale) v` of every head.
pub(crate) struct AttentionStep {
    /// Heads of all pictures; operand 0 is written, 1 to 3 are queries, keys and values.
    pub heads: Nest<4>,
    /// Queries, keys, elements of both, elements of a value.
    pub extents: [usize; 4],
    pub q: *const f32,
    pub q_stride: usize,
    pub k: *const f32,
    /// Distances of keys and of their elements.
    pub k_strides: [usize; 2],
    pub v: *const f32,
    pub v_strides: [usize; 2],
    pub y: *mut f32,
    pub y_stride: usize,
    pub scale: f32,
    /// [`MOST_PIECES`] rooms.
    pub rooms: *mut f32,
}

impl Step for AttentionStep {
    fn run(&self, context: &mut Context<'_, '_>) {
        let isa = context.isa;
        let [queries, keys, depth, width] = self.extents;
        let heads = self.heads.len();
        let work = heads * queries * keys * (depth + width + 16) / 16;
        let count = tasks(work, context.pool.threads(), heads).min(MOST_PIECES);
        let shared = Shared(self);
        context.pool.run(count, &|task| {
            let own = shared.get();
            for head in part(heads, count, task) {
                let [y, q, k, v] = own.heads.offsets(head);
                // SAFETY: the builder checked the extents and gave every task a room; tasks write apart from one another.
                unsafe {
                    let packed_keys = own.rooms.add(task * room_len(own.extents));
                    let packed_values = packed_keys.add(packed_len(depth, keys));
                    let scores = packed_values.add(packed_len(keys, width));
                    let [key, element] = own.k_strides;
                    layout::pack_strided(own.k.add(k), element, key, depth, keys, packed_keys);
                    let [value, element] = own.v_strides;
                    layout::pack_strided(own.v.add(v), value, element, keys, width, packed_values);
                    for first in (0..queries).step_by(ROWS) {
                        let rows = ROWS.min(queries - first);
                        let likeness = Product {
                            a: own.q.add(q + first * own.q_stride),
                            a_stride: own.q_stride,
                            b: packed_keys,
                            depth,
                            columns: keys,
                            c: scores,
                            c_stride: keys,
                            accumulate: false,
                            epilogue: Epilogue::NONE,
                        };
                        product(isa, &likeness, 0..rows, 0..panels(keys));
                        for row in 0..rows {
                            let row = scores.add(row * keys);
                            rows::softmax(isa, row, row, keys, own.scale);
                        }
                        let mixed = Product {
                            a: scores,
                            a_stride: keys,
                            b: packed_values,
                            depth: keys,
                            columns: width,
                            c: own.y.add(y + first * own.y_stride),
                            c_stride: own.y_stride,
                            accumulate: false,
                            epilogue: Epilogue::NONE,
                        };
                        product(isa, &mixed, 0..rows, 0..panels(width));
                    }
                }
            }
        });
    }
}
