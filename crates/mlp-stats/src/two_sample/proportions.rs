//! Tests and intervals of shares: events among trials.

use super::Alternative;
use crate::check;
use crate::distribution::{beta_quantile, normal_quantile, normal_tail};
use crate::error::{StatsError, Undefined};

/// Two ends between which a true value lies with some confidence.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// Events among trials.
///
/// ```
/// use mlp_stats::{Alternative, Proportion, fisher_exact, two_proportions};
///
/// let (canary, baseline) = (Proportion::new(1, 10)?, Proportion::new(100, 10_000)?);
/// let interval = canary.wilson(0.95)?;
/// assert!((interval.upper - 0.40415).abs() < 1e-5);
/// // One error in ten looks like a lot, and is hardly any evidence.
/// assert!(two_proportions(canary, baseline)?.p_value(Alternative::Greater) < 0.003);
/// assert!(fisher_exact(canary, baseline, Alternative::Greater) > 0.09);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Stored")]
pub struct Proportion {
    events: u64,
    trials: u64,
}

/// What is stored of a proportion, before it is checked.
#[derive(serde::Deserialize)]
struct Stored {
    events: u64,
    trials: u64,
}

impl TryFrom<Stored> for Proportion {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        Self::new(stored.events, stored.trials)
    }
}

impl Proportion {
    /// So many events among so many trials.
    ///
    /// # Errors
    /// If there are no trials, or more events than trials.
    pub fn new(events: u64, trials: u64) -> Result<Self, StatsError> {
        check::not_empty("proportion", usize::from(trials > 0))?;
        check::parameter("events", events as f64, "at most the trials", events <= trials)?;
        Ok(Self { events, trials })
    }

    /// The share of the trials that are events.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.events as f64 / self.trials as f64
    }

    /// Wilson's score interval (Wilson 1927): close to its confidence even for few trials.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1.
    pub fn wilson(&self, confidence: f64) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let (n, share) = (self.trials as f64, self.share());
        let z = normal_quantile((1.0 + confidence) / 2.0);
        let scale = 1.0 + z * z / n;
        let centre = (share + z * z / (2.0 * n)) / scale;
        let reach = z / scale * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
        let lower = if self.events == 0 { 0.0 } else { (centre - reach).max(0.0) };
        let upper = if self.events == self.trials { 1.0 } else { (centre + reach).min(1.0) };
        Ok(Interval { lower, upper })
    }

    /// The exact interval (Clopper and Pearson 1934): never less than its confidence, often more.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1.
    pub fn clopper_pearson(&self, confidence: f64) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let tail = (1.0 - confidence) / 2.0;
        let (events, rest) = (self.events as f64, (self.trials - self.events) as f64);
        let lower = if self.events == 0 { 0.0 } else { beta_quantile(tail, events, rest + 1.0) };
        let upper = if rest == 0.0 { 1.0 } else { beta_quantile(1.0 - tail, events + 1.0, rest) };
        Ok(Interval { lower, upper })
    }
}

/// What the pooled z-test of two shares says.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct TwoProportions {
    /// The difference of the shares over its standard error if they are the same.
    pub z: f64,
    /// The first share less the second.
    pub difference: f64,
}

impl TwoProportions {
    /// The chance of such a statistic if the shares are the same.
    #[must_use]
    pub fn p_value(&self, alternative: Alternative) -> f64 {
        alternative.of_tails(normal_tail(-self.z), normal_tail(self.z))
    }
}

/// Whether two shares differ, by the normal distribution with their pooled variance (Fleiss, Levin and Paik 2003, chapter 3): for many events and trials; [`fisher_exact`] is for few.
///
/// # Errors
/// If no trial of either is an event, or every one is.
pub fn two_proportions(
    first: Proportion,
    second: Proportion,
) -> Result<TwoProportions, StatsError> {
    let (n, m) = (first.trials as f64, second.trials as f64);
    let pooled = (first.events as f64 + second.events as f64) / (n + m);
    if pooled == 0.0 || pooled == 1.0 {
        return Err(StatsError::undefined("two_proportions", Undefined::Constant));
    }
    let difference = first.share() - second.share();
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    Ok(TwoProportions { z: difference / error, difference })
}

/// How many times greater the odds of an event are in the first than in the second (Cornfield 1951): the effect size of a two-by-two table; 1
/// without a difference, infinite if only the first has events, or all are.
///
/// # Errors
/// If no trial of either is an event, or every one is.
pub fn odds_ratio(first: Proportion, second: Proportion) -> Result<f64, StatsError> {
    let rest = |of: Proportion| (of.trials - of.events) as f64;
    let (top, bottom) = (first.events as f64 * rest(second), second.events as f64 * rest(first));
    if top == 0.0 && bottom == 0.0 {
        return Err(StatsError::undefined("odds_ratio", Undefined::ZeroDivision));
    }
    Ok(top / bottom)
}

/// Weights below this part of the greatest count for nothing: before the least doubles, which a factor near 1 would leave as they are.
const VANISHING: f64 = 1e-300;

