//! The adaptive window of Bifet and Gavaldà.

use serde::{Deserialize, Serialize};

use super::{DriftDetector, DriftSignal, finite, signal};
use crate::check;
use crate::error::StatsError;

/// When an [`Adwin`] looks, and when it finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdwinConfig {
    /// The confidence: smaller finds less, later, with fewer false alarms. Default 0.002.
    pub delta: f64,
    /// A change is looked for every so many values. Default 32.
    pub clock: u64,
    /// How many buckets of one size are kept. Default 5: more see a change more exactly, at more cost.
    pub max_buckets: usize,
    /// Parts of the window shorter than this are not compared. Default 5.
    pub min_window_length: u64,
    /// Nothing is looked for in windows up to this length. Default 10.
    pub grace_period: u64,
    /// What becomes of the window after a change. Default: it is emptied.
    pub after_drift: AfterDrift,
}

/// What becomes of the window after a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterDrift {
    /// It is emptied, as River does.
    #[default]
    Restart,
    /// It keeps the newer part, as in the paper.
    KeepRecent,
}

impl Default for AdwinConfig {
    fn default() -> Self {
        let after_drift = AfterDrift::Restart;
        Self {
            delta: 0.002,
            clock: 32,
            max_buckets: 5,
            min_window_length: 5,
            grace_period: 10,
            after_drift,
        }
    }
}

/// Keeps a window as long as its values have one mean: it finds a change wherever two parts of the window differ by more than chance
/// explains, and drops the older (Bifet and Gavaldà 2007, ADWIN2). As River's `ADWIN`.
///
/// The window is kept in buckets of 1, 2, 4, … values, so memory grows with the logarithm of its length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Adwin {
    config: AdwinConfig,
    /// Level `i` has buckets of 2^i values, the oldest first.
    levels: Vec<Level>,
    width: u64,
    total: f64,
    /// The sum of the squared deviations from the mean.
    deviations: f64,
    updates: u64,
    is_drift: bool,
}

/// What is stored of a detector, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: AdwinConfig,
    levels: Vec<Level>,
    width: u64,
    total: f64,
    deviations: f64,
    updates: u64,
    is_drift: bool,
}

impl TryFrom<Stored> for Adwin {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { config, levels, width, total, deviations, updates, is_drift } = stored;
        check::limit("sizes of buckets", levels.len(), 63)?;
        let mut values = 0_u128;
        for (at, level) in levels.iter().enumerate() {
            let buckets = level.totals.len();
            check::same_length("totals", buckets, "deviations", level.deviations.len())?;
            check::limit("buckets of one size", buckets, config.max_buckets.saturating_add(1))?;
            values += (buckets as u128) << at;
        }
        let fits = values == u128::from(width) && width <= MOST;
        check::parameter("width", width as f64, "the number of values in the buckets", fits)?;
        let ends = levels.last().is_some_and(|level| level.totals.is_empty());
        check::parameter("levels", levels.len() as f64, "up to the last with buckets", !ends)?;
        Ok(Self { levels, width, total, deviations, updates, is_drift, ..Self::new(config)? })
    }
}

/// More values than a window ever holds; buckets of more could not be told in 64 bits.
const MOST: u64 = 1 << 62;

/// Buckets of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    totals: Vec<f64>,
    deviations: Vec<f64>,
}

impl Level {
    fn push(&mut self, total: f64, deviation: f64) {
        self.totals.push(total);
        self.deviations.push(deviation);
    }

    fn remove_oldest(&mut self) -> (f64, f64) {
        (self.totals.remove(0), self.deviations.remove(0))
    }
}

impl Adwin {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If `delta` is not above 0 and below 1, or `clock`, `max_buckets` (up to 1,000) or `min_window_length` is 0.
    pub fn new(config: AdwinConfig) -> Result<Self, StatsError> {
        check::open_unit("delta", config.delta)?;
        check::parameter("clock", config.clock as f64, "at least 1", config.clock >= 1)?;
        let allowed = (1..=1_000).contains(&config.max_buckets);
        check::parameter("max_buckets", config.max_buckets as f64, "from 1 to 1,000", allowed)?;
        let least = config.min_window_length;
        check::parameter("min_window_length", least as f64, "at least 1", least >= 1)?;
        Ok(Self::start(config))
    }

    fn start(config: AdwinConfig) -> Self {
        let (levels, width, updates) = (Vec::new(), 0, 0);
        Self { config, levels, width, total: 0.0, deviations: 0.0, updates, is_drift: false }
    }

