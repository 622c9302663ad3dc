//! Layers on 8-bit codes, made by hand: against the plain interpreter, and from files that are not what they say.

use ocelli_engine::{Model, RunOptions, assemble_file};
use ocelli_graph::codes::{CodeLayer, CodeMean, CodeProduct, CodeSum, Rounding};
use ocelli_graph::interpret::{Tensor, interpret};
use ocelli_graph::{Codes, Constant, ConvAttrs, Dim, ElementType, Graph, Node, Op, PoolAttrs, ValueId};
use proptest::prelude::*;

use crate::files::{load, number, parts, survives};
use crate::graphs::random;

const fn codes(scale: f32, zero_point: i32) -> Codes {
    Codes { scale, zero_point, bits: 8 }
}

struct Hand(Graph, usize);

impl Hand {
    fn constant(&mut self, shape: &[usize], constant: Constant) -> ValueId {
        let name = format!("c{}", self.0.values.len());
        self.0.add_known(name, shape, constant)
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], shape: &[usize], element: ElementType) -> ValueId {
        let mut dims = vec![Dim::Batch(1)];
        dims.extend(shape.iter().map(|extent| Dim::Fixed(*extent)));
        self.1 += 1;
        let name = format!("n{}", self.1);
        let output = self.0.add_value(format!("{name}/y"), dims, element);
        self.0.nodes.push(Node { name, op, inputs: inputs.to_vec(), outputs: vec![output] });
        output
    }

    /// Weights, their scales, and a bias.
    fn weights(&mut self, shape: &[usize], channels: usize, seed: u64) -> [ValueId; 3] {
        let count = shape.iter().product();
        let weights: Vec<i8> = random(count, seed).iter().map(|w| (w * 127.0) as i8).collect();
        let scales: Vec<f32> = random(channels, seed + 1).iter().map(|s| 0.002 + 0.001 * s.abs()).collect();
        let bias: Vec<i32> = random(channels, seed + 2).iter().map(|b| (b * 900.0) as i32).collect();
        [
            self.constant(shape, Constant::I8(weights.into())),
            self.constant(&[channels], Constant::F32(scales.into())),
            self.constant(&[channels], Constant::I32(bias.into())),
        ]
    }
}

fn attrs(pad: usize, groups: usize) -> ConvAttrs {
    ConvAttrs {
        stride: vec![1, 1],
        pad_begin: vec![pad; 2],
        pad_end: vec![pad; 2],
        dilation: vec![1, 1],
        groups,
    }
}

/// Every operation on codes: a convolution with a residual, a depthwise one, a sum, a gate, a table, pools, a linear layer.
fn network(rounding: Rounding) -> Graph {
    let mut m = Hand(Graph::default(), 0);
    let dims = vec![Dim::Batch(1), Dim::Fixed(8), Dim::Fixed(9), Dim::Fixed(7)];
    let x = m.0.add_value("x".to_string(), dims, ElementType::F32);
    m.0.inputs.push(x);
    let (first, rest) = (codes(0.01, 120), codes(0.02, 110));
    let sum = |own, other| CodeSum { own, other, output: rest, bounds: [0, 255] };
    let layer = |output, sum| CodeLayer { input: first, output, bounds: [0, 255], rounding, sum };
    let map = [8, 9, 7];
    let q = m.node(Op::Quantize(first), &[x], &map, ElementType::U8);
    let [w, s, b] = m.weights(&[8, 8, 3, 3], 8, 1);
    let op = Op::ConvCodes { attrs: attrs(1, 1), layer: layer(Some(rest), Some(sum(rest, first))) };
    let a = m.node(op, &[q, w, s, b, q], &map, ElementType::U8);
    let [w, s, b] = m.weights(&[8, 1, 3, 3], 8, 4);
    let op = Op::ConvCodes { attrs: attrs(1, 8), layer: layer(Some(rest), None) };
    let d = m.node(op, &[q, w, s, b], &map, ElementType::U8);
    let y = m.node(Op::AddCodes(sum(rest, rest)), &[a, d], &map, ElementType::U8);
    let mean = CodeMean { input: rest, output: codes(0.01, 100) };
    let g = m.node(Op::MeanCodes { mean, keep_dims: true }, &[y], &[8, 1, 1], ElementType::U8);
    let table: Vec<u8> = (0..=255).rev().collect();
    let table = m.constant(&[256], Constant::U8(table.into()));
    let g = m.node(Op::TableCodes, &[g, table], &[8, 1, 1], ElementType::U8);
    let product = CodeProduct { own: rest, other: codes(0.004, 0), output: first, rounding };
    let y = m.node(Op::MulCodes(product), &[y, g], &map, ElementType::U8);
    let pool = PoolAttrs {
        kernel: [2, 2],
        stride: [2, 2],
        pad_begin: [0, 0],
        pad_end: [0, 0],
        dilation: [1, 1],
        ceil_mode: false,
    };
    let y = m.node(Op::MaxPool(pool), &[y], &[8, 4, 3], ElementType::U8);
    let mean = CodeMean { input: first, output: first };
    let y = m.node(Op::MeanCodes { mean, keep_dims: false }, &[y], &[8], ElementType::U8);
    let [w, s, b] = m.weights(&[8, 5], 5, 7);
    let y = m.node(Op::LinearCodes { layer: layer(None, None) }, &[y, w, s, b], &[5], ElementType::F32);
    m.0.outputs.push(y);
    m.0
}

