//! The Mann-Whitney U test and the shift that belongs to it.

use super::Alternative;
use crate::check;
use crate::distribution::normal_tail;
use crate::error::StatsError;
use crate::sort::sorted_keys;

/// What a Mann-Whitney test says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MannWhitney {
    /// Pairs whose first value is greater, ties counting half: U of the first sample.
    pub u: f64,
    /// The chance of such a U, or a more extreme one, between samples of one distribution.
    pub p_value: f64,
    /// The chance that a value of the first sample is greater than one of the second, ties counting half: 0.5 without a difference.
    pub common_language_effect: f64,
    /// The same from −1 to 1: 0 without a difference.
    pub rank_biserial: f64,
}

/// How the p-value of a Mann-Whitney test is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MannWhitneyMethod {
    /// Exactly if a sample has at most 8 values, there are no ties and at most 10,000,000 pairs, else normal with continuity correction.
    #[default]
    Auto,
    /// By counting orders, as if there were no ties; up to 10,000,000 pairs and as many orders as a double can count.
    Exact,
    /// By the normal distribution with its variance corrected for ties.
    Asymptotic {
        /// Whether U is moved by a half towards its mean.
        continuity: bool,
    },
}

/// Whether values of one sample tend to be greater than those of another (Mann and Whitney 1947), two-sided; as SciPy's `mannwhitneyu`.
///
/// Infinite values are fine: only the order counts.
///
/// # Errors
/// If a sample is empty or holds NaN.
///
/// ```
/// let test = mlp_stats::mann_whitney(&[19.0, 22.0, 16.0, 29.0, 24.0], &[20.0, 11.0, 17.0, 12.0])?;
/// assert_eq!((test.u, test.common_language_effect), (17.0, 0.85));
/// assert!((test.p_value - 1.0 / 9.0).abs() < 1e-12);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Result<MannWhitney, StatsError> {
    mann_whitney_with(first, second, Alternative::TwoSided, MannWhitneyMethod::Auto)
}

/// The Mann-Whitney test with a choice of alternative (about the values) and method.
///
/// # Errors
/// If a sample is empty or holds NaN, or there are too many pairs or orders to count.
pub fn mann_whitney_with(
    first: &[f64],
    second: &[f64],
    alternative: Alternative,
    method: MannWhitneyMethod,
) -> Result<MannWhitney, StatsError> {
    check::not_empty("mann_whitney", first.len().min(second.len()))?;
    let (first, second) = (sorted_keys("first", first)?, sorted_keys("second", second)?);
    let (n, m) = (first.len(), second.len());
    let Ranks { u, ties } = ranks(&first, &second);
    let pairs = n as f64 * m as f64;
    let is_exact = match method {
        MannWhitneyMethod::Auto => {
            n.min(m) <= 8 && ties == 0.0 && n.saturating_mul(m) <= MOST_PAIRS
        }
        MannWhitneyMethod::Exact => true,
        MannWhitneyMethod::Asymptotic { .. } => false,
    };
    let continuity = method != MannWhitneyMethod::Asymptotic { continuity: false };
    let at_least = |u: f64| -> Result<f64, StatsError> {
        if is_exact { exact_tail(n, m, u) } else { Ok(normal_tail_of(n, m, u, ties, continuity)) }
    };
    let p_value = match alternative {
        Alternative::Greater => at_least(u)?,
        Alternative::Less => at_least(pairs - u)?,
        Alternative::TwoSided => 2.0 * at_least(u.max(pairs - u))?,
    };
    let common_language_effect = u / pairs;
    Ok(MannWhitney {
        u,
        p_value: p_value.clamp(0.0, 1.0),
        common_language_effect,
        rank_biserial: 2.0 * common_language_effect - 1.0,
    })
}

/// An exact test of more pairs would take too long.
const MOST_PAIRS: usize = 10_000_000;

pub(super) struct Ranks {
    pub(super) u: f64,
    /// Σ t³ − t over groups of t equal values.
    pub(super) ties: f64,
}

