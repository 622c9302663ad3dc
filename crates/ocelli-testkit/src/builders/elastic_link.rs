//! Cases of binary convolutions, ReActNet and Elastic-Link.

use burn::module::Module;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use ocelli_image::backbone::elastic_link::Bottleneck;
use ocelli_image::backbone::reactnet::{self, resnet};
use ocelli_image::backbone::{cross_entropy, distillation, smoothed};
use ocelli_image::network::Network;
use ocelli_image::zoo;
use ocelli_kernels::Isa;
use ocelli_kernels::binary::{
    Extent, Filters, Norm, Padding, Threshold, pack_filters, pack_rows, sums, words,
};
use ocelli_kernels::conv::Window;
use ocelli_nn::binary::{
    BinaryConv2d, BinaryConv2dConfig, Estimator, FlatBinaryConv2d, link, sign, weight_scale,
};
use ocelli_nn::state_dict::{load_state_dict, parameter_count, state_dict};
use ocelli_nn::{Conv2dConfig, Taps, cost};

use crate::case::{Case, Result};
use crate::fill;
use crate::run::{Names, Outputs, fill_module, parameter_gradients, tensors_after};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let has = |key: &str| !case.config[key].is_null();
    match case.name.as_str() {
        _ if has("model") => network(case),
        _ if has("variants") => signs(case),
        _ if has("student_mult") => distilled(case),
        _ if has("weight_multiplier") => convolution(case),
        _ if has("mid") => bottleneck(case),
        _ if has("inplanes") => react_block(case),
        _ if has("bn_eps") => packed(case),
        _ if has("el") => linked(case),
        _ => super::unknown(case),
    }
}

fn gradient<const D: usize>(case: &Case, x: &Tensor<D>, grads: &Gradients) -> Result<TensorData> {
    let grad = x.grad(grads).ok_or_else(|| format!("{}: no gradient", case.name))?;
    Ok(grad.into_data())
}

/// The names of a case's module: its own behind `prefix`.
fn behind(prefix: &'static str) -> impl Fn(&str) -> String {
    move |name| format!("{prefix}.{name}")
}

/// `module` with the case's parameters, which are called `prefix.NAME`.
fn filled<M: Module>(case: &Case, module: M, prefix: &'static str) -> Result<M> {
    let published = behind(prefix);
    let module = fill_module(case, module, &Names { published: &published, ignored: &|_| false })?;
    check_parameters(case, parameter_count(&module))?;
    Ok(module)
}

fn check_parameters(case: &Case, ours: usize) -> Result<()> {
    match case.json["params"].as_u64() {
        Some(theirs) if theirs != ours as u64 => {
            Err(format!("{}: {ours} parameters, the case has {theirs}", case.name))
        }
        _ => Ok(()),
    }
}

/// Output, gradients of `sum(y · g)` and statistics of a block, in training or evaluation.
fn block<M: Module>(case: &Case, module: M, forward: impl Fn(&M, Tensor<4>) -> Tensor<4>) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let module = filled(case, module, "blk")?;
    let module = match case.config_or("train_mode", false)? {
        true => module,
        // Running statistics, and gradients none the less.
        false => module.freeze().set_require_grad(true),
    };
    let x = case.input::<4>("x", &device)?.require_grad();
    let y = forward(&module, x.clone());
    let grads = y.clone().mul(case.input("g", &device)?).sum().backward();
    let mut outputs = parameter_gradients(&module, &grads, &Names::same());
    outputs.insert("grad_x".into(), gradient(case, &x, &grads)?);
    outputs.insert("y".into(), y.into_data());
    outputs.extend(tensors_after(&module, &Names::same()));
    Ok(outputs)
}

fn react_block(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let (from, to): (usize, usize) = (case.config("inplanes")?, case.config("planes")?);
    let stride = case.config("stride")?;
    let names = case.state_dict_names();
    let el = names.iter().any(|name| name.contains(".el"));
    if names.iter().any(|name| name.ends_with("binary_conv.weight")) {
        let module = resnet::Block::new(from, to, stride, el, &device);
        return block(case, module, resnet::Block::forward);
    }
    block(case, reactnet::Block::new(from, to, stride, el, &device), reactnet::Block::forward)
}

fn bottleneck(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let module = Bottleneck::new(
        case.config("cin")?,
        case.config("mid")?,
        case.config("stride")?,
        case.config("el")?,
        &device,
    );
    block(case, module, Bottleneck::forward)
}

