//! Post-training quantisation: from a trained network and a few hundred pictures without labels to one of codes.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_engine::RunOptions;
use ocelli_graph::{Codes, Graph, Op, ValueId};
use serde::{Deserialize, Serialize};

use crate::assemble::{Assembled, LayerCodes, Plan, assemble};
use crate::error::CompressError;
use crate::network::Network;
use crate::probe::{Batch, Probe};
use crate::quantiser::{QuantisedWeights, WeightRange, affine};
use crate::range::{Estimator, Observer};
use crate::round::{self, Moments};
use crate::windows::Windows;

/// What is done to a network. The default is the guideline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Bits of weights, 2 to 8.
    pub weight_bits: u8,
    /// Bits of activations, 2 to 8.
    pub activation_bits: u8,
    /// How far activations reach.
    pub activations: Estimator,
    /// How far weights reach; by default all the way at 8 bits and with least squares below.
    pub weights: Option<WeightRange>,
    /// Every output channel has a scale of its own.
    pub per_channel: bool,
    /// Ranges are shared out between layers beforehand; worth it where all channels share a scale.
    pub equalise: bool,
    /// Rounding is learned for weights of 6 bits and fewer; steps per layer.
    pub round_steps: Option<usize>,
    /// Biases make up for what rounding shifts.
    pub correct: bool,
    /// The first layer's input and the last layer have 8 bits whatever the others have.
    pub ends_at_8: bool,
    /// Only weights become codes.
    pub weights_only: bool,
    /// Biases stay numbers: for comparisons; layers are then computed in floating point.
    pub float_bias: bool,
    /// Every layer is compared with the float network's: costs more than all the rest where nothing is learned.
    #[serde(default = "yes")]
    pub report: bool,
    /// Layers that stay in floating point.
    pub keep: BTreeSet<String>,
    /// Bits of the weights of single layers.
    pub layer_bits: BTreeMap<String, u8>,
    /// What is known of single layers' codes, as after quantisation-aware training.
    #[serde(skip)]
    pub given: BTreeMap<String, Given>,
}

/// Codes of a layer that are given, not found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The unit of every output channel's weights, before batch norms are folded in.
    pub steps: Vec<f32>,
    /// The largest magnitude of every output channel's weights then.
    pub largest: Vec<f32>,
    /// The codes of its input.
    pub input: Option<Codes>,
}

/// Codes of a layer that were found.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// Its name.
    pub name: String,
    /// Bits of its weights.
    pub bits: u8,
    /// The unit of every output channel's weights, batch norms folded in.
    pub scales: Vec<f32>,
    /// The largest magnitude of every output channel's weights, batch norms folded in.
    pub largest: Vec<f32>,
    /// The value its input's codes are decided at (what only moves numbers keeps their codes), and the codes.
    pub input: Option<(String, Codes)>,
}

/// The largest magnitude of every row.
pub fn largest(weights: &[f32], rows: usize) -> Vec<f32> {
    let row = (weights.len() / rows.max(1)).max(1);
    weights.chunks_exact(row).map(|own| own.iter().fold(0.0, |most: f32, w| most.max(w.abs()))).collect()
}

fn yes() -> bool {
    true
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            weight_bits: 8,
            activation_bits: 8,
            activations: Estimator::Percentile(99.99),
            weights: None,
            per_channel: true,
            equalise: false,
            round_steps: Some(1000),
            correct: true,
            ends_at_8: true,
            weights_only: false,
            float_bias: false,
            report: true,
            keep: BTreeSet::new(),
            layer_bits: BTreeMap::new(),
            given: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The guideline at these bits.
    pub fn guideline(weight_bits: u8, activation_bits: u8) -> Self {
        let activations = if activation_bits < 8 { Estimator::Mse } else { Estimator::Percentile(99.99) };
        Self { weight_bits, activation_bits, activations, ..Self::default() }
    }

    fn check(&self) -> Result<(), CompressError> {
        let bits = self.layer_bits.values().chain([&self.weight_bits, &self.activation_bits]);
        if let Some(bits) = bits.into_iter().find(|bits| !(2..=8).contains(*bits)) {
            return Err(CompressError::Setting(format!("{bits} bits; 2 to 8 can be had")));
        }
        if let Estimator::Percentile(p) = self.activations
            && !(p > 50.0 && p <= 100.0)
        {
            return Err(CompressError::Setting(format!("percentile {p}; more than 50 up to 100 is meant")));
        }
        Ok(())
    }

    fn range(&self, bits: u8) -> WeightRange {
        self.weights.unwrap_or(if bits >= 8 { WeightRange::MinMax } else { WeightRange::Mse })
    }
}

