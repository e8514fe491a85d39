//! A drift report beside Evidently's.

use std::path::Path;

use mlp::monitor::{DriftConfig, DriftReference};
use ndarray::{ArrayView2, ArrayView3, Axis, s};

use crate::{measure, read};

const COLUMNS: usize = 20;
const PAIRS: usize = 20;

/// How many columns are called drifted. The reference is prepared anew each time, as the peer does.
fn drifted(reference: ArrayView2<'_, f64>, current: ArrayView2<'_, f64>) -> f64 {
    let names = (0..reference.ncols()).map(|column| format!("x{column}"));
    let known = DriftReference::new(names, reference, DriftConfig::default()).expect("a reference");
    known.compare(current).expect("a report").drifted().count() as f64
}

/// The most memory that the process has had, in MB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("the peak");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1024.0
}

pub(crate) fn run(folder: &Path) {
    let [reference, current] = ["large_reference", "large_current"].map(|name| read(folder, name));
    let rows = |values| ArrayView2::from_shape((reference.len() / COLUMNS, COLUMNS), values);
    let (before, after) = (rows(&reference).expect("rows"), rows(&current).expect("rows"));
    measure("report", 7, || drifted(before, after));
    measure("memory", 1, peak);
    let [reference, current] = ["small_reference", "small_current"].map(|name| read(folder, name));
    let pairs = |values: &[f64]| (PAIRS, values.len() / COLUMNS / PAIRS, COLUMNS);
    let before = ArrayView3::from_shape(pairs(&reference), &reference).expect("pairs");
    let after = ArrayView3::from_shape(pairs(&current), &current).expect("pairs");
    measure("alarms", 1, || {
        let both = before.axis_iter(Axis(0)).zip(after.axis_iter(Axis(0)));
        both.map(|(before, after)| drifted(before, after)).sum()
    });
    // Each column in a report of its own: without a correction for their number, as the peer has none.
    measure("alarms, uncorrected", 1, || {
        let both = before.axis_iter(Axis(0)).zip(after.axis_iter(Axis(0)));
        both.flat_map(|(before, after)| {
            (0..COLUMNS).map(move |k| drifted(alone(before, k), alone(after, k)))
        })
        .sum()
    });
}

/// One column as a table of its own.
fn alone(rows: ArrayView2<'_, f64>, column: usize) -> ArrayView2<'_, f64> {
    rows.slice_move(s![.., column..=column])
}
