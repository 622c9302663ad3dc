//! The operations and their gradients against burn's own, and against finite differences.

use burn::tensor::module::{batch_norm_train, conv2d as burn_conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_kernels::train::ConvShape;
use ocelli_kernels::train::norm::Clamp;
use ocelli_kernels::train::pool::PoolShape;

use super::{batch_norm, conv2d, join, max_pool, mean_pool, scale, serve};
use crate::Activation;

/// Numbers in `-1..1` that depend on the seed.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(super) fn tensor<const D: usize>(dims: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(noise(dims.iter().product(), seed), dims), device)
}

pub(super) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

#[track_caller]
pub(super) fn close(fast: &[f32], plain: &[f32], what: &str) {
    assert_eq!(fast.len(), plain.len(), "{what}");
    let scale = plain.iter().fold(1e-2f32, |most, x| most.max(x.abs()));
    for (a, b) in fast.iter().zip(plain) {
        assert!((a - b).abs() <= 3e-5 * scale, "{what}: {a} is not {b}");
    }
}

/// With and without recomputing activations on the way back.
pub(super) fn devices() -> [Device; 2] {
    [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()]
}

/// A loss that gives every output its own gradient.
fn loss(y: Tensor<4>) -> Tensor<1> {
    let weights = tensor(y.dims(), 99, &y.device());
    y.mul(weights).sum()
}

/// Output and gradients of `run` at leaves of the given extents.
fn gradients<const N: usize>(
    leaves: [Tensor<4>; N],
    run: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) -> Vec<Vec<f32>> {
    let leaves = leaves.map(|leaf| leaf.require_grad());
    // A step before and after, so that nothing is a leaf's own node and gradients accumulate.
    let y = run(leaves.clone().map(|leaf| leaf.mul_scalar(1.5)));
    let mut found = vec![numbers(y.clone())];
    let grads = loss(y).add(loss(leaves[0].clone())).backward();
    found.extend(leaves.iter().map(|leaf| numbers(leaf.grad(&grads).expect("a gradient"))));
    found
}

#[track_caller]
pub(super) fn same<const N: usize>(
    leaves: [Tensor<4>; N],
    fast: impl Fn([Tensor<4>; N]) -> Tensor<4>,
    plain: impl Fn([Tensor<4>; N]) -> Tensor<4>,
    what: &str,
) {
    let pairs = gradients(leaves.clone(), fast).into_iter().zip(gradients(leaves, plain));
    for (i, (fast, plain)) in pairs.enumerate() {
        close(
            &fast,
            &plain,
            &format!("{what}, {}", if i == 0 { "output".into() } else { format!("leaf {i}") }),
        );
    }
}

fn shapes() -> Vec<ConvShape> {
    let shape = |channels_in, channels_out, side: usize, kernel: usize, stride, dilation, groups| ConvShape {
        batch: 2,
        channels_in,
        channels_out,
        size: [side, side + 1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2 * dilation; 2],
        dilation: [dilation; 2],
        groups,
    };
    vec![
        shape(3, 8, 11, 3, 1, 1, 1),
        shape(3, 8, 11, 7, 2, 1, 1),
        shape(6, 4, 9, 1, 1, 1, 1),
        shape(6, 4, 9, 1, 2, 1, 1),
        shape(8, 12, 8, 3, 2, 1, 4),
        shape(4, 4, 12, 3, 1, 2, 1),
        shape(7, 7, 13, 3, 1, 1, 7),
        shape(7, 7, 13, 5, 2, 1, 7),
    ]
}

