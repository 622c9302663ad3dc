//! Quantised networks: the engine's integers against the plain ones, on networks of every kind.

use burn::tensor::Device;
use ocelli_compress::Batch;
use ocelli_compress::ptq::{Given, Settings, quantise};
use ocelli_engine::{Model, RunOptions};
use ocelli_graph::codes::Rounding;
use ocelli_graph::interpret::{Tensor, interpret};
use ocelli_graph::{Codes, Constant, Graph, Op, onnx, passes};
use ocelli_image::zoo::{self, Options};
use ocelli_testkit::fill;

use crate::onnx_runtime::{self, Run, Runtime};
use crate::settled;

const ONE: RunOptions = RunOptions { threads: 1, pin: false };

/// A quantised network of ten classes for pictures of `side`.
fn quantised(name: &str, side: usize, settings: &Settings) -> Graph {
    let options = Options { num_classes: Some(10), ..Options::default() };
    let network = settled(zoo::entry(name).unwrap().config_with(&options).init(&Device::flex()));
    let graph = network.graph([3, side, side]).unwrap();
    let batches: Vec<Batch> =
        ["a", "b"].map(|name| Batch { count: 4, data: fill::input(name, &[4, 3, side, side]) }).into();
    quantise(graph, &batches, settings, ONE, &mut |_, _, _| {})
        .unwrap_or_else(|e| panic!("{name}: {e}"))
        .graph
}

fn integers(graph: &Graph, rounding: Rounding) -> Graph {
    let mut graph = graph.clone();
    passes::lower_to_integers(&mut graph, rounding);
    passes::fuse_code_sums(&mut graph);
    passes::check(&graph).unwrap();
    graph
}

/// Layers in integers and layers in floating point.
fn layers(graph: &Graph) -> [usize; 2] {
    let count = |wanted: fn(&Op) -> bool| graph.nodes.iter().filter(|node| wanted(&node.op)).count();
    [
        count(|op| matches!(op, Op::ConvCodes { .. } | Op::LinearCodes { .. })),
        count(|op| matches!(op, Op::Conv { .. } | Op::Linear { .. })),
    ]
}

