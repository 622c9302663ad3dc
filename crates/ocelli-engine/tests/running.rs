//! The engine against the interpreter, operation by operation and together.

use ocelli_engine::{EngineError, Model, RunOptions};
use ocelli_graph::interpret::{Tensor, interpret};
use ocelli_graph::{
    Binary, Dim, ElementType, Graph, Node, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary, ValueId,
    passes,
};

use crate::graphs::{Maker, little_network, random};

const ONE: RunOptions = RunOptions { threads: 1, pin: false };
const TWO: RunOptions = RunOptions { threads: 2, pin: false };

/// Runs both at batches of 1 and 3, on one thread and two; results of both thread counts must be equal to the bit.
pub fn compare(what: &str, graph: &Graph, tolerance: f32) {
    passes::check(graph).unwrap_or_else(|e| panic!("{what}: {e}"));
    let model = Model::compile(graph.clone(), "").unwrap_or_else(|e| panic!("{what}: {e}"));
    for batch in [1, 3] {
        let shapes: Vec<Vec<usize>> =
            graph.inputs.iter().map(|&id| graph.value(id).shape_at(batch)).collect();
        let inputs: Vec<Vec<f32>> =
            shapes.iter().enumerate().map(|(i, s)| random(s.iter().product(), 40 + i as u64)).collect();
        let tensors: Vec<Tensor> =
            shapes.iter().zip(&inputs).map(|(s, x)| Tensor::new(s, x.clone())).collect();
        let expected = interpret(graph, &tensors).unwrap_or_else(|e| panic!("{what}: {e}"));
        let slices: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let found = model.run(batch, ONE, &slices).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(
            found,
            model.run(batch, TWO, &slices).expect("runs"),
            "{what}: two threads differ from one"
        );
        for (found, expected) in found.iter().zip(&expected) {
            let expected = expected.floats();
            let scale = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
            let error =
                found.iter().zip(&expected).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs() / scale));
            assert_eq!(found.len(), expected.len(), "{what}");
            assert!(error <= tolerance, "{what}, batch {batch}: {error:e}");
        }
    }
}

fn axis_ends(rank: usize) -> Vec<Option<usize>> {
    vec![None; rank]
}

#[test]
fn a_little_network_raw_and_optimised() {
    let graph = little_network();
    compare("raw", &graph, 2e-6);
    let mut optimised = graph.clone();
    passes::optimize(&mut optimised);
    assert!(optimised.nodes.len() < graph.nodes.len());
    compare("optimised", &optimised, 2e-6);
}

/// Joined halves are written in place, a gate with its shortcut and activation is one pass: no copies are left.
#[test]
fn concatenations_and_gates_cost_no_copies() {
    let mut graph = little_network();
    passes::optimize(&mut graph);
    let model = Model::compile(graph, "").expect("compiles");
    let mut session = model.session(1, ONE).expect("plans");
    let (x, mut y) = (random(3 * 21 * 17, 1), [0.0f32; 7]);
    let steps = session.profile(&[&x], &mut [&mut y]).expect("runs");
    let count = |kind: &str| steps.iter().filter(|step| step.kind == kind).count();
    let kinds: Vec<&str> = steps.iter().map(|step| step.kind).collect();
    assert_eq!((count("copy"), count("unary"), count("binary")), (0, 0, 0), "{kinds:?}");
    assert_eq!((count("multiply add"), count("conv rows"), count("depthwise")), (1, 1, 2), "{kinds:?}");
}

#[test]
fn convolutions_of_all_kinds() {
    for (shape, out, geometry) in [
        ([3, 19, 23], 20, [7, 2, 3, 1, 1]),
        ([5, 19, 23], 17, [3, 1, 1, 1, 1]),
        ([32, 20, 24], 48, [3, 1, 1, 1, 1]),
        ([32, 9, 7], 33, [3, 1, 0, 1, 1]),
        ([24, 13, 11], 24, [5, 2, 2, 1, 24]),
        ([24, 13, 11], 24, [3, 1, 2, 2, 24]),
        ([24, 13, 11], 48, [3, 1, 1, 1, 4]),
        ([24, 13, 11], 48, [3, 1, 1, 1, 24]),
        ([70, 13, 11], 50, [1, 2, 0, 1, 1]),
        ([300, 5, 5], 40, [3, 2, 1, 1, 1]),
        ([1, 8, 8], 4, [3, 1, 1, 1, 1]),
    ] {
        let (mut m, x) = Maker::new(&shape);
        let (y, _) = m.conv(x, shape, out, geometry);
        compare(&format!("{shape:?} {out} {geometry:?}"), &m.finish(&[y]), 1e-5);
    }
}

