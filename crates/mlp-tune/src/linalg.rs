//! Small dense symmetric matrices, in rows.

/// A square matrix.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    size: usize,
    values: Vec<f64>,
}

impl Matrix {
    pub(crate) fn from_fn(size: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..size * size).map(|place| value(place / size, place % size)).collect();
        Self { size, values }
    }

    pub(crate) fn identity(size: usize) -> Self {
        Self::from_fn(size, |row, column| if row == column { 1.0 } else { 0.0 })
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.size + column]
    }

    pub(crate) fn at_mut(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.values[row * self.size + column]
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.size..(row + 1) * self.size]
    }

    /// The product with a vector.
    pub(crate) fn times(&self, vector: &[f64]) -> Vec<f64> {
        (0..self.size).map(|row| dot(self.row(row), vector)).collect()
    }

    /// The product of the transposed with a vector.
    pub(crate) fn transposed_times(&self, vector: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.size];
        for (row, factor) in vector.iter().enumerate() {
            sums.iter_mut().zip(self.row(row)).for_each(|(sum, value)| *sum += factor * value);
        }
        sums
    }

    /// The lower triangle L with LLᵀ = this; none if it is not positive definite.
    pub(crate) fn cholesky(mut self) -> Option<Self> {
        let size = self.size;
        for row in 0..size {
            for column in 0..=row {
                let (start, end) = (column * size, column * size + column);
                let sum = dot(&self.values[row * size..][..column], &self.values[start..end]);
                let rest = self.at(row, column) - sum;
                if row == column {
                    if rest.is_nan() || rest <= 0.0 {
                        return None;
                    }
                    *self.at_mut(row, row) = rest.sqrt();
                } else {
                    *self.at_mut(row, column) = rest / self.at(column, column);
                    *self.at_mut(column, row) = 0.0;
                }
            }
        }
        Some(self)
    }

    /// x with Lx = `right`, where this is the lower triangle L.
    pub(crate) fn solve_lower(&self, right: &[f64]) -> Vec<f64> {
        let mut solution: Vec<f64> = Vec::with_capacity(self.size);
        for (row, value) in right.iter().enumerate() {
            let sum = dot(&self.row(row)[..row], &solution);
            solution.push((value - sum) / self.at(row, row));
        }
        solution
    }

    /// x with Lᵀx = `right`, where this is the lower triangle L.
    pub(crate) fn solve_upper(&self, right: &[f64]) -> Vec<f64> {
        let mut rest = right.to_vec();
        for row in (0..self.size).rev() {
            rest[row] /= self.at(row, row);
            let value = rest[row];
            let above = rest[..row].iter_mut().zip(self.row(row));
            above.for_each(|(rest, factor)| *rest -= factor * value);
        }
        rest
    }

    /// Eigenvalues, and the eigenvectors as columns, of a symmetric matrix: Jacobi's rotations.
    pub(crate) fn eigen(mut self) -> (Vec<f64>, Self) {
        let size = self.size;
        let mut vectors = Self::identity(size);
        for _sweep in 0..100 {
            let pairs = (0..size).flat_map(|row| (row + 1..size).map(move |column| (row, column)));
            let off: f64 = pairs.clone().map(|(row, column)| self.at(row, column).powi(2)).sum();
            let diagonal: f64 = (0..size).map(|k| self.at(k, k).powi(2)).sum();
            if off <= 1e-32 * diagonal || off.is_nan() {
                break;
            }
            for (p, q) in pairs {
                self.rotate(p, q, &mut vectors);
            }
        }
        ((0..size).map(|k| self.at(k, k)).collect(), vectors)
    }

    fn rotate(&mut self, p: usize, q: usize, vectors: &mut Self) {
        let off = self.at(p, q);
        if off == 0.0 {
            return;
        }
        let theta = (self.at(q, q) - self.at(p, p)) / (2.0 * off);
        let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
        let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
        let sine = tangent * cosine;
        for k in 0..self.size {
            let (one, two) = (self.at(k, p), self.at(k, q));
            *self.at_mut(k, p) = cosine * one - sine * two;
            *self.at_mut(k, q) = sine * one + cosine * two;
        }
        for k in 0..self.size {
            let (one, two) = (self.at(p, k), self.at(q, k));
            *self.at_mut(p, k) = cosine * one - sine * two;
            *self.at_mut(q, k) = sine * one + cosine * two;
            let (one, two) = (vectors.at(k, p), vectors.at(k, q));
            *vectors.at_mut(k, p) = cosine * one - sine * two;
            *vectors.at_mut(k, q) = sine * one + cosine * two;
        }
    }
}

pub(crate) fn dot(one: &[f64], other: &[f64]) -> f64 {
    // Four sums, so that additions need not wait for each other.
    let mut sums = [0.0; 4];
    let (ones, others) = (one.chunks_exact(4), other.chunks_exact(4));
    let rest: f64 =
        ones.remainder().iter().zip(&other[one.len() / 4 * 4..]).map(|(a, b)| a * b).sum();
    for (one, other) in ones.zip(others) {
        for k in 0..4 {
            sums[k] += one[k] * other[k];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;

    fn positive(size: usize) -> Matrix {
        let mut stream = random::stream(3, size as u64);
        let root: Vec<f64> = (0..size * size).map(|_| random::normal(&mut stream)).collect();
        Matrix::from_fn(size, |row, column| {
            let product = dot(&root[row * size..][..size], &root[column * size..][..size]);
            product + if row == column { 0.5 } else { 0.0 }
        })
    }

    #[test]
    fn a_cholesky_triangle_solves_the_equation() {
        let matrix = positive(7);
        let right: Vec<f64> = (0..7).map(f64::from).collect();
        let lower = matrix.clone().cholesky().unwrap();
        let solution = lower.solve_upper(&lower.solve_lower(&right));
        let back = matrix.times(&solution);
        assert!(back.iter().zip(&right).all(|(one, other)| (one - other).abs() < 1e-9));
        assert!(Matrix::from_fn(2, |_, _| 1.0).cholesky().is_none());
    }

    #[test]
    fn eigenvectors_take_the_matrix_apart() {
        let matrix = positive(6);
        let (values, vectors) = matrix.clone().eigen();
        for row in 0..6 {
            for column in 0..6 {
                let sum: f64 =
                    (0..6).map(|k| vectors.at(row, k) * values[k] * vectors.at(column, k)).sum();
                assert!((sum - matrix.at(row, column)).abs() < 1e-10);
            }
        }
    }
}
