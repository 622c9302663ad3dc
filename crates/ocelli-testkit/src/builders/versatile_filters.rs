//! Cases of versatile filters. They name no builder: what is built follows from the configuration.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_image::backbone::resnet::{self, Block};
use ocelli_image::backbone::versatile_filters::{vgg, vgg_cifar};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_nn::mask_conv::orthogonality;
use ocelli_nn::{
    ChannelMode, ChannelWindow, Conv2dConfig, ConvKind, MaskConv2dConfig, MaskSharing, Taps, Versatile,
    VersatileConv2dConfig,
};
use serde_json::Value;

use crate::case::{Case, Result};
use crate::run::{Names, Outputs, check_counts, fill_module, parameter_gradients};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let has = |key: &str| !case.config[key].is_null();
    let at = |problem: String| format!("{}: {problem}", case.name);
    if has("depth") {
        network(case, resnet_config(case)?)
    } else if has("cfg") && (has("r") || has("n_basis")) {
        network(case, mask_vgg_config(case)?)
    } else if has("cfg") {
        network(case, vgg_config(case)?)
    } else if has("n_basis") {
        let sharing = sharing(case);
        let layer = MaskConv2dConfig::new(plain(case)?, case.config("n_basis")?).sharing(sharing);
        layer.check().map_err(at)?;
        masks(case, layer)
    } else if has("kernel_size") {
        let layer = VersatileConv2dConfig::new(plain(case)?)
            .spatial(case.config_or("spatial", true)?)
            .channel(window(case)?);
        layer.check().map_err(at)?;
        let layer = layer.init(&Device::flex().autodiff());
        single(case, layer, |layer, x| layer.forward(x)).map(|(outputs, _)| outputs)
    } else {
        Err(format!("{}: nothing can be built from {}", case.name, case.config))
    }
}

/// A number, or the same number for both axes.
fn side(case: &Case, key: &str, default: usize) -> Result<usize> {
    match &case.config[key] {
        Value::Array(both) if both.len() == 2 && both[0] == both[1] => both[0].as_u64().map(|n| n as usize),
        Value::Null => Some(default),
        single => single.as_u64().map(|n| n as usize),
    }
    .ok_or_else(|| format!("{}: config.{key} = {} is not one number", case.name, case.config[key]))
}

fn plain(case: &Case) -> Result<Conv2dConfig> {
    let kernel = side(case, "kernel_size", 1)?;
    if kernel == 0 {
        return Err(format!("{}: a kernel of no size", case.name));
    }
    Ok(Conv2dConfig::new(case.config("in_channels")?, case.config("out_channels")?, kernel)
        .stride(side(case, "stride", 1)?)
        .padding(side(case, "padding", 0)?)
        .dilation(side(case, "dilation", 1)?)
        .groups(case.config_or("groups", 1)?)
        .bias(case.config_or("bias", true)?))
}

fn window(case: &Case) -> Result<ChannelWindow> {
    Ok(ChannelWindow {
        delta: case.config_or("delta", 0)?,
        step: case.config_or("g", 1)?,
        mode: case.config_or("channel_mode", ChannelMode::Slide)?,
    })
}

/// The cases tell the two layers apart by their names.
fn sharing(case: &Case) -> MaskSharing {
    let variant = case.json["variant"].as_str().unwrap_or_default().to_lowercase();
    if variant.contains("share") { MaskSharing::Shared } else { MaskSharing::Separate }
}

fn resnet_config(case: &Case) -> Result<NetworkConfig> {
    let (block, layers) = match case.config::<u64>("depth")? {
        18 => (Block::Basic, [2, 2, 2, 2]),
        34 => (Block::Basic, [3, 4, 6, 3]),
        50 => (Block::Bottleneck, [3, 4, 6, 3]),
        101 => (Block::Bottleneck, [3, 4, 23, 3]),
        152 => (Block::Bottleneck, [3, 8, 36, 3]),
        depth => return Err(format!("{}: no ResNet of depth {depth}", case.name)),
    };
    // A number, or words such as "delta = g = in_channels/16 for ...".
    let channel = match &case.config["channel"] {
        Value::Null | Value::Bool(false) => None,
        Value::String(words) => {
            let digits: String = words
                .split('/')
                .nth(1)
                .into_iter()
                .flat_map(|rest| rest.chars().take_while(char::is_ascii_digit))
                .collect();
            let fraction = digits.parse().ok().filter(|&fraction| fraction > 0);
            Some(fraction.ok_or_else(|| format!("{}: no fraction of the channels in '{words}'", case.name))?)
        }
        _ => Some(case.config("channel")?),
    };
    let versatile = Versatile { spatial: case.config_or("spatial", true)?, channel };
    Ok(NetworkConfig::ResNet(resnet::Config {
        num_classes: case.config_or("num_classes", 1000)?,
        in_channels: case.config_or("in_channels", 3)?,
        ..resnet::Config::new(block, layers).with_versatile(versatile)
    }))
}

