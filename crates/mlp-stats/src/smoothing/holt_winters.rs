//! Forecasts of a series with a level, a trend and a season.

use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::StatsError;

/// How the season joins the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Season {
    /// Added: the peak is so many requests above the level.
    Additive,
    /// Multiplied: the peak is so many times the level. All values must be above 0.
    Multiplicative,
}

/// How fast a forecast follows, each above 0 (or 0 to stay) and at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Smoothing {
    /// Of the level. Default 0.3: about the last five values matter.
    pub level: f64,
    /// Of the trend. Default 0.05: trends are slow.
    pub trend: f64,
    /// Of the season. Default 0.2: about the last seven seasons matter.
    pub season: f64,
}

impl Default for Smoothing {
    fn default() -> Self {
        Self { level: 0.3, trend: 0.05, season: 0.2 }
    }
}

impl Smoothing {
    /// Sets how fast level, trend and season follow.
    #[must_use]
    pub const fn new(level: f64, trend: f64, season: f64) -> Self {
        Self { level, trend, season }
    }
}

/// Holt-Winters exponential smoothing with fixed parameters, in the error-free form of statsmodels' `ExponentialSmoothing` (0.15):
/// `l = α(y − s) + (1 − α)(l + b)`, `b = β(l − l₋) + (1 − β)b`, `s = γ(y − l₋ − b₋) + (1 − γ)s`, with quotients and products in the
/// multiplicative form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct HoltWinters {
    kind: Season,
    smoothing: Smoothing,
    level: f64,
    trend: f64,
    seasonal: Vec<f64>,
    /// The place in the season of the next value.
    place: usize,
}

/// What is stored of a model, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    kind: Season,
    smoothing: Smoothing,
    level: f64,
    trend: f64,
    seasonal: Vec<f64>,
    place: usize,
}

impl TryFrom<Stored> for HoltWinters {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { kind, smoothing, level, trend, seasonal, place } = stored;
        let places = seasonal.len();
        check::parameter("place", place as f64, "below the places in a season", place < places)?;
        Ok(Self { place, ..Self::new(kind, smoothing, level, trend, seasonal)? })
    }
}

impl HoltWinters {
    /// Starts from a known state; `seasonal` holds one value for each place in the season.
    ///
    /// # Errors
    /// If there are fewer than two places, a number is NaN or beyond 1e140 in magnitude, a smoothing parameter is outside 0 to 1, or a
    /// multiplicative state is not above 0.
    pub fn new(
        kind: Season,
        smoothing: Smoothing,
        level: f64,
        trend: f64,
        seasonal: Vec<f64>,
    ) -> Result<Self, StatsError> {
        let Smoothing { level: alpha, trend: beta, season: gamma } = smoothing;
        let parameters =
            [("smoothing.level", alpha), ("smoothing.trend", beta), ("smoothing.season", gamma)];
        for (name, given) in parameters {
            check::parameter(name, given, "from 0 to 1", (0.0..=1.0).contains(&given))?;
        }
        check::at_least("holt_winters", seasonal.len(), 2)?;
        check::within_largest("seasonal", &seasonal)?;
        check::within_largest("level and trend", &[level, trend])?;
        if kind == Season::Multiplicative {
            check::within("seasonal", &seasonal, "above 0 where it multiplies", |value| {
                value > 0.0
            })?;
            check::parameter("level", level, "above 0 where the season multiplies", level > 0.0)?;
        }
        Ok(Self { kind, smoothing, level, trend, seasonal, place: 0 })
    }

