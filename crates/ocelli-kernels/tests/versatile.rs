//! Versatile filters ring by ring against their plain twin, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::versatile::{VersatileShape, forward};
use ocelli_kernels::train::{ConvShape, reference};
use proptest::prelude::*;

use crate::util::{error_at, random};

fn shapes() -> impl Strategy<Value = VersatileShape> {
    let map = (1usize..4, 1usize..20, 1usize..20);
    let window = (1usize..8, 1usize..3, 0usize..4, 1usize..3);
    let channels = (1usize..4, 1usize..20, 1usize..70);
    let versatile = (0usize..4, 0usize..4, 1usize..3, any::<bool>());
    (map, window, channels, versatile).prop_filter_map(
        "the window does not fit",
        |(map, window, channels, own)| {
            let (batch, height, width) = map;
            let (kernel, stride, padding, dilation) = window;
            let (groups, per_in, per_out) = channels;
            let (cores, windows, step, mask) = own;
            let delta = if groups == 1 { windows * step } else { 0 };
            let conv = ConvShape {
                batch,
                channels_in: groups * per_in,
                channels_out: groups * per_out,
                size: [height, width],
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [padding; 2],
                dilation: [dilation; 2],
                groups,
            };
            let nests = (cores + 1).min(kernel.div_ceil(2));
            let fits = conv.output_len() > 0 && delta < conv.channels_in;
            fits.then_some(VersatileShape { conv, nests, delta, step, mask })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn rings_make_what_masks_make(shape in shapes(), seed in 0u64..1000) {
        let x = random(shape.conv.input_len(), seed);
        let w = random(shape.conv.weights_len(), seed + 1);
        let bias = random(shape.maps(), seed + 2);
        let mut plain = reference::versatile(&shape, &x, &w);
        let absolute = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<_>>();
        let summed = reference::versatile(&shape, &absolute(&x), &absolute(&w));
        let scale = summed.iter().fold(1.0f32, |a, b| a.max(*b));
        for isa in Isa::available() {
            let found = forward(isa, &shape, &x, &w, None);
            prop_assert!(error_at(&found, &plain, scale) < 1e-6, "{isa}: {shape:?}");
        }
        let area = plain.len() / shape.conv.batch / shape.maps();
        for (at, value) in plain.iter_mut().enumerate() {
            *value += bias[at / area % shape.maps()];
        }
        let found = forward(Isa::best(), &shape, &x, &w, Some(&bias));
        prop_assert!(error_at(&found, &plain, scale) < 1e-6, "with bias: {shape:?}");
    }
}
