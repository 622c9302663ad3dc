//! Learned steps and re-estimated statistics.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::fake_quant::{CodeRange, learned_step};
use ocelli_nn::{Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig};

use super::{Found, numbers};
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module};

pub(super) fn lsq(case: &Case) -> Result<Outputs> {
    let range = CodeRange { low: case.config("lo")?, high: case.config("hi")? };
    let scale: f64 = case.config("scale")?;
    let device = Device::flex().autodiff();
    let (v, shape) = numbers(case, "v")?;
    let (g, _) = numbers(case, "v.grad")?;
    // The case says what the filled numbers are multiplied by.
    let factor: f32 =
        case.config::<String>("input")?.split('*').next().and_then(|f| f.parse().ok()).unwrap_or(1.0);
    let v: Vec<f32> = v.into_iter().map(|v| v * factor).collect();
    let count = v.len();
    let v = Tensor::<1>::from_data(TensorData::new(v, [count]), &device).require_grad();
    let g = Tensor::<1>::from_data(TensorData::new(g, [count]), &device);
    let step = Tensor::<1>::from_data(TensorData::new(vec![scale as f32], [1]), &device).require_grad();
    let y = learned_step(v.clone(), step.clone(), range);
    let mut found = Found::default();
    let codes: Vec<i64> =
        y.clone().into_data().iter::<f64>().map(|y| (y / f64::from(scale as f32)).round() as i64).collect();
    found.whole("q", &shape, &codes);
    let grads = (y.clone() * g).sum().backward();
    let data = |tensor: Option<Tensor<1>>| tensor.ok_or("no gradient").map(Tensor::into_data);
    found.0.insert("grad_v".into(), data(v.grad(&grads))?);
    found.0.insert("grad_scale".into(), data(step.grad(&grads))?);
    found.doubles("grad_scale_factor", &[1.0 / (count as f64 * f64::from(range.high)).sqrt()]);
    found.list("init_scale", vec![range.initial_step(&v)]);
    found.0.insert("y".into(), y.into_data());
    Ok(found.0)
}

/// `0` a convolution, `1` its norm, `3` and `4` likewise.
#[derive(Module, Debug)]
struct Net {
    conv0: Conv2d,
    norm1: BatchNorm,
    conv3: Conv2d,
    norm4: BatchNorm,
}

impl Net {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = Activation::Relu.forward(self.norm1.forward(self.conv0.forward(x)));
        self.norm4.forward(self.conv3.forward(x))
    }
}

pub(super) fn reestimation(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let net = Net {
        conv0: Conv2dConfig::new(3, 5, 3).stride(2).init(&device),
        norm1: BatchNormConfig::new(5).init(&device),
        conv3: Conv2dConfig::new(5, 4, 1).init(&device),
        norm4: BatchNormConfig::new(4).init(&device),
    };
    let published = |name: &str| {
        let (layer, leaf) = name.split_once('.').unwrap_or((name, ""));
        format!("r.{}.{leaf}", layer.trim_start_matches(|c: char| c.is_ascii_alphabetic()))
    };
    let names = Names { published: &published, ignored: &|_| false };
    let net = fill_module(case, net, &names)?;
    let batches: Result<Vec<Tensor<4>>> = case
        .inputs()
        .iter()
        .filter(|(name, _)| name.starts_with('b'))
        .map(|(name, _)| case.input(name, &device))
        .collect();
    for (i, x) in batches?.into_iter().enumerate() {
        ocelli_nn::with_momentum(1.0 / (i + 1) as f64, || net.forward(x));
    }
    let net = net.valid();
    let mut found = Found::default();
    for (prefix, norm) in [("1", &net.norm1), ("4", &net.norm4)] {
        let mean = norm.running_mean.value_sync().into_data();
        let variance = norm.running_var.value_sync().into_data();
        found.0.insert(format!("{prefix}.running_mean"), mean);
        found.0.insert(format!("{prefix}.running_var"), variance);
    }
    found.0.insert("y".into(), net.forward(case.input("x", &Device::flex())?).into_data());
    Ok(found.0)
}
