//! Weights of layers on 8-bit codes.

use ocelli_graph::{Graph, Node, Op};
use ocelli_kernels::conv::Window;
use ocelli_kernels::int8::winograd::{Filters, TILE};
use ocelli_kernels::int8::{Excess, Isa};
use ocelli_kernels::{gemm, int8};

use super::{Kernel, Packed, conv_shape};
use crate::error::EngineError;

/// The extents of a layer on codes.
struct CodesShape {
    groups: usize,
    depth: usize,
    /// Output channels of a group.
    columns: usize,
    kernel: [usize; 2],
    depthwise: bool,
}

impl CodesShape {
    fn of(graph: &Graph, node: &Node) -> Result<Self, EngineError> {
        let weight = graph.value(node.inputs[1]).shape_at(1);
        if matches!(node.op, Op::LinearCodes { .. }) {
            return Ok(Self {
                groups: 1,
                depth: weight[0],
                columns: weight[1],
                kernel: [1, 1],
                depthwise: false,
            });
        }
        let s = conv_shape(graph, node)?;
        Ok(Self {
            groups: s.groups,
            depth: s.depth,
            columns: s.channels_out / s.groups,
            kernel: s.kernel,
            depthwise: s.groups > 1 && s.groups == s.channels && s.channels_out == s.channels,
        })
    }

    /// Whether the kernel for single channels computes `node`: it writes codes and adds nothing.
    fn takes_depthwise(&self, node: &Node) -> bool {
        let Op::ConvCodes { layer, .. } = &node.op else { return false };
        self.depthwise && layer.output.is_some() && layer.sum.is_none()
    }

    /// Bytes of one group's packed weights.
    fn bytes(&self, kernel: Kernel) -> usize {
        match kernel {
            Kernel::DepthwiseCodes => {
                let [height, width] = self.kernel;
                height.div_ceil(4) * width * int8::depthwise::padded(self.groups) * 4
            }
            _ => {
                gemm::panels(self.columns)
                    * int8::weights::Layout::new(self.depth, self.kernel).panel_groups()
                    * 64
            }
        }
    }

    /// Sums of columns that are stored with the weights.
    fn sums(&self, kernel: Kernel) -> usize {
        match kernel {
            Kernel::DepthwiseCodes => self.groups,
            _ => self.groups * gemm::panels(self.columns) * gemm::PANEL,
        }
    }

    fn pieces(&self, kernel: Kernel) -> usize {
        if kernel == Kernel::DepthwiseCodes { 1 } else { self.groups }
    }

    /// Bytes of all packed weights. Kernels may read beyond those of the last group.
    fn all_bytes(&self, kernel: Kernel) -> usize {
        let slack = if kernel == Kernel::DepthwiseCodes { 0 } else { int8::weights::SLACK * 64 };
        self.pieces(kernel) * self.bytes(kernel) + slack
    }

    /// Words of four bytes in all: weights, sums, whether all weights have seven bits.
    fn len(&self, kernel: Kernel) -> usize {
        self.all_bytes(kernel) / 4 + self.sums(kernel) + 1
    }
}

/// Elements of a layer's packed weights.
pub(super) fn packed_len(graph: &Graph, node: &Node, kernel: Kernel) -> Result<usize, EngineError> {
    Ok(CodesShape::of(graph, node)?.len(kernel))
}

/// Bytes of a layer's packed weights that are weights, from the first on.
pub(crate) fn weight_bytes(graph: &Graph, node: &Node, kernel: Kernel) -> Option<usize> {
    let codes = matches!(kernel, Kernel::DenseCodes | Kernel::DepthwiseCodes);
    codes.then(|| CodesShape::of(graph, node).ok().map(|shape| shape.all_bytes(kernel))).flatten()
}

/// Whether `kernel` computes layer `node` on codes; its weights may come from a file.
pub(crate) fn can_compute_codes(graph: &Graph, node: &Node, kernel: Kernel) -> bool {
    match kernel {
        Kernel::DenseCodes => true,
        Kernel::DepthwiseCodes => CodesShape::of(graph, node).is_ok_and(|shape| shape.takes_depthwise(node)),
        _ => false,
    }
}

pub(super) fn pack_codes(graph: &Graph, node: &Node, weights: &[i8]) -> Result<Packed, EngineError> {
    let s = CodesShape::of(graph, node)?;
    let (mut bytes, mut sums): (Vec<u8>, Vec<i32>) = (Vec::new(), Vec::new());
    let mut add = |groups: &[int8::weights::Group]| {
        bytes.extend(groups.iter().flat_map(|group| group.0.iter().map(|w| *w as u8)));
    };
    let kernel = if s.takes_depthwise(node) {
        let filters = int8::depthwise::Filters::new(weights, s.groups, s.kernel);
        add(&filters.groups);
        sums = filters.sums;
        Kernel::DepthwiseCodes
    } else {
        let turned: Vec<i8>;
        let weights = if matches!(node.op, Op::LinearCodes { .. }) {
            turned = (0..weights.len()).map(|i| weights[i % s.depth * s.columns + i / s.depth]).collect();
            &turned
        } else {
            weights
        };
        let own = s.columns * s.depth * s.kernel[0] * s.kernel[1];
        for own in weights.chunks_exact(own.max(1)) {
            let packed = int8::Packed::new(own, s.columns, s.depth, s.kernel);
            add(&packed.groups[..s.bytes(Kernel::DenseCodes) / 64]);
            sums.extend(packed.sums);
        }
        Kernel::DenseCodes
    };
    bytes.resize(s.all_bytes(kernel), 0);
    let seven = weights.iter().all(|w| (-63..=63).contains(w));
    let words = bytes.as_chunks().0.iter().map(|four| f32::from_ne_bytes(*four));
    let rest = sums.into_iter().chain([i32::from(seven)]).map(|sum| f32::from_bits(sum as u32));
    let words: Vec<f32> = words.chain(rest).collect();
    Ok(Packed { kernel, weights: words.try_into()? })
}

