//! Single layers: distances and their gradients, ranges, groups, codes.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_compress::adder::cluster::cluster;
use ocelli_compress::adder::range::{LEAST, index, reach};
use ocelli_compress::adder::{Plan, Settings, plan};
use ocelli_kernels::adder::sad::Filters;
use ocelli_nn::AdderConv2dConfig;
use ocelli_nn::adder::{LayerCodes, distances};

use super::{Found, numbers, shape_of, text, weights};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

/// `adder2d`: forward and both gradients, the weights' before and after scaling.
pub(super) fn adder(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let quarters = case.config_or("round_to_quarter", false)?;
    let rounded = |values: Vec<f32>| -> Vec<f32> {
        if quarters { values.iter().map(|v| (v * 4.0).round_ties_even() / 4.0).collect() } else { values }
    };
    let (x, dims) = numbers(case, "x")?;
    let (mut grad, grad_dims) = numbers(case, "grad_out")?;
    if case.config_or("grad_out_zero", false)? {
        grad.iter_mut().for_each(|g| *g = 0.0);
    }
    let kernel: usize = case.config("kernel_size")?;
    let mut layer = AdderConv2dConfig::new(case.config("in_channels")?, case.config("out_channels")?, kernel)
        .stride(case.config("stride")?)
        .padding(case.config("padding")?)
        .bias(case.config_or("bias", false)?)
        .init(&device);
    let shape = shape_of(case, "conv.adder")?;
    let filled = rounded(fill::parameter("conv.adder", &shape));
    let tensor = |values: Vec<f32>, shape: &[usize]| {
        Tensor::<4>::from_data(TensorData::new(values, shape.to_vec()), &device)
    };
    layer.adder = Param::from_tensor(tensor(filled, &shape));
    if let Some(bias) = &mut layer.b {
        let values = fill::parameter("conv.b", &[shape[0]]);
        *bias = Param::from_tensor(Tensor::from_data(TensorData::new(values, [shape[0]]), &device));
    }
    let x = tensor(rounded(x), &dims).require_grad();
    let grad = tensor(grad, &grad_dims);
    let y = layer.forward(x.clone());
    let grads = y.clone().mul(grad.clone()).sum().backward();
    let mut found = Found::default();
    let missing = || format!("{}: a gradient is missing", case.name);
    found.0.insert("y".into(), y.into_data());
    found.0.insert("grad_x".into(), x.grad(&grads).ok_or_else(missing)?.into_data());
    found.0.insert("grad_adder".into(), layer.adder.val().grad(&grads).ok_or_else(missing)?.into_data());
    if let Some(bias) = &layer.b {
        found.0.insert("grad_b".into(), bias.val().grad(&grads).ok_or_else(missing)?.into_data());
    }
    // Once more, unscaled.
    let y = distances(x, layer.adder.val(), layer.stride, layer.padding, 0.0);
    let grads = y.mul(grad).sum().backward();
    found.0.insert("grad_adder_raw".into(), layer.adder.val().grad(&grads).ok_or_else(missing)?.into_data());
    Ok(found.0)
}

pub(super) fn ranges(case: &Case) -> Result<Outputs> {
    let (mut found, mut most) = (Found::default(), LEAST);
    for (i, item) in case.config["items"].as_array().into_iter().flatten().enumerate() {
        let (mut x, _) = numbers(case, item["input"].as_str().unwrap_or_default())?;
        if item["relu"].as_bool().unwrap_or(false) {
            x.iter_mut().for_each(|x| *x = x.max(0.0));
        }
        let alpha = item["alpha"].as_f64();
        let own = reach(&x, alpha);
        most = most.max(own);
        found.list(format!("range{i}"), vec![own]);
        found.whole(format!("index{i}"), &[1], &[index(x.len(), alpha) as i64]);
    }
    found.list("running_max", vec![most]);
    Ok(found.0)
}

pub(super) fn clusters(case: &Case) -> Result<Outputs> {
    let mut found = Found::default();
    for (i, item) in case.config["items"].as_array().into_iter().flatten().enumerate() {
        let (values, shape) = numbers(case, &format!("maxabs{i}"))?;
        let own = cluster(&values, item["groups"].as_u64().unwrap_or(1) as usize);
        if item["used"].as_u64().is_some_and(|used| used != own.count as u64) {
            return Err(format!("{}: {} groups for item {i}", case.name, own.count));
        }
        found.whole(format!("labels{i}"), &shape, &own.labels);
        found.list(format!("sse{i}"), vec![own.sse as f32]);
    }
    Ok(found.0)
}

