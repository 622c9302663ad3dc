//! Graphs that a file may hold and no executor may see.

use super::{GraphError, check};
use crate::ir::{Constant, Dim, ElementType, Graph, Node, ValueId};
use crate::op::{ConvAttrs, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary};

const N: Dim = Dim::Batch(1);

fn f(extent: usize) -> Dim {
    Dim::Fixed(extent)
}

/// A graph of one node over inputs of these shapes.
fn graph(op: Op, inputs: &[&[Dim]], outputs: &[&[Dim]]) -> Graph {
    let mut graph = Graph::default();
    for (i, shape) in inputs.iter().enumerate() {
        let id = graph.add_value(format!("x{i}"), shape.to_vec(), ElementType::F32);
        graph.inputs.push(id);
    }
    for (i, shape) in outputs.iter().enumerate() {
        let element = if i == 1 { ElementType::I64 } else { ElementType::F32 };
        let id = graph.add_value(format!("y{i}"), shape.to_vec(), element);
        graph.outputs.push(id);
    }
    let node = Node { name: "node".into(), op, inputs: graph.inputs.clone(), outputs: graph.outputs.clone() };
    graph.nodes.push(node);
    graph
}

fn accepted(op: Op, inputs: &[&[Dim]], outputs: &[&[Dim]]) {
    let kind = op.kind();
    check(&graph(op, inputs, outputs)).unwrap_or_else(|e| panic!("{kind}: {e}"));
}

fn refused(op: Op, inputs: &[&[Dim]], outputs: &[&[Dim]]) {
    let text = format!("{op:?} {inputs:?} -> {outputs:?}");
    assert!(check(&graph(op, inputs, outputs)).is_err(), "{text}");
}

fn conv(change: impl FnOnce(&mut ConvAttrs)) -> Op {
    let mut attrs = ConvAttrs {
        stride: vec![1, 1],
        pad_begin: vec![0, 0],
        pad_end: vec![0, 0],
        dilation: vec![1, 1],
        groups: 1,
    };
    change(&mut attrs);
    Op::Conv { attrs, bias: false, residual: false, activation: None }
}

fn pool(change: impl FnOnce(&mut PoolAttrs)) -> Op {
    let mut attrs = PoolAttrs {
        kernel: [2, 2],
        stride: [2, 2],
        pad_begin: [0, 0],
        pad_end: [0, 0],
        dilation: [1, 1],
        ceil_mode: false,
    };
    change(&mut attrs);
    Op::MaxPool(attrs)
}

#[test]
fn convolutions() {
    let (x, w, y) = ([N, f(4), f(8), f(8)], [f(6), f(4), f(3), f(3)], [N, f(6), f(6), f(6)]);
    let fits: [&[Dim]; 2] = [&x, &w];
    accepted(conv(|_| {}), &fits, &[&y]);
    refused(conv(|_| {}), &fits, &[&x]);
    refused(conv(|_| {}), &[&x], &[&y]);
    refused(conv(|_| {}), &[&x, &w, &y], &[&y]);
    refused(conv(|_| {}), &fits, &[&y, &y]);
    let changes: [fn(&mut ConvAttrs); 11] = [
        |a: &mut ConvAttrs| a.stride = vec![0, 1],
        |a: &mut ConvAttrs| a.dilation = vec![1, 0],
        |a: &mut ConvAttrs| a.groups = 0,
        |a: &mut ConvAttrs| a.groups = 2,
        |a: &mut ConvAttrs| a.groups = usize::MAX,
        |a: &mut ConvAttrs| a.stride = vec![1],
        |a: &mut ConvAttrs| a.pad_begin = vec![],
        |a: &mut ConvAttrs| a.pad_end = vec![0, usize::MAX],
        |a: &mut ConvAttrs| a.pad_begin = vec![1 << 31, 0],
        |a: &mut ConvAttrs| a.dilation = vec![usize::MAX, 1],
        |a: &mut ConvAttrs| a.dilation = vec![4, 1],
    ];
    for change in changes {
        refused(conv(change), &fits, &[&y]);
    }
    // The batch among channels or pixels.
    refused(conv(|_| {}), &[&[N, f(4), N, f(8)], &w], &[&[N, f(6), N, f(6)]]);
    refused(conv(|_| {}), &[&[N, f(4)], &[f(6), f(4)]], &[&[N, f(6)]]);
    let op = Op::Conv {
        attrs: ConvAttrs {
            stride: vec![1],
            pad_begin: vec![0],
            pad_end: vec![0],
            dilation: vec![1],
            groups: 1,
        },
        bias: true,
        residual: true,
        activation: Some(Unary::Clamp { min: 1.0, max: 0.0 }),
    };
    let y = [N, f(6), f(8)];
    let inputs: [&[Dim]; 4] = [&[N, f(4), f(8)], &[f(6), f(4), f(1)], &[f(6)], &y];
    refused(op.clone(), &inputs, &[&y]);
    let Op::Conv { attrs, .. } = op else { unreachable!("made above") };
    let op =
        |residual| Op::Conv { attrs: attrs.clone(), bias: true, residual, activation: Some(Unary::Relu) };
    accepted(op(true), &inputs, &[&y]);
    refused(op(false), &inputs, &[&y]);
    refused(op(true), &[inputs[0], inputs[1], &[f(5)], &y], &[&y]);
    refused(op(true), &[inputs[0], inputs[1], inputs[2], &[N, f(6), f(7)]], &[&y]);
}

