//! Collects an ONNX graph: names, nodes, helper constants, extents that depend on the batch.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::OnnxError;
use super::model::{Attr, Data, Model, NodeMessage, Tensor};
use crate::ir::{Dim, Graph, Node, Value, ValueId};

/// The ONNX graph under construction.
pub(super) struct Builder<'g> {
    graph: &'g Graph,
    /// Name in the file of each value.
    names: Vec<String>,
    taken: HashSet<String>,
    nodes: Vec<NodeMessage>,
    tensors: Vec<Tensor<'g>>,
    /// Values `[1]` that hold so many times the batch size.
    batch: BTreeMap<usize, String>,
}

impl<'g> Builder<'g> {
    /// An empty file for `graph`, whose values keep their names where those are unique.
    pub fn new(graph: &'g Graph) -> Result<Self, OnnxError> {
        let mut this = Self {
            graph,
            names: vec![String::new(); graph.values.len()],
            taken: HashSet::new(),
            nodes: Vec::new(),
            tensors: Vec::new(),
            batch: BTreeMap::new(),
        };
        let ids = (0..graph.values.len() as u32).map(ValueId);
        // What the caller sees has the first choice.
        let seen = graph.inputs.iter().chain(&graph.outputs).copied().chain(graph.constants.keys().copied());
        for id in seen.chain(ids) {
            let name = &value(graph, id)?.name;
            if this.names[id.index()].is_empty() {
                this.names[id.index()] = this.unique(if name.is_empty() { "value" } else { name });
            }
        }
        let used: HashSet<ValueId> =
            graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs).copied().collect();
        for (&id, constant) in &graph.constants {
            let Value { name, shape, element } = value(graph, id)?;
            let malformed = |reason: String| OnnxError::Malformed { place: format!("'{name}'"), reason };
            let mut dims = Vec::with_capacity(shape.len());
            for dim in shape {
                let Dim::Fixed(extent) = dim else {
                    return Err(malformed("a constant whose shape depends on the batch".into()));
                };
                dims.push(*extent as i64);
            }
            let count = dims.iter().try_fold(1i64, |product, &extent| product.checked_mul(extent));
            if count != Some(constant.len() as i64) {
                return Err(malformed(format!("{} elements in shape {dims:?}", constant.len())));
            }
            let data = Data::from(constant);
            if data.element() != *element {
                return Err(malformed(format!("elements are not of type {element:?}")));
            }
            if used.contains(&id) {
                this.tensors.push(Tensor { name: this.names[id.index()].clone(), dims, data });
            }
        }
        Ok(this)
    }

    /// Starts to translate `node`.
    pub fn scope(&mut self, node: &'g Node) -> Scope<'_, 'g> {
        let first = self.nodes.len();
        Scope { builder: self, node, first }
    }

    /// The collected file.
    pub fn finish(mut self) -> Result<Model<'g>, OnnxError> {
        let graph = self.graph;
        let produced: HashSet<ValueId> = graph.nodes.iter().flat_map(|node| &node.outputs).copied().collect();
        let mut outputs: Vec<(String, &Value)> = Vec::new();
        for &id in &graph.outputs {
            let name = self.names[id.index()].clone();
            let name = if produced.contains(&id) && outputs.iter().all(|(other, _)| *other != name) {
                name
            } else {
                // ONNX wants a graph's outputs to be written by nodes, each once.
                let copy = self.unique(&format!("{name}/output"));
                self.nodes.push(NodeMessage {
                    op: "Identity",
                    name: copy.clone(),
                    inputs: vec![name],
                    outputs: vec![copy.clone()],
                    attributes: Vec::new(),
                });
                copy
            };
            outputs.push((name, value(graph, id)?));
        }
        let named = |id: ValueId| (self.names[id.index()].clone(), &graph.values[id.index()]);
        let inputs = graph.inputs.iter().copied().map(named).collect();
        let between = graph
            .nodes
            .iter()
            .flat_map(|node| &node.outputs)
            .filter(|id| !graph.outputs.contains(id))
            .copied()
            .map(named)
            .collect();
        Ok(Model { name: &graph.name, nodes: self.nodes, tensors: self.tensors, inputs, outputs, between })
    }

    /// `wish`, or with a number if that is taken.
    fn unique(&mut self, wish: &str) -> String {
        let mut name = wish.to_string();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wish}_{count}");
        }
        name
    }

    fn constant(&mut self, wish: &str, dims: Vec<i64>, data: Data<'static>) -> String {
        let name = self.unique(wish);
        self.tensors.push(Tensor { name: name.clone(), dims, data });
        name
    }

    fn push(&mut self, op: &'static str, wish: &str, inputs: &[&str], attributes: Vec<(&'static str, Attr)>) {
        let output = self.unique(wish);
        self.nodes.push(NodeMessage {
            op,
            name: output.clone(),
            inputs: inputs.iter().map(|name| name.to_string()).collect(),
            outputs: vec![output],
            attributes,
        });
    }

    /// A value `[1]` of `factor` times the batch size, read off the graph's input.
    fn batch_extent(&mut self, factor: usize) -> Result<String, OnnxError> {
        if let Some(name) = self.batch.get(&factor) {
            return Ok(name.clone());
        }
        let ints = |values: &[i64]| Data::I64(Cow::Owned(values.to_vec()));
        if !self.batch.contains_key(&1) {
            let found = self.graph.inputs.iter().find_map(|&id| {
                let shape = &self.graph.values[id.index()].shape;
                let axis = shape.iter().position(|dim| *dim == Dim::Batch(1))?;
                Some((self.names[id.index()].clone(), axis as i64))
            });
            let (input, axis) = found.ok_or_else(|| OnnxError::Malformed {
                place: "inputs".into(),
                reason: "no input tells the batch size that shapes depend on".into(),
            })?;
            self.push(
                "Shape",
                "batch_size",
                &[&input],
                vec![("start", Attr::Int(axis)), ("end", Attr::Int(axis + 1))],
            );
            self.batch.insert(1, self.last_output());
        }
        if factor != 1 {
            let one = self.batch[&1].clone();
            let times =
                self.constant(&format!("batch_size_x{factor}/factor"), vec![1], ints(&[factor as i64]));
            self.push("Mul", &format!("batch_size_x{factor}"), &[&one, &times], vec![]);
            self.batch.insert(factor, self.last_output());
        }
        Ok(self.batch[&factor].clone())
    }

    fn last_output(&self) -> String {
        self.nodes.last().and_then(|node| node.outputs.first()).cloned().unwrap_or_default()
    }
}

