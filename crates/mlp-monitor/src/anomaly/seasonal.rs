//! Tells a daily peak from a spike at the wrong hour.

use std::collections::VecDeque;

use mlp_core::exact;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};
use mlp_stats::HoltWinters;

/// Whether a value is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anomaly {
    /// Nothing can be said: NaN, or too little is known.
    Unknown,
    /// As expected.
    Usual {
        /// How far off it is, in deviations that are usual.
        #[serde(with = "exact")]
        score: f64,
        /// What was expected.
        #[serde(with = "exact")]
        expected: f64,
    },
    /// Further off than the threshold.
    Unusual {
        /// How far off it is, in deviations that are usual; infinite if nothing has ever deviated from 0.
        #[serde(with = "exact")]
        score: f64,
        /// What was expected.
        #[serde(with = "exact")]
        expected: f64,
    },
}

impl Anomaly {
    pub(super) fn judge(score: f64, expected: f64, threshold: f64) -> Self {
        if score.is_nan() {
            Self::Unknown
        } else if score.abs() > threshold {
            Self::Unusual { score, expected }
        } else {
            Self::Usual { score, expected }
        }
    }

    /// Whether the value is further off than the threshold.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        matches!(self, Self::Unusual { .. })
    }
}

/// When a value is unusual for its place in the season.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SeasonalConfig {
    /// So many usual deviations from the forecast are unusual. Default 5: forecasts of real traffic are off more often than a normal law says.
    pub threshold: f64,
    /// How many seasons of forecast errors the usual deviation is taken from, 2 to 1,000. Default 7, a week of days.
    pub error_seasons: usize,
    /// Deviations up to this, in the unit of the values, are never unusual: one request in an idle night is none. Default 0.
    pub min_deviation: f64,
    /// After so many unusual values in a row they are learnt all the same: the world has changed. Default: one season.
    pub accept_after: Option<usize>,
}

impl Default for SeasonalConfig {
    fn default() -> Self {
        Self { threshold: 5.0, error_seasons: 7, min_deviation: 0.0, accept_after: None }
    }
}

impl SeasonalConfig {
    /// Sets how many usual deviations are unusual.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets up to which deviation nothing is unusual.
    #[must_use]
    pub fn with_min_deviation(mut self, deviation: f64) -> Self {
        self.min_deviation = deviation;
        self
    }

    /// Sets after how many unusual values in a row they are learnt.
    #[must_use]
    pub fn with_accept_after(mut self, values: usize) -> Self {
        self.accept_after = Some(values);
        self
    }

    fn check(&self) -> Result<()> {
        if self.threshold <= 0.0 || self.threshold.is_nan() {
            return Err(MonitorError::setting("threshold", self.threshold, "above 0"));
        }
        if !(2..=1_000).contains(&self.error_seasons) {
            return Err(MonitorError::setting("error_seasons", self.error_seasons, "2 to 1,000"));
        }
        if !(self.min_deviation >= 0.0 && self.min_deviation.is_finite()) {
            let allowed = "0 or above, and finite";
            return Err(MonitorError::setting("min_deviation", self.min_deviation, allowed));
        }
        Ok(())
    }
}

/// The errors of a place weigh as much as those of all places together once there are so many of them.
const GLOBAL_WEIGHT: f64 = 4.0;
/// A deviation smaller than this share of the values is rounding.
const ROUNDING: f64 = 1e-9;

/// Compares each value with its Holt-Winters forecast, in deviations that were usual at its place in the season.
///
/// The usual deviation of a place is the root of the mean square of its latest forecast errors, drawn to that of all places as if four errors of
/// the place were such: an idle night does not make a noisy day unusual. (Smyth 2004 moderates variances so.) An unusual value is not
/// learnt, so a spike does not become tomorrow's forecast; a lasting change is, after a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct SeasonalDetector {
    config: SeasonalConfig,
    model: HoltWinters,
    /// The latest errors, the one of the latest value last; none of values that were not learnt.
    errors: VecDeque<Option<f64>>,
    unusual_in_a_row: usize,
}

/// What is stored of a detector, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: SeasonalConfig,
    model: HoltWinters,
    errors: VecDeque<Option<f64>>,
    unusual_in_a_row: usize,
}