/// What one layer became.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// Its name.
    pub name: String,
    /// Bits of its weights.
    pub weight_bits: u8,
    /// Bits of its input.
    pub input_bits: u8,
    /// Range of its input's codes.
    pub input_range: [f32; 2],
    /// Share of the input's numbers that lie beyond it.
    pub clipped: f64,
    /// Signal to noise of its output in the whole quantised network, in dB.
    pub sqnr: f64,
    /// Elements of its weights.
    pub weights: usize,
    /// Share of the weights whose code is 0.
    pub zeros: f64,
}

/// A quantised network.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The graph, with `Quantize` and `Dequantize`.
    pub graph: Graph,
    /// Every layer that became codes; empty without [`Settings::report`].
    pub layers: Vec<LayerReport>,
    /// Pairs of layers whose ranges were shared out.
    pub equalised: usize,
    /// How far every value reaches that became codes, by name.
    pub ranges: BTreeMap<String, (f64, f64)>,
    /// The codes of every layer.
    pub plan: Vec<LayerPlan>,
}

/// Progress of a quantisation: what is done, and which share of it.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// Quantises `graph` (as captured, float) by what `batches` show.
///
/// # Errors
/// If settings make no sense, there is nothing to calibrate with, numbers are not finite, or the engine cannot run the network.
pub fn quantise(
    graph: Graph,
    batches: &[Batch],
    settings: &Settings,
    options: RunOptions,
    progress: Progress<'_>,
) -> Result<Quantised, CompressError> {
    settings.check()?;
    if batches.iter().all(|batch| batch.count == 0) {
        return Err(CompressError::NoData);
    }
    let mut network = Network::new(graph, &settings.keep)?;
    if let Some(name) =
        settings.layer_bits.keys().find(|name| !network.layers.iter().any(|l| l.name == **name))
    {
        return Err(CompressError::Setting(format!(
            "bits for '{name}', which is no layer that is quantised"
        )));
    }
    for layer in &network.layers {
        let Some(given) = settings.given.get(&layer.name) else { continue };
        let (steps, channels) = (given.steps.len(), layer.channels);
        if steps != channels || given.largest.len() != channels {
            let problem = format!("'{}' has {channels} channels, codes are given for {steps}", layer.name);
            return Err(CompressError::Setting(problem));
        }
        let positive = given.steps.iter().all(|step| step.is_finite() && *step > 0.0);
        if !positive || given.input.is_some_and(|codes| !codes.is_sound()) {
            return Err(CompressError::Setting(format!("the codes given for '{}' are none", layer.name)));
        }
    }
    let equalised = if settings.equalise { network.equalise() } else { 0 };
    let mut own = Quantiser {
        network,
        batches,
        settings,
        options,
        plan: Plan::default(),
        float: Vec::new(),
        ranges: BTreeMap::new(),
    };
    own.observe(progress)?;
    own.weights();
    own.round(progress)?;
    own.correct(progress)?;
    let layers = if settings.report { own.report(progress)? } else { Vec::new() };
    let graph = assemble(&own.network, &own.plan).graph;
    let plan = own.layer_plans();
    Ok(Quantised { graph, layers, equalised, ranges: own.ranges, plan })
}

