//! Modulation: the channels of every picture are scaled (alone, or mixed in pairs) and shifted on top of themselves, with a ReLU before
//! or behind it.

use crate::Isa;
use crate::simd::Simd;
use crate::train::parallel::{Shared, buffer, each};

/// Where the ReLU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rectified {
    /// There is none.
    Never,
    /// `y = m(max(x, 0))`
    Before,
    /// `y = max(m(x), 0)`
    After,
}

/// Extents of a modulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModulateShape {
    /// Pictures.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Channels that an output channel is made of: 1 or 2.
    pub inputs: usize,
    /// Height times width.
    pub area: usize,
    /// Where the ReLU is.
    pub rectified: Rectified,
}

impl ModulateShape {
    fn groups(&self) -> usize {
        self.batch * self.channels / self.inputs
    }

    /// # Panics
    /// If the slices have other lengths.
    fn check(&self, x: &[f32], scale: &[f32], shift: &[f32]) {
        assert!(
            matches!(self.inputs, 1 | 2) && self.channels.is_multiple_of(self.inputs),
            "groups of channels"
        );
        let planes = self.batch * self.channels;
        assert!(
            x.len() == planes * self.area && scale.len() == planes * self.inputs && shift.len() == planes,
            "maps, scales and shifts"
        );
    }
}

/// Elements of a task.
const SHARE: usize = 1 << 14;

/// Runs `work` for every group of channels that belong together.
fn shared(shape: &ModulateShape, passes: usize, work: impl Fn(usize) + Sync + Send) {
    let per_task = 1 + SHARE / (shape.area * shape.inputs).max(1);
    let elements = passes * shape.batch * shape.channels * shape.area;
    each(shape.groups().div_ceil(per_task), elements, |task| {
        (task * per_task..((task + 1) * per_task).min(shape.groups())).for_each(&work);
    });
}

/// `y[o] = v[o] + sum_j scale[o, j] · v[group of o, j] + shift[o]` for maps `[batch, channels, area]`, scales `[batch, channels, inputs]`
/// and shifts `[batch, channels]`.
///
/// # Panics
/// If the slices do not have these extents.
pub fn forward(isa: Isa, shape: &ModulateShape, x: &[f32], scale: &[f32], shift: &[f32]) -> Vec<f32> {
    shape.check(x, scale, shift);
    let mut output = buffer(x.len());
    let out = Shared::new(&mut output);
    let (inputs, area) = (shape.inputs, shape.area);
    shared(shape, 2, |group| {
        let first = group * inputs;
        let scale = &scale[first * inputs..][..inputs * inputs];
        // SAFETY: every group has one task; the instruction set is the processor's.
        unsafe {
            let out = out.slice(first * area, inputs * area);
            forward_any(
                isa,
                shape,
                &x[first * area..][..inputs * area],
                scale,
                &shift[first..][..inputs],
                out,
            );
        }
    });
    output
}

/// Gradients of [`forward`]'s maps, scales and shifts.
///
/// # Panics
/// As [`forward`].
pub fn backward(
    isa: Isa,
    shape: &ModulateShape,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    shape.check(x, scale, shift);
    assert_eq!(x.len(), grad.len(), "a gradient for every element");
    let (mut of_x, mut of_scale, mut of_shift) = (buffer(x.len()), buffer(scale.len()), buffer(shift.len()));
    let (maps, scales, shifts) =
        (Shared::new(&mut of_x), Shared::new(&mut of_scale), Shared::new(&mut of_shift));
    let (inputs, area) = (shape.inputs, shape.area);
    shared(shape, 4, |group| {
        let first = group * inputs;
        let own = Own {
            x: &x[first * area..][..inputs * area],
            scale: &scale[first * inputs..][..inputs * inputs],
            shift: &shift[first..][..inputs],
            grad: &grad[first * area..][..inputs * area],
        };
        // SAFETY: as above.
        unsafe {
            let of_x = maps.slice(first * area, inputs * area);
            let of_scale = scales.slice(first * inputs, inputs * inputs);
            let of_shift = shifts.slice(first, inputs);
            backward_any(isa, shape, own, of_x, of_scale, of_shift);
        }
    });
    (of_x, of_scale, of_shift)
}

/// What concerns one group.
#[derive(Clone, Copy)]
struct Own<'a> {
    x: &'a [f32],
    scale: &'a [f32],
    shift: &'a [f32],
    grad: &'a [f32],
}

/// Partial sums that stand beside each other in a register.
const LANES: usize = 16;

