//! A limit of a value: when it is passed, and when the value is well inside again.

use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

/// A change that exceeds its limit by less than this share of the limit is equal to it: a change is a difference of rounded doubles.
const ROUNDING: f64 = 1e-9;

/// How a change is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeMeasure {
    /// In the unit of the value.
    Absolute,
    /// As a share of the reference: 0.1 is 10 %. From a reference of 0 no such share exists, and the rule has no data.
    Relative,
}

/// Which way a change must go to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeDirection {
    /// Upwards.
    Rise,
    /// Downwards.
    Fall,
    /// Upwards or downwards.
    Either,
}

/// The limit of a value. A value equal to the limit has not passed it.
///
/// The level at which a passed limit is clear again may lie further inside, so that a value that hovers around the limit is one incident:
///
/// ```
/// use mlp_monitor::Limit;
///
/// let limit = Limit::above(0.9).with_clear(0.8);
/// assert_eq!(limit.is_passed(0.9, None), Some(false));
/// assert_eq!(limit.is_passed(0.95, None), Some(true));
/// assert_eq!(limit.is_clear(0.85, None), Some(false));
/// assert_eq!(limit.is_passed(f64::NAN, None), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Limit {
    /// Passed by values above `fire`; clear below `clear`, or at most at `fire` if there is none.
    Above {
        /// The largest value that is fine.
        fire: f64,
        /// Below this a passed limit is clear again: at most `fire`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clear: Option<f64>,
    },
    /// Passed by values below `fire`; clear above `clear`, or at least at `fire` if there is none.
    Below {
        /// The smallest value that is fine.
        fire: f64,
        /// Above this a passed limit is clear again: at least `fire`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clear: Option<f64>,
    },
    /// Passed by values below `low` or above `high`.
    Outside {
        /// The smallest value that is fine.
        low: f64,
        /// The largest value that is fine.
        high: f64,
        /// How far inside the range a value must be to be clear again.
        #[serde(default)]
        margin: f64,
    },
    /// Passed by a change of more than `by` from the reference of the observation.
    Change {
        /// The largest change that is fine, above 0.
        by: f64,
        /// In the value's unit, or as a share of the reference.
        measure: ChangeMeasure,
        /// Which way.
        direction: ChangeDirection,
        /// A passed limit is clear again when the change is below this: at most `by`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clear: Option<f64>,
    },
}

impl Limit {
    /// Passed by values above `fire`.
    #[must_use]
    pub const fn above(fire: f64) -> Self {
        Self::Above { fire, clear: None }
    }

    /// Passed by values below `fire`.
    #[must_use]
    pub const fn below(fire: f64) -> Self {
        Self::Below { fire, clear: None }
    }

    /// Passed by values below `low` or above `high`.
    #[must_use]
    pub const fn outside(low: f64, high: f64) -> Self {
        Self::Outside { low, high, margin: 0.0 }
    }

    /// Passed by a change of more than this share of the reference: 0.1 is 10 %.
    #[must_use]
    pub const fn relative_change(by: f64, direction: ChangeDirection) -> Self {
        Self::Change { by, measure: ChangeMeasure::Relative, direction, clear: None }
    }

    /// Passed by a change of more than this, in the unit of the value.
    #[must_use]
    pub const fn absolute_change(by: f64, direction: ChangeDirection) -> Self {
        Self::Change { by, measure: ChangeMeasure::Absolute, direction, clear: None }
    }

    /// Sets the level at which a passed limit is clear again; for a range, how far inside it that is.
    #[must_use]
    pub const fn with_clear(mut self, level: f64) -> Self {
        match &mut self {
            Self::Above { clear, .. } | Self::Below { clear, .. } | Self::Change { clear, .. } => {
                *clear = Some(level);
            }
            Self::Outside { margin, .. } => *margin = level,
        }
        self
    }

