//! From a graph to steps: where every value lies, which kernel computes it, how long its memory is needed.
//!
//! Nodes are taken in order. Those that only rearrange (reshape, transpose, slice, expand) become views where strides can
//! express them. Inputs of a concatenation of channels are written straight into their part of its result.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ocelli_graph::{Constant, Graph, Node, Op, ValueId};

use crate::error::EngineError;
use crate::memory::{self, Request};
use crate::model::Parts;
use crate::steps::Step;
use crate::steps::codes::Table;
use crate::steps::elementwise::{Copy, Export, Import};
use crate::steps::nest::Nest;
use crate::view::View;

mod adder;
mod binary;
mod codes;
mod conv;
mod dynamic;
mod elementwise;
mod fuse;
mod integers;
mod map;
mod matrix;
mod nodes;
mod shape;

/// A step with what is known about it.
pub(crate) struct Planned {
    pub name: String,
    pub kind: &'static str,
    pub macs: u64,
    pub step: Box<dyn Step>,
}

/// Codes that kernels may read beyond a map's last.
const CODE_SLACK: usize = 64;

type Bind = Box<dyn FnOnce(&Places) -> Box<dyn Step>>;

struct Emitted {
    name: String,
    kind: &'static str,
    macs: u64,
    bind: Bind,
}

/// Memory that views point into.
enum Root {
    /// A buffer in the arena.
    Buffer(Request),
    /// A constant of the model.
    Constant(Arc<[f32]>),
}

/// Where the roots ended up.
pub(crate) struct Places {
    bases: Vec<*mut f32>,
}

impl Places {
    /// The first code of `view`, whose distances are in bytes.
    pub fn codes(&self, view: &View) -> *mut u8 {
        self.bases[view.root].cast::<u8>().wrapping_add(view.offset)
    }

    /// The first element of `view`.
    pub fn of(&self, view: &View) -> *mut f32 {
        self.bases[view.root].wrapping_add(view.offset)
    }
}

/// Steps whose places are planned but not yet bound to memory.
pub(crate) struct Program {
    pub arena_len: usize,
    offsets: Vec<Option<usize>>,
    roots: Vec<Root>,
    steps: Vec<Emitted>,
}

impl Program {
    /// Binds the steps to an arena of [`arena_len`](Self::arena_len) elements; they read the constants that come with
    /// them, and the model's weights.
    pub fn bind(self, arena: *mut f32) -> (Vec<Planned>, Vec<Arc<[f32]>>) {
        let (mut bases, mut constants) = (Vec::new(), Vec::new());
        for (root, offset) in self.roots.into_iter().zip(&self.offsets) {
            bases.push(match root {
                Root::Buffer(_) => arena.wrapping_add(offset.unwrap_or(0)),
                Root::Constant(numbers) => {
                    let base = numbers.as_ptr().cast_mut();
                    constants.push(numbers);
                    base
                }
            });
        }
        let places = Places { bases };
        let bound =
            |e: Emitted| Planned { name: e.name, kind: e.kind, macs: e.macs, step: (e.bind)(&places) };
        (self.steps.into_iter().map(bound).collect(), constants)
    }
}

pub(crate) struct Builder<'a> {
    parts: &'a Parts,
    graph: &'a Graph,
    batch: usize,
    views: Vec<Option<View>>,
    roots: Vec<Root>,
    steps: Vec<Emitted>,
    /// Values that are written into a part of another: the other and where along its channels.
    homes: HashMap<ValueId, (ValueId, usize)>,
    /// How many places read each value (graph outputs count).
    readers: Vec<usize>,
    /// Nodes whose work another node's step does.
    absorbed: HashSet<usize>,
    /// What a node's step does besides: see [`fuse::Extra`].
    extras: HashMap<usize, fuse::Extra>,
    /// Buffers of codes: offsets and distances in them are in bytes.
    code_roots: HashSet<usize>,
    /// Values of which only the signs exist, as bits: their buffers.
    signs: HashMap<ValueId, usize>,
    /// Graph inputs that live inside of a padded buffer: its view.
    padded_inputs: HashMap<ValueId, View>,
}