#[test]
fn residuals_gates_and_functions() {
    let shape = [20, 9, 11];
    let functions = [
        Unary::Relu,
        Unary::Clamp { min: -0.5, max: 0.5 },
        Unary::Gelu,
        Unary::Silu,
        Unary::HardSwish,
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::LeakyRelu { slope: 0.1 },
        Unary::Exp,
        Unary::Abs,
        Unary::Neg,
        Unary::Sin,
        Unary::Cos,
        Unary::Floor,
        Unary::Sign,
    ];
    for function in functions {
        // Depthwise, Winograd and dense each with residual and function, as the passes fuse them.
        for (out, geometry) in [(20, [3, 1, 1, 1, 20]), (20, [3, 1, 1, 1, 1]), (20, [1, 1, 0, 1, 1])] {
            let (mut m, x) = Maker::new(&shape);
            let x = m.unary(Unary::Abs, x, &shape);
            let (y, s) = m.conv(x, shape, out, geometry);
            let y = m.binary(Binary::Add, y, x, &s);
            let y = m.unary(function, y, &s);
            let mut graph = m.finish(&[y]);
            passes::optimize(&mut graph);
            compare(&format!("{function:?} after {geometry:?}"), &graph, 1e-5);
        }
    }
}

#[test]
fn functions_of_two_with_broadcasting() {
    use Binary::{Add, Div, Max, Min, Mul, Sub};
    for function in [Add, Sub, Mul, Div, Min, Max] {
        for other in [vec![6, 5, 7], vec![6, 1, 1], vec![1, 5, 1], vec![1, 1, 7]] {
            let (mut m, x) = Maker::new(&[6, 5, 7]);
            let count: usize = other.iter().product();
            let numbers = random(count, 3).into_iter().map(|v| v + 2.0).collect();
            let shape: Vec<usize> = std::iter::once(1).chain(other.iter().copied()).collect();
            let c = m.graph.add_constant("c", &shape, numbers);
            let a = m.binary(function, x, c, &[6, 5, 7]);
            let b = m.binary(function, c, a, &[6, 5, 7]);
            compare(&format!("{function:?} {other:?}"), &m.finish(&[a, b]), 1e-6);
        }
    }
}

#[test]
fn pooling_and_resizing() {
    let (mut m, x) = Maker::new(&[10, 13, 9]);
    let pool = |kernel, stride, pad, ceil_mode| PoolAttrs {
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad_begin: [pad; 2],
        pad_end: [pad; 2],
        dilation: [1, 1],
        ceil_mode,
    };
    let a = m.node(Op::MaxPool(pool(3, 2, 1, false)), &[x], &[10, 7, 5]);
    let b = m.node(Op::MaxPool(pool(3, 2, 0, true)), &[x], &[10, 6, 4]);
    let c = m.node(Op::AvgPool { pool: pool(3, 2, 1, false), count_include_pad: true }, &[x], &[10, 7, 5]);
    let d = m.node(Op::AvgPool { pool: pool(3, 2, 1, false), count_include_pad: false }, &[x], &[10, 7, 5]);
    let e = m.node(Op::AdaptiveAvgPool, &[x], &[10, 4, 5]);
    let mut outputs = vec![a, b, c, d, e];
    for mode in [ResizeMode::Nearest, ResizeMode::Bilinear, ResizeMode::Bicubic] {
        for align_corners in [false, true] {
            if mode == ResizeMode::Nearest && align_corners {
                continue;
            }
            outputs.push(m.node(Op::Resize { mode, align_corners }, &[x], &[10, 20, 5]));
        }
    }
    compare("pooling and resizing", &m.finish(&outputs), 2e-6);
}

