//! Cases of binary networks with noisy supervision.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_image::backbone::cross_entropy;
use ocelli_image::backbone::noisy_binary::{Config, Labels, Supervision, Unit};
use ocelli_image::network::{Network, NetworkConfig};
use ocelli_kernels::binary::{Padding, pack_filters, words};
use ocelli_nn::binary::{
    BinaryConv2d, BinaryConv2dConfig, Estimator, MappingNetwork, NoiseRates, Reduction, noisy_loss, sign,
};
use ocelli_nn::state_dict::parameter_count;
use ocelli_nn::{BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Linear, LinearConfig, global_avg_pool};

use super::elastic_link::{channels_first, exact_sums, run_network, word_data};
use crate::case::{Case, Result};
use crate::fill;
use crate::run::{Names, Outputs, fill_module, parameter_gradients};
use crate::train::{AdamW, Optimizer, Stepper};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let has = |key: &str| !case.config[key].is_null();
    match case.name.as_str() {
        _ if has("model") => network(case),
        _ if has("skip") => mapping(case),
        _ if has("widths") => steps(case),
        _ if case.config["rho"][0].is_array() => loss(case),
        _ if has("padding") => baked(case),
        _ => super::unknown(case),
    }
}

fn rates(case: &Case, [plus, minus]: [f64; 2]) -> Result<NoiseRates> {
    NoiseRates::new(plus, minus).map_err(|error| format!("{}: {error}", case.name))
}

/// -1 and 1 as whole numbers.
fn whole<const D: usize>(signs: Tensor<D>) -> TensorData {
    let shape = signs.dims();
    TensorData::new(signs.into_data().iter::<f32>().map(|v| v as i64).collect::<Vec<_>>(), shape)
}

/// The loss, its gradient, and its expectation over the noise.
fn loss(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let label = Tensor::<1>::from_data(case.input_data("label")?.convert::<f32>(), &device);
    let mut outputs = Outputs::new();
    for (i, rho) in case.config::<Vec<[f64; 2]>>("rho")?.into_iter().enumerate() {
        let rates = rates(case, rho)?;
        let q = Tensor::<1>::from_data(case.input_data("q")?.convert::<f32>(), &device).require_grad();
        let terms = noisy_loss(q.clone(), label.clone(), rates);
        let sum = Reduction::Sum.of(terms.clone());
        let grads = sum.backward();
        let grad = q.grad(&grads).ok_or_else(|| format!("{}: no gradient", case.name))?;
        for (truth, flip, name) in [(1.0f32, rho[0], "+1"), (-1.0, rho[1], "-1")] {
            let of = |label: f32| noisy_loss(q.clone(), q.full_like(label), rates);
            let mean = of(truth).mul_scalar(1.0 - flip).add(of(-truth).mul_scalar(flip));
            outputs.insert(format!("{i}.expect_true{name}"), mean.into_data());
        }
        outputs.insert(format!("{i}.loss"), terms.into_data());
        outputs.insert(format!("{i}.sum"), sum.into_data());
        outputs.insert(format!("{i}.grad"), grad.into_data());
    }
    Ok(outputs)
}

/// A mapping network beside the weights it maps, as the cases name them.
#[derive(Module, Debug)]
struct Mapping {
    map: MappingNetwork,
    latent: Latent,
}

#[derive(Module, Debug)]
struct Latent {
    weight: Param<Tensor<4>>,
}

