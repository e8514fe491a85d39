//! Symmetric positive systems of equations.

use ndarray::Array2;

/// Solves `a x = b` for a symmetric matrix that is positive semi-definite, by Cholesky's decomposition.
///
/// A column that depends on the ones before it gets the solution 0 instead of an arbitrary one.
pub(crate) fn solve(mut a: Array2<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    let scale: Vec<f64> = (0..n).map(|i| a[[i, i]]).collect();
    let mut dependent = vec![false; n];
    for j in 0..n {
        let pivot = a[[j, j]];
        // What is left of a dependent column's pivot is rounding.
        dependent[j] = pivot <= scale[j] * 1e-13 || pivot <= 0.0;
        if dependent[j] {
            continue;
        }
        let root = pivot.sqrt();
        a[[j, j]] = root;
        for i in j + 1..n {
            a[[i, j]] /= root;
        }
        for k in j + 1..n {
            let factor = a[[k, j]];
            if factor != 0.0 {
                for i in k..n {
                    a[[i, k]] -= a[[i, j]] * factor;
                }
            }
        }
    }
    for i in 0..n {
        let known: f64 = (0..i).filter(|&k| !dependent[k]).map(|k| a[[i, k]] * b[k]).sum();
        b[i] = if dependent[i] { 0.0 } else { (b[i] - known) / a[[i, i]] };
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).filter(|&k| !dependent[k]).map(|k| a[[k, i]] * b[k]).sum();
        b[i] = if dependent[i] { 0.0 } else { (b[i] - known) / a[[i, i]] };
    }
    b
}

/// The inverse of a symmetric positive definite matrix, column by column of its Cholesky factor (Golub and Van Loan, section 4.2).
pub(crate) fn inverse(mut a: Array2<f64>) -> Array2<f64> {
    let n = a.nrows();
    // The factor L, in the lower triangle.
    for j in 0..n {
        for k in 0..j {
            let factor = a[[j, k]];
            for i in j..n {
                a[[i, j]] -= a[[i, k]] * factor;
            }
        }
        let root = a[[j, j]].max(f64::MIN_POSITIVE).sqrt();
        for i in j..n {
            a[[i, j]] /= root;
        }
    }
    // L⁻¹ row by row, then L⁻ᵀ L⁻¹.
    let mut half = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        half[[i, i]] = 1.0;
        for k in 0..i {
            let factor = a[[i, k]];
            for j in 0..=k {
                half[[i, j]] -= factor * half[[k, j]];
            }
        }
        for j in 0..=i {
            half[[i, j]] /= a[[i, i]];
        }
    }
    half.t().dot(&half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let a = array![[4.0, 2.0, 0.5], [2.0, 3.0, 1.0], [0.5, 1.0, 5.0]];
        let product = inverse(a.clone()).dot(&a);
        for ((i, j), value) in product.indexed_iter() {
            assert!((value - f64::from(u8::from(i == j))).abs() < 1e-12, "{product}");
        }
    }

    #[test]
    fn a_regular_system_is_solved_and_a_dependent_column_gets_nothing() {
        let x = solve(array![[4.0, 2.0], [2.0, 3.0]], vec![10.0, 8.0]);
        assert!((x[0] - 1.75).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
        let x = solve(array![[1.0, 1.0], [1.0, 1.0]], vec![2.0, 2.0]);
        assert_eq!(x, [2.0, 0.0]);
    }
}