#[test]
fn convolutions_are_burns() {
    for device in devices() {
        for shape in shapes() {
            let x = tensor([shape.batch, shape.channels_in, shape.size[0], shape.size[1]], 1, &device);
            let per = shape.channels_in / shape.groups;
            let w = tensor([shape.channels_out, per, shape.kernel[0], shape.kernel[1]], 2, &device);
            let b = tensor([1, shape.channels_out, 1, 1], 3, &device);
            let options = || ConvOptions::new(shape.stride, shape.padding, shape.dilation, shape.groups);
            let what = format!("{shape:?}");
            same(
                [x.clone(), w.clone()],
                |[x, w]| conv2d(x, w, None, shape.clone()),
                |[x, w]| burn_conv2d(x, w, None, options()),
                &what,
            );
            let flat = |b: Tensor<4>| Some(b.flatten::<1>(0, 3));
            same(
                [x, w, b],
                |[x, w, b]| conv2d(x, w, flat(b), shape.clone()),
                |[x, w, b]| burn_conv2d(x, w, flat(b), options()),
                &what,
            );
        }
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let device = Device::flex().autodiff();
    let shape = shapes().remove(0);
    let x = tensor([2, 3, 11, 12], 1, &device);
    let w = tensor([8, 3, 3, 3], 2, &device).require_grad();
    let grads = loss(conv2d(x.clone(), w.clone(), None, shape)).backward();
    assert!(w.grad(&grads).is_some() && x.grad(&grads).is_none());
}

#[test]
fn elements_may_lie_in_any_order() {
    let device = Device::flex();
    let shape = shapes().remove(0);
    let x = tensor([2, 3, 12, 11], 1, &device).swap_dims(2, 3);
    let w = tensor([3, 8, 3, 3], 2, &device).swap_dims(0, 1);
    let plain = burn_conv2d(x.clone(), w.clone(), None, ConvOptions::new([1; 2], [1; 2], [1; 2], 1));
    close(&numbers(conv2d(x, w, None, shape)), &numbers(plain), "views");
}

#[test]
fn batch_norm_with_its_activation_is_burns() {
    let activations = [Activation::Identity, Activation::Relu, Activation::Relu6];
    for device in devices() {
        for activation in activations {
            let clamp: Clamp = activation.bounds().expect("bounds");
            let x = tensor([3, 5, 6, 7], 1, &device).mul_scalar(3.0).add_scalar(0.5);
            let gain = tensor([1, 5, 1, 1], 2, &device).mul_scalar(4.0);
            let shift = tensor([1, 5, 1, 1], 3, &device).add_scalar(1.0);
            let residual = tensor([3, 5, 6, 7], 4, &device);
            let flat = |t: Tensor<4>| t.flatten::<1>(0, 3);
            same(
                [x.clone(), gain.clone(), shift.clone()],
                |[x, gain, shift]| batch_norm(x, flat(gain), flat(shift), None, 1e-3, clamp).output,
                |[x, gain, shift]| {
                    activation.forward(batch_norm_train(x, flat(gain), flat(shift), 1e-3).output)
                },
                &format!("{activation:?}"),
            );
            same(
                [x, gain, shift, residual],
                |[x, gain, shift, r]| batch_norm(x, flat(gain), flat(shift), Some(r), 1e-3, clamp).output,
                |[x, gain, shift, r]| {
                    activation.forward(batch_norm_train(x, flat(gain), flat(shift), 1e-3).output.add(r))
                },
                &format!("{activation:?} with a residual"),
            );
        }
    }
}

#[test]
fn statistics_are_the_batchs() {
    let device = Device::flex().autodiff();
    let x = tensor([3, 5, 6, 7], 1, &device).mul_scalar(3.0).add_scalar(0.5);
    let (gain, shift) = (Tensor::<1>::ones([5], &device), Tensor::<1>::zeros([5], &device));
    let fast = batch_norm(x.clone(), gain.clone(), shift.clone(), None, 1e-5, Clamp::NONE);
    let plain = batch_norm_train(x, gain, shift, 1e-5);
    close(&numbers(fast.mean), &numbers(plain.mean), "mean");
    close(&numbers(fast.variance), &numbers(plain.variance), "variance");
}

#[test]
fn pooling_and_scaling_are_burns() {
    for device in devices() {
        let x = tensor([2, 3, 11, 12], 1, &device);
        let shape = PoolShape {
            planes: 6,
            size: [11, 12],
            kernel: [3; 2],
            stride: [2; 2],
            padding: [1; 2],
            output: [6, 6],
        };
        let options = || MaxPoolOptions::new([3; 2]).with_stride([2; 2]).with_padding([1; 2]);
        same([x.clone()], |[x]| max_pool(x, shape.clone()), |[x]| max_pool2d(x, options()), "max pooling");
        same(
            [x.clone()],
            |[x]| mean_pool(x),
            |[x]| x.reshape([2, 3, 132]).mean_dim(2).reshape([2, 3, 1, 1]),
            "mean",
        );
        let factors = tensor([2, 3, 1, 1], 2, &device);
        same([x, factors], |[x, f]| scale(x, f), |[x, f]| x.mul(f), "scaling");
    }
}

#[test]
fn joining_is_burns() {
    for device in devices() {
        for kept in [3, 2] {
            let (a, b) = (tensor([2, 4, 5, 6], 1, &device), tensor([2, 3, 5, 6], 2, &device));
            same(
                [a, b],
                |[a, b]| join(a, b, kept),
                |[a, b]| Tensor::cat(vec![a, b.narrow(1, 0, kept)], 1),
                "joining",
            );
        }
    }
}

/// Gradients as the slope of the loss along a direction.
#[test]
fn gradients_are_finite_differences() {
    let device = Device::flex().autodiff();
    let shape = shapes().remove(4);
    let run = |[x, w, r]: [Tensor<4>; 3]| {
        let y = conv2d(x, w, None, shape.clone());
        let gain = tensor([12], 5, &y.device()).add_scalar(2.0);
        let shift = tensor([12], 6, &y.device());
        batch_norm(y, gain, shift, Some(r), 1e-3, Clamp::NONE).output
    };
    let leaves = [
        tensor([2, 8, 8, 9], 1, &device),
        tensor([12, 2, 3, 3], 2, &device),
        tensor([2, 12, 4, 5], 3, &device),
    ];
    let tracked = leaves.clone().map(|leaf| leaf.require_grad());
    let grads = loss(run(tracked.clone())).backward();
    let value = |leaves: [Tensor<4>; 3]| f64::from(loss(run(leaves)).into_scalar::<f32>());
    for i in 0..3 {
        let direction = tensor(leaves[i].dims(), 7, &device);
        let step = 1e-2;
        let moved = |by: f64| {
            let mut moved = leaves.clone();
            moved[i] = moved[i].clone().add(direction.clone().mul_scalar(by));
            value(moved)
        };
        let slope = (moved(step) - moved(-step)) / (2.0 * step);
        let grad = tracked[i].grad(&grads).expect("a gradient");
        let expected = f64::from(grad.mul(direction.without_autodiff()).sum().into_scalar::<f32>());
        assert!((slope - expected).abs() <= 1e-2 * expected.abs().max(1.0), "leaf {i}: {slope}, {expected}");
    }
}

#[test]
fn other_devices_keep_burns_operations() {
    let shape = [1, 3, 4, 4];
    assert!(serve(&Tensor::<4>::zeros(shape, &Device::flex())));
    assert!(serve(&Tensor::<4>::zeros(shape, &Device::flex().autodiff())));
    let device = Device::capture();
    let captured = device.capture_scope(|scope| {
        let x = Tensor::<4>::zeros(shape, &device);
        assert!(!serve(&x));
        let conv = crate::Conv2dConfig::new(3, 5, 3).init(&device);
        let norm = crate::BatchNormConfig::new(5).init(&device);
        let y = norm.forward_then(conv.forward(x), Activation::Relu);
        let y = y.try_into_primitive::<burn_capture::CaptureBackend>().expect("on the capture device").id();
        scope.complete([], [y])
    });
    let text = format!("{:?}", captured.expect("a complete scope").graph.operations);
    for name in ["Conv2d", "BatchNorm", "Relu"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    assert!(!text.contains("Custom"), "{text}");
}