pub(super) fn settings(case: &Case) -> Result<Settings> {
    Ok(Settings {
        bits: case.config("bits")?,
        groups: case.config("groups")?,
        alpha: case.config["alpha"].as_f64(),
        signed: case.config_or("signed_activations", false)?,
        ..Settings::new(8)
    })
}

pub(super) fn codes_of(own: &Plan, settings: &Settings, shape: [usize; 4]) -> LayerCodes {
    let Plan { scales, labels, codes, extra, .. } = own.clone();
    LayerCodes { coding: settings.coding(), scales, labels, codes, shape, extra }
}

fn activations(own: &LayerCodes, x: &[f32], group: usize) -> Vec<i16> {
    x.iter().map(|x| own.coding.activation(*x, own.scales[group])).collect()
}

pub(super) fn illustration(case: &Case) -> Result<Outputs> {
    let settings = settings(case)?;
    let ((x, x_shape), (w, w_shape)) = (numbers(case, "X")?, numbers(case, "W")?);
    let shape = <[usize; 4]>::try_from(w_shape.as_slice()).map_err(|_| "W has four dimensions")?;
    let own = plan(&w, shape[0], case.config::<f32>("act_range")?, &settings).map_err(text)?;
    let codes = codes_of(&own, &settings, shape);
    let mut found = Found::default();
    found.whole("labels", &[shape[0]], &own.labels);
    found.whole("w_int", &w_shape, &own.codes);
    for group in 0..own.scales.len() {
        found.whole(format!("a_int_g{group}"), &x_shape, &activations(&codes, &x, group));
    }
    found.floats("w_clamped", &w_shape, own.clamped);
    found.list("group_scale", own.scales);
    found.list("bias_extra", own.extra);
    Ok(found.0)
}

pub(super) fn post_training(case: &Case) -> Result<Outputs> {
    let settings = settings(case)?;
    let device = Device::flex();
    let shape = shape_of(case, "layer.adder")?;
    let w = weights(case, "layer.adder", &shape)?;
    let four = <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| "weights have four dimensions")?;
    let (stride, padding): (usize, usize) = (case.config("stride")?, case.config("padding")?);
    let factor: f32 = case.config_or("input_multiplier", 1.0)?;
    let rectified = case.config_or("input_relu", false)?;
    let input = |name: &str| -> Result<(Vec<f32>, Vec<usize>)> {
        let (x, dims) = numbers(case, name)?;
        let own = |x: f32| if rectified { (x * factor).max(0.0) } else { x * factor };
        Ok((x.into_iter().map(own).collect(), dims))
    };
    let mut range = LEAST;
    for (name, _) in case.inputs().iter().filter(|(name, _)| name.starts_with('c')) {
        range = range.max(reach(&input(name)?.0, settings.alpha));
    }
    let own = plan(&w, four[0], range, &settings).map_err(text)?;
    let codes = codes_of(&own, &settings, four);
    let (x, dims) = input("x")?;
    let map = Tensor::<4>::from_data(TensorData::new(x.clone(), dims.clone()), &device);
    let mut found = Found::default();
    let sums = codes.sums(map.clone(), stride, padding);
    let sum_shape = sums.dims();
    let sums: Vec<i64> = sums.into_data().iter::<f64>().map(|v| v as i64).collect();
    found.whole("acc_int", &sum_shape, &sums);
    found.0.insert("y_quant".into(), codes.forward(map.clone(), stride, padding).into_data());
    let float = Tensor::<4>::from_data(TensorData::new(w, shape.clone()), &device);
    found.0.insert("y_float".into(), distances(map, float, stride, padding, 0.0).into_data());
    found.list("act_range", vec![own.reach]);
    found.whole("labels", &[four[0]], &own.labels);
    found.whole("w_int", &shape, &own.codes);
    for group in 0..own.scales.len() {
        found.whole(format!("a_int_g{group}"), &dims, &activations(&codes, &x, group));
    }
    if !settings.signed {
        let bytes: Vec<u8> = own.codes.iter().map(|q| (2 * i32::from(*q)).max(0) as u8).collect();
        found.whole("w_u8", &shape, &bytes);
        let filters =
            Filters::new(&own.codes, &own.labels, own.scales.len(), four[1], four[2] * four[3], false)
                .ok_or("filters that do not fit")?;
        found.whole("sad_const", &[four[0]], &filters.constants);
    }
    found.list("max_abs_w", own.filters);
    found.list("group_scale", own.scales);
    found.list("bias_extra", own.extra);
    Ok(found.0)
}
