//! Cases of content-aware modulation. They name no builder: what is run follows from the case's configuration and inputs.

mod nets;
mod packs;
mod pixels;
mod tables;
mod training;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_video::deliver::cafm::{ContentAwareFm, Form};
use ocelli_video::deliver::{Backbone, Config};

use super::gridconv::{cut, numbers};
use crate::case::{Case, Measure, Result};
use crate::compare::{Comparison, compare};
use crate::run::{Names, Outputs, fill_module, parameter_gradients};

pub(super) fn check(case: &Case) -> Result<Vec<Comparison>> {
    let has = |key: &str| !case.config[key].is_null();
    if case.json["rows"].is_array() {
        return tables::parameters(case);
    }
    if case.json["train"].is_object() {
        return tables::chunks(case);
    }
    let mut more = Vec::new();
    let outputs = if case.json["psnr_db"].is_object() {
        more = pixels::psnr(case)?;
        pixels::quantised(case)?
    } else if has("steps") {
        training::run(case)?
    } else if has("model")
        && case.json["outputs"][0]["name"].as_str().is_some_and(|name| name.starts_with("q."))
    {
        packs::run(case)?
    } else if has("model") {
        nets::run(case)?
    } else if has("kernel") {
        layer(case)?
    } else if has("factors") {
        pixels::shuffled(case)?
    } else if has("patch_size") {
        pixels::patches(case)?
    } else if has("antialias") {
        pixels::reduced(case)?
    } else if case.config["a"].is_number() {
        pixels::enlarged(case)?
    } else {
        return Err(format!("{}: nothing known is asked for", case.name));
    };
    let mut all = compare(case, &cut(case, outputs)?);
    all.extend(more);
    Ok(all)
}

/// The network a case speaks of.
fn config(case: &Case) -> Result<Config> {
    let model: String = case.config("model")?;
    let backbone = match model.as_str() {
        "ESPCN" => Backbone::Espcn,
        "SRCNN" => Backbone::Srcnn,
        "VDSRR" | "VDSR" => Backbone::Vdsr,
        "EDSR" => Backbone::Edsr,
        "RCAN" => Backbone::Rcan,
        other => return Err(format!("{}: no network called {other}", case.name)),
    };
    let base = Config::new(backbone, case.config("scale")?);
    let modulated: bool = case.config_or("use_cafm", false)?;
    let config = Config {
        chunks: if modulated { case.config("segnum")? } else { 0 },
        feats: case.config_or("n_feats", base.feats)?,
        blocks: case.config_or("n_resblocks", base.blocks)?,
        groups: case.config_or("n_resgroups", base.groups)?,
        res_scale: case.config_or("res_scale", 1.0)?,
        upstream: backbone == Backbone::Edsr && !case.config_or("cafm", true)?,
        ..base
    };
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// One modulation: output and gradients.
fn layer(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let (channels, groups): (usize, usize) = (case.config("channels")?, case.config("groups")?);
    let form = if groups == channels { Form::Depthwise } else { Form::Paired };
    let layer = ContentAwareFm::new(channels, case.config("kernel")?, form, &device);
    let layer = fill_module(case, layer, &Names::same())?;
    let inputs = case.inputs();
    let [(x, _), (grad, _)] = inputs.as_slice() else {
        return Err(format!("{}: expected an input and a gradient", case.name));
    };
    let x: Tensor<4> = case.input::<4>(x, &device)?.require_grad();
    let y = layer.forward(x.clone());
    let grads = y.clone().mul(case.input::<4>(grad, &device)?).sum().backward();
    let mut outputs = parameter_gradients(&layer, &grads, &Names::same());
    outputs.insert("y".into(), y.into_data());
    if let Some(grad) = x.grad(&grads) {
        outputs.insert("grad.x".into(), grad.into_data());
    }
    Ok(outputs)
}

/// A tensor of bytes as planes of floats `[batch, 3, height, width]`.
fn planes(data: &TensorData, device: &Device) -> Tensor<4> {
    let values: Vec<f32> = data.iter::<f32>().collect();
    let shape: [usize; 4] = std::array::from_fn(|axis| data.shape()[axis]);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A figure of the JSON against ours.
fn figure(name: String, found: f64, want: f64, tolerance: f64) -> Comparison {
    numbers(&name, &[found], &[want], Measure::Absolute, tolerance)
}
