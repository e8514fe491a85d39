//! Values over time in bounded memory: the recent ones one by one, older ones as means of more and more.

use std::collections::VecDeque;

use mlp_core::{Timestamp, exact};
use serde::{Deserialize, Serialize};

use crate::error::MonitorError;

/// How many levels there are, each coarser than the one before.
const LEVELS: usize = 3;
/// How many points of a level make one of the next.
const FACTOR: u64 = 10;
/// The most points a level may have.
pub(super) const MAX_CAPACITY: usize = 1_000_000;

/// A point of a series: one value, or what became of several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SeriesPoint {
    /// When the first of them was measured.
    pub at: Timestamp,
    /// Their mean.
    #[serde(with = "exact")]
    pub mean: f64,
    /// The least.
    #[serde(with = "exact")]
    pub min: f64,
    /// The greatest: a peak is still seen when it is old.
    #[serde(with = "exact")]
    pub max: f64,
    /// How many there were.
    pub count: u64,
}

impl SeriesPoint {
    fn merge(&mut self, later: &Self) {
        let count = self.count + later.count;
        self.mean += (later.mean - self.mean) * (later.count as f64 / count as f64);
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.count = count;
    }
}

/// Values over time, at most three times `capacity` points: single values first, then ten, then a hundred together. What is older than those is gone.
///
/// ```
/// use mlp_core::Timestamp;
/// use mlp_monitor::TimeSeries;
///
/// let mut series = TimeSeries::new(10);
/// for second in 0..50 {
///     series.push(Timestamp::from_micros(second * 1_000_000), second as f64);
/// }
/// let points: Vec<_> = series.points().collect();
/// assert_eq!((points[0].mean, points[0].count), (4.5, 10)); // the first ten seconds in one
/// assert_eq!(points.last().unwrap().mean, 49.0);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TimeSeries {
    capacity: usize,
    levels: [VecDeque<SeriesPoint>; LEVELS],
}

/// What is stored of a series, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    capacity: usize,
    levels: [VecDeque<SeriesPoint>; LEVELS],
}

impl TryFrom<Stored> for TimeSeries {
    type Error = MonitorError;

    fn try_from(Stored { capacity, levels }: Stored) -> Result<Self, MonitorError> {
        if !(FACTOR as usize..=MAX_CAPACITY).contains(&capacity) {
            return Err(MonitorError::setting("capacity", capacity, "from 10 to 1,000,000"));
        }
        if let Some(level) = levels.iter().find(|level| level.len() > capacity) {
            let (given, expected) = (level.len(), capacity);
            return Err(MonitorError::Length { what: "points".to_owned(), given, expected });
        }
        let most = FACTOR.pow(LEVELS as u32);
        match levels.iter().flatten().find(|point| !(1..=most).contains(&point.count)) {
            None => Ok(Self { capacity, levels }),
            Some(point) => Err(MonitorError::setting("count", point.count, "from 1 to 1,000")),
        }
    }
}

impl TimeSeries {
    /// An empty series with so many points a level, at least 10 and at most 1,000,000.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(FACTOR as usize, MAX_CAPACITY);
        Self { capacity, levels: Default::default() }
    }

    /// Adds a value; NaN is left out.
    pub fn push(&mut self, at: Timestamp, value: f64) {
        if value.is_nan() {
            return;
        }
        self.levels[0].push_back(SeriesPoint { at, mean: value, min: value, max: value, count: 1 });
        let mut size = FACTOR;
        for level in 0..LEVELS {
            if self.levels[level].len() <= self.capacity {
                return;
            }
            let Some(oldest) = self.levels[level].pop_front() else { return };
            let Some(next) = self.levels.get_mut(level + 1) else { return };
            match next.back_mut().filter(|point| point.count < size) {
                Some(point) => point.merge(&oldest),
                None => next.push_back(oldest),
            }
            size *= FACTOR;
        }
    }

    /// The points, the oldest first.
    pub fn points(&self) -> impl Iterator<Item = &SeriesPoint> {
        self.levels.iter().rev().flatten()
    }
}
