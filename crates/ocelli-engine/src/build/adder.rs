//! Adder convolutions.

use ocelli_graph::Node;
use ocelli_graph::adder_conv::{AdderCodes, AdderConv};
use ocelli_kernels::adder::Finish;
use ocelli_kernels::adder::sad::{CHANNELS, Coding, Encode, Layout, SadConv};
use ocelli_kernels::conv::{Conv, MAX_TAPS, Window};
use ocelli_kernels::gemm::Epilogue;

use super::conv::{map_in, split_activation};
use super::{Bind, Builder};
use crate::blob::Blob;
use crate::error::EngineError;
use crate::prepare::conv_shape;
use crate::steps::adder::{AdderCodesStep, AdderStep};
use crate::view::View;

/// The bytes of packed filters in the words they are stored in.
fn bytes(words: &[f32]) -> &[u8] {
    // SAFETY: any bytes are bytes, and a word has four.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), 4 * words.len()) }
}

impl Builder<'_> {
    pub(super) fn adder_conv(
        &mut self,
        index: usize,
        node: &Node,
        own: &AdderConv,
    ) -> Result<(), EngineError> {
        let s = conv_shape(self.graph, node)?;
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed weights"))?;
        let weights = packed.weights.clone();
        let taps = s.kernel[0] * s.kernel[1];
        if taps > MAX_TAPS {
            return Err(Self::unsupported(node, format!("a window of {taps} taps; at most {MAX_TAPS}")));
        }
        let vector = |place: usize, otherwise: f32| -> Result<Vec<f32>, EngineError> {
            if !own.affine {
                return Ok(vec![otherwise; s.channels_out]);
            }
            let known = self.graph.constant_f32(node.inputs[place]);
            Ok(known.ok_or_else(|| Self::unsupported(node, "computed factors"))?.to_vec())
        };
        let (scale, shift) = (vector(2, 1.0)?, vector(3, 0.0)?);
        let (bounds, post) = split_activation(own.activation);
        let output = self.room(node.outputs[0], View::channels_last);
        let Some(stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let residual = match own.residual {
            true => {
                let view = self.view(node.inputs[own.inputs() - 1])?;
                Some(match view.as_pixels() {
                    Some(_) => view,
                    None => self.copied(&node.name, &view, View::channels_last),
                })
            }
            false => None,
        };
        let view = self.view(node.inputs[0])?;
        let input =
            if view.as_map().is_some() { view } else { self.copied(&node.name, &view, View::channels_last) };
        let (batch, pixels) = (output.shape[0], output.shape[0] * s.output[0] * s.output[1]);
        let macs = (pixels * s.channels_out * s.depth * taps) as u64;
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        let mut touched = vec![input.root, output.root];
        touched.extend(residual.as_ref().map(|view| view.root));
        let made = Made { scale, shift, stride, bounds, residual, output };
        let Some(coded) = &own.codes else {
            let zeros: Box<[f32]> = vec![0.0; s.depth].into();
            let bind: Bind = Box::new(move |places| {
                // Sums are positive.
                let scale: Box<[f32]> = made.scale.iter().map(|v| -v).collect();
                let offset: Box<[f32]> = made.shift.clone().into();
                let finish = made.finish(places, &scale, &offset);
                let conv = Conv {
                    input: map_in(places, &input),
                    window,
                    depth: s.depth,
                    zeros: zeros.as_ptr(),
                    weights: weights.as_ptr(),
                    columns: s.channels_out,
                    output: finish.output,
                    output_stride: stride,
                    output_size: s.output,
                    epilogue: Epilogue::NONE,
                };
                Box::new(AdderStep { conv, finish, pixels, post, _owned: [scale, offset, zeros] })
            });
            self.emit(&node.name, "adder", macs, &touched, bind);
            return Ok(());
        };
        let padded = s.channels.next_multiple_of(CHANNELS);
        let [height, width] = [input.shape[2], input.shape[3]];
        let group = batch * height * width * padded;
        let room = self.code_buffer(coded.scales.len() * group);
        touched.push(room);
        let layout = Layout::new(&coded.labels, coded.scales.len());
        let constants = weights
            .get(layout.bytes(s.channels, taps) / 4..)
            .filter(|constants| constants.len() == s.channels_out)
            .ok_or_else(|| Self::unsupported(node, "filters of another size"))?
            .iter()
            .map(|word| word.to_bits() as i32);
        let (scale, offset) = folded(coded, &made, constants);
        let coding = Coding { bits: coded.bits, signed: coded.signed };
        let edge: Box<[u8]> = (0..padded).map(|c| if c < s.channels { coding.zero() } else { 0 }).collect();
        let scales: Box<[f32]> = coded.scales.clone().into();
        let bind: Bind = Box::new(move |places| {
            let finish = made.finish(places, &scale, &offset);
            let map = map_in(places, &input);
            let codes = places.codes(&View::dense(room, &[1]));
            let encode = Encode {
                x: map.data,
                stride: map.pixel,
                pixels: width,
                channels: s.channels,
                coding,
                scale: 1.0,
                out: codes,
                padded,
            };
            let Layout { groups, places: order, sums } = layout;
            let (groups, order): (Box<[[usize; 2]]>, Box<[u32]>) = (groups.into(), order.into());
            let straight = order.iter().enumerate().all(|(at, &place)| at == place as usize);
            let conv = SadConv {
                codes,
                group,
                size: [height, width],
                window,
                channels: padded,
                edge: edge.as_ptr(),
                weights: bytes(&weights).as_ptr(),
                groups: groups.as_ptr(),
                group_count: groups.len(),
                sums,
                places: if straight { std::ptr::null() } else { order.as_ptr() },
                outputs: s.channels_out,
                output_size: s.output,
                finish,
            };
            Box::new(AdderCodesStep {
                input: map,
                batch,
                encode,
                scales,
                codes,
                conv,
                pixels,
                post,
                _numbers: [scale, offset],
                _bytes: edge,
                _groups: groups,
                _places: order,
                _weights: weights as Blob,
            })
        });
        self.emit(&node.name, "adder codes", macs, &touched, bind);
        Ok(())
    }
}

/// Factors and offsets of sums of codes' distances: steps and constants are in them.
fn folded(coded: &AdderCodes, made: &Made, constants: impl Iterator<Item = i32>) -> (Box<[f32]>, Box<[f32]>) {
    let numbers: (Vec<f32>, Vec<f32>) = constants
        .enumerate()
        .map(|(o, constant)| {
            let step = f64::from(coded.step(usize::from(coded.labels[o])));
            let factor = -step * f64::from(made.scale[o]);
            (factor as f32, (factor * f64::from(constant) + f64::from(made.shift[o])) as f32)
        })
        .unzip();
    (numbers.0.into(), numbers.1.into())
}

/// What both kinds of layers make of their sums.
struct Made {
    scale: Vec<f32>,
    shift: Vec<f32>,
    stride: usize,
    bounds: (f32, f32),
    residual: Option<View>,
    output: View,
}

impl Made {
    fn finish(&self, places: &super::Places, scale: &[f32], offset: &[f32]) -> Finish {
        Finish {
            output: places.of(&self.output),
            stride: self.stride,
            scale: scale.as_ptr(),
            offset: offset.as_ptr(),
            residual: self.residual.as_ref().map_or(std::ptr::null(), |view| places.of(view).cast_const()),
            residual_stride: self.residual.as_ref().and_then(View::as_pixels).unwrap_or(0),
            low: self.bounds.0,
            high: self.bounds.1,
        }
    }
}
