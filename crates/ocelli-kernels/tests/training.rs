//! The training kernels against their plain twins, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::{ConvShape, conv, depthwise, norm, pool, reference};
use proptest::prelude::*;

/// The kernels on recycled memory: arbitrary numbers where fresh memory would be zero.
#[global_allocator]
static ALLOCATOR: ocelli_kernels::train::Recycler = ocelli_kernels::train::Recycler::new();

/// Numbers in `-1..1` that depend on the seed.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Rounding errors of a sum are relative to what is summed, not to the result, which may be close to zero by chance:
/// `summed` is the largest sum of the terms' absolute values.
#[track_caller]
fn close(fast: &[f32], plain: &[f32], summed: f32, what: &str) {
    assert_eq!(fast.len(), plain.len(), "{what}");
    for (i, (a, b)) in fast.iter().zip(plain).enumerate() {
        assert!((a - b).abs() <= 1e-6 * summed, "{what}: {a} is not {b} at {i}, of terms up to {summed}");
    }
}

fn absolute(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.abs()).collect()
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn shapes() -> impl Strategy<Value = ConvShape> {
    let extent = (1usize..5, 1usize..5, 0usize..4, 1usize..3);
    let channels = (1usize..4, 1usize..24, 1usize..40);
    ((1usize..4, 1usize..22, 1usize..22), extent.clone(), extent, channels).prop_filter_map(
        "the window does not fit",
        |((batch, height, width), v, h, (groups, per_in, per_out))| {
            let shape = ConvShape {
                batch,
                channels_in: groups * per_in,
                channels_out: groups * per_out,
                size: [height, width],
                kernel: [v.0, h.0],
                stride: [v.1, h.1],
                padding: [v.2, h.2],
                dilation: [v.3, h.3],
                groups,
            };
            (shape.output_len() > 0).then_some(shape)
        },
    )
}