    /// How many values the window holds.
    #[must_use]
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The sum of the values in the window.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.total
    }

    /// The mean of the values in the window; none if it is empty.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.width > 0).then(|| self.total / self.width as f64)
    }

    /// The variance of the values in the window (over their number); none if it is empty.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.width > 0).then(|| self.deviations / self.width as f64)
    }

    /// How many buckets the window is kept in.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.levels.iter().map(|level| level.totals.len()).sum()
    }

    fn insert(&mut self, value: f64) {
        if self.width > 0 {
            let width = self.width as f64;
            let apart = value - self.total / width;
            self.deviations += width * apart * apart / (width + 1.0);
        }
        self.width += 1;
        self.total += value;
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        self.levels[0].push(value, 0.0);
        self.compress();
    }

    /// Joins the two oldest buckets of every level that has too many.
    fn compress(&mut self) {
        let mut at = 0;
        while self.levels[at].totals.len() > self.config.max_buckets {
            let size = (1_u64 << at) as f64;
            let (first, first_deviations) = self.levels[at].remove_oldest();
            let (second, second_deviations) = self.levels[at].remove_oldest();
            let apart = first / size - second / size;
            let between = size * size * apart * apart / (2.0 * size);
            if at + 1 == self.levels.len() {
                self.levels.push(Level::default());
            }
            self.levels[at + 1]
                .push(first + second, first_deviations + second_deviations + between);
            at += 1;
        }
    }

    fn drop_oldest(&mut self) {
        let Some(at) = self.levels.len().checked_sub(1) else { return };
        let size = (1_u64 << at) as f64;
        let (total, deviations) = self.levels[at].remove_oldest();
        self.width -= 1 << at;
        self.total -= total;
        let width = self.width as f64;
        let apart = total / size - self.total / width;
        self.deviations -= deviations + size * width * apart * apart / (size + width);
        while self.levels.last().is_some_and(|level| level.totals.is_empty()) {
            self.levels.pop();
        }
    }

    /// Whether two parts of the window differ by more than chance explains.
    fn is_cut(&self) -> bool {
        let width = self.width as f64;
        let least = self.config.min_window_length as f64;
        let log = (2.0 * width.ln() / self.config.delta).ln();
        let variance = self.deviations / width;
        // The bound without its second term, squared and without fractions: what is below it, with room for rounding, is no cut.
        let quick = 2.0 * variance * log * width * (1.0 - 1e-9);
        let (mut older, mut older_total) = (0.0, 0.0);
        let mut newer_total = self.total;
        for (at, level) in self.levels.iter().enumerate().rev() {
            let size = (1_u64 << at) as f64;
            for total in &level.totals {
                older += size;
                older_total += total;
                newer_total -= total;
                let newer = width - older;
                let apart = older_total * newer - newer_total * older;
                if apart * apart <= quick * older * newer || older < least || newer < least {
                    continue;
                }
                let mean = 1.0 / (older - least + 1.0) + 1.0 / (newer - least + 1.0);
                let bound = (2.0 * mean * variance * log).sqrt() + 2.0 / 3.0 * log * mean;
                if (older_total / older - newer_total / newer).abs() > bound {
                    return true;
                }
            }
        }
        false
    }
}

impl DriftDetector for Adwin {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        let value = finite(value)?;
        if self.is_drift && self.config.after_drift == AfterDrift::Restart {
            self.reset();
        }
        self.is_drift = false;
        self.insert(value);
        self.updates = self.updates.wrapping_add(1);
        if self.updates.is_multiple_of(self.config.clock) && self.width > self.config.grace_period {
            while self.is_cut() {
                self.is_drift = true;
                self.drop_oldest();
            }
        }
        Ok(signal(self.is_drift, false))
    }

    fn reset(&mut self) {
        *self = Self::start(self.config);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_with_the_logarithm_of_the_window() {
        let mut detector = Adwin::new(AdwinConfig::default()).unwrap();
        for i in 0..1_000_000_u32 {
            detector.update(f64::from(i % 7)).unwrap();
        }
        assert_eq!(detector.width(), 1_000_000);
        assert!(detector.buckets() <= 6 * 20, "{}", detector.buckets());
    }

    /// With two values the newer part is no change any more: 500 on average are within the bound.
    #[test]
    fn parts_of_just_the_least_length_are_compared() {
        let config = AdwinConfig {
            clock: 1,
            max_buckets: 30,
            min_window_length: 1,
            ..AdwinConfig::default()
        };
        let mut detector = Adwin::new(config).unwrap();
        for _ in 0..24 {
            assert_eq!(detector.update(0.0), Ok(DriftSignal::Stable));
        }
        assert_eq!(detector.update(1_000.0), Ok(DriftSignal::Drift));
        let mut detector = Adwin::new(config).unwrap();
        detector.update(1_000.0).unwrap();
        assert!((0..24).any(|_| detector.update(0.0) == Ok(DriftSignal::Drift)));
    }

    #[test]
    fn the_window_may_keep_what_came_after_the_change() {
        let keep = AdwinConfig { after_drift: AfterDrift::KeepRecent, ..AdwinConfig::default() };
        let mut detector = Adwin::new(keep).unwrap();
        let mut found = 0;
        for i in 0..2_000 {
            let level = if i < 1_000 { 0.0 } else { 1.0 };
            let noise = f64::from(i % 5) / 50.0;
            found += u32::from(detector.update(level + noise).unwrap() == DriftSignal::Drift);
        }
        assert!(found >= 1 && detector.width() >= 990, "{found}, {}", detector.width());
        assert!(detector.mean().unwrap() > 0.9);
    }
}
