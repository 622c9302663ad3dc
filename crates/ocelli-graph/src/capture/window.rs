//! Recorded operations that move a window over a map.

use burn_ir::{InterpolateModeIr, ModuleOperationIr, TensorIr};

use super::CaptureError;
use super::translate::{Translator, element};
use crate::ir::{Dim, ValueId};
use crate::op::{ConvAttrs, Op, PoolAttrs, ResizeMode};

impl Translator<'_> {
    pub(super) fn module(&mut self, own: &ModuleOperationIr) -> Result<(), CaptureError> {
        use ModuleOperationIr as M;
        match own {
            M::Conv1d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding, &o.dilation, o.groups);
                self.conv(attrs, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::Conv2d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding, &o.dilation, o.groups);
                self.conv(attrs, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::Conv3d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding.map(|p| (p, p)), &o.dilation, o.groups);
                self.conv(attrs, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::ConvTranspose1d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding.map(|p| (p, p)), &o.dilation, o.groups);
                self.transposed(attrs, &o.padding_out, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::ConvTranspose2d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding.map(|p| (p, p)), &o.dilation, o.groups);
                self.transposed(attrs, &o.padding_out, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::ConvTranspose3d(c) => {
                let o = &c.options;
                let attrs = attrs(&o.stride, &o.padding.map(|p| (p, p)), &o.dilation, o.groups);
                self.transposed(attrs, &o.padding_out, [&c.x, &c.weight], c.bias.as_ref(), &c.out)
            }
            M::MaxPool2d(p) => {
                let pool = pool(p.kernel_size, p.stride, p.padding, p.dilation, p.ceil_mode);
                self.unary_like(Op::MaxPool(pool), &p.x, &p.out)
            }
            // The indices stay unknown: whoever reads them is refused.
            M::MaxPool2dWithIndices(p) => {
                let pool = pool(p.kernel_size, p.stride, p.padding, p.dilation, p.ceil_mode);
                self.unary_like(Op::MaxPool(pool), &p.x, &p.out)
            }
            M::MaxPool1d(p) => {
                let pool =
                    pool([1, p.kernel_size], [1, p.stride], [0, p.padding], [1, p.dilation], p.ceil_mode);
                self.over_line(Op::MaxPool(pool), &p.x, &p.out)
            }
            M::AvgPool2d(p) => {
                let pool = pool(p.kernel_size, p.stride, p.padding, [1, 1], p.ceil_mode);
                let op = Op::AvgPool { pool, count_include_pad: p.count_include_pad };
                self.unary_like(op, &p.x, &p.out)
            }
            M::AvgPool1d(p) => {
                let pool = pool([1, p.kernel_size], [1, p.stride], [0, p.padding], [1, 1], p.ceil_mode);
                let op = Op::AvgPool { pool, count_include_pad: p.count_include_pad };
                self.over_line(op, &p.x, &p.out)
            }
            M::AdaptiveAvgPool2d(p) => self.unary_like(Op::AdaptiveAvgPool, &p.x, &p.out),
            M::AdaptiveAvgPool1d(p) => self.over_line(Op::AdaptiveAvgPool, &p.x, &p.out),
            M::Interpolate(p) => {
                let mode = match p.options.mode {
                    InterpolateModeIr::Nearest => ResizeMode::Nearest,
                    InterpolateModeIr::Bilinear => ResizeMode::Bilinear,
                    InterpolateModeIr::Bicubic => ResizeMode::Bicubic,
                    InterpolateModeIr::NearestExact | InterpolateModeIr::Lanczos3 => {
                        return Err(self.unsupported("this way of filling in"));
                    }
                };
                let op = Op::Resize { mode, align_corners: p.options.align_corners };
                self.unary_like(op, &p.x, &p.out)
            }
            _ => self.rows(own),
        }
    }

    fn conv(
        &mut self,
        attrs: ConvAttrs,
        inputs: [&TensorIr; 2],
        bias: Option<&TensorIr>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let mut ids = vec![self.input(inputs[0])?, self.input(inputs[1])?];
        if let Some(bias) = bias {
            ids.push(self.input(bias)?);
        }
        let op = Op::Conv { attrs, bias: bias.is_some(), residual: false, activation: None };
        self.emit(op, ids, out).map(drop)
    }

    fn transposed(
        &mut self,
        attrs: ConvAttrs,
        output_padding: &[usize],
        inputs: [&TensorIr; 2],
        bias: Option<&TensorIr>,
        out: &TensorIr,
    ) -> Result<(), CaptureError> {
        let mut ids = vec![self.input(inputs[0])?, self.input(inputs[1])?];
        if let Some(bias) = bias {
            ids.push(self.input(bias)?);
        }
        let op = Op::ConvTranspose { attrs, output_padding: output_padding.to_vec(), bias: bias.is_some() };
        self.emit(op, ids, out).map(drop)
    }

    /// An operation over `[n, c, length]`, carried out on a map of height 1.
    fn over_line(&mut self, op: Op, x: &TensorIr, out: &TensorIr) -> Result<(), CaptureError> {
        let picture = |mut shape: Vec<Dim>| {
            shape.insert(2.min(shape.len()), Dim::Fixed(1));
            shape
        };
        let (before, after) = (picture(self.shape(x)?), picture(self.shape(out)?));
        let id: ValueId = self.input(x)?;
        let map = self.step(Op::Reshape, vec![id], before, element(x.dtype));
        let result = self.step(op, vec![map], after, element(out.dtype));
        self.emit(Op::Reshape, vec![result], out).map(drop)
    }
}

fn attrs(stride: &[usize], padding: &[(usize, usize)], dilation: &[usize], groups: usize) -> ConvAttrs {
    ConvAttrs {
        stride: stride.to_vec(),
        pad_begin: padding.iter().map(|(begin, _)| *begin).collect(),
        pad_end: padding.iter().map(|(_, end)| *end).collect(),
        dilation: dilation.to_vec(),
        groups,
    }
}

fn pool(
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil_mode: bool,
) -> PoolAttrs {
    PoolAttrs { kernel, stride, pad_begin: padding, pad_end: padding, dilation, ceil_mode }
}
