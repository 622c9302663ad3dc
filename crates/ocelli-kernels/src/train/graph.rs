//! Vision GNN's neighbour search and max-relative aggregation on maps `[batch, channels, nodes]`.

use crate::Isa;
use crate::gemm::{self, PANEL};
use crate::knn::{self, Positions, Search, Targets};
use crate::layout;
use crate::train::parallel::{Shared, buffer, each};
use crate::train::transpose;

/// Rows of a task.
const ROWS: usize = 2 * knn::BLOCK;

/// The neighbours of every node of `x` `[batch][channels][nodes]` among those of `y` `[batch][channels][targets]`:
/// `[batch][nodes][k]`. `positions`, `[nodes][targets]`, are added to the squared distances of unit vectors.
///
/// # Panics
/// If a slice does not have the extents `own` and `batch` say, or there are too few targets.
pub fn neighbours(
    isa: Isa,
    own: &Search,
    batch: usize,
    x: &[f32],
    y: &[f32],
    positions: Option<&[f32]>,
) -> Vec<u32> {
    let Search { channels, targets, k, .. } = *own;
    let nodes = x.len() / (batch * channels).max(1);
    assert!(
        own.is_possible() && x.len() == batch * channels * nodes && y.len() == batch * channels * targets
    );
    assert!(positions.is_none_or(|table| table.len() == nodes * targets));
    let mut out = vec![0u32; batch * nodes * k];
    let panels = gemm::panels(targets);
    let mut units = buffer(nodes * channels);
    let mut rows = buffer(targets * channels);
    let mut packed = buffer(gemm::packed_len(channels, targets));
    let mut squares = vec![0.0; panels * PANEL];
    for n in 0..batch {
        transpose::matrix(
            isa,
            &x[n * channels * nodes..][..channels * nodes],
            nodes,
            channels,
            nodes,
            &mut units,
            channels,
        );
        transpose::matrix(
            isa,
            &y[n * channels * targets..][..channels * targets],
            targets,
            channels,
            targets,
            &mut rows,
            channels,
        );
        // SAFETY: rows of `channels` elements, in buffers of their extents.
        unsafe {
            for node in units.chunks_exact_mut(channels) {
                knn::unit(isa, node.as_ptr(), node.as_mut_ptr(), channels, -2.0);
            }
            for (node, square) in rows.chunks_exact_mut(channels).zip(&mut squares) {
                *square = knn::unit(isa, node.as_ptr(), node.as_mut_ptr(), channels, 1.0);
            }
            layout::pack_strided(rows.as_ptr(), 1, channels, channels, targets, packed.as_mut_ptr());
        }
        let ready = SharedTargets(Targets { packed: packed.as_ptr(), squares: squares.as_ptr() });
        let picture = Shared::new(&mut out[n * nodes * k..][..nodes * k]);
        let units = &units;
        each(nodes.div_ceil(ROWS), nodes * targets * channels, |task| {
            let range = task * ROWS..nodes.min((task + 1) * ROWS);
            let mut scratch = buffer(knn::scratch_len(own));
            let positions = positions
                .map_or(Positions::NONE, |table| Positions { table: table.as_ptr(), stride: targets });
            // SAFETY: the buffers have these extents; tasks write rows of their own.
            unsafe {
                knn::search(
                    isa,
                    own,
                    (units.as_ptr(), channels),
                    ready.get(),
                    positions,
                    range,
                    scratch.as_mut_ptr(),
                    picture.at(0),
                );
            }
        });
    }
    out
}

/// Pointers that threads only read through.
struct SharedTargets(Targets);

// SAFETY: nobody writes while they are shared.
unsafe impl Sync for SharedTargets {}

impl SharedTargets {
    fn get(&self) -> Targets {
        self.0
    }
}

/// Extents of an aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Pictures.
    pub batch: usize,
    /// Channels of a node.
    pub channels: usize,
    /// Nodes.
    pub nodes: usize,
    /// Nodes of the other set.
    pub targets: usize,
    /// Neighbours per node.
    pub k: usize,
}

/// `[batch][2 · channels][nodes]`, every channel `h` of `x` followed by `max_j y_j - h` over the node's neighbours, and
/// which neighbour had the most, `[batch][channels][nodes]`.
///
/// # Panics
/// If a slice does not have the extents `own` says, or an index is not that of a target.
pub fn max_relative(own: &Aggregation, x: &[f32], y: &[f32], neighbours: &[u32]) -> (Vec<f32>, Vec<u32>) {
    let Aggregation { batch, channels, nodes, targets, k } = *own;
    assert!(x.len() == batch * channels * nodes && y.len() == batch * channels * targets);
    assert!(neighbours.len() == batch * nodes * k && k > 0);
    assert!(neighbours.iter().all(|&index| (index as usize) < targets), "a neighbour that is no target");
    let mut out = buffer(2 * x.len());
    let mut which = vec![0u32; x.len()];
    let (shared, chosen) = (Shared::new(&mut out), Shared::new(&mut which));
    each(batch * channels, x.len() * k, |plane| {
        let lists = &neighbours[plane / channels * nodes * k..][..nodes * k];
        let (own, others) = (&x[plane * nodes..][..nodes], &y[plane * targets..][..targets]);
        // SAFETY: every task has planes of its own.
        let (out, which) =
            unsafe { (shared.slice(2 * plane * nodes, 2 * nodes), chosen.slice(plane * nodes, nodes)) };
        let (copy, most) = out.split_at_mut(nodes);
        copy.copy_from_slice(own);
        for (node, list) in lists.chunks_exact(k).enumerate() {
            let mut best = list[0];
            for &index in &list[1..] {
                if others[index as usize] > others[best as usize] {
                    best = index;
                }
            }
            most[node] = others[best as usize] - own[node];
            which[node] = best;
        }
    });
    (out, which)
}

/// Gradients of `x` and `y`.
///
/// # Panics
/// If a slice does not have the extents `own` says.
pub fn max_relative_backward(own: &Aggregation, grad: &[f32], which: &[u32]) -> (Vec<f32>, Vec<f32>) {
    let Aggregation { batch, channels, nodes, targets, .. } = *own;
    assert!(grad.len() == 2 * batch * channels * nodes && which.len() * 2 == grad.len());
    let mut of_x = buffer(batch * channels * nodes);
    let mut of_y = vec![0.0; batch * channels * targets];
    let (to_x, to_y) = (Shared::new(&mut of_x), Shared::new(&mut of_y));
    each(batch * channels, grad.len(), |plane| {
        // SAFETY: every task has planes of its own.
        let (of_x, of_y) =
            unsafe { (to_x.slice(plane * nodes, nodes), to_y.slice(plane * targets, targets)) };
        let (copy, most) = grad[2 * plane * nodes..][..2 * nodes].split_at(nodes);
        for (node, &best) in which[plane * nodes..][..nodes].iter().enumerate() {
            of_x[node] = copy[node] - most[node];
            of_y[best as usize] += most[node];
        }
    });
    (of_x, of_y)
}