fn stored(graph: Graph) -> Vec<u8> {
    let model = Model::compile(graph, "").expect("compiles");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("codes.ocelli");
    model.save(&path).expect("saves");
    std::fs::read(path).expect("reads")
}

#[test]
fn the_same_codes_as_the_interpreter() {
    let x = random(3 * 8 * 9 * 7, 5);
    for rounding in [Rounding::Fixed, Rounding::Float] {
        let graph = network(rounding);
        let wanted = interpret(&graph, &[Tensor::new(&[3, 8, 9, 7], x.clone())]).expect("runs")[0].floats();
        let loaded = load(&stored(graph)).expect("loads");
        for threads in [1, 2] {
            let options = RunOptions { threads, pin: false };
            assert_eq!(loaded.run(3, options, &[&x]).expect("runs")[0], wanted, "{rounding:?}");
        }
    }
}

/// Weights of four bits take half a byte each, and are the same weights.
#[test]
fn four_bits_take_half_a_byte() {
    let mut graph = network(Rounding::Fixed);
    let whole = stored(graph.clone()).len();
    let mut saved = 0;
    for constant in graph.constants.values_mut() {
        if let Constant::I8(weights) = constant {
            saved += weights.len() / 2;
            *weights = weights.iter().map(|w| w >> 4).collect();
        }
    }
    let x = random(3 * 8 * 9 * 7, 5);
    let options = RunOptions { threads: 1, pin: false };
    let wanted = interpret(&graph, &[Tensor::new(&[3, 8, 9, 7], x.clone())]).expect("runs")[0].floats();
    let file = stored(graph);
    // Panels hold more weights than the layers; the header says a little more.
    assert!(file.len() + saved < whole, "{} {whole}", file.len());
    let model = load(&file).expect("loads");
    assert_eq!(model.run(3, options, &[&x]).expect("runs")[0], wanted);
    // Saved again, it is the same file.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("again.ocelli");
    model.save(&path).expect("saves");
    assert!(std::fs::read(path).expect("reads") == file);
    // Halves where there are none, or none where there are, do not fit the data's end or the layer.
    let (header, data) = parts(&file);
    for layer in 0..3 {
        let mut header = header.clone();
        let end = header["packed"][layer].as_object_mut().expect("a layer");
        end.insert("len".to_string(), 1_000_000.into());
        assert!(load(&assemble_file(header.to_string().as_bytes(), &data)).is_err());
    }
    let mut cut = header.clone();
    cut["packed"][2]["start"] = (data.len() - 8).into();
    let error = load(&assemble_file(cut.to_string().as_bytes(), &data)).expect_err("cut short");
    assert!(error.contains("outside of the data"), "{error}");
}

#[test]
fn kernels_of_other_layers_are_refused() {
    let (header, data) = parts(&stored(network(Rounding::Fixed)));
    let layers = header["packed"].as_array().expect("layers").len();
    assert_eq!(layers, 3);
    for layer in 0..layers {
        let own = header["packed"][layer]["kernel"].clone();
        for kernel in [
            "conv",
            "conv_rows",
            "winograd",
            "depthwise",
            "linear",
            "binary",
            "adder",
            "adder_codes",
            "depthwise_codes",
        ] {
            let mut header = header.clone();
            header["packed"][layer]["kernel"] = kernel.into();
            let found = load(&assemble_file(header.to_string().as_bytes(), &data));
            assert_eq!(found.is_ok(), own == kernel, "layer {layer}, {own}: {kernel}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn any_changed_number(which in any::<prop::sample::Index>(), value in number()) {
        survives(&stored(network(Rounding::Fixed)), which, value);
    }
}
