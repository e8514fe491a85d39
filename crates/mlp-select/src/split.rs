//! Ways to part rows into what is learnt from and what is tested on.

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlp_core::{Samples, Target, random};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};

/// One split: rows to learn from and rows to test on, as indices into the matrix behind the samples
/// (as [`Samples::with_rows`] takes them), in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to test on.
    pub test: Vec<usize>,
}

/// A way to part rows.
///
/// # Contract
///
/// The same data give the same folds; a row is never on both sides of a fold; neither side is empty.
pub trait Split: Debug + Send + Sync {
    /// Parts the rows.
    ///
    /// # Errors
    /// If a setting is out of range, or there is too little to split; the error names the class or group.
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError>;
}

/// Whether rows are taken as they stand or in a random order drawn from a seed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they stand: right where the order carries no information, and equal to scikit-learn's folds.
    #[default]
    AsGiven,
    /// Shuffled with this seed.
    Shuffled(u64),
}

/// Parts the rows into `k` test sets of nearly equal size; every row is tested once.
///
/// As scikit-learn's `KFold`: the first `n mod k` folds have one row more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KFold {
    k: usize,
    order: Order,
}

impl KFold {
    /// `k` folds of the rows as they stand.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k, order: Order::AsGiven }
    }

    /// Shuffles the rows first.
    #[must_use]
    pub const fn shuffled(mut self, seed: u64) -> Self {
        self.order = Order::Shuffled(seed);
        self
    }
}

impl Split for KFold {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        let n = data.n_rows();
        check_k(self.k)?;
        check_enough("rows", n, self.k)?;
        let mut order: Vec<usize> = (0..n).collect();
        if let Order::Shuffled(seed) = self.order {
            random::shuffle(&mut random::stream(seed, 0), &mut order);
        }
        let mut fold_of = vec![0; n];
        let starts = |fold: usize| fold * (n / self.k) + fold.min(n % self.k);
        for fold in 0..self.k {
            order[starts(fold)..starts(fold + 1)]
                .iter()
                .for_each(|&position| fold_of[position] = fold);
        }
        Ok(folds_of(data, &fold_of, self.k))
    }
}

/// What to do with a class that has fewer members than there are folds: some folds then test without it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmallClasses {
    /// Refuse, and name the class: scores that need it would be undefined in some folds.
    #[default]
    Refuse,
    /// Spread its members over the first folds, as scikit-learn does with a warning.
    Allow,
}

/// Parts the rows into `k` test sets with nearly the same share of each class; every row is tested once.
///
/// As scikit-learn's `StratifiedKFold`: classes are taken in the order of their first appearance, and a class's rows go to the folds in
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StratifiedKFold {
    k: usize,
    order: Order,
    small_classes: SmallClasses,
}

impl StratifiedKFold {
    /// `k` folds of the rows as they stand.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k, order: Order::AsGiven, small_classes: SmallClasses::Refuse }
    }

    /// Shuffles the rows of each class first.
    #[must_use]
    pub const fn shuffled(mut self, seed: u64) -> Self {
        self.order = Order::Shuffled(seed);
        self
    }

    /// Says what to do with a class that has fewer members than there are folds.
    #[must_use]
    pub const fn with_small_classes(mut self, policy: SmallClasses) -> Self {
        self.small_classes = policy;
        self
    }

    fn check_members(&self, members: &[usize], names: &[String]) -> Result<(), SelectError> {
        let fewest = (0..members.len())
            .filter(|&class| members[class] > 0)
            .min_by_key(|&class| members[class]);
        let most = members.iter().max().copied().unwrap_or(0);
        let refused = self.small_classes == SmallClasses::Refuse || most < self.k;
        match fewest {
            Some(class) if refused => {
                check_enough(format!("members of class {:?}", names[class]), members[class], self.k)
            }
            _ => Ok(()),
        }
    }
}

impl Split for StratifiedKFold {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        check_k(self.k)?;
        let (labels, names) = data.classes()?;
        check_enough("rows", labels.len(), self.k)?;
        let mut members = vec![0; names.len()];
        labels.iter().for_each(|&label| members[label] += 1);
        self.check_members(&members, names)?;

        let rank = ranks_of_first_appearance(&labels, names.len());
        let mut sorted: Vec<usize> = labels.iter().map(|&label| rank[label]).collect();
        sorted.sort_unstable();
        // Dealing the sorted labels out like cards says how many rows of each class a fold tests.
        let mut allocation = vec![vec![0; self.k]; names.len()];
        sorted.iter().enumerate().for_each(|(i, &class)| allocation[class][i % self.k] += 1);

