//! The part of compiling that does not depend on the batch: which kernel each layer takes, and its packed weights.
//!
//! The choice depends on shapes only, and packed weights do not depend on the processor, so that a compiled file
//! runs on any machine.

mod codes;

use std::collections::BTreeMap;

use ocelli_graph::adder_conv::AdderConv;
use ocelli_graph::{BinaryConv, Constant, Graph, Node, Op};
use ocelli_kernels::adder::sad::{Filters, Layout};
use ocelli_kernels::{binary, conv, depthwise, gemm, winograd};
use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::error::EngineError;

use codes::pack_codes;
pub(crate) use codes::{LayerWeights, can_compute_codes, weight_bytes};

/// Which kernel computes a layer with weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// Implicit matrix product, group by group.
    Conv,
    /// As [`Kernel::Conv`] with whole kernel rows as taps: for few channels, over a padded copy of the input.
    ConvRows,
    /// Winograd's F(4×4, 3×3).
    Winograd,
    /// One channel at a time.
    Depthwise,
    /// Matrix product.
    Linear,
    /// Bits of signs, `[out][taps][words]` (two numbers' bits per word, the lower half first), then the mean of every filter's absolute
    /// weights, or 1.
    Binary,
    /// A convolution or matrix product of 8-bit codes.
    DenseCodes,
    /// One channel at a time, of 8-bit codes.
    DepthwiseCodes,
    /// Distances.
    Adder,
    /// Distances of 8-bit codes: bytes by eight filters and eight channels, then a constant per filter.
    AdderCodes,
}

impl Kernel {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv => "implicit product",
            Self::ConvRows => "rows of a padded copy",
            Self::Winograd => "Winograd",
            Self::Depthwise => "depthwise",
            Self::Linear => "product",
            Self::DenseCodes => "product of codes",
            Self::DepthwiseCodes => "depthwise on codes",
            Self::Binary => "bits",
            Self::Adder => "distances",
            Self::AdderCodes => "distances of codes",
        }
    }
}

/// The weights of one layer, ready for its kernel.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The kernel.
    pub kernel: Kernel,
    /// The weights.
    pub weights: Blob,
}

/// Most channels for [`Kernel::ConvRows`].
const FEW: usize = 4;

/// A convolution's extents at batch 1.
pub(crate) struct ConvShape {
    pub channels: usize,
    pub channels_out: usize,
    pub depth: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pad: [usize; 2],
    pub groups: usize,
    pub output: [usize; 2],
}

/// The extents of convolution `node`, one spatial dimension taken as a map of height 1.
pub(crate) fn conv_shape(graph: &Graph, node: &Node) -> Result<ConvShape, EngineError> {
    let attrs = match &node.op {
        Op::Conv { attrs, .. } | Op::DynamicConv { attrs, .. } | Op::ConvCodes { attrs, .. } => attrs,
        Op::BinaryConv(own) => &own.attrs,
        Op::AdderConv(own) => &own.attrs,
        _ => unreachable!("called for convolutions only"),
    };
    let unsupported = |op: &str| EngineError::Unsupported { node: node.name.clone(), op: op.to_string() };
    let input = graph.value(node.inputs[0]).shape_at(1);
    let output = graph.value(node.outputs[0]).shape_at(1);
    let weight = match &node.op {
        Op::DynamicConv { kernel, .. } | Op::BinaryConv(BinaryConv { kernel, .. }) => {
            vec![output[1], input[1] / attrs.groups, kernel[0], kernel[1]]
        }
        _ => graph.value(node.inputs[1]).shape_at(1),
    };
    let two = |values: &[usize], fill: usize| match *values {
        [a, b] => Ok([a, b]),
        [a] => Ok([fill, a]),
        _ => Err(unsupported("a convolution over more than two dimensions")),
    };
    Ok(ConvShape {
        channels: input[1],
        channels_out: output[1],
        depth: weight[1],
        kernel: two(&weight[2..], 1)?,
        stride: two(&attrs.stride, 1)?,
        dilation: two(&attrs.dilation, 1)?,
        pad: two(&attrs.pad_begin, 0)?,
        groups: attrs.groups,
        output: two(&output[2..], 1)?,
    })
}

