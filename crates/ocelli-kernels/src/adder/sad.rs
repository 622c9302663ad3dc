//! Adder convolution on 8-bit codes: sums of absolute differences, exact, the same bits on every instruction set.
//!
//! Source: Nie et al., "Redistribution of Weights and Activations for AdderNet Quantization" (2022, arXiv 2212.10200). Filters are in
//! groups, each with a scale of its own, and the input has codes per group. Unsigned activations `a` of step `s / L` meet weights
//! of twice that step: `|a - 2 q| = |a - max(2 q, 0)| + max(-2 q, 0)`, which are bytes and a constant per filter. Signed ones of
//! the weights' own step are moved by 128 on both sides.
//!
//! Filters are packed eight at a time: for every tap and eight channels 64 bytes, filter by filter. A pixel's eight channels
//! meet all of them in one instruction, and no sum has to be collected across lanes.

use core::mem::MaybeUninit;
use core::ops::Range;

use super::Finish;
use super::lanes::{self, Sad};
use crate::Isa;
use crate::conv::{MAX_TAPS, Window};
use crate::simd::Simd;

/// Filters that are packed together.
pub const FILTERS: usize = 8;

/// Channels that are summed at once: those of a map of codes are a multiple of this.
pub const CHANNELS: usize = 8;

/// Pixels of a tile.
const PIXELS: usize = 4;

/// Pixels whose sums are held before they are finished.
const BLOCK: usize = 32;

/// Steps after which sums settle (see [`Sad::settle`]).
const STEPS: usize = 128;

/// How numbers become codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// Bits of a code, 2 to 8.
    pub bits: u8,
    /// Whether activations have codes on both sides of zero.
    pub signed: bool,
}

impl Coding {
    /// `2^bits - 1`
    pub fn levels(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32
    }

    /// The byte of a zero.
    pub fn zero(self) -> u8 {
        if self.signed { 128 } else { 0 }
    }

    /// The code of activation `x` in a group of scale `scale`: nearest, halves to even, in the order of operations of the source.
    pub fn activation(self, x: f32, scale: f32) -> i16 {
        let steps = x * self.levels() / scale;
        let (steps, low, high) = if self.signed {
            let half = (1i32 << (self.bits - 1)) as f32;
            (steps / 2.0, -half, half - 1.0)
        } else {
            (steps, 0.0, self.levels())
        };
        // What is no number has the smallest code.
        steps.round_ties_even().max(low).min(high) as i16
    }

    /// The code of weight `w` in a group of scale `scale`.
    pub fn weight(self, w: f32, scale: f32) -> i8 {
        let half = (1i32 << (self.bits - 1)) as f32;
        (w * self.levels() / scale / 2.0).round_ties_even().clamp(-half, half - 1.0) as i8
    }

    /// What one unit of a sum of distances stands for.
    pub fn step(self, scale: f32) -> f32 {
        let step = scale / self.levels();
        if self.signed { 2.0 * step } else { step }
    }
}

/// Where the filters of every group are among the packed ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First vector of eight filters and number of vectors of every group.
    pub groups: Vec<[usize; 2]>,
    /// Where a filter's sum is among the sums of all vectors, `[outputs]`.
    pub places: Vec<u32>,
    /// Sums that are computed per pixel: those of all vectors.
    pub sums: usize,
}

impl Layout {
    /// The layout of filters with these labels, all below `groups`: group by group, filled up to whole eights.
    pub fn new(labels: &[u8], groups: usize) -> Self {
        let (mut own, mut places, mut sums) = (Vec::with_capacity(groups), vec![0u32; labels.len()], 0);
        for group in 0..groups {
            let first = sums / FILTERS;
            for (o, _) in labels.iter().enumerate().filter(|(_, label)| usize::from(**label) == group) {
                places[o] = sums as u32;
                sums += 1;
            }
            sums = sums.next_multiple_of(FILTERS);
            own.push([first, sums / FILTERS - first]);
        }
        Self { groups: own, places, sums }
    }

    /// Bytes of the packed filters.
    pub fn bytes(&self, channels: usize, taps: usize) -> usize {
        self.sums * taps * channels.next_multiple_of(CHANNELS)
    }
}

/// Packed filters.
#[derive(Clone, Debug)]
pub struct Filters {
    /// `[vectors of 8 filters][taps][channels / 8][8 filters][8 channels]`
    pub packed: Vec<u8>,
    /// First vector and number of vectors of every group.
    pub groups: Vec<[usize; 2]>,
    /// Where a filter's sum is among the sums of all vectors, `[outputs]`.
    pub places: Vec<u32>,
    /// What is added to a filter's sum, `[outputs]`.
    pub constants: Vec<i32>,
    /// Channels of the codes, whole eights.
    pub channels: usize,
}