fn check_conv(shape: &ConvShape, seed: u64) {
    let x = noise(shape.input_len(), seed);
    let w = noise(shape.weights_len(), seed + 1);
    let grad = noise(shape.output_len(), seed + 2);
    let bias = noise(shape.channels_out, seed + 3);
    let mut plain = reference::conv(shape, &x, &w);
    let data = reference::conv_backward_data(shape, &grad, &w);
    let weights = reference::conv_backward_weights(shape, &x, &grad);
    let (ax, aw, agrad) = (absolute(&x), absolute(&w), absolute(&grad));
    let of_y = largest(&reference::conv(shape, &ax, &aw));
    let of_data = largest(&reference::conv_backward_data(shape, &agrad, &aw));
    let of_weights = largest(&reference::conv_backward_weights(shape, &ax, &agrad));
    for isa in Isa::available() {
        close(&conv::forward(isa, shape, &x, &w, None), &plain, of_y, &format!("forward, {isa}, {shape:?}"));
        close(
            &conv::backward_data(isa, shape, &grad, &w),
            &data,
            of_data,
            &format!("data, {isa}, {shape:?}"),
        );
        close(
            &conv::backward_weights(isa, shape, &x, &grad),
            &weights,
            of_weights,
            &format!("weights, {isa}, {shape:?}"),
        );
        if shape.is_depthwise() {
            let fast = depthwise::forward(isa, shape, &x, &w, None);
            close(&fast, &plain, of_y, &format!("depthwise, {isa}, {shape:?}"));
            let (of_x, of_w) = depthwise::backward(isa, shape, &x, &w, &grad, true);
            close(&of_x, &data, of_data, &format!("depthwise data, {isa}, {shape:?}"));
            close(&of_w, &weights, of_weights, &format!("depthwise weights, {isa}, {shape:?}"));
        }
    }
    let area = shape.output()[0] * shape.output()[1];
    for (i, y) in plain.iter_mut().enumerate() {
        *y += bias[i / area % shape.channels_out];
    }
    close(&conv::forward(Isa::best(), shape, &x, &w, Some(&bias)), &plain, of_y + 1.0, "bias");
    if shape.is_depthwise() {
        close(
            &depthwise::forward(Isa::best(), shape, &x, &w, Some(&bias)),
            &plain,
            of_y + 1.0,
            "depthwise bias",
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn convolution_is_its_definition(shape in shapes(), seed in 0u64..1000) {
        check_conv(&shape, seed);
    }

    #[test]
    fn depthwise_is_its_definition(shape in shapes(), seed in 0u64..1000) {
        let channels = shape.channels_in.max(2);
        check_conv(&ConvShape { channels_in: channels, channels_out: channels, groups: channels, ..shape }, seed);
    }

    #[test]
    fn max_pooling_is_its_definition(
        planes in 1usize..4,
        v in (1usize..20, 2usize..4, 1usize..4, 0usize..2, 0usize..2),
        h in (1usize..20, 2usize..4, 1usize..4, 0usize..2, 0usize..2),
        seed in 0u64..1000,
    ) {
        // Windows may run over the end by the last number.
        let output = |(size, kernel, stride, padding, over): (usize, usize, usize, usize, usize)| {
            (size + 2 * padding).checked_sub(kernel).map_or(0, |room| room / stride + 1 + over)
        };
        let shape = pool::PoolShape {
            planes,
            size: [v.0, h.0],
            kernel: [v.1, h.1],
            stride: [v.2, h.2],
            padding: [v.3, h.3],
            output: [output(v), output(h)],
        };
        prop_assume!(shape.output.iter().all(|&extent| extent > 0));
        check_max_pool(&shape, seed);
    }

    #[test]
    fn channels_are_averaged_and_scaled(planes in 1usize..9, area in 1usize..70, seed in 0u64..1000) {
        let (x, grad) = (noise(planes * area, seed), noise(planes * area, seed + 1));
        let scale = noise(planes, seed + 2);
        let per_plane = |term: &dyn Fn(usize) -> f32| -> Vec<f32> {
            (0..planes).map(|p| (p * area..(p + 1) * area).map(term).sum()).collect()
        };
        close(&pool::mean_forward(&x, area), &per_plane(&|i| x[i] / area as f32), 1.0, "mean");
        let spread: Vec<f32> = (0..planes * area).map(|i| scale[i / area] / area as f32).collect();
        close(&pool::mean_backward(&scale, area), &spread, 1.0 / area as f32, "mean's gradient");
        let scaled: Vec<f32> = (0..planes * area).map(|i| scale[i / area] * x[i]).collect();
        close(&pool::scale_forward(&x, &scale), &scaled, 1.0, "scale");
        let (of_x, of_scale) = pool::scale_backward(&x, &scale, &grad);
        let plain: Vec<f32> = (0..planes * area).map(|i| scale[i / area] * grad[i]).collect();
        close(&of_x, &plain, 1.0, "scale's input");
        let summed = largest(&per_plane(&|i| (x[i] * grad[i]).abs()));
        close(&of_scale, &per_plane(&|i| x[i] * grad[i]), summed, "factors");
    }

    #[test]
    fn batch_norm_is_its_definition(
        (batch, channels, area) in (1usize..5, 1usize..6, 1usize..200),
        activation in 0usize..3,
        add in any::<bool>(),
        seed in 0u64..1000,
    ) {
        check_norm(norm::NormShape { batch, channels, area }, activation, add, seed);
    }
}

/// Extents as networks have them, with more terms than one pass takes.
#[test]
fn large_convolutions_are_their_definition() {
    for (batch, from, to, side, kernel, stride) in [
        (2, 3, 16, 40, 7, 2),
        (1, 96, 70, 14, 3, 1),
        (5, 130, 40, 7, 3, 2),
        (3, 700, 33, 5, 1, 1),
        (2, 40, 300, 28, 1, 2),
        (16, 64, 64, 2, 3, 1),
        (1, 8, 520, 24, 1, 1),
    ] {
        let shape = ConvShape {
            batch,
            channels_in: from,
            channels_out: to,
            size: [side, side + 1],
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
        };
        check_conv(&shape, side as u64);
    }
}

/// Sums must not depend on the number of threads.
#[test]
fn threads_do_not_change_a_bit() {
    let shape = ConvShape {
        batch: 3,
        channels_in: 20,
        channels_out: 72,
        size: [29, 31],
        kernel: [3; 2],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let (x, w) = (noise(shape.input_len(), 1), noise(shape.weights_len(), 2));
    let grad = noise(shape.output_len(), 3);
    let isa = Isa::best();
    let all = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            [
                conv::forward(isa, &shape, &x, &w, None),
                conv::backward_data(isa, &shape, &grad, &w),
                conv::backward_weights(isa, &shape, &x, &grad),
            ]
        })
    };
    assert!(all(1) == all(3));
}

fn check_max_pool(shape: &pool::PoolShape, seed: u64) {
    let [height, width] = shape.size;
    let x = noise(shape.planes * height * width, seed);
    let (mut output, mut sources) = (Vec::new(), Vec::new());
    for plane in 0..shape.planes {
        for (oy, ox) in (0..shape.output[0]).flat_map(|y| (0..shape.output[1]).map(move |x| (y, x))) {
            let (mut best, mut source) = (f32::NEG_INFINITY, None);
            for ky in 0..shape.kernel[0] {
                for kx in 0..shape.kernel[1] {
                    let y = (oy * shape.stride[0] + ky).wrapping_sub(shape.padding[0]);
                    let x_at = (ox * shape.stride[1] + kx).wrapping_sub(shape.padding[1]);
                    if y < height && x_at < width {
                        let at = (plane * height + y) * width + x_at;
                        if x[at] > best {
                            (best, source) = (x[at], Some(at));
                        }
                    }
                }
            }
            output.push(best);
            sources.push(source);
        }
    }
    let mut taps = Vec::new();
    for isa in Isa::available() {
        let (fast, found) = pool::max_forward(isa, shape, &x);
        assert_eq!(fast, output, "{isa}, {shape:?}");
        taps = found;
    }
    let grad = noise(output.len(), seed + 1);
    let mut plain = vec![0.0; x.len()];
    for (source, grad) in sources.iter().zip(&grad) {
        if let Some(at) = *source {
            plain[at] += grad;
        }
    }
    close(
        &pool::max_backward(shape, &taps, &grad),
        &plain,
        (shape.kernel[0] * shape.kernel[1]) as f32,
        "max pooling's gradient",
    );
}

