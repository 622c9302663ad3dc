//! Recorded operations that rearrange, choose or make elements.

use burn::tensor::Slice;
use burn_ir::{BaseOperationIr, SliceOpIr, TensorIr};

use super::CaptureError;
use super::constants::Step;
use super::translate::{Translator, element, number};
use crate::ir::{Dim, ElementType, ValueId};
use crate::op::{Binary, Op, Unary};

impl Translator<'_> {
    pub(super) fn base(&mut self, a: &BaseOperationIr, b: &BaseOperationIr) -> Result<(), CaptureError> {
        match (a, b) {
            (BaseOperationIr::Reshape(own), _) => {
                let x = self.input(&own.input)?;
                self.reshape(x, &own.out)
            }
            (BaseOperationIr::SwapDims(own), _) => {
                let mut permutation: Vec<usize> = (0..own.input.shape.iter().count()).collect();
                permutation.swap(own.dim1, own.dim2);
                self.transpose(&own.input, permutation, &own.out)
            }
            (BaseOperationIr::Permute(own), _) => self.transpose(&own.input, own.axes.clone(), &own.out),
            (BaseOperationIr::Flip(own), _) => {
                self.unary_like(Op::Flip { axes: own.axes.clone() }, &own.input, &own.out)
            }
            (BaseOperationIr::Expand(own), _) => self.unary_like(Op::Expand, &own.input, &own.out),
            (BaseOperationIr::Slice(a), BaseOperationIr::Slice(b)) => self.slice(a, b),
            (BaseOperationIr::Select(own), _) => {
                let inputs = vec![self.input(&own.tensor)?, self.input(&own.indices)?];
                self.emit(Op::Gather { axis: own.dim }, inputs, &own.out).map(drop)
            }
            (BaseOperationIr::Gather(own), _) => {
                let inputs = vec![self.input(&own.tensor)?, self.input(&own.indices)?];
                self.emit(Op::GatherElements { axis: own.dim }, inputs, &own.out).map(drop)
            }
            (BaseOperationIr::MaskWhere(own), _) => {
                let inputs = vec![self.input(&own.mask)?, self.input(&own.value)?, self.input(&own.tensor)?];
                self.emit(Op::Where, inputs, &own.out).map(drop)
            }
            (BaseOperationIr::MaskFill(own), _) => {
                let value = self.scalar(number(own.value), element(own.tensor.dtype));
                let inputs = vec![self.input(&own.mask)?, value, self.input(&own.tensor)?];
                self.emit(Op::Where, inputs, &own.out).map(drop)
            }
            (BaseOperationIr::Equal(own), _) => self.binary(Binary::Equal, &own.lhs, &own.rhs, &own.out),
            (BaseOperationIr::EqualElem(own), _) => self.with_scalar(Binary::Equal, own),
            (BaseOperationIr::NotEqual(own), _) => {
                let inputs = vec![self.input(&own.lhs)?, self.input(&own.rhs)?];
                self.not_equal(inputs, &own.out)
            }
            (BaseOperationIr::NotEqualElem(own), _) => {
                let value = self.scalar(number(own.rhs), element(own.lhs.dtype));
                let inputs = vec![self.input(&own.lhs)?, value];
                self.not_equal(inputs, &own.out)
            }
            (BaseOperationIr::RepeatDim(own), _) => {
                let x = self.input(&own.tensor)?;
                if own.tensor.shape[own.dim] == 1 {
                    self.emit(Op::Expand, vec![x], &own.out).map(drop)
                } else {
                    self.emit(Op::Concat { axis: own.dim }, vec![x; own.times], &own.out).map(drop)
                }
            }
            (BaseOperationIr::Cat(own), _) => {
                let inputs: Result<Vec<_>, _> = own.tensors.iter().map(|t| self.input(t)).collect();
                self.emit(Op::Concat { axis: own.dim }, inputs?, &own.out).map(drop)
            }
            (BaseOperationIr::Cast(own), _) => self.cast(&own.input, &own.out),
            (BaseOperationIr::Zeros(own) | BaseOperationIr::Empty(own), _) => self.filled(&own.out, 0.0),
            (BaseOperationIr::Ones(own), _) => self.filled(&own.out, 1.0),
            _ => Err(self.unsupported("")),
        }
    }

    /// A node with one input and one output.
    pub(super) fn unary_like(&mut self, op: Op, x: &TensorIr, out: &TensorIr) -> Result<(), CaptureError> {
        let x = self.input(x)?;
        self.emit(op, vec![x], out).map(drop)
    }

    fn not_equal(&mut self, inputs: Vec<ValueId>, out: &TensorIr) -> Result<(), CaptureError> {
        let shape = self.shape(out)?;
        let equal = self.step(Op::Binary { function: Binary::Equal }, inputs, shape, ElementType::Bool);
        self.emit(Op::Unary { function: Unary::Not }, vec![equal], out).map(drop)
    }

    /// Element types that a graph does not tell apart need no cast.
    pub(super) fn cast(&mut self, x: &TensorIr, out: &TensorIr) -> Result<(), CaptureError> {
        if element(x.dtype) == element(out.dtype) {
            let id = self.input(x)?;
            self.alias(out, id);
            return Ok(());
        }
        self.unary_like(Op::Cast, x, out)
    }

    /// `x` in the shape of `out`; a constant becomes another constant.
    pub(super) fn reshape(&mut self, x: ValueId, out: &TensorIr) -> Result<(), CaptureError> {
        let shape = self.shape(out)?;
        let fixed: Option<Vec<usize>> = shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(extent) => Some(*extent),
                Dim::Batch(_) => None,
            })
            .collect();
        match (self.lazy(x), fixed) {
            (Some(lazy), Some(to)) => {
                let next = lazy.then(Step::Reshape(to.clone()), to);
                let id = self.constant(next, self.preferred(x));
                self.alias(out, id);
                Ok(())
            }
            _ => self.emit(Op::Reshape, vec![x], out).map(drop),
        }
    }

    fn transpose(
        &mut self,
        x: &TensorIr,
        permutation: Vec<usize>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let id = self.input(x)?;
        match self.lazy(id) {
            Some(lazy) => {
                let shape = permutation.iter().map(|&d| lazy.shape[d]).collect();
                let next = lazy.then(Step::Permute(permutation), shape);
                let constant = self.constant(next, self.preferred(id));
                self.alias(out, constant);
                Ok(())
            }
            None => self.emit(Op::Transpose { permutation }, vec![id], out).map(drop),
        }
    }

    fn slice(&mut self, a: &SliceOpIr, b: &SliceOpIr) -> Result<(), CaptureError> {
        let x = self.input(&a.tensor)?;
        let (mut starts, mut ends, mut steps, mut flips) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut shape = Vec::new();
        for (d, (&two, &three)) in a.tensor.shape.iter().zip(b.tensor.shape.iter()).enumerate() {
            let full = Slice::full();
            let own = [(a.ranges.get(d).unwrap_or(&full), two), (b.ranges.get(d).unwrap_or(&full), three)];
            let [(ra, step), (rb, other)] = own.map(|(range, extent)| range.to_range_and_step(extent));
            if ra.start != rb.start || step != other {
                return Err(self.batch("it begins elsewhere"));
            }
            match step {
                -1 => flips.push(d),
                1.. => {}
                _ => return Err(self.unsupported("steps backwards")),
            }
            let to_end = ra.end == two && rb.end == three;
            if !to_end && ra.end != rb.end {
                return Err(self.batch("it ends elsewhere"));
            }
            let step = step.unsigned_abs();
            starts.push(ra.start);
            ends.push(if to_end { None } else { Some(ra.end) });
            steps.push(step);
            let count = |range: &std::ops::Range<usize>| range.len().div_ceil(step);
            shape.push(self.dim(count(&ra), count(&rb))?);
        }
        let op = Op::Slice { starts, ends, steps };
        if flips.is_empty() {
            return self.emit(op, vec![x], &a.out).map(drop);
        }
        let sliced = self.step(op, vec![x], shape, element(a.tensor.dtype));
        self.emit(Op::Flip { axes: flips }, vec![sliced], &a.out).map(drop)
    }
}
