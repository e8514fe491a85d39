//! A column of categories as it was, and how another sample of it compares.

use std::collections::BTreeMap;

use mlp_stats::{Alternative, CountStatistic, Proportion, count_test, fisher_exact, psi_of_counts};
use serde::{Deserialize, Serialize};

use super::column::{Measured, divergence, if_undefined};
use super::report::ColumnTest;
use crate::error::Result;

/// So many values of a cell are to be expected in either sample for χ² to hold: with nearly empty cells it finds differences that are not
/// there (Cochran 1954).
const LEAST_EXPECTED: f64 = 5.0;

/// How often each category occurred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Categories {
    /// Each code with its count, in ascending order of the codes.
    counts: Vec<(f64, u64)>,
    /// How many values were of further categories, beyond the most that are kept.
    others: u64,
}

/// What is compared as one: a category, or several rare ones.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// The code of the category; of several that of any.
    code: f64,
    before: u64,
    now: u64,
}

impl Cell {
    fn total(&self) -> u64 {
        self.before + self.now
    }

    fn add(&mut self, other: &Self) {
        self.before += other.before;
        self.now += other.now;
    }
}

impl Categories {
    /// Counts finite values; of more than `most` categories the most frequent, the others together.
    pub(super) fn of(values: &[f64], most: usize) -> Self {
        let counted = counted(values).into_iter();
        let mut counts: Vec<(f64, u64)> =
            counted.map(|(code, count)| (f64::from_bits(code), count)).collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
        let others = counts.iter().skip(most).map(|(_, count)| count).sum();
        counts.truncate(most);
        counts.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { counts, others }
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum::<u64>() + self.others
    }

    /// Whether what was read from a file makes sense.
    pub(super) fn is_sound(&self, most: usize) -> bool {
        let known = self.counts.iter();
        let total = known.clone().try_fold(self.others, |sum, (_, count)| sum.checked_add(*count));
        known.clone().all(|(code, count)| code.is_finite() && *count > 0)
            && self.counts.is_sorted_by(|a, b| a.0 < b.0)
            && self.counts.len() <= most
            && total.is_some_and(|total| total < 1 << 53)
    }

    /// Compares finite values with those counted; none if all categories are so rare that they would be compared as one.
    ///
    /// Categories, those that only one sample has among them, are ordered by how often they occur in both samples together and joined until so
    /// many of each group are to be expected in either. As the groups depend on nothing but these sums, the tests keep their levels: what is
    /// tested is how each group is split between the samples.
    pub(super) fn measure(&self, current: &[f64]) -> Result<Option<Measured>> {
        let mut found = counted(current);
        let mut all: Vec<Cell> = Vec::with_capacity(self.counts.len());
        for (code, before) in &self.counts {
            let now = found.remove(&code.to_bits()).unwrap_or(0);
            all.push(Cell { code: *code, before: *before, now });
        }
        let unknown: u64 = found.values().sum();
        if self.others > 0 {
            all.push(Cell { code: f64::INFINITY, before: self.others, now: unknown });
        } else {
            let new = |(code, now)| Cell { code: f64::from_bits(code), before: 0, now };
            all.extend(found.into_iter().map(new));
        }
        let (n, m) = (self.total(), current.len() as u64);
        let n_categories = all.len();
        let (mut cells, rest) = grouped(all, n, m);
        if cells.len() + usize::from(rest.is_some()) < 2 && n_categories > 1 {
            return Ok(None);
        }
        let (test, p_value) = significance(&cells, rest, n, m)?;
        cells.extend(rest);
        let (before, now): (Vec<u64>, Vec<u64>) = cells.iter().map(|c| (c.before, c.now)).unzip();
        let share =
            |cell: &Cell| (cell.before as f64 / n as f64 - cell.now as f64 / m as f64).abs();
        Ok(Some(Measured {
            test,
            p_value,
            distance: cells.iter().map(share).sum::<f64>() / 2.0,
            psi: psi_of_counts(&before, &now)?.value,
            psi_p_value: p_value,
            jensen_shannon: divergence(&before, &now)?,
            wasserstein: None,
            unknown: if self.others > 0 { 0 } else { unknown as usize },
            cells: cells.len(),
        }))
    }
}

fn counted(values: &[f64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for value in values {
        // −0 and 0 are one category.
        *counts.entry((value + 0.0).to_bits()).or_default() += 1;
    }
    counts
}

/// Groups of enough values, the most frequent first, and what is left over: rare ones that are too few together.
fn grouped(mut all: Vec<Cell>, n: u64, m: u64) -> (Vec<Cell>, Option<Cell>) {
    let part = n.min(m) as f64 / (n + m) as f64;
    // Of equally frequent ones the order must not tell which sample has them: that of their codes does not.
    all.sort_by(|a, b| b.total().cmp(&a.total()).then(a.code.total_cmp(&b.code)));
    let (mut cells, mut open) = (Vec::new(), Cell::default());
    for cell in &all {
        open.add(cell);
        if open.total() as f64 * part >= LEAST_EXPECTED {
            cells.push(std::mem::take(&mut open));
        }
    }
    (cells, (open.total() > 0).then_some(open))
}

/// Two cells are tested exactly. Of more, what is left over is tested exactly against all others, and with its neighbour by χ² against the rest:
/// twice the smaller p-value then holds for both.
fn significance(cells: &[Cell], rest: Option<Cell>, n: u64, m: u64) -> Result<(ColumnTest, f64)> {
    let exact = |cell: &Cell| -> Result<f64> {
        let (before, now) = (Proportion::new(cell.before, n)?, Proportion::new(cell.now, m)?);
        Ok(fisher_exact(before, now, Alternative::TwoSided))
    };
    match (cells, rest) {
        ([_], Some(rest)) => return Ok((ColumnTest::FisherExact, exact(&rest)?)),
        ([first, _], None) => return Ok((ColumnTest::FisherExact, exact(first)?)),
        _ => {}
    }
    let mut joined = cells.to_vec();
    if let (Some(last), Some(rest)) = (joined.last_mut(), &rest) {
        last.add(rest);
    }
    let (before, now): (Vec<u64>, Vec<u64>) = joined.iter().map(|c| (c.before, c.now)).unzip();
    let test = count_test(&before, &now, CountStatistic::Pearson);
    // One category on both sides is the same.
    let of_all = if_undefined(test.map(|test| test.p_value), 1.0)?;
    let Some(rest) = rest else { return Ok((ColumnTest::ChiSquare, of_all)) };
    let of_rest = exact(&rest)?;
    let test = if of_rest < of_all { ColumnTest::FisherExact } else { ColumnTest::ChiSquare };
    Ok((test, (2.0 * of_rest.min(of_all)).min(1.0)))
}
