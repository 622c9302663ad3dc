//! Packed weights: panels of 16 columns, `[runs][groups][16][4]` bytes, the same for every instruction set, so that
//! they can be stored.
//!
//! A *run* is what a row of the product reads from consecutive bytes: the channels under a tap, or, for a few odd
//! channels (as of pictures), those of all taps of a row of the window. Every run is filled up with zeros to groups
//! of four. Sixteen groups of a panel are a tile of AMX.

use super::excess::Excess;
use crate::gemm::{PANEL, panels};

/// Groups after the last panel that may be read (and multiplied by zero).
pub const SLACK: usize = 15;

/// Four weights of each of 16 columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Group(pub [i8; 64]);

/// How the weights of a window are laid out; see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Runs of a window.
    pub runs: usize,
    /// Weights of a run (without the zeros).
    pub len: usize,
    /// Whether a run holds the taps of a row of the window.
    pub merged: bool,
}

impl Layout {
    /// For `depth` input channels (of a group) and a window `[height, width]`.
    pub const fn new(depth: usize, [height, width]: [usize; 2]) -> Self {
        // Runs of three channels would be a quarter zeros.
        let merged = !depth.is_multiple_of(4) && depth < 16 && width > 1;
        if merged {
            Self { runs: height, len: width * depth, merged }
        } else {
            Self { runs: height * width, len: depth, merged }
        }
    }

    /// Groups of a run.
    pub const fn groups(&self) -> usize {
        self.len.div_ceil(4)
    }

    /// Bytes of a row of the product, zeros included.
    pub const fn row_bytes(&self) -> usize {
        self.runs * self.groups() * 4
    }

    /// Groups of a panel.
    pub const fn panel_groups(&self) -> usize {
        self.runs * self.groups()
    }
}

/// Weights packed for [`conv`](super::conv()).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The panels, and [`SLACK`] more groups.
    pub groups: Vec<Group>,
    /// Sum of the weights of every column, zeros up to whole panels.
    pub sums: Vec<i32>,
    /// Whether all weights are in `-63..=63`.
    pub seven_bits: bool,
}

impl Packed {
    /// Packs weights `[columns, depth, height, width]` (one group).
    pub fn new(weights: &[i8], columns: usize, depth: usize, kernel: [usize; 2]) -> Self {
        let layout = Layout::new(depth, kernel);
        let taps = kernel[0] * kernel[1];
        let mut groups = vec![Group([0; 64]); panels(columns) * layout.panel_groups() + SLACK];
        for (column, own) in weights.chunks_exact((taps * depth).max(1)).enumerate().take(columns) {
            let panel = &mut groups[column / PANEL * layout.panel_groups()..][..layout.panel_groups()];
            for (channel, own) in own.chunks_exact(taps).enumerate() {
                for (tap, &weight) in own.iter().enumerate() {
                    let (run, k) = if layout.merged {
                        (tap / kernel[1], tap % kernel[1] * depth + channel)
                    } else {
                        (tap, channel)
                    };
                    panel[run * layout.groups() + k / 4].0[column % PANEL * 4 + k % 4] = weight;
                }
            }
        }
        Self {
            sums: column_sums(&groups, columns, layout),
            seven_bits: weights.iter().all(|w| (-63..=63).contains(w)),
            groups,
        }
    }

    /// The weights as the kernels take them.
    pub fn weights(&self) -> Weights<'static> {
        Weights {
            data: self.groups.as_ptr().cast(),
            sums: self.sums.as_ptr(),
            seven_bits: self.seven_bits,
            excess: None,
        }
    }

    /// The bytes of the panels.
    pub fn panels(&self) -> &[i8] {
        let groups = &self.groups[..self.groups.len() - SLACK];
        // SAFETY: groups are arrays of bytes, as aligned as they are long.
        unsafe { core::slice::from_raw_parts(groups.as_ptr().cast(), groups.len() * 64) }
    }
}

/// Sums of the columns of packed weights, zeros up to whole panels.
pub fn column_sums(groups: &[Group], columns: usize, layout: Layout) -> Vec<i32> {
    let mut sums = vec![0; panels(columns) * PANEL];
    for (panel, sums) in groups.chunks_exact(layout.panel_groups().max(1)).zip(sums.chunks_exact_mut(PANEL)) {
        for group in panel {
            for (four, sum) in group.0.chunks_exact(4).zip(sums.iter_mut()) {
                *sum += four.iter().map(|&w| i32::from(w)).sum::<i32>();
            }
        }
    }
    sums
}

/// Packed weights in memory.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// The panels; fastest where they begin at a multiple of 64. [`SLACK`] more groups have to be readable.
    pub data: *const i8,
    /// Sum of the weights of every column, for whole panels.
    pub sums: *const i32,
    /// A promise that all weights are in `-63..=63`: without VNNI products are faster then.
    pub seven_bits: bool,
    /// The same weights taken apart for this machine, where that is faster.
    pub excess: Option<&'a Excess>,
}

/// The bias that a kernel adds: `bias - zero · sum of the column's weights`, so that it can multiply codes instead
/// of their distances from the input's zero point. Padding has to hold that zero point.
pub fn fold_zero(bias: &[i32], sums: &[i32], zero: u8) -> Vec<i32> {
    bias.iter().zip(sums).map(|(b, s)| b.wrapping_sub(i32::from(zero).wrapping_mul(*s))).collect()
}
