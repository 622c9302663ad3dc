//! Recorded functions of elements, comparisons, reductions, choices of the largest.

use burn_ir::{
    ActivationOperationIr, BinaryOpIr, BoolOperationIr, FloatOperationIr, IntOperationIr, NumericOperationIr,
    PadModeIr, ReduceDimOpIr, ReduceOpIr, ScalarOpIr, TensorIr, UnaryOpIr,
};

use super::CaptureError;
use super::translate::{Translator, element, number};
use crate::ir::{Dim, ElementType, ValueId};
use crate::op::{Binary, Op, PadMode, Reduction, Unary};

impl Translator<'_> {
    pub(super) fn numeric(&mut self, own: &NumericOperationIr) -> Result<(), CaptureError> {
        use NumericOperationIr as N;
        match own {
            N::Add(o) => self.two(Binary::Add, o),
            N::AddScalar(o) => self.with_scalar(Binary::Add, o),
            N::Sub(o) => self.two(Binary::Sub, o),
            N::SubScalar(o) => self.with_scalar(Binary::Sub, o),
            N::Mul(o) => self.two(Binary::Mul, o),
            N::MulScalar(o) => self.with_scalar(Binary::Mul, o),
            N::Div(o) => self.two(Binary::Div, o),
            N::DivScalar(o) => self.with_scalar(Binary::Div, o),
            N::Powi(o) => self.two(Binary::Pow, o),
            N::PowiScalar(o) => self.power(o),
            N::Greater(o) => self.two(Binary::Greater, o),
            N::GreaterElem(o) => self.with_scalar(Binary::Greater, o),
            N::GreaterEqual(o) => self.two(Binary::GreaterEqual, o),
            N::GreaterEqualElem(o) => self.with_scalar(Binary::GreaterEqual, o),
            N::Lower(o) => self.two(Binary::Less, o),
            N::LowerElem(o) => self.with_scalar(Binary::Less, o),
            N::LowerEqual(o) => self.two(Binary::LessEqual, o),
            N::LowerEqualElem(o) => self.with_scalar(Binary::LessEqual, o),
            N::Abs(o) => self.one(Unary::Abs, o),
            N::Neg(o) => self.one(Unary::Neg, o),
            N::Sign(o) => self.one(Unary::Sign, o),
            N::Full(o) => self.filled(&o.out, number(o.value)),
            N::Clamp(o) => {
                let (min, max) = (number(o.min) as f32, number(o.max) as f32);
                let function = Unary::Clamp { min, max };
                self.unary_like(Op::Unary { function }, &o.tensor, &o.out)
            }
            N::ClampMin(o) if number(o.rhs) == 0.0 => {
                self.unary_like(Op::Unary { function: Unary::Relu }, &o.lhs, &o.out)
            }
            N::ClampMin(o) => self.with_scalar(Binary::Max, o),
            N::ClampMax(o) => self.with_scalar(Binary::Min, o),
            N::MeanDim(o) => self.reduce_one(Reduction::Mean, o),
            N::SumDim(o) => self.reduce_one(Reduction::Sum, o),
            N::ProdDim(o) => self.reduce_one(Reduction::Prod, o),
            N::MaxDim(o) => self.reduce_one(Reduction::Max, o),
            N::MinDim(o) => self.reduce_one(Reduction::Min, o),
            N::SumDims(o) => {
                let mut axes = o.axes.clone();
                axes.sort_unstable();
                axes.dedup();
                let op = Op::Reduce { reduction: Reduction::Sum, axes, keep_dims: true };
                self.unary_like(op, &o.input, &o.out)
            }
            N::Mean(o) => self.reduce_all(Reduction::Mean, o),
            N::Sum(o) => self.reduce_all(Reduction::Sum, o),
            N::Prod(o) => self.reduce_all(Reduction::Prod, o),
            N::Max(o) => self.reduce_all(Reduction::Max, o),
            N::Min(o) => self.reduce_all(Reduction::Min, o),
            N::MaxDimWithIndices(o) => self.extreme(&o.tensor, o.dim, true, &o.out, &o.out_indices),
            N::MinDimWithIndices(o) => self.extreme(&o.tensor, o.dim, false, &o.out, &o.out_indices),
            N::ArgMax(o) => self.unary_like(Op::ArgExtreme { axis: o.axis, largest: true }, &o.input, &o.out),
            N::ArgMin(o) => {
                self.unary_like(Op::ArgExtreme { axis: o.axis, largest: false }, &o.input, &o.out)
            }
            N::TopK(o) => self.top_k(&o.input, o.axis, true, Some(&o.out), None),
            N::ArgTopK(o) => self.top_k(&o.input, o.axis, true, None, Some(&o.out)),
            N::TopKWithIndices(o) => self.top_k(&o.tensor, o.dim, true, Some(&o.out), Some(&o.out_indices)),
            N::Sort(o) => self.top_k(&o.input, o.dim, o.descending, Some(&o.out), None),
            N::ArgSort(o) => self.top_k(&o.input, o.dim, o.descending, None, Some(&o.out)),
            N::SortWithIndices(o) => {
                self.top_k(&o.input, o.dim, o.descending, Some(&o.out), Some(&o.out_indices))
            }
            N::Pad(o) => {
                let mode = match o.mode {
                    PadModeIr::Constant(value) => PadMode::Constant(number(value) as f32),
                    PadModeIr::Reflect => PadMode::Reflect,
                    PadModeIr::Edge => PadMode::Edge,
                };
                let (before, after) = o.padding.iter().copied().unzip();
                self.unary_like(Op::Pad { mode, before, after }, &o.input, &o.out)
            }
            _ => Err(self.unsupported("")),
        }
    }

    pub(super) fn float(&mut self, own: &FloatOperationIr) -> Result<(), CaptureError> {
        use FloatOperationIr as F;
        match own {
            F::Exp(o) => self.one(Unary::Exp, o),
            F::Log(o) => self.one(Unary::Log, o),
            F::Erf(o) => self.one(Unary::Erf, o),
            F::Sqrt(o) => self.one(Unary::Sqrt, o),
            F::Cos(o) => self.one(Unary::Cos, o),
            F::Sin(o) => self.one(Unary::Sin, o),
            F::Tanh(o) => self.one(Unary::Tanh, o),
            F::Round(o) => self.one(Unary::Round, o),
            F::Floor(o) => self.one(Unary::Floor, o),
            F::Ceil(o) => self.one(Unary::Ceil, o),
            F::Recip(o) => self.one(Unary::Reciprocal, o),
            F::Powf(o) => self.two(Binary::Pow, o),
            F::PowfScalar(o) => self.power(o),
            F::Log1p(o) => {
                let (x, one) = (self.input(&o.input)?, self.scalar(1.0, ElementType::F32));
                let sum = self.like(Op::Binary { function: Binary::Add }, vec![x, one], &o.out)?;
                self.emit(Op::Unary { function: Unary::Log }, vec![sum], &o.out).map(drop)
            }
            F::IntoInt(o) => self.cast(&o.input, &o.out),
            F::Matmul(o) => self.matmul(o),
            _ => Err(self.unsupported("")),
        }
    }

    pub(super) fn int(&mut self, own: &IntOperationIr) -> Result<(), CaptureError> {
        match own {
            IntOperationIr::IntoFloat(o) => self.cast(&o.input, &o.out),
            _ => Err(self.unsupported("")),
        }
    }

    pub(super) fn bool(&mut self, own: &BoolOperationIr) -> Result<(), CaptureError> {
        match own {
            BoolOperationIr::IntoFloat(o) | BoolOperationIr::IntoInt(o) => self.cast(&o.input, &o.out),
            BoolOperationIr::Not(o) => self.one(Unary::Not, o),
            BoolOperationIr::And(o) => self.two(Binary::And, o),
            BoolOperationIr::Or(o) => self.two(Binary::Or, o),
            BoolOperationIr::Xor(o) => {
                let inputs = vec![self.input(&o.lhs)?, self.input(&o.rhs)?];
                let equal = self.like(Op::Binary { function: Binary::Equal }, inputs, &o.out)?;
                self.emit(Op::Unary { function: Unary::Not }, vec![equal], &o.out).map(drop)
            }
        }
    }

    pub(super) fn activation(&mut self, own: &ActivationOperationIr) -> Result<(), CaptureError> {
        use ActivationOperationIr as A;
        match own {
            A::Relu(o) => self.one(Unary::Relu, o),
            A::LeakyRelu(o) => {
                let function = Unary::LeakyRelu { slope: number(o.rhs) as f32 };
                self.unary_like(Op::Unary { function }, &o.lhs, &o.out)
            }
            A::Gelu(o) => self.one(Unary::Gelu, o),
            A::Sigmoid(o) => self.one(Unary::Sigmoid, o),
            A::HardSigmoid(o) => {
                let function =
                    Unary::HardSigmoid { alpha: number(o.alpha) as f32, beta: number(o.beta) as f32 };
                self.unary_like(Op::Unary { function }, &o.tensor, &o.out)
            }
            A::LogSigmoid(o) => {
                let x = self.input(&o.input)?;
                let sigmoid = self.like(Op::Unary { function: Unary::Sigmoid }, vec![x], &o.out)?;
                self.emit(Op::Unary { function: Unary::Log }, vec![sigmoid], &o.out).map(drop)
            }
            A::Softmax(o) => self.unary_like(Op::Softmax { axis: o.axis }, &o.input, &o.out),
            A::LogSoftmax(o) => self.unary_like(Op::LogSoftmax { axis: o.axis }, &o.input, &o.out),
            A::Softmin(o) => {
                let x = self.input(&o.input)?;
                let negative = self.like(Op::Unary { function: Unary::Neg }, vec![x], &o.out)?;
                self.emit(Op::Softmax { axis: o.axis }, vec![negative], &o.out).map(drop)
            }
            A::PRelu(o) => self.prelu(o),
            _ => Err(self.unsupported("")),
        }
    }

    /// `max(x, 0) + slope · min(x, 0)`, the slope per channel.
    fn prelu(&mut self, own: &BinaryOpIr) -> Result<(), CaptureError> {
        let (x, slope) = (self.input(&own.lhs)?, self.input(&own.rhs)?);
        let rank = own.lhs.shape.iter().count();
        let mut shape = vec![Dim::Fixed(1); rank];
        shape[1.min(rank - 1)] = Dim::Fixed(own.rhs.shape.num_elements());
        let slope = self.step(Op::Reshape, vec![slope], shape, ElementType::F32);
        let zero = self.scalar(0.0, ElementType::F32);
        let positive = self.like(Op::Unary { function: Unary::Relu }, vec![x], &own.out)?;
        let negative = self.like(Op::Binary { function: Binary::Min }, vec![x, zero], &own.out)?;
        let scaled = self.like(Op::Binary { function: Binary::Mul }, vec![negative, slope], &own.out)?;
        self.emit(Op::Binary { function: Binary::Add }, vec![positive, scaled], &own.out).map(drop)
    }

    /// An intermediate result of the shape and type of `out`.
    fn like(&mut self, op: Op, inputs: Vec<ValueId>, out: &TensorIr) -> Result<ValueId, CaptureError> {
        let shape = self.shape(out)?;
        Ok(self.step(op, inputs, shape, element(out.dtype)))
    }

    fn one(&mut self, function: Unary, own: &UnaryOpIr) -> Result<(), CaptureError> {
        self.unary_like(Op::Unary { function }, &own.input, &own.out)
    }

    fn two(&mut self, function: Binary, own: &BinaryOpIr) -> Result<(), CaptureError> {
        self.binary(function, &own.lhs, &own.rhs, &own.out)
    }

    pub(super) fn binary(
        &mut self,
        function: Binary,
        lhs: &TensorIr,
        rhs: &TensorIr,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        if function == Binary::Div && element(lhs.dtype) == ElementType::I64 {
            return Err(self.unsupported("division of integers"));
        }
        let inputs = vec![self.input(lhs)?, self.input(rhs)?];
        self.emit(Op::Binary { function }, inputs, out).map(drop)
    }

    pub(super) fn with_scalar(&mut self, function: Binary, own: &ScalarOpIr) -> Result<(), CaptureError> {
        let kind = element(own.lhs.dtype);
        if function == Binary::Div && kind == ElementType::I64 {
            return Err(self.unsupported("division of integers"));
        }
        let inputs = vec![self.input(&own.lhs)?, self.scalar(number(own.rhs), kind)];
        self.emit(Op::Binary { function }, inputs, &own.out).map(drop)
    }

    fn power(&mut self, own: &ScalarOpIr) -> Result<(), CaptureError> {
        let x = self.input(&own.lhs)?;
        let exponent = number(own.rhs);
        if exponent == 2.0 {
            self.emit(Op::Binary { function: Binary::Mul }, vec![x, x], &own.out).map(drop)
        } else if exponent == 0.5 {
            self.unary_like(Op::Unary { function: Unary::Sqrt }, &own.lhs, &own.out)
        } else if exponent == -1.0 {
            self.unary_like(Op::Unary { function: Unary::Reciprocal }, &own.lhs, &own.out)
        } else {
            self.with_scalar(Binary::Pow, own)
        }
    }

    fn reduce_one(&mut self, reduction: Reduction, own: &ReduceDimOpIr) -> Result<(), CaptureError> {
        let op = Op::Reduce { reduction, axes: vec![own.axis], keep_dims: true };
        self.unary_like(op, &own.input, &own.out)
    }

    /// Over everything: burn's result has the shape `[1]`.
    fn reduce_all(&mut self, reduction: Reduction, own: &ReduceOpIr) -> Result<(), CaptureError> {
        let x = self.input(&own.input)?;
        let rank = own.input.shape.iter().count();
        let op = Op::Reduce { reduction, axes: (0..rank).collect(), keep_dims: true };
        let kind = element(own.out.dtype);
        let all = self.step(op, vec![x], vec![Dim::Fixed(1); rank], kind);
        self.emit(Op::Reshape, vec![all], &own.out).map(drop)
    }

    fn extreme(
        &mut self,
        x: &TensorIr,
        axis: usize,
        largest: bool,
        values: &TensorIr,
        indices: &TensorIr,
    ) -> Result<(), CaptureError> {
        let reduction = if largest { Reduction::Max } else { Reduction::Min };
        self.unary_like(Op::Reduce { reduction, axes: vec![axis], keep_dims: true }, x, values)?;
        self.unary_like(Op::ArgExtreme { axis, largest }, x, indices)
    }

    fn top_k(
        &mut self,
        x: &TensorIr,
        axis: usize,
        largest: bool,
        values: Option<&TensorIr>,
        indices: Option<&TensorIr>,
    ) -> Result<(), CaptureError> {
        let Some(out) = values.or(indices) else { return Ok(()) };
        let shape = self.shape(out)?;
        let Some(Dim::Fixed(k)) = shape.get(axis).copied() else {
            return Err(self.batch("it orders the pictures of a batch"));
        };
        let input = self.input(x)?;
        let results = [(values, element(x.dtype)), (indices, ElementType::I64)].map(|(tensor, kind)| {
            let id = self.graph.add_value(String::new(), shape.clone(), kind);
            if let Some(tensor) = tensor {
                self.alias(tensor, id);
            }
            id
        });
        self.node(Op::TopK { axis, k, largest }, vec![input], results.to_vec());
        Ok(())
    }
}
