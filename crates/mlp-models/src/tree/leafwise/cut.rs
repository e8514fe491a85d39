//! Looking for the cut of a leaf that gains most.

use super::{LeafRules, Slope};
use crate::tree::bins::Edges;
use crate::tree::trend::{Bounds, Trends};

/// What some rows come to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) gradient: f64,
    pub(super) hessian: f64,
    pub(super) rows: u32,
}

impl Sum {
    pub(super) fn add(&mut self, slope: Slope) {
        self.gradient += slope.gradient;
        self.hessian += slope.hessian;
        self.rows += 1;
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient + other.gradient,
            hessian: self.hessian + other.hessian,
            rows: self.rows + other.rows,
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }

    /// Twice what the best value of a leaf takes off the loss, to second order (Chen and Guestrin 2016, equation 6).
    pub(super) fn score(self, l2: f64) -> f64 {
        self.gradient * self.gradient / (self.hessian + l2).max(f64::MIN_POSITIVE)
    }

    /// Twice what this value takes off the loss.
    pub(super) fn score_at(self, value: f64, l2: f64) -> f64 {
        -value * (2.0 * self.gradient + (self.hessian + l2) * value)
    }

    /// The best value of a leaf.
    pub(super) fn value(self, l2: f64) -> f64 {
        -self.gradient / (self.hessian + l2).max(f64::MIN_POSITIVE)
    }
}

/// What decides between cuts, and what a leaf may answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Criteria<'a> {
    pub(super) rules: &'a LeafRules,
    pub(super) trends: &'a Trends,
}

impl Criteria<'_> {
    pub(super) fn value(self, sum: Sum, bounds: Bounds) -> f64 {
        bounds.clip(sum.value(self.rules.l2))
    }

    /// What both sides take off the loss with values within the bounds; none if they go against the trend.
    fn bounded_score(self, feature: usize, left: Sum, right: Sum, bounds: Bounds) -> Option<f64> {
        let (low, high) = (self.value(left, bounds), self.value(right, bounds));
        let l2 = self.rules.l2;
        let allowed = bounds.allow(self.trends.of(feature), low, high);
        allowed.then(|| left.score_at(low, l2) + right.score_at(high, l2))
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) gain: f64,
    pub(super) feature: usize,
    pub(super) last_left: usize,
    pub(super) next: Option<usize>,
    pub(super) missing_right: bool,
    pub(super) left: Sum,
    pub(super) right: Sum,
}

impl Cut {
    /// Whether a row with this code goes left; `n_bins` is the code of a missing value.
    pub(super) fn takes_left(&self, code: usize, n_bins: usize) -> bool {
        (code <= self.last_left) | ((code == n_bins) & !self.missing_right)
    }

    /// The highest value that goes left.
    pub(super) fn threshold(&self, edges: &Edges) -> f64 {
        match self.next {
            Some(next) => edges.threshold(self.last_left, next),
            // All that is known goes left, whatever its size.
            None => f64::MAX,
        }
    }
}

pub(super) const MOST_BINS: usize = 256;

/// So much less than the best gain so far a gain may seem to be by products, which round otherwise than the quotient.
const ROUNDING: f64 = 1.0 - 1e-12;

/// The search for the cut of a leaf that gains most; the first of equally good ones.
pub(super) struct Search<'a> {
    criteria: Criteria<'a>,
    whole: Sum,
    bounds: Bounds,
    before: f64,
    pub(super) best: Option<Cut>,
}

impl<'a> Search<'a> {
    pub(super) fn new(criteria: Criteria<'a>, whole: Sum, bounds: Bounds) -> Self {
        let l2 = criteria.rules.l2;
        let before = if criteria.trends.is_empty() {
            whole.score(l2)
        } else {
            whole.score_at(criteria.value(whole, bounds), l2)
        };
        Self { criteria, whole, bounds, before, best: None }
    }

