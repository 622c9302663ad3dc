//! Golden cases on disk: a JSON description beside a safetensors file with the expected tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::weights::WeightFile;
use safetensors::{Dtype, SafeTensors};
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
    /// The system it belongs to.
    pub system: String,
    /// Which builder reproduces it, such as `senet.legacy`; may be empty where the configuration says it all.
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
    /// Step of the stored elements in the flattened tensor, instead of steps per axis.
    pub flat_stride: Option<usize>,
    /// How the difference is measured.
    pub measure: Measure,
    /// What is admitted.
    pub tolerance: f64,
    /// Why the tensor cannot be compared, if so.
    pub not_comparable: Option<String>,
}

/// How an output is compared with the expected one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// `max|a-b| / max|b|`
    Relative,
    /// `max|a-b|`
    Absolute,
    /// `|a-b|` of all but the worst 0.5 % of the elements.
    MostAbsolute,
    /// `max|a|`, where the exact value is zero.
    Zero,
    /// The share of codes that differ; by more than 1 is worse than any share.
    Codes,
    /// Codes whose differences are compared with the largest code.
    LooseCodes,
    /// The builder measured itself: neighbour lists are compared as the specification of Vision GNN says.
    Given,
    /// `max|a-b|` of whole numbers that need not agree.
    Steps,
    /// How many elements differ.
    Differing,
    /// One minus the cosine of both.
    Cosine,
}

impl Case {
    /// Whether `path` is a case: it names outputs, or a system and a tolerance. Other JSON files are left alone.
    pub fn is_case(path: &Path) -> bool {
        path.extension().is_some_and(|e| e == "json")
            && std::fs::read_to_string(path)
                .ok()
                .and_then(|text| serde_json::from_str::<Value>(&text).ok())
                .is_some_and(|json| json.get("outputs").is_some() || figures_only(&json))
    }

    /// Reads the JSON at `path` and the tensors beside it.
    pub fn read(path: &Path) -> Result<Self> {
        let at = |problem: String| format!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|error| at(error.to_string()))?;
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_string();
        let tensors = path.with_extension("safetensors");
        let mut stored = BTreeMap::new();
        if tensors.exists() || !figures_only(&json) {
            stored = WeightFile::read(&tensors).map_err(|error| error.to_string())?.tensors;
            stored.extend(integers(&tensors)?);
        }
        Ok(Self {
            path: path.to_path_buf(),
            name: text("case"),
            system: text("system"),
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
        self.json["outputs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|output| {
                let mut shape = shape(&output["shape"]);
                let step = &output["slice"]["stride"];
                let mut stride = if step.is_array() { self::shape(step) } else { vec![1; shape.len()] };
                let flat_stride = step.as_u64().map(|step| step as usize);
                if let Some((steps, full)) = output["slice"].as_str().and_then(steps_of) {
                    (stride, shape) = (steps, full);
                }
                let name = output["name"].as_str().unwrap_or_default().to_string();
                let (measure, tolerance) = self.measure(output, &name);
                let not_comparable = output["not_comparable"].as_str().map(str::to_string);
                let not_comparable = not_comparable.or_else(|| self.beyond_comparison(&name));
                Expected { name, stride, flat_stride, measure, tolerance, not_comparable, shape }
            })
            .collect()
    }