/// The chance of such a split of the events, or a less likely one, if the shares are the same (Fisher 1922): the exact test of few events.
///
/// The chances are built up by ratios from the likeliest split outwards, so that they keep their digits for any counts; the time grows with the
/// root of the events.
#[must_use]
pub fn fisher_exact(first: Proportion, second: Proportion, alternative: Alternative) -> f64 {
    let (n, m) = (first.trials, second.trials);
    let events = u128::from(first.events) + u128::from(second.events);
    // The first has at least the events that the second has no room for. Counted in whole numbers: doubles would put these out of order.
    let (from, to) = (events.saturating_sub(m.into()) as u64, events.min(n.into()) as u64);
    let first_part = (n as f64 + 1.0) / (n as f64 + m as f64 + 2.0);
    let mode = (((events as f64 + 1.0) * first_part).floor() as u64).clamp(from, to);
    // The four counts at the mode. A split is told by how many more events the first has than there: one step changes that, however large
    // the counts are.
    let of_second = (events - u128::from(mode)) as u64;
    let (event, rest) = (mode as f64, (n - mode) as f64);
    let (other_event, other_rest) = (of_second as f64, (m - of_second) as f64);
    let more = |k: u64| (i128::from(k) - i128::from(mode)) as f64;
    let (from, to, observed) = (more(from), more(to), more(first.events));
    // Weights relative to the mode's, each with its split, outwards on both sides until they vanish.
    let up = std::iter::successors(Some((0.0, 1.0)), |&(k, weight)| {
        let next = weight
            * ((rest - k) / (event + k + 1.0))
            * ((other_event - k) / (other_rest + k + 1.0));
        (k < to && next > VANISHING).then_some((k + 1.0, next))
    });
    let down = std::iter::successors(Some((0.0, 1.0)), |&(k, weight)| {
        let next = weight
            * ((event + k) / (rest - k + 1.0))
            * ((other_rest + k) / (other_event - k + 1.0));
        (k > from && next > VANISHING).then_some((k - 1.0, next))
    });
    let mut own = 0.0;
    up.clone().chain(down.clone()).filter(|split| split.0 == observed).for_each(|s| own = s.1);
    // Equally likely splits count, up to rounding.
    let counts = |&(k, weight): &(f64, f64)| match alternative {
        Alternative::Less => k <= observed,
        Alternative::Greater => k >= observed,
        Alternative::TwoSided => weight <= own * (1.0 + 1e-9),
    };
    let (mut part, mut all) = (crate::sum::Sum::default(), crate::sum::Sum::default());
    for split in up.chain(down.skip(1)) {
        all.add(split.1);
        part.add(if counts(&split) { split.1 } else { 0.0 });
    }
    (part.value() / all.value()).clamp(0.0, 1.0)
}

/// The interval of the difference of two shares from their Wilson intervals (Newcombe 1998, method 10).
///
/// # Errors
/// If the confidence is not between 0 and 1.
pub fn newcombe_interval(
    first: Proportion,
    second: Proportion,
    confidence: f64,
) -> Result<Interval, StatsError> {
    let (a, b) = (first.wilson(confidence)?, second.wilson(confidence)?);
    let (p, q) = (first.share(), second.share());
    Ok(Interval {
        lower: p - q - ((p - a.lower).powi(2) + (b.upper - q).powi(2)).sqrt(),
        upper: p - q + ((a.upper - p).powi(2) + (q - b.lower).powi(2)).sqrt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_counts_are_errors() {
        assert!(Proportion::new(0, 0).is_err() && Proportion::new(2, 1).is_err());
        let none = Proportion::new(0, 5).unwrap();
        assert!(two_proportions(none, none).is_err());
        assert!(none.wilson(0.0).is_err() && none.clopper_pearson(f64::NAN).is_err());
        assert_eq!(fisher_exact(none, none, Alternative::TwoSided), 1.0);
        assert!(odds_ratio(none, none).is_err());
        // The same events among any number of trials: SciPy's binomial limit, binom.sf(59, 100, 0.5).
        for trials in [10_u64.pow(10), 10_u64.pow(14), 1 << 62] {
            let of = |events| Proportion::new(events, trials).unwrap();
            let p = fisher_exact(of(60), of(40), Alternative::Greater);
            assert!((p - 0.028443966820490).abs() < 1e-7, "{trials}: {p}");
        }
        assert_eq!(none.clopper_pearson(0.95).unwrap().lower, 0.0);
    }

    #[test]
    fn counts_that_no_double_holds_have_a_p_value() {
        let all = |trials| Proportion::new(trials, trials).unwrap();
        for trials in [9_007_199_254_740_994, 9_007_199_254_740_995, u64::MAX] {
            for (first, second) in [(all(trials), all(1)), (all(1), all(trials))] {
                assert_eq!(fisher_exact(first, second, Alternative::TwoSided), 1.0);
            }
            // One event less, among the one trial of the second: as likely as among any other.
            let none = Proportion::new(0, 1).unwrap();
            let p = fisher_exact(all(trials), none, Alternative::Greater);
            assert!((p * (trials as f64 + 1.0) - 1.0).abs() < 1e-9, "{trials}: {p}");
        }
    }
}
