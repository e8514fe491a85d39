//! How predictions and outcomes are joined, and what they are.

use std::time::Duration;

use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use mlp_core::exact;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

/// Ids are spread over this many locks, so that requests on several threads rarely meet.
pub(super) const SHARDS: usize = 16;
/// How many cohorts may be open at once.
const MAX_OPEN_COHORTS: u128 = 10_000;
/// The largest number that is taken: the squares of a billion of them can still be added up.
const LARGEST: f64 = 1e140;

/// What was predicted, or what was true.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// A class, by its index.
    Class(usize),
    /// A number.
    Value(#[serde(with = "exact")] f64),
}

impl Truth {
    /// Whether it can be compared: a class, or a finite number of at most 1e140 in magnitude.
    pub(super) fn is_usable(&self) -> bool {
        match self {
            Self::Class(_) => true,
            Self::Value(value) => value.abs() <= LARGEST,
        }
    }
}

/// Which outcomes count when a version is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// Those of predictions whose window for outcomes is over: early outcomes are often of one kind (a fraud is reported sooner than an
    /// honest sale), and would give a wrong picture.
    #[default]
    Matured,
    /// Every outcome as soon as it comes: right if how long it takes says nothing about what it is.
    AtOnce,
}

/// How predictions and outcomes are joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PerformanceConfig {
    /// How long after a prediction its outcome may come. Default 24 h. It begins when an id is first heard of: the prediction of a second version
    /// (a shadow's, say) that comes later has what is left of it. An id is known for so long only: the same prediction or outcome reported
    /// again after it is a new one.
    #[serde(with = "span")]
    pub window: Duration,
    /// The predictions of such a span are scored together. Default 1 h; at least a 10,000th of the window.
    #[serde(with = "span")]
    pub cohort: Duration,
    /// Which outcomes count.
    pub scoring: Scoring,
    /// How far off a predicted number may be and count as right. Default none: numbers are not right or wrong, their errors are told by size.
    pub tolerance: Option<f64>,
    /// How many of the latest cohorts alerts look at, from 1 to 1,000, with predictions or without, up to the last one that counts and in which any
    /// version predicted: an old good record must not hide a fall, and what is older is forgiven. A version that predicts seldom is forgiven by its
    /// next predictions or those of another version, not by the time between, unless that is 1,000 spans. Default 48, two days of hours.
    pub recent: usize,
    /// How many ids are held in the window. Default 1,000,000, which take 200 to 280 MB; the oldest beyond it are let go, and counted.
    pub max_open: usize,
}

impl Default for PerformanceConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(24 * 3_600),
            cohort: Duration::from_secs(3_600),
            scoring: Scoring::default(),
            tolerance: None,
            recent: 48,
            max_open: 1_000_000,
        }
    }
}

impl PerformanceConfig {
    /// Sets how long after a prediction its outcome may come.
    #[must_use]
    pub fn with_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets the span whose predictions are scored together.
    #[must_use]
    pub fn with_cohort(mut self, cohort: Duration) -> Self {
        self.cohort = cohort;
        self
    }

    /// Sets which outcomes count.
    #[must_use]
    pub fn with_scoring(mut self, scoring: Scoring) -> Self {
        self.scoring = scoring;
        self
    }

    /// Sets how far off a predicted number may be and count as right.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = Some(tolerance);
        self
    }

    /// Sets how many of the latest cohorts alerts look at.
    #[must_use]
    pub fn with_recent(mut self, cohorts: usize) -> Self {
        self.recent = cohorts;
        self
    }

    /// Sets how many ids are held.
    #[must_use]
    pub fn with_max_open(mut self, ids: usize) -> Self {
        self.max_open = ids;
        self
    }

    /// The cohort of what is predicted at this time.
    pub(super) fn cohort_at(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / self.cohort.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Cohorts before this one are matured.
    pub(super) fn first_open(&self, now: Duration) -> u64 {
        self.cohort_at(now.saturating_sub(self.window))
    }

    /// The first of the latest cohorts that alerts look at, where the last one with predictions is known.
    pub(super) fn first_recent(&self, now: Duration, latest: Option<u64>) -> u64 {
        let end = match self.scoring {
            Scoring::Matured => self.first_open(now),
            Scoring::AtOnce => self.cohort_at(now).saturating_add(1),
        };
        // Nothing is forgiven because nobody predicts.
        let end = latest.map_or(end, |latest| end.min(latest.saturating_add(1)));
        end.saturating_sub(self.recent as u64)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.window.is_zero() {
            return Err(MonitorError::setting("window", "0s", "above 0"));
        }
        if self.cohort.is_zero() {
            return Err(MonitorError::setting("cohort", "0s", "above 0"));
        }
        if self.window.as_nanos() / self.cohort.as_nanos() > MAX_OPEN_COHORTS {
            let given = format!("{:?}", self.cohort);
            return Err(MonitorError::setting(
                "cohort",
                given,
                "at least a 10,000th of the window",
            ));
        }
        if let Some(wrong) = self.tolerance.filter(|t| !(*t >= 0.0 && t.is_finite())) {
            return Err(MonitorError::setting("tolerance", wrong, "0 or above, and finite"));
        }
        if !(1..=1_000).contains(&self.recent) {
            return Err(MonitorError::setting("recent", self.recent, "1 to 1,000"));
        }
        if self.max_open < SHARDS {
            return Err(MonitorError::setting("max_open", self.max_open, "at least 16"));
        }
        Ok(())
    }
}
