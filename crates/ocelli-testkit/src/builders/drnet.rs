//! Cases of the dynamic resolution network. They name no builder: their settings tell what they are.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_image::backbone::drnet::decision::{Gate, choose, gumbel_noise, straight_through};
use ocelli_image::backbone::drnet::loss::flops_loss;
use ocelli_image::backbone::drnet::{
    ChainConfig, ClassifierConfig, Config, Joint, Net, PredictorConfig, ShortcutNorms, Stage, Training,
    TrainingMode,
};
use ocelli_image::backbone::resnet::{self, Block};
use ocelli_image::backbone::{Backbone, BackboneConfig};
use ocelli_nn::state_dict::{is_buffer, load_state_dict, specs, state_dict};
use ocelli_nn::{ResizeRule, Taps, cost, resize_bilinear};
use serde_json::Value;

use crate::case::{Case, Result};
use crate::fill;
use crate::run::{Names, Outputs, check_listed, parameter_gradients, tensors_after};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let has = |key: &str| !case.config[key].is_null();
    if has("bn_selection") {
        classifier(case)
    } else if has("candidates") {
        predictor(case)
    } else if has("conventions") {
        resizing(case)
    } else if has("taus") {
        gumbel(case)
    } else if has("alphas") {
        hinge(case)
    } else if has("optimizer") {
        training(case)
    } else if has("predictor_input") {
        end_to_end(case)
    } else {
        Err(format!("{}: these settings belong to no known case: {}", case.name, case.config))
    }
}

/// The first input whose name ends in `ending`.
fn given(case: &Case, ending: &str) -> Result<Vec<f32>> {
    let (name, _) = case
        .inputs()
        .into_iter()
        .find(|(name, _)| name == ending || name.ends_with(&format!(".{ending}")))
        .ok_or_else(|| format!("{}: no input called {ending}", case.name))?;
    case.input_data(&name)?.try_into_vec::<f32>().map_err(|error| format!("{}: {name}: {error}", case.name))
}

/// `[rows, columns]` of the first input.
fn first_shape(case: &Case) -> Result<[usize; 2]> {
    let shape = case.inputs().into_iter().next().map(|(_, shape)| shape).unwrap_or_default();
    shape.try_into().map_err(|shape| format!("{}: an input of shape {shape:?}", case.name))
}

fn whole(numbers: &[usize]) -> TensorData {
    TensorData::new(numbers.iter().map(|&n| n as i32).collect::<Vec<_>>(), [numbers.len()])
}

fn shortcut_norms(case: &Case) -> ShortcutNorms {
    // Words such as "always set 0 (as released)", or the set itself.
    let always = match &case.config["shortcut_bn"] {
        Value::String(text) => text.contains("always"),
        Value::Number(set) => set.as_u64() == Some(0),
        _ => false,
    };
    if always { ShortcutNorms::Always0 } else { ShortcutNorms::Selected }
}

/// Names in the case's list of the reference's state dict, if it has one.
fn listed(case: &Case) -> Vec<String> {
    let list = case.json["state_dict"].as_str().map(|list| case.path.with_file_name(list));
    let text = list.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().next().map(str::to_string)).collect()
}

/// One more than the largest number that follows `before` in any of `names`; 0 if none does.
fn count_after(names: &[String], before: &str) -> usize {
    let number = |name: &String| {
        let (_, rest) = name.split_once(before)?;
        rest.split('.').next()?.parse::<usize>().ok()
    };
    names.iter().filter_map(number).max().map_or(0, |largest| largest + 1)
}

fn resnet(case: &Case) -> Result<Config> {
    // The classifier's depth is told by the list of its tensors where the settings are silent.
    let names: Vec<String> =
        listed(case).into_iter().filter(|name| !name.starts_with("predictor.")).collect();
    let told = [1, 2, 3, 4].map(|stage| count_after(&names, &format!("layer{stage}.")));
    let told = if told.contains(&0) { [3, 4, 6, 3] } else { told };
    let layers = case.config_or("layers", told)?;
    Ok(Config {
        classifier: ClassifierConfig::ResNet(resnet::Config::new(Block::Bottleneck, layers)),
        shortcut_norms: shortcut_norms(case),
        num_classes: case.config_or("num_classes", 1000)?,
        ..Config::resnet(layers)
    })
}