/// The sign and its gradients.
fn signs(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let x = case.input::<1>("x", &device)?;
    let upstream = case.input::<1>("grad_out", &device)?;
    let mut outputs = Outputs::new();
    let mut variants: Vec<String> = case.config("variants")?;
    variants.push("reactnet".into());
    for variant in variants {
        let x = x.clone().require_grad();
        let grads = sign(x.clone(), estimator(case, &variant)?).mul(upstream.clone()).sum().backward();
        outputs.insert(format!("{variant}.grad"), gradient(case, &x, &grads)?);
    }
    outputs.insert("sign_deploy".into(), sign(x.clone(), Estimator::Approx).into_data());
    // What the reference's training code has: the same but at zero.
    outputs.insert("sign_train_ref".into(), x.sign().into_data());
    Ok(outputs)
}

fn estimator(case: &Case, name: &str) -> Result<Estimator> {
    match name {
        "identity" => Ok(Estimator::Identity),
        "hardtanh" => Ok(Estimator::HardTanh),
        "approx" | "reactnet" => Ok(Estimator::Approx),
        _ => Err(format!("{}: no estimator is called '{name}'", case.name)),
    }
}

/// The window of a case's convolution.
fn window(kernel: usize, stride: usize, padding: usize) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], pad: [padding; 2], dilation: [1; 2] }
}

/// Words of a map's signs, `[batch, height, width, words]`.
pub(super) fn packed_map(x: &TensorData) -> Result<Vec<u64>> {
    let shape = x.shape();
    let [channels, area] = [shape[1], shape[2] * shape[3]];
    let values = x.as_slice::<f32>().map_err(|error| error.to_string())?;
    let rows: Vec<f32> = (0..values.len())
        .map(|i| values[(i / (area * channels) * channels + i % channels) * area + i / channels % area])
        .collect();
    Ok(pack_rows(Isa::best(), &rows, channels))
}

/// Exact sums of the signs of `x` and `weights`, `[batch, height', width', outputs]`.
pub(super) fn exact_sums(
    x: &TensorData,
    weights: &[f32],
    outputs: usize,
    [kernel, stride, padding]: [usize; 3],
    beyond: Padding,
) -> Result<(Vec<i32>, [usize; 4])> {
    let shape = x.shape();
    let [batch, channels, height, width] = [shape[0], shape[1], shape[2], shape[3]];
    let filters = Filters::of_weights(weights, outputs, channels, [kernel; 2]);
    let extent = Extent {
        batch,
        size: [height, width],
        window: window(kernel, stride, padding),
        pad_end: [padding; 2],
        padding: beyond,
    };
    let small = || "a map smaller than the window".to_string();
    let [oh, ow] = extent.output().ok_or_else(small)?;
    let found = sums(Isa::best(), &filters, &extent, &packed_map(x)?).ok_or_else(small)?;
    Ok((found, [batch, oh, ow, outputs]))
}

/// Channels-last sums as `[batch, outputs, height, width]`.
pub(super) fn channels_first(sums: &[i32], [batch, height, width, outputs]: [usize; 4]) -> TensorData {
    let area = height * width;
    let values: Vec<i64> = (0..sums.len())
        .map(|i| {
            let (picture, out, pixel) = (i / (area * outputs), i / area % outputs, i % area);
            i64::from(sums[(picture * area + pixel) * outputs + out])
        })
        .collect();
    TensorData::new(values, [batch, outputs, height, width])
}

fn convolution(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let size = |key: &str| case.config::<usize>(key);
    let (channels, out, kernel) = (size("in_channels")?, size("out_channels")?, size("kernel")?);
    let (stride, padding) = (size("stride")?, size("padding")?);
    let plain = Conv2dConfig::new(channels, out, kernel).stride(stride).padding(padding);
    let layer = BinaryConv2dConfig::new(plain).init_flat(&device);
    let layer: FlatBinaryConv2d = filled(case, layer, "bconv")?;
    let factor: f32 = case.config("weight_multiplier")?;
    let tensors = state_dict(&layer)
        .into_iter()
        .map(|(name, data)| {
            let shape = data.shape().clone();
            (name, TensorData::new(data.iter::<f32>().map(|w| w * factor).collect::<Vec<_>>(), shape))
        })
        .collect();
    let (layer, _) = load_state_dict(layer, tensors);
    let x = case.input::<4>("x", &device)?.require_grad();
    let y = layer.forward(x.clone());
    let grads = y.clone().mul(case.input("g", &device)?).sum().backward();
    let weights = layer.weights.val();
    let of_weights = weights.grad(&grads).ok_or("no gradient of the weights")?;
    let numbers: Vec<f32> = weights.clone().into_data().iter::<f32>().collect();
    let (sums, shape) =
        exact_sums(&case.input_data("x")?, &numbers, out, [kernel, stride, padding], Padding::Zero)?;
    let mean = layer.activation_mean(x.clone());
    Ok([
        ("alpha".to_string(), weight_scale(weights.reshape([out as i32, -1])).into_data()),
        ("acc_int".into(), channels_first(&sums, shape)),
        ("grad_x".into(), gradient(case, &x, &grads)?),
        ("grad_weights".into(), of_weights.reshape([out, channels, kernel, kernel]).into_data()),
        ("xnor_K".into(), mean.clone().into_data()),
        ("y_xnor".into(), y.clone().mul(mean).into_data()),
        ("y".into(), y.into_data()),
    ]
    .into())
}