#[test]
fn pools_and_resizes() {
    let (x, y) = ([N, f(4), f(8), f(8)], [N, f(4), f(4), f(4)]);
    accepted(pool(|_| {}), &[&x], &[&y]);
    let changes: [fn(&mut PoolAttrs); 8] = [
        |a: &mut PoolAttrs| a.kernel = [0, 2],
        |a: &mut PoolAttrs| a.stride = [2, 0],
        |a: &mut PoolAttrs| a.dilation = [0, 1],
        |a: &mut PoolAttrs| a.kernel = [9, 2],
        |a: &mut PoolAttrs| a.kernel = [usize::MAX, 2],
        |a: &mut PoolAttrs| a.pad_begin = [usize::MAX, 0],
        |a: &mut PoolAttrs| a.pad_begin = [2, 0],
        |a: &mut PoolAttrs| a.dilation = [usize::MAX, 1],
    ];
    for change in changes {
        refused(pool(change), &[&x], &[&y]);
    }
    // A first window over nothing but padding.
    refused(pool(|a| a.pad_begin = [2, 0]), &[&x], &[&[N, f(4), f(5), f(4)]]);
    let resize = || Op::Resize { mode: ResizeMode::Bilinear, align_corners: false };
    accepted(resize(), &[&x], &[&y]);
    refused(resize(), &[&x], &[&[N, f(5), f(4), f(4)]]);
    refused(resize(), &[&x], &[&[N, f(4), N, f(4)]]);
    refused(Op::AdaptiveAvgPool, &[&[N, f(4), f(8)]], &[&[N, f(4), f(2)]]);
}

