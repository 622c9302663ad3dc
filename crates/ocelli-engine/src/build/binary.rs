//! Convolutions of signs.

use ocelli_graph::binary_conv::Part;
use ocelli_graph::{Node, Op};
use ocelli_kernels::binary::{self, BitMap, Filters, Finish, Padding};
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
        let numbers = |builder: &Self, part: Part| -> Result<Option<Box<[f32]>>, EngineError> {
            let Ok(place) = own.place(part) else { return Ok(None) };
            let constant = builder.graph.constant_f32(node.inputs[place]);
            let known = constant.ok_or_else(|| Self::unsupported(node, format!("a computed {part:?}")))?;
            Ok(Some(known.into()))
        };
        let shift = numbers(self, Part::Shift)?;
        let scale = numbers(self, Part::Scale)?;
        let [bias, slope, after] = [Part::Bias, Part::Slope, Part::After].map(|part| numbers(self, part));
        let (bias, slope, after) = (bias?, slope?, after?);
        let input = self.map(node, node.inputs[0])?;
        let output = self.room(node.outputs[0], View::channels_last);
        let Some(output_stride) = output.as_pixels() else {
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
        let batch = output.shape[0];
        let pixels = batch * s.output[0] * s.output[1];
        let macs = (pixels * s.channels_out * s.depth * taps) as u64;
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        if kernel != Kernel::Binary {
            if residual.is_some() || slope.is_some() || after.is_some() {
                return Err(Self::unsupported(node, "more than a bias after a grouped convolution of signs"));
            }
            return self.signed_conv(node, &s, kernel, weights, window, input, output, (shift, scale, bias));
        }
        let words = binary::words(s.channels);
        let [height, width] = [input.shape[2], input.shape[3]];
        // Two numbers' room per word.
        let bits = self.buffer(2 * batch * height * width * words);
        let mut touched = vec![input.root, output.root, bits];
        touched.extend(residual.as_ref().map(|view| view.root));
        let (packed_words, means) = weights.split_at(2 * binary_words(&s));
        let packed_words: Vec<u64> = packed_words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[low, high]| u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32)
            .collect();
        let filters = Filters::new(&packed_words, s.channels_out, s.channels, s.kernel)
            .ok_or_else(|| Self::unsupported(node, "filters of another size"))?;
        let factors: Box<[f32]> = match &scale {
            Some(scale) => means.iter().zip(scale.iter()).map(|(a, b)| a * b).collect(),
            None => means.into(),
        };
        let residual_stride = residual.as_ref().and_then(View::as_pixels).unwrap_or(0);
        let output_size = s.output;
        let (channels, columns) = (s.channels, s.channels_out);
        let bind: Bind = Box::new(move |places| {
            let map = map_in(places, &input);
            let bits: *mut u64 = places.of(&View::dense(bits, &[1])).cast();
            let pointer = |numbers: &Option<Box<[f32]>>| {
                numbers.as_ref().map_or(std::ptr::null(), |numbers| numbers.as_ptr())
            };
            let panels = filters.panel_count();
            let edge: Box<[u64]> = binary::border(channels, Padding::Zero).into();
            let weights: Box<[u64]> = filters.panels.into();
            let ones: Box<[i32]> = filters.tap_ones.into();
            let finish = Finish::Floats {
                output: places.of(&output),
                stride: output_stride,
                scale: factors.as_ptr(),
                offset: pointer(&bias),
                residual: residual.as_ref().map_or(std::ptr::null(), |view| places.of(view).cast_const()),
                residual_stride,
                slope: pointer(&slope),
                after: pointer(&after),
                low: f32::NEG_INFINITY,
                high: f32::INFINITY,
            };
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
                source: source(&map, channels, batch),
                shift,
                bits,
                words,
                conv,
                pixels,
                panels,
                _numbers: [Some(factors), bias, slope, after].into_iter().flatten().collect(),
                _words: [edge, weights],
                _ones: ones,
            })
        });
        self.emit(&node.name, "binary conv", macs, &touched, bind);
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
        (shift, scale, bias): (Option<Box<[f32]>>, Option<Box<[f32]>>, Option<Box<[f32]>>),
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
            let numbers: Box<[f32]> = numbers.into();
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
                    let bias: Box<[f32]> = match &bias {
                        Some(bias) => {
                            bias.chunks_exact(per_group).flat_map(|own| panelled(own).into_vec()).collect()
                        }
                        None => Box::default(),
                    };
                    let zeros: Box<[f32]> = vec![0.0; depth].into();
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
