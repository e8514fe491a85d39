//! Faults and drifts planted into good data.

use mlp_core::random;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::{Table, TargetColumn};

/// What is to go wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Shift {
    /// A column moves by this many of its standard deviations: covariate drift.
    Mean {
        /// The column.
        column: String,
        /// How far, in standard deviations of its finite values.
        deviations: f64,
    },
    /// A column is multiplied: a change of unit.
    Scale {
        /// The column.
        column: String,
        /// By what.
        factor: f64,
    },
    /// Values of a column go missing.
    Missing {
        /// The column.
        column: String,
        /// The share of rows, from 0 to 1.
        share: f64,
    },
    /// Classes are replaced by the next one: label noise, or a concept that changed.
    Labels {
        /// The share of rows, from 0 to 1.
        share: f64,
    },
}

/// The table with a fault planted into it; which rows are hit depends on the seed alone.
///
/// ```
/// use mlp_data::generate::{Shift, make_friedman1, plant_shift};
///
/// let good = make_friedman1(100, 5, 0.0, 1)?;
/// let drifted = plant_shift(&good, &Shift::Scale { column: "x3".to_owned(), factor: 10.0 }, 1)?;
/// assert_eq!(drifted.column("x3")?[7], good.column("x3")?[7] * 10.0);
/// assert_eq!(drifted.column("x2")?, good.column("x2")?);
/// # Ok::<(), mlp_data::Error>(())
/// ```
///
/// # Errors
/// If there is no such column, a number is not finite or no share, or labels are to change and the target is not made of classes.
pub fn plant_shift(table: &Table, shift: &Shift, seed: u64) -> Result<Table> {
    let mut generator = random::stream(seed, 0);
    let mut hit = |share: f64| random::uniform(&mut generator) < share;
    match shift {
        Shift::Mean { column, deviations } => {
            let step = deviations * deviation(table, column)?;
            finite("the step", step)?;
            table.map_column(column, |value| value + step)
        }
        Shift::Scale { column, factor } => {
            finite("the factor", *factor)?;
            table.map_column(column, |value| value * factor)
        }
        Shift::Missing { column, share } => {
            check_share(*share)?;
            table.map_column(column, |value| if hit(*share) { f64::NAN } else { value })
        }
        Shift::Labels { share } => {
            check_share(*share)?;
            let TargetColumn::Classes { name, labels, classes } = table.target() else {
                let reason = "labels can change only where the target is made of classes";
                return Err(Error::Mismatch { reason: reason.to_owned() });
            };
            let next =
                |&label: &usize| if hit(*share) { (label + 1) % classes.len() } else { label };
            let labels = labels.iter().map(next).collect();
            table.clone().with_classes(name, labels, classes.clone())
        }
    }
}

fn deviation(table: &Table, column: &str) -> Result<f64> {
    let values: Vec<f64> =
        table.column(column)?.iter().copied().filter(|value| value.is_finite()).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Ok((squares / (values.len() as f64 - 1.0)).sqrt())
}

fn check_share(share: f64) -> Result<()> {
    if (0.0..=1.0).contains(&share) {
        return Ok(());
    }
    let reason = format!("{share} is not from 0 to 1");
    Err(Error::Invalid { what: "the share of the shift".to_owned(), reason })
}

fn finite(what: &str, value: f64) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let reason = format!("it is {value}, it must be finite");
    Err(Error::Invalid { what: format!("{what} of the shift"), reason })
}
