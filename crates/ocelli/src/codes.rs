//! Between networks that are trained and graphs that are quantised.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ocelli_compress::ptq::{Given, LayerPlan};
use ocelli_engine::Model;
use ocelli_graph::codes::Rounding;
use ocelli_graph::{Codes, Graph, passes};
use ocelli_image::classify::{AwareLayer, CODES, InputCodes, trainable};
use ocelli_image::{Network, deploy, model_file};
use ocelli_nn::fake_quant::CodeRange;

/// Compiles a graph with codes: integers wherever they can.
pub fn compile_integers(
    mut graph: Graph,
    rounding: Rounding,
    description: Option<&deploy::Description>,
) -> Result<Model> {
    passes::lower_to_integers(&mut graph, rounding);
    passes::fuse_code_sums(&mut graph);
    Ok(deploy::compile_graph(graph, description)?)
}

/// What the training begins with: units of weights as they are before batch norms are folded in.
fn aware(plan: &LayerPlan, largest: &[f32]) -> AwareLayer {
    let steps = plan.scales.iter().zip(&plan.largest).zip(largest).map(|((scale, folded), own)| {
        if *folded > 0.0 && *own > 0.0 { scale * own / folded } else { scale.max(f32::MIN_POSITIVE) }
    });
    AwareLayer {
        name: plan.name.clone(),
        weights: CodeRange::narrow(plan.bits),
        steps: steps.collect(),
        input: plan.input.as_ref().map(|(source, codes)| InputCodes {
            source: source.clone(),
            codes: CodeRange { low: -codes.zero_point, high: codes.highest() - codes.zero_point },
            step: codes.scale,
        }),
    }
}

/// The layers of `plan` whose weights `network` has, with units to begin a training with.
pub fn aware_layers(network: &Network, plan: &[LayerPlan]) -> Vec<AwareLayer> {
    let names: Vec<String> = plan.iter().map(|layer| layer.name.clone()).collect();
    let largest = trainable(network, &names);
    plan.iter().filter_map(|layer| Some(aware(layer, largest.get(&layer.name)?))).collect()
}

/// The codes that the description of a trained `network` tells.
pub fn given_of(description: &model_file::Description, network: &Network) -> Result<BTreeMap<String, Given>> {
    let codes = description.training.get(CODES).cloned().context("says nothing of codes")?;
    let layers: Vec<AwareLayer> = serde_json::from_value(codes).context("its codes are damaged")?;
    let names: Vec<String> = layers.iter().map(|layer| layer.name.clone()).collect();
    let mut largest = trainable(network, &names);
    let of = |layer: AwareLayer| {
        let own = largest.remove(&layer.name).unwrap_or_default();
        // From 0 to 2^bits - 1, shifted so that zero's is 0.
        let input = layer.input.map(|InputCodes { codes, step, .. }| {
            let bits = (i64::from(codes.high) - i64::from(codes.low) + 1).checked_ilog2().unwrap_or(0) as u8;
            Codes { scale: step, zero_point: codes.low.saturating_neg(), bits }
        });
        (layer.name, Given { steps: layer.steps, largest: own, input })
    };
    Ok(layers.into_iter().map(of).collect())
}