/// A convolution and its link.
fn linked(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let size = |key: &str| case.config::<usize>(key);
    let (channels, out, kernel) = (size("in_channels")?, size("out_channels")?, size("kernel")?);
    let (stride, groups) = (size("stride")?, size("groups")?);
    let plain = Conv2dConfig::new(channels, out, kernel).stride(stride).groups(groups);
    let own = BinaryConv2dConfig::new(plain)
        .estimator(estimator(case, &case.config::<String>("ste")?)?)
        .activation_scale(case.config("xnor_activation_scale")?)
        .elastic_link(case.config("el")?);
    own.check().map_err(|problem| format!("{}: {problem}", case.name))?;
    let layer: BinaryConv2d = filled(case, own.init(&device), "elm")?;
    let text: String = case.config_or("input", "fill".to_string())?;
    let factor = text.split_once('*').map_or(Ok(1.0), |(factor, _)| factor.parse::<f32>());
    let factor = factor.map_err(|error| format!("{}: input '{text}': {error}", case.name))?;
    let x = case.input::<4>("x", &device)?.mul_scalar(factor).detach().require_grad();
    let y = layer.forward(x.clone());
    let grads = y.clone().mul(case.input("g", &device)?).sum().backward();
    let mut outputs: Outputs = [
        ("grad_x".to_string(), gradient(case, &x, &grads)?),
        ("grad_weight".into(), gradient(case, &layer.weight.val(), &grads)?),
    ]
    .into();
    let mut binary = y.clone();
    if let Some(el) = &layer.el {
        outputs.insert("grad_el".into(), gradient(case, &el.weight.val(), &grads)?);
        outputs.insert("link".into(), link(x.clone(), out, stride).into_data());
        binary = binary.sub(el.forward(x, out, stride));
    }
    outputs.insert("binary".into(), binary.into_data());
    outputs.insert("y".into(), y.into_data());
    Ok(outputs)
}

fn distilled(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let scaled = |name: &str, key: &str| -> Result<Tensor<2>> {
        Ok(case.input::<2>(name, &device)?.mul_scalar(case.config::<f32>(key)?).detach())
    };
    let teacher = scaled("teacher", "teacher_mult")?;
    let [batch, classes] = teacher.dims();
    let hot: Vec<f32> =
        (0..batch * classes).map(|i| f32::from(u8::from(i % classes == i / classes % classes))).collect();
    let hot = Tensor::<2>::from_data(TensorData::new(hot, [batch, classes]), &device);
    let targets = smoothed(hot, case.config("smooth")?);
    let mut outputs = Outputs::new();
    for name in ["kd", "ls"] {
        let student = scaled("student", "student_mult")?.require_grad();
        let loss = match name {
            "kd" => distillation(student.clone(), teacher.clone()),
            _ => cross_entropy(student.clone(), targets.clone()),
        };
        let grads = loss.backward();
        outputs.insert(format!("{name}_grad"), gradient(case, &student, &grads)?);
        outputs.insert(format!("{name}_loss"), loss.into_data());
    }
    Ok(outputs)
}

/// Words as the whole numbers a case stores them as.
pub(super) fn word_data<const D: usize>(words: &[u64], shape: [usize; D]) -> TensorData {
    TensorData::new(words.iter().map(|&word| word as i64).collect::<Vec<_>>(), shape)
}

