//! Convolutions of signs.

use ocelli_graph::binary_conv::Part;
use ocelli_graph::{BinaryConv, Node, Op};
use ocelli_kernels::binary::{self, BitMap, Filters, Finish, Padding, Threshold};
use ocelli_kernels::conv::{Conv, MAX_TAPS, MapIn, Window};
use ocelli_kernels::depthwise::Depthwise;
use ocelli_kernels::gemm::{self, Epilogue};

use super::conv::{map_in, panelled};
use super::{Bind, Builder};
use crate::error::EngineError;
use crate::prepare::{ConvShape, Kernel, binary_words, conv_shape};
use crate::steps::binary::{BinaryStep, Signed, SignedStep, Source};
use crate::steps::conv::{Dense, DepthwiseStep};
use crate::view::View;

fn source(map: &MapIn, channels: usize, batch: usize) -> Source {
    let &MapIn { data, picture, row, pixel, height, width } = map;
    Source { x: data, picture, row, pixel, channels, height, width, batch }
}

/// A number per channel.
type Row = Box<[f32]>;

/// A convolution's constant inputs.
struct Numbers {
    shift: Option<Row>,
    scale: Option<Row>,
    bias: Option<Row>,
    slope: Option<Row>,
    after: Option<Row>,
}

/// Where sums go.
enum To {
    /// Compared with whole numbers, into a buffer of words.
    Bits { root: usize, words: usize, sign: Row, bound: Row },
    /// Scaled, shifted and bent.
    Numbers { output: View, stride: usize, residual: Option<View> },
}

/// What sums are compared with, factors and bounds, where their signs after all of `numbers` and after adding `next` are all that
/// counts. Nothing where a channel's sign does not change once: with a negative slope, or numbers that are none.
///
/// The rule is computed as [`Finish::Floats`] and the packing of signs do, so that both ways decide alike to the last bit.
fn fold(numbers: &Numbers, factors: &[f32], next: Option<&[f32]>, limit: i32) -> Option<(Row, Row)> {
    let Numbers { bias, slope, after, .. } = numbers;
    let finite = |numbers: Option<&[f32]>| numbers.is_none_or(|own| own.iter().all(|v| v.is_finite()));
    let all = [Some(factors), bias.as_deref(), slope.as_deref(), after.as_deref(), next];
    if !all.into_iter().all(finite) || slope.as_ref().is_some_and(|slope| slope.iter().any(|v| *v < 0.0)) {
        return None;
    }
    let of = |numbers: &Option<Row>, out: usize| numbers.as_ref().map(|numbers| numbers[out]);
    let comparisons = factors.iter().enumerate().map(|(out, factor)| {
        let (bias, slope, after) = (of(bias, out), of(slope, out), of(after, out));
        let next = next.map(|next| next[out]);
        let threshold = Threshold::of_rule(limit, |sum| {
            let mut v = sum as f32 * factor;
            v = bias.map_or(v, |bias| v + bias);
            v = slope.map_or(v, |slope| v.max(0.0) + v.min(0.0) * slope);
            v = after.map_or(v, |after| v + after);
            next.map_or(v, |next| v + next) < 0.0
        });
        threshold.as_comparison()
    });
    let (sign, bound): (Vec<f32>, Vec<f32>) = comparisons.unzip();
    Some((sign.into(), bound.into()))
}

