//! From two recordings, of batches 2 and 3, to a graph.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use burn::tensor::{DType, Shape, Slice, TensorData};
use burn_capture::TensorId;
use burn_ir::{
    BaseOperationIr, IrVisitorMut, NumericOperationIr, OperationIr, ScalarIr, TensorIr, TensorStatus,
};

use super::CaptureError;
use super::constants::{Lazy, Pending, Source};
use super::record::Recording;
use crate::ir::{Dim, ElementType, Graph, Node, ValueId};
use crate::op::Op;

/// Largest extent that is believed.
const MOST_EXTENT: usize = 1 << 31;

/// Builds the graph of what `two` recorded for a batch of 2; `three` tells which extents follow the batch.
pub(super) fn translate(
    two: Recording,
    three: Recording,
    name: &str,
    rename: &impl Fn(&str) -> String,
) -> Result<(Graph, Vec<Pending>), CaptureError> {
    let mut translator = Translator {
        graph: Graph { name: name.to_string(), ..Graph::default() },
        ids: HashMap::new(),
        constants: BTreeMap::new(),
        preferred: HashMap::new(),
        at_three: HashMap::new(),
        same: HashMap::new(),
        values: [two.values, three.values],
        parameters: two.parameters,
        input: two.input,
        rename,
        layer: None,
        of_parameters: false,
        owners: HashMap::new(),
        last_layer: String::new(),
        operation: String::new(),
        node_names: HashSet::new(),
        value_names: HashSet::new(),
        numbers: HashMap::new(),
        scalars: HashMap::new(),
    };
    if two.operations.len() != three.operations.len() {
        return Err(translator.batch("another number of operations is recorded"));
    }
    for (a, b) in two.operations.iter().zip(&three.operations) {
        translator.pair(a, b)?;
        translator.operation(a, b)?;
    }
    let outputs: Result<Vec<ValueId>, _> = two.outputs.iter().map(|id| translator.known(*id)).collect();
    translator.graph.outputs = outputs?;
    Ok(translator.finish())
}

pub(super) struct Translator<'a> {
    pub graph: Graph,
    ids: HashMap<TensorId, ValueId>,
    constants: BTreeMap<ValueId, Lazy>,
    /// Names constants would like to have.
    preferred: HashMap<ValueId, String>,
    /// Extents at batch 3 of the tensors recorded at batch 2, and these tensors themselves.
    at_three: HashMap<TensorId, Vec<usize>>,
    same: HashMap<TensorId, TensorId>,
    values: [BTreeMap<TensorId, TensorData>; 2],
    parameters: HashMap<TensorId, String>,
    input: TensorId,
    rename: &'a dyn Fn(&str) -> String,
    /// The layer whose parameters the current operation reads.
    layer: Option<String>,
    /// Whether it reads nothing else.
    of_parameters: bool,
    /// The layers of tensors that are made of one layer's parameters alone.
    owners: HashMap<TensorId, String>,
    last_layer: String,
    operation: String,
    node_names: HashSet<String>,
    value_names: HashSet<String>,
    numbers: HashMap<&'static str, usize>,
    scalars: HashMap<(u64, ElementType), ValueId>,
}

/// Takes out of an operation what may differ between batches without harm.
struct Blank;

impl IrVisitorMut for Blank {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = TensorId::new(0);
        tensor.shape = Shape::from(Vec::<usize>::new());
        tensor.status = TensorStatus::ReadOnly;
    }

    fn visit_range_mut(&mut self, range: &mut Slice) {
        *range = Slice::full();
    }
}