        let mut fold_of = vec![0; labels.len()];
        for label in 0..names.len() {
            let counts = &allocation[rank[label]];
            let mut folds: Vec<usize> =
                (0..self.k).flat_map(|fold| std::iter::repeat_n(fold, counts[fold])).collect();
            if let Order::Shuffled(seed) = self.order {
                random::shuffle(&mut random::stream(seed, label as u64), &mut folds);
            }
            let rows = (0..labels.len()).filter(|&row| labels[row] == label);
            rows.zip(folds).for_each(|(row, fold)| fold_of[row] = fold);
        }
        Ok(folds_of(data, &fold_of, self.k))
    }
}

/// The position of each class among the classes in the order of their first appearance; absent classes come last.
fn ranks_of_first_appearance(labels: &[usize], n_classes: usize) -> Vec<usize> {
    let mut first = vec![usize::MAX; n_classes];
    labels.iter().enumerate().rev().for_each(|(row, &label)| first[label] = row);
    let mut order: Vec<usize> = (0..n_classes).collect();
    order.sort_by_key(|&label| first[label]);
    let mut rank = vec![0; n_classes];
    order.iter().enumerate().for_each(|(position, &label)| rank[label] = position);
    rank
}

/// Parts the groups into `k` test sets of nearly equal numbers of rows; a group is never on both sides.
///
/// As scikit-learn's `GroupKFold`: the largest group goes first, each into the fold that is lightest then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupKFold {
    k: usize,
}

impl GroupKFold {
    /// `k` folds.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k }
    }
}

impl Split for GroupKFold {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        check_k(self.k)?;
        let groups = data.groups().ok_or(SelectError::Missing("groups"))?;
        let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
        groups.iter().for_each(|&group| *sizes.entry(group).or_default() += 1);
        check_enough("groups", sizes.len(), self.k)?;

        // Of equally large groups the greater goes first, and of equally light folds the first takes it: scikit-learn's order.
        let mut by_size: Vec<(usize, u64)> =
            sizes.into_iter().map(|(group, size)| (size, group)).collect();
        by_size.sort_unstable_by(|a, b| b.cmp(a));
        let mut weights = vec![0; self.k];
        let mut fold_of_group = BTreeMap::new();
        for (size, group) in by_size {
            let lightest = (0..self.k).min_by_key(|&fold| weights[fold]).unwrap_or(0);
            weights[lightest] += size;
            fold_of_group.insert(group, lightest);
        }
        let fold_of: Vec<usize> = groups.iter().map(|group| fold_of_group[group]).collect();
        Ok(folds_of(data, &fold_of, self.k))
    }
}

/// Tests on each group in turn, in ascending order of the groups. As scikit-learn's `LeaveOneGroupOut`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveOneGroupOut;

impl Split for LeaveOneGroupOut {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        let groups = data.groups().ok_or(SelectError::Missing("groups"))?;
        let mut distinct = groups.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        check_enough("groups", distinct.len(), 2)?;
        let fold_of: Vec<usize> =
            groups.iter().map(|group| distinct.partition_point(|other| other < group)).collect();
        Ok(folds_of(data, &fold_of, distinct.len()))
    }
}

/// Learns from the past and tests on what came after: `k` test sets of equal size at the end of the rows, each with the rows before it.
///
/// As scikit-learn's `TimeSeriesSplit`. The rows must stand in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeSeriesSplit {
    k: usize,
    gap: usize,
    max_train: Option<usize>,
    test_size: Option<usize>,
}

impl TimeSeriesSplit {
    /// `k` folds over an expanding past.
    #[must_use]
    pub const fn new(k: usize) -> Self {
        Self { k, gap: 0, max_train: None, test_size: None }
    }

    /// Leaves out this many rows between what is learnt from and what is tested on.
    #[must_use]
    pub const fn with_gap(mut self, rows: usize) -> Self {
        self.gap = rows;
        self
    }

    /// Learns from at most this many rows: a rolling past.
    #[must_use]
    pub const fn with_max_train(mut self, rows: usize) -> Self {
        self.max_train = Some(rows);
        self
    }

    /// Tests on this many rows in each fold; `n / (k + 1)` otherwise.
    #[must_use]
    pub const fn with_test_size(mut self, rows: usize) -> Self {
        self.test_size = Some(rows);
        self
    }
}