    /// Takes its state from at least two whole seasons of history: the level and trend of their means, and the mean deviation of each place.
    ///
    /// # Errors
    /// If there are fewer than two whole seasons, or as [`new`](Self::new).
    pub fn from_history(
        kind: Season,
        smoothing: Smoothing,
        period: usize,
        history: &[f64],
    ) -> Result<Self, StatsError> {
        let seasons = history.len().checked_div(period).unwrap_or_default();
        if seasons < 2 {
            check::at_least("holt_winters", history.len(), period.max(2).saturating_mul(2))?;
            check::parameter("period", period as f64, "at least 2", period >= 2)?;
        }
        check::within_largest("history", history)?;
        let history = &history[history.len() - seasons * period..];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means: Vec<f64> = history.chunks_exact(period).map(mean).collect();
        let trend = (means[seasons - 1] - means[0]) / ((seasons - 1) * period) as f64;
        // The line through the seasons' means, which lie at the middle of each season.
        let centre = (history.len() - 1) as f64 / 2.0;
        let overall = mean(history);
        let line = |at: usize| overall + trend * (at as f64 - centre);
        let deviation = |at: usize| match kind {
            Season::Additive => history[at] - line(at),
            Season::Multiplicative => history[at] / line(at),
        };
        let seasonal = (0..period)
            .map(|place| {
                (0..seasons).map(|s| deviation(s * period + place)).sum::<f64>() / seasons as f64
            })
            .collect();
        Self::new(kind, smoothing, line(history.len() - 1), trend, seasonal)
    }

    /// What the value after the next `ahead` ones is expected to be: 0 is the next one.
    #[must_use]
    pub fn forecast(&self, ahead: usize) -> f64 {
        let season =
            self.seasonal[(self.place + ahead % self.seasonal.len()) % self.seasonal.len()];
        let base = self.level + (ahead as f64 + 1.0) * self.trend;
        match self.kind {
            Season::Additive => base + season,
            Season::Multiplicative => base * season,
        }
    }

    /// Learns the next value. One that is NaN, infinite or beyond 1e140 in magnitude, or not above 0 where the season multiplies, is passed
    /// over: only time goes on. So is one after which the state would be beyond that, as smoothing by parameters near 1 may let it grow.
    pub fn update(&mut self, value: f64) {
        // A quotient by what is not above 0 would never be a number again.
        let divides = self.kind == Season::Multiplicative;
        let usable = value.abs() <= check::LARGEST
            && (!divides || (value > 0.0 && self.level + self.trend > 0.0));
        if divides && self.level + self.trend <= 0.0 {
            self.trend = 0.0;
        }
        let value = if usable { value } else { self.forecast(0) };
        let Smoothing { level: alpha, trend: beta, season: gamma } = self.smoothing;
        let season = self.seasonal[self.place];
        let expected = self.level + self.trend;
        let (deseasoned, fresh) = match self.kind {
            Season::Additive => (value - season, value - expected),
            Season::Multiplicative => (value / season, value / expected),
        };
        let level = alpha * deseasoned + (1.0 - alpha) * expected;
        let trend = beta * (level - self.level) + (1.0 - beta) * self.trend;
        let season = gamma * fresh + (1.0 - gamma) * season;
        let holds = [level, trend, season].iter().all(|part| part.abs() <= check::LARGEST);
        if holds && (!divides || (level > 0.0 && season > 0.0)) {
            self.seasonal[self.place] = season;
            (self.level, self.trend) = (level, trend);
        }
        self.place = (self.place + 1) % self.seasonal.len();
    }

    /// How many places a season has.
    #[must_use]
    pub fn period(&self) -> usize {
        self.seasonal.len()
    }

