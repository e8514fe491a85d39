//! What can be wrong with the input of a statistic.

/// Why a statistic cannot be computed.
///
/// Indices are positions in the caller's slice, so that the offending value can be found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// The input is well-formed but the quantity has no value on it.
    #[error("{quantity} is undefined: {reason}")]
    Undefined {
        /// The statistic that was asked for.
        quantity: &'static str,
        /// What it lacks.
        reason: Undefined,
    },
    /// A value is NaN.
    #[error("{input}[{index}] is NaN")]
    Nan {
        /// The argument it stands in.
        input: &'static str,
        /// Its position.
        index: usize,
    },
    /// A value is outside what the function accepts.
    #[error("{input}[{index}] is {value}, must be {allowed}")]
    OutOfRange {
        /// The argument it stands in.
        input: &'static str,
        /// Its position.
        index: usize,
        /// The value.
        value: f64,
        /// The accepted range.
        allowed: &'static str,
    },
    /// Two arguments that belong together differ in length.
    #[error("{left} has {left_length} values, {right} has {right_length}")]
    Length {
        /// The first argument.
        left: &'static str,
        /// Its length.
        left_length: usize,
        /// The second argument.
        right: &'static str,
        /// Its length, or the length it should have.
        right_length: usize,
    },
    /// A parameter is outside its range.
    #[error("{name} is {value}, must be {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: f64,
        /// The accepted range.
        allowed: &'static str,
    },
    /// A label names a class that does not exist.
    #[error("{input}[{index}] is class {label}, must be below {classes}")]
    Label {
        /// The argument it stands in.
        input: &'static str,
        /// Its position.
        index: usize,
        /// The label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// The probabilities of a row do not add up to 1.
    #[error("the probabilities of row {row} add up to {sum}, must be 1")]
    RowSum {
        /// The row.
        row: usize,
        /// What they add up to.
        sum: f64,
    },
    /// The numbers are so large or so small that the result is none.
    #[error("{quantity} is beyond what a double can hold")]
    Overflow {
        /// The statistic that was asked for.
        quantity: &'static str,
    },
    /// The definition does not cover this combination.
    #[error("not defined: {what}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The input is larger than the function takes.
    #[error("{what}: {count}, at most {limit}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What a quantity lacks to have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undefined {
    /// There is no sample at all.
    #[error("no samples")]
    Empty,
    /// There are fewer samples than the definition needs.
    #[error("{have} samples, needs at least {need}")]
    TooFew {
        /// Samples given.
        have: usize,
        /// Samples needed.
        need: usize,
    },
    /// All labels are the same.
    #[error("every label is class {class}")]
    SingleClass {
        /// The only class.
        class: usize,
    },
    /// A class that the definition averages over does not occur in the truth.
    #[error("class {class} does not occur in the truth")]
    MissingClass {
        /// The absent class.
        class: usize,
    },
    /// The truth does not vary, so there is no variance to explain.
    #[error("the truth is constant (predictions are {})", if *perfect { "equal to it" } else { "different" })]
    ConstantTruth {
        /// Whether the predictions equal the truth.
        perfect: bool,
    },
    /// The values do not vary.
    #[error("the values are constant")]
    Constant,
    /// A ratio of zero by zero.
    #[error("zero divided by zero")]
    ZeroDivision,
    /// The weights add up to zero.
    #[error("the weights add up to zero")]
    ZeroWeight,
}

impl StatsError {
    pub(crate) fn undefined(quantity: &'static str, reason: Undefined) -> Self {
        Self::Undefined { quantity, reason }
    }

    /// The reason, if the input was well-formed and only the quantity has no value on it.
    #[must_use]
    pub fn undefined_reason(&self) -> Option<Undefined> {
        match self {
            Self::Undefined { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}

/// A deliberate value for an undefined statistic.
pub trait OrUndefined {
    /// The value, or `fallback` if the statistic is undefined on this input. Other errors stay errors.
    ///
    /// # Errors
    /// Whatever is wrong with the input itself.
    fn or_if_undefined(self, fallback: f64) -> Result<f64, StatsError>;
}

impl OrUndefined for Result<f64, StatsError> {
    fn or_if_undefined(self, fallback: f64) -> Self {
        match self {
            Err(StatsError::Undefined { .. }) => Ok(fallback),
            other => other,
        }
    }
}