/// `net` with every tensor filled by its published name without the part's prefix, if `bare`. Of the parts whose names
/// begin with `part`, the case's list of names and count of parameters are checked.
fn filled(case: &Case, net: Net, part: &str, bare: bool, listed_bare: bool) -> Result<Net> {
    let strip = |name: &str| {
        let bare = name.strip_prefix("predictor.").or(name.strip_prefix("classifier."));
        bare.unwrap_or(name).to_string()
    };
    let overrides: BTreeMap<&str, &TensorData> = case.state_overrides().collect();
    let (mut listed, mut tensors, mut count) = (BTreeMap::new(), BTreeMap::new(), 0);
    for spec in specs(&net) {
        let published = net.published_name(&spec.name).into_owned();
        if published.starts_with(part) {
            let name = if listed_bare { strip(&published) } else { published.clone() };
            listed.insert(name, spec.shape.clone());
            if !is_buffer(&spec.name) {
                count += spec.shape.iter().product::<usize>() as u64;
            }
        }
        let name = if bare { strip(&published) } else { published };
        let data = match overrides.get(name.as_str()) {
            Some(data) => (*data).clone(),
            None => TensorData::new(fill::parameter(&name, &spec.shape), spec.shape.clone()),
        };
        tensors.insert(spec.name, data);
    }
    check_listed(case, &listed, &|_| false)?;
    if let Some(stated) = case.json["params"].as_u64()
        && stated != count
    {
        return Err(format!("{}: {count} parameters, the case has {stated}", case.name));
    }
    let (net, mismatch) = load_state_dict(net, tensors);
    if mismatch.is_empty() { Ok(net) } else { Err(format!("{}:{mismatch}", case.name)) }
}

fn check_macs(case: &Case, net: &Net, forward: impl FnOnce(&Net, Tensor<4>) -> Tensor<2>) -> Result<()> {
    let shape = case.inputs().into_iter().next().and_then(|(_, shape)| <[usize; 4]>::try_from(shape).ok());
    if let (Some(stated), Some([_, channels, height, width])) = (case.json["macs"].as_u64(), shape) {
        let macs = cost::macs(net, [1, channels, height, width], forward);
        if macs != stated {
            return Err(format!("{}: {macs} multiply-accumulates, the case has {stated}", case.name));
        }
    }
    Ok(())
}

/// Maps asked for as `act.PLACE`, and the logits.
fn tapped(case: &Case, forward: impl FnOnce(&mut Taps) -> Tensor<2>) -> Outputs {
    let ours = |name: &str| name.trim_start_matches("act.").replace("down_sample_layer", "downsample");
    let names = case.output_names();
    let mut taps = Taps::new(names.iter().map(|name| ours(name)));
    let logits = forward(&mut taps);
    let mut outputs: Outputs = names
        .iter()
        .filter_map(|name| Some((name.clone(), taps.get(&ours(name))?.clone().into_data())))
        .collect();
    outputs.insert("logits".into(), logits.into_data());
    outputs
}

fn classifier(case: &Case) -> Result<Outputs> {
    let device = Device::flex();
    let mut config = resnet(case)?;
    // Only their number matters to a classifier alone.
    let told = count_after(&listed(case), ".bn_");
    let sets: usize = case.config_or("bn_sets", if told < 2 { 3 } else { told })?;
    config.resolutions = (0..sets).map(|set| 224 - set).collect();
    let net = filled(case, config.init(&device), "classifier.", true, true)?;
    let set: usize = case.config("bn_selection")?;
    check_macs(case, &net, |net, x| net.classify(set, x, &mut Taps::none()))?;
    let x = case.image(&device)?;
    Ok(tapped(case, |taps| net.classify(set, x, taps)))
}

fn predictor(case: &Case) -> Result<Outputs> {
    let device = Device::flex();
    let candidates: usize = case.config("candidates")?;
    let standard = ChainConfig::predictor();
    let chain = ChainConfig {
        widths: case.config_or("widths", standard.widths.clone())?,
        blocks: case.config_or("blocks", standard.blocks.clone())?,
        ..standard
    };
    let config = Config {
        resolutions: (0..candidates).map(|index| 224 - index).collect(),
        predictor: PredictorConfig::Residual(chain),
        // A classifier there has to be.
        classifier: ClassifierConfig::Residual(small()),
        ..Config::resnet([1; 4])
    };
    let net = filled(case, config.init(&device), "predictor.", true, true)?;
    check_macs(case, &net, |net, x| net.predict(x, &mut Taps::none()))?;
    let x = case.image(&device)?;
    Ok(tapped(case, |taps| net.predict(x, taps)))
}