    /// Whether the value has passed the limit; none if that cannot be said: the value or the reference is NaN or missing, or the change
    /// is relative to 0.
    #[must_use]
    pub fn is_passed(&self, value: f64, reference: Option<f64>) -> Option<bool> {
        if value.is_nan() {
            return None;
        }
        match *self {
            Self::Above { fire, .. } => Some(value > fire),
            Self::Below { fire, .. } => Some(value < fire),
            Self::Outside { low, high, .. } => Some(value < low || value > high),
            Self::Change { by, .. } => Some(self.change(value, reference)? > by * (1.0 + ROUNDING)),
        }
    }

    /// Whether the value is so far inside that a passed limit is clear again; none as in [`is_passed`](Self::is_passed).
    #[must_use]
    pub fn is_clear(&self, value: f64, reference: Option<f64>) -> Option<bool> {
        match *self {
            Self::Above { clear: Some(clear), .. } => {
                Some(value < clear).filter(|_| !value.is_nan())
            }
            Self::Below { clear: Some(clear), .. } => {
                Some(value > clear).filter(|_| !value.is_nan())
            }
            Self::Outside { low, high, margin } => {
                Some(low + margin <= value && value <= high - margin).filter(|_| !value.is_nan())
            }
            Self::Change { clear: Some(clear), .. } => Some(self.change(value, reference)? < clear),
            _ => self.is_passed(value, reference).map(|passed| !passed),
        }
    }

    /// How far the value went from the reference in the direction that counts.
    fn change(&self, value: f64, reference: Option<f64>) -> Option<f64> {
        let Self::Change { measure, direction, .. } = *self else { return None };
        let reference = reference.filter(|reference| reference.is_finite())?;
        let difference = match direction {
            ChangeDirection::Rise => value - reference,
            ChangeDirection::Fall => reference - value,
            ChangeDirection::Either => (value - reference).abs(),
        };
        let change = match measure {
            ChangeMeasure::Absolute => difference,
            ChangeMeasure::Relative if reference == 0.0 => return None,
            ChangeMeasure::Relative => difference / reference.abs(),
        };
        Some(change).filter(|change| !change.is_nan())
    }

