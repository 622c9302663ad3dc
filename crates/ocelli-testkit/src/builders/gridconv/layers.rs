//! The attention and both kinds of layers alone, with all gradients.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_pose::grid::{AttentionConfig, GridConvConfig, Naming, Neighbours, Padding, cells_of, map_of};

use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module, parameter_gradients, tensors_after};

/// `y` or `atten`, the gradients of `sum(y · grad_out)`, and the statistics after a pass in training.
pub(super) fn attention(case: &Case) -> Result<Outputs> {
    let [height, width] = case.config::<[usize; 2]>("grid_shape")?;
    let channels_in: usize = case.config("cin")?;
    let device = Device::flex().autodiff();
    let config = AttentionConfig {
        hidden: case.config("hidden")?,
        ..AttentionConfig::new(channels_in, height * width)
    };
    let layer = fill_module(case, config.init(&device), &Names::same())?;
    let layer = if case.config::<bool>("train")? { layer } else { frozen(layer) };
    let names: Vec<String> = case.inputs().into_iter().map(|(name, _)| name).collect();
    let [x, grad] = names.as_slice() else { return Err(format!("{}: expected two inputs", case.name)) };
    let x = case.input::<4>(x, &device)?.require_grad();
    let temperature: f64 = case.config("temperature")?;
    let found = layer.forward(cells_of(x.clone()), temperature);
    let [batch, taps, _] = found.dims();
    let found = found.reshape([batch, taps, height, width]);
    let grads = found.clone().mul(case.input::<4>(grad, &device)?).sum().backward();
    let mut outputs = parameter_gradients(&layer, &grads, &Names::same());
    outputs.insert("atten".into(), found.into_data());
    outputs.extend(x.grad(&grads).map(|grad| ("grad.x".to_string(), grad.into_data())));
    outputs.extend(tensors_after(&layer, &Names::same()));
    Ok(outputs)
}

/// With running statistics, though gradients are wanted.
fn frozen(mut layer: ocelli_pose::grid::Attention) -> ocelli_pose::grid::Attention {
    layer.bn.training = burn::module::Param::from_bool(false);
    layer
}

pub(super) fn convolution(case: &Case) -> Result<Outputs> {
    let grid = case.config::<[usize; 2]>("grid_shape")?;
    let device = Device::flex().autodiff();
    let listed = case.state_dict_names();
    let naming =
        if listed.iter().any(|name| name.starts_with("donut")) { Naming::Static } else { Naming::Dynamic };
    let config = GridConvConfig {
        channels_in: case.config("cin")?,
        channels_out: case.config("cout")?,
        bias: case.config_or("bias", true)?,
        naming,
    };
    let layer = fill_module(case, config.init(&device), &Names::same())?;
    let padding: [Padding; 2] = case.config("padding_mode")?;
    let neighbours = Neighbours::new(grid, padding, &device);
    let inputs = case.inputs();
    let named = |ending: &str| inputs.iter().map(|(name, _)| name).find(|name| name.ends_with(ending));
    let x = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let x = case.input::<4>(&x.0, &device)?.require_grad();
    // What a fill becomes: the case writes it as words, `0.5*v+0.5`.
    let attention: Option<Tensor<4>> = match named(".atten") {
        Some(name) => Some(case.input::<4>(name, &device)?.mul_scalar(0.5).add_scalar(0.5).require_grad()),
        None => None,
    };
    let factors = attention.clone().map(|map| {
        let [batch, taps, height, width] = map.dims();
        map.reshape([batch, taps, height * width]).swap_dims(1, 2)
    });
    let y = map_of(layer.forward(cells_of(x.clone()), &neighbours, factors), grid);
    let grad = named("grad_out").ok_or_else(|| format!("{}: no gradient", case.name))?;
    let grads = y.clone().mul(case.input::<4>(grad, &device)?).sum().backward();
    let mut outputs = parameter_gradients(&layer, &grads, &Names::same());
    outputs.insert("y".into(), y.into_data());
    outputs.extend(x.grad(&grads).map(|grad| ("grad.x".to_string(), grad.into_data())));
    let grad = attention.and_then(|attention| attention.grad(&grads));
    outputs.extend(grad.map(|grad| ("grad.atten".to_string(), grad.into_data())));
    let plain = layer.valid();
    if ocelli_nn::state_dict::parameter_count(&plain) as u64 != case.json["params"].as_u64().unwrap_or(0) {
        return Err(format!("{}: another number of parameters", case.name));
    }
    Ok(outputs)
}
