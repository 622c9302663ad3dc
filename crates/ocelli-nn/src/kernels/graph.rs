//! The neighbour search and aggregation of Vision GNN.

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, TensorData};
use ocelli_kernels::Isa;
use ocelli_kernels::knn::Search;
use ocelli_kernels::train::graph::{self, Aggregation};

use super::flex::{in_order, slice, tensor};

/// Operations on graphs of nodes.
#[backend_extension(Flex, Autodiff)]
pub trait GraphOps: Backend {
    /// The neighbours `[batch, nodes, k]` of the nodes of `x` `[batch, channels, h, w]` among those of `y`.
    fn neighbours(x: FloatTensor<Self>, y: FloatTensor<Self>, k: usize, dilation: usize) -> IntTensor<Self>;

    /// As above, `positions` `[1, nodes, targets]` added to the distances.
    fn neighbours_near(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        k: usize,
        dilation: usize,
    ) -> IntTensor<Self>;

    /// Every channel of `x` `[batch, channels, h, w]` followed by the most that a neighbour in `y` has more of it:
    /// `[batch, 2 · channels, h, w]`.
    fn max_relative(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        neighbours: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

fn search(
    x: FlexTensor,
    y: FlexTensor,
    positions: Option<FlexTensor>,
    k: usize,
    dilation: usize,
) -> FlexTensor {
    let (from, to) = (x.shape(), y.shape());
    let own = Search { channels: from[1], targets: to[2] * to[3], k, dilation };
    let (x, y) = (in_order(x), in_order(y));
    let positions = positions.map(in_order);
    let lists =
        graph::neighbours(Isa::best(), &own, from[0], slice(&x), slice(&y), positions.as_ref().map(slice));
    let lists: Vec<i64> = lists.into_iter().map(i64::from).collect();
    FlexTensor::from_data(TensorData::new(lists, [from[0], from[2] * from[3], k]))
}

/// What an aggregation looks like, and the neighbours' indices.
fn extents(x: &FlexTensor, y: &FlexTensor, neighbours: &FlexTensor) -> Aggregation {
    let (from, to, lists) = (x.shape(), y.shape(), neighbours.shape());
    Aggregation {
        batch: from[0],
        channels: from[1],
        nodes: from[2] * from[3],
        targets: to[2] * to[3],
        k: lists[2],
    }
}

fn aggregate(x: &FlexTensor, y: &FlexTensor, neighbours: FlexTensor) -> (FlexTensor, Vec<u32>) {
    let own = extents(x, y, &neighbours);
    let shape = x.shape();
    let (x, y) = (in_order(x.clone()), in_order(y.clone()));
    let lists: Vec<u32> =
        neighbours.into_data().iter::<i64>().map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect();
    let (out, which) = graph::max_relative(&own, slice(&x), slice(&y), &lists);
    (tensor(out, [shape[0], 2 * shape[1], shape[2], shape[3]]), which)
}

impl GraphOps for Flex {
    fn neighbours(x: FlexTensor, y: FlexTensor, k: usize, dilation: usize) -> FlexTensor {
        search(x, y, None, k, dilation)
    }

    fn neighbours_near(
        x: FlexTensor,
        y: FlexTensor,
        positions: FlexTensor,
        k: usize,
        dilation: usize,
    ) -> FlexTensor {
        search(x, y, Some(positions), k, dilation)
    }

    fn max_relative(x: FlexTensor, y: FlexTensor, neighbours: FlexTensor) -> FlexTensor {
        aggregate(&x, &y, neighbours).0
    }
}

#[derive(Debug)]
struct MaxRelative;

impl Backward<Flex, 2> for MaxRelative {
    /// Extents, the neighbour that had the most of every channel, shapes of both inputs.
    type State = (Aggregation, std::sync::Arc<Vec<u32>>, [Shape; 2]);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = in_order(grads.consume::<Flex>(&ops.node));
        let (own, which, [of_x, of_y]) = ops.state;
        let (x, y) = graph::max_relative_backward(&own, slice(&grad), &which);
        let [to_x, to_y] = ops.parents;
        for (node, data, shape) in [(to_x, x, of_x), (to_y, y, of_y)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(data, shape));
            }
        }
    }
}

impl<C: CheckpointStrategy> GraphOps for Autodiff<Flex, C> {
    fn neighbours(x: FloatTensor<Self>, y: FloatTensor<Self>, k: usize, dilation: usize) -> IntTensor<Self> {
        search(x.primitive().clone(), y.primitive().clone(), None, k, dilation)
    }

    fn neighbours_near(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        positions: FloatTensor<Self>,
        k: usize,
        dilation: usize,
    ) -> IntTensor<Self> {
        let positions = positions.primitive().clone();
        search(x.primitive().clone(), y.primitive().clone(), Some(positions), k, dilation)
    }

    fn max_relative(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        neighbours: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let own = extents(x.primitive(), y.primitive(), &neighbours);
        let shapes = [x.primitive().shape(), y.primitive().shape()];
        let (output, which) = aggregate(x.primitive(), y.primitive(), neighbours);
        match MaxRelative.prepare::<C>([x.node(), y.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((own, std::sync::Arc::new(which), shapes), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
