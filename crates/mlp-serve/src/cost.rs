//! What a call of the model costs, learnt while it serves.

use std::time::Duration;

/// How much each call counts against all before it: about the last fifty calls matter.
const DECAY: f64 = 0.98;

/// A fit of `cost = a + b · rows` by least squares, older calls counting less.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cost {
    weight: f64,
    rows: f64,
    seconds: f64,
    rows_rows: f64,
    rows_seconds: f64,
}

impl Cost {
    /// Learns from one call.
    pub(crate) fn observe(&mut self, rows: usize, span: Duration) {
        let (rows, seconds) = (rows as f64, span.as_secs_f64());
        let add = |sum: &mut f64, value: f64| *sum = *sum * DECAY + value;
        add(&mut self.weight, 1.0);
        add(&mut self.rows, rows);
        add(&mut self.seconds, seconds);
        add(&mut self.rows_rows, rows * rows);
        add(&mut self.rows_seconds, rows * seconds);
    }

    /// The intercept and the slope, in seconds; none before the first call.
    pub(crate) fn line(&self) -> Option<(f64, f64)> {
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

    /// What a call of this many rows is expected to cost; none before the first call.
    pub(crate) fn expected(&self, rows: usize) -> Option<Duration> {
        let (intercept, slope) = self.line()?;
        Duration::try_from_secs_f64(intercept + slope * rows as f64).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_through_exact_costs_is_found() {
        let mut cost = Cost::default();
        assert_eq!(cost.expected(1), None);
        for rows in [1, 8, 3, 20, 5, 1, 13] {
            cost.observe(rows, Duration::from_micros(50 + 2 * rows as u64));
        }
        let expected = cost.expected(100).unwrap().as_secs_f64();
        assert!((expected - 250e-6).abs() < 1e-9, "{expected}");
    }

    #[test]
    fn calls_of_one_size_are_taken_as_proportional() {
        let mut cost = Cost::default();
        (0..10).for_each(|_| cost.observe(4, Duration::from_micros(8)));
        assert_eq!(cost.expected(1), Some(Duration::from_micros(2)));
    }

    #[test]
    fn old_costs_are_forgotten() {
        let mut cost = Cost::default();
        (0..100).for_each(|_| cost.observe(1, Duration::from_micros(1)));
        (0..400).for_each(|_| cost.observe(1, Duration::from_micros(100)));
        assert!(cost.expected(1).unwrap() > Duration::from_micros(99));
    }
}