fn rule(case: &Case, name: &str) -> Result<ResizeRule> {
    match name {
        "half_pixel" => Ok(ResizeRule::HalfPixel),
        "asymmetric" => Ok(ResizeRule::Asymmetric),
        _ => Err(format!("{}: no way of resizing is called '{name}'", case.name)),
    }
}

fn resizing(case: &Case) -> Result<Outputs> {
    let x = case.image(&Device::flex())?;
    let mut outputs = Outputs::new();
    for convention in case.config::<Vec<String>>("conventions")? {
        let rule = rule(case, &convention)?;
        for side in case.config::<Vec<usize>>("to")? {
            let resized = resize_bilinear(x.clone(), [side; 2], rule);
            outputs.insert(format!("{convention}_{side}"), resized.into_data());
        }
    }
    Ok(outputs)
}

fn scores(case: &Case, device: &Device) -> Result<Tensor<2>> {
    let scale: f32 = case.config_or("input_scale", 1.0)?;
    let values = given(case, "logits")?.into_iter().map(|v| v * scale).collect();
    Ok(Tensor::from_data(TensorData::new(values, first_shape(case)?), device))
}

fn gumbel(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let shape = first_shape(case)?;
    let uniform: Vec<f64> = given(case, "u")?.into_iter().map(f64::from).collect();
    let noise = gumbel_noise(&uniform, case.config_or("eps", 1e-10)?);
    let weights = Tensor::<2>::from_data(TensorData::new(given(case, "r")?, shape), &device);
    let mut outputs = Outputs::new();
    outputs.insert("noise".into(), TensorData::new(noise.clone(), shape));
    let plain = scores(case, &device)?.into_data().try_into_vec::<f32>().map_err(|e| format!("{e}"))?;
    outputs.insert("argmax_no_noise".into(), whole(&choose(&plain, shape[1])));
    for tau in case.config::<Vec<f64>>("taus")? {
        let scores = scores(case, &device)?.require_grad();
        let Gate { soft, hard, choice } = straight_through(scores.clone(), noise.clone(), tau);
        let grads = hard.clone().mul(weights.clone()).sum().backward();
        let gradient = scores.grad(&grads).ok_or_else(|| format!("{}: no gradient", case.name))?;
        let (gradient, soft) = (gradient.into_data(), soft.into_data());
        // 1.0 is written as "1.0" or "1".
        for tau in [format!("{tau:?}"), format!("{tau}")] {
            outputs.insert(format!("st_grad_tau{tau}"), gradient.clone());
            outputs.insert(format!("soft_tau{tau}_own"), soft.clone());
            outputs.insert(format!("soft_tau{tau}"), soft.clone());
        }
        outputs.insert("hard".into(), hard.into_data());
        outputs.insert("choice".into(), whole(&choice));
    }
    Ok(outputs)
}

fn hinge(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let costs: Vec<f64> = case.config("C_gmacs")?;
    let weight: f64 = case.config("eta")?;
    let [rows, columns] = first_shape(case)?;
    let mut outputs = Outputs::new();
    for target in case.config::<Vec<f64>>("alphas")? {
        let scores = scores(case, &device)?.require_grad();
        let gate = straight_through(scores.clone(), vec![0.0; rows * columns], case.config_or("tau", 1.0)?);
        let zeros = || TensorData::new(vec![0f32; rows * columns], [rows, columns]);
        let loss = flops_loss(gate.hard.clone(), &costs, target);
        let grads = loss.value.clone().mul_scalar(weight).backward();
        let grad = scores.grad(&grads).map_or_else(zeros, Tensor::into_data);
        let leaf = gate.hard.detach().require_grad();
        let grads = flops_loss(leaf.clone(), &costs, target).value.mul_scalar(weight).backward();
        let results = [
            ("grad_logits", grad),
            ("grad_h", leaf.grad(&grads).map_or_else(zeros, Tensor::into_data)),
            ("flops_per_sample", loss.per_picture.into_data()),
            ("reg", loss.value.into_data()),
        ];
        for target in [format!("{target:?}"), format!("{target}")] {
            outputs.extend(results.iter().map(|(name, data)| (format!("{name}_a{target}"), data.clone())));
        }
    }
    Ok(outputs)
}