/// Letters as in the VGG paper, or `VGG16`.
fn depth(case: &Case) -> Result<vgg::Depth> {
    let name = case.config::<String>("cfg")?;
    match name.to_uppercase().as_str() {
        "A" | "VGG11" => Ok(vgg::Depth::Vgg11),
        "B" | "VGG13" => Ok(vgg::Depth::Vgg13),
        "D" | "VGG16" => Ok(vgg::Depth::Vgg16),
        "E" | "VGG19" => Ok(vgg::Depth::Vgg19),
        _ => Err(format!("{}: no VGG called {name}", case.name)),
    }
}

fn vgg_config(case: &Case) -> Result<NetworkConfig> {
    if window(case)?.count() > 1 {
        return Err(format!("{}: the released VGG has no channel windows", case.name));
    }
    Ok(NetworkConfig::VersatileVgg(vgg::Config {
        num_classes: case.config_or("num_classes", 1000)?,
        ..vgg::Config::new(depth(case)?, case.config_or("batch_norm", false)?)
    }))
}

fn mask_vgg_config(case: &Case) -> Result<NetworkConfig> {
    let conv = ConvKind::Mask { ratio: case.config_or("r", 4)?, sharing: sharing(case) };
    Ok(NetworkConfig::VersatileVggCifar(vgg_cifar::Config {
        stages: depth(case)?.stages(),
        num_classes: case.config_or("num_classes", 10)?,
        ..vgg_cifar::Config::new(conv)
    }))
}

/// A forward pass; places are called `act.PLACE`, the output `logits`.
fn network(case: &Case, config: NetworkConfig) -> Result<Outputs> {
    let device = Device::flex();
    let network = fill_module(case, config.init(&device), &Names::same())?;
    check_counts(case, &network, Network::forward_tapped)?;
    let places = case.output_names();
    let mut taps = Taps::new(places.iter().filter_map(|name| name.strip_prefix("act.")));
    let logits = network.forward_tapped(case.image(&device)?, &mut taps);
    let mut outputs: Outputs = Outputs::new();
    for (name, map) in taps.into_maps() {
        let name = format!("act.{name}");
        let flat = case.expected().iter().any(|output| output.name == name && output.shape.len() == 2);
        let data = if flat { map.flatten::<2>(1, 3).into_data() } else { map.into_data() };
        outputs.insert(name, data);
    }
    outputs.insert("logits".into(), logits.into_data());
    Ok(outputs)
}

/// A layer's output, loss and gradients, and the layer itself. Its tensors are called `PREFIX.NAME` where its input is
/// called `PREFIX.x`; the loss is the output's product with `PREFIX.r`.
fn single<M: Module>(
    case: &Case,
    layer: M,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<4>,
) -> Result<(Outputs, M)> {
    let device = Device::flex().autodiff();
    let prefix = case.inputs().into_iter().find_map(|(name, _)| Some(name.strip_suffix(".x")?.to_string()));
    let prefix = prefix.ok_or_else(|| format!("{}: no input called PREFIX.x", case.name))?;
    let names = Names { published: &|name| format!("{prefix}.{name}"), ignored: &|_| false };
    let layer = fill_module(case, layer, &names)?;
    check_counts(case, &layer, |layer, x, _| forward(layer, x))?;
    let x = case.input::<4>(&format!("{prefix}.x"), &device)?.require_grad();
    let y = forward(&layer, x.clone());
    let loss = y.clone().mul(case.input::<4>(&format!("{prefix}.r"), &device)?).sum();
    let grads = loss.backward();
    let mut outputs: Outputs = parameter_gradients(&layer, &grads, &Names::same())
        .into_iter()
        .map(|(name, grad)| (name.replacen("grad.", "grad_", 1), grad))
        .collect();
    if let Some(grad) = x.grad(&grads) {
        outputs.insert("grad_x".into(), grad.into_data());
    }
    // The same without gradients may take other kernels.
    let plain = layer.clone().valid();
    let inner = forward(&plain, case.input::<4>(&format!("{prefix}.x"), &Device::flex())?);
    let apart = inner.clone().sub(y.without_autodiff()).abs().max().into_scalar::<f32>();
    let size = inner.clone().abs().max().into_scalar::<f32>();
    if apart.is_nan() || apart > 1e-5 * size {
        return Err(format!("{}: the output without gradients is off by {apart:e}", case.name));
    }
    outputs.insert("y".into(), inner.into_data());
    outputs.insert("loss".into(), loss.into_data());
    Ok((outputs, layer))
}

fn masks(case: &Case, layer: MaskConv2dConfig) -> Result<Outputs> {
    let layer = layer.init(&Device::flex().autodiff());
    let (mut outputs, layer) = single(case, layer, |layer, x| layer.forward(x))?;
    outputs.insert("mask_sign".into(), layer.mask.val().sign().into_data());
    if let Some(penalty) = orthogonality(&layer) {
        let grads = penalty.backward();
        if let Some(grad) = layer.mask.val().grad(&grads) {
            outputs.insert("ortho_grad_mask".into(), grad.into_data());
        }
        outputs.insert("ortho_loss".into(), penalty.into_data());
    }
    Ok(outputs)
}
