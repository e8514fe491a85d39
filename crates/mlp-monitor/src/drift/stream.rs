//! Change that is noticed row by row, without a reference.

use mlp_stats::{DriftDetector, DriftSignal};
use serde::{Deserialize, Serialize};

use crate::error::{MonitorError, Result};

/// A detector of change for each column of a stream: ADWIN, Page-Hinkley, KSWIN and, for errors, DDM, EDDM and HDDM, as `mlp-stats` has them.
///
/// A value that a detector does not take (NaN, say) is left out and counted. A detector has its own rate of false alarms for each column:
/// with many columns, make it stricter. Its state can be stored and read back, and goes on to the last bit. For detectors of several kinds in one
/// stream, let `D` be a box of [`DriftDetector`], which cannot be stored.
///
/// ```
/// use mlp_monitor::StreamDrift;
/// use mlp_stats::{Adwin, AdwinConfig, DriftSignal};
///
/// let mut stream = StreamDrift::new(["age", "income"], || Ok(Adwin::new(AdwinConfig::default())?))?;
/// let mut changes = Vec::new();
/// for row in 0..2_000 {
///     let income = if row < 1_000 { row % 10 } else { 50 + row % 10 };
///     changes.extend(stream.add(&[(row % 7) as f64, income as f64])?);
/// }
/// assert_eq!((changes.len(), changes[0].column.as_str(), changes[0].signal), (1, "income", DriftSignal::Drift));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamDrift<D> {
    columns: Vec<(String, D)>,
    rows: u64,
    left_out: u64,
}

/// A column that has changed, or may be about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StreamChange {
    /// The column.
    pub column: String,
    /// The row at which it was noticed, from 0.
    pub row: u64,
    /// Drift, or a warning of it.
    pub signal: DriftSignal,
}

impl<D: DriftDetector> StreamDrift<D> {
    /// Makes a detector for each column.
    ///
    /// # Errors
    /// Those of `detector`.
    pub fn new<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
        mut detector: impl FnMut() -> Result<D>,
    ) -> Result<Self> {
        let column = |name: N| Ok((name.into(), detector()?));
        let columns = names.into_iter().map(column).collect::<Result<_>>()?;
        Ok(Self { columns, rows: 0, left_out: 0 })
    }

    /// Takes the next row, and tells what has changed.
    ///
    /// # Errors
    /// If there are not as many values as columns.
    pub fn add(&mut self, row: &[f64]) -> Result<Vec<StreamChange>> {
        let (given, expected) = (row.len(), self.columns.len());
        if given != expected {
            return Err(MonitorError::Length {
                what: "values of a row".to_owned(),
                given,
                expected,
            });
        }
        let mut changes = Vec::new();
        for ((name, detector), value) in self.columns.iter_mut().zip(row) {
            match detector.update(*value) {
                Ok(DriftSignal::Stable) => {}
                Ok(signal) => {
                    changes.push(StreamChange { column: name.clone(), row: self.rows, signal });
                }
                Err(_) => self.left_out += 1,
            }
        }
        self.rows += 1;
        Ok(changes)
    }

    /// How many values the detectors did not take.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
