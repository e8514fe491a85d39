//! The spread of any statistic, by drawing from the sample again.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::check;
use crate::distribution::{normal_quantile, normal_tail};
use crate::error::{StatsError, Undefined};
use crate::two_sample::Interval;

/// Draws rows with replacement and computes a statistic of each draw (Efron 1979). The same seed gives the same draws on every machine.
///
/// ```
/// use mlp_stats::Bootstrap;
///
/// let values: Vec<f64> = (0..100).map(f64::from).collect();
/// let mean = |rows: &[usize]| rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64;
/// let draws = Bootstrap::new(7).with_resamples(2_000)?.draw(values.len(), mean)?;
/// let interval = draws.percentile(0.95)?;
/// assert!(interval.lower > 42.0 && interval.lower < 45.5 && interval.upper > 53.5 && interval.upper < 57.0);
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Bootstrap {
    seed: u64,
    resamples: usize,
}

/// The statistic of the sample and of every draw from it.
#[derive(Debug, Clone, PartialEq)]
pub struct BootstrapDraws {
    statistic: f64,
    /// In ascending order.
    draws: Vec<f64>,
    rows: usize,
}

impl Bootstrap {
    /// A thousand draws from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, resamples: 1_000 }
    }

    /// Sets the number of draws.
    ///
    /// # Errors
    /// If it is not from 2 to 10,000,000.
    pub fn with_resamples(mut self, resamples: usize) -> Result<Self, StatsError> {
        let allowed = (2..=10_000_000).contains(&resamples);
        check::parameter("resamples", resamples as f64, "from 2 to 10,000,000", allowed)?;
        self.resamples = resamples;
        Ok(self)
    }

    /// Computes the statistic, which gets the rows of a draw, of the whole sample and of every draw.
    ///
    /// # Errors
    /// If there are fewer than two rows or more than 268,435,456, or the statistic is not finite.
    pub fn draw(
        &self,
        rows: usize,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<BootstrapDraws, StatsError> {
        check::at_least("bootstrap", rows, 2)?;
        check::limit("rows of a bootstrap", rows, 1 << 28)?;
        let mut picked: Vec<usize> = (0..rows).collect();
        let whole = statistic(&picked);
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draws: Vec<f64> = (0..self.resamples)
            .map(|_| {
                picked.iter_mut().for_each(|row| *row = below(&mut generator, rows));
                statistic(&picked)
            })
            .collect();
        draws.sort_unstable_by(f64::total_cmp);
        check::finite("statistic", &[whole])?;
        check::finite("statistic of a draw", &draws)?;
        Ok(BootstrapDraws { statistic: whole, draws, rows })
    }
}

impl BootstrapDraws {
    /// The statistic of the sample itself.
    #[must_use]
    pub fn statistic(&self) -> f64 {
        self.statistic
    }

    /// The standard deviation of the draws.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        let mean = crate::sum::mean(&self.draws);
        (crate::sum::squared_deviations(&self.draws, mean) / (self.draws.len() - 1) as f64).sqrt()
    }

    /// The interval between two quantiles of the draws.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1.
    pub fn percentile(&self, confidence: f64) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let tail = (1.0 - confidence) / 2.0;
        Ok(Interval { lower: self.quantile(tail), upper: self.quantile(1.0 - tail) })
    }

    /// The interval corrected for bias and for a spread that changes with the statistic (BCa; Efron 1987).
    ///
    /// Takes the statistic once more, which is computed with each row left out in turn: as often as there are rows.
    ///
    /// # Errors
    /// If the confidence is not between 0 and 1, all draws are on one side of the statistic, or it is not finite with a row left out.
    pub fn bias_corrected(
        &self,
        confidence: f64,
        statistic: impl Fn(&[usize]) -> f64,
    ) -> Result<Interval, StatsError> {
        check::open_unit("confidence", confidence)?;
        let below = self.draws.partition_point(|draw| *draw < self.statistic) as f64;
        let tied = self.draws.iter().filter(|draw| **draw == self.statistic).count() as f64;
        let share = (below + tied / 2.0) / self.draws.len() as f64;
        if share <= 0.0 || share >= 1.0 {
            return Err(StatsError::undefined("bias_corrected", Undefined::Constant));
        }
        // All rows but the first, then all but the second, …: one place changes at a time.
        let mut kept: Vec<usize> = (1..self.rows).collect();
        let mut without = vec![statistic(&kept)];
        for left_out in 1..self.rows {
            kept[left_out - 1] = left_out - 1;
            without.push(statistic(&kept));
        }
        check::finite("statistic with a row left out", &without)?;
        let bias = normal_quantile(share);
        let mean = crate::sum::mean(&without);
        let power = |n: i32| crate::sum::sum(without.iter().map(|value| (mean - value).powi(n)));
        let spread = power(2).powf(1.5);
        let acceleration = if spread == 0.0 { 0.0 } else { power(3) / (6.0 * spread) };
        let at = |p: f64| {
            let z = bias + normal_quantile(p);
            self.quantile(normal_tail(-(bias + z / (1.0 - acceleration * z))))
        };
        let tail = (1.0 - confidence) / 2.0;
        Ok(Interval { lower: at(tail), upper: at(1.0 - tail) })
    }

    fn quantile(&self, p: f64) -> f64 {
        crate::sort::quantile_of_sorted(&self.draws, p.clamp(0.0, 1.0))
    }
}

/// A row below `rows`, all equally likely (Lemire 2019, without the division).
fn below(generator: &mut ChaCha8Rng, rows: usize) -> usize {
    let rows = rows as u64;
    loop {
        let product = u128::from(generator.next_u64()) * u128::from(rows);
        if product as u64 >= rows.wrapping_neg() % rows {
            return (product >> 64) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(values: &[f64]) -> impl Fn(&[usize]) -> f64 {
        |rows: &[usize]| rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64
    }

    #[test]
    fn intervals_hold_the_true_mean_as_often_as_they_say() {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let mut held = [0, 0];
        for seed in 0..300 {
            // The mean of two uniform values is 1.
            let mut draw = || f64::from(generator.next_u32()) / f64::from(u32::MAX);
            let values: Vec<f64> = (0..40).map(|_| draw() + draw()).collect();
            let draws = Bootstrap::new(seed).draw(40, mean_of(&values)).unwrap();
            for (held, interval) in held
                .iter_mut()
                .zip([draws.percentile(0.9), draws.bias_corrected(0.9, mean_of(&values))])
            {
                let interval = interval.unwrap();
                *held += u32::from(interval.lower <= 1.0 && 1.0 <= interval.upper);
            }
        }
        // 270 of 300 are expected, with a standard deviation of 5.2.
        assert!(held.iter().all(|held| (250..=287).contains(held)), "{held:?}");
    }

    #[test]
    fn a_seed_is_a_result() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0];
        let draw = |seed| Bootstrap::new(seed).draw(6, mean_of(&values)).unwrap();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert!(draw(3).standard_error() > 0.5);
        assert!(Bootstrap::new(1).draw(1, |_| 0.0).is_err());
        assert!(Bootstrap::new(1).draw(3, |_| f64::NAN).is_err());
        assert!(Bootstrap::new(1).with_resamples(1).is_err());
        assert!(Bootstrap::new(1).draw(3, |_| 2.0).unwrap().percentile(1.5).is_err());
    }
}