    /// Looks at a feature, given its bins as often as they are asked for, and what lies in none of them.
    pub(super) fn look<'b, I>(&mut self, feature: usize, bins: impl Fn() -> I, missing: Sum)
    where
        I: Iterator<Item = (u8, &'b Sum)>,
    {
        let (Criteria { rules, trends }, whole) = (self.criteria, self.whole);
        let sides: &[bool] = if missing.rows > 0 { &[true, false] } else { &[true] };
        for &missing_right in sides {
            let start = if missing_right { Sum::default() } else { missing };
            let least = self.best.map_or(rules.min_gain, |best| best.gain);
            let found = if trends.is_empty() {
                self.steepest(bins(), start, least)
            } else {
                self.steepest_within(feature, bins(), start, least)
            };
            let Some(Found { gain, last_left, left }) = found else { continue };
            let right = whole.minus(left);
            let next = bins().find(|&(bin, sum)| bin > last_left && sum.rows > 0);
            self.best = Some(Cut {
                gain,
                feature,
                last_left: last_left.into(),
                next: next.map(|(next, _)| next.into()),
                missing_right: if missing.rows > 0 {
                    missing_right
                } else {
                    right.rows > left.rows
                },
                left,
                right,
            });
        }
    }

    /// The first cut that gains most, and more than `least`. There is none behind a bin without rows: what is left
    /// there is rounding, or only what is missing.
    fn steepest<'b>(
        &self,
        bins: impl Iterator<Item = (u8, &'b Sum)>,
        start: Sum,
        least: f64,
    ) -> Option<Found> {
        let (whole, l2, before) = (self.whole, self.criteria.rules.l2, self.before);
        let (mut best, mut most, mut left) = (None, least, start);
        let mut bar = (before + most) * ROUNDING;
        for (bin, &sum) in bins {
            left = left.plus(sum);
            let rest = (whole.gradient - left.gradient, whole.hessian - left.hessian);
            let low = (left.hessian + l2).max(f64::MIN_POSITIVE);
            let high = (rest.1 + l2).max(f64::MIN_POSITIVE);
            // Both sides' scores under one division, for which only few of the cuts are good enough.
            let scores = left.gradient * left.gradient * high + rest.0 * rest.0 * low;
            let both = low * high;
            if scores > bar * both {
                let gain = scores / both - before;
                if gain > most && sum.rows > 0 && self.allows(left) {
                    best = Some(Found { gain, last_left: bin, left });
                    most = gain;
                    bar = (before + most) * ROUNDING;
                }
            }
        }
        best
    }

    /// The same with answers that keep within their bounds and to the trends.
    fn steepest_within<'b>(
        &self,
        feature: usize,
        bins: impl Iterator<Item = (u8, &'b Sum)>,
        start: Sum,
        least: f64,
    ) -> Option<Found> {
        let (mut best, mut most, mut left) = (None, least, start);
        for (bin, &sum) in bins.filter(|(_, sum)| sum.rows > 0) {
            left = left.plus(sum);
            if !self.allows(left) {
                continue;
            }
            let right = self.whole.minus(left);
            let score = self.criteria.bounded_score(feature, left, right, self.bounds);
            if let Some(gain) = score.map(|score| score - self.before).filter(|gain| *gain > most) {
                best = Some(Found { gain, last_left: bin, left });
                most = gain;
            }
        }
        best
    }

    /// Whether both sides are large enough and curved enough.
    fn allows(&self, left: Sum) -> bool {
        let (rules, right) = (self.criteria.rules, self.whole.minus(left));
        let allows =
            |side: Sum| side.rows as usize >= rules.min_leaf && side.hessian >= rules.min_hessian;
        allows(left) && allows(right)
    }
}

/// A cut of one feature: behind the bin `last_left`, with these rows on the left.
struct Found {
    gain: f64,
    last_left: u8,
    left: Sum,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(gradient: f64, rows: u32) -> Sum {
        Sum { gradient, hessian: f64::from(rows), rows }
    }

    fn best(bins: &[Sum], missing: Sum, whole: Sum) -> Cut {
        let rules = LeafRules {
            max_leaves: 31,
            max_depth: 8,
            min_leaf: 1,
            l2: 0.0,
            min_gain: 1e-12,
            min_hessian: 1e-3,
            learning_rate: 0.1,
            threads: 1,
        };
        let (trends, bounds) = (Trends::default(), Bounds::NONE);
        let mut search = Search::new(Criteria { rules: &rules, trends: &trends }, whole, bounds);
        search.look(0, || (0..).zip(bins), missing);
        search.best.unwrap()
    }

    #[test]
    fn no_cut_is_behind_a_bin_without_rows_however_the_sum_of_all_rounds() {
        let (known, missing) = (sum(3.7, 10), sum(-1.3, 10));
        let nothing = sum(0.0, 0);
        // What a subtraction leaves in a bin whose rows all went to the other side.
        let residue = Sum { gradient: 1e-13, ..nothing };
        for ulps in 0..64 {
            let mut whole = known.plus(missing);
            whole.gradient = f64::from_bits(whole.gradient.to_bits() - 32 + ulps);
            let cut = best(&[nothing, known], missing, whole);
            assert_eq!((cut.last_left, cut.next, cut.missing_right), (1, None, true));
            let cut = best(&[known, residue, missing], nothing, whole);
            assert_eq!((cut.last_left, cut.next), (0, Some(2)));
        }
    }
}