    /// How an output is compared, and what is admitted.
    fn measure(&self, output: &Value, name: &str) -> (Measure, f64) {
        let general = |key: &str| self.json["tolerance"][key].as_f64();
        if name == "edges" || name.starts_with("edges.") {
            return (Measure::Given, 1e-4);
        }
        if output["exactly_zero_in_theory"].as_bool().unwrap_or(false) {
            return (Measure::Zero, output["zero_abs_tolerance"].as_f64().unwrap_or(1e-5));
        }
        if let Some(own) = output["rel_tolerance"].as_f64() {
            return (Measure::Relative, own);
        }
        let tolerance = &self.json["tolerance"];
        if tolerance["all"] == "exact" || tolerance["exact"] == true {
            return (Measure::Absolute, 0.0);
        }
        // `q_after: at most 2 entries may differ`
        let first = name.split('.').next().unwrap_or_default();
        let count = |text: &str| text.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        if let Some(most) = tolerance[first].as_str().and_then(count) {
            return (Measure::Differing, most);
        }
        if let Some(least) = general(&format!("{name}_cos")) {
            return (Measure::Cosine, 1.0 - least);
        }
        // `act_rel` and `grad_rel` speak of all outputs called `act.*`, `grad0.*`.
        let family = first.trim_end_matches(|c: char| c.is_ascii_digit());
        if name.contains('.')
            && let Some(own) = general(&format!("{family}_rel"))
        {
            return (Measure::Relative, own);
        }
        // `losses_rel`, `grad_norms_rel` and `after3_abs` speak of those outputs only.
        if let Some(own) = general(&format!("{name}_rel")) {
            return (Measure::Relative, own);
        }
        if matches!(self.system.as_str(), "gridconv" | "cafm")
            && name.starts_with("after.")
            && let Some(own) = general("after_abs")
        {
            return (Measure::Absolute, own);
        }
        if name.starts_with("after")
            && let Some(own) = general(&format!("{}_abs", name.split('.').next().unwrap_or_default()))
        {
            return (Measure::MostAbsolute, own);
        }
        // Quantisation: codes may round the other way in few places, and what follows from them is loose by nature.
        let starts = |prefix: &str| name.starts_with(prefix);
        if self.system == "bag_of_tricks_quant" {
            if let (Some(place), Some(loose)) = (name.strip_prefix("code.features."), general("logits_rel")) {
                // What is promised ends with the third block.
                let block = place.split('.').next().and_then(|block| block.parse::<u32>().ok());
                let early = block.is_some_and(|block| block <= 3);
                return if early { (Measure::Codes, 0.01) } else { (Measure::LooseCodes, loose) };
            }
            if starts("w_int_final") {
                return (Measure::Codes, 0.05);
            }
            if starts("objective_final") {
                return (Measure::Relative, 0.05);
            }
            let key = match () {
                () if starts("wscale.") => "wscale_rel",
                () if starts("act_ranges") => "ranges_rel",
                () if starts("logits_") || starts("bias_corrected.") => "logits_rel",
                () => "",
            };
            if let Some(own) = general(key) {
                return (Measure::Relative, own);
            }
        }
        if self.system == "cafm"
            && let Some(own) = self.measure_of_packs(name)
        {
            return own;
        }
        if self.system == "addernet_quant"
            && let Some(own) = self.measure_of_adders(name)
        {
            return own;
        }
        if name.ends_with("distance")
            && let Some(own) = general("distance_abs")
        {
            return (Measure::Absolute, own);
        }
        match (general("rel"), general("abs")) {
            (None, Some(own)) => (Measure::Absolute, own),
            (own, _) => (Measure::Relative, own.unwrap_or(1e-4)),
        }
    }

    /// Why the output called `name` cannot be compared, if the case's tolerance ends before it: `act_rel_upto`.
    fn beyond_comparison(&self, name: &str) -> Option<String> {
        let last = self.json["tolerance"]["act_rel_upto"].as_str()?;
        let names = self.json["outputs"].as_array()?.iter().map(|output| &output["name"]);
        let mut after = names.skip_while(|own| **own != format!("act.{last}").as_str()).skip(1);
        let beyond = name.starts_with("act.") && after.any(|own| *own == name);
        beyond.then(|| format!("the case compares maps up to {last}"))
    }
    /// How the numbers of a delivery's packages are compared: codes that may round the other way, bits of binary16, pixels.
    fn measure_of_packs(&self, name: &str) -> Option<(Measure, f64)> {
        let tolerance = &self.json["tolerance"];
        let first = name.split('.').next().unwrap_or_default();
        if first == "q" {
            return Some((Measure::Codes, 1.0 - tolerance["q"]["exact_fraction"].as_f64()?));
        }
        if name.contains(".f16bits.") {
            return Some((Measure::Steps, tolerance["f16bits"]["max_ulp"].as_f64()?));
        }
        if let Some(most) = tolerance[first]["max_abs_diff"].as_f64() {
            return Some((Measure::Steps, most));
        }
        if let Some(most) = tolerance[first]["abs"].as_f64() {
            return Some((Measure::Absolute, most));
        }
        (tolerance["quantized"] == "exact" && name.ends_with(".quantized"))
            .then_some((Measure::Absolute, 0.0))
    }

