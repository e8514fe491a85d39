//! Features against shuffled copies of themselves.

use std::fmt;
use std::sync::Arc;

use mlp_core::{Estimator, Samples, random};
use mlp_stats::Correction;
use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::guard;
use crate::leak::RowPrints;
use crate::selection::ColumnSelection;

/// Finds every feature that matters, not the fewest that suffice: fits the estimator on the features and a shuffled copy of each, again and
/// again, and counts how often a feature is more important than the best of the copies (after Boruta; Kursa and Rudnicki 2010).
///
/// ```
/// use mlp_core::{Samples, Target};
/// use mlp_models::RandomForest;
/// use mlp_select::{ShadowTest, ShadowVerdict};
///
/// # let mut generator = mlp_core::random::stream(1, 0);
/// # let features = ndarray::Array2::from_shape_simple_fn((120, 3), || mlp_core::random::uniform(&mut generator));
/// # let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
/// # let labels: Vec<usize> = (0..120).map(|i| usize::from(features[[i, 0]] > 0.5)).collect();
/// # let classes = ["no".to_owned(), "yes".to_owned()];
/// # let samples = Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })?;
/// let forest = std::sync::Arc::new(RandomForest::default().with_trees(30));
/// let report = ShadowTest::new(forest).with_rounds(20)?.run(&samples, 7)?;
/// assert_eq!(report.features[0].verdict, ShadowVerdict::Confirmed);
/// assert_eq!(report.selection()?.columns(), [0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ShadowTest {
    estimator: Arc<dyn Estimator>,
    rounds: usize,
    alpha: f64,
}

/// What the rounds say of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShadowVerdict {
    /// It beats the copies more often than by chance.
    Confirmed,
    /// It beats them less often.
    Rejected,
    /// The rounds do not say: more of them may.
    Tentative,
}

/// A feature and how often it beat the copies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ShadowFeature {
    /// Its name.
    pub name: String,
    /// In how many rounds it was more important than every copy.
    pub hits: usize,
    /// What that says.
    pub verdict: ShadowVerdict,
}

/// What came of a shadow test.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ShadowReport {
    /// The features, in the order of the columns.
    pub features: Vec<ShadowFeature>,
    /// How many rounds there were.
    pub rounds: usize,
    saw: RowPrints,
}

impl ShadowTest {
    /// Fifty rounds at a level of 5 %, corrected for the number of features.
    pub fn new(estimator: Arc<dyn Estimator>) -> Self {
        Self { estimator, rounds: 50, alpha: 0.05 }
    }

    /// Sets the number of rounds, each one fit on twice the columns.
    ///
    /// # Errors
    /// If it is not from 1 to 10,000.
    pub fn with_rounds(mut self, rounds: usize) -> Result<Self, SelectError> {
        if !(1..=10_000).contains(&rounds) {
            return Err(setting("the number of rounds", rounds, "from 1 to 10,000"));
        }
        self.rounds = rounds;
        Ok(self)
    }

    /// Sets the chance of confirming or rejecting any feature by mistake.
    ///
    /// # Errors
    /// If it is not above 0 and below 1.
    pub fn with_alpha(mut self, alpha: f64) -> Result<Self, SelectError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(setting("alpha", alpha, "above 0 and below 1"));
        }
        self.alpha = alpha;
        Ok(self)
    }

    /// Runs the rounds. The copies of a round depend on the seed and the round alone.
    ///
    /// # Errors
    /// If a fit fails, or the estimator tells no importances.
    pub fn run(&self, data: &Samples<'_>, seed: u64) -> Result<ShadowReport, SelectError> {
        let n = data.n_features();
        let mut hits = vec![0_usize; n];
        for round in 0..self.rounds {
            let importances = self.round(data, seed, round)?;
            let (own, copies) = importances.split_at(n);
            let best = copies.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            hits.iter_mut().zip(own).for_each(|(hits, own)| *hits += usize::from(*own > best));
        }
        let p_values = |tail: fn(usize, usize) -> f64| {
            let p: Vec<f64> = hits.iter().map(|&hits| tail(hits, self.rounds)).collect();
            // Chances are between 0 and 1, so the correction cannot fail.
            Correction::Bonferroni.adjust(&p).unwrap_or(p)
        };
        let (often, seldom) = (p_values(at_least), p_values(at_most));
        let feature = |at: usize| ShadowFeature {
            name: data.names()[at].clone(),
            hits: hits[at],
            verdict: match (often[at] <= self.alpha, seldom[at] <= self.alpha) {
                (true, _) => ShadowVerdict::Confirmed,
                (_, true) => ShadowVerdict::Rejected,
                _ => ShadowVerdict::Tentative,
            },
        };
        let features = (0..n).map(feature).collect();
        Ok(ShadowReport { features, rounds: self.rounds, saw: RowPrints::of(data) })
    }

    fn round(&self, data: &Samples<'_>, seed: u64, round: usize) -> Result<Vec<f64>, SelectError> {
        let features = data.features();
        let (rows, n) = features.dim();
        let mut generator = random::stream(seed, round as u64);
        let mut doubled = Array2::zeros((rows, 2 * n));
        doubled.slice_mut(s![.., ..n]).assign(&features);
        for column in 0..n {
            let mut values = features.column(column).to_vec();
            random::shuffle(&mut generator, &mut values);
            doubled.column_mut(n + column).assign(&ndarray::ArrayView1::from(&values));
        }
        let names = data.names().iter().cloned();
        let copies = data.names().iter().map(|name| format!("shuffled {name}"));
        let doubled =
            data.to_owned_samples().with_features(doubled, names.chain(copies).collect())?;
        let fit_seed = random::below(&mut generator, u64::MAX);
        let model = guard::fit(|| self.estimator.fit(doubled.as_samples(), fit_seed))?;
        guard::importances(2 * n, || model.importances())
    }
}

/// The chance of so many hits or more among the rounds, if each is a coin.
fn at_least(hits: usize, rounds: usize) -> f64 {
    if hits == 0 { 1.0 } else { 1.0 - at_most(hits - 1, rounds) }.clamp(0.0, 1.0)
}

/// The chance of so many hits or fewer.
fn at_most(hits: usize, rounds: usize) -> f64 {
    let (mut log_ways, mut total) = (-(rounds as f64) * std::f64::consts::LN_2, 0.0);
    for k in 0..=hits {
        total += log_ways.exp();
        log_ways += ((rounds - k) as f64 / (k + 1) as f64).ln();
    }
    total.min(1.0)
}

impl ShadowReport {
    /// The confirmed features.
    ///
    /// # Errors
    /// If there are none.
    pub fn selection(&self) -> Result<ColumnSelection, SelectError> {
        let is_confirmed = |at: &usize| self.features[*at].verdict == ShadowVerdict::Confirmed;
        let kept: Vec<usize> = (0..self.features.len()).filter(is_confirmed).collect();
        if kept.is_empty() {
            let reason = "none is more important than shuffled copies".to_owned();
            return Err(SelectError::NothingLeft { reason });
        }
        let names: Vec<String> = self.features.iter().map(|feature| feature.name.clone()).collect();
        Ok(ColumnSelection::of(&names, kept).remembering(self.saw.clone()))
    }
}

impl fmt::Display for ShadowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths = self.features.iter().map(|feature| feature.name.chars().count());
        let width = lengths.max().unwrap_or(0).max(7);
        write!(f, "{:<width$} {:>4} of {}", "feature", "hits", self.rounds)?;
        for feature in &self.features {
            write!(f, "\n{:<width$} {:>4}  {:?}", feature.name, feature.hits, feature.verdict)?;
        }
        Ok(())
    }
}