fn choose(s: &ConvShape) -> Kernel {
    if s.fits(Kernel::Depthwise) && s.groups > 1 {
        Kernel::Depthwise
    } else if s.fits(Kernel::ConvRows) && s.channels <= FEW && s.kernel[1] > 1 {
        Kernel::ConvRows
    } else if s.fits(Kernel::Winograd) && s.channels >= 16 && winograd_pays(s) {
        Kernel::Winograd
    } else {
        Kernel::Conv
    }
}

impl ConvShape {
    /// Whether `kernel` computes a convolution of these extents.
    fn fits(&self, kernel: Kernel) -> bool {
        match kernel {
            Kernel::Conv => true,
            Kernel::ConvRows => self.groups == 1 && self.dilation[1] == 1,
            Kernel::Winograd => {
                self.groups == 1 && (self.kernel, self.stride, self.dilation) == ([3, 3], [1, 1], [1, 1])
            }
            Kernel::Depthwise => self.groups == self.channels && self.channels_out == self.channels,
            Kernel::Binary => self.groups == 1,
            Kernel::Linear | Kernel::DenseCodes | Kernel::DepthwiseCodes => false,
            // Of another operator.
            Kernel::Adder | Kernel::AdderCodes => false,
        }
    }
}

/// Whether `kernel` computes convolution `node`; its weights may come from a file.
///
/// A convolution of signs has bits, or where channels are grouped the kernels of mixed convolutions.
pub(crate) fn can_compute(graph: &Graph, node: &Node, kernel: Kernel) -> bool {
    conv_shape(graph, node).is_ok_and(|shape| {
        let signs = matches!(node.op, Op::BinaryConv(_));
        shape.fits(kernel)
            && match kernel {
                Kernel::Binary => signs,
                Kernel::Conv | Kernel::Depthwise => !signs || shape.groups > 1,
                _ => !signs,
            }
    })
}

/// Compares estimates of both ways in processor cycles at 32 products a cycle: Winograd saves products, but
/// transforms its maps and reads four times the weights, which does not pay on small maps.
fn winograd_pays(s: &ConvShape) -> bool {
    let area = (s.output[0] * s.output[1]) as f64;
    let tiles = (s.output[0].div_ceil(4) * s.output[1].div_ceil(4)) as f64;
    let (c, k) = (s.channels as f64, s.channels_out as f64);
    let weight_bytes = 4.0 * c * k;
    let direct = (area * 9.0 * c * k / 32.0).max(9.0 * weight_bytes / 12.0);
    let products = (tiles * 36.0 * c * k / 32.0).max(36.0 * weight_bytes / 12.0);
    let transforms = tiles * 36.0 * (c + k) / 16.0 * 4.0;
    products * 1.15 + transforms < direct
}

