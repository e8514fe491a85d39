//! Wilcoxon's signed-rank test of paired differences.

use super::Alternative;
use crate::check;
use crate::distribution::normal_tail;
use crate::error::StatsError;

/// Up to so many differences without ties the p-value is exact; with ties or zeros, up to so many.
const EXACT: usize = 50;
const EXACT_WITH_TIES: usize = 13;

/// What a signed-rank test says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct SignedRank {
    /// The sum of the ranks of positive differences, and half of those that are zero.
    pub rank_sum: f64,
    /// The chance of such a sum, or a more extreme one, if differences were as often positive as negative.
    pub p_value: f64,
}

/// Whether paired differences tend to be positive or negative (Wilcoxon 1945), zeros counting half for each side; as SciPy's `wilcoxon` with
/// `zero_method="zsplit"`: exact for up to 50 differences without ties, and for up to 13 with ties or zeros, else normal.
///
/// # Errors
/// If there is no difference, or one is NaN.
///
/// ```
/// use mlp_stats::{Alternative, wilcoxon_signed_rank};
///
/// let folds = [0.02, 0.01, 0.03, 0.005, 0.04]; // by how much one model beat the other
/// let test = wilcoxon_signed_rank(&folds, Alternative::Greater)?;
/// assert_eq!((test.rank_sum, test.p_value), (15.0, 1.0 / 32.0));
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub fn wilcoxon_signed_rank(
    differences: &[f64],
    alternative: Alternative,
) -> Result<SignedRank, StatsError> {
    check::not_empty("wilcoxon_signed_rank", differences.len())?;
    check::no_nan("differences", differences)?;
    let Ranked { doubled, zeros, tie_term } = ranked(differences);
    let n = differences.len();
    // Sums of doubled ranks are whole numbers.
    let of = |positive: bool| {
        let side =
            differences.iter().zip(&doubled).filter(|(d, _)| **d != 0.0 && (**d > 0.0) == positive);
        side.map(|(_, rank)| *rank).sum::<usize>()
    };
    let (plus, minus) = (of(true), of(false));
    let rank_sum = (plus as f64 + zeros as f64 / 2.0) / 2.0;
    let is_tied = tie_term > 0.0 || zeros > 0;
    let is_exact = if is_tied { n <= EXACT_WITH_TIES } else { n <= EXACT };
    let (below, above) = if is_exact {
        let nonzero = differences.iter().zip(&doubled).filter(|(d, _)| **d != 0.0);
        let counts = sums(nonzero.map(|(_, rank)| *rank), plus + minus);
        let all: f64 = counts.iter().sum();
        let at_least = |sum: usize| counts[sum..].iter().sum::<f64>() / all;
        // The distribution is symmetric: so few positive ranks are as likely as so many negative ones.
        (at_least(minus), at_least(plus))
    } else {
        let n = n as f64;
        let mean = n * (n + 1.0) / 4.0;
        let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - tie_term / 2.0) / 24.0;
        let z = if variance > 0.0 { (rank_sum - mean) / variance.sqrt() } else { 0.0 };
        (normal_tail(-z), normal_tail(z))
    };
    Ok(SignedRank { rank_sum, p_value: alternative.of_tails(below, above) })
}

struct Ranked {
    /// Twice the rank of each absolute difference: those of ties are their mean.
    doubled: Vec<usize>,
    /// The sum of the doubled ranks of zeros.
    zeros: usize,
    /// The sum of t³ − t over groups of t ties.
    tie_term: f64,
}

fn ranked(differences: &[f64]) -> Ranked {
    let mut order: Vec<usize> = (0..differences.len()).collect();
    let size = |at: usize| differences[at].abs();
    order.sort_by(|&a, &b| size(a).total_cmp(&size(b)));
    let mut found = Ranked { doubled: vec![0; order.len()], zeros: 0, tie_term: 0.0 };
    let mut first = 1;
    for group in order.chunk_by(|&a, &b| size(a) == size(b)) {
        let last = first + group.len() - 1;
        for &at in group {
            found.doubled[at] = first + last;
            found.zeros += if differences[at] == 0.0 { first + last } else { 0 };
        }
        let ties = group.len() as f64;
        found.tie_term += ties.powi(3) - ties;
        first = last + 1;
    }
    found
}

