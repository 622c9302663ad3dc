//! Depthwise convolutions of codes against their plain twin.

use ocelli_kernels::conv::Window;
use ocelli_kernels::int8::depthwise::Filters;
use ocelli_kernels::int8::weights::fold_zero;
use ocelli_kernels::int8::{Depthwise, Isa, MapIn, depthwise, reference};
use ocelli_kernels::reference::ConvShape;
use proptest::prelude::*;

use super::{Mode, biases, codes, target, weights, windows};

/// Windows that have fast paths.
fn squares() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let pair = |r: std::ops::Range<usize>| prop::array::uniform2(r);
    (prop::sample::select(vec![3usize, 5]), 1usize..3, pair(0..4), pair(0..4), pair(0..14)).prop_map(
        |(side, stride, pad, pad_end, extra)| {
            let window = Window { kernel: [side; 2], stride: [stride; 2], pad, dilation: [1; 2] };
            (window, pad_end, extra.map(|e| side + e))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equals_the_plain_twin(
        (window, pad_end, [height, width]) in prop_oneof![2 => squares(), 1 => windows()],
        batch in 1usize..3, channels in prop_oneof![1usize..40, 40usize..200], zero in any::<u8>(),
        seven_bits in any::<bool>(), fixed in any::<bool>(), odd in any::<bool>(), target in target(),
        gap in 0usize..5, seed in any::<u64>(),
    ) {
        let shape =
            ConvShape { batch, input: [channels, height, width], channels_out: channels, window, pad_end, groups: channels };
        let taps = window.kernel[0] * window.kernel[1];
        let x = codes(batch * height * width * channels, seed);
        let w = weights(channels * taps, seed ^ 1, seven_bits);
        let bias = biases(channels, seed ^ 2);
        let sums = reference::conv(&x, zero, &w, &bias, &shape);
        let spread = sums.iter().map(|s| f64::from(*s).abs()).fold(1.0, f64::max);
        let mode = Mode::new(channels, 300.0 / spread, fixed, odd, seed);
        let output_stride = channels + gap;
        let mut expected = vec![99; sums.len() / channels * output_stride];
        for (i, s) in sums.iter().enumerate() {
            expected[i / channels * output_stride + i % channels] = mode.code(*s, i % channels, target);
        }
        let filters = Filters::new(&w, channels, window.kernel);
        let requantiser = mode.requantiser(&fold_zero(&bias, &filters.sums, zero), target);
        let output_size = shape.output_size();
        for isa in Isa::available() {
            let mut y = vec![99u8; expected.len()];
            let d = Depthwise {
                input: MapIn::dense(x.as_ptr(), [height, width, channels]),
                window, channels, zero, filters: filters.data(), seven_bits, output_size,
                requantiser: &requantiser, output: y.as_mut_ptr(), output_stride,
            };
            let (rows, cut) = (batch * output_size[0], channels / 3);
            // SAFETY: all buffers were made for this shape.
            unsafe {
                depthwise(isa, &d, 0..rows / 2, 0..channels);
                depthwise(isa, &d, rows / 2..rows, 0..cut);
                depthwise(isa, &d, rows / 2..rows, cut..channels);
            }
            prop_assert!(y == expected, "{isa}");
        }
    }
}
