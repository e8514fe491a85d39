//! How good incoming data are: what is missing, NaN, infinite or against the schema.

mod table;

use std::collections::BTreeMap;
use std::fmt;

use mlp_core::Labels;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};
use crate::rules::Observation;
use crate::text::{Align, TextTable, percent};

pub use table::{FaultCount, SchemaFault, TableQuality};

/// What was wrong with the values of one column, each value counted under one heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QualityCounts {
    /// Values that should be there.
    pub values: u64,
    /// Not given at all.
    pub missing: u64,
    /// Given, and not a number.
    pub nan: u64,
    /// Infinite.
    pub infinite: u64,
    /// A number that the schema does not allow.
    pub out_of_schema: u64,
}

/// A way in which a value can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityFault {
    /// Not given at all.
    Missing,
    /// Given, and not a number.
    Nan,
    /// Infinite.
    Infinite,
    /// A number that the schema does not allow.
    OutOfSchema,
}

impl QualityFault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Nan, Self::Infinite, Self::OutOfSchema];

    /// The name of its rate as a signal for rules, such as `missing_rate`.
    #[must_use]
    pub const fn signal(self) -> &'static str {
        match self {
            Self::Missing => "missing_rate",
            Self::Nan => "nan_rate",
            Self::Infinite => "infinite_rate",
            Self::OutOfSchema => "out_of_schema_rate",
        }
    }
}

impl QualityCounts {
    /// How many values are wrong in this way.
    #[must_use]
    pub const fn count(&self, fault: QualityFault) -> u64 {
        match fault {
            QualityFault::Missing => self.missing,
            QualityFault::Nan => self.nan,
            QualityFault::Infinite => self.infinite,
            QualityFault::OutOfSchema => self.out_of_schema,
        }
    }

    /// The share of values that are wrong in this way; none without values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are out of reach")]
    pub fn rate(&self, fault: QualityFault) -> Option<f64> {
        (self.values > 0).then(|| self.count(fault) as f64 / self.values as f64)
    }

    fn add(&mut self, value: Option<f64>, is_allowed: impl FnOnce(f64) -> bool) {
        self.values += 1;
        match value {
            None => self.missing += 1,
            Some(value) if value.is_nan() => self.nan += 1,
            Some(value) if value.is_infinite() => self.infinite += 1,
            Some(value) => self.out_of_schema += u64::from(!is_allowed(value)),
        }
    }
}

/// The quality of data by column, counted row by row or table by table.
///
/// Its rates are signals for rules ([`observations`](Self::observations)); a rule above 0.01 fires at 101 of 10,000 and not at 100.
///
/// ```
/// use mlp_monitor::{QualityFault, QualityReport};
///
/// let mut quality = QualityReport::new(["age", "income"]);
/// quality.add_row(&[Some(41.0), None])?;
/// quality.add_row(&[Some(f64::NAN), Some(30_000.0)])?;
/// assert_eq!(quality.columns()["income"].rate(QualityFault::Missing), Some(0.5));
/// assert_eq!(quality.columns()["age"].rate(QualityFault::Nan), Some(0.5));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct QualityReport {
    names: Vec<String>,
    columns: BTreeMap<String, QualityCounts>,
}

/// What is stored of a report, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    names: Vec<String>,
    columns: BTreeMap<String, QualityCounts>,
}

impl TryFrom<Stored> for QualityReport {
    type Error = MonitorError;

    fn try_from(Stored { names, columns }: Stored) -> Result<Self> {
        match names.iter().find(|name| !columns.contains_key(*name)) {
            None => Ok(Self { names, columns }),
            Some(name) => Err(MonitorError::Unknown { what: "column", name: name.clone() }),
        }
    }
}

