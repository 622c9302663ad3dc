//! Adder convolutions.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::{ConvShape, adder};

use super::flex::{in_order, slice, tensor};

/// Adder convolutions with the method's own gradients.
#[backend_extension(Flex, Autodiff)]
pub trait AdderOps: Backend {
    /// `-Σ |weight - x|`; the gradient of the weights is scaled to the length `eta · sqrt(elements)`, or left as it is where `eta`
    /// is 0.
    fn adder_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
        eta: f64,
    ) -> FloatTensor<Self>;

    /// `weight`, whose gradient is scaled to the length `eta · sqrt(elements)`.
    fn adapted(weight: FloatTensor<Self>, eta: f64) -> FloatTensor<Self>;
}

fn convolved(x: &FlexTensor, weight: &FlexTensor, shape: &ConvShape) -> FlexTensor {
    let (x, weight) = (in_order(x.clone()), in_order(weight.clone()));
    let [height, width] = shape.output();
    let output = adder::forward(Isa::best(), shape, slice(&x), slice(&weight), None);
    tensor(output, [shape.batch, shape.channels_out, height, width])
}

impl AdderOps for Flex {
    fn adder_conv(x: FlexTensor, weight: FlexTensor, shape: ConvShape, _eta: f64) -> FlexTensor {
        convolved(&x, &weight, &shape)
    }

    fn adapted(weight: FlexTensor, _eta: f64) -> FlexTensor {
        weight
    }
}

#[derive(Debug)]
struct Adapted;

impl Backward<Flex, 1> for Adapted {
    type State = f64;

    fn backward(self, ops: Ops<f64, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let eta = ops.state as f32;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            let shape = grad.shape();
            let mut own = slice(&in_order(grad)).to_vec();
            adder::adapt(&mut own, eta);
            tensor(own, shape)
        });
    }
}

#[derive(Debug)]
struct Adder;

/// Where input and weights are, and what the operation was.
#[derive(Clone, Debug)]
struct State {
    x: NodeId,
    weight: NodeId,
    shape: ConvShape,
    eta: f64,
}

impl Backward<Flex, 2> for Adder {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let own = ops.state;
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(own.x));
        let weight = in_order(checkpointer.retrieve_node_output::<FlexTensor>(own.weight));
        let dims = (x.shape(), weight.shape());
        let (x, weight, grad, isa) = (slice(&x), slice(&weight), slice(&grad), Isa::best());
        let [of_x, of_weight] = ops.parents;
        if let Some(node) = of_x {
            let found = adder::backward_data(isa, &own.shape, x, weight, grad);
            grads.register::<Flex>(node.id, tensor(found, dims.0));
        }
        if let Some(node) = of_weight {
            let mut found = adder::backward_weights(isa, &own.shape, x, weight, grad);
            if own.eta > 0.0 {
                adder::adapt(&mut found, own.eta as f32);
            }
            grads.register::<Flex>(node.id, tensor(found, dims.1));
        }
    }
}

impl<C: CheckpointStrategy> AdderOps for Autodiff<Flex, C> {
    fn adder_conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        shape: ConvShape,
        eta: f64,
    ) -> FloatTensor<Self> {
        let output = convolved(x.primitive(), weight.primitive(), &shape);
        let nodes = [x.node(), weight.node()];
        match Backward::<Flex, 2>::prepare::<C>(Adder, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = State { x: prep.checkpoint(&x), weight: prep.checkpoint(&weight), shape, eta };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
    fn adapted(weight: FloatTensor<Self>, eta: f64) -> FloatTensor<Self> {
        let output = weight.primitive().clone();
        match Backward::<Flex, 1>::prepare::<C>(Adapted, [weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(eta, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
