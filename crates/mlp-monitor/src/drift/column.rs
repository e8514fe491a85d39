//! One column as it was, and how another sample of it compares.

use std::collections::BTreeMap;

use mlp_stats::{
    AndersonDarlingVariant, CountStatistic, ReferenceBins, anderson_darling_k_sample, count_test,
    jensen_shannon, ks_two_sample, normed_wasserstein, psi_of_counts,
};

use super::config::{DriftConfig, DriftTest};
use super::report::ColumnTest;

/// A category is compared by itself if so many of it are to be expected in either sample; rarer ones are compared together, because χ² of
/// nearly empty cells finds differences that are not there (Cochran 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// One column of the reference.
#[derive(Debug, Clone)]
pub(super) enum Reference {
    /// Values in ascending order, and their bins; none for a column without any, or with one value only.
    Numbers { sorted: Vec<f64>, bins: Option<ReferenceBins> },
    /// How often each category occurred, by the bits of its code.
    Categories(BTreeMap<u64, u64>),
}

/// How a sample compares with the reference.
pub(super) struct Measured {
    pub(super) test: ColumnTest,
    pub(super) p_value: f64,
    pub(super) distance: f64,
    pub(super) psi: f64,
    pub(super) jensen_shannon: f64,
    pub(super) wasserstein: Option<f64>,
    pub(super) unknown: usize,
}

impl Reference {
    /// Of finite values.
    pub(super) fn numbers(mut values: Vec<f64>, config: &DriftConfig) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let sorted = thinned(values, config.max_reference);
        let is_constant = sorted.first() == sorted.last();
        let bins = if is_constant { None } else { ReferenceBins::new(&sorted, config.bins).ok() };
        Self::Numbers { sorted, bins }
    }

    pub(super) fn categories(values: &[f64]) -> Self {
        Self::Categories(counted(values))
    }

    /// Compares finite values with the reference; none if there are too few on either side.
    pub(super) fn measure(&self, mut current: Vec<f64>, config: &DriftConfig) -> Option<Measured> {
        let enough = config.min_values.max(1);
        if current.len() < enough {
            return None;
        }
        match self {
            Self::Numbers { sorted, bins } if sorted.len() >= enough => {
                // Everything below works on order, and is fast on what is in order already.
                current.sort_unstable_by(f64::total_cmp);
                numbers(sorted, bins.as_ref(), &current, config.test)
            }
            Self::Categories(known) if known.values().sum::<u64>() >= enough as u64 => {
                categories(known, &current)
            }
            _ => None,
        }
    }
}

/// At most `most` of sorted values: those in the middle of as many equal parts.
fn thinned(sorted: Vec<f64>, most: usize) -> Vec<f64> {
    if sorted.len() <= most {
        return sorted;
    }
    (0..most).map(|k| sorted[(2 * k + 1) * sorted.len() / (2 * most)]).collect()
}

fn counted(values: &[f64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for value in values {
        // −0 and 0 are one category.
        *counts.entry((value + 0.0).to_bits()).or_default() += 1;
    }
    counts
}

fn numbers(
    reference: &[f64],
    bins: Option<&ReferenceBins>,
    current: &[f64],
    test: DriftTest,
) -> Option<Measured> {
    let ks = ks_two_sample(reference, current).ok()?;
    let counts = match bins {
        Some(bins) => (bins.counts().to_vec(), bins.counts_of(current).ok()?),
        // A constant has no quantiles to cut at: what counts is the share of other values.
        None => {
            let others = current.iter().filter(|value| **value != reference[0]).count() as u64;
            (vec![reference.len() as u64, 0], vec![current.len() as u64 - others, others])
        }
    };
    let psi = psi_of_counts(&counts.0, &counts.1).ok()?;
    let (test, p_value) = match test {
        DriftTest::KolmogorovSmirnov => (ColumnTest::KolmogorovSmirnov, ks.p_value),
        DriftTest::Bins => (ColumnTest::ChiSquare, psi.p_value),
        DriftTest::AndersonDarling => {
            let samples = [reference, current];
            let test = anderson_darling_k_sample(&samples, AndersonDarlingVariant::Midrank);
            // Two samples of one value are the same.
            (ColumnTest::AndersonDarling, test.map_or(1.0, |test| test.p_value))
        }
    };
    Some(Measured {
        test,
        p_value,
        distance: ks.statistic,
        psi: psi.value,
        jensen_shannon: divergence(&counts.0, &counts.1)?,
        wasserstein: normed_wasserstein(reference, current).ok(),
        unknown: 0,
    })
}

fn categories(known: &BTreeMap<u64, u64>, current: &[f64]) -> Option<Measured> {
    let found = counted(current);
    let (n, m) = (known.values().sum::<u64>() as f64, current.len() as f64);
    let unknown: u64 =
        found.iter().filter(|(code, _)| !known.contains_key(code)).map(|(_, count)| count).sum();
    let (mut reference, mut sample) = (vec![0], vec![unknown]);
    for (code, &before) in known {
        let now = found.get(code).copied().unwrap_or(0);
        let expected = (before + now) as f64 * n.min(m) / (n + m);
        if expected < LEAST_EXPECTED {
            reference[0] += before;
            sample[0] += now;
        } else {
            reference.push(before);
            sample.push(now);
        }
    }
    let psi = psi_of_counts(&reference, &sample).ok()?;
    let share = |(before, now): (&u64, &u64)| (*before as f64 / n - *now as f64 / m).abs();
    Some(Measured {
        test: ColumnTest::ChiSquare,
        // One category on both sides is the same.
        p_value: count_test(&reference, &sample, CountStatistic::Pearson)
            .map_or(1.0, |t| t.p_value),
        distance: reference.iter().zip(&sample).map(share).sum::<f64>() / 2.0,
        psi: psi.value,
        jensen_shannon: divergence(&reference, &sample)?,
        wasserstein: None,
        unknown: unknown as usize,
    })
}

fn divergence(first: &[u64], second: &[u64]) -> Option<f64> {
    let weights = |counts: &[u64]| counts.iter().map(|&count| count as f64).collect::<Vec<_>>();
    jensen_shannon(&weights(first), &weights(second)).ok().map(|found| found.distance_base_2())
}
