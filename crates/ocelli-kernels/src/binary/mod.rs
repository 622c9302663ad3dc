//! Convolution of -1 and +1 as bits: exclusive or, and counting.
//!
//! Bit 1 means -1. Channel `c` of a pixel is bit `c mod 64` of word `c / 64`; bits beyond the channels are 0 in maps and
//! filters alike, so that they never count. Filters are stored `[out][ky][kx][words]` ([`pack_filters`]) and made ready for
//! a kernel as [`Filters`]. Of `n` products of ±1, of which `p` are -1, the sum is `n - 2p`: sums are exact integers,
//! the same on every instruction set.
//!
//! Padding with zeros has no bits: beyond the edge a map counts as +1, and what that added is taken off again.

mod conv;
mod pack;
mod threshold;
mod tile;

pub use conv::{BinaryConv, BitMap, Finish, convolve};
pub use pack::{LANES, ones, pack_filters, pack_rows, pack_signs, signs, words};
pub use threshold::{Norm, Threshold};

use crate::conv::Window;

/// What lies beyond the edge of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: such taps do not count (padding after the sign).
    #[default]
    Zero,
    /// +1.
    Plus,
    /// -1.
    Minus,
}

/// The filters of a convolution, ready for a kernel: eight of them side by side, word by word. Their layout does not depend on
/// the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub outputs: usize,
    /// Extent of the kernel.
    pub kernel: [usize; 2],
    /// `[⌈outputs / 8⌉][taps][words][8]`
    pub panels: Vec<u64>,
    /// Products that are -1 where a tap sees +1 in all channels, `[taps][⌈outputs / 8⌉ · 8]`.
    pub tap_ones: Vec<i32>,
}

impl Filters {
    /// Of packed filters `[outputs][ky][kx][words]`; nothing if there are not as many words, or an extent is 0.
    pub fn new(packed: &[u64], outputs: usize, channels: usize, kernel: [usize; 2]) -> Option<Self> {
        let taps = kernel[0].checked_mul(kernel[1])?;
        let per_filter = taps.checked_mul(words(channels))?;
        if per_filter == 0 || outputs == 0 || per_filter.checked_mul(outputs)? != packed.len() {
            return None;
        }
        let columns = outputs.next_multiple_of(LANES);
        let mut panels = vec![0; columns * per_filter];
        let mut tap_ones = vec![0; taps * columns];
        for (out, filter) in packed.chunks_exact(per_filter).enumerate() {
            let panel = &mut panels[out / LANES * LANES * per_filter..];
            for (at, &word) in filter.iter().enumerate() {
                panel[at * LANES + out % LANES] = word;
                tap_ones[at / words(channels) * columns + out] += word.count_ones() as i32;
            }
        }
        Some(Self { channels, outputs, kernel, panels, tap_ones })
    }

    /// Signs of `weights` `[outputs][channels][ky][kx]`.
    ///
    /// # Panics
    /// If `weights` has another length, or an extent is 0.
    pub fn of_weights(weights: &[f32], outputs: usize, channels: usize, kernel: [usize; 2]) -> Self {
        let packed = pack_filters(weights, outputs, channels, kernel);
        Self::new(&packed, outputs, channels, kernel).expect("as many words as filters want")
    }

    /// Groups of eight filters.
    pub fn panel_count(&self) -> usize {
        self.outputs.div_ceil(LANES)
    }
}

/// A convolution's extents: packed maps of `batch` pictures of `[height, width]` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Pictures.
    pub batch: usize,
    /// Input `[height, width]`.
    pub size: [usize; 2],
    /// The window; zeros below and to the right are as many as `pad_end`.
    pub window: Window,
    /// Padding below and to the right.
    pub pad_end: [usize; 2],
    /// What lies beyond the edge.
    pub padding: Padding,
}

impl Extent {
    /// Output `[height, width]`; nothing where the window does not fit.
    pub fn output(&self) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let reach = (self.window.kernel[axis].checked_sub(1)?)
                .checked_mul(self.window.dilation[axis])?
                .checked_add(1)?;
            let extent = self.size[axis] + self.window.pad[axis] + self.pad_end[axis];
            extent.checked_sub(reach)?.checked_div(self.window.stride[axis]).map(|steps| steps + 1)
        };
        Some([along(0)?, along(1)?])
    }
}

/// The sums of all windows, `[batch][height'][width'][outputs]`, of packed maps `[batch][height][width][words]`; nothing where
/// the lengths do not fit or the window does not fit the map.
pub fn sums(isa: crate::Isa, filters: &Filters, extent: &Extent, bits: &[u64]) -> Option<Vec<i32>> {
    let [oh, ow] = extent.output()?;
    let count = words(filters.channels);
    let [height, width] = extent.size;
    let fits = extent.window.kernel == filters.kernel
        && bits.len() == extent.batch * height * width * count
        && extent.window.kernel[0] * extent.window.kernel[1] <= crate::conv::MAX_TAPS;
    if !fits {
        return None;
    }
    let border = border(filters.channels, extent.padding);
    let pixels = extent.batch * oh * ow;
    let mut found = vec![0i32; pixels * filters.outputs];
    let conv = BinaryConv {
        input: BitMap {
            data: bits.as_ptr(),
            picture: height * width * count,
            row: width * count,
            pixel: count,
            height,
            width,
        },
        window: extent.window,
        channels: filters.channels,
        padding: extent.padding,
        border: border.as_ptr(),
        weights: filters.panels.as_ptr(),
        tap_ones: filters.tap_ones.as_ptr(),
        columns: filters.outputs,
        output_size: [oh, ow],
        finish: Finish::Sums { output: found.as_mut_ptr(), stride: filters.outputs },
    };
    // SAFETY: all lengths were checked or made above.
    unsafe { convolve(isa, &conv, 0..pixels, 0..filters.panel_count()) };
    Some(found)
}

/// The words of a pixel beyond the edge.
pub fn border(channels: usize, padding: Padding) -> Vec<u64> {
    match padding {
        Padding::Zero | Padding::Plus => vec![0; words(channels)],
        Padding::Minus => ones(channels),
    }
}
