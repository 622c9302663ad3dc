//! Recorded matrix products, attention, normalisation.

use burn_ir::{AttentionOpIr, MatmulOpIr, ModuleOperationIr, TensorIr};

use super::CaptureError;
use super::constants::{Source, Step};
use super::translate::{Translator, element, number};
use crate::ir::{Dim, ElementType, ValueId};
use crate::op::{Binary, Op};

impl Translator<'_> {
    pub(super) fn rows(&mut self, own: &ModuleOperationIr) -> Result<(), CaptureError> {
        use ModuleOperationIr as M;
        match own {
            M::Linear(own) => self.linear(&own.x, &own.weight, own.bias.as_ref(), &own.out),
            M::BatchNorm(own) => {
                let mut inputs = vec![self.input(&own.x)?];
                for tensor in [&own.gamma, &own.beta, &own.mean, &own.variance] {
                    inputs.push(self.input(tensor)?);
                }
                // Running statistics arrive without a name: they are their layer's.
                if let Some(Source::Parameter(name)) = self.lazy(inputs[1]).map(|lazy| lazy.source.clone()) {
                    let layer = name.rsplit_once('.').map_or(String::new(), |(layer, _)| format!("{layer}."));
                    self.rename_constant(inputs[3], &format!("{layer}running_mean"));
                    self.rename_constant(inputs[4], &format!("{layer}running_var"));
                }
                self.emit(Op::BatchNorm { epsilon: number(own.epsilon) as f32 }, inputs, &own.out).map(drop)
            }
            M::LayerNorm(own) => {
                let mut inputs = vec![self.input(&own.input)?, self.input(&own.gamma)?];
                if let Some(beta) = &own.beta {
                    inputs.push(self.input(beta)?);
                }
                let op = Op::LayerNorm { epsilon: number(own.epsilon) as f32, shift: own.beta.is_some() };
                self.emit(op, inputs, &own.out).map(drop)
            }
            M::Attention(own) => self.attention(own),
            M::Embedding(own) => {
                let (weights, indices) = (self.input(&own.weights)?, self.input(&own.indices)?);
                let (picked, out) = (self.shape(&own.indices)?, self.shape(&own.out)?);
                let count = self.product(&picked)?;
                let flat = self.step(Op::Reshape, vec![indices], vec![count], element(own.indices.dtype));
                let width = out.last().copied().unwrap_or(Dim::Fixed(1));
                let rows = self.step(
                    Op::Gather { axis: 0 },
                    vec![weights, flat],
                    vec![count, width],
                    element(own.out.dtype),
                );
                self.emit(Op::Reshape, vec![rows], &own.out).map(drop)
            }
            _ => Err(self.unsupported("")),
        }
    }

    /// The number of elements of `shape`, which may hold the batch once.
    fn product(&self, shape: &[Dim]) -> Result<Dim, CaptureError> {
        let mut product = Dim::Fixed(1);
        for &dim in shape {
            product = match (product, dim) {
                (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(a * b),
                (Dim::Fixed(a), Dim::Batch(b)) | (Dim::Batch(a), Dim::Fixed(b)) => Dim::Batch(a * b),
                (Dim::Batch(_), Dim::Batch(_)) => return Err(self.batch("it is the batch times itself")),
            };
        }
        Ok(product)
    }

    fn linear(
        &mut self,
        x: &TensorIr,
        weight: &TensorIr,
        bias: Option<&TensorIr>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let (x, w) = (self.input(x)?, self.input(weight)?);
        let bias = bias.map(|bias| self.input(bias)).transpose()?;
        if let Some(matrix) = self.matrix(w) {
            let mut inputs = vec![x, matrix];
            inputs.extend(bias);
            let op = Op::Linear { bias: bias.is_some(), residual: false, activation: None };
            return self.emit(op, inputs, out).map(drop);
        }
        match bias {
            None => self.emit(Op::MatMul, vec![x, w], out).map(drop),
            Some(bias) => {
                let shape = self.shape(out)?;
                let product = self.step(Op::MatMul, vec![x, w], shape, element(out.dtype));
                self.emit(Op::Binary { function: Binary::Add }, vec![product, bias], out).map(drop)
            }
        }
    }

    /// The constant `id` as a matrix `[in, out]`, if it is one but for leading ones.
    fn matrix(&mut self, id: ValueId) -> Option<ValueId> {
        let lazy = self.lazy(id)?;
        let rank = lazy.shape.len();
        if rank == 2 {
            return Some(id);
        }
        let lead = rank.checked_sub(2)?;
        if lazy.shape[..lead].iter().any(|&extent| extent != 1) {
            return None;
        }
        let shape = lazy.shape[lead..].to_vec();
        let next = lazy.then(Step::Reshape(shape.clone()), shape);
        Some(self.constant(next, self.preferred(id)))
    }

    pub(super) fn matmul(&mut self, own: &MatmulOpIr) -> Result<(), CaptureError> {
        let (a, b) = (self.input(&own.lhs)?, self.input(&own.rhs)?);
        let rank = |tensor: &TensorIr| tensor.shape.iter().count();
        if rank(&own.lhs) == rank(&own.out)
            && self.lazy(a).is_none()
            && let Some(matrix) = self.matrix(b)
        {
            let op = Op::Linear { bias: false, residual: false, activation: None };
            return self.emit(op, vec![a, matrix], &own.out).map(drop);
        }
        self.emit(Op::MatMul, vec![a, b], &own.out).map(drop)
    }

    fn attention(&mut self, own: &AttentionOpIr) -> Result<(), CaptureError> {
        if own.options.softcap.is_some() {
            return Err(self.unsupported("soft caps of the scores"));
        }
        let size = own.query.shape.iter().next_back().copied().unwrap_or(1);
        let scale = own.options.scale.map_or(1.0 / (size as f64).sqrt(), number);
        let mut inputs = vec![self.input(&own.query)?, self.input(&own.key)?, self.input(&own.value)?];
        let mut added = own.attn_bias.as_ref().map(|bias| self.input(bias)).transpose()?;
        if let Some(mask) = &own.mask {
            // What is masked out gets a score that no softmax sees.
            let shape = self.shape(mask)?;
            let never = self.scalar(f64::from(f32::MIN), ElementType::F32);
            let otherwise = match added {
                Some(bias) => bias,
                None => self.scalar(0.0, ElementType::F32),
            };
            let shape = match &own.attn_bias {
                Some(bias) if bias.shape.num_elements() > mask.shape.num_elements() => self.shape(bias)?,
                _ => shape,
            };
            let inputs = vec![self.input(mask)?, never, otherwise];
            added = Some(self.step(Op::Where, inputs, shape, ElementType::F32));
        }
        inputs.extend(added);
        let op = Op::Attention { scale: scale as f32, causal: own.options.is_causal, mask: added.is_some() };
        self.emit(op, inputs, &own.out).map(drop)
    }
}
