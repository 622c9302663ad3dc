//! The plain twins of the fast kernels: slices, loops, nothing else. Tests compare against them.

/// `c[m][n] = Σ_k a[m][k] b[k][n]`, all row-major and dense.
pub fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|x| a[i * k + x] * b[x * n + j]).sum();
        }
    }
    c
}
