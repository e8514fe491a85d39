//! What several estimators share: targets, weights, shapes.

use std::borrow::Cow;

use mlp_core::random::{self, ChaCha8Rng};
use mlp_core::{FitError, ModelError, ParamValue, Samples, SamplesError, Signature, Target};
use ndarray::ArrayView2;

/// What there is to learn, of either kind, for the chosen rows.
pub(crate) enum Goal<'a> {
    /// The class of each row, and the names of the classes.
    Classes(Cow<'a, [usize]>, &'a [String]),
    /// The number of each row.
    Values(Cow<'a, [f64]>),
}

impl<'a> Goal<'a> {
    pub(crate) fn of(data: &Samples<'a>) -> Result<Self, FitError> {
        match data.target() {
            Target::Classes { .. } => data
                .classes()
                .map(|(labels, names)| Self::Classes(labels, names))
                .map_err(FitError::from),
            _ => Ok(Self::Values(data.values()?)),
        }
    }

    pub(crate) fn signature(&self, data: &Samples<'_>) -> Signature {
        match self {
            Self::Classes(_, names) => {
                Signature::classifier(data.names().iter().cloned(), names.iter().cloned())
            }
            Self::Values(_) => Signature::regressor(data.names().iter().cloned(), "prediction"),
        }
    }
}

/// The weight of each chosen row: 1 where none were given. Refuses weights that are all zero: there is no row to learn from.
pub(crate) fn weights<'a>(data: &Samples<'a>) -> Result<Cow<'a, [f64]>, FitError> {
    let Some(weights) = data.weights() else { return Ok(Cow::Owned(vec![1.0; data.n_rows()])) };
    if weights.iter().any(|&weight| weight > 0.0) {
        Ok(weights)
    } else {
        Err(FitError::TooFew { what: "rows with a weight above 0", given: 0, needed: 1 })
    }
}

/// The chosen rows that have weight, as indices into the matrix behind the samples; none if all have.
pub(crate) fn weighted_rows(data: &Samples<'_>) -> Result<Option<Vec<usize>>, FitError> {
    let weights = weights(data)?;
    let rows = data.row_indices();
    let kept = || rows.iter().zip(&*weights).filter(|(_, weight)| **weight > 0.0);
    Ok((kept().count() < rows.len()).then(|| kept().map(|(&row, _)| row).collect()))
}

/// The samples, cut down to these rows if there are any.
pub(crate) fn cut_to<'b>(
    data: &'b Samples<'_>,
    rows: Option<&'b [usize]>,
) -> Result<Samples<'b>, FitError> {
    match rows {
        Some(rows) => Ok(data.with_rows(rows)?),
        None => Ok(data.reborrow()),
    }
}

/// Which rows are held out: those of some groups, drawn; at least of one, and never of all.
pub(crate) fn held_groups(generator: &mut ChaCha8Rng, groups: &[u64], share: f64) -> Vec<bool> {
    let mut kinds = groups.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    random::shuffle(generator, &mut kinds);
    let wanted = (kinds.len() as f64 * share).round().max(1.0) as usize;
    kinds.truncate(wanted.min(kinds.len() - 1));
    kinds.sort_unstable();
    groups.iter().map(|group| kinds.binary_search(group).is_ok()).collect()
}

/// The weight of each class.
pub(crate) fn class_weights(labels: &[usize], weights: &[f64], classes: usize) -> Vec<f64> {
    let mut totals = vec![0.0; classes];
    labels.iter().zip(weights).for_each(|(&label, weight)| totals[label] += weight);
    totals
}

/// Refuses data of one class: there is nothing to tell apart.
pub(crate) fn check_two_classes(labels: &[usize], names: &[String]) -> Result<(), FitError> {
    match labels.iter().find(|&&label| label != labels[0]) {
        Some(_) => Ok(()),
        None => Err(FitError::SingleClass { class: names[labels[0]].clone() }),
    }
}

/// Refuses rows with a feature that is not finite.
pub(crate) fn check_finite(rows: &ArrayView2<'_, f64>) -> Result<(), ModelError> {
    // Without a branch a value, where the rows are contiguous.
    if rows.as_slice().is_some_and(|v| v.iter().fold(true, |all, v| all & v.is_finite())) {
        return Ok(());
    }
    match rows.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, feature), &value)) => Err(ModelError::NotFinite { row, feature, value }),
        None => Ok(()),
    }
}

/// Refuses rows with an infinite feature; NaN is a missing value.
pub(crate) fn check_no_infinity(rows: &ArrayView2<'_, f64>) -> Result<(), ModelError> {
    if rows.as_slice().is_some_and(|v| v.iter().fold(true, |all, v| all & !v.is_infinite())) {
        return Ok(());
    }
    match rows.indexed_iter().find(|(_, value)| value.is_infinite()) {
        Some(((row, feature), &value)) => Err(ModelError::NotFinite { row, feature, value }),
        None => Ok(()),
    }
}

/// Refuses training rows with an infinite feature; NaN is a missing value.
pub(crate) fn check_no_infinite_feature(data: &Samples<'_>) -> Result<(), FitError> {
    let features = data.features();
    // Most often there is none, which is quickly seen without asking where it is.
    if let Some(all) = features.as_slice()
        && all.iter().fold(true, |none, value| none & !value.is_infinite())
    {
        return Ok(());
    }
    match features.indexed_iter().find(|(_, value)| value.is_infinite()) {
        Some(((row, feature), &value)) => Err(SamplesError::NotFinite {
            row: data.row_indices()[row],
            feature: data.names()[feature].clone(),
            value,
        }
        .into()),
        None => Ok(()),
    }
}

/// A quantile of some numbers, interpolated linearly; there must be at least one.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// The most bytes that names made of other names may take together.
const MAX_NAME_BYTES: usize = 64 << 20;

/// Gathers names that are made of others, and refuses more of them than anybody can want: few bytes of a saved part could ask for many.
#[derive(Default)]
pub(crate) struct MadeNames {
    names: Vec<String>,
    bytes: usize,
}

impl MadeNames {
    /// Adds a name.
    pub(crate) fn push(&mut self, name: String) -> Result<(), String> {
        self.bytes += name.len();
        self.names.push(name);
        if self.bytes > MAX_NAME_BYTES {
            return Err(format!("the names of the outputs take more than {MAX_NAME_BYTES} bytes"));
        }
        Ok(())
    }

    pub(crate) fn into_names(self) -> Vec<String> {
        self.names
    }
}

/// A count as the value of a parameter.
pub(crate) fn as_param(count: usize) -> ParamValue {
    ParamValue::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The positions of the columns that go and of those that stay, among the active ones.
pub(crate) fn part(
    active: &[usize],
    columns: &[usize],
) -> Result<(Vec<usize>, Vec<usize>), FitError> {
    if let Some(unknown) = columns.iter().find(|column| !active.contains(column)) {
        return Err(FitError::failed(format!("column {unknown} is not among those that are left")));
    }
    let (gone, left): (Vec<usize>, Vec<usize>) =
        (0..active.len()).partition(|&at| columns.contains(&active[at]));
    if left.is_empty() {
        return Err(FitError::failed("no column would be left"));
    }
    Ok((gone, left))
}
