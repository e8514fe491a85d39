//! Always-valid bounds on a rate.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::distribution::{log_beta, root};
use crate::error::StatsError;
use crate::two_sample::Interval;

/// An interval for a rate that may be looked at after every trial: the chance that it ever misses the true rate is at most α.
///
/// Robbins' mixture with a uniform prior (Robbins 1970): all rates `p` under which `B(1+k, 1+n−k) / (p^k (1−p)^(n−k)) < 1/α`.
///
/// ```
/// use mlp_stats::ConfidenceSequence;
///
/// let mut sequence = ConfidenceSequence::new(0.01)?;
/// sequence.add(1_000, 100_000);
/// let interval = sequence.interval();
/// assert!(interval.lower > 0.0085 && interval.upper < 0.0117);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ConfidenceSequence {
    alpha: f64,
    events: u64,
    trials: u64,
}

/// What is stored of a sequence, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    alpha: f64,
    events: u64,
    trials: u64,
}

impl TryFrom<Stored> for ConfidenceSequence {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { alpha, events, trials } = stored;
        check::parameter("events", events as f64, "at most the trials", events <= trials)?;
        Ok(Self { events, trials, ..Self::new(alpha)? })
    }
}

impl ConfidenceSequence {
    /// Nothing is known yet; `alpha` is the chance of ever being wrong.
    ///
    /// # Errors
    /// If alpha is not above 0 and below 1.
    pub fn new(alpha: f64) -> Result<Self, StatsError> {
        check::open_unit("alpha", alpha)?;
        Ok(Self { alpha, events: 0, trials: 0 })
    }

    /// Counts one trial.
    pub fn record(&mut self, event: bool) {
        self.add(u64::from(event), 1);
    }

    /// Counts many trials. Events beyond the trials are not counted.
    pub fn add(&mut self, events: u64, trials: u64) {
        self.trials = self.trials.saturating_add(trials);
        self.events = self.events.saturating_add(events).min(self.trials);
    }

    /// Adds the trials of another state; alpha stays.
    pub fn merge(&mut self, other: &Self) {
        self.add(other.events, other.trials);
    }

    /// The rates that the trials so far leave open.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let (k, n) = (self.events as f64, self.trials as f64);
        if n == 0.0 {
            return Interval { lower: 0.0, upper: 1.0 };
        }
        let mixture = log_beta(k + 1.0, n - k + 1.0) + self.alpha.ln();
        let power = |exponent: f64, log: f64| if exponent == 0.0 { 0.0 } else { exponent * log };
        let excess = |p: f64| mixture - power(k, p.ln()) - power(n - k, (-p).ln_1p());
        let peak = k / n;
        Interval {
            lower: if k == 0.0 { 0.0 } else { root(0.0, peak, excess) },
            upper: if k == n { 1.0 } else { root(peak, 1.0, excess) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_shrinks_and_holds_the_share() {
        let mut sequence = ConfidenceSequence::new(0.05).unwrap();
        assert_eq!(sequence.interval(), Interval { lower: 0.0, upper: 1.0 });
        let mut width = 1.0;
        for _ in 0..6 {
            sequence.add(30, 100);
            let Interval { lower, upper } = sequence.interval();
            assert!(lower < 0.3 && 0.3 < upper && upper - lower < width);
            width = upper - lower;
        }
        assert!(ConfidenceSequence::new(0.0).is_err());
    }
}