impl Builder<'_> {
    pub(super) fn binary_conv(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::BinaryConv(own) = &node.op else { unreachable!("a convolution of signs") };
        let s = conv_shape(self.graph, node)?;
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed weights"))?;
        let (kernel, weights) = (packed.kernel, packed.weights.clone());
        let taps = s.kernel[0] * s.kernel[1];
        if taps > MAX_TAPS && kernel != Kernel::Depthwise {
            return Err(Self::unsupported(node, format!("a window of {taps} taps; at most {MAX_TAPS}")));
        }
        let shift = self.numbers(node, own, Part::Shift)?;
        let scale = self.numbers(node, own, Part::Scale)?;
        let [bias, slope, after] =
            [Part::Bias, Part::Slope, Part::After].map(|part| self.numbers(node, own, part));
        let (bias, slope, after) = (bias?, slope?, after?);
        if kernel == Kernel::Binary {
            let numbers = Numbers { shift, scale, bias, slope, after };
            return self.packed_conv(node, own, &s, &weights, numbers);
        }
        if own.residual || own.slope || own.after {
            return Err(Self::unsupported(node, "more than a bias after a grouped convolution of signs"));
        }
        let input = self.map(node, node.inputs[0])?;
        let output = self.room(node.outputs[0], View::channels_last);
        if output.as_pixels().is_none() {
            return Err(Self::unsupported(node, "a result laid out like this"));
        }
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        self.signed_conv(node, &s, kernel, weights, window, input, output, [shift, scale, bias])
    }

    /// The constant input `part` of a convolution of signs.
    fn numbers(&self, node: &Node, own: &BinaryConv, part: Part) -> Result<Option<Row>, EngineError> {
        let Ok(place) = own.place(part) else { return Ok(None) };
        let constant = self.graph.constant_f32(node.inputs[place]);
        let known = constant.ok_or_else(|| Self::unsupported(node, format!("a computed {part:?}")))?;
        Ok(Some(known.into()))
    }

    /// Where the result of `node` is read as signs by a convolution with bits and by nothing else: what that adds before it
    /// takes signs.
    fn read_as_signs(&self, node: &Node) -> Option<Option<Row>> {
        let id = node.outputs[0];
        if self.readers[id.index()] != 1 || self.homes.contains_key(&id) {
            return None;
        }
        let (index, reader) =
            self.graph.nodes.iter().enumerate().find(|(_, reader)| reader.inputs.contains(&id))?;
        let Op::BinaryConv(own) = &reader.op else { return None };
        let bits = self.parts.packed.get(&index).is_some_and(|packed| packed.kernel == Kernel::Binary);
        if !bits || reader.inputs[0] != id {
            return None;
        }
        self.numbers(reader, own, Part::Shift).ok()
    }

    /// A convolution of bits.
    fn packed_conv(
        &mut self,
        node: &Node,
        own: &BinaryConv,
        s: &ConvShape,
        weights: &[f32],
        numbers: Numbers,
    ) -> Result<(), EngineError> {
        let taps = s.kernel[0] * s.kernel[1];
        let words = binary::words(s.channels);
        let input_shape = self.shape(node.inputs[0]);
        let (batch, [height, width]) = (input_shape[0], [input_shape[2], input_shape[3]]);
        let pixels = batch * s.output[0] * s.output[1];
        let macs = (pixels * s.channels_out * s.depth * taps) as u64;
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        let (packed_words, means) = weights.split_at(2 * binary_words(s));
        let packed_words: Vec<u64> = packed_words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[low, high]| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32)
            .collect();
        let filters = Filters::new(&packed_words, s.channels_out, s.channels, s.kernel)
            .ok_or_else(|| Self::unsupported(node, "filters of another size"))?;
        let factors: Row = match &numbers.scale {
            Some(scale) => means.iter().zip(scale.iter()).map(|(a, b)| a * b).collect(),
            None => means.into(),
        };
        // Bits are there already, or are made of numbers; they take two numbers' room per word.
        let (source_map, bits) = match self.signs.get(&node.inputs[0]) {
            Some(&bits) => (None, bits),
            None => {
                let map = self.map(node, node.inputs[0])?;
                (Some(map), self.buffer(2 * batch * height * width * words))
            }
        };
        let mut touched: Vec<usize> = source_map.iter().map(|map| map.root).chain([bits]).collect();
        let folded = match self.read_as_signs(node) {
            Some(next) if !own.residual => {
                fold(&numbers, &factors, next.as_deref(), (s.channels * taps) as i32)
            }
            _ => None,
        };
        let to = match folded {
            Some((sign, bound)) => {
                let words = binary::words(s.channels_out);
                let root = self.buffer(2 * pixels * words);
                self.signs.insert(node.outputs[0], root);
                touched.push(root);
                To::Bits { root, words, sign, bound }
            }
            None => {
                let output = self.room(node.outputs[0], View::channels_last);
                let Some(stride) = output.as_pixels() else {
                    return Err(Self::unsupported(node, "a result laid out like this"));
                };
                let residual = match own.place(Part::Residual) {
                    Ok(place) => {
                        let view = self.view(node.inputs[place])?;
                        Some(match view.as_pixels() {
                            Some(_) => view,
                            None => self.copied(&node.name, &view, View::channels_last),
                        })
                    }
                    Err(_) => None,
                };
                touched.push(output.root);
                touched.extend(residual.as_ref().map(|view| view.root));
                To::Numbers { output, stride, residual }
            }
        };
        let kind = match &to {
            To::Bits { .. } => "binary conv to bits",
            To::Numbers { .. } => "binary conv",
        };
        let (output_size, channels, columns) = (s.output, s.channels, s.channels_out);
        let bind: Bind = Box::new(move |places| {
            let words_at = |root| -> *mut u64 { places.of(&View::dense(root, &[1])).cast() };
            let bits = words_at(bits);
            let Numbers { shift, bias, slope, after, .. } = numbers;
            let pointer =
                |numbers: &Option<Row>| numbers.as_ref().map_or(std::ptr::null(), |numbers| numbers.as_ptr());
            let mut cleared = None;
            let mut owned = Vec::new();
            let finish = match to {
                To::Bits { root, words, sign, bound } => {
                    let output = words_at(root);
                    // Whole bytes are written: what is beyond them in a pixel's last word counts as +1.
                    cleared = (!columns.is_multiple_of(64)).then_some((output, words));
                    let finish = Finish::Bits {
                        output: output.cast(),
                        stride: 8 * words,
                        sign: sign.as_ptr(),
                        bound: bound.as_ptr(),
                    };
                    owned.extend([sign, bound]);
                    finish
                }
                To::Numbers { output, stride, residual } => {
                    let finish = Finish::Floats {
                        output: places.of(&output),
                        stride,
                        scale: factors.as_ptr(),
                        offset: pointer(&bias),
                        residual: residual
                            .as_ref()
                            .map_or(std::ptr::null(), |view| places.of(view).cast_const()),
                        residual_stride: residual.as_ref().and_then(View::as_pixels).unwrap_or(0),
                        slope: pointer(&slope),
                        after: pointer(&after),
                        low: f32::NEG_INFINITY,
                        high: f32::INFINITY,
                    };
                    owned.extend([Some(factors), bias, slope, after].into_iter().flatten());
                    finish
                }
            };
            let panels = filters.panel_count();
            let edge: Box<[u64]> = binary::border(channels, Padding::Zero).into();
            let weights: Box<[u64]> = filters.panels.into();
            let ones: Box<[i32]> = filters.tap_ones.into();
            let conv = binary::BinaryConv {
                input: BitMap {
                    data: bits,
                    picture: height * width * words,
                    row: width * words,
                    pixel: words,
                    height,
                    width,
                },
                window,
                channels,
                padding: Padding::Zero,
                border: edge.as_ptr(),
                weights: weights.as_ptr(),
                tap_ones: ones.as_ptr(),
                columns,
                output_size,
                finish,
            };
            Box::new(BinaryStep {
                source: source_map.map(|map| source(&map_in(places, &map), channels, batch)),
                shift,
                bits,
                words,
                conv,
                pixels,
                panels,
                cleared,
                _numbers: owned,
                _words: [edge, weights],
                _ones: ones,
            })
        });
        self.emit(&node.name, kind, macs, &touched, bind);
        Ok(())
    }

    /// A grouped convolution of signs: as one of numbers that are -1 and 1, times the factors.
    fn signed_conv(
        &mut self,
        node: &Node,
        s: &ConvShape,
        kernel: Kernel,
        weights: crate::blob::Blob,
        window: Window,
        input: View,
        output: View,
        [shift, scale, bias]: [Option<Row>; 3],
    ) -> Result<(), EngineError> {
        let batch = output.shape[0];
        let (channels, channels_out, groups, depth) = (s.channels, s.channels_out, s.groups, s.depth);
        let [height, width] = [input.shape[2], input.shape[3]];
        let room = self.buffer(batch * height * width * channels);
        let touched = [input.root, output.root, room];
        let (output_size, per_group) = (s.output, channels_out / groups);
        let pixels = batch * output_size[0] * output_size[1];
        let macs = (pixels * channels_out * depth * window.kernel[0] * window.kernel[1]) as u64;
        let output_stride = output.as_pixels().expect("checked by the caller");
        // Factors go into the numbers: packed weights are laid out panel by panel of a group's outputs, or channels side by side.
        let mut numbers: Vec<f32> = weights.to_vec();
        if let Some(scale) = &scale {
            let per = numbers.len() / groups;
            for (at, number) in numbers.iter_mut().enumerate() {
                let out = match kernel {
                    Kernel::Depthwise => at % channels,
                    _ => {
                        let rows = per / (gemm::panels(per_group) * gemm::PANEL);
                        let (panel, lane) = (at % per / (rows * gemm::PANEL), at % gemm::PANEL);
                        at / per * per_group + (panel * gemm::PANEL + lane).min(per_group - 1)
                    }
                };
                *number *= scale[out];
            }
        }
        let bind: Bind = Box::new(move |places| {
            let map = map_in(places, &input);
            let signs = places.of(&View::dense(room, &[1]));
            let signed = MapIn {
                data: signs,
                picture: height * width * channels,
                row: width * channels,
                pixel: channels,
                height,
                width,
            };
            let numbers: Row = numbers.into();
            let unbounded = (f32::NEG_INFINITY, f32::INFINITY);
            let conv = match kernel {
                Kernel::Depthwise => Signed::Depthwise(Box::new(DepthwiseStep {
                    depthwise: Depthwise {
                        input: signed,
                        window,
                        channels,
                        weights: numbers.as_ptr(),
                        bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                        output: places.of(&output),
                        output_stride,
                        output_size,
                        low: unbounded.0,
                        high: unbounded.1,
                    },
                    rows: batch * output_size[0],
                    post: None,
                    residual: None,
                    bounds: unbounded,
                    _bias: bias,
                })),
                _ => {
                    let bias: Row = match &bias {
                        Some(bias) => {
                            bias.chunks_exact(per_group).flat_map(|own| panelled(own).into_vec()).collect()
                        }
                        None => Box::default(),
                    };
                    let zeros: Row = vec![0.0; depth].into();
                    let epilogue = Epilogue {
                        bias: if bias.is_empty() { std::ptr::null() } else { bias.as_ptr() },
                        ..Epilogue::NONE
                    };
                    Signed::Dense(Box::new(Dense {
                        conv: Conv {
                            input: signed,
                            window,
                            depth,
                            zeros: zeros.as_ptr(),
                            weights: numbers.as_ptr(),
                            columns: per_group,
                            output: places.of(&output),
                            output_stride,
                            output_size,
                            epilogue,
                        },
                        groups,
                        weights_per_group: numbers.len() / groups,
                        bias_per_group: gemm::panels(per_group) * gemm::PANEL,
                        pixels,
                        post: None,
                        _owned: [bias, zeros],
                    }))
                }
            };
            Box::new(SignedStep {
                source: source(&map, channels, batch),
                shift,
                signs,
                conv,
                _numbers: numbers,
            })
        });
        self.emit(&node.name, "signed conv", macs, &touched, bind);
        Ok(())
    }
}
