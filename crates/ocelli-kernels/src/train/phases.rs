//! A padded plane split into its phases modulo the stride.
//!
//! In a phase every tap of a window is a constant distance away from the output's position, so that sliding
//! windows of any stride become long runs over consecutive elements. Positions run over rows that are a little
//! wider than the output; what falls into the surplus is dropped.

use crate::Isa;

/// Room behind every phase for vectors that run over its end.
pub const SLACK: usize = 64;

/// Layout of the phases of one plane.
#[derive(Clone, Debug)]
pub struct Phases {
    /// Extent of the plane `[height, width]`.
    size: [usize; 2],
    /// Border above and to the left.
    padding: [usize; 2],
    /// Row length of a phase.
    pub width: usize,
    /// Rows of a phase.
    pub height: usize,
    /// Phases `[vertical, horizontal]`: the stride.
    pub count: [usize; 2],
    /// Elements from one phase to the next.
    pub step: usize,
    /// Phase and distance inside it for every tap.
    pub taps: Vec<(usize, usize)>,
    /// Output positions, counted in rows of `width`.
    pub span: usize,
}

impl Phases {
    /// For windows of `kernel` over planes of `size` with the given `output` extent.
    pub fn new(
        size: [usize; 2],
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
        output: [usize; 2],
    ) -> Self {
        let reach = |axis: usize| dilation[axis] * (kernel[axis] - 1) / stride[axis];
        let padded = |axis: usize| (size[axis] + 2 * padding[axis]).div_ceil(stride[axis]);
        let [height, width] = [0, 1].map(|axis| padded(axis).max(output[axis] + reach(axis)));
        let taps = (0..kernel[0] * kernel[1])
            .map(|t| {
                let (y, x) = (t / kernel[1] * dilation[0], t % kernel[1] * dilation[1]);
                (y % stride[0] * stride[1] + x % stride[1], y / stride[0] * width + x / stride[1])
            })
            .collect();
        Self {
            size,
            padding,
            width,
            height,
            count: stride,
            step: height * width + SLACK,
            taps,
            span: if output[0] == 0 { 0 } else { (output[0] - 1) * width + output[1] },
        }
    }

    /// Elements of the scratch for all phases.
    pub fn len(&self) -> usize {
        self.count[0] * self.count[1] * self.step + SLACK
    }

    /// Distance of every tap from the start of the scratch.
    pub fn distances(&self) -> Vec<usize> {
        self.taps.iter().map(|&(phase, at)| phase * self.step + at).collect()
    }

    /// Where row `y` of the plane lies in the first of its horizontal phases.
    fn line(&self, y: usize) -> usize {
        let y = y + self.padding[0];
        y % self.count[0] * self.count[1] * self.step + y / self.count[0] * self.width
    }

    /// The first pixel of a horizontal phase, and its place behind the line's start.
    fn first(&self, phase: usize) -> (usize, usize) {
        let stride = self.count[1];
        let first = (phase + stride - self.padding[1] % stride) % stride;
        (first, phase * self.step + (first + self.padding[1]) / stride)
    }

    /// Copies a plane into the phases; borders keep what they hold.
    pub fn split(&self, isa: Isa, plane: &[f32], scratch: &mut [f32]) {
        for (y, row) in plane.chunks_exact(self.size[1].max(1)).enumerate() {
            let line = self.line(y);
            if self.count[1] == 1 {
                scratch[line + self.padding[1]..][..row.len()].copy_from_slice(row);
                continue;
            }
            if self.count[1] == 2 {
                // The phases of even and of odd pixels, pair by pair: a loop that compilers make vectors of.
                let (even, odd) = (line + self.place_of(0), line + self.place_of(1));
                let pairs = row.len() / 2;
                if row.len() % 2 == 1 {
                    scratch[even + pairs] = row[2 * pairs];
                }
                let (low, high, swapped) = if even < odd { (even, odd, false) } else { (odd, even, true) };
                let (left, right) = scratch.split_at_mut(high);
                let (a, b) = (&mut left[low..][..pairs], &mut right[..pairs]);
                let (even_places, odd_places) = if swapped { (b, a) } else { (a, b) };
                unzip(isa, &row[..2 * pairs], even_places, odd_places);
                continue;
            }
            for phase in 0..self.count[1] {
                let (first, place) = self.first(phase);
                let pixels = row.iter().skip(first).step_by(self.count[1]);
                for (place, &x) in scratch[line + place..].iter_mut().zip(pixels) {
                    *place = x;
                }
            }
        }
    }

