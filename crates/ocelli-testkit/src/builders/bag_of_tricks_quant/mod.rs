//! Cases of post-training quantisation: quantisers, calibration, equalisation, rounding, and whole integer networks.

mod maker;
mod nets;
mod primitives;
mod training;

use burn::tensor::TensorData;

use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let name = case.name.as_str();
    let starts = |prefix: &str| name.starts_with(prefix);
    match () {
        () if starts("quantiser_basics") => primitives::basics(case),
        () if starts("calibrators") => primitives::calibrators(case),
        () if starts("kl_calibration") => primitives::kl(case),
        () if starts("pruning") => primitives::pruning(case),
        () if starts("cle_") => primitives::equalisation(case),
        () if starts("bias_absorb") => primitives::absorption(case),
        () if starts("adaround") => primitives::adaround(case),
        () if starts("optimal_rounding") => primitives::enumeration(case),
        () if starts("lsq") => training::lsq(case),
        () if starts("bn_reestimate") => training::reestimation(case),
        () if starts("bn_fold") => nets::folding(case),
        () if starts("bias_correction") => nets::correction(case),
        () if starts("int_net") => nets::integers(case),
        () if name.contains("_ptq_") => nets::post_training(case),
        () if name.ends_with("_float") => nets::float(case),
        () => super::unknown(case),
    }
}

/// What a builder produces.
#[derive(Default)]
struct Found(Outputs);

impl Found {
    fn floats(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f32>) {
        self.0.insert(name.into(), TensorData::new(values, shape.to_vec()));
    }

    fn list(&mut self, name: impl Into<String>, values: Vec<f32>) {
        let shape = [values.len()];
        self.floats(name, &shape, values);
    }

    fn doubles(&mut self, name: impl Into<String>, values: &[f64]) {
        self.list(name, values.iter().map(|v| *v as f32).collect());
    }

    fn whole<T: Copy + Into<i64>>(&mut self, name: impl Into<String>, shape: &[usize], values: &[T]) {
        let values: Vec<i64> = values.iter().map(|v| (*v).into()).collect();
        self.0.insert(name.into(), TensorData::new(values, shape.to_vec()));
    }
}

/// A parameter by its name and shape.
fn parameter(name: &str, shape: &[usize]) -> Vec<f32> {
    fill::parameter(name, shape)
}

/// The numbers of an input.
fn numbers(case: &Case, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
    let data = case.input_data(name)?;
    let shape = data.shape().iter().copied().collect();
    Ok((data.iter::<f32>().collect(), shape))
}
