//! Pooling, resizing, reductions over maps.

use ocelli_graph::{Node, Op, PoolAttrs, Reduction, ResizeMode};
use ocelli_kernels::conv::Window;
use ocelli_kernels::pool::{Kind, Pooling};
use ocelli_kernels::resize::{Resize, Taps};

use super::conv::map_in;
use super::{Bind, Builder};
use crate::error::EngineError;
use crate::steps::map as steps;
use crate::steps::nest::Nest;
use crate::steps::rows::{Combine, Reduce, SumPixels};
use crate::view::View;

impl Builder<'_> {
    pub(super) fn pool(&mut self, node: &Node) -> Result<(), EngineError> {
        let (pool, kind): (PoolAttrs, Kind) = match node.op {
            Op::MaxPool(pool) => (pool, Kind::Max),
            Op::AvgPool { pool, count_include_pad } => {
                (pool, Kind::Mean { count_padding: count_include_pad })
            }
            _ => unreachable!("called for pooling only"),
        };
        let input = self.map(node, node.inputs[0])?;
        let output = self.room(node.outputs[0], View::channels_last);
        let [n, channels, oh, ow] = four(node, &output)?;
        let Some(output_stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let window =
            Window { kernel: pool.kernel, stride: pool.stride, pad: pool.pad_begin, dilation: pool.dilation };
        let touched = [input.root, output.root];
        let bind: Bind = Box::new(move |places| {
            let pooling = Pooling {
                input: map_in(places, &input),
                window,
                pad_end: pool.pad_end,
                kind,
                channels,
                output: places.of(&output),
                output_stride,
                output_size: [oh, ow],
            };
            Box::new(steps::Pool { pooling, rows: n * oh })
        });
        self.emit(&node.name, "pool", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn adaptive(&mut self, node: &Node) -> Result<(), EngineError> {
        let input = self.view(node.inputs[0])?;
        let output = self.room(node.outputs[0], View::channels_last);
        let shape = four(node, &output)?;
        let from = four(node, &input)?;
        let strides = |view: &View| -> [usize; 4] { std::array::from_fn(|d| view.strides[d]) };
        let touched = [input.root, output.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(steps::Adaptive {
                x: places.of(&input),
                x_strides: strides(&input),
                input: [from[2], from[3]],
                y: places.of(&output),
                y_strides: strides(&output),
                shape,
            })
        });
        self.emit(&node.name, "adaptive pool", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn resize(&mut self, node: &Node, mode: ResizeMode, align: bool) -> Result<(), EngineError> {
        let input = self.map(node, node.inputs[0])?;
        let output = self.room(node.outputs[0], View::channels_last);
        let [batch, channels, oh, ow] = four(node, &output)?;
        let Some(output_stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let axis = |from: usize, to: usize| -> Box<[Taps]> {
            (0..to).map(|i| taps(mode, align, i, from, to)).collect()
        };
        let (down, across) = (axis(input.shape[2], oh), axis(input.shape[3], ow));
        let touched = [input.root, output.root];
        let bind: Bind = Box::new(move |places| {
            let resize = Resize {
                input: map_in(places, &input),
                rows: &[],
                columns: &[],
                channels,
                output: places.of(&output),
                output_stride,
            };
            Box::new(steps::ResizeStep { resize, down, across, batch })
        });
        self.emit(&node.name, "resize", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn reduce(&mut self, node: &Node) -> Result<(), EngineError> {
        let Op::Reduce { reduction, axes, keep_dims } = &node.op else { unreachable!("a reduction") };
        let x = self.view(node.inputs[0])?;
        let count: usize = axes.iter().map(|&d| x.shape[d]).product();
        let y = self.room(node.outputs[0], |root, shape| {
            if shape.len() == 4 { View::channels_last(root, shape) } else { View::dense(root, shape) }
        });
        // The result's distances per dimension of the operand.
        let mut along = vec![0; x.shape.len()];
        if *keep_dims {
            for d in (0..x.shape.len()).filter(|d| !axes.contains(d)) {
                along[d] = y.strides[d];
            }
        } else {
            let kept = (0..x.shape.len()).filter(|d| !axes.contains(d));
            for (d, stride) in kept.zip(&y.strides) {
                along[d] = *stride;
            }
        }
        let touched = [x.root, y.root];
        let sums = matches!(reduction, Reduction::Mean | Reduction::Sum);
        if axes == &[2, 3]
            && sums
            && x.shape.len() == 4
            && (x.shape[1] == 1 || along[1] == 1)
            && let Some([picture, row, pixel]) = x.as_map()
            && (row == pixel * x.shape[3] || x.shape[2] == 1)
        {
            let factor = if *reduction == Reduction::Mean { 1.0 / count as f32 } else { 1.0 };
            let y_stride = along[0];
            let bind: Bind = Box::new(move |places| {
                Box::new(SumPixels {
                    x: places.of(&x),
                    picture,
                    pixel,
                    pixels: count,
                    channels: x.shape[1],
                    factor,
                    y: places.of(&y),
                    y_stride,
                    batch: x.shape[0],
                })
            });
            self.emit(&node.name, "mean", 0, &touched, bind);
            return Ok(());
        }
        let pick = |keep: bool, values: &[usize]| -> Vec<usize> {
            (0..x.shape.len()).filter(|d| axes.contains(d) != keep).map(|d| values[d]).collect()
        };
        let kept_strides = (pick(true, &along), pick(true, &x.strides));
        let kept = Nest::new(&pick(true, &x.shape), [&kept_strides.0, &kept_strides.1]);
        let reduced = Nest::new(&pick(false, &x.shape), [&pick(false, &x.strides)]);
        let combine = match reduction {
            Reduction::Mean => Combine::Sum { factor: 1.0 / count as f32 },
            Reduction::Sum => Combine::Sum { factor: 1.0 },
            Reduction::Max => Combine::Max,
            Reduction::Min => Combine::Min,
            Reduction::Prod => Combine::Prod,
        };
        let bind: Bind = Box::new(move |places| {
            Box::new(Reduce { kept, reduced, combine, y: places.of(&y), x: places.of(&x) })
        });
        self.emit(&node.name, "reduce", 0, &touched, bind);
        Ok(())
    }
}

pub(super) fn four(node: &Node, view: &View) -> Result<[usize; 4], EngineError> {
    <[usize; 4]>::try_from(view.shape.as_slice()).map_err(|_| EngineError::Unsupported {
        node: node.name.clone(),
        op: "maps without two dimensions".into(),
    })
}

/// The input coordinates of output coordinate `i`, as PyTorch's `interpolate` takes them.
fn taps(mode: ResizeMode, align: bool, i: usize, from: usize, to: usize) -> Taps {
    let clamp = |v: i64| v.clamp(0, from as i64 - 1) as usize;
    let source = if align {
        if to > 1 { i as f64 * (from as f64 - 1.0) / (to as f64 - 1.0) } else { 0.0 }
    } else {
        f64::from(from as f32 / to as f32 * (i as f32 + 0.5) - 0.5)
    };
    match mode {
        ResizeMode::Nearest => {
            let at = clamp((i * from / to) as i64);
            Taps { at: [at; 4], weight: [1.0, 0.0, 0.0, 0.0], count: 1 }
        }
        ResizeMode::Bilinear => {
            let source = source.max(0.0);
            let low = source.floor();
            let part = (source - low) as f32;
            let (a, b) = (clamp(low as i64), clamp(low as i64 + 1));
            Taps { at: [a, b, a, a], weight: [1.0 - part, part, 0.0, 0.0], count: 2 }
        }
        ResizeMode::Bicubic => {
            const A: f64 = -0.75;
            let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
            let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A;
            let low = source.floor();
            let t = source - low;
            let weight = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)].map(|w| w as f32);
            Taps { at: [-1, 0, 1, 2].map(|d| clamp(low as i64 + d)), weight, count: 4 }
        }
    }
}