impl TryFrom<Stored> for SeasonalDetector {
    type Error = MonitorError;

    fn try_from(stored: Stored) -> Result<Self> {
        let Stored { config, model, errors, unusual_in_a_row } = stored;
        let made = Self::new(model, config)?;
        if errors.len() > made.most_errors() {
            let (given, expected) = (errors.len(), made.most_errors());
            return Err(MonitorError::Length { what: "errors".to_owned(), given, expected });
        }
        if let Some(wrong) = errors.iter().flatten().find(|error| !error.is_finite()) {
            return Err(MonitorError::setting("errors", wrong, "finite"));
        }
        Ok(Self { errors, unusual_in_a_row, ..made })
    }
}

impl SeasonalDetector {
    /// Watches a series by a model of it. Until two errors of a place in the season are known, nothing is unusual there.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(model: HoltWinters, config: SeasonalConfig) -> Result<Self> {
        config.check()?;
        Ok(Self { config, model, errors: VecDeque::new(), unusual_in_a_row: 0 })
    }

    fn most_errors(&self) -> usize {
        self.config.error_seasons.saturating_mul(self.model.period())
    }

    /// Judges the next value, and learns it unless it is unusual. NaN is unknown and teaches nothing.
    pub fn update(&mut self, value: f64) -> Anomaly {
        let expected = self.model.forecast(0);
        let anomaly = self.judge(value, expected);
        let patience = self.config.accept_after.unwrap_or(self.model.period());
        self.unusual_in_a_row = if anomaly.is_unusual() { self.unusual_in_a_row + 1 } else { 0 };
        let learnt =
            value.is_finite() && (!anomaly.is_unusual() || self.unusual_in_a_row > patience);
        self.model.update(if learnt { value } else { expected });
        let error = value - expected;
        self.errors.push_back((learnt && error.is_finite()).then_some(error));
        if self.errors.len() > self.most_errors() {
            self.errors.pop_front();
        }
        anomaly
    }

    fn judge(&self, value: f64, expected: f64) -> Anomaly {
        let Some(scale) = self.scale(expected) else { return Anomaly::Unknown };
        let deviation = value - expected;
        let is_small = deviation == 0.0 || deviation.abs() <= self.config.min_deviation;
        let score = if deviation == 0.0 { 0.0 } else { deviation / scale };
        let threshold = if is_small { f64::INFINITY } else { self.config.threshold };
        Anomaly::judge(score, expected, threshold)
    }

    /// What deviation is usual for the next value; none if too few errors are known.
    fn scale(&self, expected: f64) -> Option<f64> {
        let period = self.model.period();
        let mean_square = |errors: &mut dyn Iterator<Item = f64>| {
            let (count, sum) = errors.fold((0_u32, 0.0), |(n, sum), e| (n + 1, sum + e * e));
            (f64::from(count), sum / f64::from(count))
        };
        // The errors of this place are those a whole number of seasons ago.
        let own = &mut self.errors.iter().rev().skip(period - 1).step_by(period).flatten().copied();
        let (own_count, own_square) = mean_square(own);
        if own_count < 2.0 {
            return None;
        }
        let (_, all_square) = mean_square(&mut self.errors.iter().flatten().copied());
        let square =
            (own_count * own_square + GLOBAL_WEIGHT * all_square) / (own_count + GLOBAL_WEIGHT);
        let size = expected.abs().max(self.model.level().abs());
        Some(square.sqrt().max(ROUNDING * size))
    }

    /// The model, as it is after the last value.
    #[must_use]
    pub fn model(&self) -> &HoltWinters {
        &self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Season, Smoothing};
    use mlp_core::random;

    /// Requests an hour: quiet at night, a peak at noon, and noise.
    fn day(hour: usize, noise: f64) -> f64 {
        let angle = std::f64::consts::TAU * (hour % 24) as f64 / 24.0;
        1_000.0 - 800.0 * angle.cos() + 20.0 * noise
    }

    fn detector() -> (SeasonalDetector, random::ChaCha8Rng) {
        let mut generator = random::stream(7, 0);
        let history: Vec<f64> =
            (0..72).map(|hour| day(hour, random::normal(&mut generator))).collect();
        let model = HoltWinters::from_history(Season::Additive, Smoothing::default(), 24, &history)
            .unwrap();
        (SeasonalDetector::new(model, SeasonalConfig::default()).unwrap(), generator)
    }

    #[test]
    fn a_daily_peak_is_no_anomaly_and_a_spike_at_3_in_the_night_is() {
        let (mut detector, mut generator) = detector();
        for hour in 0..24 * 14 {
            let anomaly = detector.update(day(hour, random::normal(&mut generator)));
            assert!(!anomaly.is_unusual(), "hour {hour}: {anomaly:?}");
        }
        for hour in 0..24 {
            // At three as many requests as at noon: not the largest value of the day, at the wrong time.
            let value = if hour == 3 { 1_700.0 } else { day(hour, random::normal(&mut generator)) };
            assert_eq!(detector.update(value).is_unusual(), hour == 3, "hour {hour}");
        }
        for hour in 0..24 {
            let anomaly = detector.update(day(hour, random::normal(&mut generator)));
            assert!(!anomaly.is_unusual(), "the spike was not learnt: hour {hour}: {anomaly:?}");
        }
    }

    #[test]
    fn a_lasting_change_is_learnt_after_a_season() {
        let (mut detector, mut generator) = detector();
        let mut unusual = |add: f64| {
            (0..24 * 10)
                .filter(|hour| {
                    detector.update(day(*hour, random::normal(&mut generator)) + add).is_unusual()
                })
                .count()
        };
        assert_eq!(unusual(0.0), 0);
        let first = unusual(1_000.0);
        assert!((24..=60).contains(&first), "{first}");
        assert_eq!(unusual(1_000.0), 0);
    }

    #[test]
    fn a_gap_is_unknown_and_moves_only_the_time() {
        let (mut detector, mut generator) = detector();
        for hour in 0..24 * 4 {
            let gap = (30..50).contains(&hour);
            let value = if gap { f64::NAN } else { day(hour, random::normal(&mut generator)) };
            let anomaly = detector.update(value);
            assert!(
                !anomaly.is_unusual() && (!gap || anomaly == Anomaly::Unknown),
                "{hour}: {anomaly:?}"
            );
        }
    }

    /// How many of 60 days' hours are unusual, after three days of history.
    fn unusual(kind: Season, mut hour: impl FnMut(usize) -> f64) -> usize {
        let history: Vec<f64> = (0..72).map(&mut hour).collect();
        let model = HoltWinters::from_history(kind, Smoothing::default(), 24, &history).unwrap();
        let mut detector = SeasonalDetector::new(model, SeasonalConfig::default()).unwrap();
        (72..72 + 24 * 60).filter(|at| detector.update(hour(*at)).is_unusual()).count()
    }

    #[test]
    fn an_idle_night_does_not_make_a_noisy_day_unusual() {
        let mut found = 0;
        for seed in 0..5 {
            let mut generator = random::stream(seed, 1);
            found += unusual(Season::Additive, |at| match at % 24 {
                ..14 => 0.0,
                _ => (100.0 + 5.0 * random::normal(&mut generator)).round(),
            });
        }
        // Five deviations by about ten errors: 0.04 % of 3,000 busy hours, and three standard deviations (1.2 + 3.3).
        assert!(found <= 4, "{found} of 7,200");
    }

    #[test]
    fn a_series_without_noise_is_never_unusual() {
        let sine = |at: usize| day(at, 0.0);
        let small = |at: usize| 1e-12 * day(at, 0.0);
        let series: [(&str, &dyn Fn(usize) -> f64); 6] = [
            ("sine", &sine),
            ("small", &small),
            ("constant", &|_| 0.1),
            ("steps", &|at| ((at % 24) * 10) as f64),
            ("idle nights", &|at| if at % 24 < 18 { 0.0 } else { 10.0 }),
            ("nothing", &|_| 0.0),
        ];
        for (name, hour) in series {
            assert_eq!(unusual(Season::Additive, hour), 0, "{name}");
        }
    }

    #[test]
    fn traffic_whose_noise_grows_with_its_size_is_rarely_unusual() {
        let mut generator = random::stream(2, 1);
        let found = unusual(Season::Additive, |at| {
            let angle = std::f64::consts::TAU * (at % 24) as f64 / 24.0;
            let mean = 1_000.0 - 990.0 * angle.cos();
            (mean + mean.sqrt() * random::normal(&mut generator)).max(0.0).round()
        });
        assert!(found <= 3, "{found} of 1,440");
    }

    #[test]
    fn a_spike_in_an_idle_night_is_unusual_and_a_single_request_may_be_allowed() {
        let mut generator = random::stream(3, 1);
        let mut hour = move |at: usize| match at % 24 {
            ..14 => 0.0,
            _ => (100.0 + 5.0 * random::normal(&mut generator)).round(),
        };
        let history: Vec<f64> = (0..72).map(&mut hour).collect();
        let model = HoltWinters::from_history(Season::Additive, Smoothing::default(), 24, &history)
            .unwrap();
        let config = SeasonalConfig::default().with_min_deviation(60.0);
        let mut strict = SeasonalDetector::new(model.clone(), SeasonalConfig::default()).unwrap();
        let mut lenient = SeasonalDetector::new(model, config).unwrap();
        for at in 72..72 + 24 * 14 {
            let value = hour(at);
            strict.update(value);
            lenient.update(value);
        }
        for (value, is_strict, is_lenient) in
            [(1.0, false, false), (50.0, true, false), (100.0, true, true)]
        {
            assert_eq!(strict.clone().update(value).is_unusual(), is_strict, "{value}");
            assert_eq!(lenient.clone().update(value).is_unusual(), is_lenient, "{value}");
        }
    }

    #[test]
    fn a_season_that_multiplies_knows_its_peak_and_tells_a_spike() {
        let mut generator = random::stream(4, 1);
        // The traffic doubles within two months, and its peaks with it.
        let mut hour = move |at: usize| {
            let noise = 1.0 + 0.02 * random::normal(&mut generator);
            day(at, 0.0) * (1.0 + at as f64 / 1_512.0) * noise
        };
        let history: Vec<f64> = (0..72).map(&mut hour).collect();
        let model =
            HoltWinters::from_history(Season::Multiplicative, Smoothing::default(), 24, &history);
        let mut detector =
            SeasonalDetector::new(model.unwrap(), SeasonalConfig::default()).unwrap();
        let quiet = (72..1_440).filter(|at| detector.update(hour(*at)).is_unusual()).count();
        assert!(quiet <= 3, "{quiet}");
        for at in 1_440..1_464 {
            let value = if at % 24 == 3 { hour(at + 9) } else { hour(at) };
            assert_eq!(detector.update(value).is_unusual(), at % 24 == 3, "hour {at}");
        }
    }

    #[test]
    fn a_stored_detector_goes_on_to_the_last_bit_and_one_that_makes_no_sense_is_refused() {
        let (mut detector, mut generator) = detector();
        let mut value = move |at: usize| match at {
            50 => f64::NAN,
            60 => f64::INFINITY,
            70 => 1e300,
            _ => day(at, random::normal(&mut generator)),
        };
        (0..120).for_each(|at| {
            let anomaly = detector.update(value(at));
            let text = serde_json::to_string(&anomaly).unwrap();
            assert_eq!(serde_json::from_str::<Anomaly>(&text).unwrap(), anomaly);
        });
        let text = serde_json::to_string(&detector).unwrap();
        let mut read: SeasonalDetector = serde_json::from_str(&text).unwrap();
        assert_eq!(read, detector);
        for at in 120..200 {
            let value = value(at);
            assert_eq!(read.update(value), detector.update(value));
        }
        for (part, instead) in [
            ("\"error_seasons\":7", "\"error_seasons\":0"),
            ("\"error_seasons\":7", "\"error_seasons\":2"),
            ("\"threshold\":5.0", "\"threshold\":-1"),
            ("\"errors\":[", "\"errors\":[1e999,"),
            ("{\"config\"", "{\"more\":1,\"config\""),
        ] {
            let wrong = text.replacen(part, instead, 1);
            let refused = serde_json::from_str::<SeasonalDetector>(&wrong).is_err();
            assert!(wrong != text && refused, "{instead}");
        }
        let infinite = Anomaly::Unusual { score: f64::INFINITY, expected: f64::NEG_INFINITY };
        let text = serde_json::to_string(&infinite).unwrap();
        assert_eq!(serde_json::from_str::<Anomaly>(&text).unwrap(), infinite);
    }
}
