//! Corrections for looking at many tests at once.

use crate::check;
use crate::error::StatsError;

/// The p-values adjusted so that calling those up to `q` discoveries keeps the expected share of false ones at `q` (Benjamini and
/// Hochberg 1995), in the order given.
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
    check::within("p_values", p_values, "in [0, 1]", |p| (0.0..=1.0).contains(&p))?;
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let (mut adjusted, mut least) = (vec![0.0; p_values.len()], 1.0_f64);
    for (from_top, &index) in order.iter().enumerate() {
        let rank = p_values.len() - from_top;
        least = least.min(p_values[index] * p_values.len() as f64 / rank as f64);
        adjusted[index] = least;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjusted_value_is_at_least_the_plain_one_and_keeps_the_order() {
        let plain = [0.9, 0.001, 0.02, 0.02, 1.0, 0.0];
        let adjusted = benjamini_hochberg(&plain).unwrap();
        assert!(
            plain
                .iter()
                .zip(&adjusted)
                .all(|(plain, adjusted)| adjusted >= plain && *adjusted <= 1.0)
        );
        assert_eq!(adjusted[2], adjusted[3]);
        assert!(adjusted[1] < adjusted[2] && adjusted[2] < adjusted[0]);
        assert!(benjamini_hochberg(&[0.5, f64::NAN]).is_err());
        assert_eq!(benjamini_hochberg(&[]), Ok(vec![]));
    }
}
