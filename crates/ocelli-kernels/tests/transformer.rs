//! The training kernels of transformers against their plain twins, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::attention::{self, AttentionShape, Heads, Joined, Operands};
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

/// The vectors of one head out of `[batch, tokens, heads, dim]`.
fn head_of(x: &[f32], [batch, head]: [usize; 2], [heads, tokens, dim]: [usize; 3]) -> Vec<f32> {
    let at = |token| ((batch * tokens + token) * heads + head) * dim;
    (0..tokens).flat_map(|token| x[at(token)..][..dim].to_vec()).collect()
}

/// The parts `[batch, tokens, heads · dim]` of a tensor that holds all, one behind the other for every token.
fn parted(x: &[f32], widths: &[usize]) -> Vec<Vec<f32>> {
    let whole: usize = widths.iter().sum();
    let start = |part: usize| widths[..part].iter().sum::<usize>();
    let part =
        |i: usize| x.chunks_exact(whole).flat_map(move |token| token[start(i)..][..widths[i]].to_vec());
    (0..widths.len()).map(|i| part(i).collect()).collect()
}

fn check_attention(shape: AttentionShape, joined: Joined, by_head: bool, seed: u64) {
    let AttentionShape { batch, heads, queries, keys, dim, values } = shape;
    let sides = [heads * dim, heads * dim, heads * values];
    let parts: Vec<&[usize]> = match joined {
        Joined::Apart => vec![&sides[..1], &sides[1..2], &sides[2..]],
        Joined::Pair => vec![&sides[..2], &sides[2..]],
        Joined::All => vec![&sides[..]],
    };
    let rows = |i: usize| batch * if i == 0 { queries } else { keys };
    let stored: Vec<Vec<f32>> = (parts.iter().enumerate())
        .map(|(i, widths)| random(rows(i) * widths.iter().sum::<usize>(), seed + i as u64))
        .map(|list| list.iter().map(|x| 2.0 * x).collect())
        .collect();
    let apart: Vec<Vec<f32>> =
        stored.iter().zip(&parts).flat_map(|(data, widths)| parted(data, widths)).collect();
    let grad = random(shape.output_len(), seed + 9);
    let scale = 1.0 / (dim as f32).sqrt();
    // `[batch, heads, tokens, dim]`, for operands that are not joined.
    let turned = |x: &[f32], tokens, dim| -> Vec<f32> {
        let of = |b, h| head_of(x, [b, h], [heads, tokens, dim]);
        (0..batch * heads).flat_map(|i| of(i / heads, i % heads)).collect()
    };
    let by_heads =
        [turned(&apart[0], queries, dim), turned(&apart[1], keys, dim), turned(&apart[2], keys, values)];
    let head_major = |data, tokens, dim| Heads { data, strides: [heads * tokens * dim, tokens * dim, dim] };
    let operands = match joined {
        Joined::Apart if by_head => Operands {
            q: head_major(&by_heads[0], queries, dim),
            k: head_major(&by_heads[1], keys, dim),
            v: head_major(&by_heads[2], keys, values),
        },
        _ => {
            let place = [[0, 0, 1], [1, 0, 1], [2, 0, 1]];
            let place = match joined {
                Joined::Apart => place,
                Joined::Pair => [[0, 0, 2], [0, 1, 2], [1, 0, 1]],
                Joined::All => [[0, 0, 3], [0, 1, 3], [0, 2, 3]],
            };
            let heads_of = |i: usize, tokens, dim| {
                Heads::joined(&stored[place[i][0]], [tokens, heads, dim], [place[i][1], place[i][2]])
            };
            Operands { q: heads_of(0, queries, dim), k: heads_of(1, keys, dim), v: heads_of(2, keys, values) }
        }
    };
    for isa in Isa::available() {
        let what = format!("{isa}, {joined:?}, {shape:?}");
        let found = attention::forward(isa, &shape, scale, &operands);
        let of_output = Heads::joined(&grad, [queries, heads, values], [0, 1]);
        let kept = (&found.output[..], &found.log_sums[..]);
        let back = attention::backward(isa, &shape, scale, &operands, kept, of_output, joined);
        let back: Vec<Vec<f32>> =
            back.iter().zip(&parts).flat_map(|(data, widths)| parted(data, widths)).collect();
        for (b, h) in (0..batch).flat_map(|b| (0..heads).map(move |h| (b, h))) {
            let of = |x: &[f32], tokens, dim| head_of(x, [b, h], [heads, tokens, dim]);
            let (q, k, v) =
                (of(&apart[0], queries, dim), of(&apart[1], keys, dim), of(&apart[2], keys, values));
            let grad = of(&grad, queries, values);
            let (plain, gradients) =
                reference::attention([&q, &k, &v], [dim, values], f64::from(scale), &grad);
            // Scores are sums of `dim` products up to four, and errors of exponents are relative errors.
            let summed = 4.0 * (dim as f32).sqrt() * 4.0;
            close(&of(&found.output, queries, values), &plain, summed, &what);
            let wide = summed * (queries.max(values) as f32).sqrt().max(2.0) * 2.0;
            close(&of(&back[0], queries, dim), &gradients[0], wide, &format!("queries, {what}"));
            close(&of(&back[1], keys, dim), &gradients[1], wide, &format!("keys, {what}"));
            close(&of(&back[2], keys, values), &gradients[2], wide, &format!("values, {what}"));
        }
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
    fn attention_is_its_definition(
        (batch, heads, queries, keys) in (1usize..3, 1usize..4, 0usize..50, 1usize..50),
        (dim, values) in (1usize..40, 1usize..40),
        by_head in any::<bool>(),
        seed in 0u64..1000,
    ) {
        let shape = AttentionShape { batch, heads, queries, keys, dim, values };
        check_attention(shape, Joined::Apart, by_head, seed);
        check_attention(AttentionShape { queries: keys, ..shape }, Joined::Pair, false, seed);
        check_attention(AttentionShape { queries: keys, values: dim, ..shape }, Joined::All, false, seed);
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

/// Heads as TNT and text models have them, in several blocks of tokens.
#[test]
fn large_attentions_are_their_definition() {
    for (batch, heads, tokens, dim) in [(70, 4, 16, 6), (2, 3, 197, 64), (1, 2, 130, 24), (3, 2, 32, 32)] {
        let shape = AttentionShape { batch, heads, queries: tokens, keys: tokens, dim, values: dim };
        check_attention(shape, Joined::Pair, false, 1);
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
            let heads = AttentionShape { batch: 10, heads: 2, queries: 100, keys: 100, dim: 15, values: 15 };
            let part = |i: usize| Heads::joined(&grad, [100, 2, 15], [i, 3]);
            let operands = Operands { q: part(0), k: part(1), v: part(2) };
            let attended = attention::forward(isa, &heads, 0.3, &operands);
            let kept = (&attended.output[..], &attended.log_sums[..]);
            let joined = Joined::All;
            let of_heads = attention::backward(isa, &heads, 0.3, &operands, kept, part(1), joined).remove(0);
            [
                of_heads,
                attended.output.clone(),
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
