//! Whether two samples come from one distribution, and how far apart they are.

mod anderson_darling;
mod counts;
mod ks;
mod mann_whitney;
mod proportions;
mod shift;
mod signed_rank;
mod welch;

pub use anderson_darling::{AndersonDarling, AndersonDarlingVariant, anderson_darling_k_sample};
pub use counts::{CountStatistic, CountTest, chi_square_goodness_of_fit, count_test};
pub(crate) use ks::equal_size_tail;
pub use ks::{KsMethod, KsTest, ks_two_sample, ks_two_sample_with};
pub use mann_whitney::{MannWhitney, MannWhitneyMethod, mann_whitney, mann_whitney_with};
pub use proportions::{
    Interval, Proportion, TwoProportions, fisher_exact, newcombe_interval, odds_ratio,
    two_proportions,
};
pub use shift::{ShiftInterval, hodges_lehmann_shift, shift_interval};
pub use signed_rank::{SignedRank, wilcoxon_signed_rank};
pub use welch::{TTest, student_t_test, welch_t_test};

/// Which difference a test looks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// Any.
    #[default]
    TwoSided,
    /// The first is less than the second. For distributions as SciPy has it: the first distribution *function* lies below the second
    /// one, so the first *values* tend to be greater.
    Less,
    /// The first is greater than the second; for distribution functions again the functions, not the values.
    Greater,
}

impl Alternative {
    /// The p-value for this alternative from the two tails of a symmetric statistic.
    pub(crate) fn of_tails(self, below: f64, above: f64) -> f64 {
        match self {
            Self::TwoSided => (2.0 * below.min(above)).min(1.0),
            Self::Less => below,
            Self::Greater => above,
        }
    }
}