/// Packs the weights of every layer that has constant ones, and removes them from the graph's constants.
pub(crate) fn prepare(graph: &mut Graph) -> Result<BTreeMap<usize, Packed>, EngineError> {
    let mut packed = BTreeMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let weights = |place: usize| {
            graph.constant_f32(node.inputs[place]).ok_or_else(|| EngineError::Unsupported {
                node: node.name.clone(),
                op: "a layer whose weights are computed".to_string(),
            })
        };
        match &node.op {
            Op::Conv { .. } => {
                let shape = conv_shape(graph, node)?;
                packed.insert(index, pack_conv(&shape, weights(1)?)?);
            }
            Op::DynamicConv { .. } => {
                let shape = conv_shape(graph, node)?;
                packed.insert(
                    index,
                    pack_experts(&shape, weights(1)?, graph.value(node.inputs[1]).shape_at(1)[0])?,
                );
            }
            Op::BinaryConv(own) => {
                let shape = conv_shape(graph, node)?;
                packed.insert(index, pack_signs(&shape, weights(1)?, own.mean)?);
            }
            Op::ConvCodes { .. } | Op::LinearCodes { .. } => {
                let Some(Constant::I8(w)) = graph.constants.get(&node.inputs[1]) else {
                    return Err(EngineError::Unsupported {
                        node: node.name.clone(),
                        op: "a layer whose weights are computed".to_string(),
                    });
                };
                packed.insert(index, pack_codes(graph, node, w)?);
            }
            Op::AdderConv(own) => {
                let constant = graph.constants.get(&node.inputs[1]);
                packed.insert(index, pack_adder(graph, node, own, constant)?);
            }
            Op::Linear { .. } => {
                let (w, shape) = (weights(1)?, graph.value(node.inputs[1]).shape_at(1));
                let (depth, columns) = (shape[0], shape[1]);
                let weights =
                    gemm::pack(depth, columns, |row, column| w[row * columns + column]).try_into()?;
                packed.insert(index, Packed { kernel: Kernel::Linear, weights });
            }
            _ => {}
        }
    }
    // A weight that something else reads too stays.
    let mut read: std::collections::BTreeSet<_> = graph.outputs.iter().copied().collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        let own = packed.contains_key(&index);
        read.extend(node.inputs.iter().enumerate().filter(|(i, _)| !(own && *i == 1)).map(|(_, id)| *id));
    }
    graph.constants.retain(|id, _| read.contains(id));
    Ok(packed)
}

/// Elements that [`pack_conv`] and its like make, to check a file against.
pub(crate) fn packed_len(graph: &Graph, node: &Node, kernel: Kernel) -> Result<usize, EngineError> {
    if kernel == Kernel::Linear {
        let shape = graph.value(node.inputs[1]).shape_at(1);
        return Ok(gemm::packed_len(shape[0], shape[1]));
    }
    if matches!(kernel, Kernel::DenseCodes | Kernel::DepthwiseCodes) {
        return codes::packed_len(graph, node, kernel);
    }
    let s = conv_shape(graph, node)?;
    let taps = s.kernel[0] * s.kernel[1];
    if let Op::AdderConv(own) = &node.op {
        return Ok(match &own.codes {
            Some(codes) => {
                Layout::new(&codes.labels, codes.scales.len()).bytes(s.channels, taps) / 4 + s.channels_out
            }
            None => gemm::packed_len(taps * s.depth, s.channels_out),
        });
    }
    if matches!(node.op, Op::DynamicConv { .. }) {
        return Ok(graph.value(node.inputs[1]).shape_at(1)[0] * expert_len(&s, kernel));
    }
    Ok(match kernel {
        Kernel::Depthwise => s.channels * taps,
        Kernel::Binary => 2 * binary_words(&s) + s.channels_out,
        Kernel::Winograd => winograd::POINTS * gemm::packed_len(s.depth, s.channels_out),
        _ => s.groups * gemm::packed_len(taps * s.depth, s.channels_out / s.groups),
    })
}

fn pack_conv(s: &ConvShape, weights: &[f32]) -> Result<Packed, EngineError> {
    let kernel = choose(s);
    let per_group = s.channels_out / s.groups;
    let numbers = match kernel {
        Kernel::Depthwise => depthwise::pack_weights(weights, s.channels),
        Kernel::Winograd => winograd::pack_weights(weights, s.channels_out, s.depth),
        _ => weights
            .chunks_exact(per_group * s.depth * s.kernel[0] * s.kernel[1])
            .flat_map(|own| conv::pack_weights(own, per_group, s.depth, s.kernel))
            .collect(),
    };
    Ok(Packed { kernel, weights: numbers.try_into()? })
}

/// The kernel of an adder convolution.
pub(crate) fn adder_kernel(own: &AdderConv) -> Kernel {
    if own.codes.is_some() { Kernel::AdderCodes } else { Kernel::Adder }
}

