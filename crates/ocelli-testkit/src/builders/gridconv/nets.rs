//! Whole networks: forward passes and a few steps of training.

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::Taps;
use ocelli_nn::state_dict::{load_state_dict, parameter_count, state_dict};
use ocelli_pose::grid::{cells_of, map_of};
use ocelli_pose::lifter::{Config, GridNet, Variant};
use ocelli_pose::sgt::{Assignment, Prior};
use ocelli_pose::skeleton::JOINTS;

use super::sgt::prior;
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module, parameter_gradients};
use crate::train::{AdamW, Optimizer, Stepper};

fn config(case: &Case) -> Result<Config> {
    let model: String = case.config("model")?;
    let variant = match model.as_str() {
        "gridconv" => Variant::GridConv,
        "dgridconv" => Variant::DGridConv,
        "autogrids" | "dgridconv_autogrids" => Variant::AutoGrids,
        other => return Err(format!("{}: no network called {other}", case.name)),
    };
    let grid = case.config("grid_shape")?;
    let named = case.config_or::<String>("autosgt_prior", "standard".into())?;
    // A filled matrix replaces the prior.
    let prior = if named == "filled" { Prior::RandomProb } else { prior(case, &named)? };
    Ok(Config {
        variant,
        hidden: case.config("hidden_size")?,
        blocks: case.config("num_block")?,
        grid,
        // GridConv's layers have fixed borders.
        padding: case.config_or(
            "padding_mode",
            [ocelli_pose::grid::Padding::Circular, ocelli_pose::grid::Padding::Zeros],
        )?,
        dropout: case.config_or("p_dropout", 0.25)?,
        prior,
        assignment: Assignment::StraightThrough,
    })
}

/// The network with filled parameters; the assignment stays its prior where the case says so.
fn filled(case: &Case, config: &Config, device: &Device, keep_prior: bool) -> Result<GridNet> {
    let net = config.init(device);
    let prior = net.sgt_layer.as_ref().map(|sgt| sgt.sgt_trans_mat.val().into_data());
    let net = fill_module(case, net, &Names::same())?;
    let count = parameter_count(&net) as u64;
    if case.json["params"].as_u64().is_some_and(|stated| stated != count) {
        return Err(format!("{}: {count} parameters, the case has {}", case.name, case.json["params"]));
    }
    if case.json["macs"].as_u64().is_some_and(|stated| stated != config.macs()) {
        return Err(format!(
            "{}: {} multiply-accumulates, the case has {}",
            case.name,
            config.macs(),
            case.json["macs"]
        ));
    }
    match prior {
        Some(prior) if keep_prior => {
            let mut tensors = state_dict(&net);
            tensors.insert("sgt_layer.sgt_trans_mat".into(), prior);
            let (net, mismatch) = load_state_dict(net, tensors);
            if mismatch.is_empty() { Ok(net) } else { Err(mismatch.to_string()) }
        }
        _ => Ok(net),
    }
}

pub(super) fn network(case: &Case) -> Result<Outputs> {
    let config = config(case)?;
    let device = Device::flex();
    let keep = config.prior != Prior::RandomProb;
    let net = filled(case, &config, &device, keep)?;
    let names = case.output_names();
    let mut taps = Taps::new(names.iter().filter_map(|name| name.strip_prefix("act.")));
    let temperature = case.config_or("temperature", 30.0)?;
    let inputs = case.inputs();
    let (input, shape) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let out = if shape.len() == 4 {
        let x = cells_of(case.input::<4>(input, &device)?);
        map_of(net.forward_cells(x, temperature, &mut taps), config.grid).into_data()
    } else {
        net.forward_tapped(case.input::<3>(input, &device)?, temperature, &mut taps).into_data()
    };
    let mut outputs: Outputs =
        taps.into_data().into_iter().map(|(name, data)| (format!("act.{name}"), data)).collect();
    outputs.insert("out".into(), out);
    if let Some(sgt) = &net.sgt_layer {
        let owners: Vec<i64> = sgt.owners().into_iter().map(|joint| joint as i64).collect();
        outputs.insert("assignment".into(), TensorData::new(owners, [config.cells()]));
    }
    Ok(outputs)
}

/// Adam on consecutive slices of the stored poses; the loss before each step.
pub(super) fn training(case: &Case) -> Result<Outputs> {
    let config = config(case)?;
    let device = Device::flex().autodiff();
    let mut net = filled(case, &config, &device, true)?;
    let (steps, batch): (usize, usize) = (case.config("steps")?, case.config("batch")?);
    let temperatures: Vec<f64> = case.config_or("temperatures", vec![30.0; steps])?;
    let (input, target) = (case.input_data("input_joints")?, case.input_data("target_joints")?);
    let poses = input.shape()[0];
    if batch == 0 || !poses.is_multiple_of(batch) || temperatures.len() < steps {
        return Err(format!("{}: batches or temperatures do not fit", case.name));
    }
    let slice = |data: &TensorData, step: usize| {
        let width = data.shape()[2];
        let first = step * batch % poses;
        let values: Vec<f32> =
            data.iter::<f32>().skip(first * JOINTS * width).take(batch * JOINTS * width).collect();
        Tensor::<3>::from_data(TensorData::new(values, [batch, JOINTS, width]), &device)
    };
    let mut stepper = Stepper::new(Optimizer::AdamW(AdamW {
        rate: case.config("lr")?,
        betas: case.config("betas")?,
        epsilon: case.config("eps")?,
        decay: 0.0,
        least_rank: 0,
        exempt: Vec::new(),
    }));
    let mut outputs = Outputs::new();
    let mut losses = Vec::new();
    for (step, &temperature) in temperatures.iter().enumerate().take(steps) {
        let (found, wanted) = net.compared(slice(&input, step), slice(&target, step), temperature);
        if step == 0 {
            let first = found.clone();
            let data = if config.variant == Variant::AutoGrids {
                first.into_data()
            } else {
                map_of(first, config.grid).into_data()
            };
            outputs.insert("first_output".into(), data);
        }
        let loss = found.sub(wanted).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = loss.backward();
        if step == 0 {
            outputs.extend(parameter_gradients(&net, &grads, &Names::same()));
        }
        net = stepper.step(net, grads);
    }
    outputs.extend(state_dict(&net).into_iter().map(|(name, data)| (format!("after.{name}"), data)));
    outputs.insert("losses".into(), TensorData::new(losses, [steps]));
    Ok(outputs)
}

/// Parameters of a network of the published table.
pub(super) fn parameters(config: &Config) -> u64 {
    parameter_count(&config.init(&Device::flex())) as u64
}
