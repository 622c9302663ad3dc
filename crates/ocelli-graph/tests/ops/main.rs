//! Every operator as an ONNX file, computed by ONNX Runtime and compared with PyTorch's result.

mod cases;
mod runtime;

use std::path::Path;

use cases::{BATCH, Case, Content};
use ocelli_graph::onnx::{self, OnnxError, Summary};
use ocelli_graph::{Constant, Dim, ElementType, Graph, Node, Op, Unary, ValueId};
use runtime::{Run, Runtime, Tensor};
use serde_json::Value;

/// What PyTorch computes, by case.
fn goldens() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/onnx/ops.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn golden(name: String, value: &Value) -> Tensor {
    let list = |key: &str| value[key].as_array().unwrap();
    let values = list("values");
    Tensor {
        name,
        shape: list("shape").iter().map(|extent| extent.as_u64().unwrap() as usize).collect(),
        data: match value["type"].as_str().unwrap() {
            "f32" => Constant::F32(values.iter().map(|value| value.as_f64().unwrap() as f32).collect()),
            "i64" => Constant::I64(values.iter().map(|value| value.as_i64().unwrap()).collect()),
            _ => Constant::Bool(values.iter().map(|value| value.as_bool().unwrap()).collect()),
        },
    }
}

fn run(case: &Case, graph: &Graph, goldens: &Value) -> Run {
    let tensor = |id: ValueId, position: usize, content: Content| {
        let shape = graph.value(id).shape_at(BATCH);
        let data = content.elements(position, shape.iter().product());
        Tensor { name: graph.value(id).name.clone(), shape, data }
    };
    let node = &graph.nodes[0];
    let mut inputs: Vec<Tensor> = node
        .inputs
        .iter()
        .enumerate()
        .filter(|(_, id)| graph.inputs.contains(id))
        .map(|(position, &id)| tensor(id, position, case.inputs[position].1))
        .collect();
    if case.anchored {
        inputs.push(Tensor {
            name: "anchor".into(),
            shape: vec![BATCH],
            data: Constant::F32([0.0; BATCH].into()),
        });
    }
    let expected = goldens[case.name].as_array().unwrap_or_else(|| panic!("no golden for {}", case.name));
    let outputs = expected
        .iter()
        .zip(&graph.outputs)
        .map(|(value, id)| golden(graph.value(*id).name.clone(), value))
        .collect();
    Run { inputs, outputs }
}