/// In how many ways signs can be given so that positive ranks have each sum.
fn sums(ranks: impl Iterator<Item = usize>, total: usize) -> Vec<f64> {
    let mut ways = vec![0.0; total + 1];
    ways[0] = 1.0;
    let mut reached = 0;
    for rank in ranks {
        reached += rank;
        for sum in (rank..=reached).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    /// By SciPy 1.17.1: differences; the rank sum; p-values for less, greater and two-sided.
    #[rustfmt::skip]
    const VECTORS: &[(&[f64], f64, [f64; 3])] = &[
        (&[1.0], 1.0, [1.0, 0.5, 1.0]),
        (&[-1.0, 2.0, 3.0], 5.0, [0.875, 0.25, 0.5]),
        (&[0.0, 0.0], 1.5, [1.0, 1.0, 1.0]),
        (&[0.0, 1.0, -1.0, 2.0, 2.0, 5.0], 18.0, [0.96875, 0.09375, 0.1875]),
        (&[0.6, 1.1, 0.6, -1.0, 1.2, 0.7, -0.2, 0.9, 0.7, 0.6, 0.3, 0.8], 67.0, [0.989013671875, 0.0126953125, 0.025390625]),
        (&[-0.44, 0.14, -0.18, 0.9, 0.34, 0.01, -0.48, 0.04, 0.31, 0.02, 1.59, 1.31, -2.41], 56.0, [0.7725830078125, 0.2486572265625, 0.497314453125]),
        (&[-1.7, 0.0, -0.2, 0.4, 0.4, 2.3, -0.9, -0.2, 2.2, 0.8, 0.9, -0.3, -1.4, 0.4, 0.3, -1.0, -0.5, 0.1, -0.7, 0.1], 105.5, [0.5074515516798379, 0.49254844832016204, 0.9850968966403241]),
        (&[0.295483, 0.235586, -0.306292, 0.793748, 1.091167, 0.520848, -0.61823, 0.931652, -0.30144, 1.079161, -0.871787, 1.114467, 0.179937, -1.048749, -0.113899, 0.254102, 0.472791, -0.782188, -0.907373, 0.399585, -0.26675, 0.435506, 0.95952, -1.448787, 0.454388, 1.424647, -0.097527, -0.610815, 0.952244, 0.453447], 292.0, [0.889676621183753, 0.11427641101181507, 0.22855282202363014]),
        (&[0.995883, -0.245216, -1.381818, -0.010011, -0.345828, 0.875324, 0.293633, -1.530849, -1.095163, 0.983789, 0.779765, -0.540243, 0.098951, 0.545574, 0.568404, 0.976242, 0.356486, 0.005172, -0.158848, 1.155743, -2.150854, -0.038655, 0.133, -1.325349, 0.432814, -0.551281, 0.962445, -0.025592, 0.769153, 1.318844, 0.48293, -0.775721, -1.414319, 1.853384, -0.011292, -0.588565, 0.244257, -0.091411, 0.952142, 0.133928, 0.11375, -0.61458, 0.569568, -0.933867, 0.765889, 1.623938, -1.424686, -2.366229, 0.716879, 2.647898], 716.0, [0.7754966191356543, 0.2273939934876248, 0.4547879869752496]),
        (&[-0.900925, -1.150696, 0.688969, -0.740722, -0.406025, -0.248117, 0.632002, -0.305302, 0.377883, -0.076533, -0.744671, -0.219826, -0.8504, 0.106515, -1.023866, -0.992894, 1.556962, 0.046816, 0.046098, 0.611536, -0.320857, -0.128535, 0.525149, 0.382416, -1.059297, 0.933343, -0.490435, -0.956079, -0.800475, -0.290545, 1.7273, -1.075536, 0.260076, -2.037824, 0.098433, 0.999566, -0.136663, -0.529355, 0.331511, 0.800152, 0.763658, 2.072474, 0.309167, -0.49241, -0.025979, 0.027501, 0.208737, 0.069972, 0.273966, -1.57085, 0.929629, -0.474739, -1.073159, 0.737751, 1.417326, 0.593028, 0.261159, -0.83222, 2.971567, 0.980259], 899.0, [0.45311875079898223, 0.5468812492010178, 0.9062375015979645]),
    ];

    #[test]
    fn the_vectors_agree() {
        for (differences, rank_sum, p_values) in VECTORS {
            let alternatives = [Alternative::Less, Alternative::Greater, Alternative::TwoSided];
            for (alternative, p_value) in alternatives.into_iter().zip(p_values) {
                let test = wilcoxon_signed_rank(differences, alternative).unwrap();
                assert_eq!(test.rank_sum, *rank_sum, "{differences:?}");
                let off = (test.p_value - p_value).abs();
                assert!(off < 1e-12, "{alternative:?} of {differences:?}: {}", test.p_value);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert!(wilcoxon_signed_rank(&[], Alternative::Less).is_err());
        assert!(wilcoxon_signed_rank(&[1.0, f64::NAN], Alternative::Less).is_err());
        let infinite = wilcoxon_signed_rank(&[f64::INFINITY, 1.0, 2.0], Alternative::Greater);
        assert_eq!(infinite.unwrap().p_value, 0.125);
    }
}
