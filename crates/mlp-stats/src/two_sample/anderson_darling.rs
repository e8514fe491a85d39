//! The Anderson-Darling test of several samples.

use crate::check;
use crate::error::{StatsError, Undefined};
use crate::sort::sorted_keys;
use crate::sum::Sum;

/// What an Anderson-Darling test says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AndersonDarling {
    /// The statistic, less its mean and over its standard deviation: about 0 for samples of one distribution.
    pub statistic: f64,
    /// The statistic that is exceeded with probability 25, 10, 5, 2.5, 1, 0.5 and 0.1 %.
    pub critical_values: [f64; 7],
    /// Interpolated between those; never below 0.001 nor above 0.25.
    pub p_value: f64,
}

/// What is done with ties.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AndersonDarlingVariant {
    /// The mean of the distribution function before and after: for continuous and discrete values.
    #[default]
    Midrank,
    /// The distribution function after: for discrete values.
    Right,
}

/// Whether several samples come from one distribution (Scholz and Stephens 1987): weighs the tails more than Kolmogorov and Smirnov.
///
/// As SciPy's `anderson_ksamp`. Infinite values are fine: only the order counts.
///
/// # Errors
/// If there are fewer than two samples or four values, a sample is empty or holds NaN, or all values are the same.
///
/// ```
/// use mlp_stats::{AndersonDarlingVariant, anderson_darling_k_sample};
///
/// let first = [1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 5.0];
/// let second = [2.0, 3.0, 3.0, 4.0, 5.0, 5.0, 6.0, 7.0];
/// let test = anderson_darling_k_sample(&[&first, &second], AndersonDarlingVariant::Midrank)?;
/// assert!((test.p_value - 0.0850744).abs() < 1e-6);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn anderson_darling_k_sample(
    samples: &[&[f64]],
    variant: AndersonDarlingVariant,
) -> Result<AndersonDarling, StatsError> {
    let quantity = "anderson_darling_k_sample";
    check::at_least(quantity, samples.len(), 2)?;
    let sorted: Vec<Vec<u64>> =
        samples.iter().map(|sample| sorted_keys("sample", sample)).collect::<Result<_, _>>()?;
    for sample in &sorted {
        check::not_empty(quantity, sample.len())?;
    }
    let mut pooled = sorted.concat();
    check::at_least(quantity, pooled.len(), 4)?;
    pooled.sort_unstable();
    if pooled.first() == pooled.last() {
        return Err(StatsError::undefined(quantity, Undefined::Constant));
    }
    let sizes: Vec<f64> = sorted.iter().map(|sample| sample.len() as f64).collect();
    let groups = sizes.len() as f64 - 1.0;
    let total: f64 = sorted.iter().map(|sample| distance(sample, &pooled, variant)).sum();
    let statistic = (total - groups) / variance(&sizes).sqrt();
    let critical_values = critical_values(groups);
    Ok(AndersonDarling {
        statistic,
        critical_values,
        p_value: p_value(statistic, &critical_values),
    })
}

/// The weighted squared distance of one sample's distribution from the pooled one (equations 6 and 7 of the paper).
fn distance(sample: &[u64], pooled: &[u64], variant: AndersonDarlingVariant) -> f64 {
    let (n, all) = (sample.len() as f64, pooled.len() as f64);
    let (mut sum, mut in_sample, mut in_pool) = (Sum::default(), 0_usize, 0_usize);
    for tied in pooled.chunk_by(|a, b| a == b) {
        let here = sample[in_sample..].iter().take_while(|&&key| key == tied[0]).count();
        let ties = tied.len() as f64;
        let (share, below, correction) = match variant {
            AndersonDarlingVariant::Midrank => (
                in_sample as f64 + here as f64 / 2.0,
                in_pool as f64 + ties / 2.0,
                all * ties / 4.0,
            ),
            AndersonDarlingVariant::Right => {
                ((in_sample + here) as f64, (in_pool + tied.len()) as f64, 0.0)
            }
        };
        in_sample += here;
        in_pool += tied.len();
        if variant == AndersonDarlingVariant::Right && in_pool == pooled.len() {
            break;
        }
        let apart = all * share - below * n;
        sum.add(ties / all * apart * apart / (below * (all - below) - correction));
    }
    let scale = if variant == AndersonDarlingVariant::Midrank { (all - 1.0) / all } else { 1.0 };
    scale * sum.value() / n
}