#[test]
fn rearrangements() {
    let x = [N, f(4), f(6)];
    accepted(Op::Reshape, &[&x], &[&[N, f(24)]]);
    accepted(Op::Reshape, &[&x], &[&[Dim::Batch(4), f(6)]]);
    refused(Op::Reshape, &[&x], &[&[N, f(23)]]);
    refused(Op::Reshape, &[&x], &[&[f(24)]]);
    let turn = |permutation: &[usize]| Op::Transpose { permutation: permutation.to_vec() };
    accepted(turn(&[0, 2, 1]), &[&x], &[&[N, f(6), f(4)]]);
    refused(turn(&[0, 1, 1]), &[&x], &[&[N, f(4), f(4)]]);
    refused(turn(&[0, 1]), &[&x], &[&[N, f(4)]]);
    refused(turn(&[0, 1, 3]), &[&x], &[&x]);
    accepted(Op::Expand, &[&[f(4), f(1)]], &[&[N, f(4), f(6)]]);
    refused(Op::Expand, &[&[f(4), f(2)]], &[&[N, f(4), f(6)]]);
    refused(Op::Expand, &[&x], &[&[f(4), f(6)]]);
    let slice = |starts: &[usize], ends: &[Option<usize>], steps: &[usize]| Op::Slice {
        starts: starts.to_vec(),
        ends: ends.to_vec(),
        steps: steps.to_vec(),
    };
    accepted(slice(&[0, 1, 0], &[None, Some(3), None], &[1, 1, 2]), &[&x], &[&[N, f(2), f(3)]]);
    refused(slice(&[0, 1, 0], &[None, Some(5), None], &[1, 1, 1]), &[&x], &[&[N, f(4), f(6)]]);
    refused(slice(&[0, 3, 0], &[None, Some(2), None], &[1, 1, 1]), &[&x], &[&x]);
    refused(slice(&[0, 0, 0], &[None, None, None], &[1, 1, 0]), &[&x], &[&x]);
    refused(slice(&[0, 0, 9], &[None, None, None], &[1, 1, 1]), &[&x], &[&x]);
    refused(slice(&[1, 0, 0], &[None, None, None], &[1, 1, 1]), &[&x], &[&x]);
    refused(slice(&[0, 0], &[None, None], &[1, 1]), &[&x], &[&x]);
    accepted(Op::Concat { axis: 1 }, &[&x, &x], &[&[N, f(8), f(6)]]);
    refused(Op::Concat { axis: 3 }, &[&x, &x], &[&x]);
    refused(Op::Concat { axis: 1 }, &[&x, &[N, f(4), f(5)]], &[&[N, f(8), f(6)]]);
    refused(Op::Concat { axis: 1 }, &[], &[&x]);
    let pad = |mode, before: &[usize]| Op::Pad { mode, before: before.to_vec(), after: vec![0, 0, 0] };
    accepted(pad(PadMode::Reflect, &[0, 0, 2]), &[&x], &[&[N, f(4), f(8)]]);
    refused(pad(PadMode::Reflect, &[0, 0, 6]), &[&x], &[&[N, f(4), f(12)]]);
    refused(pad(PadMode::Edge, &[1, 0, 0]), &[&x], &[&x]);
    refused(pad(PadMode::Edge, &[0, usize::MAX, 0]), &[&x], &[&x]);
    refused(pad(PadMode::Edge, &[0, 0]), &[&x], &[&x]);
    refused(Op::Flip { axes: vec![3] }, &[&x], &[&x]);
    refused(Op::Flip { axes: vec![1, 1] }, &[&x], &[&x]);
}

#[test]
fn products_reductions_and_choices() {
    let x = [N, f(4), f(6)];
    accepted(Op::MatMul, &[&x, &[f(6), f(2)]], &[&[N, f(4), f(2)]]);
    refused(Op::MatMul, &[&x, &[f(5), f(2)]], &[&[N, f(4), f(2)]]);
    refused(Op::MatMul, &[&x, &[f(6)]], &[&[N, f(4)]]);
    let linear = || Op::Linear { bias: false, residual: false, activation: None };
    accepted(linear(), &[&x, &[f(6), f(2)]], &[&[N, f(4), f(2)]]);
    refused(linear(), &[&x, &[f(2), f(6)]], &[&[N, f(4), f(2)]]);
    refused(linear(), &[&[], &[f(2), f(6)]], &[&[f(6)]]);
    let reduce =
        |axes: &[usize]| Op::Reduce { reduction: Reduction::Sum, axes: axes.to_vec(), keep_dims: false };
    accepted(reduce(&[1, 2]), &[&x], &[&[N]]);
    for axes in [&[][..], &[3], &[2, 1], &[1, 1]] {
        refused(reduce(axes), &[&x], &[&[N, f(4)]]);
    }
    refused(Op::Softmax { axis: 3 }, &[&x], &[&x]);
    refused(Op::Softmax { axis: 0 }, &[&[]], &[&[]]);
    refused(Op::LayerNorm { epsilon: 1e-5, shift: false }, &[&x, &[f(5)]], &[&x]);
    refused(Op::GroupNorm { groups: 3, epsilon: 1e-5 }, &[&x, &[f(4)], &[f(4)]], &[&x]);
    refused(Op::GroupNorm { groups: 0, epsilon: 1e-5 }, &[&x, &[f(4)], &[f(4)]], &[&x]);
    refused(Op::BatchNorm { epsilon: 1e-5 }, &[&x, &[f(4)], &[f(4)], &[f(4)], &[f(3)]], &[&x]);
    let top = |k| Op::TopK { axis: 2, k, largest: true };
    accepted(top(2), &[&x], &[&[N, f(4), f(2)], &[N, f(4), f(2)]]);
    refused(top(7), &[&x], &[&[N, f(4), f(7)], &[N, f(4), f(7)]]);
    refused(top(0), &[&x], &[&[N, f(4), f(0)], &[N, f(4), f(0)]]);
    refused(top(2), &[&x], &[&[N, f(4), f(2)]]);
    let q = [N, f(2), f(5), f(8)];
    let attention = |mask| Op::Attention { scale: 1.0, causal: false, mask };
    accepted(attention(true), &[&q, &q, &q, &[f(5), f(5)]], &[&q]);
    refused(attention(true), &[&q, &q, &q, &[f(5), f(4)]], &[&q]);
    refused(attention(false), &[&q, &[N, f(3), f(5), f(8)], &q], &[&q]);
    refused(attention(false), &[&x, &x, &x], &[&x]);
}