/// What is stored with the packed weights of a layer on codes.
pub(crate) struct LayerWeights {
    /// Sums of the weights of every output channel.
    pub sums: Vec<i32>,
    /// The same by whole panels of every group.
    pub panel_sums: Box<[i32]>,
    /// Bytes of one group's packed weights.
    pub bytes_per_group: usize,
    /// Whether all weights have seven bits.
    pub seven_bits: bool,
}

impl LayerWeights {
    /// Reads the end of `words`.
    pub fn read(graph: &Graph, node: &Node, kernel: Kernel, words: &[f32]) -> Option<Self> {
        let s = CodesShape::of(graph, node).ok()?;
        if words.len() != s.len(kernel) {
            return None;
        }
        let bytes = s.bytes(kernel);
        let rest: Vec<i32> =
            words[s.all_bytes(kernel) / 4..].iter().map(|word| word.to_bits() as i32).collect();
        let (last, all) = rest.split_last()?;
        let sums = match kernel {
            Kernel::DepthwiseCodes => all.to_vec(),
            _ => all
                .chunks_exact((gemm::panels(s.columns) * gemm::PANEL).max(1))
                .flat_map(|own| own[..s.columns].iter().copied())
                .collect(),
        };
        Some(Self { sums, panel_sums: all.into(), bytes_per_group: bytes, seven_bits: *last == 1 })
    }

    /// Packed weights of group `group`.
    fn group<'a>(&self, words: &'a [f32], group: usize) -> &'a [i8] {
        let bytes = &words[group * self.bytes_per_group / 4..][..self.bytes_per_group / 4];
        // SAFETY: any four bytes are four weights.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), self.bytes_per_group) }
    }

    /// The weights of all groups taken apart, where that is faster on `isa`; nothing where none are.
    pub fn excess(&self, isa: Isa, words: &[f32], depth: usize, window: Window) -> Box<[Option<Excess>]> {
        let layout = int8::weights::Layout::new(depth, window.kernel);
        let groups = match self.bytes_per_group {
            0 => 0,
            _ if self.seven_bits => 0,
            bytes => self.panel_sums.len() / gemm::PANEL * layout.panel_groups() * 64 / bytes,
        };
        (0..groups).map(|group| Excess::new(isa, self.group(words, group), layout)).collect()
    }

    /// Filters for Winograd's way through a dense convolution of `[depth, columns]` channels, where there is one on
    /// `isa` that is faster; `extent` is `[pictures, height, width]` of the output.
    pub fn winograd(
        &self,
        isa: Isa,
        words: &[f32],
        [depth, columns]: [usize; 2],
        window: Window,
        extent: [usize; 3],
        groups: usize,
    ) -> Option<Filters> {
        let fits = groups == 1
            && (window.kernel, window.stride, window.dilation) == ([3, 3], [1, 1], [1, 1])
            && depth.is_multiple_of(4)
            && winograd_pays(depth, columns, extent);
        if !fits {
            return None;
        }
        let layout = int8::weights::Layout::new(depth, window.kernel);
        let packed = self.group(words, 0);
        Filters::new(isa, columns, depth, |column, channel, tap| {
            let group = column / gemm::PANEL * layout.panel_groups() + tap * layout.groups() + channel / 4;
            packed[group * 64 + column % gemm::PANEL * 4 + channel % 4]
        })
    }
}

/// Compares estimates of both ways in processor cycles, made from times on AVX2 (`cargo run --release --example int8
/// avx2` of ocelli-kernels): 27 products a cycle directly; 22 in Winograd's way and 12 cycles of transforms per
/// tile and channel, with filters of 16 bits that small maps wait for.
fn winograd_pays(depth: usize, columns: usize, [pictures, height, width]: [usize; 3]) -> bool {
    let (c, k) = (depth as f64, columns.next_multiple_of(gemm::PANEL) as f64);
    let tiles = (pictures * height.div_ceil(TILE) * width.div_ceil(TILE)) as f64;
    let direct = (pictures * height * width) as f64 * 9.0 * c * k / 27.0;
    let products = (tiles * 16.0 * c * k / 22.0).max(32.0 * c * k / 2.0);
    products + tiles * 12.0 * (c + k) < direct
}
