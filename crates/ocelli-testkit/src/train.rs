//! A few steps of stochastic gradient descent or AdamW with PyTorch's semantics, written out on tensors.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Int, Tensor, TensorData, activation::log_softmax};
use ocelli_nn::Taps;
use ocelli_nn::state_dict::{Path, is_buffer, state_dict};

use crate::case::{Case, Result};
use crate::run::{Names, Outputs, device};

/// `SGD lr 0.02 Nesterov momentum 0.9 weight decay 1e-4 on everything` and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f64,
    /// Momentum.
    pub momentum: f64,
    /// Share of the parameter added to its gradient.
    pub decay: f64,
    /// Look one step of the momentum ahead.
    pub nesterov: bool,
}

impl Sgd {
    /// Reads the description of a case: a number follows each of `lr`, `momentum` and `decay`.
    pub fn parse(text: &str) -> Result<Self> {
        let words = words(text);
        if !words.iter().any(|word| word == "sgd") {
            return Err(format!("no optimiser but SGD is known here, not '{text}'"));
        }
        let after = |key: &str| number_after(&words, key);
        let rate = after("lr").or(after("rate")).ok_or_else(|| format!("no learning rate in '{text}'"))?;
        Ok(Self {
            rate,
            momentum: after("momentum").unwrap_or(0.0),
            decay: after("decay").or(after("wd")).unwrap_or(0.0),
            nesterov: words
                .iter()
                .position(|word| word == "nesterov")
                .is_some_and(|at| at == 0 || words[at - 1] != "no"),
        })
    }
}

/// The words of an optimiser's description, in lower case.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '=' | ':' | ';'))
        .flat_map(|word| match word {
            // Names of parameters stay whole.
            "weight_decay" => vec!["decay".into()],
            word => vec![word.trim_end_matches('.').to_lowercase()],
        })
        .filter(|word| !word.is_empty())
        .collect()
}

/// The number among the two words behind `key`.
fn number_after(words: &[String], key: &str) -> Option<f64> {
    let at = words.iter().position(|word| word == key)?;
    words[at + 1..].iter().take(2).find_map(|word| word.parse::<f64>().ok())
}

/// `AdamW lr 0.001 betas 0.9,0.999 eps 1e-8; decay 0.05 on entries of 2 or more dims except a, b`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub rate: f64,
    /// Decay of the mean and of the square.
    pub betas: [f64; 2],
    /// Added to the root of the square.
    pub epsilon: f64,
    /// Share of a parameter that is taken off, per unit of learning rate.
    pub decay: f64,
    /// Fewest dimensions of a parameter that decays.
    pub least_rank: usize,
    /// Parameters without decay.
    pub exempt: Vec<String>,
}

impl AdamW {
    /// Reads the description of a case.
    pub fn parse(text: &str) -> Result<Self> {
        let words = words(text);
        let number = |key: &str| number_after(&words, key).ok_or_else(|| format!("no {key} in '{text}'"));
        let betas = words.iter().position(|word| word == "betas").map(|at| &words[at + 1..]);
        let beta = |i: usize| betas.and_then(|betas| betas.get(i)?.parse().ok()).unwrap_or([0.9, 0.999][i]);
        let exempt = words.iter().position(|word| word == "except").map_or(&[][..], |at| &words[at + 1..]);
        Ok(Self {
            rate: number("lr")?,
            betas: [beta(0), beta(1)],
            epsilon: number("eps").unwrap_or(1e-8),
            decay: number("decay").unwrap_or(0.0),
            least_rank: if text.contains("2 or more dims") { 2 } else { 0 },
            exempt: exempt.to_vec(),
        })
    }
}

/// The optimiser of a case.
#[derive(Clone, Debug)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam with decoupled decay.
    AdamW(AdamW),
}

impl Optimizer {
    /// Reads the description of a case.
    pub fn parse(text: &str) -> Result<Self> {
        if text.to_lowercase().starts_with("adamw") {
            AdamW::parse(text).map(Self::AdamW)
        } else {
            Sgd::parse(text).map(Self::Sgd)
        }
    }
}

/// An optimiser at work.
#[derive(Debug)]
pub struct Stepper {
    optimizer: Optimizer,
    momenta: BTreeMap<String, Tensor<1>>,
    number: usize,
    square: f64,
}

impl Stepper {
    /// Before its first step.
    pub fn new(optimizer: Optimizer) -> Self {
        Self { optimizer, momenta: BTreeMap::new(), number: 0, square: 0.0 }
    }

    /// Goes on with another rate, say; momenta stay.
    pub fn set(&mut self, optimizer: Optimizer) {
        self.optimizer = optimizer;
    }

    /// `module` after one step along `grads`.
    pub fn step<M: Module>(&mut self, module: M, grads: Gradients) -> M {
        self.number += 1;
        let mut step = Step {
            optimizer: self.optimizer.clone(),
            number: self.number,
            grads,
            momenta: std::mem::take(&mut self.momenta),
            path: Path::default(),
            square: 0.0,
        };
        let module = module.map(&mut step);
        self.square = step.square;
        self.momenta = step.momenta;
        module
    }

