//! Layers, pools and gates on codes.

use ocelli_graph::codes::{CodeLayer, CodeMean, CodeProduct, CodeSum, Rounding};
use ocelli_graph::{Constant, Node, Op, PoolAttrs};
use ocelli_kernels::conv::{MAX_TAPS, Window};
use ocelli_kernels::gemm;
use ocelli_kernels::int8::arithmetic::{self, Add, Fixed, Product, Target};
use ocelli_kernels::int8::elementwise::Gated;
use ocelli_kernels::int8::weights::fold_zero;
use ocelli_kernels::int8::{Isa, MapIn, Requantiser};

use super::conv::as_picture;
use super::{Bind, Builder, Places};
use crate::error::EngineError;
use crate::prepare::{Kernel, LayerWeights, conv_shape};
use crate::steps::codes::Pair;
use crate::steps::integers::{ConvCodes, DepthwiseCodes, GateCodes, Pick, Place, PoolCodes};
use crate::view::View;

fn map_in(places: &Places, view: &View) -> MapIn {
    let [picture, row, pixel] = view.as_map().expect("the builder asked for a map");
    MapIn { data: places.codes(view), picture, row, pixel, height: view.shape[2], width: view.shape[3] }
}

/// The kernels' form of a sum.
fn add_of(node: &Node, sum: &CodeSum) -> Result<Add, EngineError> {
    let [low, high] = sum.bounds;
    let target = Target { zero: sum.output.zero_point as u8, low, high };
    let zeros = [sum.own, sum.other].map(|codes| codes.zero_point as u8);
    Add::new([sum.own.scale, sum.other.scale], zeros, sum.output.scale, target).ok_or_else(|| too_far(node))
}

fn too_far(node: &Node) -> EngineError {
    Builder::unsupported(node, "codes whose scales are too far apart")
}

/// How the sums of a layer are written.
fn requantiser(
    node: &Node,
    layer: &CodeLayer,
    scales: &[f32],
    bias: &[i32],
) -> Result<Requantiser, EngineError> {
    let input = layer.input.scale;
    let Some(output) = layer.output else {
        let numbers: Vec<f32> = scales.iter().map(|scale| input * scale).collect();
        return Ok(Requantiser::real(bias, &numbers));
    };
    let [low, high] = layer.bounds;
    let target = Target { zero: output.zero_point as u8, low, high };
    match layer.rounding {
        Rounding::Fixed => {
            let by: Option<Vec<Fixed>> = scales
                .iter()
                .map(|scale| Fixed::new(arithmetic::multiplier(input, *scale, output.scale)))
                .collect();
            Ok(Requantiser::fixed(bias, &by.ok_or_else(|| too_far(node))?, target))
        }
        Rounding::Float => {
            let by: Vec<f32> = scales
                .iter()
                .map(|scale| arithmetic::float_multiplier(input, *scale, output.scale))
                .collect();
            Ok(Requantiser::float(bias, &by, target))
        }
    }
}

