//! Convolutions whose kernel is mixed for every picture.

use ocelli_graph::{Node, Op};
use ocelli_kernels::conv::{Conv, MAX_TAPS, Window};
use ocelli_kernels::depthwise::Depthwise;
use ocelli_kernels::gemm::{self, Epilogue};

use super::conv::{map_in, panelled, split_activation};
use super::{Bind, Builder};
use crate::error::EngineError;
use crate::prepare::{Kernel, conv_shape, expert_len};
use crate::steps::conv::{Dense, DepthwiseStep};
use crate::steps::dynamic::{DynamicStep, Pictures};
use crate::view::View;

impl Builder<'_> {
    pub(super) fn dynamic_conv(&mut self, index: usize, node: &Node) -> Result<(), EngineError> {
        let Op::DynamicConv { bias, activation, .. } = &node.op else {
            unreachable!("a dynamic convolution")
        };
        let s = conv_shape(self.graph, node)?;
        let packed =
            self.parts.packed.get(&index).ok_or_else(|| Self::unsupported(node, "computed experts"))?;
        let (kernel, weights) = (packed.kernel, packed.weights.clone());
        let count = self.shape(node.inputs[1])[0];
        let bias = match bias {
            true => Some(
                self.graph
                    .constant_f32(node.inputs[3])
                    .ok_or_else(|| Self::unsupported(node, "a computed bias"))?
                    .to_vec(),
            ),
            false => None,
        };
        let (bounds, post) = split_activation(*activation);
        let input = self.map(node, node.inputs[0])?;
        let shares = self.dense(node, node.inputs[2])?;
        let output = self.room(node.outputs[0], View::channels_last);
        let Some(output_stride) = output.as_pixels() else {
            return Err(Self::unsupported(node, "a result laid out like this"));
        };
        let taps = s.kernel[0] * s.kernel[1];
        if taps > MAX_TAPS && kernel != Kernel::Depthwise {
            return Err(Self::unsupported(node, format!("a window of {taps} taps; at most {MAX_TAPS}")));
        }
        let (batch, [oh, ow]) = (output.shape[0], s.output);
        let expert_len = expert_len(&s, kernel);
        let mixed = self.buffer(batch * expert_len);
        let touched = [input.root, shares.root, output.root, mixed];
        let macs = (batch * (oh * ow * s.channels_out * s.depth * taps + count * expert_len)) as u64;
        let window = Window { kernel: s.kernel, stride: s.stride, pad: s.pad, dilation: s.dilation };
        let bind: Bind = Box::new(move |places| {
            let mixed = places.of(&View::dense(mixed, &[1]));
            let map = map_in(places, &input);
            let output = places.of(&output);
            // Where picture `n` reads, what with, and where it writes.
            let of_picture = |n: usize| {
                let mut map = map;
                map.data = map.data.wrapping_add(n * map.picture);
                let own = mixed.wrapping_add(n * expert_len).cast_const();
                (map, own, output.wrapping_add(n * oh * ow * output_stride))
            };
            let pictures = match kernel {
                Kernel::Depthwise => Pictures::Depthwise(
                    (0..batch)
                        .map(|n| {
                            let (input, weights, output) = of_picture(n);
                            let bias: Option<Box<[f32]>> = bias.clone().map(Into::into);
                            let depthwise = Depthwise {
                                input,
                                window,
                                channels: s.channels,
                                weights,
                                bias: bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr()),
                                output,
                                output_stride,
                                output_size: [oh, ow],
                                low: bounds.0,
                                high: bounds.1,
                            };
                            DepthwiseStep { depthwise, rows: oh, post, residual: None, bounds, _bias: bias }
                        })
                        .collect(),
                ),
                _ => {
                    let per_group = s.channels_out / s.groups;
                    Pictures::Dense(
                        (0..batch)
                            .map(|n| {
                                let (input, weights, output) = of_picture(n);
                                let bias: Box<[f32]> = match &bias {
                                    Some(bias) => bias
                                        .chunks_exact(per_group)
                                        .flat_map(|own| panelled(own).into_vec())
                                        .collect(),
                                    None => Box::default(),
                                };
                                let zeros: Box<[f32]> = vec![0.0; s.depth].into();
                                let epilogue = Epilogue {
                                    bias: if bias.is_empty() { std::ptr::null() } else { bias.as_ptr() },
                                    low: bounds.0,
                                    high: bounds.1,
                                    ..Epilogue::NONE
                                };
                                let conv = Conv {
                                    input,
                                    window,
                                    depth: s.depth,
                                    zeros: zeros.as_ptr(),
                                    weights,
                                    columns: per_group,
                                    output,
                                    output_stride,
                                    output_size: [oh, ow],
                                    epilogue,
                                };
                                Dense {
                                    conv,
                                    groups: s.groups,
                                    weights_per_group: expert_len / s.groups,
                                    bias_per_group: gemm::panels(per_group) * gemm::PANEL,
                                    pixels: oh * ow,
                                    post,
                                    _owned: [bias, zeros],
                                }
                            })
                            .collect(),
                    )
                }
            };
            Box::new(DynamicStep {
                experts: weights.as_ptr(),
                expert_len,
                count,
                shares: places.of(&shares),
                mixed,
                pictures,
            })
        });
        self.emit(&node.name, "dynamic conv", macs, &touched, bind);
        Ok(())
    }
}