impl Filters {
    /// Packs weight codes `[outputs, channels, kernel height, kernel width]`; `labels` are the filters' groups. Nothing, if the
    /// extents or labels do not fit.
    pub fn new(
        codes: &[i8],
        labels: &[u8],
        groups: usize,
        channels: usize,
        taps: usize,
        signed: bool,
    ) -> Option<Self> {
        let outputs = labels.len();
        let filter = channels.checked_mul(taps)?;
        let fits = taps > 0 && channels > 0 && filter.checked_mul(outputs)? == codes.len();
        if !fits || labels.iter().any(|&label| usize::from(label) >= groups) {
            return None;
        }
        let padded = channels.next_multiple_of(CHANNELS);
        let Layout { groups: own, places, sums } = Layout::new(labels, groups);
        let mut packed = vec![0u8; sums * taps * padded];
        let mut constants = vec![0i32; outputs];
        for (o, &at) in places.iter().enumerate() {
            let at = at as usize;
            let vector = &mut packed[at / FILTERS * FILTERS * taps * padded..][..FILTERS * taps * padded];
            for c in 0..channels {
                for tap in 0..taps {
                    let q = i32::from(codes[(o * channels + c) * taps + tap]);
                    let byte = if signed { q + 128 } else { (2 * q).max(0) };
                    let step = tap * padded / CHANNELS + c / CHANNELS;
                    vector[step * 64 + at % FILTERS * CHANNELS + c % CHANNELS] = byte as u8;
                    if !signed {
                        constants[o] += (-2 * q).max(0);
                    }
                }
            }
        }
        Some(Self { packed, groups: own, places, constants, channels: padded })
    }

    /// Sums that are computed per pixel: those of all vectors.
    pub fn sums(&self) -> usize {
        self.groups.iter().map(|group| group[1] * FILTERS).sum()
    }
}

/// A convolution of codes.
#[derive(Clone, Copy, Debug)]
pub struct SadConv {
    /// Codes of the first group: channels-last maps without gaps, `[n][height][width][channels]`.
    pub codes: *const u8,
    /// Bytes from one group's codes to the next's.
    pub group: usize,
    /// Extent `[height, width]` of the input.
    pub size: [usize; 2],
    /// The window.
    pub window: Window,
    /// Channels of a pixel, a multiple of [`CHANNELS`].
    pub channels: usize,
    /// A pixel beyond the edge: `channels` bytes.
    pub edge: *const u8,
    /// [`Filters::packed`]
    pub weights: *const u8,
    /// [`Filters::groups`]
    pub groups: *const [usize; 2],
    /// How many groups there are.
    pub group_count: usize,
    /// [`Filters::sums`]
    pub sums: usize,
    /// [`Filters::places`], or null where they are `0, 1, 2, ..`.
    pub places: *const u32,
    /// Output channels.
    pub outputs: usize,
    /// Output extent `[height, width]`.
    pub output_size: [usize; 2],
    /// What becomes of the sums; [`Filters::constants`] are in its offset.
    pub finish: Finish,
}

/// The sums of output pixels `pixels` (counted through the batch), `[pixel][sums]`, without their constants.
///
/// # Safety
/// `isa` must be available, the maps as described, `out` have room; the window has at most [`MAX_TAPS`] taps.
pub unsafe fn sums(isa: Isa, x: &SadConv, pixels: Range<usize>, out: *mut i32) {
    // SAFETY: the instruction sets are available; the rest is the caller's promise.
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2")]
            unsafe fn on(x: &SadConv, pixels: Range<usize>, out: *mut i32) {
                // SAFETY: the features are enabled here.
                unsafe { sums_of::<lanes::x86::Avx512, 4>(x, pixels, out) }
            }
            unsafe { on(x, pixels, out) }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            #[target_feature(enable = "avx2")]
            unsafe fn on(x: &SadConv, pixels: Range<usize>, out: *mut i32) {
                // SAFETY: the features are enabled here.
                unsafe { sums_of::<lanes::x86::Avx2, 1>(x, pixels, out) }
            }
            unsafe { on(x, pixels, out) }
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { sums_of::<lanes::arm::Neon, 1>(x, pixels, out) },
        _ => unsafe { sums_of::<lanes::Portable, 1>(x, pixels, out) },
    }
}

