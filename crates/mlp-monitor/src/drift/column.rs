//! One column as it was, and how another sample of it compares.

use mlp_stats::{
    Alternative, AndersonDarlingVariant, KsMethod, KsTest, ReferenceBins, StatsError,
    anderson_darling_k_sample, jensen_shannon, ks_two_sample, ks_two_sample_with,
    normed_wasserstein, psi_of_counts,
};
use serde::{Deserialize, Serialize};

use super::categories::Categories;
use super::config::{DriftConfig, DriftTest};
use super::report::ColumnTest;
use crate::error::{MonitorError, Result};

/// Samples of more pairs than this are tested exactly only where the p-value could decide: paths are counted for as many pairs as
/// lie within the distance, 10⁸ of 10,000 values on either side that are far apart.
const QUICK_PAIRS: usize = 1_000_000;
/// Beyond so many values in a sample [`KsMethod::Auto`] is asymptotic anyway.
const EXACT_UP_TO: usize = 10_000;

/// One column of the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Reference {
    Numbers(Numbers),
    Categories(Categories),
}

/// Values in ascending order, and their bins; none for a column without any, or with one value only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Numbers {
    sorted: Vec<f64>,
    bins: Option<ReferenceBins>,
}

/// How a sample compares with the reference.
pub(super) struct Measured {
    pub(super) test: ColumnTest,
    pub(super) p_value: f64,
    pub(super) distance: f64,
    pub(super) psi: f64,
    pub(super) psi_p_value: f64,
    pub(super) jensen_shannon: f64,
    pub(super) wasserstein: Option<f64>,
    pub(super) unknown: usize,
    pub(super) cells: usize,
}

impl Reference {
    /// Of finite values.
    pub(super) fn numbers(mut values: Vec<f64>, config: &DriftConfig) -> Result<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let sorted = thinned(values, config.max_reference);
        let is_constant = sorted.first() == sorted.last();
        let bins = if is_constant { None } else { Some(ReferenceBins::new(&sorted, config.bins)?) };
        Ok(Self::Numbers(Numbers { sorted, bins }))
    }

    pub(super) fn categories(values: &[f64], config: &DriftConfig) -> Self {
        Self::Categories(Categories::of(values, config.max_categories))
    }

    /// Compares finite values with the reference; none if there are too few on either side. P-values below `least` decide nothing more.
    pub(super) fn measure(
        &self,
        mut current: Vec<f64>,
        config: &DriftConfig,
        least: f64,
    ) -> Result<Option<Measured>> {
        let enough = config.min_values.max(1);
        if current.len() < enough {
            return Ok(None);
        }
        match self {
            Self::Numbers(known) if known.sorted.len() >= enough => {
                // Everything below works on order, and is fast on what is in order already.
                current.sort_unstable_by(f64::total_cmp);
                known.measure(&current, config.test, least).map(Some)
            }
            Self::Categories(known) if known.total() >= enough as u64 => known.measure(&current),
            _ => Ok(None),
        }
    }

    /// Whether what was read from a file can be compared with.
    pub(super) fn check(&self, config: &DriftConfig) -> Result<()> {
        let (allowed, holds) = match self {
            Self::Numbers(known) => ("finite values in ascending order", known.is_sound(config)),
            Self::Categories(known) => {
                ("finite codes, each once and counted", known.is_sound(config.max_categories))
            }
        };
        if holds {
            return Ok(());
        }
        Err(MonitorError::setting("column of a drift reference", "something else", allowed))
    }
}

/// At most `most` of sorted values: those in the middle of as many equal parts.
fn thinned(sorted: Vec<f64>, most: usize) -> Vec<f64> {
    if sorted.len() <= most {
        return sorted;
    }
    (0..most).map(|k| sorted[(2 * k + 1) * sorted.len() / (2 * most)]).collect()
}

impl Numbers {
    fn is_sound(&self, config: &DriftConfig) -> bool {
        let sorted = &self.sorted;
        let binned =
            self.bins.as_ref().map_or(sorted.len() as u64, |bins| bins.counts().iter().sum());
        sorted.iter().all(|value| value.is_finite())
            && sorted.is_sorted()
            && sorted.len() <= config.max_reference
            && binned == sorted.len() as u64
            && self.bins.is_none() == (sorted.first() == sorted.last())
    }

    fn measure(&self, current: &[f64], test: DriftTest, least: f64) -> Result<Measured> {
        let reference = self.sorted.as_slice();
        let ks = kolmogorov_smirnov(reference, current, least)?;
        let counts = match &self.bins {
            Some(bins) => (bins.counts().to_vec(), bins.counts_of(current)?),
            // A constant has no quantiles to cut at: what counts is the share of other values.
            None => {
                let others = current.iter().filter(|value| **value != reference[0]).count() as u64;
                (vec![reference.len() as u64, 0], vec![current.len() as u64 - others, others])
            }
        };
        let psi = psi_of_counts(&counts.0, &counts.1)?;
        let (test, p_value) = match test {
            DriftTest::KolmogorovSmirnov => (ColumnTest::KolmogorovSmirnov, ks.p_value),
            DriftTest::Bins => (ColumnTest::ChiSquare, psi.p_value),
            DriftTest::AndersonDarling => {
                let samples = [reference, current];
                let test = anderson_darling_k_sample(&samples, AndersonDarlingVariant::Midrank);
                // Two samples of one value are the same.
                (ColumnTest::AndersonDarling, if_undefined(test.map(|test| test.p_value), 1.0)?)
            }
        };
        Ok(Measured {
            test,
            p_value,
            distance: ks.statistic,
            psi: psi.value,
            psi_p_value: psi.p_value,
            jensen_shannon: divergence(&counts.0, &counts.1)?,
            wasserstein: match normed_wasserstein(reference, current) {
                Ok(distance) => Some(distance),
                Err(StatsError::Overflow { .. }) => None,
                Err(error) => return Err(error.into()),
            },
            unknown: 0,
            cells: counts.0.len(),
        })
    }
}

/// Exactly wherever that could change a verdict.
fn kolmogorov_smirnov(reference: &[f64], current: &[f64], least: f64) -> Result<KsTest> {
    let (n, m) = (reference.len(), current.len());
    if n == m || n.saturating_mul(m) <= QUICK_PAIRS {
        return Ok(ks_two_sample(reference, current)?);
    }
    let quick =
        ks_two_sample_with(reference, current, Alternative::TwoSided, KsMethod::Asymptotic)?;
    if n.max(m) > EXACT_UP_TO || quick.p_value < least {
        return Ok(quick);
    }
    Ok(ks_two_sample(reference, current)?)
}

/// The value of a test, or this one where it has none: other errors stay errors.
pub(super) fn if_undefined(
    found: std::result::Result<f64, StatsError>,
    instead: f64,
) -> Result<f64> {
    match found {
        Err(StatsError::Undefined { .. }) => Ok(instead),
        other => Ok(other?),
    }
}

pub(super) fn divergence(first: &[u64], second: &[u64]) -> Result<f64> {
    let weights = |counts: &[u64]| counts.iter().map(|&count| count as f64).collect::<Vec<_>>();
    Ok(jensen_shannon(&weights(first), &weights(second))?.distance_base_2())
}
