//! Pools, sums, gates and tables of codes against their plain twins.

use ocelli_kernels::int8::arithmetic::{
    Add, Fixed, Product, dequantise, mean, mean_multiplier, quantise, requantise_fixed,
};
use ocelli_kernels::int8::elementwise::{self, Gated};
use ocelli_kernels::int8::pool::Kind;
use ocelli_kernels::int8::{Isa, MapIn, Pooling, pool, reference};
use ocelli_kernels::pool::Kind as Plain;
use ocelli_kernels::reference::ConvShape;
use proptest::prelude::*;

use super::{codes, numbers, target, windows};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn additions(
        n in 0usize..300, ratio in prop::array::uniform2(prop_oneof![0.01f32..2.0, 0.0f32..127.0]),
        zeros in any::<[u8; 2]>(), target in target(), seed in any::<u64>(),
    ) {
        let (a, b) = (codes(n, seed), codes(n, seed ^ 1));
        let add = Add::new(ratio, zeros, 1.0, target).unwrap();
        let expected: Vec<u8> = a.iter().zip(&b).map(|(a, b)| add.apply(*a, *b)).collect();
        for isa in Isa::available() {
            let mut y = vec![0; n];
            // SAFETY: all of length n.
            unsafe { elementwise::add(isa, a.as_ptr(), b.as_ptr(), y.as_mut_ptr(), n, &add) };
            prop_assert!(y == expected, "{isa}");
        }
    }

    #[test]
    fn codes_and_numbers(n in 0usize..300, scale in 1e-3f32..10.0, zero in any::<u8>(), seed in any::<u64>()) {
        let mut next = numbers(seed);
        let x: Vec<f32> = (0..n)
            .map(|_| match next() % 16 {
                0 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0][next() as usize % 6],
                // Halves.
                1..4 => ((next() % 600) as f32 - 300.0 + 0.5) * scale,
                _ => ((next() % 60_000) as f32 / 100.0 - 300.0) * scale,
            })
            .collect();
        let expected: Vec<u8> = x.iter().map(|x| quantise(*x, scale, zero)).collect();
        let back: Vec<u32> = expected.iter().map(|q| dequantise(*q, scale, zero).to_bits()).collect();
        for isa in Isa::available() {
            let (mut y, mut z) = (vec![0; n], vec![0.0; n]);
            // SAFETY: all of length n.
            unsafe {
                elementwise::quantise(isa, x.as_ptr(), scale, zero, y.as_mut_ptr(), n);
                elementwise::dequantise(isa, y.as_ptr(), scale, zero, z.as_mut_ptr(), n);
            }
            prop_assert_eq!(&y, &expected, "{}", isa);
            prop_assert!(z.iter().map(|z| z.to_bits()).eq(back.iter().copied()), "{isa}");
        }
    }

    #[test]
    fn gates(
        pictures in 1usize..4, pixels in 1usize..20, channels in 1usize..150, zeros in any::<[u8; 2]>(),
        m in prop_oneof![1e-4f64..0.1, 1e-9f64..1000.0], target in target(), gap in 0usize..3, seed in any::<u64>(), float in any::<bool>(),
    ) {
        // With powers of two, products lie halfway between codes.
        let scales = [0.5, if channels % 2 == 0 { 0.25 } else { m as f32 }, 16.0];
        let by = if float { Product::Float(scales) } else { Product::Fixed(Fixed::new(m).unwrap()) };
        let (x, gates) = (codes(pictures * pixels * channels, seed), codes(pictures * channels, seed ^ 1));
        let y_stride = channels + gap;
        let mut expected = vec![9; pictures * pixels * y_stride];
        for (i, q) in x.iter().enumerate() {
            let (pixel, c) = (i / channels, i % channels);
            let gate = gates[pixel / pixels * channels + c];
            expected[pixel * y_stride + c] = by.apply(*q, gate, zeros, target);
        }
        for isa in Isa::available() {
            let mut y = vec![9; expected.len()];
            let g = Gated {
                x: x.as_ptr(), x_stride: channels, gates: gates.as_ptr(), channels, pixels, zeros, by, target,
                y: y.as_mut_ptr(), y_stride,
            };
            let (all, cut) = (pictures * pixels, pictures * pixels / 3);
            // SAFETY: the buffers were made for these extents.
            unsafe {
                elementwise::gate(isa, &g, 0..cut);
                elementwise::gate(isa, &g, cut..all);
            }
            prop_assert!(y == expected, "{isa}");
        }
    }

    #[test]
    fn tables(rows in 1usize..5, n in 0usize..200, gap in 0usize..3, zero in any::<u8>(), m in 0.01f64..3.0, target in target(), seed in any::<u64>()) {
        let table = elementwise::requantisation_table(zero, Fixed::new(m).unwrap(), target);
        let x = codes(rows * n, seed);
        let stride = n + gap;
        let mut expected = vec![9; rows * stride];
        for (i, q) in x.iter().enumerate() {
            expected[i / n * stride + i % n] =
                requantise_fixed(i32::from(*q) - i32::from(zero), Fixed::new(m).unwrap(), target);
        }
        for isa in Isa::available() {
            let mut y = vec![9; rows * stride];
            // SAFETY: the buffers were made for these extents.
            unsafe { elementwise::lookup(isa, &table, x.as_ptr(), n, y.as_mut_ptr(), stride, rows, n) };
            prop_assert!(y == expected, "{isa}");
        }
    }

    #[test]
    fn pooling(
        (window, pad_end, [height, width]) in windows(), batch in 1usize..3, channels in 1usize..150, zero in any::<u8>(),
        kind in prop::sample::select(vec![Plain::Max, Plain::Mean { count_padding: true }, Plain::Mean { count_padding: false }]),
        ratio in 0.1f32..3.0, target in target(), global in any::<bool>(), seed in any::<u64>(),
    ) {
        let mut shape = ConvShape { batch, input: [channels, height, width], channels_out: channels, window, pad_end, groups: channels };
        if global {
            shape.window = ocelli_kernels::conv::Window { kernel: [height, width], stride: [1; 2], pad: [0; 2], dilation: [1; 2] };
            shape.pad_end = [0; 2];
        }
        let taps = shape.window.kernel[0] * shape.window.kernel[1];
        let x = codes(batch * height * width * channels, seed);
        let by: Vec<Fixed> = (1..=taps).map(|n| mean_multiplier(ratio, 1.0, n).unwrap()).collect();
        let output_size = shape.output_size();
        let expected: Vec<u8> = reference::pool(&x, &shape, Plain::Mean { count_padding: false })
            .into_iter()
            .zip(reference::pool(&x, &shape, kind))
            .map(|((largest, sum, inside), (_, _, count))| match kind {
                Plain::Max => largest,
                _ => mean(sum, inside, zero, by[count.max(1) - 1], target),
            })
            .collect();
        let single = &by[taps - 1..];
        for isa in Isa::available() {
            let mut y = vec![9; expected.len()];
            let p = Pooling {
                input: MapIn::dense(x.as_ptr(), [height, width, channels]),
                window: shape.window, pad_end: shape.pad_end,
                kind: match kind {
                    Plain::Max => Kind::Max,
                    Plain::Mean { count_padding } => Kind::Mean { count_padding, by: if global { single } else { &by }, target },
                },
                channels, zero, output: y.as_mut_ptr(), output_stride: channels, output_size,
            };
            let rows = batch * output_size[0];
            // SAFETY: the buffers were made for these extents.
            unsafe {
                pool(isa, &p, 0..rows / 2);
                pool(isa, &p, rows / 2..rows);
            }
            prop_assert!(y == expected, "{isa}");
        }
    }
}

#[test]
fn a_table_of_an_activation() {
    let table = elementwise::table((0.1, 10), (0.05, 0), |x| x.max(0.0));
    assert_eq!(table[10], 0);
    assert_eq!(table[20], 20);
    assert_eq!(table[255], 255);
}
