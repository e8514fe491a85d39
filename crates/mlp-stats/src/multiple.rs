//! Corrections for looking at many tests at once.

use crate::check;
use crate::error::StatsError;

/// How p-values are adjusted for their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// The chance of any false discovery, each test for itself (Bonferroni 1936).
    Bonferroni,
    /// The chance of any false discovery, step by step: finds at least as much as Bonferroni (Holm 1979).
    Holm,
    /// The expected share of false discoveries, for tests that are independent or rise together (Benjamini and Hochberg 1995).
    BenjaminiHochberg,
    /// The expected share of false discoveries whatever the tests have to do with each other (Benjamini and Yekutieli 2001).
    BenjaminiYekutieli,
}

impl Correction {
    /// The adjusted p-values in the order given: calling those up to a level discoveries keeps the promise at that level.
    ///
    /// # Errors
    /// If a p-value is not in [0, 1].
    ///
    /// ```
    /// use mlp_stats::Correction;
    ///
    /// let adjusted = Correction::Holm.adjust(&[0.01, 0.04, 0.03])?;
    /// assert_eq!(adjusted, [0.03, 0.06, 0.06]);
    /// # Ok::<(), mlp_stats::StatsError>(())
    /// ```
    pub fn adjust(self, p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
        check::within("p_values", p_values, "in [0, 1]", |p| (0.0..=1.0).contains(&p))?;
        let n = p_values.len() as f64;
        let scaled = |index: usize, factor: f64| (p_values[index] * factor).min(1.0);
        let harmonic = || (1..=p_values.len()).map(|rank| 1.0 / rank as f64).sum::<f64>();
        Ok(match self {
            Self::Bonferroni => (0..p_values.len()).map(|index| scaled(index, n)).collect(),
            Self::Holm => {
                in_order(p_values, (0..p_values.len()).collect(), f64::max, |rank, index| {
                    scaled(index, n - rank as f64)
                })
            }
            Self::BenjaminiHochberg | Self::BenjaminiYekutieli => {
                let factor = if self == Self::BenjaminiHochberg { n } else { n * harmonic() };
                let descending = (0..p_values.len()).rev().collect();
                in_order(p_values, descending, f64::min, |rank, index| {
                    scaled(index, factor / (rank + 1) as f64)
                })
            }
        })
    }
}

/// Adjusts by rank, going through the ranks in the order given and keeping the extreme so far, so that the order of the values stays.
fn in_order(
    p_values: &[f64],
    ranks: Vec<usize>,
    keep: fn(f64, f64) -> f64,
    adjust: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut so_far = None;
    for rank in ranks {
        let value = adjust(rank, order[rank]);
        let value = so_far.map_or(value, |so_far| keep(so_far, value));
        adjusted[order[rank]] = value;
        so_far = Some(value);
    }
    adjusted
}

/// [`Correction::BenjaminiHochberg`] of some p-values.
///
/// # Errors
/// If a p-value is not in [0, 1].
///
/// ```
/// let adjusted = mlp_stats::benjamini_hochberg(&[0.01, 0.04, 0.03, 0.5])?;
/// assert!(adjusted.iter().zip([0.04, 0.16 / 3.0, 0.16 / 3.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-12));
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    Correction::BenjaminiHochberg.adjust(p_values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjusted_value_is_at_least_the_plain_one_and_keeps_the_order() {
        let plain = [0.9, 0.001, 0.02, 0.02, 1.0, 0.0];
        for correction in [
            Correction::Bonferroni,
            Correction::Holm,
            Correction::BenjaminiHochberg,
            Correction::BenjaminiYekutieli,
        ] {
            let adjusted = correction.adjust(&plain).unwrap();
            let pairs = || plain.iter().zip(&adjusted);
            assert!(pairs().all(|(plain, adjusted)| adjusted >= plain && *adjusted <= 1.0));
            assert_eq!(adjusted[2], adjusted[3]);
            assert!(adjusted[1] <= adjusted[2] && adjusted[2] < adjusted[0]);
            assert!(correction.adjust(&[0.5, f64::NAN]).is_err());
            assert_eq!(correction.adjust(&[]), Ok(vec![]));
        }
    }
}
