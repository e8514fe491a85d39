//! When a difference is drift.

use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

/// How the significance of a difference between numbers is tested. Categories are always tested by χ² of their counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftTest {
    /// Kolmogorov and Smirnov: any difference, best in the middle of a distribution.
    #[default]
    KolmogorovSmirnov,
    /// Anderson and Darling: weighs the tails more. Its p-value is never below 0.001, so that with more than alpha / 0.001 columns (50 at 0.05)
    /// the correction for their number may let no single one through.
    AndersonDarling,
    /// Pearson's χ² of the counts in the bins of the stability index: for values with many ties. The index itself, scaled to be χ² in large
    /// samples ([`Psi::scaled`](mlp_stats::Psi::scaled)), is no test of small ones: at 5 % it calls 40 % of 30 unchanged values different from
    /// 1,000, 12 % of 50 and 9 % of 100, where Pearson's statistic calls 4 to 6 %.
    Bins,
}

/// When a difference is drift.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DriftConfig {
    /// How significance is tested. Default: Kolmogorov and Smirnov.
    pub test: DriftTest,
    /// The share of false discoveries among the columns called drifted, above 0 and below 1. Default 0.05.
    pub alpha: f64,
    /// The smallest population stability index that matters. Default 0.1: with enough rows any difference is significant, and most of
    /// them do not matter.
    pub min_psi: f64,
    /// The smallest distance of the distribution functions (of categories: of their shares) that matters, whatever the index. Default 0.05, about
    /// a shift by an eighth of a standard deviation: the index alone misses every other shift by 0.3 of them.
    pub min_distance: f64,
    /// How many bins the index uses, from 2 to 1,000. Default 10.
    pub bins: usize,
    /// The fewest values of a column that are compared. Default 30.
    pub min_values: usize,
    /// The most values of a column that the reference keeps, at least 100: of more, as many at even steps of their order. Default 1,000,000, 8 MB
    /// a column. With 1,000 it is a sketch of 8 kB a column, whose distances are within 0.001 of those of all values.
    pub max_reference: usize,
    /// The most categories of a column that the reference keeps apart, from 2 to 1,000,000: of more, the most frequent; the others count as one, and
    /// unknown ones with them. Default 10,000.
    pub max_categories: usize,
}

impl Default for DriftConfig {
    fn default() -> Self {
        Self {
            test: DriftTest::default(),
            alpha: 0.05,
            min_psi: 0.1,
            min_distance: 0.05,
            bins: 10,
            min_values: 30,
            max_reference: 1_000_000,
            max_categories: 10_000,
        }
    }
}

impl DriftConfig {
    /// Sets how significance is tested.
    #[must_use]
    pub fn with_test(mut self, test: DriftTest) -> Self {
        self.test = test;
        self
    }

    /// Sets how many values of a column the reference keeps at most.
    #[must_use]
    pub fn with_max_reference(mut self, values: usize) -> Self {
        self.max_reference = values;
        self
    }

    /// Sets how many categories of a column the reference keeps apart.
    #[must_use]
    pub fn with_max_categories(mut self, categories: usize) -> Self {
        self.max_categories = categories;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let fault = |name: &str, given: &dyn ToString, allowed| {
            Err(MonitorError::setting(name, given.to_string(), allowed))
        };
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return fault("alpha", &self.alpha, "above 0 and below 1");
        }
        if !(0.0..=1.0).contains(&self.min_distance) {
            return fault("min_distance", &self.min_distance, "from 0 to 1");
        }
        if !(self.min_psi >= 0.0 && self.min_psi.is_finite()) {
            return fault("min_psi", &self.min_psi, "finite and at least 0");
        }
        if !(2..=1_000).contains(&self.bins) {
            return fault("bins", &self.bins, "from 2 to 1,000");
        }
        if self.max_reference < 100 {
            return fault("max_reference", &self.max_reference, "at least 100");
        }
        if !(2..=1_000_000).contains(&self.max_categories) {
            return fault("max_categories", &self.max_categories, "from 2 to 1,000,000");
        }
        Ok(())
    }
}