pub(super) fn ranks(first: &[u64], second: &[u64]) -> Ranks {
    let (mut i, mut j) = (0, 0);
    let mut ranks = Ranks { u: 0.0, ties: 0.0 };
    while i < first.len() || j < second.len() {
        let next = [first.get(i), second.get(j)].into_iter().flatten().min().copied();
        let (i_start, j_start) = (i, j);
        while first.get(i).copied() == next && next.is_some() {
            i += 1;
        }
        while second.get(j).copied() == next && next.is_some() {
            j += 1;
        }
        let (here, there) = ((i - i_start) as f64, (j - j_start) as f64);
        ranks.u += here * (j_start as f64 + there / 2.0);
        ranks.ties += (here + there).powi(3) - (here + there);
    }
    ranks
}

fn normal_tail_of(n: usize, m: usize, u: f64, ties: f64, continuity: bool) -> f64 {
    let deviation = deviation_of_u(n, m, ties);
    let apart = u - n as f64 * m as f64 / 2.0 - if continuity { 0.5 } else { 0.0 };
    if deviation == 0.0 {
        return if apart > 0.0 { 0.0 } else { 1.0 };
    }
    normal_tail(apart / deviation)
}

/// The standard deviation of U if all orders are equally likely, corrected for ties.
pub(super) fn deviation_of_u(n: usize, m: usize, ties: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let correction = if all > 1.0 { ties / (all * (all - 1.0)) } else { 0.0 };
    (n * m / 12.0 * (all + 1.0 - correction).max(0.0)).sqrt()
}

/// The chance that U reaches `u` if all orders are equally likely.
///
/// The numbers of orders by U are the coefficients of the Gaussian binomial `∏ (1 − q^(m+i)) / (1 − q^i)`: multiplied and divided one
/// factor at a time, so that each stays a polynomial with whole coefficients.
fn exact_tail(n: usize, m: usize, u: f64) -> Result<f64, StatsError> {
    let (small, large) = (n.min(m), n.max(m));
    check::limit("pairs of an exact Mann-Whitney test", n.saturating_mul(m), MOST_PAIRS)?;
    let all: f64 = (1..=small).map(|i| (large + i) as f64 / i as f64).product();
    if !all.is_finite() {
        return Err(StatsError::Unsupported {
            what: "an exact Mann-Whitney test of more orders than a double can count",
        });
    }
    let pairs = n * m;
    let u = u.floor() as usize;
    // By symmetry the upper tail from u is the lower one up to pairs − u; the shorter of the two sides is counted.
    let (most, is_upper) =
        if pairs - u <= pairs / 2 { (pairs - u, true) } else { (u.saturating_sub(1), false) };
    if !is_upper && u == 0 {
        return Ok(1.0);
    }
    let mut orders = vec![0.0_f64; most + 1];
    orders[0] = 1.0;
    for i in 1..=small {
        for at in (large + i..=most).rev() {
            orders[at] -= orders[at - large - i];
        }
        for at in i..=most {
            orders[at] += orders[at - i];
        }
    }
    let share = orders.iter().sum::<f64>() / all;
    Ok(if is_upper { share } else { 1.0 - share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_samples_are_no_evidence() {
        let test = mann_whitney(&[3.0; 20], &[3.0; 30]).unwrap();
        assert_eq!((test.p_value, test.rank_biserial), (1.0, 0.0));
        assert!(matches!(mann_whitney(&[f64::NAN], &[1.0]), Err(StatsError::Nan { .. })));
        assert!(mann_whitney(&[], &[1.0]).is_err());
        let huge = vec![1.0; 4_000];
        let method = MannWhitneyMethod::Exact;
        assert!(mann_whitney_with(&huge, &huge, Alternative::TwoSided, method).is_err());
    }

    #[test]
    fn the_exact_tails_add_up_to_one_and_the_orders_at_u() {
        for (n, m) in [(1, 1), (3, 5), (8, 20), (6, 6)] {
            for u in 1..=n * m {
                let above = exact_tail(n, m, u as f64).unwrap();
                let below = exact_tail(n, m, (n * m - u + 1) as f64).unwrap();
                assert!((above + below - 1.0).abs() < 1e-12, "{n}, {m}, {u}: {above} and {below}");
            }
            assert_eq!(exact_tail(n, m, 0.0), Ok(1.0));
        }
    }
}
