//! The operations with gradients.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Flex, TensorMetadata};
use burn::tensor::Shape;
use ocelli_kernels::Isa;
use ocelli_kernels::train::join::{self, Parts};
use ocelli_kernels::train::norm::{self, Clamp};
use ocelli_kernels::train::pool::{self, PoolShape};
use ocelli_kernels::train::{ConvShape, conv, depthwise};

use super::flex::{
    convolve, in_order, joined, max_pooled, mean_pooled, norm_shape, normalise, parts, scaled, slice, tensor,
};
use super::ops::KernelOps;

/// A tensor that records its gradients.
type Tracked<C> = FloatTensor<Autodiff<Flex, C>>;

#[derive(Debug)]
struct Conv;

/// What a convolution keeps: where its input and weights are, and its extents.
#[derive(Clone, Debug)]
struct ConvState {
    x: NodeId,
    weight: NodeId,
    shape: ConvShape,
}

impl ConvState {
    /// Gradients of input and weights.
    fn backward(
        &self,
        grad: &FlexTensor,
        wanted: [bool; 2],
        checkpointer: &mut Checkpointer,
    ) -> [Option<FlexTensor>; 2] {
        let shape = &self.shape;
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(self.x));
        let weight = in_order(checkpointer.retrieve_node_output::<FlexTensor>(self.weight));
        let dims = (x.shape(), weight.shape());
        let (x, weight, grad) = (slice(&x), slice(&weight), slice(grad));
        let isa = Isa::best();
        let (of_x, of_weight) = if shape.is_depthwise() {
            let (of_x, of_weight) = depthwise::backward(isa, shape, x, weight, grad, wanted[0]);
            (wanted[0].then_some(of_x), wanted[1].then_some(of_weight))
        } else {
            (
                wanted[0].then(|| conv::backward_data(isa, shape, grad, weight)),
                wanted[1].then(|| conv::backward_weights(isa, shape, x, grad)),
            )
        };
        [of_x.map(|data| tensor(data, dims.0)), of_weight.map(|data| tensor(data, dims.1))]
    }
}

impl Backward<Flex, 2> for Conv {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let wanted = ops.parents.each_ref().map(|node| node.is_some());
        let gradients = ops.state.backward(&grad, wanted, checkpointer);
        for (node, gradient) in ops.parents.into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

impl Backward<Flex, 3> for Conv {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let [x, weight, bias] = ops.parents;
        let gradients = ops.state.backward(&grad, [x.is_some(), weight.is_some()], checkpointer);
        for (node, gradient) in [x, weight].into_iter().zip(gradients) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
        if let Some(node) = bias {
            let channels = ops.state.shape.channels_out;
            let [height, width] = ops.state.shape.output();
            let sums = conv::backward_bias(slice(&grad), channels, height * width);
            grads.register::<Flex>(node.id, tensor(sums, [channels]));
        }
    }
}

#[derive(Debug)]
struct Norm;

/// What a batch norm keeps.
#[derive(Clone, Debug)]
struct NormState {
    x: NodeId,
    gain: NodeId,
    shift: NodeId,
    mean: FlexTensor,
    variance: FlexTensor,
    epsilon: f64,
    clamp: Clamp,
    /// Where a residual was added.
    output: Option<FlexTensor>,
}

impl NormState {
    fn backward(self, grad: &FlexTensor, checkpointer: &mut Checkpointer) -> norm::Gradients {
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(self.x));
        let gain = in_order(checkpointer.retrieve_node_output::<FlexTensor>(self.gain));
        let shift = in_order(checkpointer.retrieve_node_output::<FlexTensor>(self.shift));
        norm::backward(
            Isa::best(),
            norm_shape(&x),
            slice(&x),
            slice(&gain),
            slice(&shift),
            (slice(&self.mean), slice(&self.variance)),
            self.epsilon,
            self.output.as_ref().map(slice),
            self.clamp,
            slice(grad),
        )
    }
}

