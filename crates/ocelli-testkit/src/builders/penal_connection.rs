//! Cases of the penal connection: the operator alone, and small networks that take it.

use burn::module::{Module, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, module};
use ocelli_image::backbone::resnet::{BasicBlock, Norms};
use ocelli_nn::init::zeros;
use ocelli_nn::penal::{self, PenalConnection, penal, residual};
use ocelli_nn::state_dict::state_dict;
use ocelli_nn::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvKind, LayerNorm, Linear, LinearConfig,
    Taps, global_avg_pool,
};

use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module, parameter_gradients};
use crate::train::{Optimizer, Stepper};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    match case.name.as_str() {
        name if name.starts_with("hook") => hook(case, &device),
        name if name.starts_with("readme") => readme(case, &device),
        name if name.starts_with("scaling") => scaling(case, &device),
        name if name.starts_with("mlp") => {
            let module = fill_module(case, Mlp::new(case, &device)?, &Names::same())?;
            let x: Tensor<2> = input(case, &device)?;
            host(case, module, |module| module.forward(x.clone()))
        }
        name if name.starts_with("resnet") => {
            let module = fill_module(case, ResNet::new(case, &device)?, &Names::same())?;
            let x: Tensor<4> = input(case, &device)?;
            host(case, module, |module| module.forward(x.clone()))
        }
        name if name.starts_with("transformer") => {
            let module = fill_module(case, Transformer::new(case, &device)?, &Names::same())?;
            let ids = Tensor::<2, Int>::from_data(case.input_data("ids")?, &device);
            host(case, module, |module| module.forward(ids.clone()))
        }
        _ => super::unknown(case),
    }
}

/// The case's input that is filled.
fn input<const D: usize>(case: &Case, device: &Device) -> Result<Tensor<D>> {
    let found = case.inputs().into_iter().map(|(name, _)| name).find(|name| name.ends_with(".x"));
    case.input(&found.ok_or_else(|| format!("{}: no input", case.name))?, device)
}

fn labels(case: &Case, device: &Device) -> Result<Tensor<2, Int>> {
    let data = case.input_data("labels")?;
    let count = data.num_elements();
    Ok(Tensor::<1, Int>::from_data(data, device).reshape([count, 1]))
}

/// Cross entropy, mean over the batch.
fn cross_entropy(logits: Tensor<2>, labels: Tensor<2, Int>) -> Tensor<1> {
    log_softmax(logits, 1).gather(1, labels).mean().neg()
}

/// Every place where a connection may stand, and what it does to the gradient there.
fn hook(case: &Case, device: &Device) -> Result<Outputs> {
    let tau: f32 = case.config("tau")?;
    let named = |end: &str| -> Result<Tensor<2>> {
        let name = case.inputs().into_iter().map(|(name, _)| name).find(|name| name.ends_with(end));
        case.input(&name.ok_or_else(|| format!("{}: no input {end}", case.name))?, device)
    };
    let g = named(".g")?;
    let grad = |loss: &dyn Fn(Tensor<2>) -> Tensor<1>| -> Result<TensorData> {
        let z = named(".z")?.require_grad();
        let grads = loss(z.clone()).backward();
        Ok(z.grad(&grads).ok_or("no gradient")?.into_data())
    };
    let weighted = |z: Tensor<2>| z.mul(g.clone()).sum();
    let layer = PenalConnection::new(tau);
    let idle = layer.valid();
    Ok([
        ("grad_once".to_string(), grad(&|z| weighted(penal(z, tau)))?),
        (
            "grad_z_used_twice".into(),
            grad(&|z| {
                let z = layer.forward(z);
                weighted(z.clone()).add(weighted(z.clone().mul(z)))
            })?,
        ),
        ("grad_stacked_twice".into(), grad(&|z| weighted(penal(penal(z, tau), tau)))?),
        ("grad_eval_module".into(), grad(&|z| weighted(idle.forward(z)))?),
    ]
    .into())
}

/// The authors' example: the layer form in `fc_2`, the function form behind `fc_3`.
#[derive(Module, Debug)]
struct Readme {
    fc_1: Linear,
    fc_2: (Linear, PenalConnection),
    fc_3: Linear,
    fc_4: Linear,
    tau: f32,
}

impl Readme {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.fc_1.forward(x);
        let (linear, connection) = &self.fc_2;
        let x = connection.forward(linear.forward(x.clone())).add(x);
        let x = penal(self.fc_3.forward(x.clone()), self.tau).add(x);
        self.fc_4.forward(x)
    }
}

