//! Convolutions of codes against their plain twin.

use ocelli_kernels::conv::Window;
use ocelli_kernels::gemm::panels;
use ocelli_kernels::int8::arithmetic::{Add, Target};
use ocelli_kernels::int8::weights::{Layout, Weights, fold_zero};
use ocelli_kernels::int8::{
    Conv, Epilogue, Excess, Isa, MapIn, Output, Packed, Requantiser, Residual, conv, reference,
};
use ocelli_kernels::reference::ConvShape;
use proptest::prelude::*;

use super::{Mode, biases, codes, pointwise, target, weights, windows};

/// Every instruction set, and the ways of those that multiply weights that were taken apart.
fn ways() -> Vec<(Isa, bool)> {
    let sets = Isa::available().into_iter();
    sets.flat_map(|isa| {
        let apart = matches!(isa, Isa::Avx2 | Isa::Avx512);
        [Some((isa, false)), apart.then_some((isa, true))].into_iter().flatten()
    })
    .collect()
}

/// Runs a convolution in parts, as threads would; `epilogue(requantiser, column)` gives a group's epilogue.
fn run(
    (isa, apart): (Isa, bool),
    x: &[u8],
    zero: u8,
    w: &[i8],
    bias: &[i32],
    shape: &ConvShape,
    requantiser: impl Fn(&[i32]) -> Requantiser,
    place: impl Fn(usize) -> (Output, Option<Residual>),
) {
    let [channels, height, width] = shape.input;
    let (depth, per_group) = (channels / shape.groups, shape.channels_out / shape.groups);
    let output_size = shape.output_size();
    let own = depth * shape.window.kernel[0] * shape.window.kernel[1];
    let packed: Vec<Packed> = (0..shape.groups)
        .map(|g| {
            Packed::new(&w[g * per_group * own..][..per_group * own], per_group, depth, shape.window.kernel)
        })
        .collect();
    let sums: Vec<i32> = packed.iter().flat_map(|p| p.sums[..per_group].iter().copied()).collect();
    let requantiser = requantiser(&fold_zero(bias, &sums, zero));
    let padding = vec![zero; depth.next_multiple_of(4)];
    // Three bytes more than the map has.
    let mut x = x.to_vec();
    x.extend([77; 3]);
    for (g, packed) in packed.iter().enumerate() {
        let mut input = MapIn::dense(x.as_ptr(), [height, width, channels]);
        input.data = input.data.wrapping_add(g * depth);
        let (output, residual) = place(g * per_group);
        let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
        let excess =
            apart.then(|| Excess::split(lanes, packed.panels(), Layout::new(depth, shape.window.kernel)));
        let c = Conv {
            input,
            window: shape.window,
            depth,
            padding: padding.as_ptr(),
            weights: Weights { excess: excess.as_ref(), ..packed.weights() },
            columns: per_group,
            output_size,
            epilogue: Epilogue { requantiser: &requantiser, column: g * per_group, output, residual },
        };
        let pixels = shape.batch * output_size[0] * output_size[1];
        let (cut, half) = (pixels / 3, panels(per_group) / 2);
        // SAFETY: all buffers were made for this shape.
        unsafe {
            conv(isa, &c, 0..cut, 0..panels(per_group));
            conv(isa, &c, cut..pixels, 0..half);
            conv(isa, &c, cut..pixels, half..panels(per_group));
        }
    }
}

/// What is drawn for a convolution.
#[derive(Clone, Debug)]
struct Case {
    shape: ConvShape,
    zero: u8,
    seven_bits: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let geometry = prop_oneof![3 => windows(), 1 => pointwise()];
    let depth = prop_oneof![3 => 1usize..20, 1 => prop::sample::select(vec![32usize, 64, 66, 100, 131])];
    let per_group = prop_oneof![3 => 1usize..40, 1 => 40usize..140];
    (geometry, 1usize..3, 1usize..4, depth, per_group, any::<u8>(), any::<bool>(), any::<u64>()).prop_map(
        |((window, pad_end, [height, width]), batch, groups, depth, per_group, zero, seven_bits, seed)| {
            let groups = if depth * per_group > 2000 { 1 } else { groups };
            let shape = ConvShape {
                batch,
                input: [depth * groups, height, width],
                channels_out: per_group * groups,
                window,
                pad_end,
                groups,
            };
            Case { shape, zero, seven_bits, seed }
        },
    )
}

