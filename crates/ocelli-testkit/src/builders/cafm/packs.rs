//! What is sent: codes, folded modulations, halves, and what networks of them compute.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use ocelli_nn::Taps;
use ocelli_nn::state_dict::{load_state_dict, state_dict};
use ocelli_video::deliver::fold::{dequantise_rows, folded_sites, quantise_rows, to_half};
use ocelli_video::deliver::train::is_modulation;
use ocelli_video::deliver::{Chunk, Net};

use super::config;
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module};

/// New values of the tensor of this name and shape.
type Change<'a> = &'a dyn Fn(&str, &[usize], Vec<f32>) -> Vec<f32>;

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let config = config(case)?;
    let device = Device::flex();
    let net = fill_module(case, config.build(&device), &Names::same())?;
    let chunk: usize = case.config("chunk")?;
    let tensors = state_dict(&net);
    let mut outputs = Outputs::new();
    for (name, data) in &tensors {
        let shape = data.shape().to_vec();
        if shape.len() != 4 || is_modulation(name) {
            continue;
        }
        let values: Vec<f32> = data.iter::<f32>().collect();
        let (codes, scales) = quantise_rows(&values, shape[0]);
        let codes: Vec<i64> = codes.into_iter().map(i64::from).collect();
        outputs.insert(format!("q.{name}"), TensorData::new(codes, shape.clone()));
        outputs.insert(format!("scale.{name}"), TensorData::new(scales, [shape[0]]));
    }
    for (site, scale, shift) in folded_sites(&net, chunk) {
        let (channels, inputs) = (shift.len(), scale.len() / shift.len());
        let shape = if inputs == 1 { vec![channels] } else { vec![channels, inputs] };
        let bits = |values: &[f32]| -> Vec<i64> {
            values.iter().map(|&v| i64::from(f16::from_f32(v).to_bits() as i16)).collect()
        };
        let whole: Vec<f32> = scale
            .iter()
            .enumerate()
            .map(|(at, v)| v + f32::from(u8::from(at % inputs == at / inputs % inputs)))
            .collect();
        outputs.insert(format!("fold.a.{site}.{chunk}"), TensorData::new(whole, shape.clone()));
        outputs.insert(format!("fold.b.{site}.{chunk}"), TensorData::new(shift.clone(), [channels]));
        let less = TensorData::new(bits(&scale), shape);
        outputs.insert(format!("fold.a_minus_identity.f16bits.{site}.{chunk}"), less);
        outputs.insert(format!("fold.b.f16bits.{site}.{chunk}"), TensorData::new(bits(&shift), [channels]));
    }
    let inputs = case.inputs();
    let (input, _) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    let x: Tensor<4> = case.input(input, &device)?;
    let run = |net: &Net| config.enlarge(net, x.clone(), Chunk::One(chunk), &mut Taps::none()).into_data();
    outputs.insert("out.float32".into(), run(&net));
    let with = |change: Change<'_>| -> Result<Net> {
        let changed: BTreeMap<String, TensorData> = tensors
            .iter()
            .map(|(name, data)| {
                let shape = data.shape().to_vec();
                let values = change(name, &shape, data.iter::<f32>().collect());
                (name.clone(), TensorData::new(values, shape))
            })
            .collect();
        let (net, mismatch) = load_state_dict(net.clone(), changed);
        if mismatch.is_empty() { Ok(net) } else { Err(mismatch.to_string()) }
    };
    let halves = |values: Vec<f32>| -> Vec<f32> { values.into_iter().map(to_half).collect() };
    outputs.insert("out.all_half_weights".into(), run(&with(&|_, _, values| halves(values))?));
    let codes = with(&|name, shape, values| {
        if shape.len() == 4 && !is_modulation(name) && !name.contains("_mean.") {
            let (codes, scales) = quantise_rows(&values, shape[0]);
            dequantise_rows(&codes, &scales)
        } else {
            halves(values)
        }
    })?;
    outputs.insert("out.int8_shared_half_rest".into(), run(&codes));
    Ok(outputs)
}