impl Backward<Flex, 3> for Norm {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let channels = [ops.state.mean.shape()[0]];
        let found = ops.state.backward(&grad, checkpointer);
        let [x, gain, shift] = ops.parents;
        if let Some(node) = x {
            grads.register::<Flex>(node.id, tensor(found.input, grad.shape()));
        }
        if let Some(node) = gain {
            grads.register::<Flex>(node.id, tensor(found.gain, channels));
        }
        if let Some(node) = shift {
            grads.register::<Flex>(node.id, tensor(found.shift, channels));
        }
    }
}

impl Backward<Flex, 4> for Norm {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let channels = [ops.state.mean.shape()[0]];
        let found = ops.state.backward(&grad, checkpointer);
        let [x, gain, shift, residual] = ops.parents;
        if let Some(node) = x {
            grads.register::<Flex>(node.id, tensor(found.input, grad.shape()));
        }
        if let Some(node) = gain {
            grads.register::<Flex>(node.id, tensor(found.gain, channels));
        }
        if let Some(node) = shift {
            grads.register::<Flex>(node.id, tensor(found.shift, channels));
        }
        if let Some(node) = residual {
            let whole = found.residual.is_empty();
            let gradient = if whole { grad } else { tensor(found.residual, grad.shape()) };
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct MaxPool;

impl Backward<Flex, 1> for MaxPool {
    /// Taps of the maxima, the windows, and the input's extent.
    type State = (Arc<Vec<u8>>, PoolShape, Shape);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (taps, shape, size) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            tensor(pool::max_backward(&shape, &taps, slice(&in_order(grad))), size)
        });
    }
}

#[derive(Debug)]
struct MeanPool;

impl Backward<Flex, 1> for MeanPool {
    /// The input's extent.
    type State = Shape;

    fn backward(self, ops: Ops<Shape, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let size = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            tensor(pool::mean_backward(slice(&in_order(grad)), size[2] * size[3]), size)
        });
    }
}

#[derive(Debug)]
struct Scale;

impl Backward<Flex, 2> for Scale {
    type State = (NodeId, NodeId);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(ops.state.0));
        let factors = in_order(checkpointer.retrieve_node_output::<FlexTensor>(ops.state.1));
        let (of_x, of_factors) = pool::scale_backward(slice(&x), slice(&factors), slice(&grad));
        let [node_x, node_factors] = ops.parents;
        if let Some(node) = node_x {
            grads.register::<Flex>(node.id, tensor(of_x, x.shape()));
        }
        if let Some(node) = node_factors {
            grads.register::<Flex>(node.id, tensor(of_factors, factors.shape()));
        }
    }
}

#[derive(Debug)]
struct Join;

impl Backward<Flex, 2> for Join {
    type State = (Parts, [Shape; 2]);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let (parts, shapes) = ops.state;
        let (first, second) = join::backward(shapes[0][0], parts, slice(&grad));
        for ((node, data), shape) in ops.parents.into_iter().zip([first, second]).zip(shapes) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, shape));
            }
        }
    }
}

/// A constant: statistics carry no gradient.
fn constant<C: CheckpointStrategy>(tensor: FlexTensor) -> Tracked<C> {
    Autodiff::<Flex, C>::from_inner(tensor)
}

#[derive(Debug)]
struct Penal;

impl Backward<Flex, 1> for Penal {
    /// The branch's output and the strength.
    type State = (FlexTensor, f32);

    fn backward(self, ops: Ops<(FlexTensor, f32), 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (z, tau) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            let (z, grad) = (in_order(z), in_order(grad));
            let sum = slice(&grad).iter().zip(slice(&z)).map(|(g, z)| g + tau * z).collect();
            tensor(sum, z.shape())
        });
    }
}

