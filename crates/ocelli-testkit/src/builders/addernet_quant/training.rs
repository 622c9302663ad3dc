//! Training: a small network's steps, codes that are trained through.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use ocelli_kernels::adder::sad::Coding;
use ocelli_nn::adder::{ETA, distances, fake_activations, fake_weights};
use ocelli_nn::state_dict::state_dict;
use ocelli_nn::{
    Activation, AdderConv2d, AdderConv2dConfig, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig,
    global_avg_pool,
};

use super::{Found, numbers, shape_of};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::{Names, Outputs, fill_module, parameter_gradients};
use crate::train::{Optimizer, Sgd, Stepper};

/// The tiny network of the case.
#[derive(Module, Debug)]
struct Tiny {
    conv1: Conv2d,
    bn1: BatchNorm,
    conv2: AdderConv2d,
    bn2: BatchNorm,
    conv3: AdderConv2d,
    bn3: BatchNorm,
    fc: Conv2d,
    bn4: BatchNorm,
}

impl Tiny {
    fn new(width: usize, classes: usize, device: &Device) -> Self {
        let norm = |features| BatchNormConfig::new(features).init(device);
        Self {
            conv1: Conv2dConfig::new(3, width, 3).init(device),
            bn1: norm(width),
            conv2: AdderConv2dConfig::new(width, 2 * width, 3).stride(2).init(device),
            bn2: norm(2 * width),
            conv3: AdderConv2dConfig::new(2 * width, 2 * width, 1).init(device),
            bn3: norm(2 * width),
            fc: Conv2dConfig::new(2 * width, classes, 1).init(device),
            bn4: norm(classes),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.bn1.forward_then(self.conv1.forward(x), Activation::Relu);
        let x = self.bn2.forward_then(self.conv2.forward(x), Activation::Relu);
        let x = self.bn3.forward_then(self.conv3.forward(x), Activation::Relu);
        self.bn4.forward(self.fc.forward(global_avg_pool(x))).flatten::<2>(1, 3)
    }
}

pub(super) fn steps(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let (classes, batch): (usize, usize) = (case.config("classes")?, case.config("batch")?);
    let steps: usize = case.config("steps")?;
    let own = Tiny::new(case.config("width")?, classes, &device);
    let mut net = fill_module(case, own, &Names::same())?;
    let labels: Vec<i64> = (0..batch).map(|i| (i % classes) as i64).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [batch, 1]), &device);
    let mut stepper: Option<Stepper> = None;
    let (mut losses, mut outputs) = (Vec::new(), Outputs::new());
    for t in 0..steps {
        let scores = log_softmax(net.forward(case.input(&format!("x{t}"), &device)?), 1);
        let loss = scores.gather(1, labels.clone()).mean().neg();
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = loss.backward();
        if t == 0 {
            for (name, data) in parameter_gradients(&net, &grads, &Names::same()) {
                outputs.insert(name.replacen("grad.", "grad0.", 1), data);
            }
        }
        // The authors' schedule counts epochs from 1 to 400.
        let rate = 0.05 * (1.0 + ((t + 1) as f64 / 400.0 * std::f64::consts::PI).cos());
        let sgd = Sgd {
            rate,
            momentum: case.config("momentum")?,
            decay: case.config("weight_decay")?,
            nesterov: false,
        };
        let own = stepper.get_or_insert_with(|| Stepper::new(Optimizer::Sgd(sgd)));
        own.set(Optimizer::Sgd(sgd));
        net = own.step(net, grads);
    }
    for (name, data) in state_dict(&net) {
        outputs.insert(format!("after.{name}"), data);
    }
    for output in case.output_names().into_iter().filter(|name| name.ends_with("num_batches_tracked")) {
        outputs.insert(output, TensorData::new(vec![steps as i64], [1]));
    }
    outputs.insert("losses".into(), TensorData::new(losses, [steps]));
    Ok(outputs)
}

/// One layer, one group, learned scale.
pub(super) fn fake(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let coding = Coding { bits: case.config("bits")?, signed: false };
    let factor: f32 =
        case.config::<String>("input")?.split('*').next().and_then(|f| f.trim().parse().ok()).unwrap_or(1.0);
    let rectified = case.config::<String>("input")?.contains("clamped at 0");
    let (x, dims) = numbers(case, "x")?;
    let x: Vec<f32> = x.iter().map(|x| if rectified { (x * factor).max(0.0) } else { x * factor }).collect();
    let shape = shape_of(case, "conv.adder")?;
    let tensor = |values: Vec<f32>, shape: &[usize]| {
        Tensor::<4>::from_data(TensorData::new(values, shape.to_vec()), &device)
    };
    let x = tensor(x, &dims).require_grad();
    let w = tensor(fill::parameter("conv.adder", &shape), &shape).require_grad();
    let scale: f64 = case.config("scale")?;
    let scale = Tensor::<1>::from_data(TensorData::new(vec![scale as f32], [1]), &device).require_grad();
    let (grad, grad_dims) = numbers(case, "grad_out")?;
    let grad = tensor(grad, &grad_dims);
    let (stride, padding): (usize, usize) = (case.config("stride")?, case.config("padding")?);
    let (a, q) =
        (fake_activations(x.clone(), scale.clone(), coding), fake_weights(w.clone(), scale.clone(), coding));
    let y = distances(a.clone(), q.clone(), stride, padding, ETA);
    let grads = y.clone().mul(grad.clone()).sum().backward();
    let missing = || format!("{}: a gradient is missing", case.name);
    let mut found = Found::default();
    found.0.insert("grad_x".into(), x.grad(&grads).ok_or_else(missing)?.into_data());
    found.0.insert("grad_adder".into(), w.grad(&grads).ok_or_else(missing)?.into_data());
    found.0.insert("grad_scale".into(), scale.grad(&grads).ok_or_else(missing)?.into_data());
    // The gradients between, at leaves of their own.
    let (a, q) = (a.detach().require_grad(), q.detach().require_grad());
    let grads = distances(a.clone(), q.clone(), stride, padding, ETA).mul(grad).sum().backward();
    found.0.insert("grad_aq".into(), a.grad(&grads).ok_or_else(missing)?.into_data());
    found.0.insert("grad_wq".into(), q.grad(&grads).ok_or_else(missing)?.into_data());
    found.0.insert("a_q".into(), a.into_data());
    found.0.insert("w_q".into(), q.into_data());
    found.0.insert("y".into(), y.into_data());
    Ok(found.0)
}
