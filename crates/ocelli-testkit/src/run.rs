//! Running a case on a module: filling it, forward, gradients, a few steps of training.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use ocelli_nn::Taps;
use ocelli_nn::state_dict::{Path, load_state_dict, specs, state_dict};

use crate::case::{Case, Result};
use crate::fill;

/// What a case produced, by output name.
pub type Outputs = BTreeMap<String, TensorData>;

/// Translates a tensor's name in the module to its name in the reference.
pub type Names<'a> = &'a dyn Fn(&str) -> String;

/// The device a case runs on: with autodiff unless it is a plain forward.
pub fn device(case: &Case) -> Device {
    let device = Device::flex();
    if case.task == "forward" { device } else { device.autodiff() }
}

/// Fills all tensors of `module` by the rule, then applies the case's stored statistics.
///
/// Fails if the module's names or shapes differ from the case's list of the reference's state dict.
pub fn fill_module<M: Module>(case: &Case, module: M, names: Names) -> Result<M> {
    let overrides: BTreeMap<&str, &TensorData> = case.state_overrides().collect();
    check_keys(case, &module, names)?;
    let tensors = specs(&module)
        .into_iter()
        .map(|spec| {
            let published = names(&spec.name);
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
fn check_keys<M: Module>(case: &Case, module: &M, names: Names) -> Result<()> {
    let Some(list) = case.json["state_dict"].as_str() else { return Ok(()) };
    let Ok(text) = std::fs::read_to_string(case.path.with_file_name(list)) else { return Ok(()) };
    let ours: BTreeMap<String, Vec<usize>> =
        specs(module).into_iter().map(|spec| (names(&spec.name), spec.shape)).collect();
    let mut theirs = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(shape)) = (words.next(), words.next()) else { continue };
        let dims = shape.split('x').filter_map(|n| n.parse().ok()).collect::<Vec<usize>>();
        theirs.insert(name.to_string(), dims);
    }
    theirs.retain(|name, _| !name.ends_with("num_batches_tracked") && !is_unused(case, name));
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

/// Tensors the reference's checkpoint holds and its forward never reads (released Ghost-ResNet).
fn is_unused(case: &Case, name: &str) -> bool {
    case.json["params_used"].is_u64()
        && (name.ends_with(".weight1")
            || name.ends_with(".weight2")
            || name.split('.').count() > 3 && (name.contains(".bn1.") || name.contains(".bn2.")) && {
                // `layerL.J.convK.bn1.*`: the norms inside a module, not the block's own.
                let parts: Vec<&str> = name.split('.').collect();
                parts.windows(2).any(|w| (w[0].starts_with("conv") || w[0] == "0") && w[1].starts_with("bn"))
            })
}

/// Runs a case whose network maps one image batch to one tensor.
pub fn run_module<M: Module, const D: usize>(
    case: &Case,
    module: M,
    names: Names,
    forward: impl Fn(&M, Tensor<4>, &mut Taps) -> Tensor<D>,
) -> Result<Outputs> {
    let module = fill_module(case, module, names)?;
    match case.task.as_str() {
        "forward" => {
            let mut taps = Taps::new(case.output_names());
            let output = forward(&module, case.image(&device(case))?, &mut taps);
            let mut outputs: Outputs =
                taps.into_maps().into_iter().map(|(name, map)| (name, map.into_data())).collect();
            outputs.insert("output".into(), output.into_data());
            Ok(outputs)
        }
        "gradients" => gradients(case, module, names, forward),
        task => Err(format!("{}: no way to run task '{task}' on this builder", case.name)),
    }
}

/// `loss = sum(output · grad_output)`; gradients of the input and all parameters, and the statistics after.
fn gradients<M: Module, const D: usize>(
    case: &Case,
    module: M,
    names: Names,
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
    outputs.extend(
        state_dict(&module).into_iter().map(|(name, data)| (format!("after.{}", names(&name)), data)),
    );
    Ok(outputs)
}

/// `grad.NAME` of every parameter that has one.
pub fn parameter_gradients<M: Module>(module: &M, grads: &Gradients, names: Names) -> Outputs {
    struct Collect<'a>(Path, &'a Gradients, Names<'a>, Outputs);
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
                self.3.insert(format!("grad.{}", (self.2)(&self.0.name())), grad.into_data());
            }
        }
    }
    let mut visitor = Collect(Path::default(), grads, names, Outputs::new());
    module.visit(&mut visitor);
    visitor.3
}
