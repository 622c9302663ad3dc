//! Rounding to what codes stand for.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::fake_quant;

use super::flex::{in_order, slice, tensor};

/// Rounding to what codes stand for.
#[backend_extension(Flex, Autodiff)]
pub trait FakeQuantOps: Backend {
    /// `clamp(round(x / step), low, high) · step` with a step for every row of `x`, `[rows, ...]` with `[rows]`. The gradient of
    /// the steps is multiplied by `factor`.
    fn fake_quant(
        x: FloatTensor<Self>,
        steps: FloatTensor<Self>,
        low: f32,
        high: f32,
        factor: f32,
    ) -> FloatTensor<Self>;
}

fn rounded(x: &FlexTensor, steps: &FlexTensor, range: [f32; 2]) -> FlexTensor {
    let (own, steps) = (in_order(x.clone()), in_order(steps.clone()));
    tensor(fake_quant::forward(Isa::best(), slice(&own), slice(&steps), range), x.shape())
}

impl FakeQuantOps for Flex {
    fn fake_quant(x: FlexTensor, steps: FlexTensor, low: f32, high: f32, _factor: f32) -> FlexTensor {
        rounded(&x, &steps, [low, high])
    }
}

#[derive(Debug)]
struct FakeQuant;

/// Where numbers and steps are, and the settings.
#[derive(Clone, Debug)]
struct State {
    x: NodeId,
    steps: NodeId,
    range: [f32; 2],
    factor: f32,
}

impl Backward<Flex, 2> for FakeQuant {
    type State = State;

    fn backward(self, ops: Ops<State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let State { x, steps, range, factor } = ops.state;
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(x));
        let steps = in_order(checkpointer.retrieve_node_output::<FlexTensor>(steps));
        let (of_x, mut of_steps) =
            fake_quant::backward(Isa::best(), slice(&x), slice(&steps), range, slice(&grad));
        of_steps.iter_mut().for_each(|g| *g *= factor);
        let [to_x, to_steps] = ops.parents;
        if let Some(node) = to_x {
            grads.register::<Flex>(node.id, tensor(of_x, x.shape()));
        }
        if let Some(node) = to_steps {
            grads.register::<Flex>(node.id, tensor(of_steps, steps.shape()));
        }
    }
}

impl<C: CheckpointStrategy> FakeQuantOps for Autodiff<Flex, C> {
    fn fake_quant(
        x: FloatTensor<Self>,
        steps: FloatTensor<Self>,
        low: f32,
        high: f32,
        factor: f32,
    ) -> FloatTensor<Self> {
        let range = [low, high];
        let output = rounded(x.primitive(), steps.primitive(), range);
        match FakeQuant.prepare::<C>([x.node(), steps.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = State { x: prep.checkpoint(&x), steps: prep.checkpoint(&steps), range, factor };
                prep.finish(state, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
