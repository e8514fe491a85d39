//! Always-valid evidence that a rate is not what it should be.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::distribution::{log_beta, log_upper_ratio};
use crate::error::StatsError;

/// Evidence, request by request, against a bound on a rate; valid whenever it is looked at.
///
/// The beta-binomial mixture e-process: if the rate keeps to its bound, the chance that the e-value ever reaches `1/α` is at most
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
/// assert!(evidence.is_enough(0.01)?); // at a false-alarm rate of 1 %
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredEvidence")]
pub struct RateEvidence {
    bound: f64,
    events: u64,
    trials: u64,
    hypothesis: RateHypothesis,
    prior: RatePrior,
}

/// What is stored of evidence, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEvidence {
    bound: f64,
    events: u64,
    trials: u64,
    hypothesis: RateHypothesis,
    prior: RatePrior,
}

impl TryFrom<StoredEvidence> for RateEvidence {
    type Error = StatsError;

    fn try_from(stored: StoredEvidence) -> Result<Self, StatsError> {
        let StoredEvidence { bound, events, trials, hypothesis, prior } = stored;
        check::parameter("events", events as f64, "at most the trials", events <= trials)?;
        Ok(Self { events, trials, hypothesis, prior, ..Self::new(bound)? })
    }
}

/// What the evidence is against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateHypothesis {
    /// The rate is at most the bound.
    #[default]
    AtMost,
    /// The rate is at least the bound.
    AtLeast,
    /// The rate is the bound.
    Equal,
}

/// How the rates that would be wrong are weighed: a beta distribution cut off at the bound.
///
/// No prior can be beaten at every rate: weight near the bound finds small excesses sooner and large ones later. The default is
/// Beta(½, 2). At a bound of 1 % and α of 1 % it needs fewer requests than the uniform one at every rate up to 10 % and as few at 50 %
/// (median and 90th percentile of 2,000 simulated streams):
///
/// | prior | 2 % | 5 % | 10 % | 50 % | stopped at 1 % (of 5,000 requests) |
/// | --- | --- | --- | --- | --- | --- |
/// | Beta(1, 1) | 2,143 / 3,994 | 161 / 365 | 42 / 100 | 4 / 8 | 0.40 % |
/// | Beta(½, ½) | 1,914 / 3,682 | 157 / 343 | 42 / 99 | 4 / 9 | 0.30 % |
/// | Beta(½, 2) | 1,677 / 3,342 | 127 / 315 | 35 / 89 | 4 / 8 | 0.65 % |
/// | Beta(1, 8) | 1,565 / 3,290 | 123 / 294 | 34 / 86 | 4 / 9 | 0.60 % |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredPrior")]
pub struct RatePrior {
    a: f64,
    b: f64,
}

/// What is stored of a prior, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredPrior {
    a: f64,
    b: f64,
}

impl TryFrom<StoredPrior> for RatePrior {
    type Error = StatsError;

    fn try_from(stored: StoredPrior) -> Result<Self, StatsError> {
        Self::beta(stored.a, stored.b)
    }
}

impl RatePrior {
    /// Every rate weighs the same.
    pub const UNIFORM: Self = Self { a: 1.0, b: 1.0 };

    /// The density is proportional to `p^(a−1) (1−p)^(b−1)`.
    ///
    /// # Errors
    /// If `a` or `b` is not from 0.001 to 1,000,000.
    pub fn beta(a: f64, b: f64) -> Result<Self, StatsError> {
        for (name, value) in [("a", a), ("b", b)] {
            let allowed = (0.001..=1e6).contains(&value);
            check::parameter(name, value, "from 0.001 to 1,000,000", allowed)?;
        }
        Ok(Self { a, b })
    }
}

impl Default for RatePrior {
    fn default() -> Self {
        Self { a: 0.5, b: 2.0 }
    }
}