fn pack_adder(
    graph: &Graph,
    node: &Node,
    own: &AdderConv,
    weights: Option<&Constant>,
) -> Result<Packed, EngineError> {
    let s = conv_shape(graph, node)?;
    let refuse = |op: &str| EngineError::Unsupported { node: node.name.clone(), op: op.to_string() };
    let weights: Vec<f32> = match (&own.codes, weights) {
        (None, Some(Constant::F32(w))) => conv::pack_weights(w, s.channels_out, s.depth, s.kernel),
        (Some(codes), Some(Constant::I8(q))) => {
            let (groups, taps) = (codes.scales.len(), s.kernel[0] * s.kernel[1]);
            let filters = Filters::new(q, &codes.labels, groups, s.channels, taps, codes.signed)
                .ok_or_else(|| refuse("filters of other groups"))?;
            let words = filters.packed.as_chunks().0.iter().map(|four| f32::from_ne_bytes(*four));
            words.chain(filters.constants.iter().map(|c| f32::from_bits(*c as u32))).collect()
        }
        _ => return Err(refuse("a layer whose weights are computed")),
    };
    Ok(Packed { kernel: adder_kernel(own), weights: weights.try_into()? })
}

/// Which kernel computes a convolution whose weights are mixed when it runs.
fn choose_dynamic(s: &ConvShape) -> Kernel {
    if s.fits(Kernel::Depthwise) && s.groups > 1 { Kernel::Depthwise } else { Kernel::Conv }
}

/// Words of a convolution's packed signs.
pub(crate) fn binary_words(s: &ConvShape) -> usize {
    s.channels_out * s.kernel[0] * s.kernel[1] * binary::words(s.channels)
}

/// The signs of a convolution's weights: bits and the filters' scales, or for groups of channels the numbers of both together.
fn pack_signs(s: &ConvShape, weights: &[f32], mean: bool) -> Result<Packed, EngineError> {
    let per_filter = s.depth * s.kernel[0] * s.kernel[1];
    let scale = |filter: &[f32]| -> f32 {
        let sum: f64 = filter.iter().map(|w| f64::from(w.abs())).sum();
        if mean { (sum / per_filter as f64) as f32 } else { 1.0 }
    };
    if s.groups == 1 {
        let words = binary::pack_filters(weights, s.channels_out, s.channels, s.kernel);
        let mut numbers: Vec<f32> = words
            .into_iter()
            .flat_map(|word| [word as u32, (word >> 32) as u32].map(f32::from_bits))
            .collect();
        numbers.extend(weights.chunks_exact(per_filter).map(scale));
        return Ok(Packed { kernel: Kernel::Binary, weights: numbers.try_into()? });
    }
    let signed: Vec<f32> = weights
        .chunks_exact(per_filter)
        .flat_map(|filter| {
            let scale = scale(filter);
            filter.iter().map(move |w| if *w < 0.0 { -scale } else { scale })
        })
        .collect();
    pack_experts(s, &signed, 1)
}

/// Elements of one packed expert.
pub(crate) fn expert_len(s: &ConvShape, kernel: Kernel) -> usize {
    let taps = s.kernel[0] * s.kernel[1];
    match kernel {
        Kernel::Depthwise => s.channels * taps,
        _ => s.groups * gemm::packed_len(taps * s.depth, s.channels_out / s.groups),
    }
}

/// Every expert as its kernel wants it: a mixture of packed kernels is the packed mixture.
fn pack_experts(s: &ConvShape, experts: &[f32], count: usize) -> Result<Packed, EngineError> {
    let kernel = choose_dynamic(s);
    let per_group = s.channels_out / s.groups;
    let one = experts.len() / count.max(1);
    let pack = |own: &[f32]| -> Vec<f32> {
        match kernel {
            Kernel::Depthwise => depthwise::pack_weights(own, s.channels),
            _ => own
                .chunks_exact(per_group * s.depth * s.kernel[0] * s.kernel[1])
                .flat_map(|own| conv::pack_weights(own, per_group, s.depth, s.kernel))
                .collect(),
        }
    };
    let numbers: Vec<f32> = experts.chunks_exact(one).flat_map(pack).collect();
    Ok(Packed { kernel, weights: numbers.try_into()? })
}
