//! What a comparison found, as data and as text.

use std::fmt;

use mlp_core::{ContentHash, Labels};
use serde::{Deserialize, Serialize};

use crate::rules::Observation;
use crate::text::{Align, TextTable};

/// What is said of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// It is distributed as before, or so nearly that it does not matter.
    Stable,
    /// It is distributed otherwise, and that matters.
    Drifted,
    /// There are too few values to say.
    TooFew,
}

/// The test that a p-value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ColumnTest {
    /// There were too few values.
    None,
    /// Kolmogorov and Smirnov, of numbers.
    KolmogorovSmirnov,
    /// Anderson and Darling, of numbers.
    AndersonDarling,
    /// Pearson's χ² of counts: of categories, or of numbers in bins.
    ChiSquare,
    /// Fisher's exact test of counts: of two categories, or of those too rare for χ².
    FisherExact,
}

/// How one column compares with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ColumnDrift {
    /// The column.
    pub name: String,
    /// What is said of it.
    pub verdict: DriftVerdict,
    /// What the p-values are of.
    pub test: ColumnTest,
    /// The greatest distance of the two distribution functions, of categories half the sum of the differences of their shares; from 0 to 1.
    pub distance: f64,
    /// The p-value of this column alone.
    pub p_value: f64,
    /// The p-value, corrected for the number of columns.
    pub adjusted_p: f64,
    /// The population stability index.
    pub psi: f64,
    /// The p-value of the counts that the index is of, whatever the test: Pearson's χ² of the bins; of categories the p-value of the column.
    pub psi_p_value: f64,
    /// How many bins or groups of categories the index, and χ², compare; rare categories are joined to groups.
    pub cells: usize,
    /// The Jensen-Shannon distance to base 2 over the same bins or categories, from 0 to 1.
    pub jensen_shannon: f64,
    /// How far values moved on average, in standard deviations of the reference (of at least 0.001 in the column's unit); not of categories, and not
    /// where it is beyond what a double can hold. One outlier can make it large.
    pub wasserstein: Option<f64>,
    /// How many current values were compared.
    pub values: usize,
    /// How many current values are not finite.
    pub not_finite: usize,
    /// How many current values are of a category that the reference does not have; 0 if it has more than it keeps apart.
    pub unknown: usize,
}

/// How all columns compare with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The dataset that the reference comes from, if it was named.
    pub dataset: Option<ContentHash>,
    /// One entry a column, in the order of the reference.
    pub columns: Vec<ColumnDrift>,
}

/// How one part of the current rows compares with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceDrift {
    /// What the slice is called.
    pub name: String,
    /// How many rows it has.
    pub rows: usize,
    /// What was found.
    pub report: DriftReport,
}

impl DriftReport {
    /// The names of the columns that drifted.
    pub fn drifted(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .filter(|column| column.verdict == DriftVerdict::Drifted)
            .map(|column| column.name.as_str())
    }

    /// Observations for rules on `subject`: labels that tell this report from others, such as those of another model, version or slice, or of
    /// predictions beside features. A rule follows each subject by itself: two reports of one subject would contradict each other.
    ///
    /// For each column, with the label `column` added: `drifted`, 1 or 0, and `drift_psi`, the index of a column that drifted, 0 of one that is
    /// stable; both without data of one with too few values. Of the whole: `drifted_share`, of the columns with enough values.
    #[must_use]
    pub fn observations(&self, subject: &Labels) -> Vec<(&'static str, Labels, Observation)> {
        let of_column = |column: &ColumnDrift| {
            let (drifted, psi) = match column.verdict {
                DriftVerdict::Drifted => (Some(1.0), Some(column.psi)),
                DriftVerdict::Stable => (Some(0.0), Some(0.0)),
                DriftVerdict::TooFew => (None, None),
            };
            let mut labels = subject.clone();
            labels.insert("column".to_owned(), column.name.clone());
            [("drifted", drifted), ("drift_psi", psi)].map(|(signal, value)| {
                let observation = Observation::from(value).with_count(column.values as u64);
                (signal, labels.clone(), observation)
            })
        };
        let judged = self.columns.iter().filter(|c| c.verdict != DriftVerdict::TooFew).count();
        let share = (judged > 0).then(|| self.drifted().count() as f64 / judged as f64);
        let share = Observation::from(share).with_count(judged as u64);
        let share = ("drifted_share", subject.clone(), share);
        self.columns.iter().flat_map(of_column).chain([share]).collect()
    }
}

impl SliceDrift {
    /// The observations of its report, with the slice as label `slice`.
    #[must_use]
    pub fn observations(&self, subject: &Labels) -> Vec<(&'static str, Labels, Observation)> {
        let mut subject = subject.clone();
        subject.insert("slice".to_owned(), self.name.clone());
        self.report.observations(&subject)
    }
}

impl fmt::Display for DriftReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = |name| (name, Align::Right);
        let mut table = TextTable::new(&[
            ("column", Align::Left),
            ("verdict", Align::Left),
            right("PSI"),
            right("distance"),
            right("JS"),
            right("Wasserstein"),
            ("test", Align::Left),
            right("adjusted p"),
            right("cells"),
            right("values"),
            right("not finite"),
        ]);
        for column in &self.columns {
            let verdict = match column.verdict {
                DriftVerdict::Stable => "stable",
                DriftVerdict::Drifted => "DRIFTED",
                DriftVerdict::TooFew => "too few",
            };
            let test = match column.test {
                ColumnTest::None => "-",
                ColumnTest::KolmogorovSmirnov => "KS",
                ColumnTest::AndersonDarling => "AD",
                ColumnTest::ChiSquare => "χ²",
                ColumnTest::FisherExact => "Fisher",
            };
            table.row(vec![
                column.name.clone(),
                verdict.to_owned(),
                format!("{:.3}", column.psi),
                format!("{:.3}", column.distance),
                format!("{:.3}", column.jensen_shannon),
                column.wasserstein.map_or_else(|| "-".to_owned(), |far| format!("{far:.3}")),
                test.to_owned(),
                format!("{:.1e}", column.adjusted_p),
                column.cells.to_string(),
                column.values.to_string(),
                column.not_finite.to_string(),
            ]);
        }
        table.fmt(f)
    }
}
