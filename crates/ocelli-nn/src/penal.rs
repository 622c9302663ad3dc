//! The penal connection (arXiv 2209.15278): a regulariser of residual branches that acts on gradients only.
//!
//! In `x + z` the gradient that arrives at the branch output `z` gets `tau · z` added, which equals a loss term
//! `tau / 2 · Σ z²` without showing in the loss. Every residual block of this crate's networks adds through
//! [`residual`] (or a fused equivalent that asks [`tau`]), so any of them trains with it:
//!
//! ```
//! # use burn::tensor::{Device, Tensor};
//! # let device = Device::flex().autodiff();
//! # let branch = |x: Tensor<2>| x.mul_scalar(2.0);
//! let x = Tensor::<2>::ones([1, 2], &device).require_grad();
//! let y = ocelli_nn::penal::with_tau(0.1, || ocelli_nn::penal::residual(branch(x.clone()), x.clone()));
//! let grads = y.sum().backward();
//! // 1 along the skip, and (1 + 0.1 · 2) · 2 through the branch.
//! assert_eq!(x.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap(), [3.4, 3.4]);
//! ```
//!
//! Nothing is added to a state dict, and nothing happens outside of training: the operator is the identity where no
//! gradients are recorded. The strength per picture is `tau` times the batch size, as in the reference; gradients
//! averaged over micro-batches weaken it by their number.

use std::cell::Cell;

use burn::module::{Flag, Module, Param};
use burn::tensor::Tensor;

use crate::kernels;

thread_local! {
    static TAU: Cell<f32> = const { Cell::new(0.0) };
}

/// Runs `forward` with a penal connection of strength `tau` on every residual branch.
pub fn with_tau<R>(tau: f32, forward: impl FnOnce() -> R) -> R {
    struct Restore(f32);
    impl Drop for Restore {
        fn drop(&mut self) {
            TAU.set(self.0);
        }
    }
    let _restore = Restore(TAU.replace(tau));
    forward()
}

/// The strength that [`with_tau`] set; 0 outside of it.
pub fn tau() -> f32 {
    TAU.get()
}

/// `z`, whose gradient gets `tau · z` added. The function form: acts wherever gradients are recorded.
pub fn penal<const D: usize>(z: Tensor<D>, tau: f32) -> Tensor<D> {
    if tau == 0.0 || !z.device().is_autodiff() {
        return z;
    }
    assert!(kernels::serve(&z), "penal connections need the CPU backend and float32");
    kernels::penal(z, tau)
}

/// `branch + skip`, the branch with the penal connection that is in force.
pub fn residual<const D: usize>(branch: Tensor<D>, skip: Tensor<D>) -> Tensor<D> {
    penal(branch, tau()).add(skip)
}

/// The layer form, for networks of one's own: acts in training only.
#[derive(Module, Debug)]
pub struct PenalConnection {
    /// Strength.
    pub tau: f32,
    /// Whether the layer acts on an autodiff device.
    pub training: Param<Flag>,
}

impl PenalConnection {
    /// The reference's default strength.
    pub const DEFAULT_TAU: f32 = 3e-4;

    /// A connection of strength `tau`.
    pub fn new(tau: f32) -> Self {
        Self { tau, training: Param::from_bool(true) }
    }

    /// Any shape → the same values.
    pub fn forward<const D: usize>(&self, z: Tensor<D>) -> Tensor<D> {
        if self.training.is_enabled() { penal(z, self.tau) } else { z }
    }
}
