//! How much a feature alone tells about the target, of any shape.

use mlp_core::{Samples, Target};

use crate::error::SelectError;

/// The most parts that values are cut into.
const BINS: usize = 16;

/// The mutual information of each feature and the target in nats, from counts in bins of nearly equal frequency (Cover and Thomas 2006,
/// section 2.3), less what independent ones would have on average by chance (Miller 1955) and never below 0.
///
/// Finds any dependence that the bins can show, also one that rises and falls. Features and numeric targets are cut into at most 16 parts,
/// fewer where rows are few; missing values are a part of their own.
///
/// # Errors
/// If the target is absent.
pub fn mutual_information(data: &Samples<'_>) -> Result<Vec<f64>, SelectError> {
    let n = data.n_rows();
    let bins = BINS.min((n as f64 / 5.0).sqrt() as usize).max(2);
    let target = match data.target() {
        Target::Classes { .. } => data.classes()?.0.into_owned(),
        Target::Values(_) => cut(&data.values()?, bins),
        _ => return Err(SelectError::Missing("target")),
    };
    let features = data.features();
    let columns = features.columns().into_iter();
    Ok(columns.map(|column| information(&cut(&column.to_vec(), bins), &target)).collect())
}

/// The part of each value: parts of nearly equal frequency, equal values in one part, NaN in the last.
fn cut(values: &[f64], bins: usize) -> Vec<usize> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut edges: Vec<f64> =
        (1..bins).filter_map(|part| sorted.get(part * sorted.len() / bins).copied()).collect();
    edges.dedup();
    let part = |value: &f64| match value.is_nan() {
        true => bins,
        false => edges.partition_point(|edge| edge <= value),
    };
    values.iter().map(part).collect()
}

fn information(left: &[usize], right: &[usize]) -> f64 {
    let size = |parts: &[usize]| parts.iter().max().map_or(0, |greatest| greatest + 1);
    let (rows, columns) = (size(left), size(right));
    let mut joint = vec![0.0; rows * columns];
    left.iter().zip(right).for_each(|(&a, &b)| joint[a * columns + b] += 1.0);
    let of_row = |a: usize| joint[a * columns..(a + 1) * columns].iter().sum::<f64>();
    let of_column = |b: usize| (0..rows).map(|a| joint[a * columns + b]).sum::<f64>();
    let (by_row, by_column): (Vec<f64>, Vec<f64>) =
        ((0..rows).map(of_row).collect(), (0..columns).map(of_column).collect());
    let n = left.len() as f64;
    let term = |(at, &count): (usize, &f64)| {
        if count == 0.0 {
            return 0.0;
        }
        let expected = by_row[at / columns] * by_column[at % columns] / n;
        count / n * (count / expected).ln()
    };
    let found: f64 = joint.iter().enumerate().map(term).sum();
    let used = |counts: &[f64]| counts.iter().filter(|count| **count > 0.0).count() as f64;
    let by_chance = (used(&by_row) - 1.0) * (used(&by_column) - 1.0) / (2.0 * n);
    (found - by_chance).max(0.0)
}