/// Plans all steps for a batch.
pub(crate) fn build(parts: &Parts, batch: usize) -> Result<Program, EngineError> {
    let graph = &parts.graph;
    let mut readers = vec![0; graph.values.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs) {
        readers[id.index()] += 1;
    }
    let mut builder = Builder {
        parts,
        graph,
        batch,
        views: vec![None; graph.values.len()],
        roots: Vec::new(),
        steps: Vec::new(),
        homes: homes(graph),
        readers,
        absorbed: HashSet::new(),
        extras: HashMap::new(),
        code_roots: HashSet::new(),
        signs: HashMap::new(),
        padded_inputs: HashMap::new(),
    };
    builder.fuse();
    builder.inputs()?;
    for (index, node) in graph.nodes.iter().enumerate() {
        if !builder.absorbed.contains(&index) {
            builder.node(index, node)?;
        }
    }
    builder.outputs()?;
    Ok(builder.finish())
}

/// Which values can be written straight into a concatenation of channels: results of steps that write any distance
/// of pixels, each into the first concatenation that reads it.
fn homes(graph: &Graph) -> HashMap<ValueId, (ValueId, usize)> {
    let mut homes = HashMap::new();
    let writes_parts: HashSet<ValueId> = graph
        .nodes
        .iter()
        .filter(|node| {
            matches!(
                node.op,
                Op::Conv { .. }
                    | Op::DynamicConv { .. }
                    | Op::BinaryConv(_)
                    | Op::AdderConv(_)
                    | Op::Unary { .. }
                    | Op::Binary { .. }
                    | Op::MaxPool(_)
                    | Op::AvgPool { .. }
                    | Op::Concat { .. }
                    | Op::ConvCodes { .. }
                    | Op::AddCodes(_)
                    | Op::MulCodes(_)
                    | Op::TableCodes
            )
        })
        .flat_map(|node| node.outputs.iter().copied())
        .collect();
    for node in &graph.nodes {
        let Op::Concat { axis: 1 } = node.op else { continue };
        let output = node.outputs[0];
        if graph.value(output).shape.len() != 4 {
            continue;
        }
        let mut at = 0;
        for &input in &node.inputs {
            if writes_parts.contains(&input) && !homes.contains_key(&input) {
                homes.insert(input, (output, at));
            }
            at += graph.value(input).shape[1].at(1);
        }
    }
    homes
}

