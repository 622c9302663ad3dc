use ocelli_kernels::conv::{MapIn, Window};
use ocelli_kernels::layout;
use ocelli_kernels::pool::{Kind, Pooling, pool};
use ocelli_kernels::reference::{self, ConvShape};
use ocelli_kernels::resize::{Resize, Taps, resize};
use ocelli_kernels::{Isa, gemm};
use proptest::prelude::*;

use crate::util::{error, random};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn pooling(
        kernel in prop::array::uniform2(1usize..4), stride in prop::array::uniform2(1usize..4),
        pad in prop::array::uniform2(0usize..2), pad_end in prop::array::uniform2(0usize..2),
        extra in prop::array::uniform2(0usize..9), batch in 1usize..3, channels in 1usize..40, seed in any::<u64>(),
        which in 0usize..3,
    ) {
        // Padding reaches at most half a window, as everywhere.
        let pad = [pad[0].min(kernel[0] / 2), pad[1].min(kernel[1] / 2)];
        let pad_end = [pad_end[0].min(kernel[0] / 2), pad_end[1].min(kernel[1] / 2)];
        let window = Window { kernel, stride, pad, dilation: [1, 1] };
        let input = [channels, kernel[0] + extra[0], kernel[1] + extra[1]];
        let shape = ConvShape { batch, input, channels_out: channels, window, pad_end, groups: 1 };
        let kind = [Kind::Max, Kind::Mean { count_padding: true }, Kind::Mean { count_padding: false }][which];
        let x = random(batch * channels * input[1] * input[2], seed);
        let expected = reference::pool(&x, &shape, kind);
        let output_size = shape.output_size();
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; expected.len()];
            let p = Pooling {
                input: MapIn {
                    data: x.as_ptr(), picture: input[1] * input[2] * channels, row: input[2] * channels,
                    pixel: channels, height: input[1], width: input[2],
                },
                window, pad_end, kind, channels, output: y.as_mut_ptr(), output_stride: channels, output_size,
            };
            // SAFETY: all buffers were made for this shape.
            unsafe { pool(isa, &p, 0..batch * output_size[0]) };
            let found = error(&y, &expected);
            prop_assert!(found < 1e-6, "{isa} {kind:?}: {found:e}");
        }
    }

    #[test]
    fn resizing(h in 1usize..7, w in 1usize..7, oh in 1usize..9, ow in 1usize..9, channels in 1usize..40, seed in any::<u64>()) {
        let x = random(2 * h * w * channels, seed);
        let axis = |n: usize, to: usize, seed: u64| -> Vec<Taps> {
            let weights = random(to * 4, seed);
            (0..to)
                .map(|i| Taps {
                    at: std::array::from_fn(|j| (i * 7 + j * 3) % n),
                    weight: std::array::from_fn(|j| weights[i * 4 + j]),
                    count: 1 + i % 4,
                })
                .collect()
        };
        let (rows, columns) = (axis(h, oh, seed ^ 1), axis(w, ow, seed ^ 2));
        let mut expected = Vec::new();
        for n in 0..2 {
            for r in &rows {
                for q in &columns {
                    for c in 0..channels {
                        let mut sum = 0.0f64;
                        for i in 0..r.count {
                            for j in 0..q.count {
                                let v = x[((n * h + r.at[i]) * w + q.at[j]) * channels + c];
                                sum += f64::from(v) * f64::from(r.weight[i]) * f64::from(q.weight[j]);
                            }
                        }
                        expected.push(sum as f32);
                    }
                }
            }
        }
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; expected.len()];
            let map = MapIn {
                data: x.as_ptr(), picture: h * w * channels, row: w * channels, pixel: channels, height: h, width: w,
            };
            let r = Resize {
                input: map, rows: &rows, columns: &columns, channels, output: y.as_mut_ptr(), output_stride: channels,
            };
            // SAFETY: all buffers were made for this shape.
            unsafe { resize(isa, &r, 0..2 * oh) };
            let found = error(&y, &expected);
            prop_assert!(found < 2e-6, "{isa}: {found:e}");
        }
    }

    #[test]
    fn transposing_and_packing(rows in 1usize..50, columns in 1usize..50, seed in any::<u64>()) {
        let x = random(rows * columns, seed);
        let mut y = vec![0.0f32; rows * columns];
        // SAFETY: both sides hold all elements.
        unsafe { layout::transpose(x.as_ptr(), rows, y.as_mut_ptr(), columns, rows, columns) };
        for i in 0..rows {
            for j in 0..columns {
                prop_assert_eq!(y[i * columns + j], x[i + j * rows]);
            }
        }
        for strides in [[columns, 1], [1, rows]] {
            let expected = gemm::pack(rows, columns, |k, j| x[k * strides[0] + j * strides[1]]);
            let mut packed = vec![f32::NAN; gemm::packed_len(rows, columns)];
            // SAFETY: the room was made for these extents.
            unsafe { layout::pack_strided(x.as_ptr(), strides[0], strides[1], rows, columns, packed.as_mut_ptr()) };
            prop_assert_eq!(&packed, &expected);
        }
    }
}