/// The variance of the statistic under one distribution (equation 4 of the paper).
fn variance(sizes: &[f64]) -> f64 {
    let k = sizes.len() as f64;
    let all: f64 = sizes.iter().sum();
    let inverse: f64 = sizes.iter().map(|size| 1.0 / size).sum();
    // h = Σ 1/i below N; g sums 1/((N−i) j) over i < j, both below N: the second sum is that of the largest terms of the first.
    let (mut h, mut g) = (0.0, 0.0);
    for i in 2..all as u64 {
        h += 1.0 / (all + 1.0 - i as f64);
        g += h / i as f64;
    }
    h += 1.0;
    let a = (4.0 * g - 6.0) * (k - 1.0) + (10.0 - 6.0 * g) * inverse;
    let b = (2.0 * g - 4.0) * k * k + 8.0 * h * k + (2.0 * g - 14.0 * h - 4.0) * inverse - 8.0 * h
        + 4.0 * g
        - 6.0;
    let c = (6.0 * h + 2.0 * g - 2.0) * k * k
        + (4.0 * h - 4.0 * g + 6.0) * k
        + (2.0 * h - 6.0) * inverse
        + 4.0 * h;
    let d = (2.0 * h + 6.0) * k * k - 4.0 * h * k;
    (a * all.powi(3) + b * all.powi(2) + c * all + d) / ((all - 1.0) * (all - 2.0) * (all - 3.0))
}

/// Table 2 of the paper, interpolated to the number of samples.
fn critical_values(groups: f64) -> [f64; 7] {
    const B0: [f64; 7] = [0.675, 1.281, 1.645, 1.96, 2.326, 2.573, 3.085];
    const B1: [f64; 7] = [-0.245, 0.25, 0.678, 1.149, 1.822, 2.364, 3.615];
    const B2: [f64; 7] = [-0.105, -0.305, -0.362, -0.391, -0.396, -0.345, -0.154];
    std::array::from_fn(|i| B0[i] + B1[i] / groups.sqrt() + B2[i] / groups)
}

/// The parabola that fits the logarithms of the significances best, read at the statistic.
fn p_value(statistic: f64, critical_values: &[f64; 7]) -> f64 {
    const SIGNIFICANCES: [f64; 7] = [0.25, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001];
    if statistic < critical_values[0] {
        return SIGNIFICANCES[0];
    }
    if statistic > critical_values[6] {
        return SIGNIFICANCES[6];
    }
    let logs = SIGNIFICANCES.map(f64::ln);
    let [c0, c1, c2] = parabola(critical_values, &logs);
    (c0 + c1 * statistic + c2 * statistic * statistic)
        .exp()
        .clamp(SIGNIFICANCES[6], SIGNIFICANCES[0])
}

/// Least squares with polynomials that are orthogonal on the places, so that no system is solved.
fn parabola(x: &[f64; 7], y: &[f64; 7]) -> [f64; 3] {
    let mean = x.iter().sum::<f64>() / 7.0;
    let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
    let skew = x.iter().map(|x| (x - mean).powi(3)).sum::<f64>() / squares;
    let curve = |x: f64| (x - mean) * (x - mean - skew) - squares / 7.0;
    let weight = |of: &dyn Fn(f64) -> f64| {
        let (mut top, mut bottom) = (0.0, 0.0);
        for (&x, y) in x.iter().zip(y) {
            top += of(x) * y;
            bottom += of(x).powi(2);
        }
        top / bottom
    };
    let (level, slope, bend) = (weight(&|_| 1.0), weight(&|x| x - mean), weight(&curve));
    let constant = level - slope * mean + bend * (mean * (mean + skew) - squares / 7.0);
    [constant, slope - bend * (2.0 * mean + skew), bend]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_statistic_is_an_error() {
        let test = |samples: &[&[f64]]| {
            anderson_darling_k_sample(samples, AndersonDarlingVariant::Midrank)
        };
        let reason = |samples: &[&[f64]]| test(samples).unwrap_err().undefined_reason();
        assert_eq!(reason(&[&[1.0; 4], &[1.0; 4]]), Some(Undefined::Constant));
        assert_eq!(reason(&[&[1.0], &[]]), Some(Undefined::Empty));
        assert_eq!(reason(&[&[1.0, 2.0]]), Some(Undefined::TooFew { have: 1, need: 2 }));
        assert!(matches!(test(&[&[1.0, f64::NAN], &[2.0, 3.0]]), Err(StatsError::Nan { .. })));
        assert_eq!(test(&[&[1.0, 2.0], &[3.0, 4.0]]).map(|test| test.p_value > 0.0), Ok(true));
    }
}