impl Builder<'_> {
    fn shape(&self, id: ValueId) -> Vec<usize> {
        self.graph.value(id).shape_at(self.batch)
    }

    fn unsupported(node: &Node, op: impl Into<String>) -> EngineError {
        EngineError::Unsupported { node: node.name.clone(), op: op.into() }
    }

    /// A new buffer of `len` elements; its life begins with the first step that touches it.
    fn buffer(&mut self, len: usize) -> usize {
        self.roots.push(Root::Buffer(Request { len, first: usize::MAX, last: 0 }));
        self.roots.len() - 1
    }

    /// A new buffer for `len` codes, and some that kernels read beyond the last.
    fn code_buffer(&mut self, len: usize) -> usize {
        let root = self.buffer((len + CODE_SLACK).div_ceil(4));
        self.code_roots.insert(root);
        root
    }

    /// Numbers that never change.
    fn constant(&mut self, numbers: Arc<[f32]>) -> usize {
        self.roots.push(Root::Constant(numbers));
        self.roots.len() - 1
    }

    /// Extends the life of a buffer to the step emitted next.
    fn touch(&mut self, root: usize) {
        let now = self.steps.len();
        if let Root::Buffer(request) = &mut self.roots[root] {
            request.first = request.first.min(now);
            request.last = request.last.max(now);
        }
    }

    /// Keeps a buffer to itself for ever: its zeros are counted on.
    fn keep(&mut self, root: usize) {
        if let Root::Buffer(request) = &mut self.roots[root] {
            (request.first, request.last) = (0, usize::MAX);
        }
    }

    fn emit(&mut self, name: &str, kind: &'static str, macs: u64, touched: &[usize], bind: Bind) {
        for &root in touched {
            self.touch(root);
        }
        self.steps.push(Emitted { name: name.to_string(), kind, macs, bind });
    }

    /// Where `id` lies.
    fn view(&mut self, id: ValueId) -> Result<View, EngineError> {
        if let Some(view) = &self.views[id.index()] {
            return Ok(view.clone());
        }
        let value = self.graph.value(id);
        let Some(constant) = self.graph.constants.get(&id) else {
            let problem = "read before it is computed".to_string();
            return Err(EngineError::Malformed { node: value.name.clone(), problem });
        };
        let numbers: Arc<[f32]> = match constant {
            Constant::F32(numbers) => numbers.clone(),
            // Indices stay exact up to 2^24.
            Constant::I64(numbers) => numbers.iter().map(|&v| v as f32).collect(),
            Constant::I32(numbers) => numbers.iter().map(|&v| v as f32).collect(),
            Constant::U8(numbers) => numbers.iter().map(|&v| f32::from(v)).collect(),
            Constant::I8(numbers) => numbers.iter().map(|&v| f32::from(v)).collect(),
            Constant::Bool(values) => values.iter().map(|&v| f32::from(v)).collect(),
        };
        let root = self.constant(numbers);
        let view = View::dense(root, &self.shape(id));
        self.views[id.index()] = Some(view.clone());
        Ok(view)
    }

    /// Room for the result `id`: its part of a concatenation, or a buffer of its own in `layout`.
    fn room(&mut self, id: ValueId, layout: impl FnOnce(usize, &[usize]) -> View) -> View {
        if let Some(view) = &self.views[id.index()] {
            return view.clone();
        }
        let shape = self.shape(id);
        let view = if let Some(&(parent, at)) = self.homes.get(&id) {
            let parent = self.room(parent, View::channels_last);
            parent.sliced(1, at, 1, shape[1])
        } else {
            let len = shape.iter().product();
            let root = if self.is_codes(id) { self.code_buffer(len) } else { self.buffer(len) };
            layout(root, &shape)
        };
        self.views[id.index()] = Some(view.clone());
        view
    }

    /// A room laid out like `like`, whose dimensions have the same order in memory.
    fn room_like(&mut self, id: ValueId, like: &View) -> View {
        let order = like.order();
        let same = like.shape.len() == self.graph.value(id).shape.len();
        self.room(id, |root, shape| {
            if same {
                View::ordered(root, shape, &order)
            } else if shape.len() == 4 {
                View::channels_last(root, shape)
            } else {
                View::dense(root, shape)
            }
        })
    }

    /// `view`, copied to the layout that `layout` gives.
    fn copied(&mut self, name: &str, view: &View, layout: impl FnOnce(usize, &[usize]) -> View) -> View {
        let codes = self.code_roots.contains(&view.root);
        let root = if codes { self.code_buffer(view.len()) } else { self.buffer(view.len()) };
        let to = layout(root, &view.shape);
        self.copy(name, view, &to);
        to
    }

    fn copy(&mut self, name: &str, from: &View, to: &View) {
        let split = Nest::new(&to.shape, [&to.strides, &from.strides]).split();
        let (from, to) = (from.clone(), to.clone());
        let touched = [from.root, to.root];
        if self.code_roots.contains(&from.root) {
            let bind: Bind = Box::new(move |places| {
                Box::new(Table { split, y: places.codes(&to), x: places.codes(&from), table: None })
            });
            return self.emit(name, "copy", 0, &touched, bind);
        }
        let bind: Bind =
            Box::new(move |places| Box::new(Copy { split, to: places.of(&to), from: places.of(&from) }));
        self.emit(name, "copy", 0, &touched, bind);
    }

    /// The view of `id`, its channels neighbours: copied if they are not.
    fn map(&mut self, node: &Node, id: ValueId) -> Result<View, EngineError> {
        let view = self.view(id)?;
        Ok(if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) })
    }

    fn inputs(&mut self) -> Result<(), EngineError> {
        for (index, &id) in self.graph.inputs.iter().enumerate() {
            let shape = self.shape(id);
            let view = match self.padded_home(id)? {
                Some(view) => view,
                None => {
                    let root = self.buffer(shape.iter().product());
                    if shape.len() == 4 {
                        View::channels_last(root, &shape)
                    } else {
                        View::dense(root, &shape)
                    }
                }
            };
            let from = View::dense(view.root, &shape);
            let split = Nest::new(&shape, [&view.strides, &from.strides]).split();
            self.views[id.index()] = Some(view.clone());
            let name = self.graph.value(id).name.clone();
            let root = view.root;
            let bind: Bind = Box::new(move |places| {
                let copy = Copy { split, to: places.of(&view), from: std::ptr::null() };
                Box::new(Import { index, copy })
            });
            self.emit(&name, "input", 0, &[root], bind);
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), EngineError> {
        for (index, &id) in self.graph.outputs.iter().enumerate() {
            if self.is_codes(id) {
                let problem = "codes as a result; they must be dequantised".to_string();
                return Err(EngineError::Malformed { node: self.graph.value(id).name.clone(), problem });
            }
            let view = self.view(id)?;
            let to = View::dense(view.root, &view.shape);
            let split = Nest::new(&view.shape, [&to.strides, &view.strides]).split();
            let name = self.graph.value(id).name.clone();
            let root = view.root;
            let bind: Bind = Box::new(move |places| {
                let copy = Copy { split, to: std::ptr::null_mut(), from: places.of(&view) };
                Box::new(Export { index, copy })
            });
            self.emit(&name, "output", 0, &[root], bind);
        }
        Ok(())
    }

    fn node(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        match &node.op {
            Op::Conv { .. } => self.conv(index, node),
            Op::Linear { .. } => self.linear(index, node),
            Op::MatMul => self.matmul(node),
            Op::Attention { .. } => self.attention(node),
            Op::Softmax { axis } => self.softmax(node, *axis, false),
            Op::LogSoftmax { axis } => self.softmax(node, *axis, true),
            Op::LayerNorm { epsilon, shift } => self.layer_norm(node, *epsilon, *shift),
            Op::GroupNorm { groups, epsilon } => self.group_norm(node, *groups, *epsilon),
            Op::BatchNorm { epsilon } => self.batch_norm(node, *epsilon),
            Op::Unary { function } => self.unary(node, *function),
            Op::Binary { function } => self.binary(index, node, *function),
            Op::Where => self.choose(node),
            Op::Quantize(codes) => self.quantise(node, *codes),
            Op::Dequantize { zero_point, axis } => self.dequantise(node, *zero_point, *axis),
            Op::TableCodes => self.table_codes(node),
            Op::AddCodes(sum) => self.add_codes(node, sum),
            Op::MulCodes(product) => self.mul_codes(node, product),
            Op::ConvCodes { .. } => self.conv_codes(index, node),
            Op::LinearCodes { .. } => self.linear_codes(index, node),
            Op::MeanCodes { mean, .. } => self.mean_codes(node, mean),
            Op::Cast => self.cast(node),
            Op::Full { value } => self.full(node, *value),
            Op::Reduce { .. } => self.reduce(node),
            Op::ArgExtreme { axis, largest } => self.top_k(node, *axis, 1, *largest, true),
            Op::TopK { axis, k, largest } => self.top_k(node, *axis, *k, *largest, false),
            Op::MaxPool(attrs) if self.is_codes(node.inputs[0]) => self.max_pool_codes(node, attrs),
            Op::MaxPool(_) | Op::AvgPool { .. } => self.pool(node),
            Op::AdaptiveAvgPool => self.adaptive(node),
            Op::Resize { mode, align_corners } => self.resize(node, *mode, *align_corners),
            Op::Reshape => self.reshape(node),
            Op::Transpose { permutation } => self.transpose(node, permutation),
            Op::Expand => self.expand(node),
            Op::Slice { .. } => self.slice(node),
            Op::Flip { axes } => self.flip(node, axes),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Pad { .. } => self.pad(node),
            Op::Gather { axis } => self.gather(node, *axis, false),
            Op::GatherElements { axis } => self.gather(node, *axis, true),
            Op::ConvTranspose { .. } => Err(Self::unsupported(node, "transposed convolutions")),
            Op::DynamicConv { .. } => self.dynamic_conv(index, node),
            Op::BinaryConv(_) => self.binary_conv(index, node),
            Op::AdderConv(own) => self.adder_conv(index, node, own),
            Op::Neighbours { k, dilation, .. } => self.neighbours(node, *k, *dilation),
            Op::MaxRelative => self.max_relative(node),
            Op::Custom { name, .. } => Err(Self::unsupported(node, format!("the operation {name}"))),
        }
    }

    fn finish(self) -> Program {
        let mut which = Vec::new();
        let mut requests = Vec::new();
        for (i, root) in self.roots.iter().enumerate() {
            if let Root::Buffer(request) = root
                && request.first <= request.last
            {
                which.push(i);
                requests.push(*request);
            }
        }
        let (placed, arena_len) = memory::place(&requests);
        let mut offsets = vec![None; self.roots.len()];
        for (i, offset) in which.into_iter().zip(placed) {
            offsets[i] = Some(offset);
        }
        Program { arena_len, offsets, roots: self.roots, steps: self.steps }
    }
}
