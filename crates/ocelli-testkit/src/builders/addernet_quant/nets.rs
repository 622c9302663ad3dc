//! Whole networks: re-estimated norms, codes, energy.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_compress::adder::energy::{Arithmetic, Operations};
use ocelli_compress::adder::network::{self, Layer};
use ocelli_compress::adder::{Plan, Settings};
use ocelli_image::backbone::addernet::{self, Block, cifar};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_nn::Taps;
use ocelli_nn::adder::with_codes;
use ocelli_nn::state_dict::{load_state_dict, name_param_ids, specs, state_dict};

use super::layers::settings;
use super::{Found, text, weights};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::{Outputs, check_listed};

/// The network that `name` speaks of (`adder ResNet-20`, `resnet18_224`), and the side of its pictures.
fn config(name: &str, classes: Option<usize>) -> Result<(NetworkConfig, usize)> {
    let lower = name.to_lowercase().replace('-', "");
    let depth: String =
        lower.split("resnet").nth(1).unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    let large = |block, layers| (NetworkConfig::AdderResNet(addernet::Config::new(block, layers)), 224);
    let (mut config, side) = match depth.parse::<usize>() {
        Ok(18) => large(Block::Basic, [2, 2, 2, 2]),
        Ok(34) => large(Block::Basic, [3, 4, 6, 3]),
        Ok(50) => large(Block::Bottleneck, [3, 4, 6, 3]),
        Ok(101) => large(Block::Bottleneck, [3, 4, 23, 3]),
        Ok(depth) if depth % 6 == 2 => {
            (NetworkConfig::AdderResNetCifar(cifar::Config::new((depth - 2) / 6)), 32)
        }
        _ => return Err(format!("no network called '{name}'")),
    };
    if let Some(classes) = classes {
        config.set_num_classes(classes);
    }
    Ok((config, side))
}

/// Multiply-accumulates and distances of a picture.
fn operations(network: &Network, [channels, height, width]: [usize; 3]) -> Operations {
    let mut found = Operations::default();
    for layer in network.layer_costs([channels, height, width]) {
        if layer.kind == "adder" { found.distances += layer.macs } else { found.macs += layer.macs }
    }
    found
}

/// The network on a device where norms look at their batch, filled; adder weights have the case's factors.
fn filled(case: &Case, input: &str) -> Result<Network> {
    let device = Device::flex().autodiff();
    let classes = case.config["num_classes"].as_u64().map(|n| n as usize);
    let (config, _) = config(&case.config::<String>("model")?, classes)?;
    // Costs are counted on a device of their own.
    let plain = config.init(&Device::flex());
    let network = name_param_ids(config.init(&device));
    let ours: BTreeMap<String, Vec<usize>> =
        specs(&network).into_iter().map(|spec| (spec.name, spec.shape)).collect();
    check_listed(case, &ours, &|_| false)?;
    let mut tensors = BTreeMap::new();
    for (name, shape) in ours {
        let data = if name.ends_with(".adder") {
            weights(case, &name, &shape)?
        } else {
            fill::parameter(&name, &shape)
        };
        tensors.insert(name, TensorData::new(data, shape));
    }
    let (network, mismatch) = load_state_dict(network, tensors);
    if !mismatch.is_empty() {
        return Err(format!("{}:{mismatch}", case.name));
    }
    let params = specs(&network)
        .iter()
        .filter(|spec| !ocelli_nn::state_dict::is_buffer(&spec.name))
        .map(|spec| spec.shape.iter().product::<usize>() as u64)
        .sum::<u64>();
    let shape = case.inputs().into_iter().find(|(name, _)| name == input).map(|(_, shape)| shape);
    let [_, channels, height, width] = <[usize; 4]>::try_from(shape.unwrap_or_default())
        .map_err(|_| format!("{}: no picture", case.name))?;
    let counted = operations(&plain, [channels, height, width]);
    let stated = |key: &str, own: u64| match case.json[key].as_u64() {
        Some(theirs) if theirs != own => Err(format!("{}: {own} {key}, the case has {theirs}", case.name)),
        _ => Ok(()),
    };
    stated("params", params)?;
    stated("adder_ops", counted.distances)?;
    stated("macs", counted.macs)?;
    Ok(network)
}

