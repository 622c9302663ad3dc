//! Rewrites of a graph that keep its meaning.

mod batch_norm;
mod canonical;
mod check;
mod clean;
mod fold;
mod fuse;
mod util;

pub use batch_norm::fold_batch_norms;
pub use canonical::canonicalize;
pub use check::{GraphError, check};
pub use clean::{remove_dead, remove_no_ops};
pub use fold::fold_constants;
pub use fuse::fuse;

use crate::ir::Graph;

/// Runs all passes in a good order; the graph computes the same values with fewer nodes.
///
/// # Errors
/// If the graph contradicts itself.
pub fn optimize(graph: &mut Graph) -> Result<(), GraphError> {
    check(graph)?;
    loop {
        let before = graph.nodes.len();
        fold_constants(graph);
        remove_no_ops(graph);
        canonicalize(graph);
        remove_dead(graph);
        if graph.nodes.len() == before {
            break;
        }
    }
    fold_batch_norms(graph);
    fuse(graph);
    remove_dead(graph);
    check(graph)
}
