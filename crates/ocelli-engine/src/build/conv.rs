//! Convolutions.

use ocelli_graph::{Node, Op, Unary, ValueId};
use ocelli_kernels::conv::{Conv, MAX_TAPS, MapIn, Window};
use ocelli_kernels::depthwise::Depthwise;
use ocelli_kernels::elementwise::Function;
use ocelli_kernels::gemm::{self, Epilogue};
use ocelli_kernels::winograd::{POINTS, Winograd};

use super::{Bind, Builder, Places};
use crate::error::EngineError;
use crate::prepare::{ConvShape, Kernel, conv_shape};
use crate::steps::conv::{Dense, DepthwiseStep, WinogradStep};
use crate::view::View;

/// Bytes that a block of tiles may take up in both of Winograd's rooms: most of a second-level cache.
const WINOGRAD_ROOM: usize = 1200 << 10;

/// Bounds that a kernel applies itself, and a function for what it cannot.
pub(super) fn split_activation(activation: Option<Unary>) -> ((f32, f32), Option<Function>) {
    const NONE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);
    match activation {
        None => (NONE, None),
        Some(Unary::Relu) => ((0.0, f32::INFINITY), None),
        Some(Unary::Clamp { min, max }) => ((min, max), None),
        Some(other) => (NONE, Some(super::elementwise::function(other))),
    }
}

pub(super) fn map_in(places: &Places, view: &View) -> MapIn {
    let [picture, row, pixel] = view.as_map().expect("the builder asked for a map");
    MapIn { data: places.of(view), picture, row, pixel, height: view.shape[2], width: view.shape[3] }
}

/// `numbers` filled up so that whole panels can be read.
pub(super) fn panelled(numbers: &[f32]) -> Box<[f32]> {
    let mut padded = numbers.to_vec();
    padded.resize(gemm::panels(numbers.len()) * gemm::PANEL, 0.0);
    padded.into()
}

/// One spatial dimension as a map of height 1.
pub(super) fn as_picture(view: &View) -> View {
    if view.shape.len() != 3 {
        return view.clone();
    }
    let mut view = view.clone();
    view.shape.insert(2, 1);
    view.strides.insert(2, 0);
    view
}