#[test]
fn every_operator_computes_what_pytorch_computes() {
    let goldens = goldens();
    let all = cases::all();
    assert_eq!(all.len(), goldens.as_object().unwrap().len(), "cases and goldens");
    let mut runtime = Runtime::start();
    let mut failures = Vec::new();
    let mut worst = (0.0, "");
    for case in &all {
        let graph = case.graph();
        let file = onnx::export(&graph).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let summary = Summary::read(&file).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert!(summary.nodes.iter().any(|(_, name)| name == "layer"), "{}: {summary:?}", case.name);
        for (id, constant) in &graph.constants {
            let shape = &summary.initializers[&graph.value(*id).name];
            assert_eq!(shape.iter().product::<u64>(), constant.len() as u64, "{}", case.name);
        }
        let names = |ids: &[ValueId]| ids.iter().map(|id| graph.value(*id).name.clone()).collect::<Vec<_>>();
        let ports = |ports: &[onnx::Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
        assert_eq!(ports(&summary.inputs), names(&graph.inputs), "{}", case.name);
        assert_eq!(ports(&summary.outputs), names(&graph.outputs), "{}", case.name);
        let run = run(case, &graph, &goldens);
        for (tensor, id) in run.outputs.iter().zip(&graph.outputs) {
            assert_eq!(tensor.shape, graph.value(*id).shape_at(BATCH), "{}", case.name);
        }
        if let Some(runtime) = &mut runtime {
            match runtime.check(case.name, &file, &[run]) {
                Ok(error) if error <= 1e-5 => {
                    if error > worst.0 {
                        worst = (error, case.name);
                    }
                }
                result => failures.push(format!("{}: {result:?}", case.name)),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if runtime.is_some() {
        eprintln!("{} operators, largest relative error {:.1e} ({})", all.len(), worst.0, worst.1);
    }
}

fn small() -> Graph {
    let mut graph = Graph { name: "small".into(), ..Graph::default() };
    let x = graph.add_value("x", cases::dims("N,2"), ElementType::F32);
    let weight = graph.add_constant("fc.weight", &[2, 3], vec![0.5; 6]);
    graph.add_constant("unused", &[1], vec![0.0]);
    let y = graph.add_value("y", cases::dims("N,3"), ElementType::F32);
    graph.inputs.push(x);
    graph.outputs.push(y);
    graph.nodes.push(Node {
        name: "fc".into(),
        op: Op::Linear { bias: false, residual: false, activation: Some(Unary::Silu) },
        inputs: vec![x, weight],
        outputs: vec![y],
    });
    graph
}

#[test]
fn a_file_says_who_wrote_it_and_keeps_names() {
    let summary = Summary::read(&onnx::export(&small()).unwrap()).unwrap();
    assert_eq!((summary.producer.as_str(), summary.opset), ("ocelli", onnx::OPSET as u64));
    let names: Vec<_> = summary.nodes.iter().map(|(op, name)| (op.as_str(), name.as_str())).collect();
    assert_eq!(names, [("Gemm", "fc"), ("Sigmoid", "fc/Sigmoid"), ("Mul", "fc/Mul")]);
    assert_eq!(summary.initializers.keys().collect::<Vec<_>>(), ["fc.weight"]);
    assert_eq!(summary.inputs, [onnx::Port { name: "x".into(), shape: vec!["N".into(), "2".into()] }]);
    assert_eq!(summary.outputs, [onnx::Port { name: "y".into(), shape: vec!["N".into(), "3".into()] }]);
}

#[test]
fn outputs_that_no_node_writes_become_copies() {
    let mut graph = small();
    let (x, y) = (graph.inputs[0], graph.outputs[0]);
    graph.outputs = vec![y, x, y];
    let summary = Summary::read(&onnx::export(&graph).unwrap()).unwrap();
    let names: Vec<_> = summary.outputs.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["y", "x/output", "y/output"]);
}

#[test]
fn names_that_are_not_unique_are_made_so() {
    let mut graph = small();
    graph.values[1].name = "x".into();
    let summary = Summary::read(&onnx::export(&graph).unwrap()).unwrap();
    assert_eq!(summary.inputs[0].name, "x");
    assert!(summary.initializers.contains_key("x_2"), "{summary:?}");
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let mut graph = small();
    graph.nodes[0].op = Op::Custom { name: "sorcery".into(), arguments: vec![] };
    let error = onnx::export(&graph).unwrap_err();
    assert_eq!(error.to_string(), "node 'fc': the operation 'sorcery' has no counterpart in ONNX");

    let malformed = |change: fn(&mut Graph)| {
        let mut graph = small();
        change(&mut graph);
        let error = onnx::export(&graph).unwrap_err();
        assert!(matches!(error, OnnxError::Malformed { .. }), "{error}");
        error.to_string()
    };
    malformed(|graph| graph.nodes[0].inputs[1] = ValueId(99));
    malformed(|graph| graph.nodes[0].outputs.clear());
    malformed(|graph| graph.outputs.push(ValueId(99)));
    malformed(|graph| graph.nodes[0].inputs.truncate(1));
    let error = malformed(|graph| graph.values[1].shape = vec![Dim::Fixed(5)]);
    assert_eq!(error, "'fc.weight': 6 elements in shape [5]");
    malformed(|graph| graph.values[1].shape = vec![Dim::Batch(1)]);
    malformed(|graph| graph.values[1].element = ElementType::I64);
    let error = malformed(|graph| {
        graph.nodes[0].op = Op::Full { value: 0.0 };
        graph.inputs.clear();
    });
    assert_eq!(error, "inputs: no input tells the batch size that shapes depend on");
}

/// Every operator with inputs and shapes that do not fit it: an error or a file, never a panic.
#[test]
fn no_graph_is_a_reason_to_panic() {
    for case in cases::all() {
        let graph = case.graph();
        for count in 0..graph.nodes[0].inputs.len() {
            let mut graph = graph.clone();
            graph.nodes[0].inputs.truncate(count);
            let _ = onnx::export(&graph);
        }
        for shape in ["", "0", "N", "1,2", "N,0,0,0", "N,N,N,N", "1,2,3,4,5"] {
            for position in 0..graph.values.len() {
                let mut graph = graph.clone();
                graph.values[position].shape = cases::dims(shape);
                graph.constants.remove(&ValueId(position as u32));
                let _ = onnx::export(&graph);
            }
        }
    }
}

#[test]
fn damaged_files_are_errors() {
    let file = onnx::export(&small()).unwrap();
    for length in 0..file.len() {
        let _ = Summary::read(&file[..length]);
    }
    for at in 0..file.len() {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = file.clone();
            bytes[at] = value;
            let _ = Summary::read(&bytes);
        }
    }
    assert!(matches!(Summary::read(b""), Err(OnnxError::Unreadable(_))));
}