fn pictures(case: &Case, names: &[String], device: &Device) -> Result<Vec<Tensor<4>>> {
    names.iter().map(|name| case.input::<4>(name, device)).collect()
}

/// The running statistics under a prefix.
fn statistics(found: &mut Found, network: &Network, prefix: &str) {
    for (name, data) in state_dict(network) {
        if ocelli_nn::state_dict::is_buffer(&name) {
            found.0.insert(format!("{prefix}{name}"), data);
        }
    }
}

/// Output and taps of the network in evaluation.
fn evaluate(case: &Case, network: &Network, prefix: &str) -> Result<(TensorData, Vec<(String, TensorData)>)> {
    let network = network.valid();
    let wanted = case.output_names();
    let mut taps = Taps::new(wanted.iter().filter_map(|name| name.strip_prefix(prefix)));
    let logits = network.forward_tapped(case.input("x", &Device::flex())?, &mut taps).into_data();
    let seen = taps.into_data().into_iter().map(|(name, data)| (format!("{prefix}{name}"), data));
    Ok((logits, seen.collect()))
}

pub(super) fn float(case: &Case) -> Result<Outputs> {
    let network = filled(case, "x")?;
    let names: Vec<String> = case.config["bn_reestimate"]["batches"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_string))
        .collect();
    let batches = pictures(case, &names, &Device::flex().autodiff())?;
    network::reestimate(batches, |x| drop(network.forward(x)));
    let mut found = Found::default();
    statistics(&mut found, &network, "bn.");
    let (logits, seen) = evaluate(case, &network, "act.")?;
    found.0.insert("logits".into(), logits);
    found.0.extend(seen);
    Ok(found.0)
}

/// The whole flow; its last step once more from the case's own scales and statistics, which single flipped codes would change.
pub(super) fn post_training(case: &Case) -> Result<Outputs> {
    let settings = settings(case)?;
    let network = filled(case, "x")?;
    let device = Device::flex().autodiff();
    let names: Vec<String> = case.config("calib")?;
    let mut found = Found::default();

    let first = pictures(case, &names[..1.min(names.len())], &device)?;
    network::reestimate(first, |x| drop(network.forward(x)));
    statistics(&mut found, &network, "bn_float.");
    let (logits, _) = evaluate(case, &network, "act.")?;
    found.0.insert("logits_float".into(), logits);

    let plain = network.valid();
    let looked = pictures(case, &names, &Device::flex())?;
    let reaches = network::calibrate(looked, settings.alpha, |x| drop(plain.forward(x)));
    let layers = network::plan_all(&network, &reaches, &settings, &Default::default()).map_err(text)?;
    for Layer { found: own, plan } in &layers {
        let name = |what: &str| format!("q.{}.{what}", own.name);
        found.list(name("act_range"), vec![plan.reach]);
        found.list(name("group_scale"), plan.scales.clone());
        found.list(name("bias_extra"), plan.extra.clone());
        found.whole(name("labels"), &[plan.labels.len()], &plan.labels);
    }
    let codes = network::codes(&layers, &settings);
    let batches = pictures(case, &names, &device)?;
    network::reestimate_with(&codes, batches, |x| drop(network.forward(x)));
    statistics(&mut found, &network, "bn_quant.");
    let (logits, _) = with_codes(&codes, || evaluate(case, &network, "actq."))?;
    whole_flow(case, &logits)?;

    let (network, layers) = given(case, network, layers, &settings)?;
    let codes = network::codes(&layers, &settings);
    let (logits, seen) = with_codes(&codes, || evaluate(case, &network, "actq."))?;
    found.0.insert("logits_quant".into(), logits);
    // The cases call them samples of the float network; what they hold are the same numbers, to the bit, as for that of codes.
    found.0.extend(seen.iter().map(|(name, data)| (name.replacen("actq.", "act.", 1), data.clone())));
    found.0.extend(seen);
    for Layer { found: own, plan } in &layers {
        found.whole(format!("q.{}.w_int", own.name), &own.shape, &plan.codes);
    }
    Ok(found.0)
}

