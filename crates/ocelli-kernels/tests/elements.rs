use ocelli_kernels::elementwise::{Function, Operation, Pair, Triple, binary, multiply_add, unary};
use ocelli_kernels::{Isa, reference, rows};
use proptest::prelude::*;

use crate::util::{error, error_at, random};

const FUNCTIONS: [Function; 23] = [
    Function::Clamp { low: -0.5, high: 1.5 },
    Function::LeakyRelu { slope: 0.1 },
    Function::Gelu,
    Function::Sigmoid,
    Function::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
    Function::HardSwish,
    Function::Silu,
    Function::Tanh,
    Function::Erf,
    Function::Exp,
    Function::Log,
    Function::Sqrt,
    Function::Reciprocal,
    Function::Neg,
    Function::Abs,
    Function::Sign,
    Function::Floor,
    Function::Ceil,
    Function::Round,
    Function::Trunc,
    Function::Sin,
    Function::Cos,
    Function::Not,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn functions_of_one(rows in 1usize..4, n in 1usize..70, gap in 0usize..4, seed in any::<u64>(), scale in 0.1f32..12.0) {
        let stride = n + gap;
        let positive = |f: Function| matches!(f, Function::Log | Function::Sqrt | Function::Reciprocal);
        for function in FUNCTIONS {
            let x: Vec<f32> = random(rows * stride, seed)
                .into_iter()
                .map(|v| if positive(function) { v.abs() * scale + 0.05 } else { v * scale })
                .collect();
            for isa in Isa::available() {
                let mut y = vec![7.0f32; rows * n];
                // SAFETY: the rows were made for these extents.
                unsafe { unary(isa, function, rows, n, x.as_ptr(), stride, y.as_mut_ptr(), n) };
                let expected: Vec<f32> =
                    (0..rows * n).map(|i| function.apply(x[i / n * stride + i % n])).collect();
                let largest = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
                let found = error_at(&y, &expected, largest);
                prop_assert!(found < 6e-7, "{isa} {function:?}: {found:e}");
            }
        }
    }

    #[test]
    fn functions_of_two(rows in 1usize..4, n in 1usize..70, a_step in 0usize..2, b_step in 0usize..2, seed in any::<u64>()) {
        let a = random(rows * n, seed);
        let b: Vec<f32> = random(rows * n, seed ^ 1).into_iter().map(|v| v + v.signum() * 0.1).collect();
        use Operation::*;
        for operation in [Add, Sub, Mul, Div, Min, Max, Equal, Less, LessEqual, Greater, GreaterEqual, And, Or] {
            let expected: Vec<f32> = (0..rows * n)
                .map(|i| {
                    let (row, i) = (i / n, i % n);
                    operation.apply(a[row * n + i * a_step], b[row * n + i * b_step]).clamp(-1.5, 2.0)
                })
                .collect();
            for isa in Isa::available() {
                let mut y = vec![7.0f32; rows * n];
                let pair = Pair { a: a.as_ptr(), a_step, b: b.as_ptr(), b_step, low: -1.5, high: 2.0 };
                // SAFETY: the rows were made for these extents.
                unsafe { binary(isa, operation, rows, n, pair, n, n, y.as_mut_ptr(), n) };
                let found = error(&y, &expected);
                prop_assert!(found < 1e-6, "{isa} {operation:?}: {found:e}");
            }
        }
    }

    #[test]
    fn products_and_sums(rows in 1usize..4, n in 1usize..70, b_step in 0usize..2, seed in any::<u64>()) {
        let (a, b, c) = (random(rows * n, seed), random(rows * n, seed ^ 1), random(rows * n, seed ^ 2));
        let expected: Vec<f32> = (0..rows * n)
            .map(|i| (a[i] * b[i / n * n + i % n * b_step] + c[i]).clamp(-0.5, 1.0))
            .collect();
        for isa in Isa::available() {
            let mut y = vec![7.0f32; rows * n];
            let x = Triple { a: a.as_ptr(), b: b.as_ptr(), b_step, c: c.as_ptr(), low: -0.5, high: 1.0 };
            // SAFETY: the rows were made for these extents.
            unsafe { multiply_add(isa, rows, n, x, [n, n, n], y.as_mut_ptr(), n) };
            let found = error(&y, &expected);
            prop_assert!(found < 1e-6, "{isa}: {found:e}");
        }
    }

    #[test]
    fn soft_max_and_norms(n in 1usize..200, seed in any::<u64>(), scale in 0.1f32..30.0, offset in -100.0f32..100.0) {
        let x: Vec<f32> = random(n, seed).into_iter().map(|v| v * scale + offset).collect();
        let (factor, shift) = (random(n, seed ^ 1), random(n, seed ^ 2));
        let expected = (reference::softmax(&x, 0.7), reference::layer_norm(&x, &factor, &shift, 1e-5));
        let total = x.iter().map(|&v| f64::from(v)).sum::<f64>() as f32;
        for isa in Isa::available() {
            let mut y = vec![0.0f32; n];
            // SAFETY: the rows were made for these extents.
            unsafe { rows::softmax(isa, x.as_ptr(), y.as_mut_ptr(), n, 0.7) };
            let found = error(&y, &expected.0);
            prop_assert!(found < 2e-5, "{isa} softmax: {found:e}");
            // SAFETY: as above.
            unsafe { rows::layer_norm(isa, x.as_ptr(), y.as_mut_ptr(), n, factor.as_ptr(), shift.as_ptr(), 1e-5) };
            // A mean that is large against the spread costs digits in any float32 sum.
            let found = error(&y, &expected.1);
            prop_assert!(found < 1e-5 * (1.0 + offset.abs() / scale), "{isa} layer norm: {found:e}");
            // SAFETY: as above.
            let sum = unsafe { rows::sum(isa, x.as_ptr(), n) };
            prop_assert!((sum - total).abs() <= 1e-6 * x.iter().map(|v| v.abs()).sum::<f32>().max(1.0), "{isa} sum");
        }
    }

    #[test]
    fn sums_over_pixels(pixels in 1usize..60, channels in 1usize..50, gap in 0usize..5, seed in any::<u64>()) {
        let stride = channels + gap;
        let x = random(pixels * stride, seed);
        let expected: Vec<f32> = (0..channels)
            .map(|c| ((0..pixels).map(|i| f64::from(x[i * stride + c])).sum::<f64>() * 0.25) as f32)
            .collect();
        for isa in Isa::available() {
            let mut y = vec![0.0f32; channels];
            // SAFETY: the map was made for these extents.
            unsafe { rows::sum_pixels(isa, x.as_ptr(), stride, pixels, channels, 0.25, y.as_mut_ptr()) };
            let found = error(&y, &expected);
            prop_assert!(found < 2e-6, "{isa}: {found:e}");
        }
    }
}

#[test]
fn not_a_number_stays_not_a_number() {
    for isa in Isa::available() {
        for function in [
            Function::Clamp { low: 0.0, high: 6.0 },
            Function::Gelu,
            Function::Sigmoid,
            Function::Silu,
            Function::HardSwish,
        ] {
            let x = [f32::NAN; 19];
            let mut y = [0.0f32; 19];
            // SAFETY: 19 elements on both sides.
            unsafe { unary(isa, function, 1, 19, x.as_ptr(), 19, y.as_mut_ptr(), 19) };
            assert!(y.iter().all(|v| v.is_nan()), "{isa} {function:?}: {y:?}");
        }
    }
}
