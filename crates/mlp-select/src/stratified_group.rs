//! Folds that keep groups together and the shares of the classes alike.

use std::collections::BTreeMap;

use mlp_core::Samples;
use serde::{Deserialize, Serialize};

use crate::error::SelectError;
use crate::split::{Fold, Split, check_enough, check_k, folds_of};

/// Parts the groups into `k` test sets with nearly the same share of each class; a group is never on both sides, every row is tested once.
///
/// As scikit-learn's `StratifiedGroupKFold` without shuffling: the groups whose classes are spread least evenly go first, each into the fold
/// after which the classes' shares differ least between folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StratifiedGroupKFold {
    k: usize,
}

impl StratifiedGroupKFold {
    /// `k` folds.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k }
    }

    /// How unlike the folds' shares of the classes would be with the group in this fold: the mean standard deviation.
    fn spread(counts: &[Vec<f64>], group: &[f64], fold: usize, totals: &[f64]) -> f64 {
        let share = |at: usize, class: usize| {
            let added = if at == fold { group[class] } else { 0.0 };
            (counts[at][class] + added) / totals[class]
        };
        let of_class = |class: usize| {
            let shares: Vec<f64> = (0..counts.len()).map(|at| share(at, class)).collect();
            deviation(&shares)
        };
        (0..totals.len()).map(of_class).sum::<f64>() / totals.len() as f64
    }
}

/// The standard deviation over the number of values.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

impl Split for StratifiedGroupKFold {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        check_k(self.k)?;
        let groups = data.groups().ok_or(SelectError::Missing("groups"))?;
        let (labels, names) = data.classes()?;
        let mut members = vec![0; names.len()];
        labels.iter().for_each(|&label| members[label] += 1);
        // Classes without rows have no share to keep.
        let present: Vec<usize> = (0..names.len()).filter(|&class| members[class] > 0).collect();
        for &class in &present {
            check_enough(format!("members of class {:?}", names[class]), members[class], self.k)?;
        }
        let mut by_group: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (&group, label) in groups.iter().zip(labels.iter()) {
            let counts = by_group.entry(group).or_insert_with(|| vec![0.0; present.len()]);
            counts[present.partition_point(|class| class < label)] += 1.0;
        }
        check_enough("groups", by_group.len(), self.k)?;
        let totals: Vec<f64> = present.iter().map(|&class| members[class] as f64).collect();
        let mut order: Vec<(&u64, &Vec<f64>)> = by_group.iter().collect();
        order.sort_by(|a, b| deviation(b.1).total_cmp(&deviation(a.1)));
        let mut counts = vec![vec![0.0; present.len()]; self.k];
        let mut fold_of_group = BTreeMap::new();
        for (&group, classes) in order {
            let mut best: Option<(usize, f64, f64)> = None;
            for fold in 0..self.k {
                let spread = Self::spread(&counts, classes, fold, &totals);
                let rows: f64 = counts[fold].iter().sum();
                let is_better = best.is_none_or(|(_, least, fewest)| {
                    // Equal up to rounding: the fold with fewer rows.
                    let is_close = (spread - least).abs() <= 1e-8 + 1e-5 * least.abs();
                    spread < least || (is_close && rows < fewest)
                });
                if is_better {
                    best = Some((fold, spread, rows));
                }
            }
            let fold = best.map_or(0, |best| best.0);
            counts[fold].iter_mut().zip(classes).for_each(|(count, group)| *count += group);
            fold_of_group.insert(group, fold);
        }
        let fold_of: Vec<usize> = groups.iter().map(|group| fold_of_group[group]).collect();
        Ok(folds_of(data, &fold_of, self.k))
    }
}