    /// How outputs of adder networks' quantisation are compared.
    fn measure_of_adders(&self, name: &str) -> Option<(Measure, f64)> {
        let general = |key: &str| self.json["tolerance"][key].as_f64();
        let starts = |prefix: &str| name.starts_with(prefix);
        // Codes of which the case admits that one in a thousand rounds the other way.
        let admitted = self.json["tolerance"]["ints"].as_str().is_some_and(|text| text.contains("1 in 1000"));
        if admitted && ["a_int", "w_int", "w_u8"].iter().any(|prefix| starts(prefix)) {
            return Some((Measure::Codes, 0.001));
        }
        let key = match () {
            () if starts("bn.") => "bn_rel",
            () if starts("q.") || starts("bn_float.") => "scales_rel",
            () if name == "logits_float" => "logits_float_rel",
            // Statistics of codes that flip at rounding borders.
            () if starts("bn_quant.") => "logits_quant_rel_whole_flow",
            // In these cases both kinds of maps are those of the network of codes.
            () if name == "logits_quant" || starts("actq.") || starts("act.") => "logits_quant_rel_last_step",
            () if starts("y_") => "y_rel",
            () if starts("sse") => "sse_rel",
            () => return None,
        };
        general(key).map(|own| (Measure::Relative, own))
    }

    /// Values that replace the filled ones (`state.NAME` in the file).
    pub fn state_overrides(&self) -> impl Iterator<Item = (&str, &TensorData)> {
        self.stored.iter().filter_map(|(name, data)| Some((name.strip_prefix("state.")?, data)))
    }

    /// Names in the reference's state dict, as listed beside the case.
    pub fn state_dict_names(&self) -> Vec<String> {
        let list = self.json["state_dict"].as_str().unwrap_or_default();
        let text = std::fs::read_to_string(self.path.with_file_name(list)).unwrap_or_default();
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_string).collect()
    }

    /// Names of the expected tensors, which are also the places to tap.
    pub fn output_names(&self) -> Vec<String> {
        self.expected().into_iter().map(|expected| expected.name).collect()
    }
}

/// Whether a case expects no tensors: its figures stand in the JSON.
fn figures_only(json: &Value) -> bool {
    let none = json["outputs"].as_array().is_none_or(Vec::is_empty);
    none && (json["system"] == "gridconv" || json["system"] == "cafm") && json["tolerance"].is_object()
}

/// The tensors of whole numbers in a safetensors file, which weight files have no use for.
fn integers(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let at = |problem: String| format!("{}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|error| at(error.to_string()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| at(error.to_string()))?;
    let mut found = BTreeMap::new();
    for (name, view) in file.iter() {
        let data = view.data();
        fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> i64) -> Vec<i64> {
            data.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
        }
        let values = match view.dtype() {
            Dtype::U8 | Dtype::BOOL => each::<1>(data, |b| b[0].into()),
            Dtype::I8 => each::<1>(data, |b| i8::from_le_bytes(b).into()),
            Dtype::I16 => each(data, |b| i16::from_le_bytes(b).into()),
            Dtype::I32 => each(data, |b| i32::from_le_bytes(b).into()),
            Dtype::I64 => each(data, i64::from_le_bytes),
            // Words of bits: the same bits.
            Dtype::U64 => each(data, |b| u64::from_le_bytes(b) as i64),
            _ => continue,
        };
        found.insert(name.to_string(), TensorData::new(values, view.shape().to_vec()));
    }
    Ok(found)
}

/// Steps per axis and the full shape of `[:, ::2, ::4] of [1, 32, 48]`.
fn steps_of(text: &str) -> Option<(Vec<usize>, Vec<usize>)> {
    let (steps, full) = text.split_once(" of ")?;
    let list = |text: &str, number: fn(&str) -> Option<usize>| -> Option<Vec<usize>> {
        text.trim().strip_prefix('[')?.strip_suffix(']')?.split(',').map(|part| number(part.trim())).collect()
    };
    let step = |part: &str| match part {
        ":" => Some(1),
        other => other.strip_prefix("::")?.parse().ok(),
    };
    let (steps, full) = (list(steps, step)?, list(full, |part| part.parse().ok())?);
    (steps.len() == full.len() && !steps.contains(&0)).then_some((steps, full))
}

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|n| n as usize).collect()
}
