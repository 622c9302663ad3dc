//! Every rewriting on a small graph: what is left, and that it computes the same.

use super::*;
use crate::interpret::{Tensor, interpret};
use crate::ir::{Dim, ElementType, Node, ValueId};
use crate::op::{Binary, ConvAttrs, Op, PadMode, Reduction, ResizeMode, Unary};

/// A graph in the making, over an input `[batch, 4, 6, 6]`.
struct Maker(Graph, ValueId);

const MAP: [Dim; 4] = [Dim::Batch(1), Dim::Fixed(4), Dim::Fixed(6), Dim::Fixed(6)];

fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 101) % 97) as f32 / 48.5 - 1.0).collect()
}

impl Maker {
    fn new() -> Self {
        let mut graph = Graph::default();
        let x = graph.add_value("input", MAP.to_vec(), ElementType::F32);
        graph.inputs.push(x);
        Self(graph, x)
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], shape: &[Dim]) -> ValueId {
        let name = format!("node_{}", self.0.nodes.len());
        let id = self.0.add_value(name.clone(), shape.to_vec(), ElementType::F32);
        self.0.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![id] });
        id
    }

    fn unary(&mut self, function: Unary, x: ValueId) -> ValueId {
        let shape = self.0.value(x).shape.clone();
        self.node(Op::Unary { function }, &[x], &shape)
    }

    fn binary(&mut self, function: Binary, a: ValueId, b: ValueId) -> ValueId {
        let shape = infer::broadcast(&self.0.value(a).shape, &self.0.value(b).shape).unwrap();
        self.node(Op::Binary { function }, &[a, b], &shape)
    }

    fn with(&mut self, function: Binary, a: ValueId, number: f32) -> ValueId {
        let b = self.constant(&[], vec![number]);
        self.binary(function, a, b)
    }

    fn constant(&mut self, shape: &[usize], data: Vec<f32>) -> ValueId {
        let name = format!("constant_{}", self.0.values.len());
        self.0.add_constant(name, shape, data)
    }

    /// A 3×3 convolution that keeps the shape.
    fn conv(&mut self, x: ValueId, groups: usize) -> ValueId {
        let seed = self.0.nodes.len();
        let weight = self.constant(&[4, 4 / groups, 3, 3], noise(4 * 4 / groups * 9, seed));
        let attrs = ConvAttrs {
            stride: vec![1, 1],
            pad_begin: vec![1, 1],
            pad_end: vec![1, 1],
            dilation: vec![1, 1],
            groups,
        };
        let op = Op::Conv { attrs, bias: false, residual: false, activation: None };
        self.node(op, &[x, weight], &MAP)
    }

    fn batch_norm(&mut self, x: ValueId) -> ValueId {
        let [scale, shift, mean] = [1, 2, 3].map(|seed| self.constant(&[4], noise(4, seed)));
        let variance = self.constant(&[4], vec![0.5, 1.0, 1.5, 2.0]);
        self.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, scale, shift, mean, variance], &MAP)
    }

    /// The graph up to `output`.
    fn graph(mut self, output: ValueId) -> Graph {
        self.0.outputs = vec![output];
        check(&self.0).unwrap();
        self.0
    }
}

/// Applies `pass`; the graph must compute the same before and after. Returns it and its operations.
fn same_after(graph: Graph, pass: impl Fn(&mut Graph)) -> (Graph, Vec<&'static str>) {
    let input = Tensor::new(&[2, 4, 6, 6], noise(2 * 4 * 36, 5));
    let before = interpret(&graph, std::slice::from_ref(&input)).unwrap();
    let mut after = graph;
    pass(&mut after);
    check(&after).unwrap();
    for (a, b) in before.iter().zip(interpret(&after, &[input]).unwrap()) {
        assert_eq!(a.shape, b.shape);
        for (a, b) in a.floats().iter().zip(b.floats()) {
            assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{a} became {b}");
        }
    }
    let kinds = after.nodes.iter().map(|node| node.op.kind()).collect();
    (after, kinds)
}