struct Quantiser<'a> {
    network: Network,
    batches: &'a [Batch],
    settings: &'a Settings,
    options: RunOptions,
    plan: Plan,
    /// The mean of every channel of every layer's output in the float network.
    float: Vec<Vec<f64>>,
    ranges: BTreeMap<String, (f64, f64)>,
}

impl Quantiser<'_> {
    /// Finds the codes of all points and the float network's means.
    fn observe(&mut self, progress: Progress<'_>) -> Result<(), CompressError> {
        let points: Vec<ValueId> = self.network.points.iter().copied().collect();
        let outputs: Vec<ValueId> = self.network.layers.iter().map(|layer| layer.output).collect();
        let wanted: Vec<ValueId> = points.iter().chain(&outputs).copied().collect();
        let probe = Probe::new(&self.network.graph, &wanted, self.options)?;
        let mut observers: Vec<Observer> =
            points.iter().map(|_| Observer::new(self.settings.activations)).collect();
        let mut means: Vec<Means> =
            self.network.layers.iter().map(|layer| Means::new(layer.channels, layer.linear)).collect();
        for (i, batch) in self.batches.iter().enumerate() {
            progress("calibrating", i, self.batches.len());
            let found = probe.run(batch)?;
            for ((observer, id), numbers) in observers.iter_mut().zip(&points).zip(&found) {
                observer.observe(numbers).map_err(|at| CompressError::Number {
                    place: self.network.graph.value(*id).name.clone(),
                    problem: format!("element {at} of calibration batch {i} is not a finite number"),
                })?;
            }
            for (mean, numbers) in means.iter_mut().zip(&found[points.len()..]) {
                mean.add(numbers, batch.count);
            }
        }
        self.plan.float_bias = self.settings.float_bias;
        self.float = means.into_iter().map(Means::finish).collect();
        let fixed = self.fixed_points();
        for (id, observer) in points.iter().zip(&observers) {
            let bits = if fixed.contains(id) { 8 } else { self.settings.activation_bits };
            let name = self.network.graph.value(*id).name.clone();
            self.ranges.insert(name, observer.range(bits));
            if !self.settings.weights_only {
                self.plan.values.insert(*id, observer.codes(bits));
            }
        }
        self.join();
        for layer in &self.network.layers {
            let given = self.settings.given.get(&layer.name).and_then(|given| given.input);
            if let Some(codes) = given {
                for id in self.joined(layer.input) {
                    if let Some(own) = self.plan.values.get_mut(&id) {
                        *own = codes;
                    }
                }
            }
        }
        self.share_codes();
        Ok(())
    }

    /// What is concatenated shares the codes of the whole, which then costs nothing: a range that holds all of it.
    fn join(&mut self) {
        let graph = &self.network.graph;
        let wholes: Vec<ValueId> = graph
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::Concat { .. }))
            .map(|node| node.outputs[0])
            .filter(|id| self.plan.values.contains_key(id))
            .collect();
        for whole in wholes {
            let members = self.joined(whole);
            let mut reach = (0.0f64, 0.0f64);
            let mut bits = 0;
            for id in &members {
                let Some(codes) = self.plan.values.get(id) else { continue };
                bits = bits.max(codes.bits);
                if let Some((low, high)) = self.ranges.get(&self.network.graph.value(*id).name) {
                    reach = (reach.0.min(*low), reach.1.max(*high));
                }
            }
            let codes = affine(reach.0, reach.1, bits);
            for id in members {
                if let Some(own) = self.plan.values.get_mut(&id) {
                    *own = codes;
                }
            }
        }
    }

    /// The values whose codes are decided with those of `id`: where what only moves comes from, and what is concatenated with it.
    /// The first of them stands for all.
    fn joined(&self, id: ValueId) -> Vec<ValueId> {
        let mut found = BTreeSet::from([self.source(id)]);
        loop {
            let before = found.len();
            for node in &self.network.graph.nodes {
                if !matches!(node.op, Op::Concat { .. }) || !self.plan.values.contains_key(&node.outputs[0]) {
                    continue;
                }
                let members: Vec<ValueId> =
                    node.inputs.iter().chain(&node.outputs).map(|id| self.source(*id)).collect();
                if members.iter().any(|id| found.contains(id)) {
                    found.extend(members);
                }
            }
            if found.len() == before {
                return found.into_iter().collect();
            }
        }
    }

    /// Where the codes of `id` come from.
    fn source(&self, mut id: ValueId) -> ValueId {
        for node in self.network.graph.nodes.iter().rev() {
            if node.outputs[0] == id
                && keeps_codes(&node.op)
                && self.plan.values.contains_key(&node.inputs[0])
            {
                id = node.inputs[0];
            }
        }
        id
    }

    fn layer_plans(&self) -> Vec<LayerPlan> {
        let plans = self.network.layers.iter().enumerate().filter_map(|(i, layer)| {
            let codes = &self.plan.layers.get(&i)?.weights;
            let source = self.joined(layer.input)[0];
            let input = self.plan.values.get(&source);
            Some(LayerPlan {
                name: layer.name.clone(),
                bits: codes.bits,
                scales: (0..layer.channels).map(|channel| codes.scale(channel)).collect(),
                largest: largest(&self.network.weights(layer), layer.channels),
                input: input.map(|codes| (self.network.graph.value(source).name.clone(), *codes)),
            })
        });
        plans.collect()
    }

    /// What first and last layers read: the numbers behind moved ones too.
    fn fixed_points(&self) -> BTreeSet<ValueId> {
        let mut fixed = BTreeSet::new();
        if !self.settings.ends_at_8 {
            return fixed;
        }
        fixed.extend(self.network.graph.inputs.iter().copied());
        if let Some(last) = self.network.layers.last() {
            fixed.insert(last.input);
        }
        self.same_codes(&mut fixed);
        fixed
    }

    /// Adds to `ids` what must have the same codes as one of them: what is moved about or pooled into it.
    fn same_codes(&self, ids: &mut BTreeSet<ValueId>) {
        for node in self.network.graph.nodes.iter().rev() {
            if keeps_codes(&node.op) && ids.contains(&node.outputs[0]) {
                ids.insert(node.inputs[0]);
            }
        }
        for node in &self.network.graph.nodes {
            if keeps_codes(&node.op) && ids.contains(&node.inputs[0]) {
                ids.insert(node.outputs[0]);
            }
        }
    }

    /// What only moves or chooses numbers leaves their codes as they are.
    fn share_codes(&mut self) {
        for node in &self.network.graph.nodes {
            if keeps_codes(&node.op)
                && let Some(&codes) = self.plan.values.get(&node.inputs[0])
                && let Some(own) = self.plan.values.get_mut(&node.outputs[0])
            {
                *own = codes;
            }
        }
    }

    fn bits(&self, layer: usize) -> u8 {
        let own = &self.network.layers[layer];
        let last = self.settings.ends_at_8 && layer + 1 == self.network.layers.len();
        match self.settings.layer_bits.get(&own.name) {
            Some(&bits) => bits,
            None if last => 8,
            None => self.settings.weight_bits,
        }
    }

    /// The nearest codes of all weights.
    fn weights(&mut self) {
        for (i, layer) in self.network.layers.iter().enumerate() {
            let bits = self.bits(i);
            let (weights, bias) = (self.network.weights(layer), self.network.bias(layer));
            let per_channel = self.settings.per_channel;
            let range = self.settings.range(bits);
            let mut codes = match self.settings.given.get(&layer.name) {
                // Folding a batch norm in moved weights and units alike.
                Some(given) => {
                    let now = largest(&weights, layer.channels);
                    let scale = |o: usize| match given.largest[o] {
                        0.0 => given.steps[o],
                        before => given.steps[o] * (now[o] / before),
                    };
                    let scales = (0..layer.channels).map(|o| scale(o).max(f32::MIN_POSITIVE)).collect();
                    QuantisedWeights::with_scales(&weights, layer.channels, scales, bits)
                }
                None => QuantisedWeights::new(&weights, layer.channels, per_channel, range, bits),
            };
            let input = self.plan.values.get(&layer.input).map_or(1.0, |codes| codes.scale);
            // A tiny scale would put the bias out of reach of 32 bits.
            let least = |o: usize| bias[o].abs() / (input * (1u32 << 30) as f32);
            let floors: Vec<f32> = if per_channel {
                (0..layer.channels).map(least).collect()
            } else {
                vec![(0..layer.channels).map(least).fold(0.0, f32::max)]
            };
            if codes.scales.iter().zip(&floors).any(|(scale, floor)| scale < floor) {
                let scales = codes.scales.iter().zip(&floors).map(|(s, f)| s.max(*f)).collect();
                codes = QuantisedWeights::with_scales(&weights, layer.channels, scales, bits);
            }
            self.plan.layers.insert(i, LayerCodes { weights: codes, bias });
        }
    }

    /// Learns the rounding of layers of few bits, in order: each sees the inputs that the layers before it really give.
    fn round(&mut self, progress: Progress<'_>) -> Result<(), CompressError> {
        let Some(steps) = self.settings.round_steps else { return Ok(()) };
        let few: Vec<usize> = (0..self.network.layers.len()).filter(|&i| self.bits(i) <= 6).collect();
        for (done, &i) in few.iter().enumerate() {
            progress("learning to round", done, few.len());
            let layer = self.network.layers[i].clone();
            let windows = Windows::new(&self.network, &layer);
            let float = Probe::new(&self.network.graph, &[layer.input], self.options)?;
            let Assembled { graph, values } = assemble(&self.network, &self.plan);
            let coded = Probe::new(&graph, &[values[&layer.input]], self.options)?;
            let weights = self.network.weights(&layer);
            let mut moments: Vec<Moments> =
                (0..windows.groups).map(|_| Moments::new(windows.depth, windows.channels)).collect();
            for batch in self.batches {
                let wanted = float.run(batch)?;
                let given = coded.run(batch)?;
                windows.gather(&weights, &wanted[0], &given[0], batch.count, &mut moments);
            }
            let Some(found) = self.plan.layers.get_mut(&i) else { continue };
            let settings = round::Settings { steps, ..round::Settings::default() };
            let per_group = windows.channels * windows.depth;
            for (g, moments) in moments.iter().enumerate() {
                let own = g * per_group..(g + 1) * per_group;
                let scales = (0..windows.channels).map(|o| found.weights.scale(g * windows.channels + o));
                let nearest = QuantisedWeights {
                    codes: found.weights.codes[own.clone()].to_vec(),
                    scales: scales.collect(),
                    bits: found.weights.bits,
                };
                let better = round::adaround(moments, &weights[own.clone()], &nearest, &settings);
                found.weights.codes[own].copy_from_slice(&better.codes);
            }
        }
        Ok(())
    }

    /// Moves every layer's bias so that its mean output is the float network's, in order.
    fn correct(&mut self, progress: Progress<'_>) -> Result<(), CompressError> {
        if !self.settings.correct {
            return Ok(());
        }
        for i in 0..self.network.layers.len() {
            progress("correcting biases", i, self.network.layers.len());
            let shift = self.shift(i)?;
            if let Some(found) = self.plan.layers.get_mut(&i) {
                for (b, shift) in found.bias.iter_mut().zip(shift) {
                    *b = (f64::from(*b) - shift) as f32;
                }
            }
        }
        Ok(())
    }

    /// How far the mean of every channel of layer `i` is off.
    fn shift(&self, i: usize) -> Result<Vec<f64>, CompressError> {
        let layer = &self.network.layers[i];
        let Assembled { graph, values } = assemble(&self.network, &self.plan);
        // Before it is quantised: what the layer itself computes.
        let output =
            if self.network.points.contains(&layer.output) { layer.output } else { values[&layer.output] };
        let probe = Probe::new(&graph, &[output], self.options)?;
        let mut means = Means::new(layer.channels, layer.linear);
        for batch in self.batches {
            means.add(&probe.run(batch)?[0], batch.count);
        }
        Ok(means.finish().iter().zip(&self.float[i]).map(|(own, float)| own - float).collect())
    }

    fn report(&self, progress: Progress<'_>) -> Result<Vec<LayerReport>, CompressError> {
        progress("measuring", 0, 1);
        let Assembled { graph, values } = assemble(&self.network, &self.plan);
        let layers = &self.network.layers;
        let inputs: Vec<ValueId> = layers.iter().map(|layer| layer.input).collect();
        let outputs: Vec<ValueId> = layers.iter().map(|layer| layer.output).collect();
        let wanted: Vec<ValueId> = outputs.iter().chain(&inputs).copied().collect();
        let float = Probe::new(&self.network.graph, &wanted, self.options)?;
        let moved: Vec<ValueId> = outputs.iter().map(|id| values[id]).collect();
        let coded = Probe::new(&graph, &moved, self.options)?;
        let mut sums = vec![[0.0f64; 2]; layers.len()];
        let mut beyond = vec![[0u64; 2]; layers.len()];
        // A few batches tell.
        for batch in self.batches.iter().take(4) {
            let (wanted, given) = (float.run(batch)?, coded.run(batch)?);
            for i in 0..layers.len() {
                for (a, b) in wanted[i].iter().zip(&given[i]) {
                    sums[i][0] += f64::from(*a) * f64::from(*a);
                    sums[i][1] += (f64::from(*a) - f64::from(*b)).powi(2);
                }
                if let Some((low, high)) = self.plan.values.get(&inputs[i]).map(|codes| limits(*codes)) {
                    for x in &wanted[layers.len() + i] {
                        beyond[i][0] += u64::from(*x < low || *x > high);
                        beyond[i][1] += 1;
                    }
                }
            }
        }
        let reports = layers.iter().enumerate().filter_map(|(i, layer)| {
            let found = self.plan.layers.get(&i)?;
            let codes = self.plan.values.get(&layer.input)?;
            let zeros = found.weights.codes.iter().filter(|code| **code == 0).count();
            let (low, high) = (codes.number(0), codes.number(codes.highest() as u8));
            Some(LayerReport {
                name: layer.name.clone(),
                weight_bits: found.weights.bits,
                input_bits: codes.bits,
                input_range: [low, high],
                clipped: beyond[i][0] as f64 / beyond[i][1].max(1) as f64,
                sqnr: 10.0 * (sums[i][0] / sums[i][1].max(f64::MIN_POSITIVE)).log10(),
                weights: found.weights.codes.len(),
                zeros: zeros as f64 / found.weights.codes.len().max(1) as f64,
            })
        });
        Ok(reports.collect())
    }
}