#[test]
fn indices() {
    let mut m = graph(Op::Gather { axis: 1 }, &[&[N, f(4)]], &[&[N, f(2)]]);
    let indices = m.add_value("indices", vec![f(2)], ElementType::I64);
    m.nodes[0].inputs.push(indices);
    for (chosen, fits) in [([0, 3], true), ([0, 4], false), ([-1, 0], false)] {
        m.constants.insert(indices, Constant::I64(chosen.to_vec().into()));
        assert_eq!(check(&m).is_ok(), fits, "{chosen:?}");
    }
    m.nodes[0].op = Op::GatherElements { axis: 1 };
    m.constants.insert(indices, Constant::I64(vec![0, 1].into()));
    assert!(check(&m).is_err(), "indices of another rank");
    m.constants.remove(&indices);
    m.inputs.push(indices);
    m.nodes[0].op = Op::Gather { axis: 2 };
    assert!(check(&m).is_err(), "a dimension that does not exist");
}

#[test]
fn lists_and_order() {
    let relu = || graph(Op::Unary { function: Unary::Relu }, &[&[N, f(4)]], &[&[N, f(4)]]);
    let broken = |change: fn(&mut Graph)| -> GraphError {
        let mut graph = relu();
        change(&mut graph);
        check(&graph).expect_err("it is broken")
    };
    assert!(check(&relu()).is_ok());
    broken(|g| g.nodes[0].inputs[0] = ValueId(7));
    broken(|g| g.nodes[0].outputs[0] = ValueId(7));
    broken(|g| g.inputs[0] = ValueId(u32::MAX));
    broken(|g| g.outputs[0] = ValueId(2));
    broken(|g| g.outputs.clear());
    broken(|g| g.inputs.clear());
    broken(|g| g.inputs.push(ValueId(0)));
    broken(|g| g.nodes[0].inputs[0] = ValueId(1));
    broken(|g| g.nodes.push(g.nodes[0].clone()));
    broken(|g| g.nodes[0].outputs[0] = ValueId(0));
    broken(|g| g.nodes.clear());
    broken(|g| {
        g.constants.insert(ValueId(9), Constant::Bool(vec![true].into()));
    });
    broken(|g| {
        g.add_constant("short", &[3], vec![0.0]);
    });
    broken(|g| {
        g.add_constant("of another type", &[1], vec![0.0]);
        g.values[2].element = ElementType::I64;
    });
    broken(|g| {
        g.values.push(crate::ir::Value {
            name: "vast".into(),
            shape: vec![f(1 << 20); 3],
            element: ElementType::F32,
        })
    });
    broken(|g| g.values[0].shape = vec![f(0)]);
    broken(|g| g.values[0].shape = vec![f(1); 40]);
}

#[test]
fn a_weight_may_be_kept_elsewhere() {
    let mut m =
        graph(conv(|_| {}), &[&[N, f(4), f(8), f(8)], &[f(6), f(4), f(3), f(3)]], &[&[N, f(6), f(6), f(6)]]);
    let weight = m.inputs.remove(1);
    assert!(check(&m).is_ok());
    m.nodes[0].inputs.swap(0, 1);
    assert!(check(&m).is_err(), "only the weight");
    m.nodes[0].inputs.swap(0, 1);
    m.outputs.push(weight);
    assert!(check(&m).is_err(), "nothing else may read it");
}

