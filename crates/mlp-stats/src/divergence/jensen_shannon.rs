//! The Jensen-Shannon divergence.

use crate::check;
use crate::error::{StatsError, Undefined};
use crate::sum::sum;

/// How far two distributions over the same categories are from their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct JensenShannon {
    /// The divergence in nats, from 0 to ln 2.
    pub divergence: f64,
}

impl JensenShannon {
    /// The divergence in bits, from 0 to 1.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.divergence / std::f64::consts::LN_2
    }

    /// The root of the divergence in nats, which is a distance (Endres and Schindelin 2003): from 0 to 0.8326. SciPy's `jensenshannon`.
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.divergence.sqrt()
    }

    /// The distance from 0 to 1, of the divergence in bits.
    #[must_use]
    pub fn distance_base_2(&self) -> f64 {
        self.bits().sqrt()
    }
}

/// The divergence of two sets of weights (Lin 1991), which need not add up to 1: shares or counts.
///
/// # Errors
/// If the lengths differ, a weight is negative or not finite, or all weights of one are 0.
///
/// ```
/// let apart = mlp_stats::jensen_shannon(&[10.0, 0.0], &[0.0, 3.0])?;
/// assert!((apart.distance_base_2() - 1.0).abs() < 1e-15);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn jensen_shannon(first: &[f64], second: &[f64]) -> Result<JensenShannon, StatsError> {
    check::same_length("first", first.len(), "second", second.len())?;
    check::not_empty("jensen_shannon", first.len())?;
    let (left, right) = (total("first", first)?, total("second", second)?);
    let part = |(p, q): (&f64, &f64)| {
        let (p, q) = (p / left, q / right);
        // Written by the difference of the shares, so that nearly equal ones do not cancel.
        let (apart, mean) = ((p - q) / 2.0, (p + q) / 2.0);
        let term =
            |share: f64, apart: f64| if share > 0.0 { share * (apart / mean).ln_1p() } else { 0.0 };
        term(p, apart) + term(q, -apart)
    };
    let divergence = sum(first.iter().zip(second).map(part)) / 2.0;
    Ok(JensenShannon { divergence: divergence.clamp(0.0, std::f64::consts::LN_2) })
}

fn total(name: &'static str, weights: &[f64]) -> Result<f64, StatsError> {
    check::within(name, weights, "finite and at least 0", |w| w >= 0.0 && w.is_finite())?;
    match sum(weights.iter().copied()) {
        0.0 => Err(StatsError::undefined("jensen_shannon", Undefined::ZeroWeight)),
        total => check::result("jensen_shannon", total),
    }
}
