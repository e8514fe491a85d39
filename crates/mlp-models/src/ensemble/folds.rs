//! Which rows a part learns from, and which it is then asked about.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use mlp_core::{FitError, Samples, SamplesError, Target, random};

type Parting = dyn Fn(&Samples<'_>, u64) -> Result<Vec<RowFold>, FitError> + Send + Sync;

/// Rows to learn from and rows to be asked about, as indices into the matrix behind the samples.
pub type RowFold = (Vec<usize>, Vec<usize>);

/// The folds that stacking, calibration and thresholds learn from: predictions for rows that the predicting model has not seen.
///
/// ```
/// use mlp_models::Folds;
///
/// Folds::stratified(5);
/// Folds::given(4, vec![(vec![0, 1], vec![2, 3]), (vec![2, 3], vec![0, 1])]);
/// Folds::by("first half", |data, _seed| {
///     let rows = data.row_indices();
///     let (train, test) = rows.split_at(rows.len() / 2);
///     Ok(vec![(train.to_vec(), test.to_vec())])
/// });
/// ```
#[derive(Clone)]
pub struct Folds(Kind);

#[derive(Clone)]
enum Kind {
    Stratified(usize),
    Given { rows: usize, folds: Arc<[RowFold]> },
    By(String, Arc<Parting>),
}

impl Folds {
    /// So many folds, each with its share of every class; drawn with the seed of the fit, every row is asked about once. Where the samples have groups,
    /// whole groups are dealt: no group is on both sides of a fold.
    #[must_use]
    pub fn stratified(folds: usize) -> Self {
        Self(Kind::Stratified(folds))
    }

    /// These folds of a matrix of `rows` rows. Fitted on some of its rows only (in an outer fold), each fold is cut down to those.
    ///
    /// Behind a transformer of a pipeline, or a selection, rows are counted anew: take [`by`](Self::by) or [`stratified`](Self::stratified) there.
    pub fn given(rows: usize, folds: impl Into<Arc<[RowFold]>>) -> Self {
        Self(Kind::Given { rows, folds: folds.into() })
    }

    /// Folds by a rule of yours, such as a splitter of `mlp-select`, for the rows at hand and the seed of the fit. Rows are named as
    /// [`Samples::row_indices`] names them, not by their place among those at hand: a fold with any other row is refused, since an outer fold may
    /// have set that aside.
    pub fn by(
        name: impl Into<String>,
        rule: impl Fn(&Samples<'_>, u64) -> Result<Vec<RowFold>, FitError> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::By(name.into(), Arc::new(rule)))
    }

    /// The folds of these rows: at least one, no row on both sides, neither side empty.
    pub(crate) fn of(&self, data: &Samples<'_>, seed: u64) -> Result<Vec<RowFold>, FitError> {
        let folds = match &self.0 {
            Kind::Stratified(folds) => stratified(data, *folds, seed)?,
            Kind::Given { rows, folds } => cut_down(data, *rows, folds)?,
            Kind::By(_, rule) => {
                let folds = mlp_core::catch_panic(|| rule(data, seed))??;
                check_at_hand(data, &folds)?;
                folds
            }
        };
        if folds.is_empty() {
            return Err(FitError::TooFew { what: "folds", given: 0, needed: 1 });
        }
        for (number, (train, test)) in folds.iter().enumerate() {
            let side = |rows: &[usize], what| match rows.is_empty() {
                true => Err(FitError::failed(format!("fold {number} has no rows to {what}"))),
                false => Ok(()),
            };
            side(train, "learn from")?;
            side(test, "be asked about")?;
            let learnt: HashSet<_> = train.iter().collect();
            if let Some(row) = test.iter().find(|row| learnt.contains(row)) {
                let reason = format!("row {row} is on both sides of fold {number}");
                return Err(FitError::failed(reason));
            }
        }
        Ok(folds)
    }
}

impl fmt::Debug for Folds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Stratified(folds) => write!(f, "Folds::stratified({folds})"),
            Kind::Given { rows, folds } => write!(f, "Folds::given({rows}, {} folds)", folds.len()),
            Kind::By(name, _) => write!(f, "Folds::by({name:?})"),
        }
    }
}

/// Refuses folds with a row that is not among those at hand.
fn check_at_hand(data: &Samples<'_>, folds: &[RowFold]) -> Result<(), FitError> {
    let at_hand: HashSet<usize> = data.row_indices().iter().copied().collect();
    for (number, (train, test)) in folds.iter().enumerate() {
        if let Some(row) = train.iter().chain(test).find(|row| !at_hand.contains(row)) {
            let reason = format!("row {row} of fold {number} is not among the rows at hand");
            return Err(FitError::failed(reason));
        }
    }
    Ok(())
}