fn mapping(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let size = |key: &str| case.config::<usize>(key);
    let (filters, channels, kernel) = (size("filters")?, size("channels")?, size("kernel")?);
    let zeros = ocelli_nn::init::zeros([filters, channels, kernel, kernel], &device);
    let module = Mapping {
        map: MappingNetwork::new(channels, case.config("skip")?, &device),
        latent: Latent { weight: zeros },
    };
    // Some lists hold the weights, some the network alone.
    let listed = case.state_dict_names();
    let published = |name: &str| name.replacen("latent.", "W.", 1);
    let names = Names { published: &published, ignored: &|_| false };
    let module = if listed.iter().any(|name| name == "W.weight") {
        fill_module(case, module, &names)?
    } else {
        let weight = fill::parameter("W.weight", &[filters, channels, kernel, kernel]);
        let data = TensorData::new(weight, [filters, channels, kernel, kernel]);
        let map = fill_module(case, OnlyMap { map: module.map }, &names)?.map;
        Mapping {
            map,
            latent: Latent { weight: Param::from_tensor(Tensor::from_data(data, &device).require_grad()) },
        }
    };
    if let Some(theirs) = case.json["params"].as_u64()
        && theirs != parameter_count(&module.map) as u64
        && theirs != parameter_count(&module) as u64
    {
        return Err(format!("{}: {} parameters", case.name, parameter_count(&module.map)));
    }
    let weight = module.latent.weight.val();
    let o = module.map.forward(weight.clone());
    let q = sign(o.clone(), Estimator::HardTanh);
    let grads = q.clone().mul(case.input("g", &device)?).sum().backward();
    let of_weight = weight.grad(&grads).ok_or_else(|| format!("{}: no gradient", case.name))?;
    let mut outputs = parameter_gradients(&module.map, &grads, &Names::same());
    outputs.insert("o".into(), o.into_data());
    outputs.insert("q".into(), whole(q));
    outputs.insert("grad_W".into(), of_weight.into_data());
    Ok(outputs)
}

#[derive(Module, Debug)]
struct OnlyMap {
    map: MappingNetwork,
}

/// Without mapping network and latent weights: bits and exact sums.
fn baked(case: &Case) -> Result<Outputs> {
    let size = |key: &str| case.config::<usize>(key);
    let (channels, out, kernel) = (size("in_channels")?, size("out_channels")?, size("kernel")?);
    let (stride, padding) = (size("stride")?, size("padding")?);
    let plain = Conv2dConfig::new(channels, out, kernel).stride(stride).padding(padding);
    let own = BinaryConv2dConfig::new(plain).scaled(false).mapping(Some(false));
    let published = |name: &str| format!("bake.{name}");
    let names = Names { published: &published, ignored: &|_| false };
    let layer: BinaryConv2d = fill_module(case, own.init(&Device::flex()), &names)?;
    let signs: Vec<f32> = layer.filters().into_data().iter::<f32>().collect();
    let x = case.input_data("x")?;
    let (sums, shape) = exact_sums(&x, &signs, out, [kernel, stride, padding], Padding::Zero)?;
    let bits = pack_filters(&signs, out, channels, [kernel; 2]);
    Ok([
        ("q_packed".to_string(), word_data(&bits, [out, kernel, kernel, words(channels)])),
        ("acc_int".into(), channels_first(&sums, shape)),
    ]
    .into())
}

/// A network with or without mapping networks, and what its layers' signs are.
fn network(case: &Case) -> Result<Outputs> {
    let model: String = case.config("model")?;
    let base = if model.contains("20") { Config::resnet20() } else { Config::resnet18() };
    let rates = rates(case, case.config("rho")?)?;
    let config = match model.contains("LNS") || model.contains("mapping") {
        // The cases store no labels.
        true => base.supervised(Supervision { rates, labels: Labels::Online, ..Supervision::default() }),
        false => base,
    };
    let network = NetworkConfig::NoisyBinary(config).init(&Device::flex());
    let mut outputs = run_network(case, network.clone())?;
    let Network::NoisyBinary(net) = fill_module(case, network, &Names::same())? else {
        return Err(format!("{}: another network", case.name));
    };
    for (name, unit) in net.units() {
        let (q, labels) = (unit.conv.filters(), unit.labels());
        let count = q.shape().num_elements() as f32;
        let negative = q.clone().neg().add_scalar(1.0).div_scalar(2.0);
        let negative: f64 = negative.into_data().iter::<f64>().sum();
        let agree: f64 =
            q.clone().mul(labels.clone()).into_data().iter::<f64>().map(|v| (v + 1.0) / 2.0).sum();
        // In float64: a sum of many numbers.
        let noisy: f64 = noisy_loss(q, labels, rates).into_data().iter::<f64>().sum();
        let one = |value: f64| TensorData::new(vec![value as f32], [1]);
        outputs.insert(format!("neg_count.{name}.conv"), TensorData::new(vec![negative as i64], [1]));
        outputs.insert(format!("agree.{name}.conv"), one(agree / f64::from(count)));
        outputs.insert(format!("noisy.{name}.conv"), one(noisy));
    }
    Ok(outputs)
}