/// Computes output pixels `pixels` (counted through the batch) wholly.
///
/// # Safety
/// As for [`sums`]; the pointers of `finish` are valid for these pixels. Several threads may compute different ranges.
pub unsafe fn convolve(isa: Isa, x: &SadConv, pixels: Range<usize>) {
    let mut own = vec![0i32; x.sums * BLOCK.min(pixels.len())];
    let mut first = pixels.start;
    while first < pixels.end {
        let some = (pixels.end - first).min(BLOCK);
        // SAFETY: there is room for a block; the rest is the caller's promise.
        unsafe {
            sums(isa, x, first..first + some, own.as_mut_ptr());
            finish(isa, x, own.as_ptr(), first, some);
        }
        first += some;
    }
}

// The parameter is the instruction set that `dispatch!` compiles it for.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn finish_of<S: Simd>(x: &SadConv, sums: *const i32, first: usize, pixels: usize) {
    let f = &x.finish;
    // SAFETY: the caller's promise. Plain loops: the compiler has the instruction set.
    unsafe {
        let scale = core::slice::from_raw_parts(f.scale, x.outputs);
        let offset = core::slice::from_raw_parts(f.offset, x.outputs);
        for pixel in 0..pixels {
            let sums = core::slice::from_raw_parts(sums.add(pixel * x.sums), x.sums);
            let at = first + pixel;
            let y = core::slice::from_raw_parts_mut(f.output.add(at * f.stride), x.outputs);
            if x.places.is_null() {
                for (y, ((sum, scale), offset)) in y.iter_mut().zip(sums.iter().zip(scale).zip(offset)) {
                    *y = (*sum as f32).mul_add(*scale, *offset);
                }
            } else {
                let places = core::slice::from_raw_parts(x.places, x.outputs);
                for (y, ((place, scale), offset)) in y.iter_mut().zip(places.iter().zip(scale).zip(offset)) {
                    *y = (*sums.get_unchecked(*place as usize) as f32).mul_add(*scale, *offset);
                }
            }
            if !f.residual.is_null() {
                let residual = core::slice::from_raw_parts(f.residual.add(at * f.residual_stride), x.outputs);
                y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
            }
            y.iter_mut().for_each(|y| *y = y.max(f.low).min(f.high));
        }
    }
}

crate::dispatch! {
    fn finish(x: &SadConv, sums: *const i32, first: usize, pixels: usize) = finish_of;
}

#[inline(always)]
unsafe fn sums_of<L: Sad, const WIDE: usize>(x: &SadConv, pixels: Range<usize>, out: *mut i32) {
    let taps = x.window.kernel[0] * x.window.kernel[1];
    assert!(taps <= MAX_TAPS, "a window of {taps} taps");
    let mut table = [const { MaybeUninit::<isize>::uninit() }; PIXELS * MAX_TAPS];
    let total = pixels.len();
    let mut done = 0;
    while done < total {
        let n = (total - done).min(PIXELS);
        // SAFETY: the pixels exist by the caller's promise.
        unsafe {
            offsets(x, pixels.start + done, n, &mut table);
            let out = out.add(done * x.sums);
            for group in 0..x.group_count {
                let [first, vectors] = *x.groups.add(group);
                let codes = x.codes.add(group * x.group);
                let mut vector = 0;
                while vector < vectors {
                    let at = first + vector;
                    let tile = Tile { x, codes, table: &table, taps, at, out };
                    let left = vectors - vector;
                    vector += if WIDE >= 4 && left >= 4 {
                        tile.any::<L, 4>(n)
                    } else if WIDE >= 2 && left >= 2 {
                        tile.any::<L, 2>(n)
                    } else {
                        tile.any::<L, 1>(n)
                    };
                }
            }
        }
        done += n;
    }
}

/// Marks a pixel beyond the edge.
const EDGE: isize = isize::MIN;

/// Fills `table` (`taps × PIXELS`) with the places of the pixels under the taps; pixels beyond the `n`-th repeat the first.
///
/// # Safety
/// The output pixels must exist.
unsafe fn offsets(x: &SadConv, first: usize, n: usize, table: &mut [MaybeUninit<isize>]) {
    let [height, width] = x.size;
    let [oh, ow] = x.output_size;
    let [kh, kw] = x.window.kernel;
    for m in 0..PIXELS {
        let pixel = first + if m < n { m } else { 0 };
        let (picture, oy, ox) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        for ky in 0..kh {
            let y = x.window.source(0, oy, ky);
            let row = ((picture * height) as isize + y) * width as isize;
            let inside = y >= 0 && y < height as isize;
            for kx in 0..kw {
                let column = x.window.source(1, ox, kx);
                let at = if inside && column >= 0 && column < width as isize {
                    (row + column) * x.channels as isize
                } else {
                    EDGE
                };
                table[(ky * kw + kx) * PIXELS + m].write(at);
            }
        }
    }
}

