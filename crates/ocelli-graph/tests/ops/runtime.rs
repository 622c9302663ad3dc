//! ONNX Runtime by way of Python, where there is one.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ocelli_graph::Constant;
use serde_json::{Value, json};

/// A named tensor.
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Constant,
}

/// Inputs and what must come out.
pub struct Run {
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
}

/// `testdata/python/onnx_check.py` at work.
pub struct Runtime {
    process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
}

impl Runtime {
    /// Starts `OCELLI_PYTHON`, else `python3`. Says on standard error what is missing.
    pub fn start() -> Option<Self> {
        let python = std::env::var("OCELLI_PYTHON").unwrap_or_else(|_| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/python/onnx_check.py");
        let process = Command::new(&python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let missing = |reason: &str| {
            eprintln!(
                "not checked with ONNX Runtime: {python}: {reason}; set OCELLI_PYTHON to a Python with onnx and onnxruntime"
            );
        };
        let mut process = match process {
            Ok(process) => process,
            Err(error) => {
                missing(&error.to_string());
                return None;
            }
        };
        let questions = process.stdin.take()?;
        let mut answers = BufReader::new(process.stdout.take()?).lines();
        let hello = answers.next().and_then(Result::ok).unwrap_or_default();
        let hello: Value = serde_json::from_str(&hello).unwrap_or_default();
        if hello["onnxruntime"].is_null() {
            process.wait().ok();
            missing(hello["missing"].as_str().unwrap_or("it does not answer"));
            return None;
        }
        eprintln!("checking with {hello}");
        let folder = tempfile::tempdir().ok()?;
        Some(Self { process, questions, answers, folder })
    }

    /// Largest difference of the runs' outputs, relative to the largest element; without runs the file is
    /// only checked.
    pub fn check(&mut self, name: &str, model: &[u8], runs: &[Run]) -> Result<f64, String> {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, model).map_err(|error| error.to_string())?;
        let mut files = 0;
        let mut describe = |tensor: &Tensor| {
            files += 1;
            let path = self.folder.path().join(format!("{files}.bin"));
            write(&path, tensor)
        };
        let runs: Vec<Value> = runs
            .iter()
            .map(|run| {
                let inputs: Vec<Value> = run.inputs.iter().map(&mut describe).collect();
                let outputs: Vec<Value> = run.outputs.iter().map(&mut describe).collect();
                json!({"inputs": inputs, "outputs": outputs})
            })
            .collect();
        let question = json!({"name": name, "model": path, "runs": runs});
        writeln!(self.questions, "{question}").map_err(|error| error.to_string())?;
        let answer =
            self.answers.next().ok_or("the checking process ended")?.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        match answer["problem"].as_str() {
            Some(problem) => Err(problem.to_string()),
            None => answer["error"].as_f64().ok_or_else(|| "not a number".to_string()),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn write(path: &PathBuf, tensor: &Tensor) -> Value {
    let (kind, bytes): (&str, Vec<u8>) = match &tensor.data {
        Constant::F32(values) => ("f32", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Constant::I64(values) => ("i64", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Constant::I32(values) => ("i32", values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Constant::U8(values) => ("u8", values.to_vec()),
        Constant::I8(values) => ("i8", values.iter().map(|&value| value as u8).collect()),
        Constant::Bool(values) => ("bool", values.iter().map(|&value| u8::from(value)).collect()),
    };
    std::fs::write(path, bytes).unwrap();
    json!({"name": tensor.name, "shape": tensor.shape, "type": kind, "file": path})
}
