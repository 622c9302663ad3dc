//! Cases of SENet beside the PyTorch networks: single operations, the authors' Caffe graphs, their weight files.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_image::backbone::senet::weights::{Layout, convert};
use ocelli_image::backbone::senet::{inception, legacy};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_nn::state_dict::load_state_dict;
use ocelli_nn::weights::WeightFile;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, LinearConfig, MaxPool2d, Taps,
    axpy as scale_and_add, global_avg_pool,
};

use super::network;
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device, run_module};

/// `scale · x + y` and its gradients.
pub(super) fn axpy(case: &Case) -> Result<Outputs> {
    let device = device(case);
    let scale: Tensor<2> = case.input("input_scale", &device)?.require_grad();
    let x: Tensor<4> = case.input("input_x", &device)?.require_grad();
    let y: Tensor<4> = case.input("input_y", &device)?.require_grad();
    let output = scale_and_add(scale.clone(), x.clone(), y.clone());
    let loss = output.clone().mul(case.input("input_grad", &device)?).sum();
    let grads = loss.backward();
    let gradients = [
        ("scale", scale.grad(&grads).map(Tensor::into_data)),
        ("x", x.grad(&grads).map(Tensor::into_data)),
        ("y", y.grad(&grads).map(Tensor::into_data)),
    ];
    let mut outputs =
        Outputs::from([("output".into(), output.into_data()), ("loss".into(), loss.into_data())]);
    for (name, data) in gradients {
        outputs.extend(data.map(|data| (format!("grad.{name}"), data)));
    }
    Ok(outputs)
}

/// Both rounding rules on every input `pool_HxW`.
pub(super) fn stem_pooling(case: &Case) -> Result<Outputs> {
    let (kernel, stride) = (case.config_or("kernel", 3)?, case.config_or("stride", 2)?);
    let mut outputs = Outputs::new();
    for (name, _) in case.inputs() {
        let x: Tensor<4> = case.input(&name, &device(case))?;
        let size = name.trim_start_matches("pool_");
        let caffe = MaxPool2d::caffe(kernel, stride).forward(x.clone());
        let modern = MaxPool2d::new(kernel, stride, kernel / 2).forward(x);
        outputs.insert(format!("caffe_{size}"), caffe.into_data());
        outputs.insert(format!("modern_{size}"), modern.into_data());
    }
    Ok(outputs)
}

/// A network of the authors' prototxts, its tensors under Caffe's names.
pub(super) fn caffe_graph(case: &Case) -> Result<Outputs> {
    use legacy::Block::{ResNeXt, ResNet, SeNet154};
    let net: String = case.config_or("net", "SE-BN-Inception".to_string())?;
    let classes = case.config_or("num_classes", 1000)?;
    if net.contains("Inception") {
        let reduction = net.starts_with("SE-").then_some(case.config_or("reduction", 16)?);
        let config = inception::Config { num_classes: classes, ..inception::Config::new(reduction) };
        return network(case, NetworkConfig::BnInception(config));
    }
    let block = match net.as_str() {
        name if name.contains("ResNeXt") => ResNeXt,
        name if name.contains("ResNet") => ResNet,
        _ => SeNet154,
    };
    let layers = match net.as_str() {
        _ if block == SeNet154 => [3, 8, 36, 3],
        name if name.contains("101") => [3, 4, 23, 3],
        name if name.contains("152") => [3, 8, 36, 3],
        _ => [3, 4, 6, 3],
    };
    let config = legacy::Config { num_classes: classes, ..legacy::Config::new(block, layers) };
    let deep = config.deep_stem;
    let caffe = |name: &str| convert(name, Layout::Legacy, Layout::Caffe, deep);
    let names =
        Names { published: &|name| caffe(name).unwrap_or_else(|| name.to_string()), ignored: &|_| false };
    let network = NetworkConfig::SeNet(config).init(&device(case));
    // Caffe's name of a map: a block's, such as `conv2_3`, or the stem's pooling.
    let place = |output: &str| -> Option<String> {
        if output.starts_with("pool1") {
            return Some("pool0".into());
        }
        let (stage, block) = output.strip_prefix("conv")?.split_once('_')?;
        let (stage, block): (usize, usize) = (stage.parse().ok()?, block.parse().ok()?);
        Some(format!("layer{}.{}", stage.checked_sub(1)?, block.checked_sub(1)?))
    };
    run_module(case, network, &names, |network: &Network, x, taps| {
        let places: Vec<(String, String)> =
            case.output_names().into_iter().filter_map(|name| Some((place(&name)?, name))).collect();
        let mut seen = Taps::new(places.iter().map(|(place, _)| place.clone()));
        let output = network.forward_tapped(x, &mut seen);
        for (place, name) in &places {
            if let Some(map) = seen.get(place) {
                taps.see(name, map);
            }
        }
        output
    })
}

/// The network of the small file: 1x1 convolution, norm, ReLU, average, classifier.
#[derive(Module, Debug)]
struct Tiny {
    conv: Conv2d,
    bn: BatchNorm,
    classifier: Linear,
}

/// Reads the file, offers every tensor by its name, and runs the network it describes.
pub(super) fn caffemodel(case: &Case) -> Result<Outputs> {
    let device: Device = device(case);
    let path = case.path.with_file_name(case.config::<String>("file")?);
    let tensors = WeightFile::read(&path).map_err(|error| error.to_string())?.tensors;
    let mut outputs: Outputs = tensors.clone();
    let shape = |name: &str| -> Result<Vec<usize>> {
        let data = tensors.get(name).ok_or_else(|| format!("{}: no tensor {name}", path.display()))?;
        Ok(data.shape().iter().copied().collect())
    };
    let (conv, classifier) = (shape("conv1.weight")?, shape("classifier.weight")?);
    let (&[channels, channels_in, kernel, _], &[classes, features]) =
        (conv.as_slice(), classifier.as_slice())
    else {
        return Err(format!("{}: weights of shapes {conv:?} and {classifier:?}", path.display()));
    };
    let tiny = Tiny {
        conv: Conv2dConfig::new(channels_in, channels, kernel)
            .bias(tensors.contains_key("conv1.bias"))
            .init(&device),
        bn: BatchNormConfig::new(channels).init(&device),
        classifier: LinearConfig::new(features, classes)
            .bias(tensors.contains_key("classifier.bias"))
            .init(&device),
    };
    let ours = |name: &str| {
        let name = name.replace("conv1/bn/scale", "bn").replace("conv1/bn", "bn");
        name.replace("conv1", "conv")
    };
    let (tiny, mismatch) =
        load_state_dict(tiny, tensors.iter().map(|(name, data)| (ours(name), data.clone())).collect());
    if !mismatch.is_empty() {
        return Err(format!("{}:{mismatch}", path.display()));
    }
    let hidden = Activation::Relu.forward(tiny.bn.forward(tiny.conv.forward(case.image(&device)?)));
    let output = tiny.classifier.forward(global_avg_pool(hidden.clone()).flatten::<2>(1, 3));
    outputs.insert("hidden".into(), hidden.into_data());
    outputs.insert("output".into(), output.into_data());
    Ok(outputs)
}
