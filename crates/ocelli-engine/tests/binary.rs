//! Convolutions of signs behind each other: bits pass between them, stored models do the same, damaged ones are refused.

use ocelli_engine::{Model, RunOptions, assemble_file};
use ocelli_graph::{BinaryConv, ConvAttrs, Dim, ElementType, Graph, Op, ValueId};

use proptest::prelude::*;

use crate::files::{load, number, parts, survives};
use crate::graphs::random;
use crate::running::{append, compare, map_input};

const ONE: RunOptions = RunOptions { threads: 1, pin: false };

/// What a convolution has.
#[derive(Clone, Copy)]
struct Layer {
    out: usize,
    kernel: usize,
    stride: usize,
    /// Shift, scale and bias.
    affine: bool,
    /// Slopes from here on, and a shift behind them.
    slope: Option<f32>,
}

const fn layer(out: usize, kernel: usize, stride: usize, affine: bool, slope: Option<f32>) -> Layer {
    Layer { out, kernel, stride, affine, slope }
}

/// Appends a convolution of `x`, `[channels, size, size]`; gives its result and its side.
fn conv(graph: &mut Graph, x: ValueId, channels: usize, size: usize, own: Layer) -> (ValueId, usize) {
    let Layer { out, kernel, stride, affine, slope } = own;
    let seed = graph.values.len() as u64;
    let numbers = out * channels * kernel * kernel;
    let constant = |graph: &mut Graph, shape: &[usize], numbers: Vec<f32>| {
        let name = format!("constant_{}", graph.values.len());
        graph.add_constant(name, shape, numbers)
    };
    let mut inputs = vec![x, constant(graph, &[numbers, 1], random(numbers, seed))];
    if affine {
        inputs.push(constant(graph, &[channels], random(channels, seed + 1)));
        inputs.push(constant(graph, &[out], random(out, seed + 2)));
        inputs.push(constant(graph, &[out], random(out, seed + 3).iter().map(|v| 8.0 * v).collect()));
    }
    if let Some(least) = slope {
        inputs.push(constant(graph, &[out], random(out, seed + 4).iter().map(|v| least + v.abs()).collect()));
        inputs.push(constant(graph, &[out], random(out, seed + 5)));
    }
    let pad = kernel / 2;
    let side = (size + 2 * pad - kernel) / stride + 1;
    let op = Op::BinaryConv(BinaryConv {
        attrs: ConvAttrs {
            stride: vec![stride; 2],
            pad_begin: vec![pad; 2],
            pad_end: vec![pad; 2],
            dilation: vec![1; 2],
            groups: 1,
        },
        kernel: [kernel; 2],
        mean: affine,
        shift: affine,
        scale: affine,
        bias: affine,
        residual: false,
        slope: slope.is_some(),
        after: slope.is_some(),
    });
    let shape = vec![Dim::Batch(1), Dim::Fixed(out), Dim::Fixed(side), Dim::Fixed(side)];
    (append(graph, op, inputs, shape, ElementType::F32), side)
}

/// A chain over a map of `channels` channels and 9 pixels a side; every result but the last is read once.
fn chain(channels: usize, layers: &[Layer]) -> Graph {
    let mut graph = Graph::default();
    let mut x = map_input(&mut graph, "x", channels, [9, 9]);
    let (mut channels, mut size) = (channels, 9);
    for own in layers {
        (x, size) = conv(&mut graph, x, channels, size, *own);
        channels = own.out;
    }
    graph.outputs.push(x);
    graph
}

fn kinds(graph: &Graph, channels: usize) -> Vec<&'static str> {
    let model = Model::compile(graph.clone(), "").expect("compiles");
    let mut session = model.session(1, ONE).expect("plans");
    let len = graph.value(graph.outputs[0]).shape_at(1).iter().product();
    let (x, mut y) = (random(channels * 81, 1), vec![0.0f32; len]);
    let steps = session.profile(&[&x], &mut [&mut y]).expect("runs");
    steps.iter().map(|step| step.kind).filter(|kind| kind.starts_with("binary conv")).collect()
}

#[test]
fn bits_pass_from_convolution_to_convolution() {
    const BITS: &str = "binary conv to bits";
    const NUMBERS: &str = "binary conv";
    let slope = Some(0.05);
    for (channels, layers, expected) in [
        (70, vec![layer(33, 3, 2, true, slope), layer(20, 1, 1, true, None)], vec![BITS, NUMBERS]),
        (
            16,
            vec![layer(64, 1, 1, true, slope), layer(130, 3, 1, true, slope), layer(5, 1, 1, false, None)],
            vec![BITS, BITS, NUMBERS],
        ),
        (3, vec![layer(9, 3, 1, false, None), layer(8, 3, 2, true, slope)], vec![BITS, NUMBERS]),
        // A negative slope turns signs round twice: no single threshold.
        (8, vec![layer(9, 3, 1, true, Some(-0.5)), layer(8, 3, 1, true, None)], vec![NUMBERS, NUMBERS]),
    ] {
        let graph = chain(channels, &layers);
        assert_eq!(kinds(&graph, channels), expected);
        // Both ways decide alike to the last bit, so that nothing but rounding of the last layer is left.
        compare(&format!("{channels} channels, {} layers", layers.len()), &graph, 2e-6);
    }
}