#[test]
fn the_engine_computes_the_same_integers() {
    let quick = Settings { correct: false, round_steps: None, ..Settings::guideline(8, 8) };
    for (name, side, float) in [
        ("resnet18", 48, 0),
        ("ghostnet_100", 48, 0),
        ("mobilenetv2_100", 48, 0),
        ("seresnet18", 40, 0),
        ("resnet20_cifar", 32, 0),
    ] {
        let graph = quantised(name, side, &quick);
        for rounding in [Rounding::Fixed, Rounding::Float] {
            let graph = integers(&graph, rounding);
            let [codes, numbers] = layers(&graph);
            assert!(codes > 0 && numbers == float, "{name}: {codes} layers in integers, {numbers} not");
            let x = fill::input("x", &[2, 3, side, side]);
            let expected =
                interpret(&graph, &[Tensor::new(&[2, 3, side, side], x.clone())]).unwrap()[0].floats();
            let mut fused = graph;
            passes::optimize(&mut fused);
            let model = Model::compile(fused, "").unwrap_or_else(|e| panic!("{name}: {e}"));
            for threads in [1, 2] {
                let found = model.run(2, RunOptions { threads, pin: false }, &[&x]).unwrap();
                assert_eq!(found[0], expected, "{name}, {rounding:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn few_bits_with_learned_rounding_and_corrected_biases() {
    let settings = Settings { round_steps: Some(50), ..Settings::guideline(4, 8) };
    let graph = integers(&quantised("resnet20_cifar", 32, &settings), Rounding::Fixed);
    let x = fill::input("x", &[1, 3, 32, 32]);
    let expected = interpret(&graph, &[Tensor::new(&[1, 3, 32, 32], x.clone())]).unwrap()[0].floats();
    let model = Model::compile(graph, "").unwrap();
    assert_eq!(model.run(1, ONE, &[&x]).unwrap()[0], expected);
}

#[test]
fn compiled_integers_are_stored_and_loaded() {
    let quick = Settings { correct: false, ..Settings::default() };
    let mut graph = integers(&quantised("mobilenetv2_035", 32, &quick), Rounding::Fixed);
    passes::optimize(&mut graph);
    let model = Model::compile(graph, "").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.ocelli");
    model.save(&path).unwrap();
    let again = Model::load(&path).unwrap();
    let x = fill::input("x", &[1, 3, 32, 32]);
    assert_eq!(model.run(1, ONE, &[&x]).unwrap(), again.run(1, ONE, &[&x]).unwrap());
    // A byte per weight and a few more.
    let parameters: u64 = 2_000_000;
    assert!(model.weight_bytes() < 2 * parameters, "{}", model.weight_bytes());
}

#[test]
fn what_cannot_be_quantised_is_said() {
    use ocelli_compress::CompressError;
    let network = |name: &str| {
        let options = Options { num_classes: Some(10), ..Options::default() };
        settled(zoo::entry(name).unwrap().config_with(&options).init(&Device::flex()))
    };
    let graph = network("resnet20_cifar").graph([3, 32, 32]).unwrap();
    let run = |graph: &Graph, batches: &[Batch], settings: &Settings| {
        quantise(graph.clone(), batches, settings, ONE, &mut |_, _, _| {}).map(|_| ())
    };
    let good = [Batch { count: 1, data: fill::input("a", &[1, 3, 32, 32]) }];
    assert!(matches!(run(&graph, &[], &Settings::default()), Err(CompressError::NoData)));
    let bad = Settings { weight_bits: 9, ..Settings::default() };
    assert!(matches!(run(&graph, &good, &bad), Err(CompressError::Setting(_))));
    let bad = Settings { keep: ["nowhere".to_string()].into(), ..Settings::default() };
    let error = run(&graph, &good, &bad).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("conv1"), "{error}");
    let given = |steps: Vec<f32>, bits| {
        let input = Some(Codes { scale: 0.1, zero_point: 0, bits });
        let own = Given { largest: vec![1.0; steps.len()], steps, input };
        let settings = Settings { given: [("conv1".to_string(), own)].into(), ..Settings::default() };
        run(&graph, &good, &Settings { correct: false, round_steps: None, ..settings })
    };
    assert!(given(vec![0.01; 16], 8).is_ok());
    for (steps, bits) in
        [(vec![0.01; 15], 8), (vec![0.0; 16], 8), (vec![f32::NAN; 16], 8), (vec![0.01; 16], 31)]
    {
        assert!(matches!(given(steps, bits), Err(CompressError::Setting(_))));
    }
    let mut nan = good[0].data.clone();
    nan[7] = f32::NAN;
    let error = run(&graph, &[Batch { count: 1, data: nan }], &Settings::default()).unwrap_err();
    assert!(matches!(error, CompressError::Number { .. }), "{error}");
    let mut broken = graph.clone();
    let weight = broken.nodes.iter().find(|node| matches!(node.op, Op::Conv { .. })).unwrap().inputs[1];
    let count = broken.constants[&weight].len();
    broken.constants.insert(weight, ocelli_graph::Constant::F32(vec![f32::INFINITY; count].into()));
    let error = run(&broken, &good, &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("finite"), "{error}");
}

/// Codes of 7 bits, whose products no instruction set of ONNX Runtime's saturates.
#[test]
fn onnx_runtime_computes_the_same_codes() {
    let Some(mut runtime) = Runtime::start() else { return };
    let settings = Settings { correct: false, round_steps: None, ..Settings::guideline(7, 8) };
    for (name, side) in [("resnet18", 48), ("mobilenetv2_100", 48), ("ghostnet_100", 48), ("seresnet18", 48)]
    {
        let graph = quantised(name, side, &settings);
        let file = onnx::export(&graph).unwrap_or_else(|error| panic!("{name}: {error}"));
        let model = Model::compile(integers(&graph, Rounding::Float), "").unwrap();
        let shape = [3, 3, side, side];
        let input = fill::input("x", &shape);
        let logits = model.run(3, ONE, &[&input]).unwrap().remove(0);
        let tensor = |id, shape: &[usize], data: Vec<f32>| onnx_runtime::Tensor {
            name: graph.value(id).name.clone(),
            shape: shape.to_vec(),
            data: Constant::F32(data.into()),
        };
        let run = Run {
            inputs: vec![tensor(graph.inputs[0], &shape, input)],
            outputs: vec![tensor(graph.outputs[0], &[3, 10], logits)],
        };
        let error = runtime.check(name, &file, &[run]).unwrap_or_else(|error| panic!("{name}: {error}"));
        eprintln!("{name}: {error:.1e}");
        assert!(error <= 1e-6, "{name}: {error:e}");
    }
}
