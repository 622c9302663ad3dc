use ocelli_kernels::gemm::{Epilogue, Product, pack, panels, product};
use ocelli_kernels::{Isa, reference};
use proptest::prelude::*;

use crate::util::{error_at, random};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equals_the_plain_product(
        m in 1usize..40, n in 1usize..100, k in prop_oneof![1usize..70, 300usize..900], seed in any::<u64>(),
        bias in any::<bool>(), residual in any::<bool>(), accumulate in any::<bool>(), clamp in any::<bool>(),
        gap in 0usize..5,
    ) {
        let (a, b) = (random(m * k, seed), random(k * n, seed ^ 1));
        let stride = n + gap;
        let start = random(m * stride, seed ^ 2);
        let added = random(m * n, seed ^ 3);
        let mut shifts = random(n, seed ^ 4);
        let plain = reference::product(&a, &b, [m, k, n]);
        let mut expected = start.clone();
        for i in 0..m {
            for j in 0..n {
                let mut v = plain[i * n + j];
                if bias { v += shifts[j]; }
                if accumulate { v += start[i * stride + j]; }
                if residual { v += added[i * n + j]; }
                if clamp { v = v.clamp(-0.5, 0.75); }
                expected[i * stride + j] = v;
            }
        }
        shifts.resize(panels(n) * 16, 0.0);
        let packed = pack(k, n, |row, column| b[row * n + column]);
        for isa in Isa::available() {
            let mut c = start.clone();
            let x = Product {
                a: a.as_ptr(), a_stride: k, b: packed.as_ptr(), depth: k, columns: n,
                c: c.as_mut_ptr(), c_stride: stride, accumulate,
                epilogue: Epilogue {
                    bias: if bias { shifts.as_ptr() } else { std::ptr::null() },
                    residual: if residual { added.as_ptr() } else { std::ptr::null() },
                    residual_stride: n,
                    low: if clamp { -0.5 } else { f32::NEG_INFINITY },
                    high: if clamp { 0.75 } else { f32::INFINITY },
                },
            };
            // In two parts, as threads would.
            let (half, cut) = (panels(n) / 2, m / 3);
            // SAFETY: the operands were made for these extents.
            unsafe {
                product(isa, &x, 0..cut, 0..panels(n));
                product(isa, &x, cut..m, 0..half);
                product(isa, &x, cut..m, half..panels(n));
            }
            // Measured against the sums, of which the bounds may leave little.
            let found = error_at(&c, &expected, plain.iter().fold(1.0f32, |a, b| a.max(b.abs())));
            prop_assert!(found < 2e-6, "{isa}: {found:e}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_split() {
    let (m, n, k) = (50, 70, 1000);
    let (a, b) = (random(m * k, 1), random(k * n, 2));
    let packed = pack(k, n, |row, column| b[row * n + column]);
    for isa in Isa::available() {
        let run = |rows: &[[usize; 2]], columns: &[[usize; 2]]| {
            let mut c = vec![0.0f32; m * n];
            let x = Product {
                a: a.as_ptr(),
                a_stride: k,
                b: packed.as_ptr(),
                depth: k,
                columns: n,
                c: c.as_mut_ptr(),
                c_stride: n,
                accumulate: false,
                epilogue: Epilogue::NONE,
            };
            for rows in rows {
                for columns in columns {
                    // SAFETY: the operands were made for these extents.
                    unsafe { product(isa, &x, rows[0]..rows[1], columns[0]..columns[1]) };
                }
            }
            c
        };
        let all = panels(n);
        let whole = run(&[[0, m]], &[[0, all]]);
        assert_eq!(whole, run(&[[0, 1], [1, 30], [30, m]], &[[0, 1], [1, all]]), "{isa}");
    }
}
