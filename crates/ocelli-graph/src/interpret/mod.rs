//! The reference: every operation as plain loops, to compare faster executors and rewritten graphs with.

use std::collections::BTreeMap;

use crate::ir::{Constant, ElementType, Graph, Node, ValueId};
use crate::passes::{GraphError, check};

mod adder;
mod binary;
mod codes;
mod elementwise;
mod map;
mod matrix;
mod nodes;
mod shape;

/// A tensor: extents, outermost first, and row-major elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Constant,
}

impl Tensor {
    /// A tensor of floating point numbers.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Self {
        Self { shape: shape.to_vec(), data: Constant::F32(data.into()) }
    }

    /// The elements as numbers, truth values as 0 and 1.
    fn numbers(&self) -> Vec<f64> {
        match &self.data {
            Constant::F32(values) => values.iter().map(|&v| f64::from(v)).collect(),
            Constant::I64(values) => values.iter().map(|&v| v as f64).collect(),
            Constant::I32(values) => values.iter().map(|&v| f64::from(v)).collect(),
            Constant::U8(values) => values.iter().map(|&v| f64::from(v)).collect(),
            Constant::I8(values) => values.iter().map(|&v| f64::from(v)).collect(),
            Constant::Bool(values) => values.iter().map(|&v| f64::from(u8::from(v))).collect(),
        }
    }

    /// The elements, converted if they are not floating point.
    pub fn floats(&self) -> Vec<f32> {
        match &self.data {
            Constant::F32(values) => values.to_vec(),
            _ => self.numbers().into_iter().map(|v| v as f32).collect(),
        }
    }
}

/// Why a graph could not be interpreted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    /// The graph is not sound.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The inputs are not what the graph wants.
    #[error("{0}")]
    Input(String),
    /// An operation this interpreter has no loops for.
    #[error("node '{node}': {problem}")]
    Node {
        /// Its name.
        node: String,
        /// What is missing.
        problem: String,
    },
}

/// What an operation's loops need to know.
struct Call<'a> {
    node: &'a Node,
    inputs: Vec<&'a Tensor>,
    /// Shape and element type of every result.
    outputs: Vec<(Vec<usize>, ElementType)>,
}

impl Call<'_> {
    fn floats(&self, place: usize) -> Vec<f32> {
        self.inputs[place].floats()
    }

    fn shape(&self, place: usize) -> &[usize] {
        &self.inputs[place].shape
    }

    fn output(&self) -> &[usize] {
        &self.outputs[0].0
    }

    /// The first result from its elements.
    fn done(&self, data: Vec<f32>) -> Vec<Tensor> {
        vec![Tensor::new(self.output(), data)]
    }

    /// The first result from elements of any type.
    fn convert(&self, data: Vec<f64>) -> Vec<Tensor> {
        vec![convert(&self.outputs[0].0, self.outputs[0].1, data)]
    }
}

fn convert(shape: &[usize], element: ElementType, data: Vec<f64>) -> Tensor {
    let data = match element {
        ElementType::F32 => Constant::F32(data.into_iter().map(|v| v as f32).collect()),
        ElementType::I64 => Constant::I64(data.into_iter().map(|v| v as i64).collect()),
        ElementType::I32 => Constant::I32(data.into_iter().map(|v| v as i32).collect()),
        ElementType::U8 => Constant::U8(data.into_iter().map(|v| v as u8).collect()),
        ElementType::I8 => Constant::I8(data.into_iter().map(|v| v as i8).collect()),
        ElementType::Bool => Constant::Bool(data.into_iter().map(|v| v != 0.0).collect()),
    };
    Tensor { shape: shape.to_vec(), data }
}

/// Runs `graph` on `inputs`, whose shapes tell the batch size.
///
/// # Errors
/// If the graph is not sound, the inputs do not fit, or there is an operation of no general meaning.
pub fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpretError> {
    check(graph)?;
    let batch = batch_of(graph, inputs)?;
    // Every value dies after its last reader.
    let mut readers = vec![0usize; graph.values.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.inputs).chain(&graph.outputs) {
        readers[id.index()] += 1;
    }
    let mut known: BTreeMap<ValueId, Tensor> = BTreeMap::new();
    for (&id, constant) in &graph.constants {
        known.insert(id, Tensor { shape: graph.value(id).shape_at(1), data: constant.clone() });
    }
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        known.insert(id, tensor.clone());
    }
    for node in &graph.nodes {
        let operands: Option<Vec<&Tensor>> = node.inputs.iter().map(|id| known.get(id)).collect();
        let operands = operands.ok_or_else(|| InterpretError::Node {
            node: node.name.clone(),
            problem: "its weights are not in the graph".into(),
        })?;
        let outputs = node
            .outputs
            .iter()
            .map(|&id| (graph.value(id).shape_at(batch), graph.value(id).element))
            .collect();
        let results = run(&Call { node, inputs: operands, outputs })?;
        for id in &node.inputs {
            readers[id.index()] -= 1;
            if readers[id.index()] == 0 {
                known.remove(id);
            }
        }
        for (&id, tensor) in node.outputs.iter().zip(results) {
            known.insert(id, tensor);
        }
    }
    let missing = || InterpretError::Input("an output was not computed".into());
    graph.outputs.iter().map(|id| known.get(id).cloned().ok_or_else(missing)).collect()
}

