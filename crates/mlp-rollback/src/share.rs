//! A share of traffic.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A share of traffic from 0 to 100 percent, exact to a millionth of the whole. Written as a number of percent.
///
/// ```
/// use mlp_rollback::Share;
///
/// assert_eq!(Share::percent(12.5)?.to_string(), "12.5 %");
/// assert!(Share::percent(100.1).is_err() && Share::percent(f64::NAN).is_err());
/// # Ok::<(), mlp_rollback::Error>(())
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "f64", into = "f64")]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One half.
    pub(crate) const HALF: Self = Self(500_000);
    /// One quarter.
    pub(crate) const QUARTER: Self = Self(250_000);
    /// Everything.
    pub const WHOLE: Self = Self(1_000_000);

    /// A share in percent, rounded to a millionth of the whole.
    ///
    /// # Errors
    /// If it is not between 0 and 100.
    pub fn percent(percent: f64) -> Result<Self, Error> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(Error::ShareOutOfRange { given: percent });
        }
        Ok(Self((percent * 10_000.0).round() as u32))
    }

    /// The share in percent.
    #[must_use]
    pub fn as_percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / 1_000_000.0
    }

    /// In millionths of the whole.
    pub(crate) const fn millionths(self) -> u32 {
        self.0
    }

    /// What is left of the whole.
    pub(crate) const fn rest(self) -> Self {
        Self(1_000_000 - self.0)
    }

    /// What lies between two places; nothing if they are out of order.
    pub(crate) fn between(from: Self, to: Self) -> Self {
        Self(to.0.saturating_sub(from.0))
    }

    /// The sum, at most `bound`.
    pub(crate) fn plus_up_to(self, step: Self, bound: Self) -> Self {
        Self((self.0 + step.0).min(bound.0))
    }
}

impl TryFrom<f64> for Share {
    type Error = Error;

    fn try_from(percent: f64) -> Result<Self, Error> {
        Self::percent(percent)
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        share.as_percent()
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} %", self.as_percent()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_reads_back_from_its_percentage() {
        for millionths in (0..=1_000_000).step_by(37) {
            let share = Share(millionths);
            assert_eq!(Share::percent(share.as_percent()).unwrap(), share);
        }
        assert!(serde_json::from_str::<Share>("-1").is_err());
    }
}
