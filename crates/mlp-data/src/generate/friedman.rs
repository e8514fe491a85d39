//! Friedman's first regression problem.

use std::f64::consts::PI;

use mlp_core::random;
use ndarray::Array2;

use crate::error::{Error, Result};
use crate::table::Table;

/// Rows of the regression problem "Friedman #1": features uniform in [0, 1), named `x0`, `x1`, …, and the target
/// `y = 10 sin(π x0 x1) + 20 (x2 − 0.5)² + 10 x3 + 5 x4 + noise × N(0, 1)`; features from the sixth on do not matter.
///
/// The definition is that of scikit-learn's `make_friedman1` (Friedman 1991, *Multivariate adaptive regression splines*); the random
/// numbers are not NumPy's.
///
/// # Errors
/// If there are fewer than five features, or the noise is negative or not finite.
pub fn make_friedman1(n_rows: usize, n_features: usize, noise: f64, seed: u64) -> Result<Table> {
    if n_features < 5 || !(noise.is_finite() && noise >= 0.0) {
        return Err(Error::Invalid {
            what: "the options of make_friedman1".to_owned(),
            reason: format!(
                "{n_features} features and noise {noise}: at least 5 features and a finite noise from 0 are needed"
            ),
        });
    }
    let mut generator = random::stream(seed, 0);
    let mut normals = random::stream(seed, 1);
    let x = Array2::from_shape_simple_fn((n_rows, n_features), || random::uniform(&mut generator));
    let target = x
        .rows()
        .into_iter()
        .map(|x| {
            10.0 * (PI * x[0] * x[1]).sin()
                + 20.0 * (x[2] - 0.5).powi(2)
                + 10.0 * x[3]
                + 5.0 * x[4]
                + noise * random::normal(&mut normals)
        })
        .collect();
    Table::new((0..n_features).map(|i| format!("x{i}")), x)?.with_values("y", target)
}
