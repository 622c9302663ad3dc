//! Modulation of every picture's channels.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::modulate::{self, ModulateShape};

use super::flex::{in_order, slice, tensor};

/// Modulation of every picture's channels.
#[backend_extension(Flex, Autodiff)]
pub trait ModulateOps: Backend {
    /// `x` `[batch, channels, height, width]` scaled by `[batch, channels, inputs]` and shifted by `[batch, channels]` on top of itself.
    fn modulated(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        shape: ModulateShape,
    ) -> FloatTensor<Self>;
}

impl ModulateOps for Flex {
    fn modulated(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, shape: ModulateShape) -> FlexTensor {
        let (x, scale, shift) = (in_order(x), in_order(scale), in_order(shift));
        let output = modulate::forward(Isa::best(), &shape, slice(&x), slice(&scale), slice(&shift));
        tensor(output, x.shape())
    }
}

#[derive(Debug)]
struct Modulate;

impl Backward<Flex, 3> for Modulate {
    /// Where the operands are, and their extents.
    type State = ([NodeId; 3], ModulateShape);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let (places, shape) = ops.state;
        let [x, scale, shift] =
            places.map(|place| in_order(checkpointer.retrieve_node_output::<FlexTensor>(place)));
        let (of_x, of_scale, of_shift) =
            modulate::backward(Isa::best(), &shape, slice(&x), slice(&scale), slice(&shift), slice(&grad));
        let gradients = [(of_x, x.shape()), (of_scale, scale.shape()), (of_shift, shift.shape())];
        for (node, (data, shape)) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> ModulateOps for Autodiff<Flex, C> {
    fn modulated(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        shape: ModulateShape,
    ) -> FloatTensor<Self> {
        let output = Flex::modulated(
            x.primitive().clone(),
            scale.primitive().clone(),
            shift.primitive().clone(),
            shape,
        );
        match Modulate.prepare::<C>([x.node(), scale.node(), shift.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let places = [prep.checkpoint(&x), prep.checkpoint(&scale), prep.checkpoint(&shift)];
                prep.finish((places, shape), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