#[test]
fn transformers() {
    let (tokens, width, heads) = (13, 24, 3);
    let (mut m, x) = Maker::new(&[tokens, width]);
    let scale = m.graph.add_constant("scale", &[width], random(width, 5));
    let shift = m.graph.add_constant("shift", &[width], random(width, 6));
    let y = m.node(Op::LayerNorm { epsilon: 1e-5, shift: true }, &[x, scale, shift], &[tokens, width]);
    let w = m.graph.add_constant("qkv", &[width, 3 * width], random(width * 3 * width, 7));
    let op = Op::Linear { bias: false, residual: false, activation: None };
    let qkv = m.node(op, &[y, w], &[tokens, 3 * width]);
    let split = m.node(Op::Reshape, &[qkv], &[tokens, 3, heads, width / heads]);
    let order = Op::Transpose { permutation: vec![0, 2, 3, 1, 4] };
    let split = m.node(order, &[split], &[3, heads, tokens, width / heads]);
    let part = |m: &mut Maker, i: usize| {
        let (mut starts, mut ends) = (vec![0; 5], axis_ends(5));
        (starts[1], ends[1]) = (i, Some(i + 1));
        let one = m.node(
            Op::Slice { starts, ends, steps: vec![1; 5] },
            &[split],
            &[1, heads, tokens, width / heads],
        );
        m.node(Op::Reshape, &[one], &[heads, tokens, width / heads])
    };
    let (q, k, v) = (part(&mut m, 0), part(&mut m, 1), part(&mut m, 2));
    let kt = m.node(Op::Transpose { permutation: vec![0, 1, 3, 2] }, &[k], &[heads, width / heads, tokens]);
    let scores = m.node(Op::MatMul, &[q, kt], &[heads, tokens, tokens]);
    let weights = m.node(Op::Softmax { axis: 3 }, &[scores], &[heads, tokens, tokens]);
    let mixed = m.node(Op::MatMul, &[weights, v], &[heads, tokens, width / heads]);
    let fused = m.node(
        Op::Attention { scale: 1.0, causal: false, mask: false },
        &[q, k, v],
        &[heads, tokens, width / heads],
    );
    let difference = m.binary(Binary::Sub, mixed, fused, &[heads, tokens, width / heads]);
    let order = Op::Transpose { permutation: vec![0, 2, 1, 3] };
    let mixed = m.node(order, &[mixed], &[tokens, heads, width / heads]);
    let mixed = m.node(Op::Reshape, &[mixed], &[tokens, width]);
    let y = m.binary(Binary::Add, mixed, x, &[tokens, width]);
    let log = m.node(Op::LogSoftmax { axis: 2 }, &[y], &[tokens, width]);
    let other = m.node(Op::Softmax { axis: 1 }, &[y], &[tokens, width]);
    compare("transformer", &m.finish(&[y, difference, log, other]), 2e-5);
}

#[test]
fn choosing_and_moving() {
    let (mut m, x) = Maker::new(&[6, 5, 4]);
    let mean =
        m.node(Op::Reduce { reduction: Reduction::Mean, axes: vec![1], keep_dims: false }, &[x], &[5, 4]);
    let largest =
        m.node(Op::Reduce { reduction: Reduction::Max, axes: vec![1, 3], keep_dims: true }, &[x], &[1, 5, 1]);
    let sum =
        m.node(Op::Reduce { reduction: Reduction::Sum, axes: vec![3], keep_dims: true }, &[x], &[6, 5, 1]);
    let flipped = m.node(Op::Flip { axes: vec![1, 3] }, &[x], &[6, 5, 4]);
    let padded = m.node(
        Op::Pad { mode: PadMode::Reflect, before: vec![0, 0, 2, 1], after: vec![0, 0, 1, 2] },
        &[x],
        &[6, 8, 7],
    );
    let edge = m.node(
        Op::Pad { mode: PadMode::Constant(0.5), before: vec![0, 1, 0, 1], after: vec![0, 0, 3, 0] },
        &[x],
        &[7, 8, 5],
    );
    let mut dims = vec![Dim::Batch(1)];
    dims.extend([2, 5, 4].map(Dim::Fixed));
    let values = m.graph.add_value("best", dims.clone(), ElementType::F32);
    let indices = m.graph.add_value("where", dims, ElementType::I64);
    m.graph.nodes.push(Node {
        name: "top".into(),
        op: Op::TopK { axis: 1, k: 2, largest: true },
        inputs: vec![x],
        outputs: vec![values, indices],
    });
    let picked = m.node(Op::GatherElements { axis: 1 }, &[x, indices], &[2, 5, 4]);
    let again = m.binary(Binary::Sub, picked, values, &[2, 5, 4]);
    let (starts, steps) = (vec![0, 1, 0, 1], vec![1, 2, 1, 2]);
    let sliced = m.node(Op::Slice { starts, ends: axis_ends(4), steps }, &[x], &[3, 5, 2]);
    let joined = m.node(Op::Concat { axis: 2 }, &[x, flipped, x], &[6, 15, 4]);
    let across = m.node(Op::Concat { axis: 1 }, &[x, flipped, x], &[18, 5, 4]);
    compare(
        "choosing and moving",
        &m.finish(&[mean, largest, sum, flipped, padded, edge, values, again, sliced, joined, across]),
        1e-6,
    );
}

