//! burn's recorded operations, one by one, as nodes of ours.

use std::collections::HashMap;
use std::sync::Arc;

use burn::tensor::DType;
use burn_capture::{CapturedGraph, TensorId};
use burn_ir::{
    ActivationOperationIr as Act, BaseOperationIr as Base, BinaryOpIr, BoolOperationIr as Bool,
    FloatOperationIr as Float, IntOperationIr as Int, InterpolateModeIr, ModuleOperationIr as Layer,
    NumericOperationIr as Numeric, OperationIr, PadModeIr, ScalarIr, TensorIr, UnaryOpIr,
};

use super::{CaptureError, dim};
use crate::ir::{Constant, Dim, ElementType, Graph, Node, ValueId};
use crate::op::{Binary, ConvAttrs, Op, PadMode, PoolAttrs, Reduction, ResizeMode, Unary};

type Parameters = HashMap<TensorId, (String, Arc<[f32]>)>;

/// Turns a recording at batch 2 into a graph, with the shapes of one at batch 3 beside it.
pub(super) fn convert(
    name: &str,
    two: &CapturedGraph,
    three: &CapturedGraph,
    parameters: &Parameters,
) -> Result<Graph, CaptureError> {
    let (a, b) = (&two.graph.operations, &three.graph.operations);
    if a.len() != b.len() {
        let problem = format!("{} operations for two pictures, {} for three", a.len(), b.len());
        return Err(CaptureError::Batch { problem });
    }
    let mut converter = Converter {
        graph: Graph { name: name.to_string(), ..Graph::default() },
        ids: HashMap::new(),
        shapes: HashMap::new(),
        captured: two,
        parameters,
        layer: String::new(),
        names: HashMap::new(),
    };
    for (a, b) in a.iter().zip(b) {
        let (mut left, mut right) = (a.inputs().chain(a.outputs()), b.inputs().chain(b.outputs()));
        loop {
            match (left.next(), right.next()) {
                (None, None) => break,
                (Some(left), Some(right)) => converter.note(left, right)?,
                _ => return Err(CaptureError::Batch { problem: "operations with other operands".into() }),
            }
        }
    }
    for (place, id) in two.graph.inputs.iter().enumerate() {
        let shape = converter.shape_of(*id)?;
        let value = converter.graph.add_value(
            if place == 0 { "input".into() } else { format!("input{place}") },
            shape,
            ElementType::F32,
        );
        converter.ids.insert(*id, value);
        converter.graph.inputs.push(value);
    }
    for operation in a {
        converter.operation(operation)?;
    }
    for id in &two.graph.outputs {
        let value = converter.ids.get(id).copied();
        let value = value
            .ok_or_else(|| CaptureError::Recording { problem: "an output that nothing computes".into() })?;
        converter.graph.outputs.push(value);
    }
    Ok(converter.graph)
}

struct Converter<'a> {
    graph: Graph,
    ids: HashMap<TensorId, ValueId>,
    shapes: HashMap<TensorId, Vec<Dim>>,
    captured: &'a CapturedGraph,
    parameters: &'a Parameters,
    /// The layer the last parameter belonged to.
    layer: String,
    /// How often each node name was given.
    names: HashMap<String, usize>,
}

fn number(scalar: ScalarIr) -> f64 {
    scalar.elem()
}

fn element(dtype: DType) -> ElementType {
    if dtype.is_bool() {
        ElementType::Bool
    } else if dtype.is_float() {
        ElementType::F32
    } else {
        ElementType::I64
    }
}