fn readme(case: &Case, device: &Device) -> Result<Outputs> {
    let mut outputs = Outputs::new();
    let steps: usize = case.config_or("steps", 10)?;
    let optimizer = Optimizer::parse(&case.config::<String>("optimizer")?)?;
    let x: Tensor<2> = input(case, device)?;
    for (name, tau) in taus(case)? {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let module = Readme {
            fc_1: linear(1, 4),
            fc_2: (linear(4, 4), PenalConnection::new(tau)),
            fc_3: linear(4, 4),
            fc_4: linear(4, 1),
            tau,
        };
        let mut module = fill_module(case, module, &Names::same())?;
        let mut stepper = Stepper::new(optimizer.clone());
        let mut losses = Vec::new();
        for step in 0..steps {
            let loss = module.forward(x.clone()).square().sum();
            losses.push(loss.clone().into_scalar::<f32>());
            let grads = loss.backward();
            if step == 0 {
                outputs.extend(prefixed(&name, parameter_gradients(&module, &grads, &Names::same())));
            }
            module = stepper.step(module, grads);
        }
        outputs.insert(format!("{name}.losses"), TensorData::new(losses, [steps]));
        let after = state_dict(&module).into_iter();
        outputs.extend(after.map(|(key, data)| (format!("{name}.after{steps}.{key}"), data)));
    }
    Ok(outputs)
}

/// The strengths of a case, as the outputs' names spell them.
fn taus(case: &Case) -> Result<Vec<(String, f32)>> {
    let values: Vec<f64> = case.config("taus")?;
    let names: Vec<String> = case.output_names();
    let spelled = |tau: f64| {
        let own = names.iter().filter_map(|name| {
            let rest = name.strip_prefix("tau")?;
            let end = rest.find(|c: char| c.is_alphabetic() && c != 'e')?;
            let number = rest[..end].trim_end_matches('.');
            (number.parse::<f64>().ok()? == tau).then(|| format!("tau{number}"))
        });
        own.into_iter().next().ok_or_else(|| format!("{}: no outputs for tau {tau}", case.name))
    };
    values.into_iter().map(|tau| Ok((spelled(tau)?, tau as f32))).collect()
}

fn prefixed(prefix: &str, outputs: Outputs) -> Outputs {
    outputs.into_iter().map(|(name, data)| (format!("{prefix}.{name}"), data)).collect()
}

/// A network at all strengths: gradients, one optimiser step, the loss after it; agreement without a penalty.
fn host<M: Module>(case: &Case, module: M, forward: impl Fn(&M) -> Tensor<2>) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let labels = labels(case, &device)?;
    let (logits, branches) = penal::observe(|| forward(&module.clone()));
    let loss = cross_entropy(logits.clone(), labels.clone());
    let grads = loss.clone().backward();
    let efficiency: Vec<f32> =
        penal::efficiency(&branches, &grads).into_iter().map(|value| value as f32).collect();
    let square: f64 = branches
        .iter()
        .map(|branch| branch.step.clone().into_data().iter::<f64>().map(|v| v * v).sum::<f64>())
        .sum();
    let mut outputs: Outputs = [
        ("ce".to_string(), loss.into_data()),
        ("logits".into(), logits.into_data()),
        ("sum_z_sq".into(), TensorData::new(vec![square as f32], [1])),
        ("efficiency".into(), TensorData::new(efficiency, [branches.len()])),
    ]
    .into();
    let optimizer = Optimizer::parse(&case.config::<String>("optimizer")?)?;
    for (name, tau) in taus(case)? {
        // Running statistics are shared by clones: they do not enter in training mode.
        let module = module.clone();
        let loss = penal::with_tau(tau, || cross_entropy(forward(&module), labels.clone()));
        let grads = loss.backward();
        outputs.extend(prefixed(&name, parameter_gradients(&module, &grads, &Names::same())));
        let mut stepper = Stepper::new(optimizer.clone());
        let module = stepper.step(module, grads);
        outputs.insert(format!("{name}.grad_norm"), TensorData::new(vec![stepper.norm()], [1]));
        let after = state_dict(&module).into_iter();
        outputs.extend(after.map(|(key, data)| (format!("{name}.step.{key}"), data)));
        let loss = cross_entropy(forward(&module), labels.clone());
        outputs.insert(format!("{name}.ce_after_step"), loss.into_data());
    }
    Ok(outputs)
}

/// How the strength depends on the batch, on accumulation and on a scaled loss.
fn scaling(case: &Case, device: &Device) -> Result<Outputs> {
    let module = fill_module(case, Mlp::with(10, 16, 4, 4, device), &Names::same())?;
    let (x, labels): (Tensor<2>, _) = (input(case, device)?, labels(case, device)?);
    let tau: f32 = case.config("tau")?;
    let batch = x.dims()[0];
    let grad = |tau: f32, scale: f32, rows: std::ops::Range<usize>| -> Result<Tensor<2>> {
        let (x, labels) = (x.clone().slice([rows.clone()]), labels.clone().slice([rows]));
        let loss = penal::with_tau(tau, || cross_entropy(module.forward(x), labels)).mul_scalar(scale);
        let grads: Gradients = loss.backward();
        let own = module.blocks[0].fc2.weight.val().grad(&grads).ok_or("no gradient")?;
        Ok(own.div_scalar(scale))
    };
    let halves = grad(tau, 1.0, 0..batch / 2)?.add(grad(tau, 1.0, batch / 2..batch)?).div_scalar(2.0);
    Ok([
        ("batch8".to_string(), grad(tau, 1.0, 0..batch)?.into_data()),
        ("two_microbatches_of_4_averaged".into(), halves.into_data()),
        ("loss_scaled_1024_then_unscaled".into(), grad(tau, 1024.0, 0..batch)?.into_data()),
        ("loss_scaled_1024_tau_scaled_too".into(), grad(1024.0 * tau, 1024.0, 0..batch)?.into_data()),
        ("no_connection".into(), grad(0.0, 1.0, 0..batch)?.into_data()),
    ]
    .into())
}