/// The numbers that round to the outermost codes.
fn limits(codes: Codes) -> (f32, f32) {
    let half = codes.scale / 2.0;
    (codes.number(0) - half, codes.number(codes.highest() as u8) + half)
}

fn keeps_codes(op: &Op) -> bool {
    crate::network::is_mover(op) || matches!(op, Op::MaxPool(_))
}

/// Means of channels, over pictures and places.
struct Means {
    sums: Vec<f64>,
    count: f64,
    /// Channels are the last dimension, else the second.
    last: bool,
}

impl Means {
    fn new(channels: usize, last: bool) -> Self {
        Self { sums: vec![0.0; channels], count: 0.0, last }
    }

    fn add(&mut self, numbers: &[f32], batch: usize) {
        let channels = self.sums.len();
        let run = if self.last { 1 } else { numbers.len() / (batch * channels).max(1) };
        for (i, part) in numbers.chunks_exact(run.max(1)).enumerate() {
            self.sums[i % channels] += part.iter().map(|x| f64::from(*x)).sum::<f64>();
        }
        self.count += (numbers.len() / channels.max(1)) as f64;
    }

    fn finish(self) -> Vec<f64> {
        let count = self.count.max(1.0);
        self.sums.into_iter().map(|sum| sum / count).collect()
    }
}
