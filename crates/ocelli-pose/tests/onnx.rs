//! Every kind of lifting network as an ONNX file: run by ONNX Runtime where there is one, else its graph by the interpreter, and compared
//! with the network.

use burn::tensor::Device;
use ocelli_graph::onnx::{Summary, export};
use ocelli_graph::{Constant, interpret};
use ocelli_pose::deploy::{INPUT, OUTPUT, exchange_graph};
use ocelli_pose::grid::Padding;
use ocelli_pose::lifter::{BaselineConfig, Config, LifterConfig, Variant};
use ocelli_pose::sgt::Prior;
use ocelli_pose::skeleton::{JOINTS, Pose2};
use ocelli_pose::train::lift;

use crate::onnx_runtime::{Run, Runtime, Tensor};

/// Largest difference allowed, relative to the largest coordinate.
const TOLERANCE: f64 = 1e-5;

fn poses(count: usize) -> Vec<Pose2> {
    let joint =
        |p: usize, j: usize| [0.5 * ((p * 17 + j) as f32).sin(), 0.5 * ((3 * p + 5 * j) as f32).cos()];
    (0..count).map(|p| std::array::from_fn(|j| joint(p, j))).collect()
}

fn networks() -> Vec<(&'static str, LifterConfig)> {
    let base = Config { hidden: 12, blocks: 1, ..Config::default() };
    let with =
        |variant, padding: [Padding; 2]| LifterConfig::Grid(Config { variant, padding, ..base.clone() });
    let [c, z, r] = [Padding::Circular, Padding::Zeros, Padding::Replicate];
    let baseline = BaselineConfig { hidden: 12, blocks: 1, dropout: 0.25 };
    let odd = Config { variant: Variant::AutoGrids, grid: [4, 6], prior: Prior::RandomProb, ..base.clone() };
    vec![
        ("gridconv c,z", with(Variant::GridConv, [c, z])),
        ("gridconv r,r", with(Variant::GridConv, [r, r])),
        ("dgridconv c,r", with(Variant::DGridConv, [c, r])),
        ("dgridconv c,z", with(Variant::DGridConv, [c, z])),
        ("dgridconv z,z", with(Variant::DGridConv, [z, z])),
        ("autogrids c,r", with(Variant::AutoGrids, [c, r])),
        ("autogrids 4x6", LifterConfig::Grid(odd)),
        ("linear", LifterConfig::Linear(baseline.clone())),
        ("graph", LifterConfig::Graph(baseline)),
    ]
}

#[test]
fn every_kind_of_network_computes_the_same_elsewhere() {
    let mut runtime = Runtime::start();
    let device = Device::flex();
    for (name, config) in networks() {
        let lifter = config.init(7, &device);
        let temperature = 2.5;
        let graph = exchange_graph(&lifter, temperature).unwrap();
        let file = export(&graph).unwrap();
        let summary = Summary::read(&file).unwrap();
        let ports = |ports: &[ocelli_graph::onnx::Port]| -> Vec<(String, Vec<String>)> {
            ports.iter().map(|port| (port.name.clone(), port.shape.clone())).collect()
        };
        let shape = |extents: [&str; 3]| extents.map(String::from).to_vec();
        assert_eq!(ports(&summary.inputs), [(INPUT.to_string(), shape(["N", "17", "2"]))], "{name}");
        assert_eq!(ports(&summary.outputs), [(OUTPUT.to_string(), shape(["N", "17", "3"]))], "{name}");
        let runs: Vec<Run> = [1, 5]
            .into_iter()
            .map(|count| {
                let poses = poses(count);
                let lifted = lift(&lifter, &device, &poses, temperature);
                let tensor = |name: &str, width: usize, values: Vec<f32>| Tensor {
                    name: name.into(),
                    shape: vec![count, JOINTS, width],
                    data: Constant::F32(values.into()),
                };
                Run {
                    inputs: vec![tensor(INPUT, 2, poses.as_flattened().as_flattened().to_vec())],
                    outputs: vec![tensor(OUTPUT, 3, lifted.as_flattened().as_flattened().to_vec())],
                }
            })
            .collect();
        for run in &runs {
            let input = &run.inputs[0];
            let input = interpret::Tensor::new(&input.shape, input.data.as_f32().unwrap().to_vec());
            let found = interpret::interpret(&graph, &[input]).unwrap()[0].floats();
            let wanted = run.outputs[0].data.as_f32().unwrap();
            let scale = wanted.iter().fold(0.0f32, |most, v| most.max(v.abs()));
            let apart = found.iter().zip(wanted).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(found.len() == wanted.len() && f64::from(apart / scale) < TOLERANCE, "{name}: {apart}");
        }
        if let Some(runtime) = &mut runtime {
            let error = runtime.check(name, &file, &runs).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(error < TOLERANCE, "{name}: {error}");
        }
    }
}