#[test]
fn what_else_is_read_stays_numbers() {
    let layers = [layer(12, 3, 1, true, Some(0.1)), layer(12, 1, 1, true, None)];
    let mut graph = chain(12, &layers);
    // The first result is a result of the whole as well.
    let first = graph.nodes[0].outputs[0];
    graph.outputs.push(first);
    compare("two readers", &graph, 2e-6);
    // And the second adds it.
    let mut graph = chain(12, &layers);
    let first = graph.nodes[0].outputs[0];
    let Op::BinaryConv(own) = &mut graph.nodes[1].op else { panic!("a convolution") };
    own.residual = true;
    graph.nodes[1].inputs.push(first);
    compare("a shortcut", &graph, 2e-6);
    assert_eq!(kinds(&graph, 12), ["binary conv"; 2]);
    // As the shortcut alone it is needed in numbers too.
    let mut graph = chain(12, &layers);
    let (input, first) = (graph.inputs[0], graph.nodes[0].outputs[0]);
    let Op::BinaryConv(own) = &mut graph.nodes[1].op else { panic!("a convolution") };
    own.residual = true;
    graph.nodes[1].inputs[0] = input;
    graph.nodes[1].inputs.push(first);
    compare("only a shortcut", &graph, 2e-6);
}

fn stored() -> (Model, Vec<u8>) {
    let graph = chain(70, &[layer(33, 3, 2, true, Some(0.1)), layer(20, 1, 1, true, None)]);
    let model = Model::compile(graph, "").expect("compiles");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("signs.ocelli");
    model.save(&path).expect("saves");
    (model, std::fs::read(path).expect("reads"))
}

#[test]
fn stored_bits_are_a_thirtieth_and_give_the_same_answers() {
    let (model, bytes) = stored();
    let loaded = load(&bytes).expect("loads");
    let x = random(3 * 70 * 81, 5);
    assert_eq!(loaded.run(3, ONE, &[&x]).expect("runs"), model.run(3, ONE, &[&x]).expect("runs"));
    let (header, _) = parts(&bytes);
    // Two words of 64 signs for 70 channels, two float32 each, and a factor per filter.
    let len = |layer: usize| header["packed"][layer]["len"].as_u64().expect("a number");
    assert_eq!([len(0), len(1)], [33 * 9 * 2 * 2 + 33, 20 * 2 + 20]);
}

#[test]
fn hostile_headers_are_refused() {
    let (_, bytes) = stored();
    let (header, data) = parts(&bytes);
    let change = |changes: &[(&str, serde_json::Value)]| {
        let mut header = header.clone();
        for (path, value) in changes {
            *header.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone();
        }
        load(&assemble_file(header.to_string().as_bytes(), &data)).err()
    };
    assert_eq!(change(&[]), None);
    for kernel in ["conv", "conv_rows", "winograd", "depthwise", "linear", "dense_codes"] {
        assert!(change(&[("/packed/0/kernel", kernel.into())]).is_some(), "{kernel} was believed");
    }
    let numbers = [
        "/packed/0/len",
        "/packed/0/start",
        "/nodes/0/op/attrs/groups",
        "/nodes/0/op/attrs/stride/0",
        "/nodes/0/op/attrs/pad_end/1",
        "/nodes/0/op/attrs/dilation/1",
        "/nodes/0/op/kernel/0",
        "/nodes/0/op/kernel/1",
        "/values/0/shape/1/fixed",
    ];
    for path in numbers {
        let own = header.pointer(path).expect("there").as_u64();
        for value in [3u64, 7, 1 << 40, u64::MAX].into_iter().filter(|value| Some(*value) != own) {
            assert!(change(&[(path, value.into())]).is_some(), "{path} = {value} was believed");
        }
    }
    for part in ["shift", "scale", "bias", "residual", "slope", "after"] {
        let path = format!("/nodes/0/op/{part}");
        let turned = !header.pointer(&path).and_then(serde_json::Value::as_bool).expect("there");
        assert!(change(&[(&path, turned.into())]).is_some(), "{part}: inputs were not counted");
    }
    // Two parts exchanged whose numbers are not as many.
    let inputs = header["nodes"][0]["inputs"].as_array().expect("inputs").clone();
    let exchanged =
        change(&[("/nodes/0/inputs/2", inputs[3].clone()), ("/nodes/0/inputs/3", inputs[2].clone())]);
    assert!(exchanged.is_some(), "33 shifts of 70 channels");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(800) })]

    #[test]
    fn any_changed_number(which in any::<prop::sample::Index>(), value in number()) {
        survives(&stored().1, which, value);
    }
}