/// The pictures of the end-to-end cases: the filled ones, each louder than the one before; every second of three with a
/// ramp along its width, every third with a falling one along its height.
fn photos(case: &Case) -> Result<(Vec<f32>, [usize; 4])> {
    let (name, shape) = case.inputs().into_iter().next().unwrap_or_default();
    let shape = <[usize; 4]>::try_from(shape).map_err(|s| format!("{}: {name} is {s:?}", case.name))?;
    let [_, channels, height, width] = shape;
    let mut values = given(case, &name)?;
    let ramp = |i: usize, n: usize| -1.0 + 2.0 * i as f32 / (n.max(2) - 1) as f32;
    for (image, pixels) in values.chunks_exact_mut(channels * height * width).enumerate() {
        for (i, value) in pixels.iter_mut().enumerate() {
            let (row, column) = (i / width % height, i % width);
            *value *= 0.5 + 0.5 * image as f32;
            match image % 3 {
                1 => *value += ramp(column, width),
                2 => *value -= ramp(row, height),
                _ => {}
            }
        }
    }
    Ok((values, shape))
}

fn end_to_end(case: &Case) -> Result<Outputs> {
    let device = Device::flex();
    let config = Config {
        resolutions: case.config("resolutions")?,
        predictor_input: case.config("predictor_input")?,
        resize: rule(case, &case.config_or("resize", "half_pixel".to_string())?)?,
        ..resnet(case)?
    };
    let net = filled(case, config.init(&device), "", true, false)?;
    let bias = TensorData::from(given(case, "predictor_end_point_bias")?.as_slice());
    let mut tensors = state_dict(&net);
    tensors.insert("predictor.end_point.bias".into(), bias);
    let (net, mismatch) = load_state_dict(net, tensors);
    if !mismatch.is_empty() {
        return Err(format!("{}:{mismatch}", case.name));
    }
    let (pixels, shape) = photos(case)?;
    let x = Tensor::<4>::from_data(TensorData::new(pixels, shape), &device);
    let scores = net.scores(x.clone()).into_data();
    let choice = if case.config_or("gumbel_noise", false)? {
        // As the released evaluation does, with stored numbers behind the noise.
        let uniform: Vec<f64> = given(case, "u")?.into_iter().map(f64::from).collect();
        let noisy: Vec<f32> = scores
            .iter::<f32>()
            .zip(gumbel_noise(&uniform, case.config_or("eps", 1e-10)?))
            .map(|(score, noise)| score + noise)
            .collect();
        choose(&noisy, net.config().resolutions.len())
    } else {
        net.route(x.clone()).decisions.into_iter().map(|decision| decision.index).collect()
    };
    let costs = net.costs([shape[2], shape[3]]).giga();
    let mean = choice.iter().map(|&j| costs[j]).sum::<f64>() / choice.len().max(1) as f64;
    Ok(Outputs::from([
        ("scores".to_string(), scores),
        ("choice".to_string(), whole(&choice)),
        ("logits".to_string(), net.classify_at(x, &choice).into_data()),
        ("average_classifier_gmacs".to_string(), TensorData::new(vec![mean as f32], [1])),
    ]))
}

/// The small network of the training cases.
fn small() -> ChainConfig {
    ChainConfig { kernel: 3, stride: 2, pool: false, widths: vec![8, 16], blocks: vec![1, 1] }
}

