//! The training kernels of transformers against their plain twins, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::layer_norm::{self, LayerShape};
use ocelli_kernels::train::linear::{self, LinearShape};
use ocelli_kernels::train::{gelu, reference};
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

fn check_layer_norm(shape: LayerShape, seed: u64) {
    let LayerShape { rows, features } = shape;
    let x: Vec<f32> = random(rows * features, seed).iter().map(|x| 3.0 * x + 1.0).collect();
    let grad = random(rows * features, seed + 1);
    let (gain, shift) = (random(features, seed + 2), random(features, seed + 3));
    let epsilon = 1e-3;
    let plain = reference::layer_norm(&x, &gain, &shift, epsilon);
    let [input, of_gain, of_shift] = reference::layer_norm_backward(&x, &gain, epsilon, &grad);
    // Rows of one or two elements may lie close together: their distances are small differences.
    let steepest = largest(&input) + if features < 3 { 100.0 } else { 10.0 };
    let of_rows = 10.0 * rows.max(1) as f32;
    for isa in Isa::available() {
        let what = format!("{isa}, {shape:?}");
        let found = layer_norm::forward(isa, shape, &x, &gain, &shift, epsilon);
        close(&found.output, &plain, steepest, &what);
        let statistics = (&found.mean[..], &found.inverse[..]);
        let back = layer_norm::backward(isa, shape, &x, &gain, statistics, &grad);
        close(&back.input, &input, steepest, &format!("input, {what}"));
        close(&back.gain, &of_gain, of_rows, &format!("gain, {what}"));
        close(&back.shift, &of_shift, of_rows, &format!("shift, {what}"));
    }
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

    #[test]
    fn layer_norm_is_its_definition(rows in 0usize..60, features in 3usize..150, seed in 0u64..1000) {
        check_layer_norm(LayerShape { rows, features }, seed);
    }

    #[test]
    fn gelu_is_its_definition(len in 0usize..200, width in 0.1f32..12.0, seed in 0u64..1000) {
        let x: Vec<f32> = random(len, seed).iter().map(|x| x * width).collect();
        let grad = random(len, seed + 1);
        let plain: Vec<f32> = x.iter().map(|&x| reference::gelu(x)[0]).collect();
        let back: Vec<f32> = x.iter().zip(&grad).map(|(&x, g)| reference::gelu(x)[1] * g).collect();
        for isa in Isa::available() {
            close(&gelu::forward(isa, &x), &plain, largest(&plain), &format!("{isa}"));
            close(&gelu::backward(isa, &x, &grad), &back, 2.0, &format!("gradient, {isa}"));
        }
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

#[test]
fn large_layer_norms_are_their_definition() {
    for (rows, features) in [(3000, 24), (200, 384), (5, 1), (70, 640)] {
        check_layer_norm(LayerShape { rows, features }, 1);
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
            let norm = LayerShape { rows: shape.rows, features: shape.features_in };
            let found = layer_norm::forward(isa, norm, &x, &w[..30], &w[30..60], 1e-5);
            let statistics = (&found.mean[..], &found.inverse[..]);
            let back = layer_norm::backward(isa, norm, &x, &w[..30], statistics, &grad[..x.len()]);
            [
                found.output,
                back.input,
                back.gain,
                back.shift,
                gelu::backward(isa, &x, &grad[..x.len()]),
                linear::forward(isa, shape, &x, &w, None),
                linear::backward_input(isa, shape, &grad, &w),
                weights,
                bias,
            ]
        })
    };
    assert!(all(1) == all(3));
}
