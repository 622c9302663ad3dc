//! Which input pixel lies under which tap of a window, and packing those pixels into panels.
//!
//! A convolution of any stride, padding and dilation, and the way back through it, read a map at
//! `(u · stride + dy, v · stride + dx)` for columns `(u, v)` and taps `(dy, dx)`; beyond the edge there are zeros.

use core::ops::Range;

use crate::Isa;
use crate::gemm::PANEL;

/// Where the taps of all columns of a batch lie in a map.
#[derive(Clone, Debug)]
pub struct Lattice {
    /// Columns per picture `[rows, columns]`.
    pub grid: [usize; 2],
    /// Step between columns `[vertical, horizontal]`, in pixels of the map.
    pub stride: [usize; 2],
    /// Offsets `(dy, dx)` of the taps, in pixels of the map.
    pub taps: Vec<[isize; 2]>,
    /// Extent of the map `[height, width]`.
    pub size: [usize; 2],
    /// Elements from one picture of the map to the next.
    pub picture: usize,
}

/// Pixels under one tap for the columns of a panel: lanes with equal distance to their lane number are read by
/// one masked load.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    count: usize,
    masks: [u16; MAX_RUNS],
    starts: [isize; MAX_RUNS],
}

/// Beyond this many pieces a gather is faster.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
const MAX_RUNS: usize = 4;

/// Marks a lane beyond the edge.
const OUTSIDE: i32 = i32::MIN;

impl Lattice {
    /// The lattice that reads every pixel of a map of `[height, width]` once, in its order.
    pub fn identity(size: [usize; 2], picture: usize) -> Self {
        Self { grid: size, stride: [1, 1], taps: vec![[0, 0]], size, picture }
    }

    /// Whether column `q` of a picture is pixel `q` of the map.
    pub fn is_identity(&self) -> bool {
        self.taps == [[0, 0]] && self.stride == [1, 1] && self.grid == self.size
    }

    /// Columns per picture.
    pub fn area(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Packs `columns` (at most 16, counted through the batch) of channels `channels`: row
    /// `(channel - channels.start) · taps + tap` is written to `out + row · row_stride`, lanes beyond the columns
    /// are zeros.
    ///
    /// # Safety
    /// `map` must hold the channels and pictures, `out` all rows of 16; `isa` must be available.
    pub unsafe fn pack(
        &self,
        isa: Isa,
        map: *const f32,
        channels: Range<usize>,
        columns: Range<usize>,
        out: *mut f32,
        row_stride: usize,
    ) {
        debug_assert!(columns.len() <= PANEL);
        let area = self.area();
        let first = columns.start / area;
        let plane = self.size[0] * self.size[1];
        // SAFETY: picture and channel exist.
        let base = unsafe { map.add(first * self.picture + channels.start * plane) };
        if self.is_identity() && columns.end <= (first + 1) * area {
            let start = columns.start - first * area;
            // SAFETY: the columns are consecutive pixels of one picture.
            unsafe { rows(isa, base.add(start), plane, channels.len(), columns.len(), out, row_stride) };
            return;
        }
        let (mut y, mut x, mut picture) = ([0i32; PANEL], [i32::MIN / 2; PANEL], [0i32; PANEL]);
        let (mut n, rest) = (0, columns.start - first * area);
        let (mut u, mut v) = (rest / self.grid[1], rest % self.grid[1]);
        for j in 0..columns.len() {
            y[j] = (u * self.stride[0]) as i32;
            x[j] = (v * self.stride[1]) as i32;
            picture[j] = (n * self.picture) as i32;
            v += 1;
            if v == self.grid[1] {
                (v, u) = (0, u + 1);
                if u == self.grid[0] {
                    (u, n) = (0, n + 1);
                }
            }
        }
        let lanes = Lanes { y, x, picture };
        let taps = self.taps.len();
        for (t, &tap) in self.taps.iter().enumerate() {
            // SAFETY: row `t` of every channel lies in `out`; the offsets point into the map.
            unsafe {
                let out = out.add(t * row_stride);
                gather(isa, &lanes, tap, self.size, base, plane, channels.len(), out, taps * row_stride);
            }
        }
    }
}

/// Coordinates of a panel's columns before the taps are added.
struct Lanes {
    y: [i32; PANEL],
    x: [i32; PANEL],
    picture: [i32; PANEL],
}

impl Lanes {
    /// Offset of the pixel under `tap` for every lane, from the first picture's plane.
    #[inline(always)]
    fn offsets(&self, [dy, dx]: [isize; 2], [height, width]: [usize; 2]) -> [i32; PANEL] {
        let (dy, dx, height, width) = (dy as i32, dx as i32, height as i32, width as i32);
        let mut offsets = [OUTSIDE; PANEL];
        for (j, offset) in offsets.iter_mut().enumerate() {
            let (y, x) = (self.y[j] + dy, self.x[j] + dx);
            let inside = (y >= 0) & (y < height) & (x >= 0) & (x < width);
            let at = self.picture[j].wrapping_add(y.wrapping_mul(width)).wrapping_add(x);
            *offset = if inside { at } else { OUTSIDE };
        }
        offsets
    }
}

/// Copies `count` rows of `len <= 16` elements, `from_stride` apart, and fills each up to 16 with zeros.
unsafe fn rows(
    isa: Isa,
    from: *const f32,
    from_stride: usize,
    count: usize,
    len: usize,
    out: *mut f32,
    out_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: the instruction set is available, the rest is the caller's promise.
        unsafe { avx512::rows(from, from_stride, count, len, out, out_stride) };
        return;
    }
    let _ = isa;
    for row in 0..count {
        // SAFETY: the caller's promise; source and target are different buffers.
        unsafe {
            let (from, out) = (from.add(row * from_stride), out.add(row * out_stride));
            if len == PANEL {
                out.cast::<[f32; PANEL]>().write_unaligned(from.cast::<[f32; PANEL]>().read_unaligned());
            } else {
                core::ptr::copy_nonoverlapping(from, out, len);
                core::ptr::write_bytes(out.add(len), 0, PANEL - len);
            }
        }
    }
}

