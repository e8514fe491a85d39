//! Parts of the data by the value of a column or by a predicate: a model that is good on the whole may fail a group.

use std::fmt;

use mlp_core::{Direction, Labels};
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};
use crate::rules::Observation;
use crate::text::{Align, TextTable};

/// The most slices there may be.
const MAX_SLICES: usize = 1_000;

/// Parts of a table's rows, each with a name. Parts may overlap.
///
/// ```
/// use mlp_core::Direction;
/// use mlp_monitor::Slices;
///
/// let right = [1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
/// let country = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
/// let slices = Slices::new(6).with_values("country", &country)?.with_predicate("first", |row| *row == 0)?;
/// let accuracy = |rows: &[usize]| Some(rows.iter().map(|&row| right[row]).sum::<f64>() / rows.len() as f64);
/// let report = slices.score("accuracy", Direction::Maximize, 2, accuracy);
/// assert_eq!(report.worst().unwrap().name, "country=1");
/// assert_eq!(report.slices.last().unwrap().value, None); // one row is too few
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slices {
    n_rows: usize,
    parts: Vec<(String, Vec<usize>)>,
}

impl Slices {
    /// No slices yet, of so many rows.
    #[must_use]
    pub fn new(n_rows: usize) -> Self {
        Self { n_rows, parts: Vec::new() }
    }

    /// Makes a slice of each value that a column has, called `name=value`, in ascending order; NaN is a value.
    ///
    /// # Errors
    /// If the column has another number of rows, or there would be more than 1,000 slices.
    pub fn with_values(self, name: &str, column: &[f64]) -> Result<Self> {
        self.with_texts(name, column, |value| value.to_string())
    }

    /// As [`with_values`](Self::with_values), for a column of codes: each value is an index into these texts, and what is none stands for itself.
    ///
    /// # Errors
    /// As [`with_values`](Self::with_values).
    pub fn with_categories(self, name: &str, column: &[f64], texts: &[String]) -> Result<Self> {
        self.with_texts(name, column, |value| {
            let is_index = value >= 0.0 && value.fract() == 0.0 && value < texts.len() as f64;
            if is_index { texts[value as usize].clone() } else { value.to_string() }
        })
    }

    fn with_texts(
        mut self,
        name: &str,
        column: &[f64],
        text: impl Fn(f64) -> String,
    ) -> Result<Self> {
        self.check_rows(column.len())?;
        let mut order: Vec<usize> = (0..column.len()).collect();
        // −0 and 0 are one value.
        let key = |row: usize| column[row] + 0.0;
        order.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
        for rows in order.chunk_by(|&a, &b| key(a).total_cmp(&key(b)).is_eq()) {
            self = self.with_part(format!("{name}={}", text(key(rows[0]))), rows.to_vec())?;
        }
        Ok(self)
    }

    /// Makes a slice of the rows, from 0, for which this holds.
    ///
    /// # Errors
    /// If the name is taken, or there would be more than 1,000 slices.
    pub fn with_predicate(
        self,
        name: impl Into<String>,
        holds: impl FnMut(&usize) -> bool,
    ) -> Result<Self> {
        let rows = (0..self.n_rows).filter(holds).collect();
        self.with_part(name.into(), rows)
    }

    fn with_part(mut self, name: String, rows: Vec<usize>) -> Result<Self> {
        if self.parts.len() >= MAX_SLICES {
            return Err(MonitorError::LimitExceeded { what: "slices", limit: MAX_SLICES });
        }
        if self.parts.iter().any(|(known, _)| *known == name) {
            return Err(MonitorError::Duplicate { what: "slices", name });
        }
        self.parts.push((name, rows));
        Ok(self)
    }

    /// The slices: the name of each, and its rows.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.parts.iter().map(|(name, rows)| (name.as_str(), rows.as_slice()))
    }

    pub(crate) fn check_rows(&self, given: usize) -> Result<()> {
        let expected = self.n_rows;
        if given == expected {
            return Ok(());
        }
        Err(MonitorError::Length { what: "rows of slices".to_owned(), given, expected })
    }

    /// Scores the whole and each slice. A slice with fewer rows than `min_count` has no value: the score of a handful says nothing.
    pub fn score(
        &self,
        metric: impl Into<String>,
        direction: Direction,
        min_count: usize,
        mut score: impl FnMut(&[usize]) -> Option<f64>,
    ) -> SliceReport {
        let all: Vec<usize> = (0..self.n_rows).collect();
        let mut of = |name: &str, rows: &[usize]| {
            let value = if rows.len() >= min_count.max(1) { score(rows) } else { None };
            SliceScore::of(name, rows.len() as u64, min_count as u64, value)
        };
        let whole = of("all", &all);
        let slices = self.parts().map(|(name, rows)| of(name, rows)).collect();
        SliceReport { metric: metric.into(), direction, whole, slices }
    }
}

/// The score of a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceScore {
    /// What the slice is called.
    pub name: String,
    /// How many rows it has.
    pub count: u64,
    /// Its score; none if there are too few rows, or it is undefined on them.
    #[serde(default, with = "exact_option")]
    pub value: Option<f64>,
}

/// A double or none, exact in JSON also where it is infinite.
mod exact_option {
    use mlp_core::exact;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Exact(#[serde(with = "exact")] f64);

    pub(super) fn serialize<S: Serializer>(
        value: &Option<f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(Exact).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Exact>::deserialize(deserializer)?.map(|Exact(value)| value))
    }
}

