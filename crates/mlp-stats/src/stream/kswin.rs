//! The Kolmogorov-Smirnov test in a sliding window.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{DriftDetector, DriftSignal, finite, signal};
use crate::check;
use crate::error::StatsError;
use crate::sort::key;
use crate::two_sample::equal_size_tail;

/// What a [`Kswin`] compares, and when it finds a change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KswinConfig {
    /// The p-value up to which a difference is a change. Default 0.005.
    pub alpha: f64,
    /// How many values are kept. Default 100.
    pub window_size: usize,
    /// How many of the newest are compared with as many drawn from the others. Default 30.
    pub stat_size: usize,
    /// Where the draws begin. Default 0.
    pub seed: u64,
}

impl Default for KswinConfig {
    fn default() -> Self {
        Self { alpha: 0.005, window_size: 100, stat_size: 30, seed: 0 }
    }
}

/// Distances up to this are no change, however many values say so.
const LEAST_DISTANCE: f64 = 0.1;

/// Compares the newest values with as many drawn from the rest of a window, by the exact Kolmogorov-Smirnov test (Raab and others 2020).
/// As River's `KSWIN`; the draws come from another generator, so they differ where the window is larger than twice the newest values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Kswin {
    config: KswinConfig,
    /// So many steps between the two distribution functions are a change: p depends on nothing else.
    critical_steps: usize,
    window: VecDeque<f64>,
    draws: u64,
    is_drift: bool,
}

/// What is stored of a detector, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    config: KswinConfig,
    critical_steps: usize,
    window: VecDeque<f64>,
    draws: u64,
    is_drift: bool,
}

impl TryFrom<Stored> for Kswin {
    type Error = StatsError;

    fn try_from(stored: Stored) -> Result<Self, StatsError> {
        let Stored { config, critical_steps, window, draws, is_drift } = stored;
        check::limit("values in the window", window.len(), config.window_size)?;
        let made = Self::new(config)?;
        let fits = critical_steps == made.critical_steps;
        let allowed = "those of the configuration";
        check::parameter("critical_steps", critical_steps as f64, allowed, fits)?;
        Ok(Self { window, draws, is_drift, ..made })
    }
}

impl Kswin {
    /// Checks the configuration.
    ///
    /// # Errors
    /// If `alpha` is not above 0 and below 1, `stat_size` not from 2 to 10,000, or `window_size` not from twice that to 10,000,000.
    pub fn new(config: KswinConfig) -> Result<Self, StatsError> {
        let KswinConfig { alpha, window_size, stat_size, .. } = config;
        check::open_unit("alpha", alpha)?;
        let allowed = (2..=10_000).contains(&stat_size);
        check::parameter("stat_size", stat_size as f64, "from 2 to 10,000", allowed)?;
        let allowed = (2 * stat_size..=10_000_000).contains(&window_size);
        let range = "from twice stat_size to 10,000,000";
        check::parameter("window_size", window_size as f64, range, allowed)?;
        // A distance of 1 may still be no evidence: then nothing ever is.
        let is_change = |steps: &usize| {
            equal_size_tail(stat_size, *steps, true) <= alpha
                && *steps as f64 / stat_size as f64 > LEAST_DISTANCE
        };
        let critical_steps = (1..=stat_size).find(is_change).unwrap_or(stat_size + 1);
        Ok(Self { config, critical_steps, window: VecDeque::new(), draws: 0, is_drift: false })
    }

    /// The greatest distance of the two distribution functions, in steps of one value.
    fn steps(&mut self) -> usize {
        let KswinConfig { window_size, stat_size, .. } = self.config;
        let mut older = self.draw(window_size - stat_size, stat_size);
        let mut newest: Vec<u64> =
            self.window.iter().skip(window_size - stat_size).map(|&value| key(value)).collect();
        older.sort_unstable();
        newest.sort_unstable();
        let (mut i, mut j, mut greatest) = (0, 0, 0_usize);
        while i < stat_size && j < stat_size {
            let next = older[i].min(newest[j]);
            while i < stat_size && older[i] == next {
                i += 1;
            }
            while j < stat_size && newest[j] == next {
                j += 1;
            }
            greatest = greatest.max(i.abs_diff(j));
        }
        greatest
    }

    /// `count` of the oldest values, all subsets equally likely (Floyd's way, which looks at no more places than it draws; Bentley and Floyd
    /// 1987).
    fn draw(&mut self, oldest: usize, count: usize) -> Vec<u64> {
        if oldest == count {
            return self.window.iter().take(count).map(|&value| key(value)).collect();
        }
        self.draws = self.draws.wrapping_add(1);
        let mut state = self.config.seed ^ self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut places = std::collections::BTreeSet::new();
        for last in oldest - count..oldest {
            let pick = ((u128::from(split_mix(&mut state)) * (last as u128 + 1)) >> 64) as usize;
            places.insert(if places.contains(&pick) { last } else { pick });
        }
        places.into_iter().map(|place| key(self.window[place])).collect()
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): a generator whose whole state is one number.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl DriftDetector for Kswin {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        let value = finite(value)?;
        if self.is_drift {
            self.reset();
        }
        if self.window.len() == self.config.window_size {
            self.window.pop_front();
        }
        self.window.push_back(value);
        self.is_drift =
            self.window.len() == self.config.window_size && self.steps() >= self.critical_steps;
        Ok(signal(self.is_drift, false))
    }

    fn reset(&mut self) {
        self.window.clear();
        self.draws = 0;
        self.is_drift = false;
    }
}
