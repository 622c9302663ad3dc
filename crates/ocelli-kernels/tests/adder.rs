//! Adder convolutions, for training and inference, on numbers and on codes.

use ocelli_kernels::Isa;
use ocelli_kernels::adder::sad::{CHANNELS, Coding, Encode, Filters, SadConv, codes, convolve, sums};
use ocelli_kernels::adder::{self, Finish, finish};
use ocelli_kernels::conv::{Conv, MapIn, Window, pack_weights};
use ocelli_kernels::gemm::{self, Epilogue};
use ocelli_kernels::reference::ConvShape as MapShape;
use ocelli_kernels::train::{ConvShape, adder as train, reference};
use proptest::prelude::*;

use crate::util::{error, error_at, random};

fn shapes() -> impl Strategy<Value = ConvShape> {
    let extent = (1usize..5, 1usize..4, 0usize..3, 1usize..3);
    ((1usize..4, 1usize..16, 1usize..16), extent.clone(), extent, (1usize..24, 1usize..40)).prop_filter_map(
        "the window does not fit",
        |((batch, height, width), v, h, (channels_in, channels_out))| {
            let shape = ConvShape {
                batch,
                channels_in,
                channels_out,
                size: [height, width],
                kernel: [v.0, h.0],
                stride: [v.1, h.1],
                padding: [v.2, h.2],
                dilation: [v.3, h.3],
                groups: 1,
            };
            (shape.output_len() > 0 && shape.output_len() * channels_in < 60_000).then_some(shape)
        },
    )
}

/// Small multiples of a quarter: exact ties occur.
fn quarters(mut x: Vec<f32>, ties: bool) -> Vec<f32> {
    if ties {
        x.iter_mut().for_each(|x| *x = (*x * 8.0).round() / 4.0);
    }
    x
}

fn map_shape(shape: &ConvShape) -> MapShape {
    MapShape {
        batch: shape.batch,
        input: [shape.channels_in, shape.size[0], shape.size[1]],
        channels_out: shape.channels_out,
        window: Window {
            kernel: shape.kernel,
            stride: shape.stride,
            pad: shape.padding,
            dilation: shape.dilation,
        },
        pad_end: shape.padding,
        groups: 1,
    }
}

fn on_maps(shape: &ConvShape, seed: u64) {
    let own = map_shape(shape);
    let [channels, height, width] = own.input;
    let output_size = own.output_size();
    let pixels = shape.batch * output_size[0] * output_size[1];
    let x = random(shape.input_len(), seed);
    let w = random(shape.weights_len(), seed + 1);
    let plain = adder::reference::conv(&x, &w, &own);
    let (packed, zeros) = (pack_weights(&w, own.channels_out, channels, shape.kernel), vec![0.0; channels]);
    for isa in Isa::available() {
        let mut y = vec![f32::NAN; plain.len()];
        let conv = Conv {
            input: MapIn {
                data: x.as_ptr(),
                picture: height * width * channels,
                row: width * channels,
                pixel: channels,
                height,
                width,
            },
            window: own.window,
            depth: channels,
            zeros: zeros.as_ptr(),
            weights: packed.as_ptr(),
            columns: own.channels_out,
            output: y.as_mut_ptr(),
            output_stride: own.channels_out,
            output_size,
            epilogue: Epilogue::NONE,
        };
        // SAFETY: the maps were made for these extents.
        unsafe { adder::conv(isa, &conv, 0..pixels, 0..gemm::panels(own.channels_out)) };
        assert!(error(&y, &plain) < 1e-5, "{isa}: {}", error(&y, &plain));
        let scale: Vec<f32> = random(own.channels_out, seed + 2);
        let offset = random(own.channels_out, seed + 3);
        let residual = random(y.len(), seed + 4);
        let sums = y.clone();
        let f = Finish {
            output: y.as_mut_ptr(),
            stride: own.channels_out,
            scale: scale.as_ptr(),
            offset: offset.as_ptr(),
            residual: residual.as_ptr(),
            residual_stride: own.channels_out,
            low: -0.5,
            high: 6.0,
        };
        // SAFETY: as above.
        unsafe { finish(isa, &f, 0, pixels, 0, own.channels_out) };
        for (i, y) in y.iter().enumerate() {
            let c = i % own.channels_out;
            let want = (sums[i] * scale[c] + offset[c] + residual[i]).clamp(-0.5, 6.0);
            assert!((y - want).abs() <= 1e-5 * (1.0 + sums[i]), "{isa}: {y} is not {want}");
        }
    }
}