impl SliceScore {
    /// A score that has been counted elsewhere; of fewer cases than `min_count` it has no value.
    pub(crate) fn of(name: &str, count: u64, min_count: u64, value: Option<f64>) -> Self {
        let value = value.filter(|value| count >= min_count.max(1) && !value.is_nan());
        Self { name: name.to_owned(), count, value }
    }
}

/// A metric on the whole and by slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SliceReport {
    /// The metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// The score of all rows.
    pub whole: SliceScore,
    /// The scores of the slices.
    pub slices: Vec<SliceScore>,
}

impl SliceReport {
    /// The slice with the worst score, the first of equal ones; none if no slice has one.
    #[must_use]
    pub fn worst(&self) -> Option<&SliceScore> {
        let scored = self.slices.iter().filter(|slice| slice.value.is_some());
        scored.reduce(|worst, slice| {
            let is_worse = match self.direction {
                Direction::Maximize => slice.value < worst.value,
                Direction::Minimize => slice.value > worst.value,
            };
            if is_worse { slice } else { worst }
        })
    }

    /// The scores as observations for rules on the signal of this name, with the slice as label `slice`; a change is measured from the whole.
    /// `subject` are labels that tell this report from others, such as those of another model or version.
    pub fn observations(
        &self,
        subject: &Labels,
    ) -> impl Iterator<Item = (&str, Labels, Observation)> {
        self.slices.iter().map(|slice| {
            let mut labels = subject.clone();
            labels.insert("slice".to_owned(), slice.name.clone());
            let mut observation = Observation::from(slice.value).with_count(slice.count);
            observation.reference = self.whole.value;
            (self.metric.as_str(), labels, observation)
        })
    }
}

impl fmt::Display for SliceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns =
            [("slice", Align::Left), ("rows", Align::Right), (&*self.metric, Align::Right)];
        let mut heading = columns.to_vec();
        heading.push(("", Align::Left));
        let mut table = TextTable::new(&heading);
        let worst = self.worst().map(|slice| slice.name.as_str());
        for slice in std::iter::once(&self.whole).chain(&self.slices) {
            let value = slice.value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
            let mark = if worst == Some(slice.name.as_str()) { "worst" } else { "" };
            table.row(vec![slice.name.clone(), slice.count.to_string(), value, mark.to_owned()]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64]) -> impl Fn(&[usize]) -> Option<f64> {
        |rows| Some(rows.iter().map(|&row| values[row]).sum::<f64>() / rows.len() as f64)
    }

    #[test]
    fn the_worst_slice_is_told_and_a_small_one_has_no_value() {
        let values = [1.0, 0.875, 0.75, 0.25, 0.125, 0.0];
        let groups = [0.0, 0.0, 0.0, 1.0, 1.0, 2.0];
        let slices = Slices::new(6).with_values("g", &groups).unwrap();
        let report = slices.score("accuracy", Direction::Maximize, 2, mean(&values));
        assert_eq!(report.worst().unwrap().name, "g=1");
        assert_eq!((report.slices[2].count, report.slices[2].value), (1, None));
        assert_eq!(report.whole.value, Some(0.5));
        let lower = slices.score("loss", Direction::Minimize, 1, mean(&values));
        assert_eq!(lower.worst().unwrap().name, "g=0");
        let none = slices.score("loss", Direction::Minimize, 7, mean(&values));
        assert_eq!((none.worst(), none.whole.value), (None, None));
        assert!(report.to_string().contains("g=1"), "{report}");
        let observed: Vec<_> =
            report.observations(&Labels::from([("version".to_owned(), "v1".to_owned())])).collect();
        assert_eq!(observed[0].1["version"], "v1");
        assert_eq!(observed[0].2.reference, Some(0.5));
    }

    #[test]
    fn a_report_of_infinite_scores_can_be_written_and_read() {
        let values = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, -0.0, 5e-324];
        let slices = Slices::new(6).with_values("v", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        let report = slices.score("loss", Direction::Minimize, 1, mean(&values));
        assert_eq!(report.slices[0].value, Some(f64::INFINITY));
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<SliceReport>(&text).unwrap(), report);
    }

    #[test]
    fn slices_overlap_keep_nan_apart_and_are_bounded() {
        let column = [f64::NAN, 0.0, -0.0, 1.0, f64::NAN];
        let texts = ["no".to_owned(), "yes".to_owned()];
        let slices = Slices::new(5)
            .with_categories("c", &column, &texts)
            .unwrap()
            .with_predicate("odd", |row| row % 2 == 1)
            .unwrap();
        let parts: Vec<_> = slices.parts().collect();
        let expected: [(&str, &[usize]); 4] =
            [("c=no", &[1, 2]), ("c=yes", &[3]), ("c=NaN", &[0, 4]), ("odd", &[1, 3])];
        assert_eq!(parts, expected);
        assert!(slices.clone().with_predicate("odd", |_| true).is_err());
        assert!(slices.with_values("c", &[1.0]).is_err());
        let many: Vec<f64> = (0..1_001).map(f64::from).collect();
        let limit = Slices::new(1_001).with_values("id", &many).unwrap_err();
        assert!(matches!(limit, MonitorError::LimitExceeded { limit: 1_000, .. }));
    }
}