#[test]
fn batch_norms_go_into_convolutions() {
    for groups in [1, 2, 4] {
        let mut m = Maker::new();
        let conv = m.conv(m.1, groups);
        let normed = m.batch_norm(conv);
        let (_, kinds) = same_after(m.graph(normed), |g| {
            assert!(fold_batch_norms(g));
        });
        assert_eq!(kinds, ["conv"]);
    }
}

#[test]
fn a_batch_norm_stays_where_others_read_the_convolution() {
    let mut m = Maker::new();
    let conv = m.conv(m.1, 1);
    let normed = m.batch_norm(conv);
    let sum = m.binary(Binary::Add, conv, normed);
    let (_, kinds) = same_after(m.graph(sum), |g| {
        assert!(!fold_batch_norms(g));
    });
    assert_eq!(kinds, ["conv", "batch_norm", "add"]);
}

#[test]
fn factors_and_offsets_go_into_linear_layers() {
    let mut m = Maker::new();
    let shape = [Dim::Batch(1), Dim::Fixed(4), Dim::Fixed(6), Dim::Fixed(5)];
    let weight = m.constant(&[6, 5], noise(30, 1));
    let op = Op::Linear { bias: false, residual: false, activation: None };
    let product = m.node(op, &[m.1, weight], &shape);
    let bias = m.constant(&[1, 1, 1, 5], noise(5, 2));
    let sum = m.binary(Binary::Add, product, bias);
    let scale = m.constant(&[5], noise(5, 3));
    let scaled = m.binary(Binary::Mul, sum, scale);
    let (_, kinds) = same_after(m.graph(scaled), |g| {
        fold_batch_norms(g);
    });
    assert_eq!(kinds, ["linear"]);
}

#[test]
fn compositions_become_activations() {
    let mut m = Maker::new();
    let x = m.1;
    let plus = m.with(Binary::Add, x, 3.0);
    let six = m.unary(Unary::Clamp { min: 0.0, max: 6.0 }, plus);
    let product = m.binary(Binary::Mul, x, six);
    let swish = m.with(Binary::Div, product, 6.0);
    let gate = m.unary(Unary::Sigmoid, swish);
    let silu = m.binary(Binary::Mul, gate, swish);
    let inner = m.with(Binary::Div, silu, std::f32::consts::SQRT_2);
    let erf = m.unary(Unary::Erf, inner);
    let one = m.with(Binary::Add, erf, 1.0);
    let both = m.binary(Binary::Mul, silu, one);
    let gelu = m.with(Binary::Mul, both, 0.5);
    let low = m.with(Binary::Max, gelu, 0.0);
    let relu6 = m.with(Binary::Min, low, 6.0);
    let again = m.with(Binary::Add, relu6, 3.0);
    let bounded = m.unary(Unary::Clamp { min: 0.0, max: 6.0 }, again);
    let hard = m.with(Binary::Mul, bounded, 1.0 / 6.0);
    let (_, kinds) = same_after(m.graph(hard), optimize);
    assert_eq!(kinds, ["hard_swish", "silu", "gelu", "clamp", "hard_sigmoid"]);
}

#[test]
fn means_over_space_become_one() {
    let keep = |axes: Vec<usize>| Op::Reduce { reduction: Reduction::Mean, axes, keep_dims: true };
    let [n, c, h, _] = MAP;
    let one = Dim::Fixed(1);
    let mut m = Maker::new();
    let rows = m.node(keep(vec![3]), &[m.1], &[n, c, h, one]);
    let all = m.node(keep(vec![2]), &[rows], &[n, c, one, one]);
    let (_, kinds) = same_after(m.graph(all), optimize);
    assert_eq!(kinds, ["mean"]);

    let mut m = Maker::new();
    let flat = m.node(Op::Reshape, &[m.1], &[n, c, Dim::Fixed(36)]);
    let mean = m.node(keep(vec![2]), &[flat], &[n, c, one]);
    let all = m.node(Op::Reshape, &[mean], &[n, c, one, one]);
    let (graph, kinds) = same_after(m.graph(all), optimize);
    assert_eq!(kinds, ["mean"]);
    assert_eq!(graph.nodes[0].op, keep(vec![2, 3]));

    let mut m = Maker::new();
    let all = m.node(Op::AdaptiveAvgPool, &[m.1], &[n, c, one, one]);
    assert_eq!(same_after(m.graph(all), optimize).1, ["mean"]);
}

