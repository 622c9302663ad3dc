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

use std::cell::{Cell, RefCell};

use burn::module::{Flag, Module, Param};
use burn::tensor::{Gradients, Tensor};

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

/// The output of a residual branch, with the penal connection that is in force and under observation if somebody
/// [`observe`]s: what every block calls just before its sum (and before stochastic depth).
pub fn branch<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    watch(penal(z, tau()))
}

/// `branch(z) + skip`
pub fn residual<const D: usize>(z: Tensor<D>, skip: Tensor<D>) -> Tensor<D> {
    branch(z).add(skip)
}

/// Whether sums of residual blocks have to go through [`branch`].
pub(crate) fn is_active() -> bool {
    tau() != 0.0 || OBSERVED.with_borrow(Option::is_some)
}

/// What one residual branch gave in an observed pass.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Its outputs, `[batch, elements]`.
    pub step: Tensor<2>,
    /// Zeros added to them: their gradient is that of the outputs.
    probe: Tensor<2>,
}

thread_local! {
    static OBSERVED: RefCell<Option<Vec<Branch>>> = const { RefCell::new(None) };
}

fn watch<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    OBSERVED.with_borrow_mut(|observed| {
        let Some(list) = observed.as_mut().filter(|_| z.device().is_autodiff()) else { return z };
        let shape = z.dims();
        let elements: usize = shape[1..].iter().product();
        let probe = Tensor::<2>::zeros([shape[0], elements], &z.device()).require_grad();
        list.push(Branch { step: z.clone().detach().reshape([shape[0], elements]), probe: probe.clone() });
        z.add(probe.reshape(shape))
    })
}

/// Runs `forward` and tells what each of its residual branches gave, in the order of execution. The pass must be on an
/// autodiff device.
pub fn observe<R>(forward: impl FnOnce() -> R) -> (R, Vec<Branch>) {
    let before = OBSERVED.replace(Some(Vec::new()));
    let result = forward();
    (result, OBSERVED.replace(before).unwrap_or_default())
}

/// How well the branches agree with where the loss wants their outputs to go: per branch the mean over samples of the
/// cosine of `z` and `-dL/dz`. `gradients` are those of the loss without penalty.
///
/// The paper's indicator of an efficient chain is of this kind; its exact formula is not known to us.
pub fn efficiency(branches: &[Branch], gradients: &Gradients) -> Vec<f64> {
    let of = |branch: &Branch| -> Option<f64> {
        let elements = branch.step.dims()[1];
        let numbers = |tensor: Tensor<2>| tensor.into_data().iter::<f64>().collect::<Vec<f64>>();
        let wanted = numbers(branch.probe.grad(gradients)?);
        let given = numbers(branch.step.clone());
        let cosine = |(z, g): (&[f64], &[f64])| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            -dot(z, g) / (dot(z, z) * dot(g, g)).sqrt().max(f64::MIN_POSITIVE)
        };
        let all: Vec<f64> =
            given.chunks_exact(elements).zip(wanted.chunks_exact(elements)).map(cosine).collect();
        Some(all.iter().sum::<f64>() / all.len() as f64)
    };
    branches.iter().map(|branch| of(branch).unwrap_or(0.0)).collect()
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
