//! Running a case on a module: filling it, checking its keys and counts, forward, gradients.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use ocelli_nn::Taps;
use ocelli_nn::cost;
use ocelli_nn::state_dict::{Path, is_buffer, load_state_dict, parameter_count, specs, state_dict};

use crate::case::{Case, Result};
use crate::fill;
use crate::train::train_steps;

/// What a case produced, by output name.
pub type Outputs = BTreeMap<String, TensorData>;

/// What the reference calls a module's tensors.
pub struct Names<'a> {
    /// The reference's name of the tensor that is called so in the module.
    pub published: &'a dyn Fn(&str) -> String,
    /// Whether the reference's state dict holds the entry and its forward never reads it.
    pub ignored: &'a dyn Fn(&str) -> bool,
}

impl Names<'static> {
    /// The module's own names are the reference's.
    pub fn same() -> Self {
        Names { published: &|name| name.to_string(), ignored: &|_| false }
    }
}

/// The device a case runs on: with autodiff, which switches batch statistics on, unless it is a plain forward in
/// evaluation mode.
pub fn device(case: &Case) -> Device {
    let device = Device::flex();
    if case.task == "forward" && !case.mode.starts_with("train") { device } else { device.autodiff() }
}

/// Fills all tensors of `module` by the rule, then applies the case's stored statistics.
///
/// Fails if the module's names or shapes differ from the case's list of the reference's state dict.
pub fn fill_module<M: Module>(case: &Case, module: M, names: &Names) -> Result<M> {
    let overrides: BTreeMap<&str, &TensorData> = case.state_overrides().collect();
    check_keys(case, &module, names)?;
    let tensors = specs(&module)
        .into_iter()
        .map(|spec| {
            let published = (names.published)(&spec.name);
            let data = match overrides.get(published.as_str()) {
                Some(data) => (*data).clone(),
                None => TensorData::new(fill::parameter(&published, &spec.shape), spec.shape.clone()),
            };
            (spec.name, data)
        })
        .collect();
    let (module, mismatch) = load_state_dict(module, tensors);
    if mismatch.is_empty() { Ok(module) } else { Err(format!("{}:{mismatch}", case.name)) }
}

/// The reference's state dict, as listed beside the case, must be the module's.
fn check_keys<M: Module>(case: &Case, module: &M, names: &Names) -> Result<()> {
    let ours = specs(module).into_iter().map(|spec| ((names.published)(&spec.name), spec.shape)).collect();
    check_listed(case, &ours, names.ignored)
}

/// The reference's state dict, as listed beside the case, must be `ours`.
pub(crate) fn check_listed(
    case: &Case,
    ours: &BTreeMap<String, Vec<usize>>,
    ignored: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let Some(list) = case.json["state_dict"].as_str() else { return Ok(()) };
    let Ok(text) = std::fs::read_to_string(case.path.with_file_name(list)) else { return Ok(()) };
    let mut theirs = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(shape)) = (words.next(), words.next()) else { continue };
        let dims = shape.split('x').filter_map(|n| n.parse().ok()).collect::<Vec<usize>>();
        theirs.insert(name.to_string(), dims);
    }
    theirs.retain(|name, _| !name.ends_with("num_batches_tracked") && !ignored(name));
    let wrong: Vec<String> = theirs
        .iter()
        .filter(|(name, shape)| ours.get(*name) != Some(shape))
        .map(|(name, shape)| format!("{name} {shape:?}: ours {:?}", ours.get(name)))
        .chain(
            ours.keys()
                .filter(|name| !theirs.contains_key(*name))
                .map(|name| format!("{name}: not in the reference")),
        )
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        let shown = wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n  ");
        Err(format!("{}: {} of the reference's tensors differ:\n  {shown}", case.name, wrong.len()))
    }
}

/// Runs a case whose network maps one image batch to one tensor.
pub fn run_module<M: Module, const D: usize>(
    case: &Case,
    module: M,
    names: &Names,
    forward: impl Fn(&M, Tensor<4>, &mut Taps) -> Tensor<D>,
) -> Result<Outputs> {
    let module = fill_module(case, module, names)?;
    check_counts(case, &module, &forward)?;
    match case.task.as_str() {
        "forward" => {
            let mut taps = Taps::new(case.output_names());
            let output = forward(&module, case.image(&device(case))?, &mut taps);
            let mut outputs: Outputs = taps.into_data().into_iter().collect();
            outputs.insert("output".into(), output.into_data());
            outputs.extend(tensors_after(&module, names));
            Ok(outputs)
        }
        "train_steps" => train_steps(case, module, names, forward),
        "gradients" => gradients(case, module, names, forward),
        task => Err(format!("{}: no way to run task '{task}' on this builder", case.name)),
    }
}

