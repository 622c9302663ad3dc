//! Signs with gradients of their own.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};

use super::flex::{in_order, slice, tensor};
use crate::binary::Estimator;

/// Operations that make -1 and +1.
#[backend_extension(Flex, Autodiff)]
pub trait BinaryOps: Backend {
    /// -1 below zero, else +1.
    fn sign(x: FloatTensor<Self>, estimator: Estimator) -> FloatTensor<Self>;

    /// The sign of every weight, times the mean absolute weight of its filter where `scaled`.
    fn binarize(weight: FloatTensor<Self>, scaled: bool) -> FloatTensor<Self>;
}

#[inline]
fn hard(x: f32) -> f32 {
    if x < 0.0 { -1.0 } else { 1.0 }
}

fn signs(x: &FlexTensor) -> FlexTensor {
    let x = in_order(x.clone());
    tensor(slice(&x).iter().map(|&x| hard(x)).collect(), x.shape())
}

fn filters(weight: &FlexTensor, scaled: bool) -> FlexTensor {
    let weight = in_order(weight.clone());
    let numbers = slice(&weight);
    let per_filter = (numbers.len() / weight.shape()[0].max(1)).max(1);
    let scale = |own: &[f32]| {
        let sum: f64 = own.iter().map(|w| f64::from(w.abs())).sum();
        if scaled { (sum / per_filter as f64) as f32 } else { 1.0 }
    };
    let values = numbers.chunks(per_filter).flat_map(|own| {
        let scale = scale(own);
        own.iter().map(move |&w| scale * hard(w))
    });
    tensor(values.collect(), weight.shape())
}

impl BinaryOps for Flex {
    fn sign(x: FlexTensor, _estimator: Estimator) -> FlexTensor {
        signs(&x)
    }

    fn binarize(weight: FlexTensor, scaled: bool) -> FlexTensor {
        filters(&weight, scaled)
    }
}

/// Gradients pass as the estimator says.
#[derive(Debug)]
struct StraightThrough;

impl Backward<Flex, 1> for StraightThrough {
    type State = (NodeId, Estimator);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let (x, estimator) = ops.state;
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(x));
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            let grad = in_order(grad);
            let pairs = slice(&grad).iter().zip(slice(&x));
            // One loop per estimator, each without a choice inside.
            let passed = match estimator {
                Estimator::Identity => return grad,
                Estimator::HardTanh => pairs.map(|(g, &x)| g * Estimator::HardTanh.slope(x)).collect(),
                Estimator::Approx => pairs.map(|(g, &x)| g * Estimator::Approx.slope(x)).collect(),
            };
            tensor(passed, x.shape())
        });
    }
}

fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    estimator: Estimator,
    output: FlexTensor,
) -> FloatTensor<Autodiff<Flex, C>> {
    match StraightThrough.prepare::<C>([x.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let state = (prep.checkpoint(&x), estimator);
            prep.finish(state, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(output),
    }
}

impl<C: CheckpointStrategy> BinaryOps for Autodiff<Flex, C> {
    fn sign(x: FloatTensor<Self>, estimator: Estimator) -> FloatTensor<Self> {
        let output = signs(x.primitive());
        tracked::<C>(x, estimator, output)
    }

    fn binarize(weight: FloatTensor<Self>, scaled: bool) -> FloatTensor<Self> {
        let output = filters(weight.primitive(), scaled);
        tracked::<C>(weight, Estimator::HardTanh, output)
    }
}