#[test]
fn norms() {
    let (mut m, x) = Maker::new(&[12, 5, 4]);
    let c = |m: &mut Maker, name: &str, seed| {
        let numbers = random(12, seed).into_iter().map(|v| v + 1.5).collect();
        m.graph.add_constant(name, &[12], numbers)
    };
    let (a, b, d, e) = (c(&mut m, "a", 1), c(&mut m, "b", 2), c(&mut m, "d", 3), c(&mut m, "e", 4));
    let batch = m.node(Op::BatchNorm { epsilon: 1e-5 }, &[x, a, b, d, e], &[12, 5, 4]);
    let group = m.node(Op::GroupNorm { groups: 3, epsilon: 1e-5 }, &[x, a, b], &[12, 5, 4]);
    compare("norms", &m.finish(&[batch, group]), 5e-6);
}

#[test]
fn wrong_sizes_are_errors() {
    let model = Model::compile(little_network(), "").expect("compiles");
    for len in [0, 3 * 21 * 17 - 1, 2 * 3 * 21 * 17] {
        let x = vec![0.0; len];
        let error = model.run(1, ONE, &[&x]).expect_err("the wrong size");
        assert!(matches!(error, EngineError::Size { .. }), "{error}");
        assert!(error.to_string().contains("expected 1071"), "{error}");
    }
    assert!(model.run(1, ONE, &[]).is_err());
}

#[test]
fn one_model_serves_many_threads() {
    let model = Model::compile(little_network(), "").expect("compiles");
    let x = random(3 * 21 * 17, 8);
    let expected = model.run(1, ONE, &[&x]).expect("runs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(model.run(1, ONE, &[&x]).expect("runs"), expected);
                }
            });
        }
    });
}

#[test]
fn unsupported_operations_are_named() {
    let (mut m, x) = Maker::new(&[4]);
    let op = Op::Custom { name: "wave".into(), arguments: vec![] };
    let y: ValueId = m.node(op, &[x], &[4]);
    let error = Model::compile(m.finish(&[y]), "").expect_err("no such operation");
    assert_eq!(error.to_string(), "n0: the engine does not run the operation wave");
}

/// A map `[batch, channels, side, side]` as a graph's input.
fn map_input(graph: &mut Graph, name: &str, channels: usize, [height, width]: [usize; 2]) -> ValueId {
    let shape = vec![Dim::Batch(1), Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)];
    let id = graph.add_value(name, shape, ElementType::F32);
    graph.inputs.push(id);
    id
}

fn append(graph: &mut Graph, op: Op, inputs: Vec<ValueId>, shape: Vec<Dim>, element: ElementType) -> ValueId {
    let name = format!("node{}", graph.nodes.len());
    let id = graph.add_value(name.clone(), shape, element);
    graph.nodes.push(Node { name, op, inputs, outputs: vec![id] });
    id
}

