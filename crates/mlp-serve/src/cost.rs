//! What a call of the model costs, learnt while it serves.

use std::time::Duration;

use crate::options::ServeOptions;

/// How much each call counts against all before it: about the last fifty calls matter.
const DECAY: f64 = 0.98;

/// A line explains costs if it leaves at most this share of their variance.
const UNEXPLAINED: f64 = 0.5;
/// So many calls at first move the line each, and then every so many.
const ALWAYS: u64 = 64;
const SELDOM: u64 = 8;
/// A line is believed from so many calls on.
const ENOUGH: f64 = 8.0;

/// A fit of `cost = a + b · rows` by least squares, older calls counting less.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    weight: f64,
    rows: f64,
    seconds: f64,
    rows_rows: f64,
    rows_seconds: f64,
    seconds_seconds: f64,
    /// The intercept and the slope, in seconds, as they were last computed, and after how many calls.
    line: Option<(f64, f64)>,
    calls: u64,
    /// The rows of a batch as found by trial: one more after each full batch in time, three quarters after each late one.
    tried: f64,
}

impl Cost {
    /// Learns from one call.
    #[inline]
    pub(crate) fn observe(&mut self, rows: usize, span: Duration, options: &ServeOptions) {
        if let Some(target) = options.latency_target {
            self.try_cap(rows, span > target, options.max_batch_rows);
        }
        let (rows, seconds) = (rows as f64, span.as_secs_f64());
        let add = |sum: &mut f64, value: f64| *sum = *sum * DECAY + value;
        add(&mut self.weight, 1.0);
        add(&mut self.rows, rows);
        add(&mut self.seconds, seconds);
        add(&mut self.rows_rows, rows * rows);
        add(&mut self.rows_seconds, rows * seconds);
        add(&mut self.seconds_seconds, seconds * seconds);
        self.calls += 1;
        // Its divisions cost as much as all else here, and it changes slowly.
        if self.calls <= ALWAYS || self.calls.is_multiple_of(SELDOM) {
            self.line = self.fit();
        }
    }

    /// Additive increase, multiplicative decrease.
    fn try_cap(&mut self, rows: usize, is_late: bool, most: usize) {
        let tried = self.tried.max(1.0);
        self.tried = match is_late {
            true => (tried * 0.75).max(1.0),
            false if rows as f64 >= tried.floor() => (tried + 1.0).min(most as f64),
            false => tried,
        };
    }

    /// How many rows a batch may have: as many as the line says to keep the latency target, or as trial has found where no line fits.
    pub(crate) fn cap(&self, options: &ServeOptions) -> usize {
        let Some(target) = options.latency_target else { return options.max_batch_rows };
        let rows = match self.line {
            Some((intercept, slope)) if self.is_line() => {
                ((target.as_secs_f64() - intercept) / slope).floor()
            }
            _ => self.tried.floor(),
        };
        // As a whole number: NaN and what is below one are 1.
        (rows.max(1.0) as usize).min(options.max_batch_rows)
    }

    /// Whether the costs lie on a line that rises.
    fn is_line(&self) -> bool {
        let mean = |sum: f64| sum / self.weight;
        let (rows, seconds) = (mean(self.rows), mean(self.seconds));
        let spread = mean(self.rows_rows) - rows * rows;
        let variance = mean(self.seconds_seconds) - seconds * seconds;
        let covariance = mean(self.rows_seconds) - rows * seconds;
        self.weight >= ENOUGH
            && spread > 1e-9 * rows * rows
            && covariance > 0.0
            && variance - covariance * covariance / spread <= UNEXPLAINED * variance
    }

    /// The intercept and the slope, in seconds; none before the first call.
    fn fit(&self) -> Option<(f64, f64)> {
        if self.weight == 0.0 {
            return None;
        }
        let (mean_rows, mean_seconds) = (self.rows / self.weight, self.seconds / self.weight);
        let variance = self.rows_rows / self.weight - mean_rows * mean_rows;
        let covariance = self.rows_seconds / self.weight - mean_rows * mean_seconds;
        // Batches of one size say nothing about a slope: then each row is taken to cost the same.
        if variance <= 1e-9 * mean_rows * mean_rows {
            return Some((0.0, mean_seconds / mean_rows.max(1.0)));
        }
        let slope = (covariance / variance).max(0.0);
        Some(((mean_seconds - slope * mean_rows).max(0.0), slope))
    }

    /// How many seconds a call of this many rows is expected to cost; none before the first call.
    #[inline]
    pub(crate) fn expected(&self, rows: usize) -> Option<f64> {
        let (intercept, slope) = self.line?;
        Some(intercept + slope * rows as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ServeOptions {
        ServeOptions::default()
    }

    /// After so many batches as large as the cap allows, up to 64 rows: the cap.
    fn capped(target: u64, batches: u64, micros: impl Fn(u64, u64) -> u64) -> usize {
        let target = Some(Duration::from_micros(target));
        let options = options().with_latency_target(target).with_max_batch_rows(64);
        let mut cost = Cost::default();
        for batch in 0..batches {
            let rows = cost.cap(&options);
            cost.observe(rows, Duration::from_micros(micros(batch, rows as u64)), &options);
        }
        cost.cap(&options)
    }

    #[test]
    fn the_cap_follows_the_line_to_the_latency_target() {
        assert_eq!(capped(255, 100, |_, rows| 50 + 10 * rows), 20);
        assert_eq!(capped(10_000, 200, |_, rows| 50 + 10 * rows), 64, "the bound of the options");
        assert_eq!(capped(20, 100, |_, rows| 50 + 10 * rows), 1, "a target out of reach");
        assert_eq!(Cost::default().cap(&options()), options().max_batch_rows, "no target");
    }

    #[test]
    fn where_no_line_fits_the_cap_is_found_by_trial() {
        // Free up to 12 rows, far beyond the target above: at no time a line.
        let cap =
            capped(100, 500, |batch, rows| if rows <= 12 { 20 + batch * 37 % 60 } else { 900 });
        assert!((8..=13).contains(&cap), "{cap}");
    }

    #[test]
    fn one_late_batch_of_one_row_costs_a_quarter_of_the_cap_found_by_trial() {
        let mut cost = Cost { tried: 64.0, ..Cost::default() };
        cost.try_cap(1, true, 64);
        assert_eq!(cost.tried, 48.0);
    }

    #[test]
    fn a_line_through_exact_costs_is_found() {
        let mut cost = Cost::default();
        assert_eq!(cost.expected(1), None);
        for rows in [1, 8, 3, 20, 5, 1, 13] {
            cost.observe(rows, Duration::from_micros(50 + 2 * rows as u64), &options());
        }
        let expected = cost.expected(100).unwrap();
        assert!((expected - 250e-6).abs() < 1e-9, "{expected}");
    }

    #[test]
    fn calls_of_one_size_are_taken_as_proportional() {
        let mut cost = Cost::default();
        (0..10).for_each(|_| cost.observe(4, Duration::from_micros(8), &options()));
        assert!((cost.expected(1).unwrap() - 2e-6).abs() < 1e-15);
    }

    #[test]
    fn old_costs_are_forgotten() {
        let mut cost = Cost::default();
        (0..100).for_each(|_| cost.observe(1, Duration::from_micros(1), &options()));
        (0..400).for_each(|_| cost.observe(1, Duration::from_micros(100), &options()));
        assert!(cost.expected(1).unwrap() > 99e-6);
    }
}