/// Reads the pixels under one tap from `count` planes.
#[allow(clippy::too_many_arguments)]
unsafe fn gather(
    isa: Isa,
    lanes: &Lanes,
    tap: [isize; 2],
    size: [usize; 2],
    from: *const f32,
    plane: usize,
    count: usize,
    out: *mut f32,
    out_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: the instruction set is available, the rest is the caller's promise.
        unsafe { avx512::gather(lanes, tap, size, from, plane, count, out, out_stride) };
        return;
    }
    let _ = isa;
    let offsets = lanes.offsets(tap, size);
    let consecutive = (1..PANEL).all(|j| offsets[0] != OUTSIDE && offsets[j] == offsets[0] + j as i32);
    for row in 0..count {
        // SAFETY: inside offsets point into the plane.
        unsafe {
            let (from, out) = (from.add(row * plane), out.add(row * out_stride));
            if consecutive {
                let pixels = from.offset(offsets[0] as isize).cast::<[f32; PANEL]>().read_unaligned();
                out.cast::<[f32; PANEL]>().write_unaligned(pixels);
            } else {
                for (j, &offset) in offsets.iter().enumerate() {
                    *out.add(j) = if offset == OUTSIDE { 0.0 } else { *from.offset(offset as isize) };
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use core::arch::x86_64::*;

    use super::{Lanes, MAX_RUNS, OUTSIDE, PANEL, Runs};

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
    pub unsafe fn rows(
        mut from: *const f32,
        from_stride: usize,
        count: usize,
        len: usize,
        mut out: *mut f32,
        out_stride: usize,
    ) {
        let mask = ((1u32 << len) - 1) as u16;
        for _ in 0..count {
            // SAFETY: masked lanes are not touched; the rest is the caller's promise.
            unsafe { _mm512_storeu_ps(out, _mm512_maskz_loadu_ps(mask, from)) };
            from = from.wrapping_add(from_stride);
            out = out.wrapping_add(out_stride);
        }
    }

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
    pub unsafe fn gather(
        lanes: &Lanes,
        tap: [isize; 2],
        size: [usize; 2],
        from: *const f32,
        plane: usize,
        count: usize,
        out: *mut f32,
        out_stride: usize,
    ) {
        let offsets = lanes.offsets(tap, size);
        // SAFETY: sixteen numbers; the loops below read inside offsets alone.
        unsafe {
            let at = _mm512_loadu_si512(offsets.as_ptr().cast());
            let inside = _mm512_cmpneq_epi32_mask(at, _mm512_set1_epi32(OUTSIDE));
            let lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let distance = _mm512_sub_epi32(at, lane);
            let mut runs = Runs::default();
            let mut left = inside;
            while left != 0 && runs.count < MAX_RUNS {
                let j = left.trailing_zeros() as usize;
                let start = offsets[j] - j as i32;
                let run = left & _mm512_cmpeq_epi32_mask(distance, _mm512_set1_epi32(start));
                runs.masks[runs.count] = run;
                runs.starts[runs.count] = start as isize;
                runs.count += 1;
                left &= !run;
            }
            if left != 0 {
                let at = _mm512_maskz_mov_epi32(inside, at);
                each(from, plane, count, out, out_stride, |from| {
                    _mm512_mask_i32gather_ps::<4>(_mm512_setzero_ps(), inside, at, from)
                });
                return;
            }
            let [m0, m1, m2, m3] = runs.masks;
            let [s0, s1, s2, s3] = runs.starts;
            // The pointers may lie outside of the map where the lanes before the run are masked.
            let load = |from: *const f32, start: isize, mask: u16| {
                _mm512_maskz_loadu_ps(mask, from.wrapping_offset(start))
            };
            let more = |v: __m512, from: *const f32, start: isize, mask: u16| {
                _mm512_mask_loadu_ps(v, mask, from.wrapping_offset(start))
            };
            match runs.count {
                0 => each(from, plane, count, out, out_stride, |_| _mm512_setzero_ps()),
                1 => each(from, plane, count, out, out_stride, |from| load(from, s0, m0)),
                2 => each(from, plane, count, out, out_stride, |from| more(load(from, s0, m0), from, s1, m1)),
                3 => each(from, plane, count, out, out_stride, |from| {
                    more(more(load(from, s0, m0), from, s1, m1), from, s2, m2)
                }),
                _ => each(from, plane, count, out, out_stride, |from| {
                    more(more(more(load(from, s0, m0), from, s1, m1), from, s2, m2), from, s3, m3)
                }),
            }
        }
        const { assert!(PANEL == 16) }
    }

    #[inline(always)]
    unsafe fn each(
        mut from: *const f32,
        plane: usize,
        count: usize,
        mut out: *mut f32,
        out_stride: usize,
        read: impl Fn(*const f32) -> __m512,
    ) {
        for _ in 0..count {
            // SAFETY: the caller's promise.
            unsafe { *out.cast::<[f32; PANEL]>() = core::mem::transmute::<__m512, [f32; PANEL]>(read(from)) };
            from = from.wrapping_add(plane);
            out = out.wrapping_add(out_stride);
        }
    }
}