    /// Where pixel `x` of a row lies behind the line's start.
    fn place_of(&self, x: usize) -> usize {
        let x = x + self.padding[1];
        x % self.count[1] * self.step + x / self.count[1]
    }

    /// Copies the phases back into a plane, without its border.
    pub fn join(&self, isa: Isa, scratch: &[f32], plane: &mut [f32]) {
        for (y, row) in plane.chunks_exact_mut(self.size[1].max(1)).enumerate() {
            let line = self.line(y);
            if self.count[1] == 1 {
                row.copy_from_slice(&scratch[line + self.padding[1]..][..row.len()]);
                continue;
            }
            if self.count[1] == 2 {
                let (even, odd) = (&scratch[line + self.place_of(0)..], &scratch[line + self.place_of(1)..]);
                let pairs = row.len() / 2;
                if row.len() % 2 == 1 {
                    row[2 * pairs] = even[pairs];
                }
                zip(isa, &even[..pairs], &odd[..pairs], &mut row[..2 * pairs]);
                continue;
            }
            for phase in 0..self.count[1] {
                let (first, place) = self.first(phase);
                let places = &scratch[line + place..];
                for (x, &place) in row.iter_mut().skip(first).step_by(self.count[1]).zip(places) {
                    *x = place;
                }
            }
        }
    }
}

/// Parts the pairs of `row` into `even` and `odd`.
fn unzip(isa: Isa, row: &[f32], even: &mut [f32], odd: &mut [f32]) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: the instruction set is available.
        done = unsafe { avx512::unzip(row, even, odd) };
    }
    let _ = isa;
    let places = even[done..].iter_mut().zip(&mut odd[done..]);
    for (pair, (even, odd)) in row[2 * done..].chunks_exact(2).zip(places) {
        (*even, *odd) = (pair[0], pair[1]);
    }
}

/// The way back.
fn zip(isa: Isa, even: &[f32], odd: &[f32], row: &mut [f32]) {
    let mut done = 0;
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: the instruction set is available.
        done = unsafe { avx512::zip(even, odd, row) };
    }
    let _ = isa;
    let places = even[done..].iter().zip(&odd[done..]);
    for (pair, (&even, &odd)) in row[2 * done..].chunks_exact_mut(2).zip(places) {
        (pair[0], pair[1]) = (even, odd);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use core::arch::x86_64::*;

    /// As many pairs as fill vectors; gives their number.
    #[target_feature(enable = "avx512f")]
    pub fn unzip(row: &[f32], even: &mut [f32], odd: &mut [f32]) -> usize {
        let pairs = row.len() / 2 / 16 * 16;
        assert!(even.len() >= pairs && odd.len() >= pairs);
        let evens = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
        let odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
        for i in (0..pairs).step_by(16) {
            // SAFETY: 32 elements of the row and 16 of each target from here on.
            unsafe {
                let a = _mm512_loadu_ps(row.as_ptr().add(2 * i));
                let b = _mm512_loadu_ps(row.as_ptr().add(2 * i + 16));
                _mm512_storeu_ps(even.as_mut_ptr().add(i), _mm512_permutex2var_ps(a, evens, b));
                _mm512_storeu_ps(odd.as_mut_ptr().add(i), _mm512_permutex2var_ps(a, odds, b));
            }
        }
        pairs
    }

    /// As many pairs as fill vectors; gives their number.
    #[target_feature(enable = "avx512f")]
    pub fn zip(even: &[f32], odd: &[f32], row: &mut [f32]) -> usize {
        let pairs = row.len() / 2 / 16 * 16;
        assert!(even.len() >= pairs && odd.len() >= pairs);
        let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        for i in (0..pairs).step_by(16) {
            // SAFETY: 32 elements of the row and 16 of each source from here on.
            unsafe {
                let a = _mm512_loadu_ps(even.as_ptr().add(i));
                let b = _mm512_loadu_ps(odd.as_ptr().add(i));
                _mm512_storeu_ps(row.as_mut_ptr().add(2 * i), _mm512_permutex2var_ps(a, low, b));
                _mm512_storeu_ps(row.as_mut_ptr().add(2 * i + 16), _mm512_permutex2var_ps(a, high, b));
            }
        }
        pairs
    }
}
