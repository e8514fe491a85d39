//! One thread's share of the rows: it alone changes what is known about them, and all read it.

use std::ops::Range;

use super::cut::{Cut, Sum};
use super::steps::{Count, Step};
use super::{Field, Slope};

/// How many rows are summed up before their sum goes into the whole: the same on any number of threads, hence whole blocks belong to a thread.
pub(super) const BLOCK: usize = 1_024;

pub(super) struct Stretch {
    /// All its rows.
    own: Range<usize>,
    /// Row by row.
    scores: Vec<f64>,
    /// Score by score.
    slopes: Vec<Slope>,
    /// The rows that this tree learns from; all of them if none were drawn.
    pub(super) drawn: Option<Vec<u32>>,
    /// The rows leaf by leaf, those of a leaf ascending.
    rows: Vec<u32>,
    /// Where the rows of each leaf are.
    leaves: Vec<Range<usize>>,
    /// Which of the rows' slopes are laid out in their order, because they are about to be counted.
    laid_out: Range<usize>,
    in_order: Vec<Slope>,
    set_aside: Vec<u32>,
    /// What each block comes to when a tree begins.
    pub(super) sums: Vec<Sum>,
    score: usize,
}

impl Stretch {
    /// All rows as so many stretches, whose rows all have the same scores.
    pub(super) fn all(n_rows: usize, base: &[f64], count: usize) -> Vec<Self> {
        let size = n_rows.div_ceil(BLOCK).div_ceil(count) * BLOCK;
        let own = |number: usize| (number * size).min(n_rows)..((number + 1) * size).min(n_rows);
        (0..count).map(|number| Self::new(own(number), base)).collect()
    }

    fn new(own: Range<usize>, base: &[f64]) -> Self {
        let n_rows = own.len();
        Self {
            own,
            scores: (0..n_rows).flat_map(|_| base.iter().copied()).collect(),
            slopes: vec![Slope::default(); n_rows * base.len()],
            drawn: None,
            rows: Vec::new(),
            leaves: Vec::new(),
            laid_out: 0..0,
            in_order: Vec::new(),
            set_aside: Vec::new(),
            sums: Vec::new(),
            score: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn n_rows(&self) -> usize {
        self.own.len()
    }

    pub(super) fn carry_out(&mut self, step: &Step, field: &Field<'_>) {
        match step {
            Step::Slope => {
                let weights = &field.weights[self.own.clone()];
                let (first, n_scores) = (self.own.start, field.base.len());
                field.loss.slopes(first, &self.scores, weights, n_scores, &mut self.slopes);
            }
            Step::Gather { score } => self.gather(*score),
            Step::Begin { .. } => {}
            Step::Part { number, cut, .. } => self.part(*number, cut, field),
            Step::Split { number, cut, count, .. } => {
                self.part(*number, cut, field);
                let (left, right) =
                    (self.leaves[*number].clone(), self.leaves[self.leaves.len() - 1].clone());
                self.lay_out(match count {
                    Count::Left => left,
                    Count::Right => right,
                    Count::Few => left.start..right.end,
                });
            }
            Step::Answer { values } => {
                let n_scores = field.base.len();
                for (leaf, value) in self.leaves.iter().zip(values) {
                    for &row in &self.rows[leaf.clone()] {
                        let place = row as usize - self.own.start;
                        self.scores[place * n_scores + self.score] += value;
                    }
                }
            }
        }
    }

    fn gather(&mut self, score: usize) {
        self.score = score;
        self.rows.clear();
        match &self.drawn {
            Some(drawn) => self.rows.extend(drawn),
            None => self.rows.extend(self.own.clone().map(|row| row as u32)),
        }
        self.leaves.clear();
        self.leaves.push(0..self.rows.len());
        self.lay_out(0..self.rows.len());
        self.sums.clear();
        let mut block = usize::MAX;
        for (&row, &slope) in self.rows.iter().zip(&self.in_order) {
            if row as usize / BLOCK != block {
                block = row as usize / BLOCK;
                self.sums.push(Sum::default());
            }
            if let Some(sum) = self.sums.last_mut() {
                sum.add(slope);
            }
        }
    }

    fn lay_out(&mut self, places: Range<usize>) {
        let (score, n_rows) = (self.score, self.own.len());
        let slopes = &self.slopes[score * n_rows..(score + 1) * n_rows];
        self.in_order.clear();
        let rows = self.rows[places.clone()].iter();
        self.in_order.extend(rows.map(|&row| slopes[row as usize - self.own.start]));
        self.laid_out = places;
    }

    /// The rows of a leaf and their slopes, which were laid out in this step.
    pub(super) fn leaf(&self, number: usize) -> (&[u32], &[Slope]) {
        let Range { start, end } = self.leaves[number].clone();
        let first = self.laid_out.start;
        (&self.rows[start..end], &self.in_order[start - first..end - first])
    }

    /// Brings the rows of the left side before those of the right one, each in their order. The left side keeps the number of the leaf, the right one
    /// gets the next.
    fn part(&mut self, number: usize, cut: &Cut, field: &Field<'_>) {
        let column = field.table.column(cut.feature);
        let n_bins = field.table.edges[cut.feature].len();
        let whole = self.leaves[number].clone();
        let rows = &mut self.rows[whole.clone()];
        let room = self.set_aside.len().max(rows.len());
        self.set_aside.resize(room, 0);
        let (mut kept, mut aside) = (0, 0);
        for place in 0..rows.len() {
            let row = rows[place];
            let goes_left = cut.takes_left(column[row as usize].into(), n_bins);
            // Without a branch, which could not be foreseen: each row is written to both, and overwritten where it does not belong.
            rows[kept] = row;
            self.set_aside[aside] = row;
            kept += usize::from(goes_left);
            aside += usize::from(!goes_left);
        }
        rows[kept..].copy_from_slice(&self.set_aside[..aside]);
        let middle = whole.start + kept;
        self.leaves[number] = whole.start..middle;
        self.leaves.push(middle..whole.end);
    }

    /// Says which of all rows, ascending, the next trees learn from.
    pub(super) fn draw(&mut self, rows: &[u32]) {
        let below = |row: usize| rows.partition_point(|&it| (it as usize) < row);
        let own = &rows[below(self.own.start)..below(self.own.end)];
        let drawn = self.drawn.get_or_insert_default();
        drawn.clear();
        drawn.extend(own);
    }

    /// Adds to the scores of those of these rows, ascending, that are its own.
    pub(super) fn add(&mut self, rows: &[u32], n_scores: usize, value: impl Fn(usize) -> f64) {
        let below = |row: usize| rows.partition_point(|&it| (it as usize) < row);
        for &row in &rows[below(self.own.start)..below(self.own.end)] {
            let place = row as usize - self.own.start;
            self.scores[place * n_scores + self.score] += value(row as usize);
        }
    }
}