#[test]
fn convolutions_of_signs() {
    let binary = |change: fn(&mut crate::BinaryConv)| {
        let Op::Conv { attrs, .. } = conv(|_| {}) else { unreachable!("a convolution") };
        let mut own = crate::BinaryConv {
            attrs,
            kernel: [3, 3],
            mean: true,
            shift: false,
            scale: false,
            bias: false,
            residual: false,
            slope: false,
            after: false,
        };
        change(&mut own);
        Op::BinaryConv(own)
    };
    let (x, y): ([Dim; 4], [Dim; 4]) = ([N, f(4), f(8), f(8)], [N, f(6), f(6), f(6)]);
    let (flat, full) = ([f(6 * 4 * 9), f(1)], [f(6), f(4), f(3), f(3)]);
    accepted(binary(|_| {}), &[&x, &flat], &[&y]);
    accepted(binary(|_| {}), &[&x, &full], &[&y]);
    accepted(binary(|own| own.shift = true), &[&x, &flat, &[f(4)]], &[&y]);
    accepted(binary(|own| (own.bias, own.residual) = (true, true)), &[&x, &flat, &[f(6)], &y], &[&y]);
    refused(binary(|own| (own.bias, own.residual) = (true, true)), &[&x, &flat, &y, &[f(6)]], &[&y]);
    refused(binary(|own| own.shift = true), &[&x, &flat, &[f(6)]], &[&y]);
    refused(binary(|own| own.slope = true), &[&x, &flat, &[f(4)]], &[&y]);
    refused(binary(|own| own.slope = true), &[&x, &flat], &[&y]);
    refused(binary(|_| {}), &[&x, &[f(6 * 4 * 8)]], &[&y]);
    refused(binary(|_| {}), &[&x, &[N, f(36)]], &[&y]);
    refused(binary(|own| own.kernel = [usize::MAX, 3]), &[&x, &flat], &[&y]);
    refused(binary(|own| own.kernel = [0, 3]), &[&x, &flat], &[&y]);
    refused(binary(|own| own.attrs.groups = 0), &[&x, &flat], &[&y]);
    refused(binary(|own| own.attrs.stride = vec![0, 1]), &[&x, &flat], &[&y]);
    refused(binary(|_| {}), &[&x[..3], &flat], &[&y]);
}

#[test]
fn adder_convolutions() {
    use crate::adder_conv::{AdderCodes, AdderConv};
    let adder = |change: fn(&mut AdderConv)| {
        let Op::Conv { attrs, .. } = conv(|_| {}) else { unreachable!("a convolution") };
        let mut own = AdderConv::new(attrs);
        change(&mut own);
        Op::AdderConv(own)
    };
    let (x, y): ([Dim; 4], [Dim; 4]) = ([N, f(4), f(8), f(8)], [N, f(6), f(6), f(6)]);
    let (weight, vector) = ([f(6), f(4), f(3), f(3)], [f(6)]);
    accepted(adder(|_| {}), &[&x, &weight], &[&y]);
    accepted(adder(|own| own.affine = true), &[&x, &weight, &vector, &vector], &[&y]);
    accepted(
        adder(|own| (own.affine, own.residual) = (true, true)),
        &[&x, &weight, &vector, &vector, &y],
        &[&y],
    );
    refused(adder(|own| own.affine = true), &[&x, &weight, &vector], &[&y]);
    refused(adder(|own| own.affine = true), &[&x, &weight, &vector, &[f(4)]], &[&y]);
    refused(adder(|own| own.residual = true), &[&x, &weight, &vector], &[&y]);
    refused(adder(|own| own.attrs.groups = 2), &[&x, &[f(6), f(2), f(3), f(3)]], &[&y]);
    refused(adder(|own| own.attrs.stride = vec![0, 1]), &[&x, &weight], &[&y]);
    refused(adder(|_| {}), &[&x[..3], &weight], &[&y]);
    // Codes need a weight of codes.
    let coded = |own: &mut AdderConv| {
        own.codes = Some(AdderCodes { bits: 4, signed: false, scales: vec![1.0], labels: vec![0; 6] });
    };
    refused(adder(coded), &[&x, &weight], &[&y]);
    let sound = AdderCodes { bits: 4, signed: false, scales: vec![1.0], labels: vec![0; 6] };
    assert!(sound.is_sound(6) && !sound.is_sound(5));
    for wrong in [
        AdderCodes { bits: 9, ..sound.clone() },
        AdderCodes { bits: 1, ..sound.clone() },
        AdderCodes { scales: vec![0.0], ..sound.clone() },
        AdderCodes { scales: vec![f32::NAN], ..sound.clone() },
        AdderCodes { scales: Vec::new(), ..sound.clone() },
        AdderCodes { labels: vec![1; 6], ..sound.clone() },
    ] {
        assert!(!wrong.is_sound(6), "{wrong:?}");
    }
}