/// Deals the rows of each class, shuffled, to the folds in turn.
fn stratified(data: &Samples<'_>, folds: usize, seed: u64) -> Result<Vec<RowFold>, FitError> {
    if folds < 2 {
        return Err(FitError::TooFew { what: "folds", given: folds, needed: 2 });
    }
    let rows = data.row_indices();
    if let Some(groups) = data.groups() {
        let fold_of = deal_groups(data, &groups, folds, seed)?;
        let side = |fold: usize, is_asked: bool| {
            let pairs = rows.iter().zip(&*groups);
            let chosen = pairs.filter(|(_, group)| (fold_of[*group] == fold) == is_asked);
            chosen.map(|(&row, _)| row).collect()
        };
        return Ok((0..folds).map(|fold| (side(fold, false), side(fold, true))).collect());
    }
    let mut distinct = rows.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < folds {
        let given = distinct.len();
        return Err(FitError::TooFew { what: "rows for the folds", given, needed: folds });
    }
    // A row that was chosen twice must not be learnt from and asked about: rows are dealt, not places.
    random::shuffle(&mut random::stream(seed, 0), &mut distinct);
    if let Target::Classes { labels, .. } = data.target() {
        distinct.sort_by_key(|&row| labels[row]);
    }
    let fold_of: HashMap<usize, usize> =
        distinct.iter().enumerate().map(|(place, &row)| (row, place % folds)).collect();
    let part = |fold| rows.iter().partition(|row| fold_of[row] != fold);
    Ok((0..folds).map(part).collect())
}

/// Deals whole groups, the largest first: each to the fold where its classes are rarest so far.
fn deal_groups(
    data: &Samples<'_>,
    groups: &[u64],
    folds: usize,
    seed: u64,
) -> Result<HashMap<u64, usize>, FitError> {
    let labels = data.classes().ok().map(|(labels, _)| labels);
    let class = |place: usize| labels.as_ref().map_or(0, |labels| labels[place]);
    let classes = (0..groups.len()).map(class).max().map_or(0, |last| last + 1);
    let mut totals = vec![0.0; classes];
    let mut counts: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (place, group) in groups.iter().enumerate() {
        totals[class(place)] += 1.0;
        counts.entry(*group).or_insert_with(|| vec![0.0; classes])[class(place)] += 1.0;
    }
    if counts.len() < folds {
        let given = counts.len();
        return Err(FitError::TooFew { what: "groups for the folds", given, needed: folds });
    }
    let mut order: Vec<(u64, Vec<f64>)> = counts.into_iter().collect();
    random::shuffle(&mut random::stream(seed, 0), &mut order);
    let size = |counts: &[f64]| counts.iter().sum::<f64>();
    order.sort_by(|a, b| size(&b.1).total_cmp(&size(&a.1)));
    let mut dealt = vec![vec![0.0; classes]; folds];
    let mut fold_of = HashMap::new();
    for (group, own) in order {
        // How much of the same classes is there already, by their shares; then how many rows. An empty fold comes first.
        let there = |fold: &Vec<f64>| {
            let pairs = fold.iter().zip(&own).zip(&totals).filter(|(_, total)| **total > 0.0);
            (pairs.map(|((a, b), total)| a * b / (total * total)).sum::<f64>(), size(fold))
        };
        let key = |fold: &usize| there(&dealt[*fold]);
        let less = |a: &usize, b: &usize| {
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        let chosen = (0..folds).min_by(less).unwrap_or(0);
        dealt[chosen].iter_mut().zip(&own).for_each(|(sum, own)| *sum += own);
        fold_of.insert(group, chosen);
    }
    Ok(fold_of)
}

/// Each fold's rows among those that are chosen, as often and in the order as they are chosen.
fn cut_down(data: &Samples<'_>, rows: usize, folds: &[RowFold]) -> Result<Vec<RowFold>, FitError> {
    let there = match data.target() {
        Target::Classes { labels, .. } => labels.len(),
        Target::Values(values) => values.len(),
        _ => rows,
    };
    if there != rows {
        let what = "rows behind the given folds";
        return Err(SamplesError::Length { what, given: rows, expected: there }.into());
    }
    let chosen = data.row_indices();
    let side = |wanted: &[usize]| -> Result<Vec<usize>, FitError> {
        let mut is_in = vec![false; rows];
        for &row in wanted {
            *is_in.get_mut(row).ok_or(SamplesError::UnknownRow { row, rows })? = true;
        }
        Ok(chosen.iter().copied().filter(|&row| is_in[row]).collect())
    };
    let cut = |(train, test): &RowFold| Ok((side(train)?, side(test)?));
    // A fold without rows on one side has nothing to say here.
    let cut: Vec<RowFold> = folds.iter().map(cut).collect::<Result<_, FitError>>()?;
    Ok(cut.into_iter().filter(|(train, test)| !train.is_empty() && !test.is_empty()).collect())
}
