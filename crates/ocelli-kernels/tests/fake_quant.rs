//! Rounding with learned steps against its definition, on every instruction set of this machine.

use ocelli_kernels::Isa;
use ocelli_kernels::train::fake_quant::{backward, forward};
use proptest::prelude::*;

use crate::util::random;

proptest! {
    #[test]
    fn rounds_and_learns_as_defined(
        rows in 1usize..6,
        row in prop_oneof![1usize..70, Just(16384), Just(40000)],
        bits in 2u32..9,
        zero in 0u32..4,
        seed in any::<u64>(),
    ) {
        let high = (1 << bits) - 1 - (zero << (bits - 2)) as i32;
        let range = [(high - (1 << bits) + 1) as f32, high as f32];
        let mut x: Vec<f32> = random(rows * row, seed).iter().map(|x| x * 300.0).collect();
        let steps: Vec<f32> = random(rows, seed ^ 1).iter().map(|x| x.abs() + 0.5).collect();
        // Halves, and the ends of the range, are met exactly.
        for (i, x) in x.iter_mut().enumerate().filter(|(i, _)| i % 7 == 0) {
            *x = ((i as i32 % 50) as f32 - 20.5 + 0.5 * (i % 2) as f32) * steps[i / row];
        }
        let grad = random(rows * row, seed ^ 2);
        let mut of_steps = vec![0.0f64; rows];
        let mut size = vec![1.0f64; rows];
        let (mut y, mut of_x) = (Vec::new(), Vec::new());
        for (i, (v, g)) in x.iter().zip(&grad).enumerate() {
            let t = v / steps[i / row];
            let code = t.round_ties_even().clamp(range[0], range[1]);
            let inside = t > range[0] && t < range[1];
            y.push(code * steps[i / row]);
            of_x.push(if inside { *g } else { 0.0 });
            let term = f64::from(*g) * f64::from(if inside { code - t } else { code });
            of_steps[i / row] += term;
            size[i / row] += term.abs();
        }
        for isa in Isa::available() {
            prop_assert_eq!(&forward(isa, &x, &steps, range), &y);
            let (found, sums) = backward(isa, &x, &steps, range, &grad);
            prop_assert_eq!(&found, &of_x);
            for ((sum, want), size) in sums.iter().zip(&of_steps).zip(&size) {
                prop_assert!((f64::from(*sum) - want).abs() <= 1e-5 * size, "{isa}: {sum}, {want}");
            }
        }
    }
}
