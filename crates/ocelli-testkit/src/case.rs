//! Golden cases on disk: a JSON description beside a safetensors file with the expected tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::weights::WeightFile;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fill;

/// A result whose error is a readable sentence.
pub type Result<T> = std::result::Result<T, String>;

/// One golden case.
#[derive(Debug)]
pub struct Case {
    /// Where the JSON stands.
    pub path: PathBuf,
    /// Name of the case.
    pub name: String,
    /// Which builder reproduces it, such as `senet.legacy`.
    pub builder: String,
    /// `forward`, `gradients` or `train_steps`.
    pub task: String,
    /// `eval` or `train ...`.
    pub mode: String,
    /// The builder's configuration.
    pub config: Value,
    /// The whole JSON.
    pub json: Value,
    /// Expected and given tensors.
    pub stored: BTreeMap<String, TensorData>,
}

/// One tensor the case expects.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its name.
    pub name: String,
    /// Its full shape.
    pub shape: Vec<usize>,
    /// Step per axis of the stored elements.
    pub stride: Vec<usize>,
    /// Step of the stored elements along the flattened tensor, 1 where the axes have steps.
    pub flat_stride: usize,
    /// Largest admitted `max|a-b| / max|b|`.
    pub tolerance: f64,
    /// Largest admitted absolute value, where the exact value is zero.
    pub zero_tolerance: Option<f64>,
    /// Why the tensor cannot be compared, if so.
    pub not_comparable: Option<String>,
}

impl Case {
    /// Whether `path` is a case that names a builder; other JSON files are left alone.
    pub fn is_case(path: &Path) -> bool {
        path.extension().is_some_and(|e| e == "json")
            && std::fs::read_to_string(path)
                .ok()
                .and_then(|text| serde_json::from_str::<Value>(&text).ok())
                .is_some_and(|json| json.get("outputs").is_some())
    }

    /// Reads the JSON at `path` and the tensors beside it.
    pub fn read(path: &Path) -> Result<Self> {
        let at = |problem: String| format!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_string();
        let tensors = path.with_extension("safetensors");
        let mut stored = WeightFile::read(&tensors).map_err(|error| error.to_string())?.tensors;
        stored.extend(integers(&tensors)?);
        Ok(Self {
            path: path.to_path_buf(),
            name: text("case"),
            builder: text("builder"),
            task: text("task"),
            mode: text("mode"),
            config: json["config"].clone(),
            stored,
            json,
        })
    }

    /// `config[key]`, or an error that says what is wrong.
    pub fn config<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        T::deserialize(&self.config[key]).map_err(|error| format!("{}: config.{key}: {error}", self.name))
    }

    /// `config[key]`, or `default` where it is absent.
    pub fn config_or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T> {
        if self.config[key].is_null() { Ok(default) } else { self.config(key) }
    }

    /// Names and shapes of the inputs.
    pub fn inputs(&self) -> Vec<(String, Vec<usize>)> {
        self.json["inputs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|input| (input["name"].as_str().unwrap_or_default().to_string(), shape(&input["shape"])))
            .collect()
    }

    /// The data of an input: stored beside the case, or filled from its name.
    pub fn input_data(&self, name: &str) -> Result<TensorData> {
        if let Some(data) = self.stored.get(name) {
            return Ok(data.clone());
        }
        let (_, shape) = self
            .inputs()
            .into_iter()
            .find(|(found, _)| found == name)
            .ok_or_else(|| format!("{}: no input called {name}", self.name))?;
        Ok(TensorData::new(fill::input(name, &shape), shape))
    }

    /// The input called `name` as a tensor.
    pub fn input<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>> {
        let data = self.input_data(name)?;
        if data.shape().len() != D {
            return Err(format!(
                "{}: input {name} has shape {:?}, expected rank {D}",
                self.name,
                data.shape()
            ));
        }
        Ok(Tensor::from_data(data, device))
    }

    /// The first input, `[batch, channels, height, width]`.
    pub fn image(&self, device: &Device) -> Result<Tensor<4>> {
        let (name, _) = self.inputs().into_iter().next().ok_or_else(|| format!("{}: no input", self.name))?;
        self.input(&name, device)
    }

    /// What the case expects.
    pub fn expected(&self) -> Vec<Expected> {
        let default = self.json["tolerance"]["rel"].as_f64().unwrap_or(1e-4);
        self.json["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|output| {
                let shape = shape(&output["shape"]);
                // One number strides over the flattened tensor, a list over the axes.
                let flat = output["slice"]["stride"].as_u64();
                let stride = if output["slice"].is_object() && flat.is_none() {
                    self::shape(&output["slice"]["stride"])
                } else {
                    vec![1; shape.len()]
                };
                Expected {
                    name: output["name"].as_str().unwrap_or_default().to_string(),
                    stride,
                    flat_stride: flat.map_or(1, |stride| (stride as usize).max(1)),
                    tolerance: output["rel_tolerance"].as_f64().unwrap_or(default),
                    zero_tolerance: output["exactly_zero_in_theory"]
                        .as_bool()
                        .unwrap_or(false)
                        .then(|| output["zero_abs_tolerance"].as_f64().unwrap_or(1e-5)),
                    not_comparable: output["not_comparable"].as_str().map(str::to_string),
                    shape,
                }
            })
            .collect()
    }

    /// Values that replace the filled ones (`state.NAME` in the file).
    pub fn state_overrides(&self) -> impl Iterator<Item = (&str, &TensorData)> {
        self.stored.iter().filter_map(|(name, data)| Some((name.strip_prefix("state.")?, data)))
    }

    /// Names of the expected tensors, which are also the places to tap.
    pub fn output_names(&self) -> Vec<String> {
        self.expected().into_iter().map(|expected| expected.name).collect()
    }
}

/// The 32-bit integers of a safetensors file, which weight files leave out: choices, labels.
fn integers(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let at = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| at(error.to_string()))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|error| at(error.to_string()))?;
    let whole = file.iter().filter(|(_, view)| view.dtype() == safetensors::Dtype::I32);
    Ok(whole
        .map(|(name, view)| {
            let values: Vec<i32> =
                view.data().as_chunks::<4>().0.iter().map(|chunk| i32::from_le_bytes(*chunk)).collect();
            (name.to_string(), TensorData::new(values, view.shape().to_vec()))
        })
        .collect())
}

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|n| n as usize).collect()
}
