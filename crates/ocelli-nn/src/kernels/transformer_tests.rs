//! The operations of transformers and their gradients against burn's own.

use burn::tensor::{Device, Tensor, module};

use super::tests::{close, devices, numbers, same, tensor};
use super::linear;

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
