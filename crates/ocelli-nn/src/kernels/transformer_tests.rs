//! The operations of transformers and their gradients against burn's own.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, activation, module};

use super::tests::{close, devices, numbers, same, tensor};
use super::{attend, attend_joined, attend_pair, gelu, layer_norm, linear};
use crate::attention::{by_head, parts};

#[test]
fn linear_layers_are_burns() {
    for device in devices() {
        for [rows, words, from, to] in [[3, 5, 24, 48], [2, 1, 7, 3], [40, 33, 19, 70]] {
            let x = tensor([rows, words, 1, from], 1, &device);
            let w = tensor([1, 1, to, from], 2, &device);
            let b = tensor([1, 1, 1, to], 3, &device);
            let matrix = |w: Tensor<4>| w.reshape([to, from]);
            let what = format!("{rows} x {words} rows, {from} -> {to}");
            same(
                [x.clone(), w.clone()],
                |[x, w]| linear(x, matrix(w), None),
                |[x, w]| module::linear(x, matrix(w).transpose(), None),
                &what,
            );
            let flat = |b: Tensor<4>| Some(b.flatten::<1>(0, 3));
            same(
                [x, w, b],
                |[x, w, b]| linear(x, matrix(w), flat(b)),
                |[x, w, b]| module::linear(x, matrix(w).transpose(), flat(b)),
                &what,
            );
        }
    }
}

#[test]
fn rows_may_lie_in_any_order() {
    let device = Device::flex();
    let x = tensor([4, 5, 6], 1, &device).swap_dims(0, 1);
    let w = tensor([6, 3], 2, &device).transpose();
    let plain = module::linear(x.clone(), w.clone().transpose(), None);
    close(&numbers(linear(x, w, None)), &numbers(plain), "views");
}

#[test]
fn layer_norm_is_burns() {
    for device in devices() {
        for features in [3, 24, 130] {
            let x = tensor([2, 3, 5, features], 1, &device).mul_scalar(3.0).add_scalar(0.5);
            let gain = tensor([1, 1, 1, features], 2, &device).mul_scalar(4.0);
            let shift = tensor([1, 1, 1, features], 3, &device);
            let flat = |t: Tensor<4>| t.flatten::<1>(0, 3);
            same(
                [x, gain, shift],
                |[x, gain, shift]| layer_norm(x, flat(gain), flat(shift), 1e-3),
                |[x, gain, shift]| module::layer_norm(x, flat(gain), Some(flat(shift)), 1e-3),
                &format!("{features} features"),
            );
        }
    }
}

#[test]
fn gelu_is_burns() {
    for device in devices() {
        let x = tensor([2, 3, 11, 12], 1, &device).mul_scalar(6.0);
        same([x], |[x]| gelu(x), |[x]| activation::gelu(x), "GELU");
    }
}

/// burn's attention, which keeps gradients.
fn plain_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    module::attention_fallback(q, k, v, None, None, AttentionModuleOptions::default())
}

#[test]
fn attention_is_burns() {
    for device in devices() {
        for [queries, keys, dim, width] in [[16, 16, 6, 6], [5, 9, 7, 3], [120, 130, 20, 33]] {
            let q = tensor([2, 3, queries, dim], 1, &device);
            let k = tensor([2, 3, keys, dim], 2, &device);
            let v = tensor([2, 3, keys, width], 3, &device);
            let what = format!("{queries} x {keys} tokens of {dim} and {width}");
            same([q, k, v], |[q, k, v]| attend(q, k, v), |[q, k, v]| plain_attention(q, k, v), &what);
        }
    }
}

#[test]
fn joined_attention_is_burns() {
    for device in devices() {
        for [tokens, heads, dim] in [[16, 4, 6], [100, 2, 20]] {
            let rows = |x: Tensor<4>| x.flatten::<3>(1, 2);
            let back = |x: Tensor<4>| x.swap_dims(1, 2).reshape([2, 1, tokens, heads * dim]);
            let map = |x: Tensor<3>| x.reshape([2, 1, tokens, heads * dim]);
            let x = tensor([2, 1, tokens, 3 * heads * dim], 1, &device);
            same(
                [x],
                |[x]| map(attend_joined(rows(x), heads)),
                |[x]| {
                    let [q, k, v] = parts(rows(x), heads);
                    back(plain_attention(q, k, v))
                },
                "all joined",
            );
            let qk = tensor([2, 1, tokens, 2 * heads * dim], 1, &device);
            let v = tensor([2, 1, tokens, heads * dim], 2, &device);
            same(
                [qk, v],
                |[qk, v]| map(attend_pair(rows(qk), rows(v), heads)),
                |[qk, v]| {
                    let [q, k] = parts(rows(qk), heads);
                    back(plain_attention(q, k, by_head(rows(v), heads)))
                },
                "a pair",
            );
        }
    }
}

#[test]
fn heads_may_lie_in_any_order() {
    let device = Device::flex();
    let q = tensor([2, 20, 3, 8], 1, &device).swap_dims(1, 2);
    let k = tensor([2, 3, 8, 21], 2, &device).swap_dims(2, 3);
    let v = tensor([2, 3, 40, 9], 3, &device).narrow(2, 7, 21);
    let plain = plain_attention(q.clone(), k.clone(), v.clone());
    close(&numbers(attend(q, k, v)), &numbers(plain), "views");
}

#[test]
fn recorded_transformers_are_burns() {
    let device = Device::capture();
    let captured = device.capture_scope(|scope| {
        let x = Tensor::<3>::zeros([2, 5, 12], &device);
        let x = crate::LayerNorm::new(12, &device).forward(x);
        let qk = crate::LinearConfig::new(12, 24).init(&device).forward(x.clone());
        let y = crate::attention_of_pair(qk, x, 3);
        let y = crate::attention_of_joined(Tensor::cat(vec![y.clone(), y.clone(), y], 2), 2);
        let y = crate::Activation::Gelu.forward(y);
        let y = y.try_into_primitive::<burn_capture::CaptureBackend>().expect("on the capture device").id();
        scope.complete([], [y])
    });
    let text = format!("{:?}", captured.expect("a complete scope").graph.operations);
    for name in ["LayerNorm", "Linear", "Attention", "Gelu"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("Custom"), "{text}");
}