fn on_codes(shape: &ConvShape, coding: Coding, groups: usize, seed: u64) {
    let own = map_shape(shape);
    let [channels, height, width] = own.input;
    let [oh, ow] = own.output_size();
    let pixels_in = shape.batch * height * width;
    let x: Vec<f32> = random(shape.input_len(), seed).iter().map(|x| x * 3.0).collect();
    let w: Vec<f32> = random(shape.weights_len(), seed + 1).iter().map(|w| w * 3.0).collect();
    let labels: Vec<u8> = random(own.channels_out, seed + 2)
        .iter()
        .map(|r| ((r + 1.0) / 2.0 * groups as f32).min(groups as f32 - 1.0) as u8)
        .collect();
    let scales: Vec<f32> = (0..groups).map(|g| 0.7 + g as f32).collect();
    let filter = w.len() / own.channels_out;
    let weight_codes: Vec<i8> = w
        .iter()
        .enumerate()
        .map(|(i, w)| coding.weight(*w, scales[usize::from(labels[i / filter])]))
        .collect();
    let activations: Vec<Vec<i16>> =
        scales.iter().map(|s| x.iter().map(|x| coding.activation(*x, *s)).collect()).collect();
    let plain = adder::reference::sad(&activations, &weight_codes, &labels, coding.signed, &own);
    let taps = shape.kernel[0] * shape.kernel[1];
    let filters =
        Filters::new(&weight_codes, &labels, groups, channels, taps, coding.signed).expect("they fit");
    let padded = filters.channels;
    assert!(padded >= channels && padded.is_multiple_of(CHANNELS));
    let edge: Vec<u8> = (0..padded).map(|c| if c < channels { coding.zero() } else { 0 }).collect();
    let ones = vec![1.0f32; own.channels_out];
    let constants: Vec<f32> = filters.constants.iter().map(|c| *c as f32).collect();
    let pixels = shape.batch * oh * ow;
    for isa in Isa::available() {
        let mut bytes = vec![0xaau8; groups * pixels_in * padded];
        for (group, scale) in scales.iter().enumerate() {
            let encode = Encode {
                x: x.as_ptr(),
                stride: channels,
                pixels: pixels_in,
                channels,
                coding,
                scale: *scale,
                out: bytes[group * pixels_in * padded..].as_mut_ptr(),
                padded,
            };
            // SAFETY: the buffers were made for these extents.
            unsafe { codes(isa, &encode) };
        }
        let mut y = vec![0.0f32; plain.len()];
        let conv = SadConv {
            codes: bytes.as_ptr(),
            group: pixels_in * padded,
            size: [height, width],
            window: own.window,
            channels: padded,
            edge: edge.as_ptr(),
            weights: filters.packed.as_ptr(),
            groups: filters.groups.as_ptr(),
            group_count: groups,
            sums: filters.sums(),
            places: filters.places.as_ptr(),
            outputs: own.channels_out,
            output_size: [oh, ow],
            finish: Finish {
                output: y.as_mut_ptr(),
                stride: own.channels_out,
                scale: ones.as_ptr(),
                offset: constants.as_ptr(),
                residual: std::ptr::null(),
                residual_stride: 0,
                low: f32::NEG_INFINITY,
                high: f32::INFINITY,
            },
        };
        let mut found = vec![-1i32; pixels * filters.sums()];
        // SAFETY: as above.
        unsafe { sums(isa, &conv, 0..pixels, found.as_mut_ptr()) };
        for (at, want) in plain.iter().enumerate() {
            let (pixel, o) = (at / own.channels_out, at % own.channels_out);
            let sum = found[pixel * filters.sums() + filters.places[o] as usize] + filters.constants[o];
            assert_eq!(sum, *want, "{isa}, output {at} of {shape:?}, {coding:?}");
        }
        // SAFETY: as above, in two parts.
        unsafe {
            convolve(isa, &conv, 0..pixels / 3);
            convolve(isa, &conv, pixels / 3..pixels);
        }
        assert!(y.iter().zip(&plain).all(|(y, want)| *y == *want as f32), "{isa}");
    }
}

fn on_training(shape: &ConvShape, ties: bool, seed: u64) {
    let x = quarters(random(shape.input_len(), seed), ties);
    let w = quarters(random(shape.weights_len(), seed + 1), ties);
    let grad = random(shape.output_len(), seed + 2);
    let plain = reference::adder(shape, &x, &w);
    let data = reference::adder_backward_data(shape, &x, &w, &grad);
    let weights = reference::adder_backward_weights(shape, &x, &w, &grad);
    let terms = (shape.output_len() / shape.channels_out) as f32;
    for isa in Isa::available() {
        let y = train::forward(isa, shape, &x, &w, None);
        assert!(error(&y, &plain) < 1e-5, "forward, {isa}, {shape:?}: {}", error(&y, &plain));
        let own = train::backward_data(isa, shape, &x, &w, &grad);
        assert!(error(&own, &data) < 1e-5, "input, {isa}, {shape:?}: {}", error(&own, &data));
        let own = train::backward_weights(isa, shape, &x, &w, &grad);
        assert!(error_at(&own, &weights, terms) < 1e-5, "weights, {isa}, {shape:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn training_is_the_plain_twin(shape in shapes(), ties in any::<bool>(), seed in any::<u32>()) {
        on_training(&shape, ties, seed.into());
    }

    #[test]
    fn maps_are_the_plain_twin(shape in shapes(), seed in any::<u32>()) {
        on_maps(&shape, seed.into());
    }

    #[test]
    fn codes_are_the_plain_twin_to_the_bit(
        shape in shapes(),
        bits in 2u8..9,
        signed in any::<bool>(),
        groups in 1usize..6,
        seed in any::<u32>(),
    ) {
        on_codes(&shape, Coding { bits, signed }, groups, seed.into());
    }
}

#[test]
fn a_wide_layer_does_not_run_over() {
    let shape = ConvShape {
        batch: 1,
        channels_in: 1100,
        channels_out: 33,
        size: [2, 3],
        kernel: [3, 3],
        stride: [1; 2],
        padding: [1; 2],
        dilation: [1; 2],
        groups: 1,
    };
    on_codes(&shape, Coding { bits: 8, signed: false }, 2, 5);
    on_codes(&shape, Coding { bits: 8, signed: true }, 1, 6);
    on_training(&shape, false, 7);
}

#[test]
fn a_gradient_of_nothing_stays_nothing() {
    let mut raw = vec![0.0; 12];
    train::adapt(&mut raw, 0.2);
    assert_eq!(raw, vec![0.0; 12]);
    let mut raw = vec![3.0, -4.0];
    train::adapt(&mut raw, 0.2);
    let length = raw.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!((length - 0.2 * 2f32.sqrt()).abs() < 1e-6, "{length}");
}
