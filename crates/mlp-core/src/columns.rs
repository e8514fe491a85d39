//! Some of the columns of a matrix.

use ndarray::{Array2, ArrayView2};

/// Copies these columns of a matrix (`n_rows × n_columns`) into one of their own, row by row in memory. Neighbours are copied together, so
/// leaving out a few columns costs little more than a copy.
///
/// # Panics
/// If a column does not exist.
///
/// ```
/// let matrix = ndarray::array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
/// assert_eq!(mlp_core::choose_columns(matrix.view(), &[0, 2]), ndarray::array![[1.0, 3.0], [4.0, 6.0]]);
/// ```
#[must_use]
pub fn choose_columns(matrix: ArrayView2<'_, f64>, columns: &[usize]) -> Array2<f64> {
    let runs: Vec<std::ops::Range<usize>> = columns
        .chunk_by(|left, right| left + 1 == *right)
        .map(|run| run[0]..run[0] + run.len())
        .collect();
    let mut cells = Vec::with_capacity(matrix.nrows() * columns.len());
    for row in matrix.rows() {
        match row.as_slice() {
            Some(row) => runs.iter().for_each(|run| cells.extend_from_slice(&row[run.clone()])),
            None => cells.extend(columns.iter().map(|&column| row[column])),
        }
    }
    match Array2::from_shape_vec((matrix.nrows(), columns.len()), cells) {
        Ok(chosen) => chosen,
        Err(_) => unreachable!("there are as many cells as rows times columns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn any_order_and_layout_gives_the_columns_asked_for() {
        let matrix = array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]];
        for columns in [&[0, 1, 3][..], &[3, 1], &[2, 2], &[]] {
            let wanted = matrix.select(Axis(1), columns);
            assert_eq!(choose_columns(matrix.view(), columns), wanted);
            let turned = matrix.t().to_owned();
            assert_eq!(choose_columns(turned.t(), columns), wanted);
        }
    }
}