impl Converter<'_> {
    fn note(&mut self, a: &TensorIr, b: &TensorIr) -> Result<(), CaptureError> {
        let extents: Option<Vec<Dim>> =
            a.shape.iter().zip(b.shape.iter()).map(|(&a, &b)| dim(a, b)).collect();
        let shape = extents.filter(|_| a.shape.num_dims() == b.shape.num_dims()).ok_or_else(|| {
            CaptureError::Batch { problem: format!("a map of {:?} becomes one of {:?}", a.shape, b.shape) }
        })?;
        self.shapes.insert(a.id, shape);
        Ok(())
    }

    fn shape_of(&self, id: TensorId) -> Result<Vec<Dim>, CaptureError> {
        self.shapes
            .get(&id)
            .cloned()
            .ok_or_else(|| CaptureError::Recording { problem: "a tensor that no operation reads".into() })
    }

    /// The value of an operand: computed before, a parameter, or recorded data.
    fn get(&mut self, tensor: &TensorIr) -> Result<ValueId, CaptureError> {
        if let Some((name, _)) = self.parameters.get(&tensor.id) {
            self.layer = name.rsplit_once('.').map_or(String::new(), |(layer, _)| layer.to_string());
        }
        if let Some(&value) = self.ids.get(&tensor.id) {
            return Ok(value);
        }
        let shape = self.shape_of(tensor.id)?;
        if let Some((name, numbers)) = self.parameters.get(&tensor.id) {
            let value = self.graph.add_value(name.clone(), shape, ElementType::F32);
            self.graph.constants.insert(value, Constant::F32(numbers.clone()));
            self.ids.insert(tensor.id, value);
            return Ok(value);
        }
        let data = self
            .captured
            .values
            .get(&tensor.id)
            .ok_or_else(|| CaptureError::Recording { problem: "an operand without values".into() })?;
        let wrong = |_| CaptureError::Recording { problem: "recorded numbers of another type".into() };
        let constant = match element(tensor.dtype) {
            ElementType::F32 => {
                Constant::F32(data.clone().convert::<f32>().try_into_vec().map_err(wrong)?.into())
            }
            ElementType::I64 => {
                Constant::I64(data.clone().convert::<i64>().try_into_vec().map_err(wrong)?.into())
            }
            ElementType::Bool => {
                Constant::Bool(data.clone().convert::<bool>().try_into_vec().map_err(wrong)?.into())
            }
        };
        let name = self.unique("constant");
        let value = self.graph.add_value(name, shape, element(tensor.dtype));
        self.graph.constants.insert(value, constant);
        self.ids.insert(tensor.id, value);
        Ok(value)
    }

    fn scalar(&mut self, x: f64, like: ElementType) -> ValueId {
        let name = self.unique("scalar");
        let value = self.graph.add_value(name, Vec::new(), like);
        let constant = match like {
            ElementType::F32 => Constant::F32([x as f32].into()),
            ElementType::I64 => Constant::I64([x as i64].into()),
            ElementType::Bool => Constant::Bool([x != 0.0].into()),
        };
        self.graph.constants.insert(value, constant);
        value
    }

    fn unique(&mut self, base: &str) -> String {
        let count = self.names.entry(base.to_string()).or_default();
        *count += 1;
        if *count == 1 { base.to_string() } else { format!("{base}.{}", *count - 1) }
    }

    /// Adds a node called after the layer it belongs to and what it does.
    fn emit(
        &mut self,
        what: &str,
        op: Op,
        inputs: Vec<ValueId>,
        outputs: &[&TensorIr],
    ) -> Result<(), CaptureError> {
        let base = if self.layer.is_empty() { what.to_string() } else { format!("{}.{what}", self.layer) };
        let name = self.unique(&base);
        let mut values = Vec::new();
        for (i, output) in outputs.iter().enumerate() {
            let shape = self.shape_of(output.id)?;
            let own = if i == 0 { format!("{name}:0") } else { format!("{name}:{i}") };
            let value = self.graph.add_value(own, shape, element(output.dtype));
            self.ids.insert(output.id, value);
            values.push(value);
        }
        self.graph.nodes.push(Node { name, op, inputs, outputs: values });
        Ok(())
    }

    fn unary(&mut self, what: &str, function: Unary, x: &UnaryOpIr) -> Result<(), CaptureError> {
        let input = self.get(&x.input)?;
        self.emit(what, Op::Unary { function }, vec![input], &[&x.out])
    }

    fn binary(&mut self, what: &str, function: Binary, x: &BinaryOpIr) -> Result<(), CaptureError> {
        let inputs = vec![self.get(&x.lhs)?, self.get(&x.rhs)?];
        self.emit(what, Op::Binary { function }, inputs, &[&x.out])
    }

    fn with_scalar(
        &mut self,
        what: &str,
        function: Binary,
        x: &TensorIr,
        scalar: ScalarIr,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let input = self.get(x)?;
        let scalar = self.scalar(number(scalar), element(x.dtype));
        self.emit(what, Op::Binary { function }, vec![input, scalar], &[out])
    }

    fn reduce(
        &mut self,
        reduction: Reduction,
        x: &TensorIr,
        axes: Vec<usize>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let input = self.get(x)?;
        let keep_dims = x.shape.num_dims() == out.shape.num_dims();
        self.emit("reduce", Op::Reduce { reduction, axes, keep_dims }, vec![input], &[out])
    }

    fn all_axes(x: &TensorIr) -> Vec<usize> {
        (0..x.shape.num_dims()).collect()
    }

    /// A tensor of one number: a constant, or made anew for every batch.
    fn full(&mut self, value: f64, out: &TensorIr) -> Result<(), CaptureError> {
        if self.parameters.contains_key(&out.id) {
            return Ok(());
        }
        let shape = self.shape_of(out.id)?;
        if shape.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
            return self.emit("full", Op::Full { value: value as f32 }, vec![], &[out]);
        }
        let count: usize = shape.iter().map(|dim| dim.at(1)).product();
        let constant = match element(out.dtype) {
            ElementType::F32 => Constant::F32(vec![value as f32; count].into()),
            ElementType::I64 => Constant::I64(vec![value as i64; count].into()),
            ElementType::Bool => Constant::Bool(vec![value != 0.0; count].into()),
        };
        let name = self.unique("full");
        let id = self.graph.add_value(name, shape, element(out.dtype));
        self.graph.constants.insert(id, constant);
        self.ids.insert(out.id, id);
        Ok(())
    }

    fn unsupported(&self, operation: &OperationIr) -> CaptureError {
        let mut text = format!("{operation:?}");
        text.truncate(text.char_indices().nth(80).map_or(text.len(), |(at, _)| at));
        let after = if self.layer.is_empty() { "the input" } else { &self.layer };
        CaptureError::Unsupported { after: after.to_string(), operation: text }
    }

    fn operation(&mut self, operation: &OperationIr) -> Result<(), CaptureError> {
        match operation {
            OperationIr::Drop(_) | OperationIr::Init(_) => Ok(()),
            OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => {
                self.base(op, operation)
            }
            OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => self.numeric(op, operation),
            OperationIr::Bool(op) => match op {
                Bool::IntoFloat(x) | Bool::IntoInt(x) => self.cast(&x.input, &x.out),
                Bool::Not(x) => self.unary("not", Unary::Not, x),
                Bool::And(x) => self.binary("and", Binary::And, x),
                Bool::Or(x) => self.binary("or", Binary::Or, x),
                Bool::Xor(_) => Err(self.unsupported(operation)),
            },
            OperationIr::Int(Int::IntoFloat(x)) => self.cast(&x.input, &x.out),
            OperationIr::Float(_, op) => self.float(op, operation),
            OperationIr::Module(op) => self.layer(op, operation),
            OperationIr::Activation(op) => self.activation(op, operation),
            OperationIr::Custom(custom) => {
                let inputs = custom.inputs.iter().map(|x| self.get(x)).collect::<Result<_, _>>()?;
                let outputs: Vec<&TensorIr> = custom.outputs.iter().collect();
                let op = Op::Custom {
                    name: custom.id.clone(),
                    arguments: custom.scalars.iter().map(|&x| number(x)).collect(),
                };
                self.emit("custom", op, inputs, &outputs)
            }
            _ => Err(self.unsupported(operation)),
        }
    }

    fn cast(&mut self, input: &TensorIr, out: &TensorIr) -> Result<(), CaptureError> {
        let input = self.get(input)?;
        self.emit("cast", Op::Cast, vec![input], &[out])
    }

    fn transpose(
        &mut self,
        x: &TensorIr,
        permutation: Vec<usize>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let input = self.get(x)?;
        self.emit("transpose", Op::Transpose { permutation }, vec![input], &[out])
    }

    fn base(&mut self, op: &Base, operation: &OperationIr) -> Result<(), CaptureError> {
        match op {
            Base::Reshape(x) => {
                let input = self.get(&x.input)?;
                self.emit("reshape", Op::Reshape, vec![input], &[&x.out])
            }
            Base::Expand(x) => {
                let input = self.get(&x.input)?;
                self.emit("expand", Op::Expand, vec![input], &[&x.out])
            }
            Base::SwapDims(x) => {
                let mut permutation = Self::all_axes(&x.input);
                permutation.swap(x.dim1, x.dim2);
                self.transpose(&x.input, permutation, &x.out)
            }
            Base::Permute(x) => self.transpose(&x.input, x.axes.clone(), &x.out),
            Base::Flip(x) => {
                let input = self.get(&x.input)?;
                self.emit("flip", Op::Flip { axes: x.axes.clone() }, vec![input], &[&x.out])
            }
            Base::Slice(x) => {
                let input = self.get(&x.tensor)?;
                let shape = self.shape_of(x.tensor.id)?;
                let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
                for (d, extent) in x.tensor.shape.iter().enumerate() {
                    let Some(slice) = x.ranges.get(d) else {
                        (starts.push(0), ends.push(None), steps.push(1));
                        continue;
                    };
                    let extent = *extent as isize;
                    let wrap = |v: isize| if v < 0 { v + extent } else { v }.clamp(0, extent);
                    let end = slice.end.map_or(extent, wrap);
                    if slice.step < 1 {
                        return Err(self.unsupported(operation));
                    }
                    starts.push(wrap(slice.start) as usize);
                    let whole = end == extent;
                    if !whole && matches!(shape[d], Dim::Batch(_)) {
                        return Err(CaptureError::Batch { problem: "a part of the batch".into() });
                    }
                    ends.push((!whole).then_some(end as usize));
                    steps.push(slice.step as usize);
                }
                self.emit("slice", Op::Slice { starts, ends, steps }, vec![input], &[&x.out])
            }
            Base::Select(x) => {
                let inputs = vec![self.get(&x.tensor)?, self.get(&x.indices)?];
                self.emit("gather", Op::Gather { axis: x.dim }, inputs, &[&x.out])
            }
            Base::Gather(x) => {
                let inputs = vec![self.get(&x.tensor)?, self.get(&x.indices)?];
                self.emit("gather", Op::GatherElements { axis: x.dim }, inputs, &[&x.out])
            }
            Base::MaskWhere(x) => {
                let inputs = vec![self.get(&x.mask)?, self.get(&x.value)?, self.get(&x.tensor)?];
                self.emit("where", Op::Where, inputs, &[&x.out])
            }
            Base::MaskFill(x) => {
                let value = self.scalar(number(x.value), element(x.tensor.dtype));
                let inputs = vec![self.get(&x.mask)?, value, self.get(&x.tensor)?];
                self.emit("where", Op::Where, inputs, &[&x.out])
            }
            Base::Equal(x) => self.binary("equal", Binary::Equal, x),
            Base::EqualElem(x) => self.with_scalar("equal", Binary::Equal, &x.lhs, x.rhs, &x.out),
            Base::RepeatDim(x) => {
                let input = self.get(&x.tensor)?;
                if x.tensor.shape[x.dim] == 1 {
                    return self.emit("repeat", Op::Expand, vec![input], &[&x.out]);
                }
                self.emit("repeat", Op::Concat { axis: x.dim }, vec![input; x.times], &[&x.out])
            }
            Base::Cat(x) => {
                let inputs = x.tensors.iter().map(|t| self.get(t)).collect::<Result<_, _>>()?;
                self.emit("concat", Op::Concat { axis: x.dim }, inputs, &[&x.out])
            }
            Base::Cast(x) => self.cast(&x.input, &x.out),
            Base::Empty(x) | Base::Zeros(x) => self.full(0.0, &x.out),
            Base::Ones(x) => self.full(1.0, &x.out),
            _ => Err(self.unsupported(operation)),
        }
    }

    fn numeric(&mut self, op: &Numeric, operation: &OperationIr) -> Result<(), CaptureError> {
        match op {
            Numeric::Add(x) => self.binary("add", Binary::Add, x),
            Numeric::Sub(x) => self.binary("sub", Binary::Sub, x),
            Numeric::Mul(x) => self.binary("mul", Binary::Mul, x),
            Numeric::Div(x) => self.binary("div", Binary::Div, x),
            Numeric::AddScalar(x) => self.with_scalar("add", Binary::Add, &x.lhs, x.rhs, &x.out),
            Numeric::SubScalar(x) => self.with_scalar("sub", Binary::Sub, &x.lhs, x.rhs, &x.out),
            Numeric::MulScalar(x) => self.with_scalar("mul", Binary::Mul, &x.lhs, x.rhs, &x.out),
            Numeric::DivScalar(x) => self.with_scalar("div", Binary::Div, &x.lhs, x.rhs, &x.out),
            Numeric::Powi(x) => self.binary("pow", Binary::Pow, x),
            Numeric::PowiScalar(x) => self.with_scalar("pow", Binary::Pow, &x.lhs, x.rhs, &x.out),
            Numeric::Greater(x) => self.binary("greater", Binary::Greater, x),
            Numeric::GreaterEqual(x) => self.binary("greater_equal", Binary::GreaterEqual, x),
            Numeric::Lower(x) => self.binary("less", Binary::Less, x),
            Numeric::LowerEqual(x) => self.binary("less_equal", Binary::LessEqual, x),
            Numeric::GreaterElem(x) => self.with_scalar("greater", Binary::Greater, &x.lhs, x.rhs, &x.out),
            Numeric::GreaterEqualElem(x) => {
                self.with_scalar("greater_equal", Binary::GreaterEqual, &x.lhs, x.rhs, &x.out)
            }
            Numeric::LowerElem(x) => self.with_scalar("less", Binary::Less, &x.lhs, x.rhs, &x.out),
            Numeric::LowerEqualElem(x) => {
                self.with_scalar("less_equal", Binary::LessEqual, &x.lhs, x.rhs, &x.out)
            }
            Numeric::Abs(x) => self.unary("abs", Unary::Abs, x),
            Numeric::Neg(x) => self.unary("neg", Unary::Neg, x),
            Numeric::Sign(x) => self.unary("sign", Unary::Sign, x),
            Numeric::Clamp(x) => {
                let input = self.get(&x.tensor)?;
                let function = Unary::Clamp { min: number(x.min) as f32, max: number(x.max) as f32 };
                self.emit("clamp", Op::Unary { function }, vec![input], &[&x.out])
            }
            Numeric::ClampMin(x) => self.with_scalar("max", Binary::Max, &x.lhs, x.rhs, &x.out),
            Numeric::ClampMax(x) => self.with_scalar("min", Binary::Min, &x.lhs, x.rhs, &x.out),
            Numeric::Full(x) => self.full(number(x.value), &x.out),
            Numeric::MeanDim(x) => self.reduce(Reduction::Mean, &x.input, vec![x.axis], &x.out),
            Numeric::SumDim(x) => self.reduce(Reduction::Sum, &x.input, vec![x.axis], &x.out),
            Numeric::ProdDim(x) => self.reduce(Reduction::Prod, &x.input, vec![x.axis], &x.out),
            Numeric::MaxDim(x) => self.reduce(Reduction::Max, &x.input, vec![x.axis], &x.out),
            Numeric::MinDim(x) => self.reduce(Reduction::Min, &x.input, vec![x.axis], &x.out),
            Numeric::SumDims(x) => {
                let mut axes = x.axes.clone();
                axes.sort_unstable();
                self.reduce(Reduction::Sum, &x.input, axes, &x.out)
            }
            Numeric::Mean(x) => self.reduce(Reduction::Mean, &x.input, Self::all_axes(&x.input), &x.out),
            Numeric::Sum(x) => self.reduce(Reduction::Sum, &x.input, Self::all_axes(&x.input), &x.out),
            Numeric::Max(x) => self.reduce(Reduction::Max, &x.input, Self::all_axes(&x.input), &x.out),
            Numeric::Min(x) => self.reduce(Reduction::Min, &x.input, Self::all_axes(&x.input), &x.out),
            Numeric::ArgMax(x) | Numeric::ArgMin(x) => {
                let largest = matches!(op, Numeric::ArgMax(_));
                let input = self.get(&x.input)?;
                self.emit("arg", Op::ArgExtreme { axis: x.axis, largest }, vec![input], &[&x.out])
            }
            Numeric::TopKWithIndices(x) => {
                let input = self.get(&x.tensor)?;
                let op = Op::TopK { axis: x.dim, k: x.k, largest: true };
                self.emit("top_k", op, vec![input], &[&x.out, &x.out_indices])
            }
            // The first output is not asked for, but the node has it.
            Numeric::ArgTopK(x) => {
                let input = self.get(&x.input)?;
                let shape = self.shape_of(x.out.id)?;
                let op = Op::TopK { axis: x.axis, k: x.out.shape[x.axis], largest: true };
                let name = self.unique("top_k_values");
                let values = self.graph.add_value(name, shape, ElementType::F32);
                self.emit("top_k", op, vec![input], &[&x.out])?;
                if let Some(node) = self.graph.nodes.last_mut() {
                    node.outputs.insert(0, values);
                }
                Ok(())
            }
            Numeric::SortWithIndices(x) => {
                let input = self.get(&x.input)?;
                let op = Op::TopK { axis: x.dim, k: x.input.shape[x.dim], largest: x.descending };
                self.emit("sort", op, vec![input], &[&x.out, &x.out_indices])
            }
            Numeric::Pad(x) => {
                let input = self.get(&x.input)?;
                let rank = x.input.shape.num_dims();
                let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
                let first = rank.saturating_sub(x.padding.len());
                for (d, &(begin, end)) in x.padding.iter().enumerate() {
                    (before[first + d], after[first + d]) = (begin, end);
                }
                let mode = match x.mode {
                    PadModeIr::Constant(value) => PadMode::Constant(number(value) as f32),
                    PadModeIr::Reflect => PadMode::Reflect,
                    PadModeIr::Edge => PadMode::Edge,
                };
                self.emit("pad", Op::Pad { mode, before, after }, vec![input], &[&x.out])
            }
            _ => Err(self.unsupported(operation)),
        }
    }

    fn float(&mut self, op: &Float, operation: &OperationIr) -> Result<(), CaptureError> {
        match op {
            Float::Exp(x) => self.unary("exp", Unary::Exp, x),
            Float::Log(x) => self.unary("log", Unary::Log, x),
            Float::Erf(x) => self.unary("erf", Unary::Erf, x),
            Float::Sqrt(x) => self.unary("sqrt", Unary::Sqrt, x),
            Float::Cos(x) => self.unary("cos", Unary::Cos, x),
            Float::Sin(x) => self.unary("sin", Unary::Sin, x),
            Float::Tanh(x) => self.unary("tanh", Unary::Tanh, x),
            Float::Round(x) => self.unary("round", Unary::Round, x),
            Float::Floor(x) => self.unary("floor", Unary::Floor, x),
            Float::Ceil(x) => self.unary("ceil", Unary::Ceil, x),
            Float::Recip(x) => self.unary("reciprocal", Unary::Reciprocal, x),
            Float::IntoInt(x) => self.cast(&x.input, &x.out),
            Float::PowfScalar(x) => self.with_scalar("pow", Binary::Pow, &x.lhs, x.rhs, &x.out),
            Float::Powf(x) => self.binary("pow", Binary::Pow, x),
            Float::Matmul(x) => {
                let inputs = vec![self.get(&x.lhs)?, self.get(&x.rhs)?];
                self.emit("matmul", Op::MatMul, inputs, &[&x.out])
            }
            _ => Err(self.unsupported(operation)),
        }
    }

    fn activation(&mut self, op: &Act, operation: &OperationIr) -> Result<(), CaptureError> {
        match op {
            Act::Relu(x) => self.unary("relu", Unary::Relu, x),
            Act::Gelu(x) => self.unary("gelu", Unary::Gelu, x),
            Act::Sigmoid(x) => self.unary("sigmoid", Unary::Sigmoid, x),
            Act::LeakyRelu(x) => {
                let input = self.get(&x.lhs)?;
                let function = Unary::LeakyRelu { slope: number(x.rhs) as f32 };
                self.emit("leaky_relu", Op::Unary { function }, vec![input], &[&x.out])
            }
            Act::HardSigmoid(x) => {
                let input = self.get(&x.tensor)?;
                let function =
                    Unary::HardSigmoid { alpha: number(x.alpha) as f32, beta: number(x.beta) as f32 };
                self.emit("hard_sigmoid", Op::Unary { function }, vec![input], &[&x.out])
            }
            Act::Softmax(x) => {
                let input = self.get(&x.input)?;
                self.emit("softmax", Op::Softmax { axis: x.axis }, vec![input], &[&x.out])
            }
            Act::LogSoftmax(x) => {
                let input = self.get(&x.input)?;
                self.emit("log_softmax", Op::LogSoftmax { axis: x.axis }, vec![input], &[&x.out])
            }
            _ => Err(self.unsupported(operation)),
        }
    }

    fn conv(
        &mut self,
        x: &TensorIr,
        weight: &TensorIr,
        bias: Option<&TensorIr>,
        attrs: ConvAttrs,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let mut inputs = vec![self.get(x)?, self.get(weight)?];
        if let Some(bias) = bias {
            inputs.push(self.get(bias)?);
        }
        let op = Op::Conv { attrs, bias: bias.is_some(), residual: false, activation: None };
        self.emit("conv", op, inputs, &[out])
    }

    fn layer(&mut self, op: &Layer, operation: &OperationIr) -> Result<(), CaptureError> {
        match op {
            Layer::Conv2d(x) => {
                let o = &x.options;
                let attrs = ConvAttrs {
                    stride: o.stride.to_vec(),
                    pad_begin: o.padding.iter().map(|p| p.0).collect(),
                    pad_end: o.padding.iter().map(|p| p.1).collect(),
                    dilation: o.dilation.to_vec(),
                    groups: o.groups,
                };
                self.conv(&x.x, &x.weight, x.bias.as_ref(), attrs, &x.out)
            }
            Layer::Conv1d(x) => {
                let o = &x.options;
                let attrs = ConvAttrs {
                    stride: o.stride.to_vec(),
                    pad_begin: o.padding.iter().map(|p| p.0).collect(),
                    pad_end: o.padding.iter().map(|p| p.1).collect(),
                    dilation: o.dilation.to_vec(),
                    groups: o.groups,
                };
                self.conv(&x.x, &x.weight, x.bias.as_ref(), attrs, &x.out)
            }
            Layer::Linear(x) => {
                let mut inputs = vec![self.get(&x.x)?, self.get(&x.weight)?];
                if let Some(bias) = &x.bias {
                    inputs.push(self.get(bias)?);
                }
                let op = Op::Linear { bias: x.bias.is_some(), residual: false, activation: None };
                self.emit("linear", op, inputs, &[&x.out])
            }
            Layer::BatchNorm(x) => {
                let x_in = self.get(&x.x)?;
                let mut inputs = vec![x_in];
                for tensor in [&x.gamma, &x.beta, &x.mean, &x.variance] {
                    inputs.push(self.get(tensor)?);
                }
                // Running statistics come without names; the layer has one.
                for (place, leaf) in [(3, "running_mean"), (4, "running_var")] {
                    let value = &mut self.graph.values[inputs[place].index()];
                    if value.name.starts_with("constant") && !self.layer.is_empty() {
                        value.name = format!("{}.{leaf}", self.layer);
                    }
                }
                let epsilon = number(x.epsilon) as f32;
                self.emit("batch_norm", Op::BatchNorm { epsilon }, inputs, &[&x.out])
            }
            Layer::LayerNorm(x) => {
                let mut inputs = vec![self.get(&x.input)?, self.get(&x.gamma)?];
                if let Some(beta) = &x.beta {
                    inputs.push(self.get(beta)?);
                }
                let op = Op::LayerNorm { epsilon: number(x.epsilon) as f32, shift: x.beta.is_some() };
                self.emit("layer_norm", op, inputs, &[&x.out])
            }
            Layer::MaxPool2d(x) => {
                let input = self.get(&x.x)?;
                let op = Op::MaxPool(PoolAttrs {
                    kernel: x.kernel_size,
                    stride: x.stride,
                    pad_begin: x.padding,
                    pad_end: x.padding,
                    dilation: x.dilation,
                    ceil_mode: x.ceil_mode,
                });
                self.emit("max_pool", op, vec![input], &[&x.out])
            }
            Layer::AvgPool2d(x) => {
                let input = self.get(&x.x)?;
                let pool = PoolAttrs {
                    kernel: x.kernel_size,
                    stride: x.stride,
                    pad_begin: x.padding,
                    pad_end: x.padding,
                    dilation: [1, 1],
                    ceil_mode: x.ceil_mode,
                };
                let op = Op::AvgPool { pool, count_include_pad: x.count_include_pad };
                self.emit("avg_pool", op, vec![input], &[&x.out])
            }
            Layer::AdaptiveAvgPool2d(x) => {
                let input = self.get(&x.x)?;
                self.emit("adaptive_avg_pool", Op::AdaptiveAvgPool, vec![input], &[&x.out])
            }
            Layer::Interpolate(x) => {
                let input = self.get(&x.x)?;
                let mode = match x.options.mode {
                    InterpolateModeIr::Nearest => ResizeMode::Nearest,
                    InterpolateModeIr::Bilinear => ResizeMode::Bilinear,
                    InterpolateModeIr::Bicubic => ResizeMode::Bicubic,
                    _ => return Err(self.unsupported(operation)),
                };
                let op = Op::Resize { mode, align_corners: x.options.align_corners };
                self.emit("resize", op, vec![input], &[&x.out])
            }
            Layer::Attention(x) => {
                if x.options.softcap.is_some() || x.mask.is_some() {
                    return Err(self.unsupported(operation));
                }
                let mut inputs = vec![self.get(&x.query)?, self.get(&x.key)?, self.get(&x.value)?];
                if let Some(bias) = &x.attn_bias {
                    inputs.push(self.get(bias)?);
                }
                let size = x.query.shape.iter().next_back().copied().unwrap_or(1);
                let scale = x.options.scale.map_or_else(|| 1.0 / (size as f64).sqrt(), number);
                let op = Op::Attention {
                    scale: scale as f32,
                    causal: x.options.is_causal,
                    mask: x.attn_bias.is_some(),
                };
                self.emit("attention", op, inputs, &[&x.out])
            }
            _ => Err(self.unsupported(operation)),
        }
    }
}
