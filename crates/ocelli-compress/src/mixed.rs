//! Bits of every layer by how much the network minds: mixed precision.
//!
//! A layer's damage at so many bits is how far the network's output moves (squared error over squared output) if nothing but that
//! layer's weights are rounded. From 8 bits everywhere, the step that does least damage per saved bit is taken until the average
//! is reached.

use std::collections::BTreeMap;

use ocelli_engine::RunOptions;
use ocelli_graph::{Graph, ValueId};

use crate::error::CompressError;
use crate::network::Network;
use crate::probe::{Batch, Probe};
use crate::ptq::{Progress, Settings};
use crate::quantiser::{QuantisedWeights, WeightRange};

/// The bits a layer may have, most first.
const CHOICES: [u8; 5] = [8, 6, 5, 4, 3];

/// How much the network minds one layer's rounding.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sensitivity {
    /// The layer.
    pub name: String,
    /// Its weights.
    pub weights: usize,
    /// Damage at 8, 6, 5, 4 and 3 bits.
    pub damage: Vec<f64>,
    /// The bits it gets.
    pub bits: u8,
}

/// Chooses every layer's bits such that the weights have `average` bits at most (3 to 8). The last layer keeps 8.
///
/// # Errors
/// As [`quantise`](crate::ptq::quantise).
pub fn choose(
    graph: Graph,
    batch: &Batch,
    settings: &Settings,
    average: f64,
    options: RunOptions,
    progress: Progress<'_>,
) -> Result<Vec<Sensitivity>, CompressError> {
    if !(3.0..=8.0).contains(&average) {
        return Err(CompressError::Setting(format!("{average} bits on average; 3 to 8 can be had")));
    }
    if batch.count == 0 {
        return Err(CompressError::NoData);
    }
    let network = Network::new(graph, &settings.keep)?;
    let wanted: Vec<ValueId> = network.graph.outputs.clone();
    let run = |graph: &Graph| -> Result<Vec<f32>, CompressError> {
        Ok(Probe::new(graph, &wanted, options)?.run(batch)?.concat())
    };
    let float = run(&network.graph)?;
    let power: f64 = float.iter().map(|y| f64::from(*y).powi(2)).sum();
    let mut found = Vec::new();
    for (i, layer) in network.layers.iter().enumerate() {
        progress("measuring layers", i, network.layers.len());
        let weights = network.weights(layer);
        let mut damage = Vec::new();
        for bits in CHOICES {
            let range = if bits >= 8 { WeightRange::MinMax } else { WeightRange::Mse };
            let codes = QuantisedWeights::new(&weights, layer.channels, settings.per_channel, range, bits);
            let mut own = network.clone();
            own.set(i, codes.numbers(layer.channels), network.bias(layer));
            let moved = run(&own.graph)?;
            let error: f64 =
                moved.iter().zip(&float).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            damage.push(error / power.max(f64::MIN_POSITIVE));
        }
        found.push(Sensitivity { name: layer.name.clone(), weights: weights.len(), damage, bits: 8 });
    }
    lower(&mut found, average);
    Ok(found)
}

/// Lowers bits until the average is reached.
fn lower(layers: &mut [Sensitivity], average: f64) {
    let total: usize = layers.iter().map(|layer| layer.weights).sum();
    let free = layers.len().saturating_sub(1);
    let mut places = vec![0usize; layers.len()];
    loop {
        let sum: f64 = layers.iter().map(|layer| f64::from(layer.bits) * layer.weights as f64).sum();
        if sum <= average * total as f64 {
            return;
        }
        let price = |i: usize| -> Option<f64> {
            let (layer, at) = (&layers[i], places[i]);
            let saved = f64::from(CHOICES[at] - CHOICES.get(at + 1)?) * layer.weights as f64;
            Some((layer.damage[at + 1] - layer.damage[at]).max(0.0) / saved)
        };
        let best = (0..free).filter_map(|i| Some((i, price(i)?))).min_by(|(_, a), (_, b)| a.total_cmp(b));
        let Some((i, _)) = best else { return };
        places[i] += 1;
        layers[i].bits = CHOICES[places[i]];
    }
}

/// The bits by layer, for [`Settings::layer_bits`].
pub fn bits(found: &[Sensitivity]) -> BTreeMap<String, u8> {
    found.iter().map(|layer| (layer.name.clone(), layer.bits)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &str, weights: usize, damage: [f64; 5]) -> Sensitivity {
        Sensitivity { name: name.into(), weights, damage: damage.to_vec(), bits: 8 }
    }

    #[test]
    fn what_minds_least_is_lowered_first_and_the_last_stays() {
        let mut layers = [
            layer("tender", 100, [0.0, 0.5, 1.0, 2.0, 4.0]),
            layer("robust", 100, [0.0, 0.001, 0.002, 0.003, 0.004]),
            layer("last", 100, [0.0; 5]),
        ];
        lower(&mut layers, 20.0 / 3.0);
        assert_eq!(layers.each_ref().map(|layer| layer.bits), [8, 4, 8]);
        lower(&mut layers, 3.0);
        assert_eq!(layers[2].bits, 8);
    }
}
