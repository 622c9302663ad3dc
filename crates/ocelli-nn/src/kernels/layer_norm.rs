//! Layer norm.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::layer_norm::{self, LayerShape};

use super::flex::{in_order, slice, tensor};

/// Layer norm.
#[backend_extension(Flex, Autodiff)]
pub trait LayerNormOps: Backend {
    /// Layer norm over the last dimension of `[..., features]`.
    fn layer_norm(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}

fn extents(x: &FlexTensor, gain: &FlexTensor) -> LayerShape {
    let (x, features) = (x.shape(), gain.shape()[0]);
    assert_eq!(x[x.num_dims() - 1], features, "features of {x:?}");
    LayerShape { rows: x.iter().take(x.num_dims() - 1).product(), features }
}

/// The output, and mean and inverse deviation of every row.
fn normalise(x: &FlexTensor, gain: &FlexTensor, shift: &FlexTensor, epsilon: f64) -> [FlexTensor; 3] {
    let own = extents(x, gain);
    let shape = x.shape();
    let [x, gain, shift] = [x, gain, shift].map(|tensor| in_order(tensor.clone()));
    let found = layer_norm::forward(Isa::best(), own, slice(&x), slice(&gain), slice(&shift), epsilon);
    [tensor(found.output, shape), tensor(found.mean, [own.rows]), tensor(found.inverse, [own.rows])]
}

impl LayerNormOps for Flex {
    fn layer_norm(x: FlexTensor, gain: FlexTensor, shift: FlexTensor, epsilon: f64) -> FlexTensor {
        let [output, ..] = normalise(&x, &gain, &shift, epsilon);
        output
    }
}

#[derive(Debug)]
struct LayerNorm;

/// What a layer norm keeps: where input and gain are, and the rows' statistics.
#[derive(Clone, Debug)]
struct State {
    x: NodeId,
    gain: NodeId,
    mean: FlexTensor,
    inverse: FlexTensor,
}

impl Backward<Flex, 3> for LayerNorm {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(ops.state.x));
        let gain = in_order(checkpointer.retrieve_node_output::<FlexTensor>(ops.state.gain));
        let own = extents(&x, &gain);
        let statistics = (slice(&ops.state.mean), slice(&ops.state.inverse));
        let found = layer_norm::backward(Isa::best(), own, slice(&x), slice(&gain), statistics, slice(&grad));
        let [to_x, to_gain, to_shift] = ops.parents;
        if let Some(node) = to_x {
            grads.register::<Flex>(node.id, tensor(found.input, x.shape()));
        }
        if let Some(node) = to_gain {
            grads.register::<Flex>(node.id, tensor(found.gain, [own.features]));
        }
        if let Some(node) = to_shift {
            grads.register::<Flex>(node.id, tensor(found.shift, [own.features]));
        }
    }
}

impl<C: CheckpointStrategy> LayerNormOps for Autodiff<Flex, C> {
    fn layer_norm(
        x: FloatTensor<Self>,
        gain: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let [output, mean, inverse] = normalise(x.primitive(), gain.primitive(), shift.primitive(), epsilon);
        let nodes = [x.node(), gain.node(), shift.node()];
        match LayerNorm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = State { x: prep.checkpoint(&x), gain: prep.checkpoint(&gain), mean, inverse };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
