use ocelli_kernels::knn::Search;
use ocelli_kernels::train::graph::{self, Aggregation};
use ocelli_kernels::{Isa, knn, reference};
use proptest::prelude::*;

use crate::util::random;

/// `[channels][nodes]` as `[nodes][channels]`.
fn rows(map: &[f32], channels: usize) -> Vec<f32> {
    let nodes = map.len() / channels;
    (0..map.len()).map(|i| map[i % channels * nodes + i / channels]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn neighbours_are_the_nearest(
        batch in 1usize..3, channels in 1usize..40, nodes in 1usize..70, targets in 6usize..90,
        k in 1usize..6, dilation in 1usize..4, near in any::<bool>(), seed in any::<u64>(),
    ) {
        let dilation = dilation.min(targets / k);
        let search = Search { channels, targets, k, dilation };
        let x = random(batch * channels * nodes, seed);
        let y = random(batch * channels * targets, seed ^ 1);
        let table = random(nodes * targets, seed ^ 2);
        let positions = near.then_some(table.as_slice());
        for isa in Isa::available() {
            let found = graph::neighbours(isa, &search, batch, &x, &y, positions);
            for n in 0..batch {
                let own = rows(&x[n * channels * nodes..][..channels * nodes], channels);
                let others = rows(&y[n * channels * targets..][..channels * targets], channels);
                let distances = reference::distances(&own, &others, channels, positions);
                for (node, row) in distances.chunks_exact(targets).enumerate() {
                    let found = &found[(n * nodes + node) * k..][..k];
                    for (&index, wanted) in found.iter().zip(reference::nearest(row, k, dilation)) {
                        // Equal within rounding: which of the two comes first is nobody's business.
                        let error = (row[index as usize] - row[wanted]).abs();
                        prop_assert!(error < 2e-6, "{isa}: {found:?}, {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn aggregation_takes_the_most(
        channels in 1usize..40, nodes in 1usize..30, targets in 1usize..30, k in 1usize..6, seed in any::<u64>(),
    ) {
        let own = Aggregation { batch: 2, channels, nodes, targets, k };
        let x = random(2 * channels * nodes, seed);
        let y = random(2 * channels * targets, seed ^ 1);
        let lists: Vec<u32> = random(2 * nodes * k, seed ^ 2).iter().map(|v| (v.abs() * targets as f32) as u32).collect();
        let lists: Vec<u32> = lists.into_iter().map(|i| i.min(targets as u32 - 1)).collect();
        let (out, which) = graph::max_relative(&own, &x, &y, &lists);
        for (plane, which) in which.chunks_exact(nodes).enumerate() {
            for node in 0..nodes {
                let list = &lists[(plane / channels * nodes + node) * k..][..k];
                let value = |index: u32| y[plane * targets + index as usize] - x[plane * nodes + node];
                let most = list.iter().map(|&index| value(index)).fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!(out[2 * plane * nodes + node], x[plane * nodes + node]);
                prop_assert_eq!(out[(2 * plane + 1) * nodes + node], most);
                prop_assert_eq!(value(which[node]), most);
            }
        }
        for isa in Isa::available() {
            for n in 0..2 {
                let own = rows(&x[n * channels * nodes..][..channels * nodes], channels);
                let others = rows(&y[n * channels * targets..][..channels * targets], channels);
                for node in 0..nodes {
                    let list = &lists[(n * nodes + node) * k..][..k];
                    let mut pairs = vec![0.0; 2 * channels];
                    // SAFETY: rows of these extents.
                    unsafe {
                        knn::max_relative(isa, own[node * channels..].as_ptr(), others.as_ptr(), channels, list.as_ptr(), k, channels, pairs.as_mut_ptr());
                    }
                    for (c, found) in pairs.iter().enumerate() {
                        prop_assert_eq!(*found, out[(n * 2 * channels + c) * nodes + node]);
                    }
                }
            }
        }
        // The gradient of a sum: what is taken from the nodes goes to their neighbours.
        let (of_x, of_y) = graph::max_relative_backward(&own, &vec![1.0; out.len()], &which);
        prop_assert!(of_x.iter().all(|&v| v == 0.0));
        prop_assert_eq!(of_y.iter().sum::<f32>(), (2 * channels * nodes) as f32);
    }
}

#[test]
fn ties_go_to_the_lower_index_and_what_is_not_a_number_comes_last() {
    for isa in Isa::available() {
        // Nodes 1 and 2 point the same way, node 3 has no direction, node 4 is not a number.
        let map: Vec<f32> = [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0], [0.0, 0.0], [f32::NAN, 1.0]].concat();
        let map = rows(&map, 5);
        let search = Search { channels: 2, targets: 5, k: 5, dilation: 1 };
        let found = graph::neighbours(isa, &search, 1, &map, &map, None);
        assert_eq!(found[..5], [0, 3, 1, 2, 4], "{isa}");
        assert_eq!(found[5..10], [1, 2, 3, 0, 4], "{isa}");
        assert_eq!(found[10..15], [1, 2, 3, 0, 4], "{isa}");
        assert_eq!(found[15..20], [3, 0, 1, 2, 4], "{isa}");
        assert_eq!(found[20..25], [0, 1, 2, 3, 4], "{isa}");
    }
}
