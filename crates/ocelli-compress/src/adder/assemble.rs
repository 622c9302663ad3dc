//! The graph of codes.

use ocelli_graph::adder_conv::AdderCodes;
use ocelli_graph::{Constant, Graph, Op};

use super::layer::{Plan, Settings};
use super::network::Layer;
use crate::error::CompressError;

/// Puts codes into the adder convolutions of `graph` that `layers` names; what clamping took from their weights goes into their
/// shifts.
///
/// # Errors
/// If a layer is not in the graph as it was captured: before anything was fused into it.
pub fn assemble(mut graph: Graph, layers: &[Layer], settings: &Settings) -> Result<Graph, CompressError> {
    for layer in layers {
        let missing = || CompressError::Setting(format!("'{}' is not in the graph", layer.found.name));
        let index = graph.nodes.iter().position(|node| {
            let weights = node.inputs.get(1).map(|id| graph.value(*id).name.as_str());
            matches!(node.op, Op::AdderConv(_))
                && weights.and_then(|name| name.strip_suffix("adder")).map(|name| name.trim_end_matches('.'))
                    == Some(layer.found.name.as_str())
        });
        let index = index.ok_or_else(missing)?;
        put(&mut graph, index, &layer.plan, layer.found.shape, settings).ok_or_else(missing)?;
    }
    Ok(graph)
}

/// Node `index` on codes; nothing, if it has been fused with others.
fn put(graph: &mut Graph, index: usize, plan: &Plan, shape: [usize; 4], settings: &Settings) -> Option<()> {
    let name = graph.nodes[index].name.clone();
    let filters = shape[0];
    let weight = graph.value(graph.nodes[index].inputs[1]).name.clone();
    let codes: Constant = Constant::I8(plan.codes.clone().into());
    let weight = graph.add_known(format!("{weight}.codes"), &shape, codes);
    let ones = graph.add_constant(format!("{name}.ones"), &[filters], vec![1.0; filters]);
    let extra = graph.add_constant(format!("{name}.extra"), &[filters], plan.extra.clone());
    let node = &mut graph.nodes[index];
    let Op::AdderConv(own) = &mut node.op else { return None };
    if own.affine || own.residual || own.activation.is_some() || own.codes.is_some() {
        return None;
    }
    own.affine = true;
    // Groups that were clamped to the activations' range have one scale: their inputs' codes are the same.
    let mut scales: Vec<f32> = Vec::new();
    let place = |scale: f32, scales: &mut Vec<f32>| match scales.iter().position(|own| *own == scale) {
        Some(at) => at as u8,
        None => {
            scales.push(scale);
            (scales.len() - 1) as u8
        }
    };
    let merged: Vec<u8> = plan.scales.iter().map(|&scale| place(scale, &mut scales)).collect();
    let labels = plan.labels.iter().map(|&label| merged[usize::from(label)]).collect();
    own.codes = Some(AdderCodes { bits: settings.bits, signed: settings.signed, scales, labels });
    node.inputs[1] = weight;
    node.inputs.extend([ones, extra]);
    Some(())
}
