//! The two halves of a block: Grapher and feed-forward network.

use burn::module::{Flag, Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use ocelli_nn::init::computed;
use ocelli_nn::penal::branch;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, DropPath, Taps, avg_pool2d, graph, random,
};

use super::{BlockConfig, Graph, GraphConv, GraphConvShape, relative_positions};

/// 1x1 convolution and norm.
type Pointwise = (Conv2d, BatchNorm);

fn pointwise(from: usize, to: usize, bias: bool, device: &Device) -> Pointwise {
    (Conv2dConfig::new(from, to, 1).bias(bias).init(device), BatchNormConfig::new(to).init(device))
}

/// Shape of a Grapher.
#[derive(Clone, Copy, Debug)]
pub struct GrapherShape {
    /// Channels of its graph convolution's nodes; the result has the same, or twice as many between two 1x1 convolutions.
    pub conv: GraphConvShape,
    /// Neighbours.
    pub block: BlockConfig,
    /// What a node's neighbours are.
    pub graph: Graph,
    /// Side of the window over which the nodes to choose from are averaged.
    pub reduce: usize,
    /// Side of the grid a table of relative positions is stored for; none if 0.
    pub table: usize,
    /// Whether the graph convolution stands between two 1x1 convolutions.
    pub fc: bool,
    /// Probability of random neighbours in training.
    pub random_neighbours: f64,
    /// Probability of dropping the branch.
    pub drop_path: f64,
}

/// `x + fc2(graph_conv(fc1(x)))`
#[derive(Module, Debug)]
pub struct Grapher {
    fc1: Option<Pointwise>,
    graph_conv: GraphConv,
    fc2: Option<Pointwise>,
    relative_pos: Option<Param<Tensor<3>>>,
    drop_path: DropPath,
    training: Param<Flag>,
    reduce: usize,
    k: usize,
    dilation: usize,
    random_neighbours: f64,
    #[module(skip)]
    graph: Graph,
}

impl Grapher {
    /// A Grapher with zero parameters.
    pub fn new(shape: GrapherShape, device: &Device) -> Self {
        let GraphConvShape { channels_in: channels, bias, .. } = shape.conv;
        let (nodes, side, reduce) = (shape.table * shape.table, shape.table, shape.reduce);
        let conv = if shape.fc {
            GraphConvShape { channels_out: 2 * channels, ..shape.conv }
        } else {
            GraphConvShape { channels_out: channels, ..shape.conv }
        };
        Self {
            fc1: shape.fc.then(|| pointwise(channels, channels, bias, device)),
            graph_conv: GraphConv::new(conv, device),
            fc2: shape.fc.then(|| pointwise(2 * channels, channels, bias, device)),
            relative_pos: (nodes > 0).then(|| {
                let size = [1, nodes, nodes / (reduce * reduce)];
                computed(size, device, move || relative_positions(channels, side, reduce))
            }),
            drop_path: DropPath::new(shape.drop_path),
            training: Param::from_bool(true),
            reduce,
            k: shape.block.k,
            dilation: shape.block.dilation,
            random_neighbours: shape.random_neighbours,
            graph: shape.graph,
        }
    }

    /// The table for `nodes` nodes choosing among `targets`, `[1, nodes, targets]`.
    pub fn positions(&self, nodes: usize, targets: usize) -> Option<Tensor<3>> {
        let table = self.relative_pos.as_ref()?.val().detach();
        Some(graph::resize_distances(table, [nodes, targets]))
    }

    /// Side of the window over which the nodes to choose from are averaged.
    pub(super) fn reduce(&self) -> usize {
        self.reduce
    }

    /// Fewest nodes to choose from.
    pub(super) fn fewest(&self) -> usize {
        if self.graph == Graph::Nearest { self.k } else { 1 }
    }

