//! The training kernels of transformers against their plain twins, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::linear::{self, LinearShape};
use ocelli_kernels::train::reference;
use proptest::prelude::*;

use crate::util::random;

/// Rounding errors are relative to what is summed: `summed` is the largest sum of the terms' absolute values.
#[track_caller]
fn close(fast: &[f32], plain: &[f32], summed: f32, what: &str) {
    let error = crate::util::error_at(fast, plain, summed);
    assert!(error <= 1e-6, "{what}: {error} of terms up to {summed}");
}

fn absolute(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.abs()).collect()
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(1.0, |most, x| most.max(x.abs()))
}

fn check_linear(shape: LinearShape, seed: u64) {
    let (x, grad) = (random(shape.input_len(), seed), random(shape.output_len(), seed + 1));
    let (weights, bias) = (random(shape.weights_len(), seed + 2), random(shape.features_out, seed + 3));
    let (ax, agrad, aweights) = (absolute(&x), absolute(&grad), absolute(&weights));
    let mut plain = reference::linear(&shape, &x, &weights);
    let of_y = largest(&reference::linear(&shape, &ax, &aweights)) + 1.0;
    let input = reference::linear_backward_input(&shape, &grad, &weights);
    let of_input = largest(&reference::linear_backward_input(&shape, &agrad, &aweights));
    let back = reference::linear_backward_weights(&shape, &x, &grad);
    let of_back = largest(&reference::linear_backward_weights(&shape, &ax, &agrad));
    let column = |list: &[f32], o: usize| list.iter().skip(o).step_by(shape.features_out).sum::<f32>();
    let sums: Vec<f32> = (0..shape.features_out).map(|o| column(&grad, o)).collect();
    let of_sums = shape.rows.max(1) as f32;
    for isa in Isa::available() {
        let what = format!("{isa}, {shape:?}");
        close(&linear::forward(isa, shape, &x, &weights, None), &plain, of_y, &what);
        let fast = linear::backward_input(isa, shape, &grad, &weights);
        close(&fast, &input, of_input, &format!("input, {what}"));
        let (of_weights, of_bias) = linear::backward_weights(isa, shape, &x, &grad);
        close(&of_weights, &back, of_back, &format!("weights, {what}"));
        close(&of_bias, &sums, of_sums, &format!("bias, {what}"));
    }
    for (i, y) in plain.iter_mut().enumerate() {
        *y += bias[i % shape.features_out];
    }
    close(&linear::forward(Isa::best(), shape, &x, &weights, Some(&bias)), &plain, of_y, "with a bias");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn linear_layers_are_their_definition(
        (rows, features_in, features_out) in (0usize..70, 0usize..50, 1usize..90),
        seed in 0u64..1000,
    ) {
        check_linear(LinearShape { rows, features_in, features_out }, seed);
    }
}

/// Extents as networks have them, in several passes, groups and shares.
#[test]
fn large_linear_layers_are_their_definition() {
    for (rows, features_in, features_out) in [(2500, 24, 48), (130, 700, 40), (1100, 33, 300), (9, 1600, 190)]
    {
        check_linear(LinearShape { rows, features_in, features_out }, 1);
    }
}

/// Sums must not depend on the number of threads.
#[test]
fn threads_do_not_change_a_bit_of_transformers() {
    let shape = LinearShape { rows: 2300, features_in: 30, features_out: 110 };
    let (x, grad, w) =
        (random(shape.input_len(), 1), random(shape.output_len(), 2), random(shape.weights_len(), 3));
    let isa = Isa::best();
    let all = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            let (weights, bias) = linear::backward_weights(isa, shape, &x, &grad);
            [
                linear::forward(isa, shape, &x, &w, None),
                linear::backward_input(isa, shape, &grad, &w),
                weights,
                bias,
            ]
        })
    };
    assert!(all(1) == all(3));
}
