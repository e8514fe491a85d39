//! Always-valid evidence that an error rate is above its bound.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::distribution::{log_beta, log_incomplete_beta};
use crate::error::StatsError;

/// Evidence, request by request, that a rate is above a bound; valid whenever it is looked at.
///
/// The one-sided beta-binomial mixture e-process: under any rate up to the bound, the chance that the e-value ever reaches `1/α` is at most
/// α (Ville 1939; Robbins 1970 for the mixture; Ramdas and others 2023, *Game-theoretic statistics*). A fixed rule such as "error rate above
/// 1 % in the last hundred requests" has no such promise: looked at after each request it stops a healthy version sooner or later.
///
/// The state is two counts. States of disjoint requests add up with [`merge`](Self::merge). Everything is computed in logarithms.
///
/// ```
/// use mlp_stats::RateEvidence;
///
/// let mut evidence = RateEvidence::new(0.01)?; // "the error rate is at most 1 %"
/// (0..200).for_each(|_| evidence.record(false));
/// assert!(evidence.e_value() < 1.0);
/// (0..12).for_each(|_| evidence.record(true));
/// assert!(evidence.is_above(0.01)?); // at a false-alarm rate of 1 %
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateEvidence {
    bound: f64,
    events: u64,
    trials: u64,
}

impl RateEvidence {
    /// No evidence yet that the rate is above `bound`, which lies between 0 and 1.
    ///
    /// # Errors
    /// If the bound is not above 0 and below 1.
    pub fn new(bound: f64) -> Result<Self, StatsError> {
        check::open_unit("bound", bound)?;
        Ok(Self { bound, events: 0, trials: 0 })
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

    /// Adds the trials of another state; the bound stays.
    pub fn merge(&mut self, other: &Self) {
        self.add(other.events, other.trials);
    }

    /// How many events were counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many trials were counted.
    #[must_use]
    pub fn trials(&self) -> u64 {
        self.trials
    }

    /// The natural logarithm of the e-value.
    ///
    /// The mixture is over rates above the bound, with the uniform prior cut off there:
    /// `E = ∫ p^k (1−p)^(n−k) dp / ((1−b) b^k (1−b)^(n−k))` over `p` from the bound `b` to 1.
    #[must_use]
    pub fn log_e_value(&self) -> f64 {
        let (k, n) = (self.events as f64, self.trials as f64);
        let (a, b) = (k + 1.0, n - k + 1.0);
        let log_mixture = log_beta(a, b) + log_incomplete_beta(b, a, 1.0 - self.bound);
        log_mixture - (-self.bound).ln_1p() - k * self.bound.ln() - (n - k) * (-self.bound).ln_1p()
    }

    /// The e-value: how many times likelier the counts are if the rate is above the bound. Infinite if it is beyond the largest double.
    #[must_use]
    pub fn e_value(&self) -> f64 {
        self.log_e_value().exp()
    }

    /// Whether the evidence suffices at a false-alarm rate of `alpha`, between 0 and 1: `E ≥ 1/α`.
    ///
    /// # Errors
    /// If alpha is not above 0 and below 1.
    pub fn is_above(&self, alpha: f64) -> Result<bool, StatsError> {
        check::open_unit("alpha", alpha)?;
        Ok(self.log_e_value() >= -alpha.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_trials_the_e_value_is_1() {
        assert!((RateEvidence::new(0.01).unwrap().e_value() - 1.0).abs() < 1e-12);
        assert!(
            RateEvidence::new(0.0).is_err()
                && RateEvidence::new(1.0).is_err()
                && RateEvidence::new(f64::NAN).is_err()
        );
    }

    #[test]
    fn the_e_value_is_the_integral_of_its_definition() {
        for (k, n) in [(0, 10), (1, 1), (3, 40), (5, 5), (2, 400)] {
            let bound = 0.05;
            let mut evidence = RateEvidence::new(bound).unwrap();
            evidence.add(k, n);
            let ratio = |p: f64| {
                (p / bound).powi(k as i32) * ((1.0 - p) / (1.0 - bound)).powi((n - k) as i32)
            };
            let steps = 200_000;
            let width = (1.0 - bound) / f64::from(steps);
            let slow: f64 =
                (0..steps).map(|i| ratio(bound + (f64::from(i) + 0.5) * width)).sum::<f64>()
                    / f64::from(steps);
            assert!(
                (evidence.e_value() / slow - 1.0).abs() < 1e-6,
                "{k} of {n}: {} for {slow}",
                evidence.e_value()
            );
        }
    }

    #[test]
    fn under_the_bound_the_mean_of_the_next_e_value_is_at_most_the_present_one() {
        for (k, n) in [(0, 0), (0, 50), (2, 50), (7, 90)] {
            let mut now = RateEvidence::new(0.02).unwrap();
            now.add(k, n);
            let (mut good, mut bad) = (now, now);
            good.record(false);
            bad.record(true);
            for rate in [0.0, 0.01, 0.02] {
                assert!(
                    rate * bad.e_value() + (1.0 - rate) * good.e_value()
                        <= now.e_value() * (1.0 + 1e-9),
                    "{k} of {n} at {rate}"
                );
            }
        }
    }

    #[test]
    fn five_errors_of_five_are_enough_and_one_of_ten_is_not() {
        let is_above = |events, trials| {
            let mut evidence = RateEvidence::new(0.01).unwrap();
            evidence.add(events, trials);
            evidence.is_above(0.01).unwrap()
        };
        assert!(is_above(5, 5));
        assert!(!is_above(1, 1) && !is_above(1, 10));
    }

    #[test]
    fn the_order_and_the_parts_do_not_matter() {
        let mut whole = RateEvidence::new(0.01).unwrap();
        let (mut first, mut second) = (whole, whole);
        for i in 0..300 {
            whole.record(i % 17 == 0);
            if i < 120 { first.record(i % 17 == 0) } else { second.record(i % 17 == 0) }
        }
        first.merge(&second);
        assert_eq!(first, whole);
    }
}
