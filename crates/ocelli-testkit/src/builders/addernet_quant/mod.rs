//! Cases of adder networks and their quantisation. They name no builder: what is built follows from the names of their settings.

mod block;
mod layers;
mod nets;
mod training;

use burn::tensor::TensorData;

use crate::case::{Case, Result};
use crate::fill;
use crate::run::Outputs;

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let has = |key: &str| !case.config[key].is_null();
    let item = |key: &str| !case.config["items"][0][key].is_null();
    match () {
        () if has("steps") => training::steps(case),
        () if has("model") && has("bits") => nets::post_training(case),
        () if has("model") => nets::float(case),
        () if has("pJ") => nets::energy(case),
        () if item("input") => layers::ranges(case),
        () if item("groups") => layers::clusters(case),
        () if has("act_range") => layers::illustration(case),
        () if has("bn_eps") => block::integers(case),
        () if has("bits") && has("scale") => training::fake(case),
        () if has("bits") => layers::post_training(case),
        () if has("kernel_size") => layers::adder(case),
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

    fn whole<T: Copy + Into<i64>>(&mut self, name: impl Into<String>, shape: &[usize], values: &[T]) {
        let values: Vec<i64> = values.iter().map(|v| (*v).into()).collect();
        self.0.insert(name.into(), TensorData::new(values, shape.to_vec()));
    }
}

/// The numbers and shape of an input.
fn numbers(case: &Case, name: &str) -> Result<(Vec<f32>, Vec<usize>)> {
    let data = case.input_data(name)?;
    let shape = data.shape().iter().copied().collect();
    Ok((data.iter::<f32>().collect(), shape))
}

/// Shapes of the case's state dict, by name.
fn listed(case: &Case) -> Result<Vec<(String, Vec<usize>)>> {
    let list = case.json["state_dict"].as_str().ok_or("no list of tensors")?;
    let text = std::fs::read_to_string(case.path.with_file_name(list)).map_err(|error| error.to_string())?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, shape) = (words.next()?, words.next()?);
        Some((name.to_string(), shape.split('x').filter_map(|n| n.parse().ok()).collect()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The shape of the state dict's tensor called `name`.
fn shape_of(case: &Case, name: &str) -> Result<Vec<usize>> {
    let found = listed(case)?.into_iter().find(|(own, _)| own == name);
    found.map(|(_, shape)| shape).ok_or_else(|| format!("{}: no tensor called {name}", case.name))
}

/// The factors of filters: `... times [0.5, 1, ...][(5c+3) mod 8]`, 1 without such a sentence.
fn multiplier(case: &Case) -> Result<Box<dyn Fn(usize) -> f32>> {
    let Some(text) = case.config["weight_multiplier"].as_str() else { return Ok(Box::new(|_| 1.0)) };
    let wrong = || format!("{}: cannot read '{text}'", case.name);
    let between = |text: &str, open: char, close: char| {
        let from = text.find(open)? + 1;
        let to = from + text[from..].find(close)?;
        Some((text[from..to].to_string(), text[to + 1..].to_string()))
    };
    let (list, rest) = between(text, '[', ']').ok_or_else(wrong)?;
    let (formula, rest) = between(&rest, '(', ')').ok_or_else(wrong)?;
    let list: Vec<f32> = list.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let (slope, offset) = formula.split_once('c').ok_or_else(wrong)?;
    let slope: usize = slope.trim().trim_end_matches('*').parse().map_err(|_| wrong())?;
    let offset: usize = offset.trim().trim_start_matches('+').trim().parse().unwrap_or(0);
    let modulus: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let modulus: usize = modulus.parse().map_err(|_| wrong())?;
    if modulus == 0 || modulus > list.len() {
        return Err(wrong());
    }
    Ok(Box::new(move |c| list[(slope * c + offset) % modulus]))
}

/// The adder weights called `name`, filters times their factors.
fn weights(case: &Case, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    let factor = multiplier(case)?;
    let filter: usize = shape[1..].iter().product();
    Ok(fill::parameter(name, shape).iter().enumerate().map(|(i, w)| w * factor(i / filter.max(1))).collect())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