/// The logits of the whole flow, within what the case admits of them.
fn whole_flow(case: &Case, logits: &TensorData) -> Result<()> {
    let (Some(tolerance), Some(want)) =
        (case.json["tolerance"]["logits_quant_rel_whole_flow"].as_f64(), case.stored.get("logits_quant"))
    else {
        return Ok(());
    };
    let scale = want.iter::<f64>().fold(0.0, |a: f64, b| a.max(b.abs()));
    let error =
        logits.iter::<f64>().zip(want.iter::<f64>()).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()));
    let error = error / scale;
    if error <= tolerance {
        return Ok(());
    }
    Err(format!(
        "{}: logits of the whole flow differ by {error:.2e}, admitted are {tolerance:.2e}",
        case.name
    ))
}

/// Network and layers with the statistics and scales that the case holds, where it holds them.
fn given(
    case: &Case,
    network: Network,
    mut layers: Vec<Layer>,
    settings: &Settings,
) -> Result<(Network, Vec<Layer>)> {
    let stored = |name: &str| case.stored.get(name);
    let mut tensors = state_dict(&network);
    for (name, data) in &mut tensors {
        if let Some(own) = stored(&format!("bn_quant.{name}")) {
            *data = own.clone();
        }
    }
    let (network, mismatch) = load_state_dict(network, tensors);
    if !mismatch.is_empty() {
        return Err(format!("{}:{mismatch}", case.name));
    }
    let coding = settings.coding();
    for Layer { found, plan } in &mut layers {
        let list = |what: &str| stored(&format!("q.{}.{what}", found.name));
        let (Some(scales), Some(labels), Some(extra), Some(reach)) =
            (list("group_scale"), list("labels"), list("bias_extra"), list("act_range"))
        else {
            continue;
        };
        let scales: Vec<f32> = scales.iter::<f32>().collect();
        let labels: Vec<u8> = labels.iter::<i64>().map(|label| label as u8).collect();
        let reach = reach.iter::<f32>().next().unwrap_or(plan.reach);
        let size = found.weights.len() / labels.len().max(1);
        let extra: Vec<f32> = extra.iter::<f32>().collect();
        let code = |(i, w): (usize, &f32)| {
            let scale = scales[usize::from(labels[i / size])];
            // Clamping is what the code's own range does where the scale is the activations'.
            coding.weight(if extra[i / size] < 0.0 { w.clamp(-reach, reach) } else { *w }, scale)
        };
        let codes = found.weights.iter().enumerate().map(code).collect();
        *plan = Plan { reach, labels, codes, extra, scales: scales.clone(), ..plan.clone() };
    }
    Ok((network, layers))
}

pub(super) fn energy(case: &Case) -> Result<Outputs> {
    let mut found = Found::default();
    let nets: Vec<String> = case.config("nets")?;
    for name in nets {
        let (config, side) = config(&name, None)?;
        let own = operations(&config.init(&Device::flex()), [3, side, side]);
        found.whole(format!("{name}.counts"), &[2], &[own.macs as i64, own.distances as i64]);
        let rows = [Arithmetic::Float32, Arithmetic::Int(8)]
            .map(|arithmetic| [own.as_products(), own].map(|own| own.microjoules(arithmetic) as f32));
        found.floats(format!("{name}.energy_uJ"), &[2, 2], rows.concat());
    }
    Ok(found.0)
}
