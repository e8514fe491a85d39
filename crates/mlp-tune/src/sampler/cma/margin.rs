//! The margin of Hamano et al. 2022 (*CMA-ES with Margin*): an integer whose cell swallows the whole distribution would never change again,
//! so its mean and spread are corrected until the neighbouring cells keep a least probability.

use super::strategy::Strategy;

/// Corrects mean and stretch of each coordinate that lies on a grid of cells over [0, 1]. On a logarithmic scale cells are of different widths there.
pub(super) fn hold_margin(strategy: &mut Strategy, quantile: impl Fn(f64) -> f64) {
    let margin = 1.0 / (strategy.mean.len() * strategy.lambda) as f64;
    for k in 0..strategy.mean.len() {
        let Some(grid) = &strategy.grids[k] else { continue };
        let borders = grid.borders(strategy.mean[k]);
        let scale = strategy.sigma * strategy.covariance.at(k, k).max(0.0).sqrt();
        let corrected =
            correct(strategy.mean[k], scale * strategy.stretch[k], borders, margin, &quantile);
        if let Some((mean, spread)) = corrected {
            strategy.mean[k] = mean;
            strategy.stretch[k] = spread / scale;
        }
    }
}

/// The corrected mean and standard deviation, with the borders of the mean's cell to its neighbours; none where there is nothing to correct.
fn correct(
    mean: f64,
    spread: f64,
    borders: (Option<f64>, Option<f64>),
    margin: f64,
    quantile: &impl Fn(f64) -> f64,
) -> Option<(f64, f64)> {
    if spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let tail = |distance: f64| mlp_stats::normal_tail(distance / spread);
    let (low, high) = match borders {
        (Some(low), Some(high)) => (low, high),
        // At an end there is one neighbour: the threshold to it may lie so far away only.
        (Some(threshold), None) | (None, Some(threshold)) => {
            let reach = spread * quantile(1.0 - margin);
            let distance = mean - threshold;
            return (distance.abs() > reach)
                .then(|| (threshold + distance.signum() * reach, spread));
        }
        (None, None) => return None,
    };
    let (below, above) = (tail(mean - low), tail(high - mean));
    let least = margin / 2.0;
    if below >= least && above >= least {
        return None;
    }
    let (below, above) = (below.max(least), above.max(least));
    let inside = (1.0 - below - above).max(least);
    // What was added is taken from all three in proportion to what they have above the least.
    let excess = 1.0 - below - above - inside;
    let room = below + above + inside - 3.0 * least;
    let share = |p: f64| if room > 0.0 { p + excess / room * (p - least) } else { p };
    let (to_low, to_high) = (quantile(1.0 - share(below)), quantile(1.0 - share(above)));
    let total = to_low + to_high;
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    Some(((low * to_high + high * to_low) / total, (high - low) / total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::axis::Axis;
    use mlp_core::{Dimension, random};
    use mlp_stats::{normal_quantile, normal_tail};

    const MIDDLE: (Option<f64>, Option<f64>) = (Some(0.5), Some(0.6));

    #[test]
    fn the_neighbours_of_a_swallowed_cell_keep_half_the_margin() {
        let margin = 0.02;
        let (mean, spread) = correct(0.55, 1e-4, MIDDLE, margin, &normal_quantile).unwrap();
        let tails = [normal_tail((mean - 0.5) / spread), normal_tail((0.6 - mean) / spread)];
        assert!(tails.iter().all(|tail| (tail - margin / 2.0).abs() < 1e-6), "{tails:?}");
        let (mean, spread) = correct(0.501, 1e-4, MIDDLE, margin, &normal_quantile).unwrap();
        assert!(normal_tail((0.6 - mean) / spread) > margin / 2.0 * 0.99);
    }

    #[test]
    fn at_an_end_the_mean_moves_towards_the_neighbour() {
        let (mean, spread) =
            correct(0.02, 1e-3, (None, Some(0.1)), 0.02, &normal_quantile).unwrap();
        assert_eq!(spread, 1e-3);
        assert!((normal_tail((0.1 - mean) / spread) - 0.02).abs() < 1e-9);
        let last = (Some(0.9), None);
        assert!(correct(0.97, 1e-3, last, 0.02, &normal_quantile).unwrap().0 < 0.91);
    }

    #[test]
    fn a_wide_distribution_is_left_alone() {
        assert_eq!(correct(0.55, 0.2, MIDDLE, 0.02, &normal_quantile), None);
        // A single cell has no neighbour.
        assert_eq!(correct(0.5, 0.1, (None, None), 0.02, &normal_quantile), None);
    }

    #[test]
    fn the_neighbours_of_an_integer_on_a_logarithmic_scale_keep_half_the_margin() {
        let axis = Axis::of(&Dimension::log_int("n", 1, 1_000).domain).unwrap();
        let share = |value: f64| (value.ln() - axis.low) / axis.range();
        for value in [2.0, 30.0, 500.0_f64] {
            let run = |grid| {
                let mut strategy = Strategy::new(vec![share(value)], 1e-9, 10, vec![grid]);
                hold_margin(&mut strategy, normal_quantile);
                let drawn = |k| {
                    axis.decode(
                        axis.low + strategy.draw(&mut random::stream(3, k))[0] * axis.range(),
                    )
                };
                let others = (0..2_000).filter(|k| drawn(*k).as_float() != Some(value)).count();
                (strategy.mean[0], others)
            };
            let (mean, others) = run(Some(axis));
            assert_eq!(axis.decode(axis.low + mean * axis.range()).as_float(), Some(value));
            // A margin of 1/10, half of it on either side.
            assert!((150..250).contains(&others), "{others} at {value}");
            assert_eq!(run(None).1, 0);
        }
    }
}