impl Builder<'_> {
    /// A layer's scales and bias.
    fn layer_constants(&self, node: &Node) -> Result<(Vec<f32>, Vec<i32>), EngineError> {
        let scales = self.graph.constant_f32(node.inputs[2]);
        let scales = scales.ok_or_else(|| Self::unsupported(node, "computed scales"))?.to_vec();
        match self.graph.constants.get(&node.inputs[3]) {
            Some(Constant::I32(bias)) => Ok((scales, bias.to_vec())),
            _ => Err(Self::unsupported(node, "a computed bias")),
        }
    }

    /// A view of codes or numbers as pixels of a map.
    fn evenly(&mut self, node: &Node, view: &View) -> View {
        match view.as_pixels() {
            Some(_) => view.clone(),
            None => self.copied(&node.name, view, View::channels_last),
        }
    }

    pub(super) fn conv_codes(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::ConvCodes { layer, .. } = &node.op else { unreachable!("a convolution") };
        let s = conv_shape(self.graph, node)?;
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        if s.kernel[0] * s.kernel[1] > MAX_TAPS {
            return Err(Self::unsupported(node, format!("a window of more than {MAX_TAPS} taps")));
        }
        let view = as_picture(&self.view(node.inputs[0])?);
        let input =
            if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) };
        let output = as_picture(&self.room(node.outputs[0], View::channels_last));
        self.layer_codes(index, node, layer, input, output, window, s.groups)
    }

    pub(super) fn linear_codes(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::LinearCodes { layer } = &node.op else { unreachable!("a linear layer") };
        let window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
        let x = self.view(node.inputs[0])?;
        let x = if x.as_rows().is_some() { x } else { self.copied(&node.name, &x, View::dense) };
        let y = self.room(node.outputs[0], View::dense);
        // Rows are pictures of one pixel.
        let as_pictures = |view: &View| -> Result<View, EngineError> {
            let (rows, distance) =
                view.as_rows().ok_or_else(|| Self::unsupported(node, "rows that are not evenly apart"))?;
            let columns = view.shape[view.shape.len() - 1];
            Ok(View {
                root: view.root,
                offset: view.offset,
                shape: vec![rows, columns, 1, 1],
                strides: vec![distance, 1, distance, distance],
            })
        };
        let (input, output) = (as_pictures(&x)?, as_pictures(&y)?);
        self.layer_codes(index, node, layer, input, output, window, 1)
    }

    fn layer_codes(
        &mut self,
        index: usize,
        node: &Node,
        layer: &CodeLayer,
        input: View,
        output: View,
        window: Window,
        groups: usize,
    ) -> Result<(), EngineError> {
        let (scales, bias) = self.layer_constants(node)?;
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed weights"))?;
        let (kernel, blob) = (packed.kernel, packed.weights.clone());
        let weights = LayerWeights::read(self.graph, node, kernel, &blob)
            .ok_or_else(|| Self::unsupported(node, "weights of another length"))?;
        let [n, channels_out, oh, ow] = *<&[usize; 4]>::try_from(output.shape.as_slice())
            .map_err(|_| Self::unsupported(node, "more than two dimensions"))?;
        let (channels, depth) = (input.shape[1], input.shape[1] / groups);
        let Some(output_stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let zero = layer.input.zero_point as u8;
        let requantiser = requantiser(node, layer, &scales, &fold_zero(&bias, &weights.sums, zero))?;
        let residual = match &layer.sum {
            Some(sum) => {
                let view = self.view(*node.inputs.last().expect("the residual is the last input"))?;
                let view = as_picture(&view);
                let view = if view.shape.len() == 4 {
                    self.evenly(node, &view)
                } else {
                    let dense =
                        if view.is_dense() { view } else { self.copied(&node.name, &view, View::dense) };
                    View {
                        shape: output.shape.clone(),
                        strides: vec![channels_out, 1, channels_out, channels_out],
                        ..dense
                    }
                };
                Some((view, add_of(node, sum)?))
            }
            None => None,
        };
        let macs = (n * oh * ow * channels_out * depth * window.kernel[0] * window.kernel[1]) as u64;
        let mut touched = vec![input.root, output.root];
        touched.extend(residual.as_ref().map(|(view, _)| view.root));
        let seven_bits = weights.seven_bits;
        if kernel == Kernel::DepthwiseCodes {
            let bind: Bind = Box::new(move |places| {
                Box::new(DepthwiseCodes {
                    input: map_in(places, &input),
                    window,
                    channels,
                    zero,
                    blob,
                    seven_bits,
                    output_size: [oh, ow],
                    requantiser,
                    output: places.codes(&output),
                    output_stride,
                    rows: n * oh,
                })
            });
            self.emit(&node.name, "depthwise int8", macs, &touched, bind);
            return Ok(());
        }
        let codes = layer.output.is_some();
        let columns = channels_out / groups;
        let filters = weights.winograd(Isa::best(), &blob, [depth, columns], window, [n, oh, ow], groups);
        let kind = match (&filters, window.is_pointwise()) {
            (Some(_), _) => "Winograd int8",
            (None, true) => "pointwise int8",
            (None, false) => "conv int8",
        };
        let excess = if filters.is_some() {
            Box::default()
        } else {
            weights.excess(Isa::best(), &blob, depth, window)
        };
        let bind: Bind = Box::new(move |places| {
            let place =
                if codes { Place::Codes(places.codes(&output)) } else { Place::Numbers(places.of(&output)) };
            Box::new(ConvCodes {
                input: map_in(places, &input),
                window,
                depth,
                padding: vec![zero; depth.next_multiple_of(4) + 64].into(),
                sums: weights.panel_sums,
                blob,
                bytes_per_group: weights.bytes_per_group,
                excess,
                zero,
                filters,
                sums_per_group: gemm::panels(columns) * gemm::PANEL,
                seven_bits,
                groups,
                columns,
                output_size: [oh, ow],
                requantiser,
                output: place,
                output_stride,
                residual: residual.map(|(view, add)| {
                    (places.codes(&view).cast_const(), view.as_pixels().expect("pixels"), add)
                }),
                pixels: n * oh * ow,
            })
        });
        self.emit(&node.name, kind, macs, &touched, bind);
        Ok(())
    }

    pub(super) fn add_codes(&mut self, node: &Node, sum: &CodeSum) -> Result<(), EngineError> {
        let add = add_of(node, sum)?;
        self.combine(node, Pair::Sum(add))
    }

    pub(super) fn mul_codes(&mut self, node: &Node, product: &CodeProduct) -> Result<(), EngineError> {
        let target =
            Target { zero: product.output.zero_point as u8, low: 0, high: product.output.highest() as u8 };
        let factor =
            f64::from(product.own.scale) * f64::from(product.other.scale) / f64::from(product.output.scale);
        let by = match product.rounding {
            Rounding::Fixed => Product::Fixed(Fixed::new(factor).ok_or_else(|| too_far(node))?),
            Rounding::Float => {
                Product::Float([product.own, product.other, product.output].map(|codes| codes.scale))
            }
        };
        let zeros = [product.own, product.other].map(|codes| codes.zero_point as u8);
        let (x, gates) = (self.view(node.inputs[0])?, self.view(node.inputs[1])?);
        let pixels = x.shape.get(2..).map_or(1, |rest| rest.iter().product::<usize>());
        let channels = x.shape.get(1).copied().unwrap_or(1);
        if x.shape == gates.shape || pixels == 1 || x.as_pixels().is_none() {
            return self.combine(node, Pair::Product { zeros, by, target });
        }
        let gates = if gates.is_dense() { gates } else { self.copied(&node.name, &gates, View::dense) };
        let y = self.room(node.outputs[0], View::channels_last);
        let (Some(x_stride), Some(y_stride)) = (x.as_pixels(), y.as_pixels()) else {
            return self.combine(node, Pair::Product { zeros, by, target });
        };
        let touched = [x.root, gates.root, y.root];
        let total = x.shape[0] * pixels;
        let bind: Bind = Box::new(move |places| {
            let gated = Gated {
                x: places.codes(&x),
                x_stride,
                gates: places.codes(&gates),
                channels,
                pixels,
                zeros,
                by,
                target,
                y: places.codes(&y),
                y_stride,
            };
            Box::new(GateCodes { gated, total })
        });
        self.emit(&node.name, "gate int8", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn mean_codes(&mut self, node: &Node, mean: &CodeMean) -> Result<(), EngineError> {
        let view = self.view(node.inputs[0])?;
        let input =
            if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) };
        let [n, channels, height, width] = *<&[usize; 4]>::try_from(input.shape.as_slice())
            .map_err(|_| Self::unsupported(node, "codes of something else than a map"))?;
        let by = arithmetic::mean_multiplier(mean.input.scale, mean.output.scale, height * width)
            .ok_or_else(|| too_far(node))?;
        let target = Target { zero: mean.output.zero_point as u8, low: 0, high: mean.output.highest() as u8 };
        let y = self.room(node.outputs[0], |root, shape| {
            if shape.len() == 4 { View::channels_last(root, shape) } else { View::dense(root, shape) }
        });
        let window = Window { kernel: [height, width], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
        let zero = mean.input.zero_point as u8;
        let touched = [input.root, y.root];
        let output_stride = if n > 1 { y.strides[0] } else { channels };
        let bind: Bind = Box::new(move |places| {
            Box::new(PoolCodes {
                input: map_in(places, &input),
                window,
                pad_end: [0, 0],
                pick: Pick::Mean { by, target },
                channels,
                zero,
                output: places.codes(&y),
                output_stride,
                output_size: [1, 1],
                rows: n,
            })
        });
        self.emit(&node.name, "mean int8", 0, &touched, bind);
        Ok(())
    }

    pub(super) fn max_pool_codes(&mut self, node: &Node, attrs: &PoolAttrs) -> Result<(), EngineError> {
        let view = self.view(node.inputs[0])?;
        let input =
            if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) };
        let y = self.room(node.outputs[0], View::channels_last);
        let [n, channels, oh, ow] = *<&[usize; 4]>::try_from(y.shape.as_slice())
            .map_err(|_| Self::unsupported(node, "codes of something else than a map"))?;
        let Some(output_stride) = y.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let window = Window {
            kernel: attrs.kernel,
            stride: attrs.stride,
            pad: attrs.pad_begin,
            dilation: attrs.dilation,
        };
        let pad_end = attrs.pad_end;
        let touched = [input.root, y.root];
        let bind: Bind = Box::new(move |places| {
            Box::new(PoolCodes {
                input: map_in(places, &input),
                window,
                pad_end,
                pick: Pick::Max,
                channels,
                zero: 0,
                output: places.codes(&y),
                output_stride,
                output_size: [oh, ow],
                rows: n * oh,
            })
        });
        self.emit(&node.name, "max pool int8", 0, &touched, bind);
        Ok(())
    }
}