/// Linear stem, residual blocks `x + fc2(gelu(fc1(norm(x))))`, linear head.
#[derive(Module, Debug)]
struct Mlp {
    stem: Linear,
    blocks: Vec<MlpBlock>,
    head: Linear,
}

#[derive(Module, Debug)]
struct MlpBlock {
    norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn new(case: &Case, device: &Device) -> Result<Self> {
        Ok(Self::with(
            case.config("in")?,
            case.config("width")?,
            case.config("blocks")?,
            case.config("classes")?,
            device,
        ))
    }

    fn with(input: usize, width: usize, blocks: usize, classes: usize, device: &Device) -> Self {
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let block = |_| MlpBlock {
            norm: LayerNorm::new(width, device),
            fc1: linear(width, 2 * width),
            fc2: linear(2 * width, width),
        };
        Self {
            stem: linear(input, width),
            blocks: (0..blocks).map(block).collect(),
            head: linear(width, classes),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.blocks.iter().fold(self.stem.forward(x), |x, block| {
            let hidden = Activation::Gelu.forward(block.fc1.forward(block.norm.forward(x.clone())));
            residual(block.fc2.forward(hidden), x)
        });
        self.head.forward(x)
    }
}

/// A residual network for small pictures, one basic block per stage.
#[derive(Module, Debug)]
struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    fc: Linear,
}

impl ResNet {
    fn new(case: &Case, device: &Device) -> Result<Self> {
        let (width, classes): (usize, usize) = (case.config("width")?, case.config("classes")?);
        let stage = |from, to, stride| {
            vec![BasicBlock::new(from, to, stride, None, ConvKind::Plain, Norms::default(), device)]
        };
        Ok(Self {
            conv1: Conv2dConfig::new(3, width, 3).init(device),
            bn1: BatchNormConfig::new(width).init(device),
            layer1: stage(width, width, 1),
            layer2: stage(width, 2 * width, 2),
            layer3: stage(2 * width, 4 * width, 2),
            fc: LinearConfig::new(4 * width, classes).init(device),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.bn1.forward_then(self.conv1.forward(x), Activation::Relu);
        let stages = [&self.layer1, &self.layer2, &self.layer3];
        let x = stages.into_iter().flatten().fold(x, |x, block| block.forward(x, &mut Taps::none()));
        self.fc.forward(global_avg_pool(x).flatten::<2>(1, 3))
    }
}

/// Token embedding and positions, pre-norm blocks with two branches each, mean over tokens.
#[derive(Module, Debug)]
struct Transformer {
    pos: Param<Tensor<3>>,
    embed: Embedding,
    blocks: Vec<TransformerBlock>,
    norm: LayerNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct Embedding {
    weight: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
}

impl Transformer {
    fn new(case: &Case, device: &Device) -> Result<Self> {
        let size = |key: &str| case.config::<usize>(key);
        let (width, heads) = (size("width")?, size("heads")?);
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let block = |_| TransformerBlock {
            norm1: LayerNorm::new(width, device),
            qkv: linear(width, 3 * width),
            proj: linear(width, width),
            norm2: LayerNorm::new(width, device),
            fc1: linear(width, 4 * width),
            fc2: linear(4 * width, width),
            heads,
        };
        Ok(Self {
            pos: zeros([1, size("tokens")?, width], device),
            embed: Embedding { weight: zeros([size("vocab")?, width], device) },
            blocks: (0..size("blocks")?).map(block).collect(),
            norm: LayerNorm::new(width, device),
            head: linear(width, size("classes")?),
        })
    }

    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let [batch, tokens] = ids.dims();
        let width = self.pos.dims()[2];
        let x = self.embed.weight.val().select(0, ids.reshape([batch * tokens]));
        let mut x = x.reshape([batch, tokens, width]).add(self.pos.val());
        for block in &self.blocks {
            let parts = block.qkv.forward(block.norm1.forward(x.clone()));
            let parts =
                parts.reshape([batch, tokens, 3, block.heads, width / block.heads]).permute([2, 0, 3, 1, 4]);
            let [q, k, v] = [0, 1, 2].map(|i| parts.clone().narrow(0, i, 1).squeeze_dim::<4>(0));
            let mixed = module::attention(q, k, v, None, None, AttentionModuleOptions::default());
            let mixed = mixed.swap_dims(1, 2).reshape([batch, tokens, width]);
            x = residual(block.proj.forward(mixed), x);
            let hidden = Activation::Gelu.forward(block.fc1.forward(block.norm2.forward(x.clone())));
            x = residual(block.fc2.forward(hidden), x);
        }
        let mean = self.norm.forward(x).mean_dim(1).reshape([batch, width]);
        self.head.forward(mean)
    }
}