fn blank(operation: &OperationIr) -> OperationIr {
    let mut blank = operation.clone();
    match &mut blank {
        OperationIr::BaseFloat(BaseOperationIr::RepeatDim(repeat))
        | OperationIr::BaseInt(BaseOperationIr::RepeatDim(repeat))
        | OperationIr::BaseBool(BaseOperationIr::RepeatDim(repeat))
            // Repeating one element is an expansion, whatever the count.
            if repeat.tensor.shape[repeat.dim] == 1 => repeat.times = 0,
        OperationIr::NumericFloat(
            _,
            NumericOperationIr::MeanDim(reduce)
            | NumericOperationIr::SumDim(reduce)
            | NumericOperationIr::MaxDim(reduce)
            | NumericOperationIr::MinDim(reduce),
        ) => reduce.accumulator_len = 0,
        _ => {}
    }
    blank.visit_mut(&mut Blank);
    blank
}

/// The operation's own name: `CumSum` of `NumericFloat(F32, CumSum(DimOpIr { .. }))`.
fn operation_name(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let mut pieces = text.split('(');
    let (outer, inner) = (pieces.next().unwrap_or_default(), pieces.next().unwrap_or_default());
    let last = inner.rsplit([' ', ',']).next().unwrap_or_default();
    if last.is_empty() || last.contains(['{', '}']) { outer.to_string() } else { last.to_string() }
}

/// The layer that owns the tensor called `name`.
fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(layer, _)| layer)
}

pub(super) fn element(dtype: DType) -> ElementType {
    if dtype.is_float() {
        ElementType::F32
    } else if dtype.is_bool() {
        ElementType::Bool
    } else {
        ElementType::I64
    }
}