    /// The neighbours `[batch, nodes, k]` of the nodes of `x` among those of `y`.
    fn neighbours(&self, x: &Tensor<4>, y: &Tensor<4>) -> Tensor<3, Int> {
        let [batch, _, height, width] = x.dims();
        let [_, _, rows, columns] = y.dims();
        let (nodes, targets) = (height * width, rows * columns);
        let fixed = |k: usize, list: Vec<i64>| {
            Tensor::<3, Int>::from_data(TensorData::new(list, [1, nodes, k]), &x.device())
                .expand([batch, nodes, k])
        };
        match self.graph {
            Graph::Nearest => {}
            Graph::Own => return fixed(1, (0..nodes).map(|n| (n * targets / nodes) as i64).collect()),
            Graph::Grid => return fixed(9, grid([height, width])),
        }
        assert!(self.k <= targets, "a map of {rows}x{columns} nodes has no {} neighbours", self.k);
        let dilation = self.dilation.min(targets / self.k);
        let positions = self.positions(nodes, targets);
        let shuffled = self.random_neighbours > 0.0
            && self.training.is_enabled()
            && x.device().is_autodiff()
            && random::uniform(1)[0] < self.random_neighbours;
        if shuffled {
            let all = graph::neighbours(x.clone(), y.clone(), positions, self.k * dilation, 1);
            let chosen: Vec<i64> =
                random::permutation(self.k * dilation).into_iter().take(self.k).map(|i| i as i64).collect();
            return all.select(2, Tensor::from_data(TensorData::new(chosen, [self.k]), &x.device()));
        }
        graph::neighbours(x.clone(), y.clone(), positions, self.k, dilation)
    }

    /// `[batch, channels, h, w]` → the same shape. `name` is the Grapher's, `index` its number in the network: `taps` is
    /// offered `NAME.fc1`, `.graph_conv`, `.fc2`, and `edges.INDEX`, which may also be given.
    pub fn forward(&self, x: Tensor<4>, name: &str, index: usize, taps: &mut Taps) -> Tensor<4> {
        let h = match &self.fc1 {
            Some((conv, norm)) => norm.forward(conv.forward(x.clone())),
            None => x.clone(),
        };
        taps.see(format_args!("{name}fc1"), &h);
        let y = if self.reduce > 1 { avg_pool2d(h.clone(), self.reduce, self.reduce, 0) } else { h.clone() };
        self.offer(&h, &y, index, taps);
        let given = taps.given(format_args!("edges.{index}"));
        let neighbours = match given {
            Some(lists) => Tensor::from_data(lists.clone().convert::<i64>(), &x.device()),
            None => self.neighbours(&h, &y),
        };
        taps.see_indices(format_args!("edges.{index}"), &neighbours);
        let h = self.graph_conv.forward(h, y, neighbours);
        taps.see(format_args!("{name}graph_conv"), &h);
        let h = match &self.fc2 {
            Some((conv, norm)) => norm.forward(conv.forward(h)),
            None => h,
        };
        taps.see(format_args!("{name}fc2"), &h);
        self.drop_path.forward(branch(h)).add(x)
    }

    /// What the search works with.
    fn offer(&self, h: &Tensor<4>, y: &Tensor<4>, index: usize, taps: &mut Taps) {
        let count = |map: &Tensor<4>| map.dims()[2] * map.dims()[3];
        if taps.wants(format_args!("nodes.{index}")) {
            taps.see(format_args!("nodes.{index}"), h);
            taps.see(format_args!("targets.{index}"), y);
            if let Some(positions) = self.positions(count(h), count(y)) {
                taps.see(format_args!("positions.{index}"), &positions);
            }
        }
    }
}

/// The 3x3 pixels around every pixel; outside of the map the nearest inside.
fn grid([height, width]: [usize; 2]) -> Vec<i64> {
    let mut lists = Vec::with_capacity(9 * height * width);
    for row in 0..height {
        for column in 0..width {
            for (dy, dx) in (0..9).map(|i| (i / 3, i % 3)) {
                let y = (row + dy).saturating_sub(1).min(height - 1);
                let x = (column + dx).saturating_sub(1).min(width - 1);
                lists.push((y * width + x) as i64);
            }
        }
    }
    lists
}

/// `x + fc2(act(fc1(x)))`, 1x1 convolutions with norms.
#[derive(Module, Debug)]
pub struct Ffn {
    fc1: Pointwise,
    fc2: Pointwise,
    drop_path: DropPath,
    #[module(skip)]
    activation: Activation,
}

impl Ffn {
    /// `channels → hidden → channels`, with zero parameters.
    pub fn new(
        channels: usize,
        hidden: usize,
        activation: Activation,
        drop_path: f64,
        device: &Device,
    ) -> Self {
        Self {
            fc1: pointwise(channels, hidden, true, device),
            fc2: pointwise(hidden, channels, true, device),
            drop_path: DropPath::new(drop_path),
            activation,
        }
    }

    /// `[batch, channels, h, w]` → the same shape.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (conv, norm) = &self.fc1;
        let hidden = norm.forward_then(conv.forward(x.clone()), self.activation);
        let (conv, norm) = &self.fc2;
        self.drop_path.forward(branch(norm.forward(conv.forward(hidden)))).add(x)
    }
}
