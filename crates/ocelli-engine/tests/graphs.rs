//! Graphs for the tests.

use ocelli_graph::{Binary, ConvAttrs, Dim, ElementType, Graph, Node, Op, PoolAttrs, Unary, ValueId};

/// Deterministic numbers in -1..1.
pub fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Builds graphs node by node.
pub struct Maker {
    pub graph: Graph,
}

impl Maker {
    /// A graph with one input `[batch, shape..]`.
    pub fn new(shape: &[usize]) -> (Self, ValueId) {
        let mut graph = Graph { name: "test".into(), ..Graph::default() };
        let dims = std::iter::once(Dim::Batch(1)).chain(shape.iter().map(|&e| Dim::Fixed(e))).collect();
        let input = graph.add_value("input", dims, ElementType::F32);
        graph.inputs.push(input);
        (Self { graph }, input)
    }

    /// Adds a node; its result has `shape` after the batch.
    pub fn node(&mut self, op: Op, inputs: &[ValueId], shape: &[usize]) -> ValueId {
        let dims = std::iter::once(Dim::Batch(1)).chain(shape.iter().map(|&e| Dim::Fixed(e))).collect();
        let count = self.graph.nodes.len();
        let output = self.graph.add_value(format!("v{count}"), dims, ElementType::F32);
        let node = Node { name: format!("n{count}"), op, inputs: inputs.to_vec(), outputs: vec![output] };
        self.graph.nodes.push(node);
        output
    }

    /// A convolution with random weights and bias; returns the result and its shape.
    pub fn conv(
        &mut self,
        x: ValueId,
        [c, h, w]: [usize; 3],
        out: usize,
        [kernel, stride, pad, dilation, groups]: [usize; 5],
    ) -> (ValueId, [usize; 3]) {
        let count = self.graph.nodes.len() as u64;
        let depth = c / groups;
        // Results of about the inputs' size, as trained networks have them.
        let fan_in = (depth * kernel * kernel) as f32;
        let weights = random(out * depth * kernel * kernel, count + 1);
        let weights = weights.into_iter().map(|w| w * (3.0 / fan_in).sqrt()).collect();
        let weights = self.graph.add_constant(format!("w{count}"), &[out, depth, kernel, kernel], weights);
        let bias = self.graph.add_constant(format!("b{count}"), &[out], random(out, count + 2));
        let attrs = ConvAttrs {
            stride: vec![stride; 2],
            pad_begin: vec![pad; 2],
            pad_end: vec![pad; 2],
            dilation: vec![dilation; 2],
            groups,
        };
        let extent = |e: usize| (e + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
        let shape = [out, extent(h), extent(w)];
        let op = Op::Conv { attrs, bias: true, residual: false, activation: None };
        (self.node(op, &[x, weights, bias], &shape), shape)
    }

    pub fn unary(&mut self, function: Unary, x: ValueId, shape: &[usize]) -> ValueId {
        self.node(Op::Unary { function }, &[x], shape)
    }

    pub fn binary(&mut self, function: Binary, a: ValueId, b: ValueId, shape: &[usize]) -> ValueId {
        self.node(Op::Binary { function }, &[a, b], shape)
    }

    pub fn finish(mut self, outputs: &[ValueId]) -> Graph {
        self.graph.outputs = outputs.to_vec();
        self.graph
    }
}

/// A small network with everything image networks have: a stem over colours, a residual, a gate, ghost halves, pooling,
/// a classifier.
pub fn little_network() -> Graph {
    let (mut m, x) = Maker::new(&[3, 21, 17]);
    let (x, s) = m.conv(x, [3, 21, 17], 16, [3, 2, 1, 1, 1]);
    let x = m.unary(Unary::Relu, x, &s);
    let pool = PoolAttrs {
        kernel: [3, 3],
        stride: [1, 1],
        pad_begin: [1, 1],
        pad_end: [1, 1],
        dilation: [1, 1],
        ceil_mode: false,
    };
    let x = m.node(Op::MaxPool(pool), &[x], &s);
    let (y, _) = m.conv(x, s, 16, [3, 1, 1, 1, 1]);
    let y = m.unary(Unary::HardSwish, y, &s);
    let (y, _) = m.conv(y, s, 16, [3, 1, 1, 1, 16]);
    let mean = m.node(
        Op::Reduce { reduction: ocelli_graph::Reduction::Mean, axes: vec![2, 3], keep_dims: true },
        &[y],
        &[16, 1, 1],
    );
    let (gate, _) = m.conv(mean, [16, 1, 1], 16, [1, 1, 0, 1, 1]);
    let gate = m.unary(Unary::Sigmoid, gate, &[16, 1, 1]);
    let y = m.binary(Binary::Mul, y, gate, &s);
    let y = m.binary(Binary::Add, y, x, &s);
    let y = m.unary(Unary::Relu, y, &s);
    let (a, half) = m.conv(y, s, 12, [1, 1, 0, 1, 1]);
    let (b, _) = m.conv(a, half, 12, [3, 1, 1, 1, 12]);
    let joined = [24, half[1], half[2]];
    let y = m.node(Op::Concat { axis: 1 }, &[a, b], &joined);
    let mean = m.node(
        Op::Reduce { reduction: ocelli_graph::Reduction::Mean, axes: vec![2, 3], keep_dims: true },
        &[y],
        &[24, 1, 1],
    );
    let flat = m.node(Op::Reshape, &[mean], &[24]);
    let weights = m.graph.add_constant("classifier", &[24, 7], random(24 * 7, 91));
    let bias = m.graph.add_constant("classifier bias", &[7], random(7, 92));
    let op = Op::Linear { bias: true, residual: false, activation: None };
    let logits = m.node(op, &[flat, weights, bias], &[7]);
    m.finish(&[logits])
}
