//! Whole networks, and their mean over eight turns of the picture.

use burn::tensor::{Device, Tensor};
use ocelli_nn::state_dict::parameter_count;
use ocelli_nn::{Taps, cost};
use ocelli_video::deliver::{Chunk, Config, Net};

use super::config;
use crate::case::{Case, Result};
use crate::run::{Names, Outputs, fill_module};

pub(super) fn run(case: &Case) -> Result<Outputs> {
    let config = config(case)?;
    let device = Device::flex();
    let net = fill_module(case, config.build(&device), &Names::same())?;
    let inputs = case.inputs();
    let (input, shape) = inputs.first().ok_or_else(|| format!("{}: no input", case.name))?;
    check_counts(case, &config, &net, shape)?;
    let x: Tensor<4> = case.input(input, &device)?;
    let forward = |x, chunk, taps: &mut Taps| config.enlarge(&net, x, Chunk::One(chunk), taps);
    let mut outputs = Outputs::new();
    if !case.config["chunk"].is_null() {
        let chunk = case.config("chunk")?;
        outputs.insert("out".into(), ensemble(x, |x| forward(x, chunk, &mut Taps::none())).into_data());
        return Ok(outputs);
    }
    let names = case.output_names();
    let chunks: Vec<usize> =
        names.iter().filter_map(|name| name.strip_prefix("out.chunk")?.parse().ok()).collect();
    for chunk in chunks {
        if config.chunks > 0 && chunk >= config.chunks {
            return Err(format!("{}: chunk {chunk} of {}", case.name, config.chunks));
        }
        let wanted = case.json["outputs"].as_array().into_iter().flatten().filter(|output| {
            output["slice"].as_str().is_none_or(|text| text.contains(&format!("chunk {chunk}")))
        });
        let wanted: Vec<&str> =
            wanted.filter_map(|output| output["name"].as_str()?.strip_prefix("act.")).collect();
        let mut taps = Taps::new(wanted);
        let out = forward(x.clone(), chunk, &mut taps);
        for (name, data) in taps.into_data() {
            outputs.entry(format!("act.{name}")).or_insert(data);
        }
        // The same by way of one chunk per sample.
        let batch = x.dims()[0];
        let each = config.enlarge(&net, x.clone(), Chunk::Each(&vec![chunk; batch]), &mut Taps::none());
        let apart = each.sub(out.clone()).abs().max().into_scalar::<f32>();
        let largest = out.clone().abs().max().into_scalar::<f32>();
        if apart > 1e-5 * largest {
            return Err(format!("{}: one chunk per sample differs by {apart}", case.name));
        }
        outputs.insert(format!("out.chunk{chunk}"), out.into_data());
    }
    Ok(outputs)
}

fn check_counts(case: &Case, config: &Config, net: &Net, shape: &[usize]) -> Result<()> {
    let count = parameter_count(net) as u64;
    if case.json["params"].as_u64().is_some_and(|stated| stated != count) {
        return Err(format!("{}: {count} parameters, the case has {}", case.name, case.json["params"]));
    }
    if let Some(stated) = case.json["macs"].as_u64() {
        let shape = [1, shape[1], shape[2], shape[3]];
        let macs = macs(config, net, shape);
        if macs != stated {
            return Err(format!("{}: {macs} multiply-accumulates, the case has {stated}", case.name));
        }
    }
    Ok(())
}

/// Multiply-accumulates of the convolutions.
pub(super) fn macs(config: &Config, net: &Net, shape: [usize; 4]) -> u64 {
    let enlarge = |net: &Net, x| config.enlarge(net, x, Chunk::One(0), &mut Taps::none());
    cost::layers(net, shape, enlarge)
        .iter()
        .filter(|layer| layer.kind == "conv")
        .map(|layer| layer.macs)
        .sum()
}

/// The mean over the picture's flips and transpositions, each undone.
fn ensemble(x: Tensor<4>, forward: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let turn = |x: Tensor<4>, bits: usize, back: bool| {
        let flip = |x: Tensor<4>| {
            let x = if bits & 1 > 0 { x.flip([3]) } else { x };
            if bits & 2 > 0 { x.flip([2]) } else { x }
        };
        let transpose = |x: Tensor<4>| if bits & 4 > 0 { x.swap_dims(2, 3) } else { x };
        if back { flip(transpose(x)) } else { transpose(flip(x)) }
    };
    let turned = (0..8).map(|bits| turn(forward(turn(x.clone(), bits, false)), bits, true));
    turned.reduce(|a, b| a.add(b)).map_or(x, |sum| sum.div_scalar(8.0))
}