// Compiled per instruction set; vectors are the compiler's.
#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn forward_of<S: Simd>(
    shape: &ModulateShape,
    x: &[f32],
    scale: &[f32],
    shift: &[f32],
    out: &mut [f32],
) {
    let before = if shape.rectified == Rectified::Before { 0.0 } else { f32::NEG_INFINITY };
    let after = if shape.rectified == Rectified::After { 0.0 } else { f32::NEG_INFINITY };
    let area = shape.area;
    if shape.inputs == 1 {
        let (factor, shift) = (1.0 + scale[0], shift[0]);
        for (out, x) in out.iter_mut().zip(x) {
            *out = (x.max(before) * factor + shift).max(after);
        }
        return;
    }
    let (x0, x1) = x.split_at(area);
    let (out0, out1) = out.split_at_mut(area);
    let [a, b, c, d] = [1.0 + scale[0], scale[1], scale[2], 1.0 + scale[3]];
    for (((out0, out1), x0), x1) in out0.iter_mut().zip(out1).zip(x0).zip(x1) {
        let (v0, v1) = (x0.max(before), x1.max(before));
        *out0 = (a * v0 + (b * v1 + shift[0])).max(after);
        *out1 = (d * v1 + (c * v0 + shift[1])).max(after);
    }
}

#[allow(clippy::extra_unused_type_parameters)]
#[inline(always)]
unsafe fn backward_of<S: Simd>(
    shape: &ModulateShape,
    own: Own,
    of_x: &mut [f32],
    of_scale: &mut [f32],
    of_shift: &mut [f32],
) {
    let (before, after) = (shape.rectified == Rectified::Before, shape.rectified == Rectified::After);
    let floor = if before { 0.0 } else { f32::NEG_INFINITY };
    let area = shape.area;
    let Own { x, scale, shift, grad } = own;
    if shape.inputs == 1 {
        let (factor, shift) = (1.0 + scale[0], shift[0]);
        let (mut scales, mut shifts) = ([0.0f32; LANES], [0.0f32; LANES]);
        for ((out, x), grad) in of_x.chunks_mut(LANES).zip(x.chunks(LANES)).zip(grad.chunks(LANES)) {
            for (lane, ((out, x), grad)) in out.iter_mut().zip(x).zip(grad).enumerate() {
                let v = x.max(floor);
                let grad = if after && v * factor + shift <= 0.0 { 0.0 } else { *grad };
                scales[lane] += grad * v;
                shifts[lane] += grad;
                *out = if before && *x <= 0.0 { 0.0 } else { grad * factor };
            }
        }
        (of_scale[0], of_shift[0]) = (scales.iter().sum(), shifts.iter().sum());
        return;
    }
    let [a, b, c, d] = [1.0 + scale[0], scale[1], scale[2], 1.0 + scale[3]];
    let (x0, x1) = x.split_at(area);
    let (grad0, grad1) = grad.split_at(area);
    let (of0, of1) = of_x.split_at_mut(area);
    let mut sums = [[0.0f32; LANES]; 6];
    for at in (0..area).step_by(LANES) {
        let n = LANES.min(area - at);
        let (x0, x1, grad0, grad1) = (&x0[at..][..n], &x1[at..][..n], &grad0[at..][..n], &grad1[at..][..n]);
        let (of0, of1) = (&mut of0[at..][..n], &mut of1[at..][..n]);
        for lane in 0..n {
            let (v0, v1) = (x0[lane].max(floor), x1[lane].max(floor));
            let (mut g0, mut g1) = (grad0[lane], grad1[lane]);
            if after {
                g0 = if a * v0 + (b * v1 + shift[0]) <= 0.0 { 0.0 } else { g0 };
                g1 = if d * v1 + (c * v0 + shift[1]) <= 0.0 { 0.0 } else { g1 };
            }
            sums[0][lane] += g0 * v0;
            sums[1][lane] += g0 * v1;
            sums[2][lane] += g1 * v0;
            sums[3][lane] += g1 * v1;
            sums[4][lane] += g0;
            sums[5][lane] += g1;
            let (d0, d1) = (a * g0 + c * g1, b * g0 + d * g1);
            of0[lane] = if before && x0[lane] <= 0.0 { 0.0 } else { d0 };
            of1[lane] = if before && x1[lane] <= 0.0 { 0.0 } else { d1 };
        }
    }
    let sum = |i: usize| sums[i].iter().sum::<f32>();
    (0..4).for_each(|i| of_scale[i] = sum(i));
    (0..2).for_each(|i| of_shift[i] = sum(4 + i));
}

crate::dispatch! {
    fn forward_any(shape: &ModulateShape, x: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) = forward_of;
}
crate::dispatch! {
    fn backward_any(shape: &ModulateShape, own: Own, of_x: &mut [f32], of_scale: &mut [f32], of_shift: &mut [f32]) = backward_of;
}
