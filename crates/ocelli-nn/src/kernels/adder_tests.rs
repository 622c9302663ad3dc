//! Adder convolutions against their composition of burn's operations.

use burn::tensor::{Device, Tensor};

use super::tests::{close, devices, numbers, tensor};
use crate::adder::{adapt, composed, distances};
use crate::recording;

fn both(device: &Device, eta: f64, run: impl Fn(Tensor<4>, Tensor<4>) -> Tensor<4>) -> [Vec<f32>; 3] {
    let x = tensor([2, 5, 9, 8], 1, device).mul_scalar(2.0).require_grad();
    let w = tensor([7, 5, 3, 3], 2, device).mul_scalar(2.0).require_grad();
    // A step before, so that nothing is a leaf's own node.
    let y = run(x.clone().mul_scalar(1.0), w.clone().mul_scalar(1.0));
    let grads = y.clone().mul(tensor(y.dims(), 3, device)).sum().backward();
    let of_w = w.grad(&grads).expect("a gradient");
    let of_w = if eta > 0.0 { adapt(of_w, eta) } else { of_w };
    [numbers(y), numbers(x.grad(&grads).expect("a gradient")), numbers(of_w)]
}

#[test]
fn kernels_are_the_composition() {
    for device in devices() {
        for (stride, padding) in [(1, 1), (2, 1), (2, 0)] {
            let plain = both(&device, 0.2, |x, w| composed(x, w, stride, padding));
            let fast = both(&device, 0.0, |x, w| distances(x, w, stride, padding, 0.2));
            for (what, (fast, plain)) in ["output", "input", "weights"].iter().zip(fast.iter().zip(&plain)) {
                close(fast, plain, what);
            }
        }
    }
}

#[test]
fn a_layer_is_recorded_as_one_operation() {
    let device = recording::device();
    let captured = device.capture_scope(|scope| {
        let x = Tensor::<4>::zeros([2, 3, 8, 8], &device);
        let y = crate::AdderConv2dConfig::new(3, 5, 3).stride(2).init(&device).forward(x);
        assert_eq!(y.dims(), [2, 5, 4, 4]);
        let y = recording::id(&y);
        scope.complete([], [y])
    });
    let text = format!("{:?}", captured.expect("a complete scope").graph.operations);
    assert!(text.contains("adder_conv"), "{text}");
}
