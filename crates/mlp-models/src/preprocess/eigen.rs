//! Eigenvalues and eigenvectors of symmetric matrices.

use ndarray::Array2;

/// All eigenvalues, descending, and the eigenvectors as columns in the same order, by Jacobi's rotations (Golub and Van Loan, *Matrix Computations*,
/// section 8.5): each sweep turns every pair of axes so that they are uncorrelated, and after some six to ten of them all are, to rounding.
/// Cells are brought near 1 by a power of two, which changes no digit, so that their squares are numbers.
pub(super) fn symmetric_eigen(mut a: Array2<f64>) -> (Vec<f64>, Array2<f64>) {
    let n = a.nrows();
    let largest = a.iter().fold(0.0_f64, |largest, cell| largest.max(cell.abs()));
    let unit = if largest > 0.0 { largest.log2().floor().exp2() } else { 1.0 };
    a /= unit;
    // The rows of `turned` become the eigenvectors.
    let mut turned = Array2::eye(n);
    let scale: f64 = a.iter().map(|cell| cell * cell).sum();
    for _ in 0..60 {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|at| a[at] * a[at]).sum();
        if off <= 1e-32 * scale {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut turned, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[[j, j]].total_cmp(&a[[i, i]]));
    let values = order.iter().map(|&i| a[[i, i]] * unit).collect();
    (values, turned.select(ndarray::Axis(0), &order).reversed_axes())
}

/// Turns the axes p and q so that their cell becomes 0.
fn rotate(a: &mut Array2<f64>, turned: &mut Array2<f64>, p: usize, q: usize) {
    let cell = a[[p, q]];
    if cell.abs() <= f64::MIN_POSITIVE || cell.abs() < 1e-18 * (a[[p, p]] * a[[q, q]]).abs().sqrt()
    {
        return;
    }
    let slope = (a[[q, q]] - a[[p, p]]) / (2.0 * cell);
    let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |rows: &mut Array2<f64>| {
        let (mut above, mut below) = rows.multi_slice_mut((ndarray::s![p, ..], ndarray::s![q, ..]));
        for (x, y) in above.iter_mut().zip(below.iter_mut()) {
            (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
        }
    };
    let (pp, qq) = (a[[p, p]] - tangent * cell, a[[q, q]] + tangent * cell);
    // The rows in one piece of memory, then the columns as their mirror image.
    turn(a);
    turn(turned);
    for k in 0..a.nrows() {
        a[[k, p]] = a[[p, k]];
        a[[k, q]] = a[[q, k]];
    }
    a[[p, p]] = pp;
    a[[q, q]] = qq;
    a[[p, q]] = 0.0;
    a[[q, p]] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn vectors_times_values_give_the_matrix_back() {
        let a = array![[4.0, 1.0, -2.0], [1.0, 2.0, 0.0], [-2.0, 0.0, 3.0]];
        let (values, vectors) = symmetric_eigen(a.clone());
        assert!(values.is_sorted_by(|a, b| a >= b));
        let back =
            vectors.dot(&Array2::from_diag(&ndarray::Array1::from(values))).dot(&vectors.t());
        assert!((&back - &a).iter().all(|cell| cell.abs() < 1e-12), "{back}");
        let one = vectors.t().dot(&vectors) - Array2::<f64>::eye(3);
        assert!(one.iter().all(|cell| cell.abs() < 1e-12));
    }

    #[test]
    fn a_matrix_of_zeros_and_a_diagonal_one_need_no_turn() {
        assert_eq!(symmetric_eigen(Array2::zeros((2, 2))).0, [0.0, 0.0]);
        let (values, vectors) = symmetric_eigen(array![[1.0, 0.0], [0.0, 5.0]]);
        assert_eq!((values, vectors), (vec![5.0, 1.0], array![[0.0, 1.0], [1.0, 0.0]]));
    }
}