    /// Checks that the limit makes sense.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let need = |holds: bool, part: &str, given: f64, allowed| match holds {
            true => Ok(()),
            false => Err(MonitorError::setting(format!("{name}.{part}"), given, allowed)),
        };
        match *self {
            Self::Above { fire, clear } => {
                let clear = clear.unwrap_or(fire);
                need(fire.is_finite(), "fire", fire, "finite")?;
                let allowed = "finite and at most the level at which it fires";
                need(clear.is_finite() && clear <= fire, "clear", clear, allowed)
            }
            Self::Below { fire, clear } => {
                let clear = clear.unwrap_or(fire);
                need(fire.is_finite(), "fire", fire, "finite")?;
                let allowed = "finite and at least the level at which it fires";
                need(clear.is_finite() && clear >= fire, "clear", clear, allowed)
            }
            Self::Outside { low, high, margin } => {
                need(low.is_finite(), "low", low, "finite")?;
                need(high.is_finite(), "high", high, "finite")?;
                let half = high / 2.0 - low / 2.0;
                need(low < high, "low", low, "below high")?;
                need((0.0..=half).contains(&margin), "margin", margin, "0 to half of the range")
            }
            Self::Change { by, clear, .. } => {
                let clear = clear.unwrap_or(by);
                need(by > 0.0 && by.is_finite(), "by", by, "above 0 and finite")?;
                let allowed = "above 0 and at most the change at which it fires";
                need(clear > 0.0 && clear <= by, "clear", clear, allowed)
            }
        }
    }

    /// The limit in words, such as "above 0.9".
    #[must_use]
    pub fn describe(&self) -> String {
        match *self {
            Self::Above { fire, .. } => format!("above {fire}"),
            Self::Below { fire, .. } => format!("below {fire}"),
            Self::Outside { low, high, .. } => format!("outside {low} to {high}"),
            Self::Change { by, measure, direction, .. } => {
                let verb = match direction {
                    ChangeDirection::Rise => "risen",
                    ChangeDirection::Fall => "fallen",
                    ChangeDirection::Either => "changed",
                };
                match measure {
                    ChangeMeasure::Absolute => format!("{verb} by more than {by}"),
                    ChangeMeasure::Relative => format!("{verb} by more than {} %", by * 100.0),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_equal_to_the_threshold_does_not_fire() {
        for limit in [Limit::above(0.9), Limit::below(0.9), Limit::outside(0.1, 0.9)] {
            assert_eq!(limit.is_passed(0.9, None), Some(false), "{limit:?}");
        }
        assert_eq!(Limit::outside(0.1, 0.9).is_passed(0.1, None), Some(false));
        assert_eq!(Limit::above(0.9).is_passed(0.9_f64.next_up(), None), Some(true));
        assert_eq!(Limit::below(0.9).is_passed(0.9_f64.next_down(), None), Some(true));
        assert_eq!(Limit::outside(0.1, 0.9).is_passed(f64::INFINITY, None), Some(true));
    }

    #[test]
    fn nan_is_no_data_for_every_limit() {
        for limit in [
            Limit::above(0.9),
            Limit::above(0.9).with_clear(0.8),
            Limit::below(0.1).with_clear(0.2),
            Limit::outside(0.1, 0.9),
            Limit::relative_change(0.1, ChangeDirection::Either).with_clear(0.05),
        ] {
            assert_eq!(limit.is_passed(f64::NAN, Some(1.0)), None, "{limit:?}");
            assert_eq!(limit.is_clear(f64::NAN, Some(1.0)), None, "{limit:?}");
        }
    }

    #[test]
    fn a_change_from_100_to_110_is_no_10_percent_and_110_01_is_and_from_0_it_is_undefined() {
        let limit = Limit::relative_change(0.1, ChangeDirection::Either);
        assert_eq!(limit.is_passed(110.0, Some(100.0)), Some(false));
        assert_eq!(limit.is_passed(110.01, Some(100.0)), Some(true));
        assert_eq!(limit.is_passed(90.0, Some(100.0)), Some(false));
        assert_eq!(limit.is_passed(89.99, Some(100.0)), Some(true));
        assert_eq!(limit.is_passed(5.0, Some(0.0)), None);
        assert_eq!(limit.is_passed(5.0, None), None);
        assert_eq!(limit.is_passed(5.0, Some(f64::NAN)), None);
        assert_eq!(limit.is_passed(-110.01, Some(-100.0)), Some(true));
        // In doubles 0.77 - 0.7 is a little more than 0.07.
        assert_eq!(limit.is_passed(0.77, Some(0.7)), Some(false));
        let absolute = Limit::absolute_change(5.0, ChangeDirection::Either);
        assert_eq!(absolute.is_passed(5.0, Some(0.0)), Some(false));
        assert_eq!(absolute.is_passed(5.01, Some(0.0)), Some(true));
    }

    #[test]
    fn a_change_counts_only_in_its_direction() {
        let fall = Limit::relative_change(0.05, ChangeDirection::Fall);
        assert_eq!(fall.is_passed(0.94, Some(1.0)), Some(true));
        assert_eq!(fall.is_passed(1.06, Some(1.0)), Some(false));
        let rise = Limit::relative_change(0.05, ChangeDirection::Rise);
        assert_eq!(rise.is_passed(0.94, Some(1.0)), Some(false));
        assert_eq!(rise.is_passed(1.06, Some(1.0)), Some(true));
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        for limit in [
            Limit::above(f64::NAN),
            Limit::above(0.8).with_clear(0.9),
            Limit::below(0.9).with_clear(0.8),
            Limit::below(0.9).with_clear(f64::NAN),
            Limit::outside(1.0, 1.0),
            Limit::outside(0.0, 1.0).with_clear(0.6),
            Limit::outside(0.0, f64::INFINITY),
            Limit::outside(f64::NEG_INFINITY, 0.0),
            Limit::outside(f64::NAN, 0.0),
            Limit::relative_change(0.0, ChangeDirection::Rise),
            Limit::relative_change(0.1, ChangeDirection::Rise).with_clear(0.2),
        ] {
            assert!(limit.check("limit").is_err(), "{limit:?}");
        }
        assert!(Limit::outside(0.0, 1.0).with_clear(0.1).check("limit").is_ok());
    }
}