impl<C: CheckpointStrategy> KernelOps for Autodiff<Flex, C> {
    fn conv(x: Tracked<C>, weight: Tracked<C>, shape: ConvShape) -> Tracked<C> {
        let output = convolve(x.primitive(), weight.primitive(), None, &shape);
        match Backward::<Flex, 2>::prepare::<C>(Conv, [x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = ConvState { x: prep.checkpoint(&x), weight: prep.checkpoint(&weight), shape };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn conv_with_bias(x: Tracked<C>, weight: Tracked<C>, bias: Tracked<C>, shape: ConvShape) -> Tracked<C> {
        let output = convolve(x.primitive(), weight.primitive(), Some(bias.primitive()), &shape);
        let nodes = [x.node(), weight.node(), bias.node()];
        match Backward::<Flex, 3>::prepare::<C>(Conv, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = ConvState { x: prep.checkpoint(&x), weight: prep.checkpoint(&weight), shape };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn norm(
        x: Tracked<C>,
        gain: Tracked<C>,
        shift: Tracked<C>,
        epsilon: f64,
        clamp: Clamp,
    ) -> (Tracked<C>, Tracked<C>, Tracked<C>) {
        let (output, mean, variance) =
            normalise(x.primitive(), gain.primitive(), shift.primitive(), None, epsilon, clamp);
        let nodes = [x.node(), gain.node(), shift.node()];
        let output = match Backward::<Flex, 3>::prepare::<C>(Norm, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = NormState {
                    x: prep.checkpoint(&x),
                    gain: prep.checkpoint(&gain),
                    shift: prep.checkpoint(&shift),
                    mean: mean.clone(),
                    variance: variance.clone(),
                    epsilon,
                    clamp,
                    output: None,
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        (output, constant::<C>(mean), constant::<C>(variance))
    }

    fn norm_add(
        x: Tracked<C>,
        gain: Tracked<C>,
        shift: Tracked<C>,
        residual: Tracked<C>,
        epsilon: f64,
        clamp: Clamp,
    ) -> (Tracked<C>, Tracked<C>, Tracked<C>) {
        let (output, mean, variance) = normalise(
            x.primitive(),
            gain.primitive(),
            shift.primitive(),
            Some(residual.primitive()),
            epsilon,
            clamp,
        );
        let nodes = [x.node(), gain.node(), shift.node(), residual.node()];
        let output = match Backward::<Flex, 4>::prepare::<C>(Norm, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = NormState {
                    x: prep.checkpoint(&x),
                    gain: prep.checkpoint(&gain),
                    shift: prep.checkpoint(&shift),
                    mean: mean.clone(),
                    variance: variance.clone(),
                    epsilon,
                    clamp,
                    // Without an activation the residual's gradient is the output's.
                    output: (clamp != Clamp::NONE).then(|| output.clone()),
                };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        (output, constant::<C>(mean), constant::<C>(variance))
    }

    fn max_pool(x: Tracked<C>, shape: PoolShape) -> Tracked<C> {
        let (output, taps) = max_pooled(x.primitive(), &shape);
        let size = x.primitive().shape();
        match MaxPool.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((Arc::new(taps), shape, size), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn mean_pool(x: Tracked<C>) -> Tracked<C> {
        let output = mean_pooled(x.primitive());
        let size = x.primitive().shape();
        match MeanPool.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(size, output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn scale(x: Tracked<C>, factors: Tracked<C>) -> Tracked<C> {
        let output = scaled(x.primitive(), factors.primitive());
        match Scale.prepare::<C>([x.node(), factors.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&factors));
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn join(first: Tracked<C>, second: Tracked<C>, kept: usize) -> Tracked<C> {
        let output = joined(first.primitive(), second.primitive(), kept);
        match Join.prepare::<C>([first.node(), second.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let parts = parts(first.primitive(), second.primitive(), kept);
                let shapes = [first.primitive().shape(), second.primitive().shape()];
                prep.finish((parts, shapes), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn penal(x: Tracked<C>, tau: f32) -> Tracked<C> {
        let output = x.primitive().clone();
        match Penal.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((output.clone(), tau), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