fn check_norm(shape: norm::NormShape, activation: usize, add: bool, seed: u64) {
    let clamp = [norm::Clamp::NONE, norm::Clamp::RELU, norm::Clamp::RELU6][activation];
    let len = shape.batch * shape.channels * shape.area;
    let x: Vec<f32> = noise(len, seed).iter().map(|x| 3.0 * x + 1.0).collect();
    let (residual, grad) = (noise(len, seed + 1), noise(len, seed + 2));
    let (gain, shift) = (noise(shape.channels, seed + 3), noise(shape.channels, seed + 4));
    let epsilon = 1e-3;
    let channel = |i: usize| i / shape.area % shape.channels;
    let samples = shape.samples() as f64;
    let per_channel = |term: &dyn Fn(usize) -> f64| {
        let mut sums = vec![0.0f64; shape.channels];
        (0..len).for_each(|i| sums[channel(i)] += term(i));
        sums
    };
    let mean: Vec<f64> = per_channel(&|i| f64::from(x[i])).iter().map(|s| s / samples).collect();
    let variance: Vec<f64> =
        per_channel(&|i| (f64::from(x[i]) - mean[channel(i)]).powi(2)).iter().map(|s| s / samples).collect();
    let root: Vec<f64> = variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let hat = |i: usize| (f64::from(x[i]) - mean[channel(i)]) * root[channel(i)];
    let before = |i: usize| {
        let r = if add { f64::from(residual[i]) } else { 0.0 };
        hat(i) * f64::from(gain[channel(i)]) + f64::from(shift[channel(i)]) + r
    };
    let (low, high) = (f64::from(clamp.low), f64::from(clamp.high));
    let plain: Vec<f32> = (0..len).map(|i| before(i).max(low).min(high) as f32).collect();
    // A pixel at the very bound may fall on either side of it.
    if (0..len).any(|i| (before(i) - low).abs() < 1e-5 || (before(i) - high).abs() < 1e-5) {
        return;
    }
    let passed = |i: usize| if before(i) > low && before(i) < high { f64::from(grad[i]) } else { 0.0 };
    let of_shift = per_channel(&passed);
    let of_gain = per_channel(&|i| passed(i) * hat(i));
    let single = |list: &[f64]| list.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let of_x: Vec<f32> = (0..len)
        .map(|i| {
            let c = channel(i);
            let inner = passed(i) - of_shift[c] / samples - hat(i) * of_gain[c] / samples;
            (f64::from(gain[c]) * root[c] * inner) as f32
        })
        .collect();
    // What is summed: distances from the mean are differences of two numbers.
    let far = |i: usize| (f64::from(x[i]).abs() + mean[channel(i)].abs()) * root[channel(i)];
    let passed_far = per_channel(&|i| passed(i).abs() * far(i));
    let passed_all = per_channel(&|i| passed(i).abs());
    let most = |term: &dyn Fn(usize) -> f64| (0..len).map(term).fold(0.0, f64::max) as f32;
    let of_y = most(&|i| far(i) * f64::from(gain[channel(i)]).abs()) + 2.0;
    let of_input = most(&|i| {
        let c = channel(i);
        let inner = passed(i).abs() + passed_all[c] / samples + far(i) * passed_far[c] / samples;
        f64::from(gain[c]).abs() * root[c] * inner
    });
    let (of_gains, of_shifts) = (largest(&single(&passed_far)), largest(&single(&passed_all)));
    for isa in Isa::available() {
        let out = norm::forward(isa, shape, &x, &gain, &shift, epsilon, add.then_some(&residual[..]), clamp);
        close(&out.output, &plain, of_y, &format!("norm, {isa}"));
        close(&out.mean, &single(&mean), 4.0, "mean");
        close(&out.variance, &single(&variance), 64.0, "variance");
        let statistics = (&out.mean[..], &out.variance[..]);
        let output = add.then_some(&out.output[..]);
        let back = norm::backward(isa, shape, &x, &gain, &shift, statistics, epsilon, output, clamp, &grad);
        close(&back.shift, &single(&of_shift), of_shifts, "shift");
        close(&back.gain, &single(&of_gain), of_gains, "gain");
        close(&back.input, &of_x, of_input, &format!("input, {isa}"));
        if add {
            let plain: Vec<f32> = (0..len).map(|i| passed(i) as f32).collect();
            close(&back.residual, &plain, 1.0, "residual");
        }
    }
}
