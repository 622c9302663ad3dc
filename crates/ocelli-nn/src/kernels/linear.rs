//! Fully connected layers.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::linear::{self, LinearShape};

use super::flex::{in_order, slice, tensor};

/// Fully connected layers; weights are `[features_out, features_in]`.
#[backend_extension(Flex, Autodiff)]
pub trait LinearOps: Backend {
    /// `x · weightᵀ`: `[..., features_in]` → `[..., features_out]`.
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x · weightᵀ + bias`
    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

fn extents(x: &FlexTensor, weight: &FlexTensor) -> LinearShape {
    let (x, weight) = (x.shape(), weight.shape());
    let rows = x.iter().take(x.num_dims() - 1).product();
    LinearShape { rows, features_in: weight[1], features_out: weight[0] }
}

fn multiplied(x: &FlexTensor, weight: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
    let own = extents(x, weight);
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    assert_eq!(shape[last], own.features_in, "features of {shape:?}");
    shape[last] = own.features_out;
    let (x, weight) = (in_order(x.clone()), in_order(weight.clone()));
    let bias = bias.cloned().map(in_order);
    tensor(linear::forward(Isa::best(), own, slice(&x), slice(&weight), bias.as_ref().map(slice)), shape)
}

impl LinearOps for Flex {
    fn linear(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        multiplied(&x, &weight, None)
    }

    fn linear_with_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        multiplied(&x, &weight, Some(&bias))
    }
}

#[derive(Debug)]
struct Linear;

/// Where the input and the weights are.
type Places = (NodeId, NodeId);

/// Gradients of input, weights and bias, as far as they are wanted.
fn gradients(
    (x, weight): Places,
    grad: &FlexTensor,
    [of_x, of_weight, of_bias]: [bool; 3],
    checkpointer: &mut Checkpointer,
) -> [Option<FlexTensor>; 3] {
    let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(x));
    let weight = in_order(checkpointer.retrieve_node_output::<FlexTensor>(weight));
    let (own, isa) = (extents(&x, &weight), Isa::best());
    let input =
        of_x.then(|| tensor(linear::backward_input(isa, own, slice(grad), slice(&weight)), x.shape()));
    let both = (of_weight || of_bias).then(|| linear::backward_weights(isa, own, slice(&x), slice(grad)));
    let (weights, bias) = both.unzip();
    [
        input,
        weights.filter(|_| of_weight).map(|data| tensor(data, weight.shape())),
        bias.filter(|_| of_bias).map(|data| tensor(data, [own.features_out])),
    ]
}

impl Backward<Flex, 2> for Linear {
    type State = Places;

    fn backward(self, ops: Ops<Places, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let [x, weight] = ops.parents;
        let wanted = [x.is_some(), weight.is_some(), false];
        let found = gradients(ops.state, &grad, wanted, checkpointer);
        for (node, gradient) in [x, weight].into_iter().zip(found) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl Backward<Flex, 3> for Linear {
    type State = Places;

    fn backward(self, ops: Ops<Places, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(|node| node.is_some());
        let found = gradients(ops.state, &grad, wanted, checkpointer);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl<C: CheckpointStrategy> LinearOps for Autodiff<Flex, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let output = multiplied(x.primitive(), weight.primitive(), None);
        let nodes = [x.node(), weight.node()];
        match Backward::<Flex, 2>::prepare::<C>(Linear, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let places = (prep.checkpoint(&x), prep.checkpoint(&weight));
                prep.finish(places, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn linear_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let output = multiplied(x.primitive(), weight.primitive(), Some(bias.primitive()));
        let nodes = [x.node(), weight.node(), bias.node()];
        match Backward::<Flex, 3>::prepare::<C>(Linear, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let places = (prep.checkpoint(&x), prep.checkpoint(&weight));
                prep.finish(places, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
