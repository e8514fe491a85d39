//! Symmetric positive systems of equations.

use ndarray::{Array2, ArrayView1, ArrayView2};

/// Solves `a x = b` for a symmetric matrix that is positive semi-definite, as [`Factor::solve`] does.
pub(crate) fn solve(a: &Array2<f64>, b: Vec<f64>) -> Vec<f64> {
    Factor::of(a).solve(b)
}

/// Cholesky's factor of a symmetric matrix that is positive semi-definite.
pub(crate) struct Factor {
    /// Row by row, below the diagonal and on it; 0 in the columns of dependent ones.
    cells: Vec<f64>,
    /// Which columns depend on the ones before them.
    dependent: Vec<bool>,
}

impl Factor {
    pub(crate) fn of(a: &Array2<f64>) -> Self {
        let n = a.nrows();
        let mut cells: Vec<f64> = a.iter().copied().collect();
        let mut dependent = vec![false; n];
        // Row by row, so that every sum runs over neighbours in memory.
        for i in 0..n {
            let (above, row) = cells.split_at_mut(i * n);
            for j in 0..i {
                let upper = &above[j * n..j * n + n];
                let left = row[j] - dot(&row[..j], &upper[..j]);
                row[j] = if dependent[j] { 0.0 } else { left / upper[j] };
            }
            let (scale, pivot) = (row[i], row[i] - dot(&row[..i], &row[..i]));
            // What is left of a dependent column's pivot is rounding.
            dependent[i] = pivot <= scale * 1e-13 || pivot <= 0.0;
            row[i] = if dependent[i] { 1.0 } else { pivot.sqrt() };
        }
        Self { cells, dependent }
    }

    /// Row `i` up to the diagonal.
    fn row(&self, i: usize) -> &[f64] {
        let start = i * self.dependent.len();
        &self.cells[start..=start + i]
    }

    /// Solves `a x = b`. A column that depends on the ones before it gets the solution 0 instead of an arbitrary one.
    pub(crate) fn solve(&self, mut b: Vec<f64>) -> Vec<f64> {
        for i in 0..b.len() {
            let row = self.row(i);
            let left = b[i] - dot(&row[..i], &b[..i]);
            b[i] = if self.dependent[i] { 0.0 } else { left / row[i] };
        }
        self.back(&mut b);
        b
    }

    /// For each column that depends on the ones before it, the direction along which the matrix is 0, but for rounding: 1 in that column.
    pub(crate) fn null_directions(&self) -> Vec<Vec<f64>> {
        let columns = (0..self.dependent.len()).filter(|&column| self.dependent[column]);
        let direction = |column: usize| {
            let mut direction = vec![0.0; self.dependent.len()];
            let others = direction.iter_mut().zip(self.row(column)).take(column);
            others.for_each(|(part, cell)| *part = -cell);
            self.back(&mut direction);
            direction[column] = 1.0;
            direction
        };
        columns.map(direction).collect()
    }

    /// Solves by the transpose of the factor, in place.
    fn back(&self, b: &mut [f64]) {
        for i in (0..b.len()).rev() {
            let row = self.row(i);
            b[i] = if self.dependent[i] { 0.0 } else { b[i] / row[i] };
            let value = b[i];
            b[..i].iter_mut().zip(row).for_each(|(known, cell)| *known -= cell * value);
        }
    }
}

/// The sum of the products, in eight sums side by side so that several are computed at a time.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_parts, b_parts) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_parts.remainder().iter().zip(b_parts.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_parts.zip(b_parts) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// A row in one piece of memory: copied into the space of as many numbers if it does not lie so. Sums differ in their last digits by how they are taken,
/// and must not hang on where a row lies.
pub(crate) fn in_one_piece<'a>(row: &'a ArrayView1<'_, f64>, space: &'a mut [f64]) -> &'a [f64] {
    if let Some(cells) = row.as_slice() {
        return cells;
    }
    space.iter_mut().zip(row).for_each(|(cell, value)| *cell = *value);
    space
}

/// How many numbers of space [`in_one_piece`] needs for the rows of this table.
pub(crate) fn space_for(rows: &ArrayView2<'_, f64>) -> usize {
    let needs = rows.rows().into_iter().next().is_some_and(|row| row.as_slice().is_none());
    if needs { rows.ncols() } else { 0 }
}

/// The product of a row of a matrix, however it lies in memory, and some weights.
pub(crate) fn row_dot(row: ArrayView1<'_, f64>, weights: &[f64]) -> f64 {
    match row.as_slice() {
        Some(row) => dot(row, weights),
        None => row.iter().zip(weights).map(|(value, weight)| value * weight).sum(),
    }
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
        let x = solve(&array![[4.0, 2.0], [2.0, 3.0]], vec![10.0, 8.0]);
        assert!((x[0] - 1.75).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
        let x = solve(&array![[1.0, 1.0], [1.0, 1.0]], vec![2.0, 2.0]);
        assert_eq!(x, [2.0, 0.0]);
    }

    #[test]
    fn along_a_null_direction_a_matrix_is_nothing() {
        // The third column is the sum of the first two, and the fifth twice the fourth.
        let rows = array![
            [2.0, 1.0, 3.0, 0.5, 1.0],
            [0.0, 3.0, 3.0, 1.0, 2.0],
            [1.0, 1.0, 2.0, -4.0, -8.0]
        ];
        let a = rows.t().dot(&rows);
        let directions = Factor::of(&a).null_directions();
        assert_eq!(directions.len(), 2);
        for (direction, column) in directions.into_iter().zip([2, 4]) {
            assert_eq!(direction[column], 1.0);
            let product = a.dot(&ndarray::Array1::from(direction));
            assert!(product.iter().all(|part| part.abs() < 1e-12), "{product}");
        }
        assert!(Factor::of(&array![[4.0, 2.0], [2.0, 3.0]]).null_directions().is_empty());
    }
}
