//! Winograd's convolutions of codes against the plain twin.

use ocelli_kernels::conv::Window;
use ocelli_kernels::gemm::panels;
use ocelli_kernels::int8::arithmetic::Add;
use ocelli_kernels::int8::weights::fold_zero;
use ocelli_kernels::int8::winograd::{Filters, MAX_DEPTH};
use ocelli_kernels::int8::{
    Epilogue, Isa, MapIn, Output, Packed, Requantiser, Residual, Winograd, reference, winograd,
};
use ocelli_kernels::reference::ConvShape;
use proptest::prelude::*;

use super::{Mode, biases, codes, target, weights};

/// Runs a convolution in parts, as threads would; `None` where the instruction set has no such kernel.
fn run(
    isa: Isa,
    x: &[u8],
    zero: u8,
    w: &[i8],
    shape: &ConvShape,
    requantiser: &Requantiser,
    output: Output,
    residual: Option<Residual>,
) -> Option<()> {
    let [depth, height, width] = shape.input;
    let filters = Filters::new(isa, shape.channels_out, depth, |o, c, tap| w[(o * depth + c) * 9 + tap])?;
    let x = Winograd {
        input: MapIn::dense(x.as_ptr(), [height, width, depth]),
        pad: shape.window.pad,
        depth,
        zero,
        filters: &filters,
        columns: shape.channels_out,
        output_size: shape.output_size(),
        epilogue: Epilogue { requantiser, column: 0, output, residual },
    };
    let tiles = shape.batch * x.tiles()[0] * x.tiles()[1];
    let (cut, panels) = (tiles / 3, panels(shape.channels_out));
    // SAFETY: all buffers were made for this shape.
    unsafe {
        winograd(isa, &x, 0..cut, 0..panels);
        winograd(isa, &x, cut..tiles, 0..panels / 2);
        winograd(isa, &x, cut..tiles, panels / 2..panels);
    }
    Some(())
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let pair = || prop::array::uniform2(0usize..3);
    (1usize..3, 1usize..24, prop::array::uniform2(3usize..13), 1usize..70, pair(), pair()).prop_map(
        |(batch, fours, [height, width], channels_out, pad, pad_end)| ConvShape {
            batch,
            input: [fours * 4, height, width],
            channels_out,
            window: Window { kernel: [3; 2], stride: [1; 2], pad, dilation: [1; 2] },
            pad_end,
            groups: 1,
        },
    )
}

fn column_sums(w: &[i8], shape: &ConvShape) -> Vec<i32> {
    Packed::new(w, shape.channels_out, shape.input[0], [3; 2]).sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn sums(shape in shapes(), zero in any::<u8>(), seed in any::<u64>()) {
        let x = codes(shape.batch * shape.input.iter().product::<usize>(), seed);
        let w = weights(shape.channels_out * shape.input[0] * 9, seed ^ 1, false);
        let bias = biases(shape.channels_out, seed ^ 2);
        let expected = reference::conv(&x, zero, &w, &bias, &shape);
        let requantiser = Requantiser::sums(&fold_zero(&bias, &column_sums(&w, &shape), zero));
        for isa in Isa::available() {
            let mut y = vec![i32::MIN; expected.len()];
            let output = Output::Sums { data: y.as_mut_ptr(), stride: shape.channels_out };
            if run(isa, &x, zero, &w, &shape, &requantiser, output, None).is_some() {
                prop_assert!(y == expected, "{isa}");
            }
        }
    }

    #[test]
    fn requantised(
        shape in shapes(), zero in any::<u8>(), seed in any::<u64>(), fixed in any::<bool>(),
        own in target(), sum in target(), residual in any::<bool>(), gap in 0usize..5,
    ) {
        let x = codes(shape.batch * shape.input.iter().product::<usize>(), seed);
        let w = weights(shape.channels_out * shape.input[0] * 9, seed ^ 1, false);
        let (columns, bias) = (shape.channels_out, biases(shape.channels_out, seed ^ 2));
        let sums = reference::conv(&x, zero, &w, &bias, &shape);
        let spread = sums.iter().map(|s| f64::from(*s).abs()).fold(1.0, f64::max);
        let mode = Mode::new(columns, 300.0 / spread, fixed, false, seed);
        let added = codes(sums.len(), seed ^ 4);
        let add = Add::new([0.7, 0.4], [own.zero, 9], 1.0, sum).unwrap();
        let stride = columns + gap;
        let mut expected = vec![99; sums.len() / columns * stride];
        for (i, s) in sums.iter().enumerate() {
            let mut q = mode.code(*s, i % columns, own);
            if residual { q = add.apply(q, added[i]); }
            expected[i / columns * stride + i % columns] = q;
        }
        let requantiser = mode.requantiser(&fold_zero(&bias, &column_sums(&w, &shape), zero), own);
        for isa in Isa::available() {
            let mut y = vec![99u8; expected.len()];
            let output = Output::Codes { data: y.as_mut_ptr(), stride };
            let map = Residual { data: added.as_ptr(), stride: columns, add };
            if run(isa, &x, zero, &w, &shape, &requantiser, output, residual.then_some(map)).is_some() {
                prop_assert!(y == expected, "{isa}");
            }
        }
    }
}

/// The largest sums there can be, at the ends of 32 bits where they are four times too large.
#[test]
fn extremes_do_not_overflow() {
    let shape = ConvShape {
        batch: 1,
        input: [MAX_DEPTH, 4, 5],
        channels_out: 3,
        window: Window { kernel: [3; 2], stride: [1; 2], pad: [1; 2], dilation: [1; 2] },
        pad_end: [1; 2],
        groups: 1,
    };
    for (code, weight) in [(255, -128), (255, 127)] {
        let x = vec![code; MAX_DEPTH * 20];
        let w = vec![weight; 3 * MAX_DEPTH * 9];
        let expected = reference::conv(&x, 0, &w, &[0; 3], &shape);
        let requantiser = Requantiser::sums(&[0; 3]);
        for isa in Isa::available() {
            let mut y = vec![i32::MIN; expected.len()];
            let output = Output::Sums { data: y.as_mut_ptr(), stride: 3 };
            if run(isa, &x, 0, &w, &shape, &requantiser, output, None).is_some() {
                assert_eq!(y, expected, "{isa}, {code} · {weight}");
            }
        }
    }
    assert!(Filters::new(Isa::Avx2, 1, MAX_DEPTH + 4, |_, _, _| 0).is_none());
}
