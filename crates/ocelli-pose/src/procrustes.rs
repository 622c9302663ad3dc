//! The similarity transform that brings one set of points closest to another, in float64.

/// Points in space.
type Points<'a> = &'a [[f64; 3]];

/// `prediction` rotated, scaled and shifted so that it lies closest to `target` (Frobenius norm). Mirror images are not matched.
///
/// Where all points of one of them coincide there is no rotation to speak of: everything collapses to the target's mean.
///
/// # Panics
/// If the two differ in length: a mistake in the caller's code.
pub fn align(target: Points<'_>, prediction: Points<'_>) -> Vec<[f64; 3]> {
    assert_eq!(target.len(), prediction.len(), "as many points in both");
    let (mean_x, mean_y) = (mean(target), mean(prediction));
    let (x, norm_x) = unit(target, mean_x);
    let (y, norm_y) = unit(prediction, mean_y);
    let (Some(x), Some(y)) = (x, y) else { return vec![mean_x; target.len()] };
    let mut a = [[0.0; 3]; 3];
    for (p, q) in x.iter().zip(&y) {
        for i in 0..3 {
            for j in 0..3 {
                a[i][j] += p[i] * q[j];
            }
        }
    }
    let (u, mut s, mut v) = svd(a);
    if det(product_abt(&v, &u)) < 0.0 {
        // A reflection would fit better: turn the weakest direction round.
        v.iter_mut().for_each(|row| row[2] = -row[2]);
        s[2] = -s[2];
    }
    let turn = product_abt(&v, &u);
    let scale = s.iter().sum::<f64>() * norm_x / norm_y;
    prediction
        .iter()
        .map(|p| {
            let centred: [f64; 3] = std::array::from_fn(|i| p[i] - mean_y[i]);
            std::array::from_fn(|j| mean_x[j] + scale * (0..3).map(|i| centred[i] * turn[i][j]).sum::<f64>())
        })
        .collect()
}

fn mean(points: Points<'_>) -> [f64; 3] {
    let count = points.len().max(1) as f64;
    std::array::from_fn(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / count)
}

/// The points around their mean at a Frobenius norm of 1, nothing if they coincide; and the norm.
fn unit(points: Points<'_>, mean: [f64; 3]) -> (Option<Vec<[f64; 3]>>, f64) {
    let centred: Vec<[f64; 3]> =
        points.iter().map(|point| std::array::from_fn(|axis| point[axis] - mean[axis])).collect();
    let norm = centred.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
    let size = points.iter().flatten().fold(1e-3, |size: f64, v| size.max(v.abs()));
    // Rounding leaves coinciding points a little apart.
    let spread = (norm > 1e-12 * size).then(|| centred.iter().map(|p| p.map(|v| v / norm)).collect());
    (spread, norm)
}

type Matrix = [[f64; 3]; 3];

/// `a bᵀ`
fn product_abt(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[j][k]).sum()))
}

fn det(m: Matrix) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

fn column(m: &Matrix, j: usize) -> [f64; 3] {
    [m[0][j], m[1][j], m[2][j]]
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a = u diag(s) vᵀ` with `s` descending, by one-sided Jacobi rotations. Columns of `u` that `a` says nothing about complete a basis.
pub(crate) fn svd(a: Matrix) -> (Matrix, [f64; 3], Matrix) {
    let mut work = a;
    let mut v = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _sweep in 0..60 {
        let mut off = 0.0f64;
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            let (cp, cq) = (column(&work, p), column(&work, q));
            let (alpha, beta, gamma) = (dot(cp, cp), dot(cq, cq), dot(cp, cq));
            if gamma.abs() <= f64::EPSILON * (alpha * beta).sqrt() || gamma == 0.0 {
                continue;
            }
            off = off.max(gamma.abs() / (alpha * beta).sqrt().max(f64::MIN_POSITIVE));
            let zeta = (beta - alpha) / (2.0 * gamma);
            let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
            let c = 1.0 / (1.0 + t * t).sqrt();
            let s = c * t;
            for m in [&mut work, &mut v] {
                for row in m.iter_mut() {
                    let (x, y) = (row[p], row[q]);
                    row[p] = c * x - s * y;
                    row[q] = s * x + c * y;
                }
            }
        }
        if off < 1e-15 {
            break;
        }
    }
    let mut order = [0, 1, 2];
    let norms: [f64; 3] = std::array::from_fn(|j| dot(column(&work, j), column(&work, j)).sqrt());
    order.sort_by(|&i, &j| norms[j].total_cmp(&norms[i]));
    let s = order.map(|j| norms[j]);
    let sorted_v: Matrix = std::array::from_fn(|i| order.map(|j| v[i][j]));
    let floor = s[0] * 1e-14;
    let mut columns: [[f64; 3]; 3] = [[0.0; 3]; 3];
    for k in 0..3 {
        columns[k] =
            if s[k] > floor { column(&work, order[k]).map(|v| v / s[k]) } else { completing(&columns[..k]) };
    }
    let u: Matrix = std::array::from_fn(|i| std::array::from_fn(|j| columns[j][i]));
    (u, s, sorted_v)
}

/// A unit vector perpendicular to those given (at most two, perpendicular unit vectors).
fn completing(given: &[[f64; 3]]) -> [f64; 3] {
    match given {
        [] => [1.0, 0.0, 0.0],
        [a] => {
            let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
            let far = (0..3).min_by(|&i, &j| a[i].abs().total_cmp(&a[j].abs())).unwrap_or(0);
            let c = cross(*a, axes[far]);
            let norm = dot(c, c).sqrt();
            c.map(|v| v / norm)
        }
        [a, b, ..] => cross(*a, *b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_multiply_to_the_matrix_whatever_its_rank() {
        let full = [[1.0, 2.0, -0.5], [0.3, -1.0, 4.0], [2.0, 0.1, 1.0]];
        let one = [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [-1.0, -2.0, -3.0]];
        let two = [[1.0, 2.0, 0.0], [0.5, -4.0, 0.0], [-1.0, -2.0, 0.0]];
        for a in [full, one, two, [[0.0; 3]; 3]] {
            let (u, s, v) = svd(a);
            for i in 0..3 {
                for j in 0..3 {
                    let entry: f64 = (0..3).map(|k| u[i][k] * s[k] * v[j][k]).sum();
                    assert!((entry - a[i][j]).abs() < 1e-12, "{a:?}");
                    let unit = f64::from(u8::from(i == j));
                    for m in [&u, &v] {
                        assert!((dot(column(m, i), column(m, j)) - unit).abs() < 1e-9, "{a:?} {m:?}");
                    }
                }
            }
            assert!(s[0] >= s[1] && s[1] >= s[2]);
        }
    }

    #[test]
    fn a_moved_copy_is_brought_back() {
        let x = [[0.1, 0.2, 0.3], [1.0, -0.4, 0.2], [-0.7, 0.9, 1.5], [0.0, 0.3, -1.0]];
        let (sin, cos) = 0.7f64.sin_cos();
        let moved =
            x.map(|[a, b, c]| [2.0 * (cos * a - sin * b) + 1.0, 2.0 * (sin * a + cos * b) - 3.0, 2.0 * c]);
        for (found, want) in align(&x, &moved).iter().zip(&x) {
            for (a, b) in found.iter().zip(want) {
                assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
