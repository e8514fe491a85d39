//! What counts say about a bound, at any time and however often they are looked at.

use std::time::Duration;

use mlp_core::Reading;
use mlp_stats::{CanaryEvidence, RateEvidence, RateHypothesis, log_mixture_ratio};
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::record::Cause;
use crate::sequences::{COHORT, Sequences, Strongest};
use crate::trigger::{Condition, Response, Trigger};

/// Of a healthy version at most this share of requests is above the 99th percentile.
const SLOW_SHARE: f64 = 0.01;

/// What the evidence about a version amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Requests that the model itself answered, or failed.
    pub requests: u64,
    /// Those that failed or timed out.
    pub errors: u64,
    /// The natural logarithm of the e-value for "it fails more often than the bound": of all requests, and of those since each cohort of a
    /// thousand, so that a long good record hides nothing.
    pub log_e_above: f64,
    /// The natural logarithm of the e-value for "it fails less often than the bound".
    pub log_e_below: f64,
    /// The latency that 99 % of the requests do not exceed, in milliseconds, rounded up by at most a thirty-second part; none below 100 requests.
    pub latency_p99_ms: Option<f64>,
}

impl Evidence {
    pub(crate) fn of(counts: &Counts, bound: f64) -> Self {
        let (errors, requests) = counts.errors();
        let (in_time, so_far) = counts.errors_in_time();
        Self {
            requests,
            errors,
            log_e_above: in_time.against(so_far, bound).log_e,
            log_e_below: log_e_below(errors, requests, bound),
            latency_p99_ms: counts.p99().map(|p99| p99.as_secs_f64() * 1e3),
        }
    }
}

/// The logarithm of the e-value against "the rate is at most `bound`". A bound out of range is no evidence.
pub(crate) fn log_e_above(events: u64, trials: u64, bound: f64) -> f64 {
    log_e(events, trials, bound, RateHypothesis::AtMost)
}

/// The logarithm of the e-value against "the rate is at least `bound`".
pub(crate) fn log_e_below(events: u64, trials: u64, bound: f64) -> f64 {
    log_e(events, trials, bound, RateHypothesis::AtLeast)
}

fn log_e(events: u64, trials: u64, bound: f64, hypothesis: RateHypothesis) -> f64 {
    let Ok(evidence) = RateEvidence::new(bound) else { return 0.0 };
    let mut evidence = evidence.against(hypothesis);
    evidence.add(events, trials);
    evidence.log_e_value()
}

/// The logarithm of the e-value against "an error of either comes from the canary with the probability that its share and the allowed
/// ratio of error rates give". Errors of one constant share; over several shares the logarithms add up.
pub(crate) fn log_e_worse(canary_errors: u64, active_errors: u64, share: f64, ratio: f64) -> f64 {
    let Ok(mut evidence) = CanaryEvidence::new(share, ratio) else { return 0.0 };
    evidence.add(canary_errors, active_errors);
    evidence.log_e_value()
}

/// The counters read once, so that triggers which fire at once are seen to.
struct Snapshot {
    errors: (Sequences, u64),
    slow: Option<(Sequences, u64)>,
    slow_above: Option<Duration>,
}

/// Everything that fires by the version's own counters.
pub(crate) fn breaches<'a>(
    triggers: impl IntoIterator<Item = &'a Trigger>,
    counts: &Counts,
) -> Vec<(Response, Cause)> {
    let (errors, slow) = (counts.errors_in_time(), counts.slow_in_time());
    let snapshot = Snapshot { errors, slow, slow_above: counts.slow_above() };
    let fires = |trigger: &Trigger| Some((trigger.response, breach(trigger, &snapshot)?));
    triggers.into_iter().filter_map(fires).collect()
}

/// What a trigger that needs nothing but the version's own counters says of one reading of them.
fn breach(trigger: &Trigger, counts: &Snapshot) -> Option<Cause> {
    let weigh = |(events, samples): &(Sequences, u64), threshold: f64, alpha: f64, signal: &str| {
        rate_above(trigger, events, *samples, (threshold, alpha), signal)
    };
    match trigger.condition {
        Condition::ErrorRateAbove { rate, alpha } => {
            weigh(&counts.errors, rate, alpha, "error rate")
        }
        Condition::SlowerThanBaseline { times, alpha } => {
            let limit = counts.slow_above?;
            let signal = format!("share of requests above {limit:?} ({times} × baseline p99)");
            weigh(counts.slow.as_ref()?, SLOW_SHARE, alpha, &signal)
        }
        Condition::NaiveErrorRate { rate, min_requests } => {
            let (errors, requests) = &counts.errors;
            let is_over = |window: &Strongest| {
                let enough =
                    if window.since == 0 { min_requests } else { min_requests.max(COHORT) };
                window.trials >= enough.max(1) && window.events as f64 > rate * window.trials as f64
            };
            let over = errors.windows(*requests).find(is_over)?;
            Some(cause_since(trigger, "error rate", &over, rate, None))
        }
        _ => None,
    }
}

/// The cause, if all sequences together say that the rate is above the threshold.
pub(crate) fn rate_above(
    trigger: &Trigger,
    events: &Sequences,
    trials: u64,
    (threshold, alpha): (f64, f64),
    signal: &str,
) -> Option<Cause> {
    if trials == 0 {
        return None;
    }
    let strongest = events.against(trials, threshold);
    (strongest.log_e >= -alpha.ln())
        .then(|| cause_since(trigger, signal, &strongest, threshold, Some(strongest.log_e)))
}

fn cause_since(
    trigger: &Trigger,
    signal: &str,
    counted: &Strongest,
    threshold: f64,
    log_e: Option<f64>,
) -> Cause {
    let detail = match counted.since {
        0 => String::new(),
        before => format!("since the first {before}"),
    };
    Cause { detail, ..cause(trigger, signal, counted.events, counted.trials, threshold, log_e) }
}

pub(crate) fn cause(
    trigger: &Trigger,
    signal: &str,
    events: u64,
    samples: u64,
    threshold: f64,
    log_e: Option<f64>,
) -> Cause {
    Cause {
        trigger: trigger.name.clone(),
        signal: signal.to_owned(),
        value: events as f64 / samples as f64,
        threshold,
        events,
        samples,
        // JSON has no infinity.
        log_e: log_e.map(|log_e| log_e.min(f64::MAX)),
        detail: String::new(),
    }
}

/// Whether a trial's mean is below what is left of the active version's after the allowed drop. `None`: a reading says nothing usable.
pub(crate) fn metric_drop(
    trigger: &Trigger,
    trial: &Reading,
    active: &Reading,
    relative: f64,
    deviation: f64,
    alpha: f64,
) -> Option<Option<Cause>> {
    let (value, baseline) = (trial.value()?, active.value()?);
    // Of a loss too, so much less is worse.
    let keep = 1.0 - relative * baseline.signum();
    let bound = keep * baseline;
    let counts = (trial.count() as f64, active.count() as f64);
    let variance = deviation * deviation * (1.0 / counts.0 + keep * keep / counts.1);
    if !(bound.is_finite() && value.is_finite()) {
        return None;
    }
    let log_e = log_mixture_ratio(bound - value, variance, deviation * deviation);
    let fires = value < bound && log_e >= -alpha.ln();
    Some(fires.then(|| Cause {
        value,
        ..cause(trigger, "mean of the business metric", 0, trial.count(), bound, Some(log_e))
    }))
}
