//! Kernels on bits against their plain twins.

use ocelli_kernels::binary::{
    BinaryConv, BitMap, Extent, Filters, Finish, LANES, Norm, Padding, Threshold, border, convolve, ones,
    pack_filters, pack_signs, signs, sums, words,
};
use ocelli_kernels::conv::Window;
use ocelli_kernels::{Isa, reference};
use proptest::prelude::*;

use crate::util::random;

/// Packed signs of dense pixels.
fn packed(isa: Isa, x: &[f32], channels: usize, shift: Option<&[f32]>) -> Vec<u64> {
    let pixels = x.len() / channels;
    let mut bits = vec![u64::MAX; pixels * words(channels)];
    let shift = shift.map_or(std::ptr::null(), <[f32]>::as_ptr);
    // SAFETY: dense pixels of these channels.
    unsafe {
        pack_signs(isa, pixels, channels, x.as_ptr(), channels, shift, bits.as_mut_ptr(), words(channels));
    }
    bits
}

/// Random numbers with zeros of both signs among them.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut x = random(len, seed);
    for (i, v) in x.iter_mut().enumerate() {
        match i % 11 {
            3 => *v = 0.0,
            7 => *v = -0.0,
            _ => {}
        }
    }
    x
}

prop_compose! {
    fn shapes()(
        batch in 1usize..3, channels in prop_oneof![1usize..40, 60usize..140], out in 1usize..40,
        size in prop::array::uniform2(1usize..9), kernel in prop::array::uniform2(1usize..4),
        stride in prop::array::uniform2(1usize..4), dilation in prop::array::uniform2(1usize..3),
        pad in prop::array::uniform2(0usize..4), pad_end in prop::array::uniform2(0usize..4),
    ) -> reference::ConvShape {
        let reach = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1;
        // Maps smaller than the kernel are padded until it fits.
        let pad_end = core::array::from_fn(|axis| {
            pad_end[axis].max(reach(axis).saturating_sub(size[axis] + pad[axis]))
        });
        let window = Window { kernel, stride, pad, dilation };
        reference::ConvShape { batch, input: [channels, size[0], size[1]], channels_out: out, window, pad_end, groups: 1 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn sums_are_exact(shape in shapes(), seed in any::<u64>()) {
        let [channels, height, width] = shape.input;
        let x = numbers(shape.batch * height * width * channels, seed);
        let [kh, kw] = shape.window.kernel;
        let w = numbers(shape.channels_out * channels * kh * kw, seed ^ 1);
        let filters = Filters::of_weights(&w, shape.channels_out, channels, [kh, kw]);
        for (padding, beyond) in [(Padding::Zero, 0), (Padding::Plus, 1), (Padding::Minus, -1)] {
            let expected = reference::binary_conv(&x, &w, &shape, beyond);
            let extent = Extent {
                batch: shape.batch, size: [height, width], window: shape.window, pad_end: shape.pad_end, padding,
            };
            prop_assert_eq!(extent.output(), Some(shape.output_size()));
            for isa in Isa::available() {
                let bits = packed(isa, &x, channels, None);
                let found = sums(isa, &filters, &extent, &bits);
                prop_assert_eq!(found.as_ref(), Some(&expected), "{} {:?}", isa, padding);
            }
        }
    }

    #[test]
    fn signs_are_packed_alike(channels in 1usize..200, pixels in 1usize..5, seed in any::<u64>()) {
        let mut x = numbers(pixels * channels, seed);
        x[0] = [f32::NAN, -f32::NAN, f32::NEG_INFINITY, -f32::from_bits(1)][seed as usize % 4];
        let shift = numbers(channels, seed ^ 1);
        for shift in [None, Some(shift.as_slice())] {
            for isa in Isa::available() {
                let bits = packed(isa, &x, channels, shift);
                let mut numbers = vec![0.0f32; x.len()];
                // SAFETY: dense pixels of these channels.
                unsafe {
                    let shift = shift.map_or(std::ptr::null(), <[f32]>::as_ptr);
                    signs(isa, pixels, channels, x.as_ptr(), channels, shift, numbers.as_mut_ptr(), channels);
                }
                for (at, &v) in x.iter().enumerate() {
                    let (pixel, channel) = (at / channels, at % channels);
                    let bit = bits[pixel * words(channels) + channel / 64] >> (channel % 64) & 1;
                    let v = v + shift.map_or(0.0, |shift| shift[channel]);
                    prop_assert_eq!(bit == 1, v < 0.0, "{}: {} at {}", isa, v, at);
                    prop_assert_eq!(numbers[at], if v < 0.0 { -1.0 } else { 1.0 }, "{}: {} at {}", isa, v, at);
                }
                let beyond = bits.iter().skip(words(channels) - 1).step_by(words(channels));
                let used = ones(channels)[words(channels) - 1];
                prop_assert!(beyond.into_iter().all(|word| word & !used == 0), "{}", isa);
            }
        }
    }

    #[test]
    fn floats_and_bits_follow_from_sums(
        shape in shapes(), seed in any::<u64>(), extras in prop::array::uniform3(any::<bool>()),
    ) {
        let [channels, height, width] = shape.input;
        let x = numbers(shape.batch * height * width * channels, seed);
        let [kh, kw] = shape.window.kernel;
        let out = shape.channels_out;
        let w = numbers(out * channels * kh * kw, seed ^ 1);
        let filters = Filters::of_weights(&w, out, channels, [kh, kw]);
        let expected = reference::binary_conv(&x, &w, &shape, 0);
        let pixels = expected.len() / out;
        let (scale, offset, slope) = (random(out, seed ^ 2), random(out, seed ^ 3), random(out, seed ^ 4));
        let residual = random(pixels * out, seed ^ 5);
        let [with_offset, with_residual, with_slope] = extras;
        let bounds = if with_slope { (f32::NEG_INFINITY, f32::INFINITY) } else { (-1.5, 2.0) };
        let thresholds: Vec<Threshold> = (0..out)
            .map(|c| {
                let norm = Norm { gamma: scale[c], beta: offset[c], mean: slope[c], variance: 0.5, epsilon: 1e-5 };
                Threshold::fold(&norm, if c == 0 { 0.0 } else { 0.3 }, 0.1)
            })
            .collect();
        let (signs, limits): (Vec<f32>, Vec<f32>) = thresholds.iter().map(Threshold::as_comparison).unzip();
        let [oh, ow] = shape.output_size();
        for isa in Isa::available() {
            let bits = packed(isa, &x, channels, None);
            let edge = border(channels, Padding::Zero);
            let count = words(channels);
            // One number more per pixel than there are channels: it must be left alone.
            let (mut floats, stride) = (vec![7.0f32; pixels * (out + 1)], out + 1);
            let bytes = 8 * words(out);
            let mut found_bits = vec![0u8; pixels * bytes];
            let null = std::ptr::null();
            let finishes = [
                Finish::Floats {
                    output: floats.as_mut_ptr(), stride, scale: scale.as_ptr(),
                    offset: if with_offset { offset.as_ptr() } else { null },
                    residual: if with_residual { residual.as_ptr() } else { null },
                    residual_stride: out,
                    slope: if with_slope { slope.as_ptr() } else { null },
                    after: if with_slope { offset.as_ptr() } else { null },
                    low: bounds.0, high: bounds.1,
                },
                Finish::Bits { output: found_bits.as_mut_ptr(), stride: bytes, sign: signs.as_ptr(), bound: limits.as_ptr() },
            ];
            for finish in finishes {
                let conv = BinaryConv {
                    input: BitMap { data: bits.as_ptr(), picture: height * width * count, row: width * count, pixel: count, height, width },
                    window: shape.window, channels, padding: Padding::Zero, border: edge.as_ptr(),
                    weights: filters.panels.as_ptr(), tap_ones: filters.tap_ones.as_ptr(), columns: out,
                    output_size: [oh, ow], finish,
                };
                // In parts, as threads would.
                let (half, middle) = (pixels / 2, filters.panel_count() / 2);
                for (some, panels) in [
                    (0..half, 0..middle), (half..pixels, 0..middle),
                    (0..half, middle..filters.panel_count()), (half..pixels, middle..filters.panel_count()),
                ] {
                    // SAFETY: all buffers were made for these extents.
                    unsafe { convolve(isa, &conv, some, panels) };
                }
            }
            for (at, &sum) in expected.iter().enumerate() {
                let (pixel, c) = (at / out, at % out);
                let mut v = sum as f32 * scale[c];
                if with_offset { v += offset[c]; }
                if with_residual { v += residual[at]; }
                if with_slope { v = if v < 0.0 { v * slope[c] } else { v } + offset[c]; }
                let v = v.clamp(bounds.0, bounds.1);
                let error = (floats[pixel * stride + c] - v).abs();
                prop_assert!(error <= 1e-5 * (1.0 + v.abs()), "{}: {} not {}", isa, floats[pixel * stride + c], v);
                let bit = found_bits[pixel * bytes + c / 8] >> (c % 8) & 1;
                prop_assert_eq!(bit == 1, thresholds[c].is_negative(sum));
                // The rule itself, in float64, away from where rounding decides.
                let k = f64::from(scale[c]) / (0.5f64 + 1e-5).sqrt();
                let alpha = if c == 0 { 0.0 } else { f64::from(0.3f32) };
                let z = k * alpha * f64::from(sum) + f64::from(offset[c]) - f64::from(slope[c]) * k + f64::from(0.1f32);
                prop_assert!(z.abs() < 1e-9 || (bit == 1) == (z < 0.0), "{}: {}", isa, z);
            }
            prop_assert!(floats.chunks_exact(stride).all(|pixel| pixel[out] == 7.0));
            prop_assert_eq!(LANES, 8);
        }
    }
}

#[test]
fn filters_that_do_not_fit_are_refused() {
    let packed = pack_filters(&[1.0; 5 * 70 * 9], 5, 70, [3, 3]);
    assert_eq!(packed.len(), 5 * 9 * 2);
    assert!(Filters::new(&packed, 5, 70, [3, 3]).is_some());
    for (outputs, channels, kernel) in [
        (4, 70, [3, 3]),
        (5, 64, [3, 3]),
        (5, 70, [3, 0]),
        (0, 70, [3, 3]),
        (5, 0, [3, 3]),
        (usize::MAX, 70, [3, 3]),
    ] {
        assert_eq!(Filters::new(&packed, outputs, channels, kernel), None);
    }
    let filters = Filters::new(&packed, 5, 70, [3, 3]).unwrap();
    let window = Window { kernel: [3, 3], stride: [1, 1], pad: [0, 0], dilation: [1, 1] };
    let extent = |size| Extent { batch: 1, size, window, pad_end: [0, 0], padding: Padding::Zero };
    assert_eq!(sums(Isa::Portable, &filters, &extent([2, 5]), &[0; 20]), None, "smaller than the kernel");
    assert_eq!(sums(Isa::Portable, &filters, &extent([4, 5]), &[0; 20]), None, "too few words");
    assert_eq!(sums(Isa::Portable, &filters, &extent([4, 5]), &[0; 40]).map(|sums| sums.len()), Some(30));
}