impl Split for TimeSeriesSplit {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        check_k(self.k)?;
        if self.max_train == Some(0) || self.test_size == Some(0) {
            return Err(setting("the size of a training or test set", 0, "at least 1"));
        }
        let n = data.n_rows();
        check_enough("rows", n, self.k + 1)?;
        let test_size = self.test_size.unwrap_or(n / (self.k + 1));
        check_enough(
            "rows",
            n,
            test_size.saturating_mul(self.k).saturating_add(self.gap).saturating_add(1),
        )?;
        let rows = data.row_indices();
        let fold = |start: usize| {
            let end = start - self.gap;
            let first = end - self.max_train.unwrap_or(end).min(end);
            Fold { train: rows[first..end].to_vec(), test: rows[start..start + test_size].to_vec() }
        };
        Ok((0..self.k).map(|i| fold(n - (self.k - i) * test_size)).collect())
    }
}

/// Draws `n` random splits with a share of rows to test on, each from a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShuffleSplit {
    splits: usize,
    test_share: f64,
    seed: u64,
}

impl ShuffleSplit {
    /// This many splits, each testing on this share of the rows (above 0 and below 1, rounded up).
    #[must_use]
    pub const fn new(splits: usize, test_share: f64, seed: u64) -> Self {
        Self { splits, test_share, seed }
    }
}

impl Split for ShuffleSplit {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        if self.splits == 0 {
            return Err(setting("the number of splits", 0, "at least 1"));
        }
        if !(self.test_share > 0.0 && self.test_share < 1.0) {
            return Err(setting(
                "the share of rows to test on",
                self.test_share,
                "above 0 and below 1",
            ));
        }
        let rows = data.row_indices();
        check_enough("rows", rows.len(), 2)?;
        let n_test =
            ((self.test_share * rows.len() as f64).ceil() as usize).clamp(1, rows.len() - 1);
        let fold = |k: u64| {
            let mut order = rows.to_vec();
            random::shuffle(&mut random::stream(self.seed, k), &mut order);
            let mut train = order.split_off(n_test);
            train.sort_unstable();
            order.sort_unstable();
            Fold { train, test: order }
        };
        Ok((0..self.splits as u64).map(fold).collect())
    }
}

/// Repeats a shuffled k-fold with other seeds: more folds, and a steadier mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatedKFold {
    k: usize,
    repeats: usize,
    seed: u64,
}

impl RepeatedKFold {
    /// `k` folds, repeated this often. Stratified where the target is made of classes.
    #[must_use]
    pub const fn new(k: usize, repeats: usize, seed: u64) -> Self {
        Self { k, repeats, seed }
    }
}

impl Split for RepeatedKFold {
    fn split(&self, data: &Samples<'_>) -> Result<Vec<Fold>, SelectError> {
        if self.repeats == 0 {
            return Err(setting("the number of repeats", 0, "at least 1"));
        }
        let mut folds = Vec::with_capacity(self.k * self.repeats);
        for repeat in 0..self.repeats as u64 {
            // The seed of a repeat is drawn from a stream of its own, so that it depends on nothing else.
            let seed = random::below(&mut random::stream(self.seed, repeat), u64::MAX);
            folds.extend(match data.target() {
                Target::Classes { .. } => {
                    StratifiedKFold::new(self.k).shuffled(seed).split(data)?
                }
                _ => KFold::new(self.k).shuffled(seed).split(data)?,
            });
        }
        Ok(folds)
    }
}

/// Folds from the fold that tests each row.
pub(crate) fn folds_of(data: &Samples<'_>, fold_of: &[usize], k: usize) -> Vec<Fold> {
    let rows = data.row_indices();
    let pick = |wanted: &dyn Fn(usize) -> bool| {
        (0..rows.len()).filter(|&i| wanted(fold_of[i])).map(|i| rows[i]).collect()
    };
    (0..k)
        .map(|fold| Fold {
            train: pick(&|other| other != fold),
            test: pick(&|other| other == fold),
        })
        .collect()
}

pub(crate) fn check_k(k: usize) -> Result<(), SelectError> {
    if k < 2 { Err(setting("the number of folds", k, "at least 2")) } else { Ok(()) }
}

pub(crate) fn check_enough(
    what: impl Into<String>,
    given: usize,
    needed: usize,
) -> Result<(), SelectError> {
    if given < needed {
        Err(SelectError::TooFew { what: what.into(), given, needed })
    } else {
        Ok(())
    }
}