/// Packing, exact sums, and a batch norm between two signs as a comparison.
fn packed(case: &Case) -> Result<Outputs> {
    let size = |key: &str| case.config::<usize>(key);
    let (channels, out, kernel) = (size("channels")?, size("out")?, size("kernel")?);
    let (stride, padding) = (size("stride")?, size("padding")?);
    let x = case.input_data("x")?;
    let weights = fill::parameter("w.weight", &[out, channels, kernel, kernel]);
    let per_filter = channels * kernel * kernel;
    let of = |name: &str, factor: f64, plus: f64| -> Vec<f32> {
        fill::uniform(name, out).map(|v| (plus + factor * v) as f32).collect()
    };
    let (mut gamma, beta) = (of("bn.gamma", 1.0, 0.0), of("bn.beta", 3.0, 0.0));
    let (mean, variance) = (of("bn.mean", 8.0, 0.0), of("bn.var", 0.5, 1.0));
    gamma[0] = 0.0;
    let epsilon = case.config("bn_eps")?;
    let thresholds: Vec<Threshold> = (0..out)
        .map(|c| {
            let own = &weights[c * per_filter..][..per_filter];
            let alpha = own.iter().map(|w| f64::from(w.abs())).sum::<f64>() / per_filter as f64;
            let norm = Norm { gamma: gamma[c], beta: beta[c], mean: mean[c], variance: variance[c], epsilon };
            Threshold::fold(&norm, alpha as f32, 0.0)
        })
        .collect();
    let geometry = [kernel, stride, padding];
    let (zero, shape) = exact_sums(&x, &weights, out, geometry, Padding::Zero)?;
    let (plus, _) = exact_sums(&x, &weights, out, geometry, Padding::Plus)?;
    let whole =
        |sums: &[i32]| TensorData::new(sums.iter().map(|&sum| i64::from(sum)).collect::<Vec<_>>(), shape);
    let [batch, oh, ow, _] = shape;
    let bits: Vec<f32> = zero
        .iter()
        .enumerate()
        .map(|(i, &sum)| if thresholds[i % out].is_negative(sum) { -1.0 } else { 1.0 })
        .collect();
    let bits = pack_rows(Isa::best(), &bits, out);
    let (height, width) = (size("H")?, size("W")?);
    let row = |values: Vec<i64>| TensorData::new(values, [out]);
    Ok([
        ("x_packed".to_string(), word_data(&packed_map(&x)?, [batch, height, width, words(channels)])),
        (
            "w_packed".into(),
            word_data(
                &pack_filters(&weights, out, channels, [kernel; 2]),
                [out, kernel, kernel, words(channels)],
            ),
        ),
        ("acc_zero_pad".into(), whole(&zero)),
        ("acc_plus1_pad".into(), whole(&plus)),
        ("threshold".into(), row(thresholds.iter().map(|own| own.bound.into()).collect())),
        ("flip".into(), row(thresholds.iter().map(|own| own.flip.into()).collect())),
        ("bits_packed".into(), word_data(&bits, [batch, oh, ow, words(out)])),
    ]
    .into())
}

/// A whole network in evaluation.
fn network(case: &Case) -> Result<Outputs> {
    let model: String = case.config("model")?;
    let el = model.starts_with("el_");
    let name = match () {
        _ if model.contains("reactnet") => model.trim_end_matches("_bireal"),
        _ if model.contains("resnet26") && el => "el_resnet26",
        _ if model.contains("resnet26") => "resnet26_binary",
        _ if model.contains("mobilenet") && el => "el_mobilenet_v1",
        _ if model.contains("mobilenet") => "mobilenet_v1_binary",
        _ => model.as_str(),
    };
    let entry = zoo::entry(name).map_err(|error| format!("{}: {error}", case.name))?;
    let network = entry.config().init(&Device::flex());
    run_network(case, network)
}

/// Logits and the maps called `act.NAME`; counts must be the case's.
pub(super) fn run_network(case: &Case, network: Network) -> Result<Outputs> {
    let network = fill_module(case, network, &Names::same())?;
    check_parameters(case, network.parameter_count())?;
    let x = case.image(&Device::flex())?;
    let [_, channels, height, width] = x.dims();
    let layers = cost::layers(&network, [1, channels, height, width], |network, x| network.forward(x));
    for (key, binary) in [("binary_macs", true), ("float_macs", false)] {
        let own = layers.iter().filter(|layer| (layer.kind == "binary_conv") == binary);
        let ours: u64 = own.map(|layer| layer.macs).sum();
        if let Some(theirs) = case.json[key].as_u64().filter(|theirs| *theirs != ours) {
            return Err(format!("{}: {ours} {key}, the case has {theirs}", case.name));
        }
    }
    let names = case.output_names();
    let mut taps = Taps::new(names.iter().filter_map(|name| name.strip_prefix("act.")).map(str::to_string));
    let logits = network.forward_tapped(x, &mut taps);
    let mut outputs: Outputs =
        taps.into_data().into_iter().map(|(name, data)| (format!("act.{name}"), data)).collect();
    outputs.insert("logits".into(), logits.into_data());
    Ok(outputs)
}