impl QualityReport {
    /// Nothing counted yet, for columns in this order.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let columns = names.iter().map(|name| (name.clone(), QualityCounts::default())).collect();
        Self { names, columns }
    }

    /// Counts one row: a value for each column, or none where it is missing.
    ///
    /// # Errors
    /// If there are not as many values as columns.
    pub fn add_row(&mut self, row: &[Option<f64>]) -> Result<()> {
        self.add_checked(row, |_, _| true)
    }

    /// Counts one row, and asks for each finite value whether it is allowed in its column.
    ///
    /// # Errors
    /// If there are not as many values as columns.
    pub fn add_checked(
        &mut self,
        row: &[Option<f64>],
        is_allowed: impl Fn(&str, f64) -> bool,
    ) -> Result<()> {
        self.check_width(row.len())?;
        for (name, value) in self.names.iter().zip(row) {
            if let Some(counts) = self.columns.get_mut(name) {
                counts.add(*value, |value| is_allowed(name, value));
            }
        }
        Ok(())
    }

    /// Counts the rows of a matrix (`n_rows × n_columns`), in which nothing is missing.
    ///
    /// # Errors
    /// If there are not as many columns.
    pub fn add_rows(&mut self, rows: ArrayView2<'_, f64>) -> Result<()> {
        self.check_width(rows.ncols())?;
        for (name, column) in self.names.iter().zip(rows.columns()) {
            let Some(counts) = self.columns.get_mut(name) else { continue };
            column.iter().for_each(|&value| counts.add(Some(value), |_| true));
        }
        Ok(())
    }

    /// The counts of each column, by its name.
    #[must_use]
    pub fn columns(&self) -> &BTreeMap<String, QualityCounts> {
        &self.columns
    }

    /// What was counted so far, and begins anew: called at the end of each span of time, it makes tumbling windows, so that an old good record
    /// does not hide bad data.
    #[must_use = "what was counted is in it"]
    pub fn take(&mut self) -> Self {
        let anew = Self::new(self.names.iter().cloned());
        std::mem::replace(self, anew)
    }

    /// The rates as observations for rules on `subject`, labels that tell these data from others: the signal, the column as label `column` added,
    /// and the rate with its number of values.
    pub fn observations(
        &self,
        subject: &Labels,
    ) -> impl Iterator<Item = (&'static str, Labels, Observation)> {
        self.names.iter().flat_map(move |name| {
            let counts = self.columns.get(name).copied().unwrap_or_default();
            let mut labels = subject.clone();
            labels.insert("column".to_owned(), name.clone());
            QualityFault::ALL.into_iter().map(move |fault| {
                let labels = labels.clone();
                let observation = Observation::from(counts.rate(fault)).with_count(counts.values);
                (fault.signal(), labels, observation)
            })
        })
    }

    fn check_width(&self, given: usize) -> Result<()> {
        let expected = self.names.len();
        if given == expected {
            return Ok(());
        }
        Err(MonitorError::Length { what: "values of a row".to_owned(), given, expected })
    }
}

impl fmt::Display for QualityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = ["values", "missing", "NaN", "infinite", "out of schema"];
        let mut heading = vec![("column", Align::Left)];
        heading.extend(columns.map(|name| (name, Align::Right)));
        let mut table = TextTable::new(&heading);
        for name in &self.names {
            let counts = self.columns.get(name).copied().unwrap_or_default();
            let mut cells = vec![name.clone(), counts.values.to_string()];
            cells.extend(QualityFault::ALL.map(|fault| percent(counts.rate(fault))));
            table.row(cells);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Rule, RuleEngine};
    use mlp_core::{Alert, ManualClock, Severity, Timestamp};
    use std::sync::Arc;

    fn alerts(quality: &QualityReport) -> Vec<Alert> {
        let rule = Rule::new("missing", "missing_rate", "https://runbooks/missing").unwrap();
        let rule = rule.with_critical(Limit::above(0.01), Severity::P1);
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let engine = RuleEngine::new(vec![rule], clock).unwrap();
        let judge =
            |(signal, labels, observation)| engine.observe(signal, &labels, observation).unwrap();
        quality.observations(&Labels::new()).flat_map(judge).collect()
    }

    #[test]
    fn a_missing_rate_of_100_in_10_000_is_fine_and_101_is_not() {
        let mut quality = QualityReport::new(["age"]);
        for row in 0..10_000 {
            quality.add_row(&[(row >= 100).then_some(1.0)]).unwrap();
        }
        assert_eq!(alerts(&quality), []);
        let mut quality = QualityReport::new(["age"]);
        for row in 0..10_000 {
            quality.add_row(&[(row >= 101).then_some(1.0)]).unwrap();
        }
        let alerts = alerts(&quality);
        assert_eq!((alerts.len(), alerts[0].labels["column"].as_str()), (1, "age"));
    }

    #[test]
    fn nan_infinity_and_missing_are_counted_apart() {
        let mut quality = QualityReport::new(["a"]);
        for value in [
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
            Some(-1.0),
            Some(1.0),
        ] {
            quality.add_checked(&[value], |_, value| value >= 0.0).unwrap();
        }
        let expected =
            QualityCounts { values: 6, missing: 1, nan: 1, infinite: 2, out_of_schema: 1 };
        assert_eq!(quality.columns()["a"], expected);
        assert!(quality.add_row(&[]).is_err());
    }

    #[test]
    fn an_old_good_record_does_not_hide_a_bad_hour() {
        let mut quality = QualityReport::new(["a"]);
        for _ in 0..1_000_000 {
            quality.add_row(&[Some(1.0)]).unwrap();
        }
        assert_eq!(quality.take().columns()["a"].values, 1_000_000);
        for row in 0..1_000 {
            quality.add_row(&[(row % 2 == 0).then_some(1.0)]).unwrap();
        }
        assert_eq!(alerts(&quality).len(), 1);
        let text = serde_json::to_string(&quality).unwrap();
        assert_eq!(serde_json::from_str::<QualityReport>(&text).unwrap(), quality);
        let wrong = text.replace("[\"a\"]", "[\"a\",\"b\"]");
        assert!(serde_json::from_str::<QualityReport>(&wrong).is_err());
    }

    #[test]
    fn nothing_counted_is_no_data() {
        let quality = QualityReport::new(["a"]);
        assert!(
            quality
                .observations(&Labels::new())
                .all(|(_, _, observation)| observation.value.is_none())
        );
        assert_eq!(alerts(&quality), []);
    }
}