impl Case {
    fn data(&self) -> (Vec<u8>, Vec<i8>, Vec<i32>) {
        let s = &self.shape;
        let taps = s.window.kernel[0] * s.window.kernel[1];
        let x = codes(s.batch * s.input.iter().product::<usize>(), self.seed);
        let w = weights(s.channels_out * s.input[0] / s.groups * taps, self.seed ^ 1, self.seven_bits);
        (x, w, biases(s.channels_out, self.seed ^ 2))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn sums_and_reals(case in cases()) {
        let (x, w, bias) = case.data();
        let expected = reference::conv(&x, case.zero, &w, &bias, &case.shape);
        let stride = case.shape.channels_out;
        let scale: Vec<f32> = (0..stride).map(|c| 0.01 + c as f32 * 0.003).collect();
        for isa in ways() {
            let mut sums = vec![i32::MIN; expected.len()];
            let data = sums.as_mut_ptr();
            run(isa, &x, case.zero, &w, &bias, &case.shape, Requantiser::sums, |c| {
                (Output::Sums { data: data.wrapping_add(c), stride }, None)
            });
            prop_assert!(sums == expected, "{isa:?}");
            let mut reals = vec![f32::NAN; expected.len()];
            let data = reals.as_mut_ptr();
            run(isa, &x, case.zero, &w, &bias, &case.shape, |bias| Requantiser::real(bias, &scale), |c| {
                (Output::Reals { data: data.wrapping_add(c), stride }, None)
            });
            for (i, (found, sum)) in reals.iter().zip(&expected).enumerate() {
                prop_assert_eq!(found.to_bits(), (*sum as f32 * scale[i % stride]).to_bits(), "{:?}", isa);
            }
        }
    }

    #[test]
    fn requantised(
        case in cases(), fixed in any::<bool>(), odd in any::<bool>(), own in target(), sum in target(),
        residual in any::<bool>(), ratio in prop::array::uniform2(prop_oneof![0.01f32..2.0, 0.0f32..100.0]),
        other in any::<u8>(), gap in 0usize..5,
    ) {
        let (x, w, bias) = case.data();
        let sums = reference::conv(&x, case.zero, &w, &bias, &case.shape);
        let columns = case.shape.channels_out;
        let spread = sums.iter().map(|s| f64::from(*s).abs()).fold(1.0, f64::max);
        let mode = Mode::new(columns, 300.0 / spread, fixed, odd, case.seed);
        let added = codes(sums.len(), case.seed ^ 4);
        let add = Add::new(ratio, [own.zero, other], 1.0, sum).unwrap();
        let stride = columns + gap;
        let mut expected = vec![99; sums.len() / columns * stride];
        for (i, s) in sums.iter().enumerate() {
            let mut q = mode.code(*s, i % columns, own);
            if residual { q = add.apply(q, added[i]); }
            expected[i / columns * stride + i % columns] = q;
        }
        for isa in ways() {
            let mut y = vec![99u8; expected.len()];
            let data = y.as_mut_ptr();
            run(isa, &x, case.zero, &w, &bias, &case.shape, |bias| mode.requantiser(bias, own), |c| {
                let map = Residual { data: added.as_ptr().wrapping_add(c), stride: columns, add };
                (Output::Codes { data: data.wrapping_add(c), stride }, residual.then_some(map))
            });
            prop_assert!(y == expected, "{isa:?}");
        }
    }
}

/// All products at the ends of their range: `vpmaddubsw` would saturate.
#[test]
fn extremes_do_not_saturate() {
    let window = Window { kernel: [3, 3], stride: [1, 1], pad: [1, 1], dilation: [1, 1] };
    for depth in [3, 4, 17, 64, 200] {
        let shape = ConvShape {
            batch: 1,
            input: [depth, 5, 5],
            channels_out: 33,
            window,
            pad_end: [1, 1],
            groups: 1,
        };
        for (code, weight) in [(255, -128), (255, 127), (0, -128), (255, -127)] {
            let x = vec![code; depth * 25];
            let w = vec![weight; 33 * depth * 9];
            let bias = vec![0; 33];
            let expected = reference::conv(&x, 3, &w, &bias, &shape);
            for isa in ways() {
                let mut sums = vec![i32::MIN; expected.len()];
                let data = sums.as_mut_ptr();
                run(isa, &x, 3, &w, &bias, &shape, Requantiser::sums, |c| {
                    (Output::Sums { data: data.wrapping_add(c), stride: 33 }, None)
                });
                assert_eq!(sums, expected, "{isa:?}, {depth} channels, {code} · {weight}");
            }
        }
    }
}

/// Sums at the ends of 32 bits, through the epilogue alone: a window of one zero weight.
#[test]
fn extreme_sums() {
    let window = Window { kernel: [1, 1], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
    let bias: Vec<i32> =
        [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX, 1 << 20, -1 << 20].repeat(9);
    let columns = bias.len();
    let shape =
        ConvShape { batch: 1, input: [4, 3, 3], channels_out: columns, window, pad_end: [0, 0], groups: 1 };
    let (x, w) = (vec![1; 36], vec![0; 4 * columns]);
    for fixed in [true, false] {
        for seed in 0..200 {
            let mode = Mode::new(columns, 2f64.powi((seed % 50) as i32 - 40), fixed, true, seed);
            let target = Target { zero: (seed * 37 % 256) as u8, low: 0, high: 255 - (seed % 3) as u8 };
            for isa in ways() {
                let mut y = vec![0u8; 9 * columns];
                let data = y.as_mut_ptr();
                run(
                    isa,
                    &x,
                    0,
                    &w,
                    &bias,
                    &shape,
                    |bias| mode.requantiser(bias, target),
                    |c| (Output::Codes { data: data.wrapping_add(c), stride: columns }, None),
                );
                for (i, q) in y.iter().enumerate() {
                    let c = i % columns;
                    assert_eq!(*q, mode.code(bias[c], c, target), "{isa:?} {} {mode:?}", bias[c]);
                }
            }
        }
    }
}