impl RateEvidence {
    /// No evidence yet that the rate is above `bound`, which lies between 0 and 1.
    ///
    /// # Errors
    /// If the bound is not above 0 and below 1.
    pub fn new(bound: f64) -> Result<Self, StatsError> {
        check::open_unit("bound", bound)?;
        let (hypothesis, prior) = (RateHypothesis::AtMost, RatePrior::default());
        Ok(Self { bound, events: 0, trials: 0, hypothesis, prior })
    }

    /// Sets what the evidence is against; before anything was recorded.
    #[must_use]
    pub fn against(mut self, hypothesis: RateHypothesis) -> Self {
        self.hypothesis = hypothesis;
        self
    }

    /// Sets how wrong rates are weighed; before anything was recorded.
    #[must_use]
    pub fn with_prior(mut self, prior: RatePrior) -> Self {
        self.prior = prior;
        self
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

    /// Adds the trials of another state; bound, hypothesis and prior stay.
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

    /// The bound on the rate.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.bound
    }

    pub(super) fn prior(&self) -> RatePrior {
        self.prior
    }

    /// The natural logarithm of the e-value.
    ///
    /// Against "at most `t`", with the prior's density `w` over the rates above `t` and `k` events among `n` trials:
    /// `E = ∫ p^k (1−p)^(n−k) w(p) dp / (t^k (1−t)^(n−k) ∫ w(p) dp)`.
    #[must_use]
    pub fn log_e_value(&self) -> f64 {
        let (k, n, t) = (self.events as f64, self.trials as f64, self.bound);
        let RatePrior { a, b } = self.prior;
        match self.hypothesis {
            RateHypothesis::AtMost => {
                log_upper_ratio(a + k, b + n - k, t) - log_upper_ratio(a, b, t)
            }
            RateHypothesis::AtLeast => {
                log_upper_ratio(b + n - k, a + k, 1.0 - t) - log_upper_ratio(b, a, 1.0 - t)
            }
            RateHypothesis::Equal => {
                log_beta(a + k, b + n - k) - log_beta(a, b) - k * t.ln() - (n - k) * (-t).ln_1p()
            }
        }
    }

    /// The e-value: how many times likelier the counts are if the rate is wrong. Infinite if it is beyond the largest double.
    #[must_use]
    pub fn e_value(&self) -> f64 {
        self.log_e_value().exp()
    }

    /// Whether the evidence suffices at a false-alarm rate of `alpha`, between 0 and 1: `E ≥ 1/α`.
    ///
    /// # Errors
    /// If alpha is not above 0 and below 1.
    pub fn is_enough(&self, alpha: f64) -> Result<bool, StatsError> {
        check::open_unit("alpha", alpha)?;
        Ok(self.log_e_value() >= -alpha.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_trials_the_e_value_is_1() {
        for hypothesis in [RateHypothesis::AtMost, RateHypothesis::AtLeast, RateHypothesis::Equal] {
            let evidence = RateEvidence::new(0.01).unwrap().against(hypothesis);
            assert!((evidence.e_value() - 1.0).abs() < 1e-12);
        }
        for bound in [0.0, 1.0, f64::NAN] {
            assert!(RateEvidence::new(bound).is_err());
        }
        assert!(RatePrior::beta(0.0, 1.0).is_err() && RatePrior::beta(1.0, f64::NAN).is_err());
    }

    #[test]
    fn the_e_value_is_the_integral_of_its_definition() {
        for (k, n) in [(0, 10), (1, 1), (3, 40), (5, 5), (2, 400)] {
            let bound = 0.05;
            let mut evidence = RateEvidence::new(bound).unwrap().with_prior(RatePrior::UNIFORM);
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
        let is_enough = |events, trials| {
            let mut evidence = RateEvidence::new(0.01).unwrap();
            evidence.add(events, trials);
            evidence.is_enough(0.01).unwrap()
        };
        assert!(is_enough(5, 5));
        assert!(!is_enough(1, 1) && !is_enough(1, 10));
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
