//! The input policy in one place: lengths, NaN, ranges and weights.

use crate::error::{StatsError, Undefined};

pub(crate) fn same_length(
    left: &'static str,
    left_length: usize,
    right: &'static str,
    right_length: usize,
) -> Result<(), StatsError> {
    if left_length == right_length {
        Ok(())
    } else {
        Err(StatsError::Length { left, left_length, right, right_length })
    }
}

pub(crate) fn not_empty(quantity: &'static str, length: usize) -> Result<(), StatsError> {
    if length == 0 { Err(StatsError::undefined(quantity, Undefined::Empty)) } else { Ok(()) }
}

pub(crate) fn at_least(quantity: &'static str, have: usize, need: usize) -> Result<(), StatsError> {
    not_empty(quantity, have)?;
    if have < need {
        Err(StatsError::undefined(quantity, Undefined::TooFew { have, need }))
    } else {
        Ok(())
    }
}

pub(crate) fn no_nan(input: &'static str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|value| value.is_nan()) {
        None => Ok(()),
        Some(index) => Err(StatsError::Nan { input, index }),
    }
}

/// Every value is a number in the range; the range's name goes into the error.
pub(crate) fn within(
    input: &'static str,
    values: &[f64],
    allowed: &'static str,
    accepts: impl Fn(f64) -> bool,
) -> Result<(), StatsError> {
    match values.iter().position(|&value| !accepts(value)) {
        None => Ok(()),
        Some(index) if values[index].is_nan() => Err(StatsError::Nan { input, index }),
        Some(index) => Err(StatsError::OutOfRange { input, index, value: values[index], allowed }),
    }
}

pub(crate) fn finite(input: &'static str, values: &[f64]) -> Result<(), StatsError> {
    within(input, values, "finite", f64::is_finite)
}

pub(crate) fn parameter(
    name: &'static str,
    value: f64,
    allowed: &'static str,
    accepted: bool,
) -> Result<(), StatsError> {
    if accepted { Ok(()) } else { Err(StatsError::Parameter { name, value, allowed }) }
}

/// A probability strictly between zero and one.
pub(crate) fn open_unit(name: &'static str, value: f64) -> Result<(), StatsError> {
    parameter(name, value, "in (0, 1)", value > 0.0 && value < 1.0)
}

/// Every label names one of the classes.
pub(crate) fn labels(
    input: &'static str,
    labels: &[usize],
    classes: usize,
) -> Result<(), StatsError> {
    match labels.iter().position(|&label| label >= classes) {
        None => Ok(()),
        Some(index) => Err(StatsError::Label { input, index, label: labels[index], classes }),
    }
}

/// A table of so many classes by as many fits into memory without a thought: at most 8,192 of them.
pub(crate) fn class_table(classes: usize) -> Result<(), StatsError> {
    limit("classes", classes, 8_192)
}

pub(crate) fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), StatsError> {
    if count <= limit { Ok(()) } else { Err(StatsError::Limit { what, count, limit }) }
}

/// The result, unless the input was so large or so small that it is no number.
pub(crate) fn result(quantity: &'static str, value: f64) -> Result<f64, StatsError> {
    if value.is_finite() { Ok(value) } else { Err(StatsError::Overflow { quantity }) }
}

/// Every value is one that streams take.
pub(crate) fn within_largest(input: &'static str, values: &[f64]) -> Result<(), StatsError> {
    within(input, values, "from -1e140 to 1e140", |value| value.abs() <= LARGEST)
}

/// The largest value that streams take: the squares of a billion of them can still be added up.
pub(crate) const LARGEST: f64 = 1e140;
