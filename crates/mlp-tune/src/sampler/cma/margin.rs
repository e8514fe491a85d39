//! The margin of Hamano et al. 2022 (*CMA-ES with Margin*): an integer whose cell swallows the whole distribution would never change again,
//! so its mean and spread are corrected until the neighbouring cells keep a least probability.

use super::strategy::Strategy;

/// Corrects mean and stretch of each coordinate that lies on a grid of cells over [0, 1].
pub(super) fn hold_margin(strategy: &mut Strategy, quantile: impl Fn(f64) -> f64) {
    let margin = 1.0 / (strategy.mean.len() * strategy.lambda) as f64;
    for k in 0..strategy.mean.len() {
        let Some(width) = strategy.cells[k] else { continue };
        let scale = strategy.sigma * strategy.covariance.at(k, k).max(0.0).sqrt();
        let corrected =
            correct(strategy.mean[k], scale * strategy.stretch[k], width, margin, &quantile);
        if let Some((mean, spread)) = corrected {
            strategy.mean[k] = mean;
            strategy.stretch[k] = spread / scale;
        }
    }
}

/// The corrected mean and standard deviation; none where there is nothing to correct.
fn correct(
    mean: f64,
    spread: f64,
    width: f64,
    margin: f64,
    quantile: &impl Fn(f64) -> f64,
) -> Option<(f64, f64)> {
    let last = (1.0 / width).round() - 1.0;
    if last < 1.0 || spread.is_nan() || spread <= 0.0 {
        return None;
    }
    let cell = (mean / width).floor().clamp(0.0, last);
    let tail = |distance: f64| mlp_stats::normal_tail(distance / spread);
    if cell == 0.0 || cell == last {
        // At an end there is one neighbour: the threshold to it may lie so far away only.
        let threshold = if cell == 0.0 { width } else { last * width };
        let reach = spread * quantile(1.0 - margin);
        let distance = (mean - threshold).abs();
        return (distance > reach)
            .then(|| (threshold + (mean - threshold).signum() * reach, spread));
    }
    let (low, high) = (cell * width, (cell + 1.0) * width);
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
    use mlp_stats::{normal_quantile, normal_tail};

    #[test]
    fn the_neighbours_of_a_swallowed_cell_keep_half_the_margin() {
        let (width, margin) = (0.1, 0.02);
        let (mean, spread) = correct(0.55, 1e-4, width, margin, &normal_quantile).unwrap();
        let tails = [normal_tail((mean - 0.5) / spread), normal_tail((0.6 - mean) / spread)];
        assert!(tails.iter().all(|tail| (tail - margin / 2.0).abs() < 1e-6), "{tails:?}");
        let (mean, spread) = correct(0.501, 1e-4, width, margin, &normal_quantile).unwrap();
        assert!(normal_tail((0.6 - mean) / spread) > margin / 2.0 * 0.99);
    }

    #[test]
    fn at_an_end_the_mean_moves_towards_the_neighbour() {
        let (mean, spread) = correct(0.02, 1e-3, 0.1, 0.02, &normal_quantile).unwrap();
        assert_eq!(spread, 1e-3);
        assert!((normal_tail((0.1 - mean) / spread) - 0.02).abs() < 1e-9);
        assert!(correct(0.97, 1e-3, 0.1, 0.02, &normal_quantile).unwrap().0 < 0.91);
    }

    #[test]
    fn a_wide_distribution_is_left_alone() {
        assert_eq!(correct(0.55, 0.2, 0.1, 0.02, &normal_quantile), None);
        // A single cell has no neighbour.
        assert_eq!(correct(0.5, 0.1, 1.0, 0.02, &normal_quantile), None);
    }
}