/// The value called `id`, or an error where there is none.
fn value(graph: &Graph, id: ValueId) -> Result<&Value, OnnxError> {
    graph.values.get(id.index()).ok_or_else(|| OnnxError::Malformed {
        place: format!("value {}", id.0),
        reason: format!("the graph has {} values", graph.values.len()),
    })
}

/// The translation of one node.
pub(super) struct Scope<'b, 'g> {
    builder: &'b mut Builder<'g>,
    /// The node that is translated.
    pub node: &'g Node,
    first: usize,
}

impl<'g> Scope<'_, 'g> {
    /// An error about this node.
    pub fn malformed(&self, reason: impl Into<String>) -> OnnxError {
        OnnxError::Malformed { place: format!("node '{}'", self.node.name), reason: reason.into() }
    }

    /// What the node reads at `position`.
    pub fn input_value(&self, position: usize) -> Result<&'g Value, OnnxError> {
        let id = self.node.inputs.get(position);
        let id = id.ok_or_else(|| self.malformed(format!("input {position} is missing")))?;
        value(self.builder.graph, *id)
    }

    /// Name of what the node reads at `position`.
    pub fn input(&self, position: usize) -> Result<String, OnnxError> {
        self.input_value(position)?;
        Ok(self.builder.names[self.node.inputs[position].index()].clone())
    }

    /// Names of everything the node reads.
    pub fn inputs(&self) -> Result<Vec<String>, OnnxError> {
        (0..self.node.inputs.len()).map(|position| self.input(position)).collect()
    }

    /// What the node writes first.
    pub fn output_value(&self) -> Result<&'g Value, OnnxError> {
        let id = self.node.outputs.first().ok_or_else(|| self.malformed("no output"))?;
        value(self.builder.graph, *id)
    }

    /// The extents of `dims`, which must not depend on the batch.
    pub fn fixed(&self, dims: &[Dim]) -> Result<Vec<usize>, OnnxError> {
        dims.iter()
            .map(|dim| match dim {
                Dim::Fixed(extent) => Ok(*extent),
                Dim::Batch(_) => Err(self.malformed("an extent that depends on the batch")),
            })
            .collect()
    }

    /// Adds an ONNX node; gives the name of its output.
    pub fn push(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<(&'static str, Attr)>,
    ) -> String {
        let name = self.node.name.as_str();
        self.builder.push(op, &format!("{name}/{op}"), inputs, attributes);
        self.builder.last_output()
    }

    /// Adds an ONNX node with two outputs.
    pub fn push_two(
        &mut self,
        op: &'static str,
        inputs: &[&str],
        attributes: Vec<(&'static str, Attr)>,
    ) -> [String; 2] {
        let first = self.push(op, inputs, attributes);
        let second = self.builder.unique(&format!("{first}/second"));
        if let Some(node) = self.builder.nodes.last_mut() {
            node.outputs.push(second.clone());
        }
        [first, second]
    }

    /// A constant called after this node.
    pub fn constant(&mut self, what: &str, dims: &[usize], data: Data<'static>) -> String {
        let wish = format!("{}/{what}", self.node.name);
        self.builder.constant(&wish, dims.iter().map(|&dim| dim as i64).collect(), data)
    }

    /// A constant vector of whole numbers.
    pub fn ints(&mut self, what: &str, values: Vec<i64>) -> String {
        self.constant(what, &[values.len()], Data::I64(Cow::Owned(values)))
    }

    /// A constant tensor of floating point numbers.
    pub fn floats(&mut self, what: &str, dims: &[usize], values: Vec<f32>) -> String {
        self.constant(what, dims, Data::F32(Cow::Owned(values)))
    }

    /// A vector with the extents of `dims`, computed when the network runs if they depend on the batch.
    pub fn shape(&mut self, dims: &[Dim]) -> Result<String, OnnxError> {
        if let Ok(fixed) = self.fixed(dims) {
            return Ok(self.ints("shape", fixed.into_iter().map(|extent| extent as i64).collect()));
        }
        let mut parts = Vec::new();
        for run in dims.chunk_by(|a, b| matches!((a, b), (Dim::Fixed(_), Dim::Fixed(_)))) {
            parts.push(match run {
                [Dim::Batch(factor)] => self.builder.batch_extent(*factor)?,
                run => {
                    let fixed = self.fixed(run)?;
                    self.ints("shape", fixed.into_iter().map(|extent| extent as i64).collect())
                }
            });
        }
        if let [only] = parts.as_slice() {
            return Ok(only.clone());
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let wish = format!("{}.shape", self.node.name);
        self.builder.push("Concat", &wish, &parts, vec![("axis", Attr::Int(0))]);
        Ok(self.builder.last_output())
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: &str, from: &[Dim], to: &[Dim]) -> Result<String, OnnxError> {
        let empty = to.contains(&Dim::Fixed(0));
        let mut wanted = Vec::with_capacity(to.len());
        for (axis, dim) in to.iter().enumerate() {
            wanted.push(match dim {
                Dim::Fixed(extent) => *extent as i64,
                // 0 takes the input's extent, -1 what is left; both hold for any batch.
                Dim::Batch(_) if from.get(axis) == Some(dim) => 0,
                Dim::Batch(_) => -1,
            });
        }
        let open = wanted.iter().filter(|&&extent| extent == -1).count();
        let shape = if open > 1 || empty { self.shape(to)? } else { self.ints("shape", wanted) };
        let attributes = if empty { vec![("allowzero", Attr::Int(1))] } else { vec![] };
        Ok(self.push("Reshape", &[x, &shape], attributes))
    }

    /// Ends the translation: `results` take the names of the node's outputs.
    pub fn finish(mut self, results: Vec<String>) -> Result<(), OnnxError> {
        let node = self.node;
        if results.len() != node.outputs.len() {
            let text = format!("{} outputs instead of {}", node.outputs.len(), results.len());
            return Err(self.malformed(text));
        }
        for (result, &id) in results.into_iter().zip(&node.outputs) {
            value(self.builder.graph, id)?;
            let written = |message: &NodeMessage| message.outputs.contains(&result);
            let result = match self.builder.nodes[self.first..].iter().any(written) {
                true => result,
                false => self.push("Identity", &[&result], vec![]),
            };
            let name = self.builder.names[id.index()].clone();
            for message in &mut self.builder.nodes[self.first..] {
                for place in message.outputs.iter_mut().chain(&mut message.inputs) {
                    if *place == result {
                        place.clone_from(&name);
                    }
                }
            }
        }
        // The node that does the work is called as it was; values and nodes have separate names.
        let own = format!("{}/", node.name);
        if let Some(message) =
            self.builder.nodes[self.first..].iter_mut().find(|message| message.name.starts_with(&own))
        {
            message.name.clone_from(&node.name);
        }
        Ok(())
    }
}