    /// Length of the last step's gradient, all parameters together.
    pub fn norm(&self) -> f32 {
        self.square.sqrt() as f32
    }
}

/// Trains on the same batch as often as `losses` has values; `losses[i]` and `grad_norms[i]` are taken before
/// step i, `afterN.NAME` are the tensors after the N steps.
pub(crate) fn train_steps<M: Module, const D: usize>(
    case: &Case,
    mut module: M,
    names: &Names,
    forward: impl Fn(&M, Tensor<4>, &mut Taps) -> Tensor<D>,
) -> Result<Outputs> {
    let device = device(case);
    let optimizer = Optimizer::parse(&case.config::<String>("optimizer")?)?;
    let loss_words = words(&case.config_or::<String>("loss", String::new())?);
    let smoothing = number_after(&loss_words, "smoothing").unwrap_or(0.0);
    let labels: Vec<i64> = case.config("labels")?;
    let count = labels.len();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [count, 1]), &device);
    let image = case.image(&device)?;
    let expected = case.expected();
    let steps = expected.iter().find(|output| output.name == "losses").map_or(3, |output| output.shape[0]);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    let mut stepper = Stepper::new(optimizer);
    for _ in 0..steps {
        let logits = forward(&module, image.clone(), &mut Taps::none()).reshape([count as i32, -1]);
        let scores = log_softmax(logits, 1);
        let all = scores.clone().mean().mul_scalar(smoothing);
        let loss = scores.gather(1, labels.clone()).mean().mul_scalar(1.0 - smoothing).add(all).neg();
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = loss.backward();
        module = stepper.step(module, grads);
        norms.push(stepper.norm());
    }
    let mut outputs: Outputs = state_dict(&module)
        .into_iter()
        .map(|(name, data)| (format!("after{steps}.{}", (names.published)(&name)), data))
        .collect();
    outputs.insert("losses".into(), TensorData::new(losses, [steps]));
    outputs.insert("grad_norms".into(), TensorData::new(norms, [steps]));
    Ok(outputs)
}

/// One step on every parameter.
struct Step {
    optimizer: Optimizer,
    /// Steps with this one.
    number: usize,
    grads: Gradients,
    /// Momentum of every parameter, flat; for AdamW also the mean square, under the name with `.square`.
    momenta: BTreeMap<String, Tensor<1>>,
    path: Path,
    /// Sum of the squares of all gradients.
    square: f64,
}

impl ModuleMapper for Step {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(grad) = param.val().grad(&self.grads).filter(|_| !is_buffer(&name)) else { return param };
        self.square += f64::from(grad.clone().square().sum().into_scalar::<f32>());
        let value = param.val().without_autodiff();
        let shape = value.dims();
        let flat = grad.reshape([-1]);
        let update = match self.optimizer.clone() {
            Optimizer::Sgd(sgd) => self.sgd(&sgd, name, flat, value.clone().reshape([-1])),
            Optimizer::AdamW(adam) => self.adam(&adam, name, flat, value.clone().reshape([-1]), D),
        };
        let value = value.sub(update.reshape(shape));
        Param::initialized(param.id, Tensor::from_inner(value).require_grad())
    }
}

impl Step {
    /// What SGD takes off.
    fn sgd(&mut self, sgd: &Sgd, name: String, grad: Tensor<1>, value: Tensor<1>) -> Tensor<1> {
        let grad = grad.add(value.mul_scalar(sgd.decay));
        let blended = match self.momenta.remove(&name) {
            Some(old) => old.mul_scalar(sgd.momentum).add(grad.clone()),
            None => grad.clone(),
        };
        self.momenta.insert(name, blended.clone());
        let update = if sgd.nesterov { grad.add(blended.mul_scalar(sgd.momentum)) } else { blended };
        update.mul_scalar(sgd.rate)
    }

    /// What AdamW takes off.
    fn adam(
        &mut self,
        adam: &AdamW,
        name: String,
        grad: Tensor<1>,
        value: Tensor<1>,
        rank: usize,
    ) -> Tensor<1> {
        let mut blend = |key: String, new: Tensor<1>, beta: f64| {
            let old = self.momenta.remove(&key).unwrap_or_else(|| new.zeros_like());
            let blended = old.mul_scalar(beta).add(new.mul_scalar(1.0 - beta));
            self.momenta.insert(key, blended.clone());
            blended.div_scalar(1.0 - beta.powi(self.number as i32))
        };
        let mean = blend(name.clone(), grad.clone(), adam.betas[0]);
        let square = blend(format!("{name}.square"), grad.square(), adam.betas[1]);
        let decays = rank >= adam.least_rank && !adam.exempt.contains(&name);
        let decay = if decays { adam.decay } else { 0.0 };
        let step = mean.div(square.sqrt().add_scalar(adam.epsilon));
        step.add(value.mul_scalar(decay)).mul_scalar(adam.rate)
    }
}
