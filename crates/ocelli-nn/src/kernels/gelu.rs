//! The exact GELU.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use ocelli_kernels::Isa;
use ocelli_kernels::train::gelu;

use super::flex::{in_order, slice, tensor};

/// The exact GELU.
#[backend_extension(Flex, Autodiff)]
pub trait GeluOps: Backend {
    /// `x / 2 · (1 + erf(x / √2))`
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn activated(x: &FlexTensor) -> FlexTensor {
    tensor(gelu::forward(Isa::best(), slice(&in_order(x.clone()))), x.shape())
}

impl GeluOps for Flex {
    fn exact_gelu(x: FlexTensor) -> FlexTensor {
        activated(&x)
    }
}

#[derive(Debug)]
struct Gelu;

impl Backward<Flex, 1> for Gelu {
    /// Where the input is.
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = in_order(checkpointer.retrieve_node_output::<FlexTensor>(ops.state));
        unary::<Flex, _>(ops.parents, ops.node, grads, |grad| {
            tensor(gelu::backward(Isa::best(), slice(&x), slice(&in_order(grad))), x.shape())
        });
    }
}

impl<C: CheckpointStrategy> GeluOps for Autodiff<Flex, C> {
    fn exact_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let output = activated(x.primitive());
        match Gelu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let place = prep.checkpoint(&x);
                prep.finish(place, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
