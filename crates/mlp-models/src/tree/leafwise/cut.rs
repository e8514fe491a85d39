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
        -self.gradient / (self.hessian + l2).max(1e-16)
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

/// What lies up to each bin of a feature that has rows, and what a cut behind it gains. Columns let the compiler take several bins at once.
struct Scan {
    bin: [u8; MOST_BINS],
    gradient: [f64; MOST_BINS],
    hessian: [f64; MOST_BINS],
    rows: [f64; MOST_BINS],
    gain: [f64; MOST_BINS],
    len: usize,
}

pub(super) const MOST_BINS: usize = 256;

impl Scan {
    fn new() -> Self {
        let zeros = [0.0; MOST_BINS];
        Self {
            bin: [0; MOST_BINS],
            gradient: zeros,
            hessian: zeros,
            rows: zeros,
            gain: zeros,
            len: 0,
        }
    }

    /// Takes the sums of some bins, whose numbers ascend.
    fn fill<'a>(&mut self, bins: impl Iterator<Item = (u8, &'a Sum)>, start: Sum) {
        let (mut sum, mut at) = (start, 0);
        for (number, &bin) in bins {
            sum = sum.plus(bin);
            self.bin[at] = number;
            (self.gradient[at], self.hessian[at]) = (sum.gradient, sum.hessian);
            self.rows[at] = f64::from(sum.rows);
            // Without a branch: the next one overwrites an empty bin.
            at += usize::from(bin.rows > 0);
        }
        self.len = at;
    }

    fn up_to(&self, at: usize) -> Sum {
        let rows = self.rows[at] as u32;
        Sum { gradient: self.gradient[at], hessian: self.hessian[at], rows }
    }

    /// Both sides' scores under one division, less the score before.
    fn gains(&mut self, whole: Sum, before: f64, rules: &LeafRules) {
        let (all, least, flat) = (f64::from(whole.rows), rules.min_leaf as f64, rules.min_hessian);
        let columns = self.gradient.iter().zip(&self.hessian).zip(&self.rows);
        for (gain, ((&gradient, &hessian), &rows)) in self.gain[..self.len].iter_mut().zip(columns)
        {
            let rest = (whole.gradient - gradient, whole.hessian - hessian);
            let left = (hessian + rules.l2).max(f64::MIN_POSITIVE);
            let right = (rest.1 + rules.l2).max(f64::MIN_POSITIVE);
            let scores = (gradient * gradient * right + rest.0 * rest.0 * left) / (left * right);
            let curved = (hessian >= flat) & (rest.1 >= flat);
            let allowed = (rows >= least) & (all - rows >= least) & curved;
            *gain = if allowed { scores - before } else { f64::NEG_INFINITY };
        }
    }

    fn gains_by(&mut self, whole: Sum, rules: &LeafRules, gain: impl Fn(Sum, Sum) -> f64) {
        for at in 0..self.len {
            let left = self.up_to(at);
            let right = whole.minus(left);
            let allows = |side: Sum| {
                side.rows as usize >= rules.min_leaf && side.hessian >= rules.min_hessian
            };
            let allowed = allows(left) && allows(right);
            self.gain[at] = if allowed { gain(left, right) } else { f64::NEG_INFINITY };
        }
    }

    /// The first place of the highest gain above `least`.
    fn best(&self, least: f64) -> Option<(usize, f64)> {
        let mut best = None;
        let mut most = least;
        for (at, &gain) in self.gain[..self.len].iter().enumerate() {
            if gain > most {
                (best, most) = (Some(at), gain);
            }
        }
        best.map(|at| (at, most))
    }
}

/// The search for the cut of a leaf that gains most; the first of equally good ones.
pub(super) struct Search<'a> {
    criteria: Criteria<'a>,
    whole: Sum,
    bounds: Bounds,
    before: f64,
    scan: Scan,
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
        Self { criteria, whole, bounds, before, scan: Scan::new(), best: None }
    }

    /// Looks at a feature, given its bins as often as they are asked for, and what lies in none of them.
    pub(super) fn look<'b, I>(&mut self, feature: usize, bins: impl Fn() -> I, missing: Sum)
    where
        I: Iterator<Item = (u8, &'b Sum)>,
    {
        let (Criteria { rules, trends }, whole) = (self.criteria, self.whole);
        let (criteria, scan) = (self.criteria, &mut self.scan);
        let sides: &[bool] = if missing.rows > 0 { &[true, false] } else { &[true] };
        for &missing_right in sides {
            scan.fill(bins(), if missing_right { Sum::default() } else { missing });
            if trends.is_empty() {
                scan.gains(whole, self.before, rules);
            } else {
                scan.gains_by(whole, rules, |left, right| {
                    let score = criteria.bounded_score(feature, left, right, self.bounds);
                    score.map_or(f64::NEG_INFINITY, |score| score - self.before)
                });
            }
            let least = self.best.map_or(rules.min_gain.max(1e-12), |best| best.gain);
            let Some((at, gain)) = scan.best(least) else { continue };
            let left = scan.up_to(at);
            let right = whole.minus(left);
            self.best = Some(Cut {
                gain,
                feature,
                last_left: scan.bin[at].into(),
                next: scan.bin[..scan.len].get(at + 1).map(|&next| next.into()),
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
}