    /// The level after the last value.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.level
    }

    /// The change of the level from one value to the next.
    #[must_use]
    pub fn trend(&self) -> f64 {
        self.trend
    }

    /// The season, from the place of the next value on.
    #[must_use]
    pub fn seasonal(&self) -> Vec<f64> {
        let mut seasonal = self.seasonal.clone();
        seasonal.rotate_left(self.place);
        seasonal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(at: usize) -> f64 {
        1.0 + 0.5 * (std::f64::consts::TAU * at as f64 / 24.0).sin()
    }

    #[test]
    fn history_without_noise_is_continued_exactly() {
        let history: Vec<f64> = (0..96).map(|at| 100.0 + at as f64 + 50.0 * wave(at)).collect();
        let mut model =
            HoltWinters::from_history(Season::Additive, Smoothing::default(), 24, &history)
                .unwrap();
        for at in 96..240 {
            let value = 100.0 + at as f64 + 50.0 * wave(at);
            assert!(
                (model.forecast(0) - value).abs() < 1e-9,
                "{at}: {} for {value}",
                model.forecast(0)
            );
            model.update(value);
        }
    }

    #[test]
    fn a_multiplied_season_grows_with_the_level() {
        let at = |t: usize| 100.0 * wave(t) * (1.0 + t as f64 / 1_000.0);
        let history: Vec<f64> = (0..96).map(at).collect();
        let kind = Season::Multiplicative;
        let mut model =
            HoltWinters::from_history(kind, Smoothing::default(), 24, &history).unwrap();
        for t in 96..960 {
            assert!((model.forecast(0) / at(t) - 1.0).abs() < 0.01, "{t}");
            model.update(at(t));
        }
    }

    #[test]
    fn two_opposite_sentinels_are_passed_over() {
        let seasonal = vec![1.0, -1.0];
        let start =
            HoltWinters::new(Season::Additive, Smoothing::default(), 5.0, 0.0, seasonal).unwrap();
        let mut model = start.clone();
        model.update(f64::MAX);
        model.update(f64::MIN);
        assert_eq!(model, start);
        model.update(6.5);
        assert!((5.0..5.5).contains(&model.level()));
    }

    /// Parameters of 1 let errors swing up, a factor a value.
    #[test]
    fn a_state_that_grows_without_end_stays_finite() {
        for (kind, seasonal) in
            [(Season::Additive, vec![1.0, -1.0]), (Season::Multiplicative, vec![1e-130, 1.0])]
        {
            let fast = Smoothing::new(1.0, 1.0, 1.0);
            let mut model = HoltWinters::new(kind, fast, 5.0, 0.0, seasonal).unwrap();
            for at in 0..20_000 {
                model.update([1.0, 1e140, 3.0, 1e-140, 1e100][at % 5]);
                assert!(model.forecast(0).is_finite() && model.forecast(50).is_finite(), "{at}");
            }
            let text = serde_json::to_string(&model).unwrap();
            assert_eq!(serde_json::from_str::<HoltWinters>(&text).unwrap(), model);
        }
    }

    #[test]
    fn a_state_beyond_what_streams_take_is_refused() {
        let new = |level, trend, season| {
            let seasonal = vec![season, 1.0];
            HoltWinters::new(Season::Additive, Smoothing::default(), level, trend, seasonal)
        };
        assert!(new(1e140, -1e140, 1e140).is_ok());
        assert!(new(1e141, 0.0, 1.0).is_err() && new(1.0, -1e141, 1.0).is_err());
        assert!(new(1.0, 0.0, 1e141).is_err());
        let history = [1.0, 2.0, 1e141, 2.0];
        let smoothing = Smoothing::default();
        assert!(HoltWinters::from_history(Season::Additive, smoothing, 2, &history).is_err());
    }

    #[test]
    fn values_that_are_no_numbers_are_passed_over() {
        let mut model =
            HoltWinters::new(Season::Additive, Smoothing::default(), 5.0, 0.0, vec![1.0, -1.0])
                .unwrap();
        model.update(f64::NAN);
        assert_eq!(
            (model.level(), model.forecast(0)),
            (5.0, 4.0),
            "time went on, nothing was learnt"
        );
        assert!(
            HoltWinters::new(
                Season::Multiplicative,
                Smoothing::default(),
                5.0,
                0.0,
                vec![1.0, -1.0]
            )
            .is_err()
        );
        assert!(
            HoltWinters::from_history(Season::Additive, Smoothing::default(), 24, &[1.0; 47])
                .is_err()
        );
        assert!(
            HoltWinters::from_history(Season::Additive, Smoothing::default(), 0, &[1.0; 47])
                .is_err()
        );
    }
}
