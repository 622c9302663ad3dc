//! What is done to a graph: checking it, and rewriting it into fewer and larger operations.

mod absorb;
mod adder;
mod binary;
mod canonical;
mod check;
mod common;
mod dead;
mod edit;
mod fold;
mod fuse;
mod geometry;
#[cfg(test)]
mod hostile;
mod infer;
mod integers;
mod noop;
mod split;
#[cfg(test)]
mod tests;

pub use absorb::fold_batch_norms;
pub use canonical::canonicalize;
pub use check::{GraphError, check};
pub use common::merge_equal;
pub use dead::remove_dead;
pub use fold::{fold_constants, fold_resized};
pub use fuse::fuse_epilogues;
pub use integers::{fuse_code_sums, lower_to_integers};
pub use noop::remove_noops;
pub use split::split_joined;

use crate::ir::Graph;

/// Most rounds of rewriting; a few are enough for any network.
const MOST_ROUNDS: usize = 100;

/// Rewrites `graph` into fewer and larger operations until nothing changes any more. What it computes stays the same
/// but for rounding.
pub fn optimize(graph: &mut Graph) {
    simplify(graph);
    while fuse_epilogues(graph) {}
    remove_dead(graph);
}

/// [`optimize`] without fusing: batch norms are folded, and every activation and sum is still a node of its own.
pub fn simplify(graph: &mut Graph) {
    for _ in 0..MOST_ROUNDS {
        let mut changed = fold_constants(graph);
        changed |= remove_noops(graph);
        changed |= canonicalize(graph);
        // Removes what the former left behind, so that single readers are seen as such.
        changed |= remove_dead(graph);
        changed |= merge_equal(graph);
        if !changed && !split_joined(graph) && !binary::spread_norms(graph) && !fold_batch_norms(graph) {
            break;
        }
    }
}
