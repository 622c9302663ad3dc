//! A few steps of joint training, with the product's loss and optimiser.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, TensorData};
use ocelli_nn::state_dict::{load_state_dict, parameter_count, state_dict};
use ocelli_train::{AdamW, OptimizerConfig, OptimizerKind, by_rate};
use ocelli_video::deliver::chunks::reference_chunk;
use ocelli_video::deliver::train::{is_modulation, joint_loss};

use super::{config, planes};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module, parameter_gradients};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let config = config(case)?;
    let device = Device::flex().autodiff();
    let fresh = config.build(&device);
    // All is filled but the mean colours.
    let constants = state_dict(&fresh);
    let mut tensors = state_dict(&fill_module(case, fresh.clone(), &Names::same())?);
    tensors.extend(constants.into_iter().filter(|(name, _)| name.contains("_mean.")));
    let (mut net, mismatch) = load_state_dict(fresh, tensors);
    if !mismatch.is_empty() {
        return Err(mismatch.to_string());
    }
    let count = parameter_count(&net) as u64;
    if case.json["params"].as_u64().is_some_and(|stated| stated != count) {
        return Err(format!("{}: {count} parameters, the case has {}", case.name, case.json["params"]));
    }
    let steps: usize = case.config("steps")?;
    let mode: String = case.config("mode")?;
    let frames: Vec<String> = case.config("frames")?;
    let length: String = case.config("train_length")?;
    let segments: usize = case.config("segnum")?;
    let parse = |text: &String| text.parse::<usize>().map_err(|error| format!("{}: {error}", case.name));
    let length = parse(&length)?;
    let chunks: Vec<Option<usize>> = frames
        .iter()
        .map(|frame| {
            Ok(if mode == "m0" { Some(0) } else { reference_chunk(parse(frame)?, length, segments) })
        })
        .collect::<Result<_>>()?;
    let orders: Option<Vec<Vec<usize>>> = case.config_or("batch_order", None)?;
    let betas: [f64; 2] = case.config("betas")?;
    let settings = OptimizerConfig {
        kind: OptimizerKind::AdamW,
        betas: [betas[0], betas[1]],
        eps: case.config("eps")?,
        weight_decay: 0.0,
        ..Default::default()
    };
    let rate: f64 = case.config("lr")?;
    let mut optimizer: ModuleOptimizer = AdamW::new(settings).into();
    let (low, high) = (case.input_data("lr_u8")?, case.input_data("hr_u8")?);
    let mut outputs = Outputs::new();
    let mut losses = Vec::new();
    for step in 0..steps {
        let order = match &orders {
            Some(orders) => orders[step % orders.len()].clone(),
            None => (0..frames.len()).collect(),
        };
        let pick = |data: &TensorData| {
            let size: usize = data.shape()[1..].iter().product();
            let values: Vec<f32> = data.iter::<f32>().collect();
            let kept = order.iter().flat_map(|&at| values[at * size..(at + 1) * size].to_vec()).collect();
            let mut shape: Vec<usize> = data.shape().to_vec();
            shape[0] = order.len();
            TensorData::new(kept, shape)
        };
        let own: Vec<Option<usize>> = order.iter().map(|&at| chunks[at]).collect();
        let (low, high) = (planes(&pick(&low), &device), planes(&pick(&high), &device));
        let loss = joint_loss(&config, &net, low, high, &own)
            .ok_or_else(|| format!("{}: a batch without chunks", case.name))?;
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = loss.backward();
        if step == 0 {
            let found = parameter_gradients(&net, &grads, &Names::same());
            for name in case.json["no_grad"].as_array().into_iter().flatten().filter_map(|name| name.as_str())
            {
                if found.contains_key(&format!("grad.{name}")) && step == 0 && orders.is_none() {
                    return Err(format!("{}: {name} has a gradient", case.name));
                }
            }
            outputs.extend(found);
        }
        let grads = GradientsParams::from_grads(grads, &net);
        let factor = |name: &str| f64::from(u8::from(mode != "finetune" || is_modulation(name)));
        for (factor, grads) in
            by_rate(&net, grads, |name| if name.contains("_mean.") { 0.0 } else { factor(name) })
        {
            net = optimizer.step(rate * factor, net, grads);
        }
    }
    outputs.extend(state_dict(&net).into_iter().map(|(name, data)| (format!("after.{name}"), data)));
    outputs.insert("losses".into(), TensorData::new(losses, [steps]));
    Ok(outputs)
}