impl Translator<'_> {
    pub fn unsupported(&self, detail: &str) -> CaptureError {
        CaptureError::Unsupported {
            operation: self.operation.clone(),
            layer: self.place(),
            detail: if detail.is_empty() { String::new() } else { format!(": {detail}") },
        }
    }

    pub fn batch(&self, problem: &str) -> CaptureError {
        let operation = if self.operation.is_empty() { "the network".into() } else { self.operation.clone() };
        CaptureError::Batch { operation, layer: self.place(), problem: problem.to_string() }
    }

    fn place(&self) -> String {
        match (&self.layer, self.last_layer.as_str()) {
            (Some(layer), _) => layer.clone(),
            (None, "") => self.graph.name.clone(),
            (None, last) => format!("after {last}"),
        }
    }

    /// Notes how tensors of the two recordings correspond, and what the operation is called.
    fn pair(&mut self, a: &OperationIr, b: &OperationIr) -> Result<(), CaptureError> {
        self.operation = operation_name(a);
        self.layer = None;
        for (x, y) in a.nodes().into_iter().zip(b.nodes()) {
            self.at_three.insert(x.id, y.shape.iter().copied().collect());
            self.same.insert(x.id, y.id);
        }
        let mut owners = a.inputs().map(|tensor| self.owner(tensor));
        let first = owners.next().flatten();
        self.of_parameters = first.is_some() && owners.all(|other| other == first);
        let owner = first.or_else(|| a.inputs().find_map(|tensor| self.owner(tensor)));
        if let Some(owner) = owner {
            if self.of_parameters {
                self.owners.extend(a.outputs().map(|tensor| (tensor.id, owner.clone())));
            }
            self.last_layer.clone_from(&owner);
            self.layer = Some(owner);
        }
        if blank(a) == blank(b) { Ok(()) } else { Err(self.batch("its arguments change")) }
    }

    /// The layer that owns `tensor`: a parameter of its, or made of such.
    fn owner(&self, tensor: &TensorIr) -> Option<String> {
        if let Some(owner) = self.owners.get(&tensor.id) {
            return Some(owner.clone());
        }
        let lazy = self.constants.get(self.ids.get(&tensor.id)?)?;
        let Source::Parameter(name) = &lazy.source else { return None };
        Some(layer_of(&(self.rename)(name)).to_string()).filter(|owner| !owner.is_empty())
    }

    fn operation(&mut self, a: &OperationIr, b: &OperationIr) -> Result<(), CaptureError> {
        if a.inputs().next().is_none()
            && let Some(out) = a.outputs().next()
            && self.stand_in(out)?
        {
            return Ok(());
        }
        match (a, b) {
            (OperationIr::BaseFloat(a), OperationIr::BaseFloat(b))
            | (OperationIr::BaseInt(a), OperationIr::BaseInt(b))
            | (OperationIr::BaseBool(a), OperationIr::BaseBool(b)) => self.base(a, b),
            (OperationIr::NumericFloat(_, a) | OperationIr::NumericInt(_, a), _) => self.numeric(a),
            (OperationIr::Float(_, a), _) => self.float(a),
            (OperationIr::Int(a), _) => self.int(a),
            (OperationIr::Bool(a), _) => self.bool(a),
            (OperationIr::Activation(a), _) => self.activation(a),
            (OperationIr::Module(a), _) => self.module(a),
            (OperationIr::Init(init), _) => self.data(&init.out),
            (OperationIr::Custom(own), _) => {
                let arguments: Vec<f64> = own.scalars.iter().map(|scalar| number(*scalar)).collect();
                let inputs: Result<Vec<_>, _> = own.inputs.iter().map(|t| self.input(t)).collect();
                let mut outputs = Vec::new();
                for (i, out) in own.outputs.iter().enumerate() {
                    let shape = self.shape(out)?;
                    outputs.push(self.graph.add_value(String::new(), shape, element(out.dtype)));
                    self.ids.insert(out.id, outputs[i]);
                }
                let op = super::own::operation(&own.id, &arguments, own.inputs.len());
                self.node(op.unwrap_or(Op::Custom { name: own.id.clone(), arguments }), inputs?, outputs);
                Ok(())
            }
            (OperationIr::Drop(_), _) => Ok(()),
            _ => Err(self.unsupported("")),
        }
    }

    /// Whether `out` stands for the input or a parameter.
    fn stand_in(&mut self, out: &TensorIr) -> Result<bool, CaptureError> {
        let shape = self.shape(out)?;
        if out.id == self.input {
            let id = self.graph.add_value("input", shape, element(out.dtype));
            self.value_names.insert("input".into());
            self.graph.inputs.push(id);
            self.ids.insert(out.id, id);
            return Ok(true);
        }
        let Some(name) = self.parameters.get(&out.id).cloned() else { return Ok(false) };
        let published = (self.rename)(&name);
        let lazy =
            Lazy::new(Source::Parameter(name), out.shape.iter().copied().collect(), element(out.dtype));
        let id = self.constant(lazy, published);
        self.ids.insert(out.id, id);
        Ok(true)
    }

    /// The extents of a recorded tensor.
    pub fn shape(&self, tensor: &TensorIr) -> Result<Vec<Dim>, CaptureError> {
        let three = self.at_three.get(&tensor.id);
        let three = three.filter(|three| three.len() == tensor.shape.iter().count());
        let Some(three) = three else { return Err(self.batch("the number of dimensions changes")) };
        // burn's extents wrap around where a window is larger than its map.
        if tensor.shape.iter().any(|&extent| extent == 0 || extent > MOST_EXTENT) {
            let problem = "a map vanishes: the picture is smaller than the network's windows allow";
            return Err(CaptureError::Forward(problem.into()));
        }
        tensor.shape.iter().zip(three).map(|(&two, &three)| self.dim(two, three)).collect()
    }

    pub fn dim(&self, two: usize, three: usize) -> Result<Dim, CaptureError> {
        if two == three {
            Ok(Dim::Fixed(two))
        } else if two.is_multiple_of(2) && two / 2 * 3 == three {
            Ok(Dim::Batch(two / 2))
        } else {
            Err(self.batch(&format!("an extent is {two} for a batch of 2 and {three} for a batch of 3")))
        }
    }

    fn known(&self, id: TensorId) -> Result<ValueId, CaptureError> {
        let known = self.ids.get(&id).copied();
        known.ok_or_else(|| self.unsupported("it reads a result that graphs do not have"))
    }

    /// The value of a recorded tensor.
    pub fn input(&self, tensor: &TensorIr) -> Result<ValueId, CaptureError> {
        self.known(tensor.id)
    }

    /// The constant behind a value.
    pub fn lazy(&self, id: ValueId) -> Option<&Lazy> {
        self.constants.get(&id)
    }

    /// `id` under another recorded tensor.
    pub fn alias(&mut self, out: &TensorIr, id: ValueId) {
        self.ids.insert(out.id, id);
    }

    /// A constant that would like to be called `name`.
    pub fn constant(&mut self, lazy: Lazy, name: String) -> ValueId {
        let shape = lazy.shape.iter().map(|&extent| Dim::Fixed(extent)).collect();
        let id = self.graph.add_value(String::new(), shape, lazy.element);
        self.constants.insert(id, lazy);
        self.preferred.insert(id, name);
        id
    }

    pub fn rename_constant(&mut self, id: ValueId, name: &str) {
        if self.constants.contains_key(&id) {
            self.preferred.insert(id, (self.rename)(name));
        }
    }

    pub fn preferred(&self, id: ValueId) -> String {
        self.preferred.get(&id).cloned().unwrap_or_default()
    }

    /// The number `value` as a constant of shape `[]`.
    pub fn scalar(&mut self, value: f64, element: ElementType) -> ValueId {
        if let Some(&id) = self.scalars.get(&(value.to_bits(), element)) {
            return id;
        }
        let id = self.constant(Lazy::new(Source::Fill(value), Vec::new(), element), format!("{value}"));
        self.scalars.insert((value.to_bits(), element), id);
        id
    }

    /// A filled tensor: a constant, or an operation if its shape follows the batch.
    pub fn filled(&mut self, out: &TensorIr, value: f64) -> Result<(), CaptureError> {
        let shape = self.shape(out)?;
        if shape.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
            self.emit(Op::Full { value: value as f32 }, Vec::new(), out)?;
        } else {
            let extents = out.shape.iter().copied().collect();
            let lazy = Lazy::new(Source::Fill(value), extents, element(out.dtype));
            let id = self.constant(lazy, "filled".into());
            self.alias(out, id);
        }
        Ok(())
    }

    /// A tensor made from data.
    fn data(&mut self, out: &TensorIr) -> Result<(), CaptureError> {
        let other = self.same.get(&out.id).and_then(|id| self.values[1].get(id));
        let (Some(two), Some(three)) = (self.values[0].get(&out.id), other) else {
            return Err(self.unsupported("its data was not recorded"));
        };
        let (two, three, shape) = (two.clone(), three.clone(), self.shape(out)?);
        let follows = shape.iter().any(|dim| matches!(dim, Dim::Batch(_)));
        let kind = element(out.dtype);
        if !follows {
            if two != three {
                return Err(self.batch("its data changes"));
            }
            let id = self.constant(Lazy::new(Source::Data(two), extents(out), kind), "data".into());
            self.alias(out, id);
            return Ok(());
        }
        // The same for every picture: one picture's part, repeated.
        let numbers: Vec<f64> = two.iter::<f64>().collect();
        if numbers.iter().chain(&three.iter::<f64>().collect::<Vec<f64>>()).all(|n| *n == numbers[0]) {
            return self.filled(out, numbers[0]);
        }
        let part = numbers.len() / 2;
        let repeats =
            three.iter::<f64>().zip(numbers.iter().cycle().take(part).cycle()).all(|(a, b)| a == *b)
                && numbers[..part] == numbers[part..];
        if shape[0] != Dim::Batch(1) || !repeats {
            return Err(self.batch("its data changes"));
        }
        let mut one = extents(out);
        one[0] = 1;
        let data = match kind {
            ElementType::F32 => TensorData::new(two.iter::<f32>().take(part).collect(), one.clone()),
            ElementType::I64 => TensorData::new(two.iter::<i64>().take(part).collect(), one.clone()),
            ElementType::Bool => TensorData::new(two.iter::<bool>().take(part).collect(), one.clone()),
            ElementType::I32 | ElementType::U8 | ElementType::I8 => {
                return Err(self.batch("codes are put into it"));
            }
        };
        let id = self.constant(Lazy::new(Source::Data(data), one, kind), "data".into());
        self.emit(Op::Expand, vec![id], out)?;
        Ok(())
    }

    /// A node whose result is the recorded tensor `out`.
    pub fn emit(&mut self, op: Op, inputs: Vec<ValueId>, out: &TensorIr) -> Result<ValueId, CaptureError> {
        let shape = self.shape(out)?;
        let id = self.step(op, inputs, shape, element(out.dtype));
        self.alias(out, id);
        Ok(id)
    }

    /// A node whose result only further nodes of the same operation read.
    pub fn step(&mut self, op: Op, inputs: Vec<ValueId>, shape: Vec<Dim>, element: ElementType) -> ValueId {
        let id = self.graph.add_value(String::new(), shape, element);
        self.node(op, inputs, vec![id]);
        id
    }

    /// A node; its results take its name.
    pub fn node(&mut self, op: Op, inputs: Vec<ValueId>, outputs: Vec<ValueId>) {
        let kind = op.kind();
        let base = match &self.layer {
            // What prepares a layer's parameters, and further nodes of its operation, say what they do.
            Some(layer) if !self.of_parameters && !self.node_names.contains(layer) => layer.clone(),
            Some(layer) => format!("{layer}.{kind}"),
            None => {
                let number = self.numbers.entry(kind).or_insert(0);
                *number += 1;
                format!("{kind}_{number}")
            }
        };
        let name = unique(&mut self.node_names, base);
        for (i, id) in outputs.iter().enumerate() {
            let wanted = if i == 0 { name.clone() } else { format!("{name}.{i}") };
            self.graph.values[id.index()].name = unique(&mut self.value_names, wanted);
        }
        self.graph.nodes.push(Node { name, op, inputs, outputs });
    }

    /// Names the constants that are read and gathers their elements.
    fn finish(mut self) -> (Graph, Vec<Pending>) {
        let read: BTreeSet<ValueId> = self
            .graph
            .nodes
            .iter()
            .flat_map(|node| &node.inputs)
            .chain(&self.graph.outputs)
            .copied()
            .collect();
        let mut used: Vec<ValueId> = self.constants.keys().copied().filter(|id| read.contains(id)).collect();
        // A parameter as it is before its rearrangements: the former keeps the published name.
        used.sort_by_key(|id| (!self.constants[id].steps.is_empty(), *id));
        let mut pending = Vec::new();
        for id in used {
            let lazy = &self.constants[&id];
            let wanted = self.preferred.get(&id).cloned().unwrap_or_default();
            self.graph.values[id.index()].name = unique(&mut self.value_names, wanted);
            match (lazy.own_constant(), &lazy.source) {
                (Some(constant), _) => {
                    self.graph.constants.insert(id, constant);
                }
                (None, Source::Parameter(name)) => {
                    pending.push(Pending { value: id, parameter: name.clone(), lazy: lazy.clone() });
                }
                (None, _) => {}
            }
        }
        let moved = self.graph.drop_unused_values();
        for own in &mut pending {
            own.value = moved[own.value.index()].unwrap_or(own.value);
        }
        (self.graph, pending)
    }
}

fn extents(tensor: &TensorIr) -> Vec<usize> {
    tensor.shape.iter().copied().collect()
}

/// `wanted`, or with a number if that is taken.
fn unique(taken: &mut HashSet<String>, wanted: String) -> String {
    let mut name = wanted.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

/// A recorded number.
pub(super) fn number(scalar: ScalarIr) -> f64 {
    match scalar {
        ScalarIr::Float(value) => value,
        ScalarIr::Int(value) => value as f64,
        ScalarIr::UInt(value) => value as f64,
        ScalarIr::Bool(value) => f64::from(u8::from(value)),
    }
}
