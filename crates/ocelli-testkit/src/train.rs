//! A few steps of stochastic gradient descent with PyTorch's semantics, written out on tensors.

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
        let words: Vec<String> = text
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | '=' | ':' | '_'))
            .map(|word| word.trim_end_matches('.').to_lowercase())
            .filter(|word| !word.is_empty())
            .collect();
        if !words.iter().any(|word| word == "sgd") {
            return Err(format!("no optimiser but SGD is known here, not '{text}'"));
        }
        let after = |key: &str| {
            let at = words.iter().position(|word| word == key)?;
            words[at + 1..].iter().take(2).find_map(|word| word.parse::<f64>().ok())
        };
        let rate = after("lr").or(after("rate")).ok_or_else(|| format!("no learning rate in '{text}'"))?;
        Ok(Self {
            rate,
            momentum: after("momentum").unwrap_or(0.0),
            decay: after("decay").or(after("wd")).unwrap_or(0.0),
            nesterov: words.iter().any(|word| word == "nesterov"),
        })
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
    let sgd = Sgd::parse(&case.config::<String>("optimizer")?)?;
    let labels: Vec<i64> = case.config("labels")?;
    let count = labels.len();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [count, 1]), &device);
    let image = case.image(&device)?;
    let expected = case.expected();
    let steps = expected.iter().find(|output| output.name == "losses").map_or(3, |output| output.shape[0]);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    let mut momenta = BTreeMap::new();
    for _ in 0..steps {
        let logits = forward(&module, image.clone(), &mut Taps::none()).reshape([count as i32, -1]);
        let loss = log_softmax(logits, 1).gather(1, labels.clone()).mean().neg();
        losses.push(loss.clone().into_scalar::<f32>());
        let grads = loss.backward();
        let mut step = Step { sgd, grads, momenta, path: Path::default(), square: 0.0 };
        module = module.map(&mut step);
        norms.push(step.square.sqrt() as f32);
        momenta = step.momenta;
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
    sgd: Sgd,
    grads: Gradients,
    /// Momentum of every parameter, flat.
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
        let Sgd { rate, momentum, decay, nesterov } = self.sgd;
        self.square += f64::from(grad.clone().square().sum().into_scalar::<f32>());
        let value = param.val().without_autodiff();
        let shape = value.dims();
        let grad = grad.add(value.clone().mul_scalar(decay)).reshape([-1]);
        let blended = match self.momenta.remove(&name) {
            Some(old) => old.mul_scalar(momentum).add(grad.clone()),
            None => grad.clone(),
        };
        let update = if nesterov { grad.add(blended.clone().mul_scalar(momentum)) } else { blended.clone() };
        self.momenta.insert(name, blended);
        let value = value.sub(update.mul_scalar(rate).reshape(shape));
        Param::initialized(param.id, Tensor::from_inner(value).require_grad())
    }
}