/// Runs a single node on known operands; `outputs` are the shapes and types of its results.
pub(crate) fn run_node(
    node: &Node,
    inputs: Vec<&Tensor>,
    outputs: Vec<(Vec<usize>, ElementType)>,
) -> Result<Vec<Tensor>, InterpretError> {
    run(&Call { node, inputs, outputs })
}

fn batch_of(graph: &Graph, inputs: &[Tensor]) -> Result<usize, InterpretError> {
    if inputs.len() != graph.inputs.len() {
        let problem = format!("{} inputs; the graph wants {}", inputs.len(), graph.inputs.len());
        return Err(InterpretError::Input(problem));
    }
    let mut batch = None;
    for (&id, tensor) in graph.inputs.iter().zip(inputs) {
        let value = graph.value(id);
        let follows = |(dim, &extent): (&crate::ir::Dim, &usize)| match dim {
            crate::ir::Dim::Batch(factor) => Some(extent / factor),
            crate::ir::Dim::Fixed(_) => None,
        };
        let own = value.shape.iter().zip(&tensor.shape).find_map(follows);
        let batch = *batch.get_or_insert(own.unwrap_or(1));
        let count: usize = tensor.shape.iter().product();
        if batch == 0 || value.shape_at(batch) != tensor.shape || tensor.data.len() != count {
            let problem =
                format!("input '{}' is {:?}; {:?} is needed", value.name, tensor.shape, value.shape);
            return Err(InterpretError::Input(problem));
        }
    }
    Ok(batch.unwrap_or(1))
}

fn run(call: &Call<'_>) -> Result<Vec<Tensor>, InterpretError> {
    use crate::op::Op;
    Ok(match &call.node.op {
        Op::Conv { attrs, bias, residual, activation } => {
            map::conv(call, attrs, *bias, *residual, *activation)
        }
        Op::ConvTranspose { attrs, bias, .. } => map::conv_transpose(call, attrs, *bias),
        Op::MaxPool(pool) => map::pool(call, pool, None),
        Op::AvgPool { pool, count_include_pad } => map::pool(call, pool, Some(*count_include_pad)),
        Op::AdaptiveAvgPool => map::adaptive(call),
        Op::Resize { mode, align_corners } => map::resize(call, *mode, *align_corners),
        Op::Linear { bias, residual, activation } => matrix::linear(call, *bias, *residual, *activation),
        Op::MatMul => matrix::matmul(call),
        Op::Attention { scale, causal, mask } => matrix::attention(call, *scale, *causal, *mask),
        Op::BatchNorm { epsilon } => matrix::batch_norm(call, *epsilon),
        Op::LayerNorm { epsilon, shift } => matrix::layer_norm(call, *epsilon, *shift),
        Op::GroupNorm { groups, epsilon } => matrix::group_norm(call, *groups, *epsilon),
        Op::Softmax { axis } => matrix::softmax(call, *axis, false),
        Op::LogSoftmax { axis } => matrix::softmax(call, *axis, true),
        Op::Unary { function } => elementwise::unary(call, *function),
        Op::Binary { function } => elementwise::binary(call, *function),
        Op::Where => elementwise::choose(call),
        Op::Quantize(codes) => codes::quantize(call, *codes),
        Op::Dequantize { zero_point, axis } => codes::dequantize(call, *zero_point, *axis),
        Op::ConvCodes { attrs, layer } => codes::conv(call, attrs, layer),
        Op::LinearCodes { layer } => codes::linear(call, layer),
        Op::AddCodes(sum) => codes::add(call, sum),
        Op::MulCodes(product) => codes::multiply(call, product),
        Op::MeanCodes { mean, .. } => codes::mean(call, mean),
        Op::TableCodes => codes::table(call),
        Op::Cast => call.convert(call.inputs[0].numbers()),
        Op::Full { value } => call.convert(vec![f64::from(*value); call.output().iter().product()]),
        Op::Reduce { reduction, axes, .. } => elementwise::reduce(call, *reduction, axes),
        Op::ArgExtreme { axis, largest } => shape::top_k(call, *axis, 1, *largest, true),
        Op::TopK { axis, k, largest } => shape::top_k(call, *axis, *k, *largest, false),
        Op::Reshape => vec![Tensor { shape: call.output().to_vec(), data: call.inputs[0].data.clone() }],
        Op::Transpose { .. }
        | Op::Expand
        | Op::Slice { .. }
        | Op::Flip { .. }
        | Op::Concat { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::GatherElements { .. } => shape::rearrange(call)?,
        Op::AdderConv(own) => adder::conv(call, own),
        Op::DynamicConv { attrs, kernel, bias, activation } => {
            nodes::dynamic_conv(call, attrs, *kernel, *bias, *activation)
        }
        Op::BinaryConv(own) => binary::binary_conv(call, own),
        Op::Neighbours { k, dilation, positions } => nodes::neighbours(call, *k, *dilation, *positions),
        Op::MaxRelative => nodes::max_relative(call),
        Op::Custom { name, .. } => {
            return Err(InterpretError::Node {
                node: call.node.name.clone(),
                problem: format!("the operation {name} has no general meaning"),
            });
        }
    })
}

/// Distances of neighbours along each dimension of a row-major tensor.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

/// Calls `visit` with every index into `shape`, in row-major order.
fn each_index(shape: &[usize], mut visit: impl FnMut(&[usize])) {
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        visit(&index);
        for d in (0..shape.len()).rev() {
            index[d] += 1;
            if index[d] < shape[d] {
                break;
            }
            index[d] = 0;
        }
    }
}