struct Tile<'a> {
    x: &'a SadConv,
    codes: *const u8,
    table: &'a [MaybeUninit<isize>],
    taps: usize,
    /// The first vector.
    at: usize,
    out: *mut i32,
}

impl Tile<'_> {
    /// Computes `VECTORS` vectors of `n` pixels; gives the number of vectors.
    #[inline(always)]
    unsafe fn any<L: Sad, const VECTORS: usize>(&self, n: usize) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            if n == 1 {
                self.compute::<L, 1, VECTORS>(n);
            } else {
                self.compute::<L, PIXELS, VECTORS>(n);
            }
        }
        VECTORS
    }

    #[inline(always)]
    unsafe fn compute<L: Sad, const N: usize, const VECTORS: usize>(&self, n: usize) {
        let steps = self.x.channels / CHANNELS;
        let vector = self.taps * steps * 64;
        // SAFETY: packed filters and codes have these extents by the caller's promise.
        unsafe {
            let mut sums = [[L::zero(); VECTORS]; N];
            let mut weights = self.x.weights.add(self.at * vector);
            for tap in 0..self.taps {
                let mut pixels = [core::ptr::null::<u8>(); N];
                for m in 0..N {
                    let at = self.table.get_unchecked(tap * PIXELS + m).assume_init();
                    pixels[m] = if at == EDGE { self.x.edge } else { self.codes.offset(at) };
                }
                let mut step = 0;
                while step < steps {
                    let end = (step + STEPS).min(steps);
                    while step < end {
                        let mut own = [L::weights(weights); VECTORS];
                        for v in 1..VECTORS {
                            own[v] = L::weights(weights.add(v * vector));
                        }
                        for m in 0..N {
                            let taps = L::taps(pixels[m].add(step * CHANNELS));
                            for v in 0..VECTORS {
                                sums[m][v] = L::add(sums[m][v], taps, own[v]);
                            }
                        }
                        weights = weights.add(64);
                        step += 1;
                    }
                    for m in 0..N {
                        for v in 0..VECTORS {
                            sums[m][v] = L::settle(sums[m][v]);
                        }
                    }
                }
            }
            for m in 0..N {
                if m < n {
                    for v in 0..VECTORS {
                        L::store(sums[m][v], self.out.add(m * self.x.sums + (self.at + v) * FILTERS));
                    }
                }
            }
        }
    }
}

/// What [`codes`] reads and writes: pixels of `channels` numbers become bytes, filled up with zeros to whole eights.
#[derive(Clone, Copy, Debug)]
pub struct Encode {
    /// The first pixel.
    pub x: *const f32,
    /// Distance of pixels.
    pub stride: usize,
    /// Pixels.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// The codes' form.
    pub coding: Coding,
    /// The group's scale.
    pub scale: f32,
    /// The bytes, pixels `padded` apart.
    pub out: *mut u8,
    /// Channels of the codes, whole eights.
    pub padded: usize,
}

// The parameter is the instruction set that `dispatch!` compiles it for.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn codes_of<S: Simd>(e: &Encode) {
    let levels = e.coding.levels();
    let half = (1i32 << (e.coding.bits - 1)) as f32;
    // SAFETY: the caller's promise. Plain loops: the compiler has the instruction set.
    unsafe {
        for pixel in 0..e.pixels {
            let x = core::slice::from_raw_parts(e.x.add(pixel * e.stride), e.channels);
            let out = core::slice::from_raw_parts_mut(e.out.add(pixel * e.padded), e.padded);
            let (own, rest) = out.split_at_mut(e.channels);
            if e.coding.signed {
                for (to, x) in own.iter_mut().zip(x) {
                    let code = (x * levels / e.scale / 2.0).round_ties_even().max(-half).min(half - 1.0);
                    *to = (code + 128.0).to_int_unchecked::<i32>() as u8;
                }
            } else {
                for (to, x) in own.iter_mut().zip(x) {
                    // `max` takes zero for what is no number.
                    let code = (x * levels / e.scale).round_ties_even().max(0.0).min(levels);
                    *to = code.to_int_unchecked::<i32>() as u8;
                }
            }
            rest.fill(0);
        }
    }
}

crate::dispatch! {
    /// Writes the codes of numbers.
    ///
    /// # Safety
    /// `isa` must be available, pointers valid for the extents; bits are 2 to 8.
    pub fn codes(e: &Encode) = codes_of;
}
