//! Small float networks as graphs, with weights by name.

use ocelli_graph::{
    Binary, ConvAttrs, Dim, ElementType, Graph, Node, Op, PoolAttrs, Reduction, Unary, ValueId,
};

use super::parameter;

/// A graph under construction: every layer's weights are filled by their names.
pub(super) struct Maker {
    pub graph: Graph,
}

/// A convolution's description.
#[derive(Clone, Copy)]
pub(super) struct Conv {
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
    pub bias: bool,
}

impl Conv {
    pub fn new(outputs: usize, kernel: usize, stride: usize) -> Self {
        Self { outputs, kernel, stride, pad: kernel / 2, groups: 1, bias: false }
    }

    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    pub fn pad(mut self, pad: usize) -> Self {
        self.pad = pad;
        self
    }

    pub fn biased(mut self) -> Self {
        self.bias = true;
        self
    }
}

/// How outputs follow a layer.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Act {
    None,
    Relu,
    Relu6,
}

impl Maker {
    pub fn new(name: &str, input: &str, shape: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph { name: name.into(), ..Graph::default() };
        let mut dims = vec![Dim::Batch(1)];
        dims.extend(shape[1..].iter().map(|&extent| Dim::Fixed(extent)));
        let x = graph.add_value(input, dims, ElementType::F32);
        graph.inputs.push(x);
        (Self { graph }, x)
    }

    fn node(&mut self, name: &str, op: Op, inputs: Vec<ValueId>, value: &str, shape: Vec<Dim>) -> ValueId {
        let output = self.graph.add_value(value, shape, ElementType::F32);
        self.graph.nodes.push(Node { name: name.into(), op, inputs, outputs: vec![output] });
        output
    }

    fn filled(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.graph.add_constant(name, shape, parameter(name, shape))
    }

    /// A convolution called `layer`; its weights are `{weights}.weight` and `.bias`.
    pub fn conv(&mut self, x: ValueId, layer: &str, weights: &str, own: Conv, value: &str) -> ValueId {
        let shape = self.graph.value(x).shape.clone();
        let extent = |dim: Dim| dim.at(1);
        let inputs = extent(shape[1]);
        let weight = self.filled(
            &format!("{weights}.weight"),
            &[own.outputs, inputs / own.groups, own.kernel, own.kernel],
        );
        let mut operands = vec![x, weight];
        if own.bias {
            operands.push(self.filled(&format!("{weights}.bias"), &[own.outputs]));
        }
        let out = |dim: Dim| Dim::Fixed((extent(dim) + 2 * own.pad - own.kernel) / own.stride + 1);
        let attrs = ConvAttrs {
            stride: vec![own.stride; 2],
            pad_begin: vec![own.pad; 2],
            pad_end: vec![own.pad; 2],
            dilation: vec![1; 2],
            groups: own.groups,
        };
        let op = Op::Conv { attrs, bias: own.bias, residual: false, activation: None };
        let shape = vec![shape[0], Dim::Fixed(own.outputs), out(shape[2]), out(shape[3])];
        self.node(layer, op, operands, value, shape)
    }

    /// A batch norm with weights `{weights}.*`.
    pub fn norm(&mut self, x: ValueId, weights: &str, epsilon: f32, value: &str) -> ValueId {
        let shape = self.graph.value(x).shape.clone();
        let mut operands = vec![x];
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            operands.push(self.filled(&format!("{weights}.{leaf}"), &[shape[1].at(1)]));
        }
        self.node(&format!("{weights}/norm"), Op::BatchNorm { epsilon }, operands, value, shape)
    }

    pub fn act(&mut self, x: ValueId, act: Act, value: &str) -> ValueId {
        let function = match act {
            Act::None => return x,
            Act::Relu => Unary::Relu,
            Act::Relu6 => Unary::Clamp { min: 0.0, max: 6.0 },
        };
        let shape = self.graph.value(x).shape.clone();
        self.node(&format!("{value}/act"), Op::Unary { function }, vec![x], value, shape)
    }

    /// Convolution, norm, activation; the result is called `value`.
    pub fn unit(
        &mut self,
        x: ValueId,
        layer: &str,
        weights: [&str; 2],
        own: Conv,
        act: Act,
        value: &str,
    ) -> ValueId {
        let conv = self.conv(x, layer, weights[0], own, &format!("{value}/conv"));
        let inner = if act == Act::None { value.to_string() } else { format!("{value}/norm") };
        let norm = self.norm(conv, weights[1], 1e-5, &inner);
        self.act(norm, act, value)
    }

    pub fn add(&mut self, a: ValueId, b: ValueId, value: &str) -> ValueId {
        let shape = self.graph.value(a).shape.clone();
        self.node(&format!("{value}/add"), Op::Binary { function: Binary::Add }, vec![a, b], value, shape)
    }

    /// The mean over height and width, `[n, c]`.
    pub fn mean(&mut self, x: ValueId, value: &str) -> ValueId {
        let shape = self.graph.value(x).shape[..2].to_vec();
        let op = Op::Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep_dims: false };
        self.node(&format!("{value}/mean"), op, vec![x], value, shape)
    }

    /// A linear layer with PyTorch's weights `{weights}.weight` `[out, in]` and `.bias`.
    pub fn linear(&mut self, x: ValueId, layer: &str, weights: &str, outputs: usize, value: &str) -> ValueId {
        let shape = self.graph.value(x).shape.clone();
        let inputs = shape[1].at(1);
        let filled = parameter(&format!("{weights}.weight"), &[outputs, inputs]);
        let turned = (0..inputs * outputs).map(|i| filled[i % outputs * inputs + i / outputs]).collect();
        let weight = self.graph.add_constant(format!("{weights}.weight"), &[inputs, outputs], turned);
        let bias = self.filled(&format!("{weights}.bias"), &[outputs]);
        let op = Op::Linear { bias: true, residual: false, activation: None };
        self.node(layer, op, vec![x, weight, bias], value, vec![shape[0], Dim::Fixed(outputs)])
    }

    /// The largest of 3x3 windows of stride 2.
    pub fn max_pool(&mut self, x: ValueId, value: &str) -> ValueId {
        let shape = self.graph.value(x).shape.clone();
        let half = |dim: Dim| Dim::Fixed(dim.at(1).div_ceil(2));
        let pool = PoolAttrs {
            kernel: [3; 2],
            stride: [2; 2],
            pad_begin: [1; 2],
            pad_end: [1; 2],
            dilation: [1; 2],
            ceil_mode: false,
        };
        let shape = vec![shape[0], shape[1], half(shape[2]), half(shape[3])];
        self.node(&format!("{value}/pool"), Op::MaxPool(pool), vec![x], value, shape)
    }

    pub fn finish(mut self, output: ValueId) -> Graph {
        self.graph.outputs.push(output);
        self.graph
    }
}
