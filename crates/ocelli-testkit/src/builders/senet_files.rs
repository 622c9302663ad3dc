//! Cases of SENet that are no module: single operations and the reader of Caffe files.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ocelli_nn::state_dict::load_state_dict;
use ocelli_nn::weights::WeightFile;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, LinearConfig, MaxPool2d,
    axpy as scale_and_add, global_avg_pool,
};

use crate::case::{Case, Result};
use crate::run::{Outputs, device};

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
        conv: Conv2dConfig::new(channels_in, channels, kernel).bias(true).init(&device),
        bn: BatchNormConfig::new(channels).init(&device),
        classifier: LinearConfig::new(features, classes).init(&device),
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