impl Builder<'_> {
    /// If graph input `id` is read by one convolution over few channels alone: its place inside of that one's padded
    /// buffer, so that nothing is copied twice.
    pub(super) fn padded_home(&mut self, id: ValueId) -> Result<Option<View>, EngineError> {
        if self.readers[id.index()] != 1 {
            return Ok(None);
        }
        let reader = self.graph.nodes.iter().enumerate().find(|(_, node)| node.inputs.first() == Some(&id));
        let Some((index, node)) = reader else { return Ok(None) };
        if self.parts.packed.get(&index).is_none_or(|packed| packed.kernel != Kernel::ConvRows)
            || self.shape(id).len() != 4
        {
            return Ok(None);
        }
        let padded = self.padded(node)?;
        let shape = self.shape(id);
        let pad = conv_shape(self.graph, node)?.pad;
        let inside = padded.sliced(2, pad[0], 1, shape[2]).sliced(3, pad[1], 1, shape[3]);
        self.padded_inputs.insert(id, padded);
        Ok(Some(inside))
    }

    /// A buffer for the input of `node` with its zeros around it.
    fn padded(&mut self, node: &Node) -> Result<View, EngineError> {
        let Op::Conv { attrs, .. } = &node.op else { unreachable!("called for convolutions only") };
        let mut shape = as_picture(&View::dense(0, &self.shape(node.inputs[0]))).shape;
        for (i, (begin, end)) in attrs.pad_begin.iter().zip(&attrs.pad_end).rev().enumerate() {
            shape[3 - i] += begin + end;
        }
        let root = self.buffer(shape.iter().product());
        self.keep(root);
        Ok(View::channels_last(root, &shape))
    }

    pub(super) fn conv(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::Conv { bias, residual, activation, .. } = &node.op else { unreachable!("a convolution") };
        let s = conv_shape(self.graph, node)?;
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed weights"))?;
        let (kernel, weights) = (packed.kernel, packed.weights.clone());
        let bias = match bias {
            true => Some(
                self.graph
                    .constant_f32(node.inputs[2])
                    .ok_or_else(|| Self::unsupported(node, "a computed bias"))?
                    .to_vec(),
            ),
            false => None,
        };
        let (bounds, post) = split_activation(*activation);
        let output = as_picture(&self.room(node.outputs[0], View::channels_last));
        let Some(output_stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let residual = match residual {
            true => {
                let view =
                    as_picture(&self.view(*node.inputs.last().expect("the residual is the last input"))?);
                Some(match view.as_pixels() {
                    Some(_) => view,
                    None => self.copied(&node.name, &view, View::channels_last),
                })
            }
            false => None,
        };
        let [n, _, oh, ow] = *<&[usize; 4]>::try_from(output.shape.as_slice())
            .map_err(|_| Self::unsupported(node, "a convolution over more than two dimensions"))?;
        let taps = s.kernel[0] * if kernel == Kernel::ConvRows { 1 } else { s.kernel[1] };
        if taps > MAX_TAPS && kernel != Kernel::Depthwise {
            return Err(Self::unsupported(node, format!("a window of {taps} taps; at most {MAX_TAPS}")));
        }
        let macs = (n * oh * ow * s.channels_out * s.depth * s.kernel[0] * s.kernel[1]) as u64;
        let mut window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        let epilogue = Epilogue {
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            residual_stride: residual.as_ref().and_then(View::as_pixels).unwrap_or(0),
            low: bounds.0,
            high: bounds.1,
        };
        let input = if kernel == Kernel::ConvRows {
            // Whole rows of the window become taps: `kernel width · channels` neighbours each.
            window = Window {
                kernel: [s.kernel[0], 1],
                stride: s.stride,
                pad: [0, 0],
                dilation: [s.dilation[0], 1],
            };
            match self.padded_inputs.get(&node.inputs[0]) {
                Some(padded) => padded.clone(),
                None => {
                    let padded = self.padded(node)?;
                    let view = as_picture(&self.view(node.inputs[0])?);
                    let inside =
                        padded.sliced(2, s.pad[0], 1, view.shape[2]).sliced(3, s.pad[1], 1, view.shape[3]);
                    self.copy(&node.name, &view, &inside);
                    padded
                }
            }
        } else {
            let view = as_picture(&self.view(node.inputs[0])?);
            if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) }
        };
        let mut touched = vec![input.root, output.root];
        touched.extend(residual.as_ref().map(|view| view.root));
        match kernel {
            Kernel::Winograd => {
                let tiles = n * oh.div_ceil(4) * ow.div_ceil(4);
                let most = WINOGRAD_ROOM / (4 * POINTS * (s.depth + s.channels_out));
                let blocks = tiles.div_ceil(most.clamp(12, tiles.max(12)));
                let block = tiles.div_ceil(blocks);
                let (rooms, columns) =
                    ([s.depth, s.channels_out].map(|c| self.buffer(POINTS * block * c)), s.channels_out);
                touched.extend(rooms);
                let bias = panelled(&bias.unwrap_or_else(|| vec![0.0; columns]));
                let bind: Bind = Box::new(move |places| {
                    let mut epilogue = epilogue;
                    epilogue.bias = bias.as_ptr();
                    if let Some(view) = &residual {
                        epilogue.residual = places.of(view);
                    }
                    let winograd = Winograd {
                        input: map_in(places, &input),
                        pad: s.pad,
                        depth: s.depth,
                        weights: weights.as_ptr(),
                        columns,
                        output: places.of(&output),
                        output_stride,
                        output_size: [oh, ow],
                        epilogue,
                        transformed: places.of(&View::dense(rooms[0], &[1])),
                        products: places.of(&View::dense(rooms[1], &[1])),
                        block,
                    };
                    Box::new(WinogradStep { winograd, tiles, post, _bias: bias })
                });
                self.emit(&node.name, "winograd", macs, &touched, bind);
            }
            Kernel::Depthwise => {
                let bias: Option<Box<[f32]>> = bias.map(Into::into);
                let bind: Bind = Box::new(move |places| {
                    let bounded =
                        if residual.is_none() { bounds } else { (f32::NEG_INFINITY, f32::INFINITY) };
                    let depthwise = Depthwise {
                        input: map_in(places, &input),
                        window,
                        channels: s.channels,
                        weights: weights.as_ptr(),
                        bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                        output: places.of(&output),
                        output_stride,
                        output_size: [oh, ow],
                        low: bounded.0,
                        high: bounded.1,
                    };
                    Box::new(DepthwiseStep {
                        depthwise,
                        rows: n * oh,
                        post,
                        residual: residual.as_ref().map(|view| {
                            (places.of(view).cast_const(), view.as_pixels().expect("checked above"))
                        }),
                        bounds,
                        _bias: bias,
                    })
                });
                self.emit(&node.name, "depthwise", macs, &touched, bind);
            }
            _ => {
                let ConvShape { groups, channels_out, .. } = s;
                let per_group = channels_out / groups;
                let depth = if kernel == Kernel::ConvRows { s.depth * s.kernel[1] } else { s.depth };
                let kind = match (kernel, window.is_pointwise()) {
                    (Kernel::ConvRows, _) => "conv rows",
                    (_, true) => "pointwise",
                    _ => "conv",
                };
                let bias_per_group = gemm::panels(per_group) * gemm::PANEL;
                let bias: Box<[f32]> = match bias {
                    Some(bias) => {
                        bias.chunks_exact(per_group).flat_map(|own| panelled(own).into_vec()).collect()
                    }
                    None => Box::default(),
                };
                let zeros: Box<[f32]> = vec![0.0; depth].into();
                let bind: Bind = Box::new(move |places| {
                    let mut epilogue = epilogue;
                    if !bias.is_empty() {
                        epilogue.bias = bias.as_ptr();
                    }
                    if let Some(view) = &residual {
                        epilogue.residual = places.of(view);
                    }
                    let conv = Conv {
                        input: map_in(places, &input),
                        window,
                        depth,
                        zeros: zeros.as_ptr(),
                        weights: weights.as_ptr(),
                        columns: per_group,
                        output: places.of(&output),
                        output_stride,
                        output_size: [oh, ow],
                        epilogue,
                    };
                    Box::new(Dense {
                        conv,
                        groups,
                        weights_per_group: weights.len() / groups,
                        bias_per_group,
                        pixels: n * oh * ow,
                        post,
                        _owned: [bias, zeros],
                    })
                });
                self.emit(&node.name, kind, macs, &touched, bind);
            }
        }
        Ok(())
    }
}
