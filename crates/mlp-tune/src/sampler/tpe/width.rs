//! How wide kernels are.
//!
//! No one rule suits every objective. Kernels that reach to the ends of the range find other basins; but with many parameters nearly every
//! kernel is the outermost one along some of them, so that nearly every candidate lies far off in some direction, and smooth objectives are
//! descended slowly. Narrow kernels descend few parameters fast, and stay where they are when there are many or the objective has many
//! basins. So trials take turns.

use super::settings::Bandwidth;

/// A rule for the bandwidths of kernels: the distance to the farther neighbour, and no less than a floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Whether the middle of the range is among the neighbours.
    pub(super) middle: bool,
    /// Whether the ends of the range are.
    pub(super) ends: bool,
    floor: Floor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Floor {
    Watanabe,
    Optuna,
}

impl Width {
    pub(super) const OPTUNA: Self = Self { middle: false, ends: false, floor: Floor::Optuna };
    pub(super) const WATANABE: Self = Self { middle: true, ends: true, floor: Floor::Watanabe };
    /// Watanabe's floor, and Optuna's neighbours.
    pub(super) const TIGHT: Self = Self { middle: false, ends: false, floor: Floor::Watanabe };
    /// Watanabe's floor, and the middle among the neighbours.
    pub(super) const CENTRED: Self = Self { middle: true, ends: false, floor: Floor::Watanabe };

    /// The rules of a setting, which trials take turns with.
    pub(super) fn turns(bandwidth: Bandwidth) -> &'static [Self] {
        match bandwidth {
            Bandwidth::Turns => &[Self::OPTUNA, Self::TIGHT, Self::CENTRED],
            Bandwidth::Watanabe => &[Self::WATANABE],
            Bandwidth::Optuna => &[Self::OPTUNA],
        }
    }

    /// The least bandwidth as a share of the range.
    pub(super) fn floor(self, observations: usize) -> f64 {
        let n = observations as f64;
        match self.floor {
            Floor::Watanabe => (1.0 / (2.0 + n)).powi(2).max(0.03),
            Floor::Optuna => 1.0 / (n + 2.0).min(100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_bandwidth_is_that_of_the_paper_and_of_optuna() {
        let watanabe = [0, 1, 3, 4, 1_000].map(|n| Width::WATANABE.floor(n));
        assert_eq!(watanabe, [0.25, 1.0 / 9.0, 0.2 * 0.2, 0.03, 0.03]);
        let optuna = [0, 2, 98, 1_000].map(|n| Width::OPTUNA.floor(n));
        assert_eq!(optuna, [0.5, 0.25, 0.01, 0.01]);
    }
}
