//! The graph in which `Quantize` and `Dequantize` say what is code.

use std::collections::{BTreeMap, HashMap};

use ocelli_graph::{Codes, Constant, Dim, ElementType, Graph, Node, Op, ValueId};

use crate::network::{Network, is_mover, transposed};
use crate::quantiser::{QuantisedWeights, bias_code};

/// A layer's numbers.
#[derive(Clone, Debug)]
pub struct LayerCodes {
    /// Weights.
    pub weights: QuantisedWeights,
    /// Bias, a number per channel.
    pub bias: Vec<f32>,
}

/// What becomes which codes.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Codes of values.
    pub values: BTreeMap<ValueId, Codes>,
    /// Biases stay numbers.
    pub float_bias: bool,
    /// Codes of layers' weights, by the layer's position.
    pub layers: BTreeMap<usize, LayerCodes>,
}

/// A graph with codes, and where the original values are in it.
#[derive(Clone, Debug)]
pub struct Assembled {
    /// The graph.
    pub graph: Graph,
    /// The value of the new graph that every value of the old one became: numbers, not codes.
    pub values: HashMap<ValueId, ValueId>,
}

struct Assembler<'a> {
    plan: &'a Plan,
    graph: Graph,
    /// What readers of a value read.
    read: HashMap<ValueId, ValueId>,
    /// The codes of a value, and which.
    codes: HashMap<ValueId, (ValueId, Codes)>,
}

/// Puts codes into the network.
pub fn assemble(network: &Network, plan: &Plan) -> Assembled {
    let mut graph = network.graph.clone();
    let nodes = std::mem::take(&mut graph.nodes);
    let mut own = Assembler { plan, graph, read: HashMap::new(), codes: HashMap::new() };
    for id in network.graph.inputs.clone() {
        own.quantise(id);
    }
    for (index, node) in nodes.into_iter().enumerate() {
        match network.layers.iter().position(|layer| layer.node == index) {
            Some(layer) => own.layer(network, layer, node),
            None => own.node(node),
        }
    }
    let values = (0..network.graph.values.len() as u32)
        .map(|i| (ValueId(i), own.read.get(&ValueId(i)).copied().unwrap_or(ValueId(i))))
        .collect();
    Assembled { graph: own.graph, values }
}

impl Assembler<'_> {
    fn reading(&self, id: ValueId) -> ValueId {
        self.read.get(&id).copied().unwrap_or(id)
    }

    /// Codes for a value that has just been computed, if it is to have some.
    fn quantise(&mut self, id: ValueId) {
        let Some(&codes) = self.plan.values.get(&id) else { return };
        let (name, shape) = (self.graph.value(id).name.clone(), self.graph.value(id).shape.clone());
        let coded = self.graph.add_value(format!("{name}/codes"), shape.clone(), ElementType::U8);
        self.push(format!("{name}/quantize"), Op::Quantize(codes), vec![id], coded);
        self.dequantise(id, coded, codes, &name, shape);
    }

    fn dequantise(&mut self, id: ValueId, coded: ValueId, codes: Codes, name: &str, shape: Vec<Dim>) {
        let scale = self.graph.add_constant(format!("{name}/scale"), &[], vec![codes.scale]);
        let number = self.graph.add_value(format!("{name}/numbers"), shape, ElementType::F32);
        let op = Op::Dequantize { zero_point: codes.zero_point, axis: None };
        self.push(format!("{name}/dequantize"), op, vec![coded, scale], number);
        self.read.insert(id, number);
        self.codes.insert(id, (coded, codes));
    }

    fn push(&mut self, name: String, op: Op, inputs: Vec<ValueId>, output: ValueId) {
        self.graph.nodes.push(Node { name, op, inputs, outputs: vec![output] });
    }

    fn node(&mut self, mut node: Node) {
        // Codes are moved, not numbers.
        if is_mover(&node.op)
            && let Some(&(coded, codes)) = self.codes.get(&node.inputs[0])
        {
            let output = node.outputs[0];
            let (name, shape) =
                (self.graph.value(output).name.clone(), self.graph.value(output).shape.clone());
            let moved = self.graph.add_value(format!("{name}/codes"), shape.clone(), ElementType::U8);
            self.push(node.name, node.op, vec![coded], moved);
            self.dequantise(output, moved, codes, &name, shape);
            for id in &mut self.graph.outputs {
                if *id == output {
                    *id = self.read[&output];
                }
            }
            return;
        }
        for id in &mut node.inputs {
            *id = self.read.get(id).copied().unwrap_or(*id);
        }
        let outputs = node.outputs.clone();
        self.graph.nodes.push(node);
        for id in outputs {
            self.quantise(id);
        }
    }

    fn layer(&mut self, network: &Network, layer: usize, mut node: Node) {
        let own = &network.layers[layer];
        let Some(found) = self.plan.layers.get(&layer) else { return self.node(node) };
        let name = own.name.clone();
        let input = self.codes.get(&node.inputs[0]).map(|(_, codes)| codes.scale);
        node.inputs[0] = self.reading(node.inputs[0]);

        let value = self.graph.value(node.inputs[1]).clone();
        let shape = value.shape_at(1);
        let codes = if own.linear {
            let turned: Vec<f32> = found.weights.codes.iter().map(|code| f32::from(*code)).collect();
            transposed(&turned, shape[0]).into_iter().map(|code| code as i8).collect()
        } else {
            found.weights.codes.clone()
        };
        let per_channel = found.weights.scales.len() > 1;
        let axis = per_channel.then_some(usize::from(own.linear));
        let coded = self.graph.add_known(format!("{name}.weight_q"), &shape, Constant::I8(codes.into()));
        let extents: &[usize] = if per_channel { &[own.channels] } else { &[] };
        let scale =
            self.graph.add_constant(format!("{name}.weight_scale"), extents, found.weights.scales.clone());
        let number = self.graph.add_value(format!("{name}.weight/numbers"), value.shape, ElementType::F32);
        let op = Op::Dequantize { zero_point: 0, axis };
        self.push(format!("{name}.weight/dequantize"), op, vec![coded, scale], number);
        node.inputs[1] = number;

        node.inputs[2] = match input.filter(|_| !self.plan.float_bias) {
            // The sum of products has one unit per channel, which is the bias's.
            Some(input) => {
                let units: Vec<f32> = (0..own.channels).map(|o| input * found.weights.scale(o)).collect();
                let codes: Vec<i32> =
                    found.bias.iter().zip(&units).map(|(b, unit)| bias_code(*b, *unit)).collect();
                let shape = [own.channels];
                let coded =
                    self.graph.add_known(format!("{name}.bias_q"), &shape, Constant::I32(codes.into()));
                let scale = self.graph.add_constant(format!("{name}.bias_scale"), &shape, units);
                let dims = vec![Dim::Fixed(own.channels)];
                let number = self.graph.add_value(format!("{name}.bias/numbers"), dims, ElementType::F32);
                let op = Op::Dequantize { zero_point: 0, axis: Some(0) };
                self.push(format!("{name}.bias/dequantize"), op, vec![coded, scale], number);
                number
            }
            None => self.graph.add_constant(format!("{name}.bias"), &[own.channels], found.bias.clone()),
        };
        let output = node.outputs[0];
        self.graph.nodes.push(node);
        self.quantise(output);
    }
}