#[test]
fn zeros_around_a_map_become_a_border() {
    let mut m = Maker::new();
    let [n, _, h, w] = MAP;
    let zeros = m.node(Op::Full { value: 0.0 }, &[], &[n, Dim::Fixed(2), h, w]);
    let joined = m.node(Op::Concat { axis: 1 }, &[zeros, m.1, zeros], &[n, Dim::Fixed(8), h, w]);
    let (graph, kinds) = same_after(m.graph(joined), optimize);
    assert_eq!(kinds, ["pad"]);
    let border = vec![0, 2, 0, 0];
    let op = Op::Pad { mode: PadMode::Constant(0.0), before: border.clone(), after: border };
    assert_eq!(graph.nodes[0].op, op);
}

#[test]
fn a_residual_block_becomes_two_convolutions() {
    let mut m = Maker::new();
    let first = m.conv(m.1, 1);
    let first = m.batch_norm(first);
    let first = m.unary(Unary::Relu, first);
    let second = m.conv(first, 1);
    let second = m.batch_norm(second);
    let sum = m.binary(Binary::Add, second, m.1);
    let out = m.unary(Unary::Relu, sum);
    let (graph, kinds) = same_after(m.graph(out), optimize);
    assert_eq!(kinds, ["conv", "conv"]);
    assert!(matches!(
        graph.nodes[1].op,
        Op::Conv { bias: true, residual: true, activation: Some(Unary::Relu), .. }
    ));
}

#[test]
fn joined_channels_are_changed_before_they_are_joined() {
    let mut maker = Maker::new();
    let x = maker.1;
    let parts = [maker.conv(x, 1), maker.conv(x, 2)];
    let mut shape = MAP;
    shape[1] = Dim::Fixed(8);
    let joined = maker.node(Op::Concat { axis: 1 }, &parts, &shape);
    let [scale, shift, mean] = [1, 2, 3].map(|seed| maker.constant(&[8], noise(8, seed)));
    let variance = maker.constant(&[8], (1..9).map(|v| v as f32 / 4.0).collect());
    let inputs = [joined, scale, shift, mean, variance];
    let norm = maker.node(Op::BatchNorm { epsilon: 1e-5 }, &inputs, &shape);
    let relu = maker.unary(Unary::Relu, norm);
    let (graph, kinds) = same_after(maker.graph(relu), optimize);
    assert_eq!(kinds, ["conv", "conv", "concat"]);
    assert!(matches!(graph.nodes[0].op, Op::Conv { activation: Some(Unary::Relu), bias: true, .. }));

    // A part that something else reads keeps what it is.
    let mut maker = Maker::new();
    let parts = [maker.conv(maker.1, 1), maker.conv(maker.1, 2)];
    let joined = maker.node(Op::Concat { axis: 1 }, &parts, &shape);
    let relu = maker.unary(Unary::Relu, joined);
    let both =
        maker.node(Op::Concat { axis: 1 }, &[relu, parts[0]], &[MAP[0], Dim::Fixed(12), MAP[2], MAP[3]]);
    let (_, kinds) = same_after(maker.graph(both), optimize);
    assert_eq!(kinds.iter().filter(|kind| **kind == "concat").count(), 2);
}

#[test]
fn a_residual_that_comes_later_is_computed_first() {
    // The other branch ends in no layer that could take in the sum.
    let mut m = Maker::new();
    let main = m.conv(m.1, 1);
    let side = m.conv(m.1, 2);
    let side = m.unary(Unary::Tanh, side);
    let side = m.unary(Unary::Abs, side);
    let sum = m.binary(Binary::Add, main, side);
    let out = m.unary(Unary::Relu, sum);
    let (graph, kinds) = same_after(m.graph(out), optimize);
    assert_eq!(kinds, ["conv", "abs", "conv"]);
    assert!(matches!(graph.nodes[2].op, Op::Conv { residual: true, activation: Some(Unary::Relu), .. }));

    // Two layers meet.
    let mut m = Maker::new();
    let main = m.conv(m.1, 1);
    let side = m.conv(m.1, 2);
    let sum = m.binary(Binary::Add, main, side);
    assert_eq!(same_after(m.graph(sum), optimize).1, ["conv", "conv"]);
}

