//! The intermediate representation: values, nodes, a graph.
//!
//! Tensors are row-major and logically laid out as burn and PyTorch have them: `[batch, channels, height,
//! width]` for pictures. How an executor stores them is its own business.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::op::Op;

/// Index of a value in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub u32);

impl ElementType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
            Self::U8 | Self::I8 | Self::Bool => 1,
        }
    }
}

impl ValueId {
    /// The position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One extent of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// So many times the batch size, which is known only when the graph is run.
    Batch(usize),
}

impl Dim {
    /// The extent for a given batch size.
    pub fn at(self, batch: usize) -> usize {
        match self {
            Self::Fixed(extent) => extent,
            Self::Batch(factor) => factor * batch,
        }
    }
}

/// The element type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// 32-bit floating point.
    F32,
    /// 64-bit signed integer (indices).
    I64,
    /// 32-bit signed integer (sums of products of codes).
    I32,
    /// Unsigned 8-bit codes of quantised activations.
    U8,
    /// Signed 8-bit codes of quantised weights.
    I8,
    /// Truth value.
    Bool,
}

/// A tensor that flows between nodes, or a constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Unique name; a constant that is a parameter carries the parameter's published name.
    pub name: String,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<Dim>,
    /// Type of the elements.
    pub element: ElementType,
}

impl Value {
    /// The extents for a given batch size.
    pub fn shape_at(&self, batch: usize) -> Vec<usize> {
        self.shape.iter().map(|dim| dim.at(batch)).collect()
    }
}

/// The elements of a constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// 32-bit floating point.
    F32(Arc<[f32]>),
    /// 64-bit signed integers.
    I64(Arc<[i64]>),
    /// 32-bit signed integers.
    I32(Arc<[i32]>),
    /// Unsigned bytes.
    U8(Arc<[u8]>),
    /// Signed bytes.
    I8(Arc<[i8]>),
    /// Truth values.
    Bool(Arc<[bool]>),
}

impl Constant {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::Bool(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the elements.
    pub fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::I64(_) => ElementType::I64,
            Self::I32(_) => ElementType::I32,
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
            Self::Bool(_) => ElementType::Bool,
        }
    }

    /// The elements, if they are floating point.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self {
            Self::F32(values) => Some(values),
            _ => None,
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique name, after the layer it comes from where that is known (`layer1.0.conv1`).
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads; the meaning of each place is documented at [`Op`].
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub outputs: Vec<ValueId>,
}

/// A network: nodes in an order in which they can be executed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Name of the network.
    pub name: String,
    /// All values; [`ValueId`] is the index.
    pub values: Vec<Value>,
    /// The operations, each after those it depends on.
    pub nodes: Vec<Node>,
    /// What the caller gives, in order.
    pub inputs: Vec<ValueId>,
    /// What the caller gets, in order.
    pub outputs: Vec<ValueId>,
    /// The values that are known beforehand.
    pub constants: BTreeMap<ValueId, Constant>,
}

impl Graph {
    /// The value with this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Adds a value.
    pub fn add_value(&mut self, name: impl Into<String>, shape: Vec<Dim>, element: ElementType) -> ValueId {
        self.values.push(Value { name: name.into(), shape, element });
        ValueId((self.values.len() - 1) as u32)
    }

    /// Adds a floating point constant of a fixed shape.
    pub fn add_constant(&mut self, name: impl Into<String>, shape: &[usize], data: Vec<f32>) -> ValueId {
        self.add_known(name, shape, Constant::F32(data.into()))
    }

    /// Adds a constant of a fixed shape.
    pub fn add_known(&mut self, name: impl Into<String>, shape: &[usize], data: Constant) -> ValueId {
        let dims = shape.iter().map(|&extent| Dim::Fixed(extent)).collect();
        let id = self.add_value(name, dims, data.element());
        self.constants.insert(id, data);
        id
    }

    /// The elements of a floating point constant, or nothing if the value is not one.
    pub fn constant_f32(&self, id: ValueId) -> Option<&[f32]> {
        self.constants.get(&id).and_then(Constant::as_f32)
    }

    /// Removes values that nothing refers to and numbers the others anew. Returns every old value's new identity.
    pub fn drop_unused_values(&mut self) -> Vec<Option<ValueId>> {
        let mut used = vec![false; self.values.len()];
        let nodes = self.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
        for id in nodes.chain(&self.inputs).chain(&self.outputs) {
            used[id.index()] = true;
        }
        let mut next = 0;
        let moved: Vec<Option<ValueId>> = used
            .iter()
            .map(|&used| {
                used.then(|| {
                    next += 1;
                    ValueId(next - 1)
                })
            })
            .collect();
        let mut at = 0;
        self.values.retain(|_| {
            at += 1;
            used[at - 1]
        });
        let anew = |id: &mut ValueId| *id = moved[id.index()].unwrap_or(*id);
        for node in &mut self.nodes {
            node.inputs.iter_mut().for_each(anew);
            node.outputs.iter_mut().for_each(anew);
        }
        self.inputs.iter_mut().for_each(anew);
        self.outputs.iter_mut().for_each(anew);
        let constants = std::mem::take(&mut self.constants);
        self.constants =
            constants.into_iter().filter_map(|(id, constant)| Some((moved[id.index()]?, constant))).collect();
        moved
    }
}