fn training(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let words = format!("{} {} {}", case.config["mode"], case.json["variant"], case.name);
    let says = |word: &str| words.contains(word);
    let training = Training {
        stage: if says("pretrain") { Stage::Pretrain } else { Stage::Joint },
        mode: if says("dense") { TrainingMode::Dense } else { TrainingMode::Split },
        flops_target: Some(case.config("alpha")?),
        flops_weight: case.config("eta")?,
        temperature: case.config_or("tau", 1.0)?,
        ..Default::default()
    };
    let config = Config {
        resolutions: case.config("resolutions")?,
        predictor_input: case.config("predictor_input")?,
        predictor: PredictorConfig::Residual(small()),
        classifier: ClassifierConfig::Residual(small()),
        num_classes: case.config("classes")?,
        training,
        ..Config::resnet([1; 4])
    };
    let resolutions = config.resolutions.clone();
    let net = filled(case, config.init(&device), "", false, false)?;
    let costs: Vec<f64> = case.config("C_mmacs")?;
    let image: usize = case.config("image")?;
    for (ours, theirs) in net.costs([image; 2]).candidates.into_iter().zip(&costs) {
        if (ours as f64 / 1e6 - theirs).abs() > 1e-9 {
            return Err(format!("{}: {ours} multiply-accumulates, the case has {theirs} M", case.name));
        }
    }
    let x = case.image(&device)?;
    let targets = targets(case, net.config().num_classes, &device)?;
    let mut outputs = Outputs::new();
    let loss = if net.config().training.stage == Stage::Pretrain {
        let step = net.pretrain(x, targets);
        for ((side, logits), entropy) in resolutions.iter().zip(step.logits).zip(step.cross_entropy) {
            outputs.insert(format!("logits_{side}"), logits.into_data());
            outputs.insert(format!("ce_{side}"), entropy.into_data());
        }
        step.loss
    } else {
        let uniform: Vec<f64> = given(case, "u")?.into_iter().map(f64::from).collect();
        let Joint { scores, gate, logits, flops, cross_entropy, loss } =
            net.joint(x, targets, &uniform, &costs);
        outputs.insert("scores".into(), scores.into_data());
        outputs.insert("soft".into(), gate.soft.into_data());
        outputs.insert("choice".into(), whole(&gate.choice));
        outputs.insert("logits".into(), logits.into_data());
        outputs.insert("ce".into(), cross_entropy.into_data());
        outputs.insert("reg".into(), flops.value.into_data());
        outputs.insert("mean_flops".into(), flops.mean.into_data());
        loss
    };
    outputs.insert("loss".into(), loss.clone().into_data());
    let names = Names { published: &|name| net.published_name(name).into_owned(), ignored: &|_| false };
    let grads = parameter_gradients(&net, &loss.backward(), &names);
    outputs.extend(stepped(case, &net, &grads)?);
    outputs.extend(tensors_after(&net, &names));
    outputs.extend(grads);
    Ok(outputs)
}

/// One-hot labels `[batch, classes]`.
fn targets(case: &Case, classes: usize, device: &Device) -> Result<Tensor<2>> {
    let labels: Vec<i64> = case.input_data("labels")?.iter::<i64>().collect();
    let mut rows = vec![0f32; labels.len() * classes];
    for (row, &label) in rows.chunks_exact_mut(classes).zip(&labels) {
        let place = usize::try_from(label).ok().and_then(|label| row.get_mut(label));
        *place.ok_or_else(|| format!("{}: label {label} of {classes} classes", case.name))? = 1.0;
    }
    Ok(Tensor::from_data(TensorData::new(rows, [labels.len(), classes]), device))
}

/// `step.NAME` of every parameter after the first step of SGD with decay: momentum has nothing to add yet.
fn stepped(case: &Case, net: &Net, grads: &Outputs) -> Result<Outputs> {
    let settings = &case.config["optimizer"];
    let number =
        |key: &str| settings[key].as_f64().ok_or_else(|| format!("{}: no config.optimizer.{key}", case.name));
    let decay = number("weight_decay")? as f32;
    let rates = [number("lr_predictor")? as f32, number("lr_classifier")? as f32];
    let mut outputs = Outputs::new();
    for (name, data) in state_dict(net) {
        let name = net.published_name(&name).into_owned();
        let shape = data.shape().clone();
        let mut values = data.try_into_vec::<f32>().map_err(|error| format!("{name}: {error}"))?;
        if let Some(grad) = grads.get(&format!("grad.{name}")) {
            let rate = rates[usize::from(name.starts_with("classifier."))];
            let grad = grad.as_slice::<f32>().map_err(|error| format!("{name}: {error}"))?;
            for (value, grad) in values.iter_mut().zip(grad) {
                *value -= rate * (grad + decay * *value);
            }
        }
        outputs.insert(format!("step.{name}"), TensorData::new(values, shape));
    }
    Ok(outputs)
}