#[test]
fn an_activation_before_the_sum_keeps_the_sum_apart() {
    let mut m = Maker::new();
    let conv = m.conv(m.1, 1);
    let relu = m.unary(Unary::Relu, conv);
    let sum = m.binary(Binary::Add, relu, m.1);
    assert_eq!(same_after(m.graph(sum), optimize).1, ["conv", "add"]);
    // A result read twice stays.
    let mut m = Maker::new();
    let conv = m.conv(m.1, 1);
    let relu = m.unary(Unary::Relu, conv);
    let sum = m.binary(Binary::Add, relu, conv);
    assert_eq!(same_after(m.graph(sum), optimize).1, ["conv", "relu", "add"]);
}

#[test]
fn equal_nodes_are_computed_once_and_unread_ones_not_at_all() {
    let mut m = Maker::new();
    let a = m.with(Binary::Mul, m.1, 2.0);
    let b = m.with(Binary::Mul, m.1, 2.0);
    m.unary(Unary::Exp, a);
    let sum = m.binary(Binary::Add, a, b);
    let (graph, kinds) = same_after(m.graph(sum), |g| {
        assert!(merge_equal(g));
        assert!(remove_dead(g));
    });
    assert_eq!(kinds, ["mul", "add"]);
    assert_eq!(graph.constants.len(), 1);
}

#[test]
fn constants_are_computed_beforehand_unless_that_takes_room() {
    let mut m = Maker::new();
    let c = m.constant(&[4, 1, 1], noise(4, 1));
    let e = m.unary(Unary::Exp, c);
    let y = m.binary(Binary::Mul, m.1, e);
    let (_, kinds) = same_after(m.graph(y), |g| {
        assert!(fold_constants(g));
    });
    assert_eq!(kinds, ["mul"]);

    let mut m = Maker::new();
    let c = m.constant(&[1], vec![1.0]);
    let large = [Dim::Fixed(1), Dim::Fixed(1 << 18)];
    let wide = m.node(Op::Expand, &[c], &large);
    let mut graph = m.graph(wide);
    assert!(!fold_constants(&mut graph));
}

#[test]
fn resized_tables_are_computed_beforehand_and_nothing_else() {
    let mut m = Maker::new();
    let [c, h, w] = [4, 6, 6];
    let table = m.constant(&[1, c, 4], noise(c * 4, 1));
    let square = m.node(Op::Reshape, &[table], &[1, c, 2, 2].map(Dim::Fixed));
    let op = Op::Resize { mode: ResizeMode::Bicubic, align_corners: false };
    let fitted = m.node(op, &[square], &[1, c, h, w].map(Dim::Fixed));
    let gain = m.constant(&[c, 1, 1], noise(c, 2));
    let gain = m.unary(Unary::Exp, gain);
    let sum = m.binary(Binary::Add, m.1, fitted);
    let y = m.binary(Binary::Mul, sum, gain);
    let (graph, kinds) = same_after(m.graph(y), |g| {
        assert!(fold_resized(g));
        assert!(!fold_resized(g));
    });
    assert_eq!(kinds, ["exp", "add", "mul"]);
    assert_eq!(graph.constants.len(), 2);
}

#[test]
fn what_changes_nothing_goes() {
    let mut m = Maker::new();
    let [n, c, h, w] = MAP;
    let turn = |permutation: [usize; 4]| Op::Transpose { permutation: permutation.to_vec() };
    let there = m.node(turn([0, 2, 3, 1]), &[m.1], &[n, h, w, c]);
    let back = m.node(turn([0, 3, 1, 2]), &[there], &MAP);
    let flat = m.node(Op::Reshape, &[back], &[n, Dim::Fixed(144)]);
    let full = m.node(Op::Reshape, &[flat], &MAP);
    let same = m.node(Op::Expand, &[full], &MAP);
    let sum = m.with(Binary::Add, same, 0.0);
    let one = m.with(Binary::Mul, sum, 1.0);
    let out = m.unary(Unary::Relu, one);
    let out = m.unary(Unary::Relu, out);
    assert_eq!(same_after(m.graph(out), optimize).1, ["relu"]);
}
