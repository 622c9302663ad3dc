use ocelli_kernels::Isa;
use ocelli_kernels::conv::{self, Conv, MapIn, Window};
use ocelli_kernels::depthwise::{self, Depthwise};
use ocelli_kernels::gemm::{Epilogue, panels};
use ocelli_kernels::reference::{self, ConvShape};
use ocelli_kernels::winograd::{self, POINTS, Winograd};
use proptest::prelude::*;

use crate::util::{error, random};

fn map(data: &[f32], [channels, height, width]: [usize; 3]) -> MapIn {
    MapIn {
        data: data.as_ptr(),
        picture: height * width * channels,
        row: width * channels,
        pixel: channels,
        height,
        width,
    }
}

fn windows() -> impl Strategy<Value = (Window, [usize; 2], [usize; 2])> {
    let pair = |r: std::ops::Range<usize>| prop::array::uniform2(r);
    (pair(1..6), pair(1..4), pair(0..3), pair(1..3), pair(0..3), pair(0..14)).prop_map(
        |(kernel, stride, pad, dilation, pad_end, extra)| {
            let window = Window { kernel, stride, pad, dilation };
            // At least as large as the window without padding, so that there is an output.
            let size = [0, 1].map(|axis| (kernel[axis] - 1) * dilation[axis] + 1 + extra[axis]);
            (window, pad_end, size)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn dense_and_grouped(
        (window, pad_end, [height, width]) in windows(), batch in 1usize..3, groups in 1usize..4,
        depth in 1usize..20, per_group in 1usize..40, seed in any::<u64>(), residual in any::<bool>(),
    ) {
        let (channels, channels_out) = (depth * groups, per_group * groups);
        let shape = ConvShape { batch, input: [channels, height, width], channels_out, window, pad_end, groups };
        let x = random(batch * height * width * channels, seed);
        let weights = random(channels_out * depth * window.kernel[0] * window.kernel[1], seed ^ 1);
        let mut expected = reference::conv(&x, &weights, &shape);
        let added = random(expected.len(), seed ^ 2);
        let mut bias = random(channels_out, seed ^ 3);
        for (i, v) in expected.iter_mut().enumerate() {
            *v += bias[i % channels_out] + if residual { added[i] } else { 0.0 };
            *v = v.max(0.0);
        }
        bias.resize(channels_out + 16, 0.0);
        let [oh, ow] = shape.output_size();
        let zeros = vec![0.0f32; depth];
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; expected.len()];
            for g in 0..groups {
                let own = &weights[g * per_group * depth * window.kernel[0] * window.kernel[1]..]
                    [..per_group * depth * window.kernel[0] * window.kernel[1]];
                let packed = conv::pack_weights(own, per_group, depth, window.kernel);
                let mut input = map(&x, shape.input);
                input.data = input.data.wrapping_add(g * depth);
                let c = Conv {
                    input, window, depth, zeros: zeros.as_ptr(), weights: packed.as_ptr(), columns: per_group,
                    output: y.as_mut_ptr().wrapping_add(g * per_group), output_stride: channels_out,
                    output_size: [oh, ow],
                    epilogue: Epilogue {
                        bias: bias[g * per_group..].as_ptr(),
                        residual: if residual { added[g * per_group..].as_ptr() } else { std::ptr::null() },
                        residual_stride: channels_out, low: 0.0, high: f32::INFINITY,
                    },
                };
                let pixels = batch * oh * ow;
                let (cut, half) = (pixels / 3, panels(per_group) / 2);
                // SAFETY: all buffers were made for this shape.
                unsafe {
                    conv::conv(isa, &c, 0..cut, 0..panels(per_group));
                    conv::conv(isa, &c, cut..pixels, 0..half);
                    conv::conv(isa, &c, cut..pixels, half..panels(per_group));
                }
            }
            let found = error(&y, &expected);
            prop_assert!(found < 2e-6, "{isa}: {found:e}");
        }
    }

    #[test]
    fn depthwise((window, pad_end, [height, width]) in windows(), batch in 1usize..3, channels in 1usize..40, seed in any::<u64>()) {
        let shape = ConvShape { batch, input: [channels, height, width], channels_out: channels, window, pad_end, groups: channels };
        let x = random(batch * height * width * channels, seed);
        let taps = window.kernel[0] * window.kernel[1];
        let weights = random(channels * taps, seed ^ 1);
        let bias = random(channels, seed ^ 3);
        let mut expected = reference::conv(&x, &weights, &shape);
        for (i, v) in expected.iter_mut().enumerate() {
            *v = (*v + bias[i % channels]).clamp(0.0, 1.0);
        }
        let packed = depthwise::pack_weights(&weights, channels);
        let [oh, ow] = shape.output_size();
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; expected.len()];
            let d = Depthwise {
                input: map(&x, shape.input), window, channels, weights: packed.as_ptr(), bias: bias.as_ptr(),
                output: y.as_mut_ptr(), output_stride: channels, output_size: [oh, ow], low: 0.0, high: 1.0,
            };
            let rows = batch * oh;
            // SAFETY: all buffers were made for this shape.
            unsafe {
                depthwise::depthwise(isa, &d, 0..rows / 2, 0..channels);
                depthwise::depthwise(isa, &d, rows / 2..rows, 0..channels);
            }
            let found = error(&y, &expected);
            prop_assert!(found < 2e-6, "{isa}: {found:e}");
        }
    }

    #[test]
    fn winograd(
        height in 3usize..20, width in 3usize..20, pad in prop::array::uniform2(0usize..2),
        pad_end in prop::array::uniform2(0usize..2),
        batch in 1usize..3, depth in 1usize..40, columns in 1usize..40, seed in any::<u64>(), residual in any::<bool>(),
    ) {
        let window = Window { kernel: [3, 3], stride: [1, 1], pad, dilation: [1, 1] };
        let shape = ConvShape { batch, input: [depth, height, width], channels_out: columns, window, pad_end, groups: 1 };
        let x = random(batch * height * width * depth, seed);
        let weights = random(columns * depth * 9, seed ^ 1);
        let mut expected = reference::conv(&x, &weights, &shape);
        let added = random(expected.len(), seed ^ 2);
        let bias = random(columns, seed ^ 3);
        for (i, v) in expected.iter_mut().enumerate() {
            *v = (*v + bias[i % columns] + if residual { added[i] } else { 0.0 }).max(-0.25);
        }
        let packed = winograd::pack_weights(&weights, columns, depth);
        let output_size = shape.output_size();
        let block = 5;
        for isa in Isa::available() {
            let mut y = vec![f32::NAN; expected.len()];
            let mut transformed = vec![f32::NAN; POINTS * block * depth];
            let mut products = vec![f32::NAN; POINTS * block * columns];
            let w = Winograd {
                input: map(&x, shape.input), pad, depth, weights: packed.as_ptr(), columns,
                output: y.as_mut_ptr(), output_stride: columns, output_size,
                epilogue: Epilogue {
                    bias: bias.as_ptr(),
                    residual: if residual { added.as_ptr() } else { std::ptr::null() },
                    residual_stride: columns, low: -0.25, high: f32::INFINITY,
                },
                transformed: transformed.as_mut_ptr(), products: products.as_mut_ptr(), block,
            };
            let total = batch * w.tiles()[0] * w.tiles()[1];
            for first in (0..total).step_by(block) {
                let n = block.min(total - first);
                // SAFETY: all buffers were made for this shape.
                unsafe {
                    winograd::transform_input(isa, &w, first, 0..n);
                    for point in 0..POINTS {
                        winograd::multiply(isa, &w, n, point, 0..panels(columns));
                    }
                    winograd::transform_output(isa, &w, first, 0..n);
                }
            }
            let found = error(&y, &expected);
            prop_assert!(found < 2e-5, "{isa}: {found:e}");
        }
    }
}
