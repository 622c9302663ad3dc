//! Exponential moving average of a model's weights and running statistics.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// A model that follows another one: `ema = decay · ema + (1 - decay) · model` after every step, with the
/// decay warming up as `(1 + t) / (10 + t)` so that the first steps do not stick to the initial weights.
#[derive(Debug)]
pub struct Average<M: Module> {
    model: M,
    decay: f64,
}

impl<M: Module> Average<M> {
    /// Starts at `model`, outside of autodiff.
    pub fn new(model: &M, decay: f64) -> Self {
        Self { model: model.valid(), decay }
    }

    /// The averaged model, ready for evaluation.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Replaces the averaged model, after loading a checkpoint.
    pub fn set_model(&mut self, model: M) {
        self.model = model;
    }

    /// Follows `model` after optimiser step `step`, counted from 1.
    pub fn update(self, model: &M, step: usize) -> Self {
        let warm = (1 + step) as f64 / (10 + step) as f64;
        let keep = self.decay.min(warm);
        let mut collect = Collect(HashMap::new());
        model.visit(&mut collect);
        let averaged = self.model.map(&mut Blend { newest: collect.0, keep });
        Self { model: averaged, decay: self.decay }
    }
}

struct Collect(HashMap<ParamId, TensorData>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().into_data());
    }
}

struct Blend {
    newest: HashMap<ParamId, TensorData>,
    keep: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(newest) = self.newest.remove(&param.id) else { return param };
        let keep = self.keep;
        param.map(|old| {
            let newest = Tensor::<D>::from_data(newest, &old.device());
            old.mul_scalar(keep).add(newest.mul_scalar(1.0 - keep))
        })
    }
}