/// The case's counts of parameters and multiply-accumulates (of one picture), where it states them.
pub fn check_counts<M: Module, const D: usize>(
    case: &Case,
    module: &M,
    forward: impl Fn(&M, Tensor<4>, &mut Taps) -> Tensor<D>,
) -> Result<()> {
    let stated = |key: &str| case.json[key].as_u64();
    let differs = |what: &str, ours: u64, theirs: u64| {
        Err(format!("{}: {ours} {what}, the case has {theirs}", case.name))
    };
    let ours = parameter_count(module) as u64;
    if let Some(theirs) = stated("params_used").or(stated("params"))
        && ours != theirs
    {
        return differs("parameters", ours, theirs);
    }
    let image = case.inputs().into_iter().next().and_then(|(_, shape)| <[usize; 4]>::try_from(shape).ok());
    if let (Some(theirs), Some([batch, channels, height, width])) = (stated("macs"), image) {
        let shape = [1, channels, height, width];
        let layers = cost::layers(module, shape, |module, x| forward(module, x, &mut Taps::none()));
        let ours: u64 = layers.iter().map(|layer| layer.macs).sum();
        let search: u64 =
            layers.iter().filter(|layer| layer.kind == "neighbours").map(|layer| layer.macs).sum();
        // The counter behind these cases adds one per element that a layer norm, a softmax or a neighbour's maximum
        // touches: half a percent of a published network, more of a tiny one.
        let within = match case.system.as_str() {
            "tnt" => 0.03,
            "vig" => 0.02,
            _ => 0.0,
        };
        let differ = |ours: u64| ours.abs_diff(theirs) as f64 > within * theirs as f64;
        // Some cases count the whole batch, some leave the neighbour search out.
        if [ours, ours * batch as u64, ours - search].into_iter().all(differ) {
            return differs("multiply-accumulates", ours, theirs);
        }
    }
    Ok(())
}

/// `loss = sum(output · grad_output)`; gradients of the input and all parameters, and the statistics after.
fn gradients<M: Module, const D: usize>(
    case: &Case,
    module: M,
    names: &Names,
    forward: impl Fn(&M, Tensor<4>, &mut Taps) -> Tensor<D>,
) -> Result<Outputs> {
    let device = device(case);
    let (grad_name, _) = case
        .inputs()
        .into_iter()
        .find(|(name, _)| name.ends_with("grad"))
        .ok_or_else(|| format!("{}: no output gradient", case.name))?;
    let image = case.image(&device)?.require_grad();
    let output = forward(&module, image.clone(), &mut Taps::none());
    let loss = output.clone().mul(case.input::<D>(&grad_name, &device)?).sum();
    let grads = loss.backward();
    let mut outputs = parameter_gradients(&module, &grads, names);
    outputs.insert("output".into(), output.into_data());
    outputs.insert("loss".into(), loss.into_data());
    if let Some(grad) = image.grad(&grads) {
        outputs.insert("grad.input".into(), grad.into_data());
    }
    outputs.extend(tensors_after(&module, names));
    Ok(outputs)
}

/// `after.NAME` of every running statistic.
pub(crate) fn tensors_after<M: Module>(
    module: &M,
    names: &Names,
) -> impl Iterator<Item = (String, TensorData)> {
    state_dict(module)
        .into_iter()
        .filter(|(name, _)| is_buffer(name))
        .map(|(name, data)| (format!("after.{}", (names.published)(&name)), data))
}

/// `grad.NAME` of every parameter that has one.
pub fn parameter_gradients<M: Module>(module: &M, grads: &Gradients, names: &Names) -> Outputs {
    struct Collect<'a>(Path, &'a Gradients, &'a Names<'a>, Outputs);
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad()
                && let Some(grad) = param.val().grad(self.1)
            {
                self.3.insert(format!("grad.{}", (self.2.published)(&self.0.name())), grad.into_data());
            }
        }
    }
    let mut visitor = Collect(Path::default(), grads, names, Outputs::new());
    module.visit(&mut visitor);
    visitor.3
}