/// The small network of the training cases: stem, two units, mean, classifier.
#[derive(Module, Debug)]
struct Tiny {
    conv1: Conv2d,
    bn1: BatchNorm,
    u1: Unit,
    u2: Unit,
    fc: Linear,
}

impl Tiny {
    fn forward(&self, x: Tensor<4>, filters: [Tensor<4>; 2]) -> Tensor<2> {
        let [first, second] = filters;
        let x = self.bn1.forward(self.conv1.forward(x));
        let x = self.u2.forward_with(self.u1.forward_with(x, first), second);
        self.fc.forward(global_avg_pool(x).flatten::<2>(1, 3))
    }

    fn filters(&self) -> [Tensor<4>; 2] {
        [&self.u1, &self.u2].map(|unit| unit.conv.filters())
    }
}

fn steps(case: &Case) -> Result<Outputs> {
    let device = Device::flex().autodiff();
    let [a, b]: [usize; 2] = case.config("widths")?;
    let classes = case.config("classes")?;
    let rates = rates(case, case.config("rho")?)?;
    let supervision =
        Supervision { rates, labels: Labels::Online, reduction: Reduction::Sum, ..Supervision::default() };
    let module = Tiny {
        conv1: Conv2dConfig::new(3, a, 3).init(&device),
        bn1: BatchNormConfig::new(a).init(&device),
        u1: Unit::new(a, a, 1, Some(&supervision), &device),
        u2: Unit::new(a, b, 2, Some(&supervision), &device),
        fc: LinearConfig::new(b, classes).init(&device),
    };
    let published = |name: &str| format!("tiny.{name}");
    let mut module = fill_module(case, module, &Names { published: &published, ignored: &|_| false })?;
    let labels = [&module.u1, &module.u2].map(|unit| unit.labels());
    let optimizer = AdamW::parse(&case.config::<String>("optimizer")?)?;
    let mut stepper = Stepper::new(Optimizer::AdamW(AdamW { decay: 0.0, ..optimizer }));
    let weight: f64 = case.config("alpha")?;
    let batch: usize = case.config("batch")?;
    let hot: Vec<f32> =
        (0..batch * classes).map(|i| f32::from(u8::from(i % classes == i / classes % classes))).collect();
    let targets = Tensor::<2>::from_data(TensorData::new(hot, [batch, classes]), &device);
    let mut outputs = Outputs::new();
    let mut trace = Vec::new();
    let count: usize = case.config("steps")?;
    for step in 0..count {
        let filters = module.filters();
        let x = case.input(&format!("x{step}"), &device)?;
        let logits = module.forward(x, filters.clone());
        let noisy = filters
            .iter()
            .zip(&labels)
            .map(|(q, label)| Reduction::Sum.of(noisy_loss(q.clone(), label.clone(), rates)))
            .reduce(Tensor::add)
            .ok_or("no layers")?;
        let entropy = cross_entropy(logits.clone(), targets.clone());
        let total = entropy.clone().add(noisy.clone().mul_scalar(weight));
        let grads = total.backward();
        trace.extend([entropy, noisy, total].map(|loss| loss.into_scalar::<f32>()));
        if step == 0 {
            let own = parameter_gradients(&module, &grads, &Names::same());
            outputs.extend(own.into_iter().map(|(name, data)| (name.replacen("grad.", "grad0.", 1), data)));
            outputs.insert("logits0".into(), logits.into_data());
            for (name, q) in ["u1", "u2"].into_iter().zip(filters) {
                outputs.insert(format!("q0.{name}.conv"), whole(q));
            }
        }
        module = stepper.step(module, grads);
    }
    outputs.insert("trace".into(), TensorData::new(trace, [count, 3]));
    for ((name, q), label) in ["u1", "u2"].into_iter().zip(module.filters()).zip(labels) {
        let agree = q.clone().mul(label).mean().into_scalar::<f32>();
        outputs.insert(format!("flip_rate.{name}.conv"), TensorData::new(vec![(1.0 - agree) / 2.0], [1]));
        outputs.insert(format!("q_after.{name}.conv"), whole(q));
    }
    // In evaluation: the running statistics of the three steps.
    let module = module.freeze();
    let filters = module.filters();
    let logits = module.forward(case.input("x0", &device)?, filters);
    outputs.insert("logits_after".into(), logits.into_data());
    Ok(outputs)
}