#[test]
fn nodes_take_what_their_neighbours_have_more() {
    for (channels, size, targets, k, dilation, near) in [
        (5, [6, 7], [6, 7], 3, 2, false),
        (24, [9, 5], [3, 2], 2, 1, true),
        (16, [14, 14], [14, 14], 9, 3, true),
    ] {
        let mut graph = Graph::default();
        let x = map_input(&mut graph, "x", channels, size);
        let y = if size == targets { x } else { map_input(&mut graph, "y", channels, targets) };
        let (nodes, count) = (size[0] * size[1], targets[0] * targets[1]);
        let mut inputs = vec![x, y];
        if near {
            inputs.push(graph.add_constant("positions", &[1, nodes, count], random(nodes * count, 7)));
        }
        let op = Op::Neighbours { k, dilation, positions: near };
        let lists = vec![Dim::Batch(1), Dim::Fixed(nodes), Dim::Fixed(k)];
        let lists = append(&mut graph, op, inputs, lists, ElementType::I64);
        let shape = vec![Dim::Batch(1), Dim::Fixed(2 * channels), Dim::Fixed(size[0]), Dim::Fixed(size[1])];
        let out = append(&mut graph, Op::MaxRelative, vec![x, y, lists], shape, ElementType::F32);
        graph.outputs.push(out);
        compare(&format!("{channels} channels, {size:?} of {targets:?}"), &graph, 2e-6);
    }
}

#[test]
fn kernels_are_mixed_for_every_picture() {
    for (channels, out, kernel, stride, pad, dilation, groups) in [
        (6, 20, [1, 1], 1, 0, 1, 1),
        (3, 17, [3, 3], 2, 1, 1, 1),
        (8, 8, [5, 5], 1, 2, 1, 8),
        (8, 8, [3, 3], 2, 2, 2, 8),
        (8, 12, [3, 3], 1, 1, 1, 4),
    ] {
        let mut graph = Graph::default();
        let size = [11, 9];
        let x = map_input(&mut graph, "x", channels, size);
        let shares = graph.add_value("shares", vec![Dim::Batch(1), Dim::Fixed(3)], ElementType::F32);
        graph.inputs.push(shares);
        let numbers = out * channels / groups * kernel[0] * kernel[1];
        let experts = graph.add_constant("experts", &[3, numbers], random(3 * numbers, 3));
        let bias = graph.add_constant("bias", &[out], random(out, 5));
        let attrs = ocelli_graph::ConvAttrs {
            stride: vec![stride; 2],
            pad_begin: vec![pad; 2],
            pad_end: vec![pad; 2],
            dilation: vec![dilation; 2],
            groups,
        };
        let along = |size: usize| (size + 2 * pad - dilation * (kernel[0] - 1) - 1) / stride + 1;
        let shape =
            vec![Dim::Batch(1), Dim::Fixed(out), Dim::Fixed(along(size[0])), Dim::Fixed(along(size[1]))];
        let op = Op::DynamicConv { attrs, kernel, bias: true, activation: Some(Unary::HardSwish) };
        let y = append(&mut graph, op, vec![x, experts, shares, bias], shape, ElementType::F32);
        graph.outputs.push(y);
        compare(&format!("{channels} -> {out}, {kernel:?}, {groups} groups"), &graph, 2e-6);
    }
}

#[test]
fn heads_attend() {
    for (heads, queries, keys, depth, width) in [(2, 16, 16, 6, 6), (3, 37, 50, 20, 33), (1, 1, 5, 4, 4)] {
        let mut graph = Graph::default();
        let mut input = |name: &str, tokens: usize, size: usize| {
            let shape = vec![Dim::Batch(1), Dim::Fixed(heads), Dim::Fixed(tokens), Dim::Fixed(size)];
            let id = graph.add_value(name, shape, ElementType::F32);
            graph.inputs.push(id);
            id
        };
        let (q, k, v) = (input("q", queries, depth), input("k", keys, depth), input("v", keys, width));
        let shape = vec![Dim::Batch(1), Dim::Fixed(heads), Dim::Fixed(queries), Dim::Fixed(width)];
        let op = Op::Attention { scale: 0.7, causal: false, mask: false };
        let y = append(&mut graph, op, vec![q, k, v], shape, ElementType::F32);
        graph.outputs.push(y);
        compare(&format!("{heads} heads, {queries} x {keys}"), &graph, 2e-6);
    }
}
