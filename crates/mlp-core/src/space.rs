//! Search spaces as data: model families declare them, tuning searches them.

use serde::{Deserialize, Serialize};

use crate::params::{ParamValue, Params};

/// Where the values of one parameter come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Domain {
    /// Doubles from `low` to `high`, both included.
    Float {
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
        /// Whether values or their logarithms are spread evenly.
        #[serde(default)]
        scale: Scale,
        /// The grid that values lie on, counted from `low`; none for a continuum. Linear scale only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<f64>,
    },
    /// Integers from `low` to `high`, both included.
    Int {
        /// The smallest value.
        low: i64,
        /// The largest value.
        high: i64,
        /// Whether values or their logarithms are spread evenly.
        #[serde(default)]
        scale: Scale,
        /// The grid that values lie on, counted from `low`. Must be 1 on a logarithmic scale.
        #[serde(default = "one")]
        step: i64,
    },
    /// One of some values without an order.
    Categorical {
        /// The values, none of them twice.
        choices: Vec<ParamValue>,
    },
}

fn one() -> i64 {
    1
}

/// How values are spread over a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Evenly in their logarithms; the range must be above zero.
    Log,
}

impl Domain {
    /// Whether a value can come from here.
    #[must_use]
    pub fn contains(&self, value: &ParamValue) -> bool {
        match (self, value) {
            (Self::Float { low, high, step, .. }, value) => {
                value.as_float().is_some_and(|number| {
                    (*low..=*high).contains(&number)
                        && step.is_none_or(|step| is_on_grid((number - low) / step))
                })
            }
            (Self::Int { low, high, step, .. }, ParamValue::Int(number)) => {
                (*low..=*high).contains(number)
                    && (i128::from(*number) - i128::from(*low)) % i128::from(*step) == 0
            }
            (Self::Categorical { choices }, value) => choices.contains(value),
            _ => false,
        }
    }

    /// How many values there are, if they can be counted: `None` for a continuum. [`u64::MAX`] if a float's steps are that many or more.
    #[must_use]
    pub fn cardinality(&self) -> Option<u64> {
        match self {
            Self::Float { low, high, step: Some(step), .. } => {
                let steps = ((high - low) / step * (1.0 + 1e-12)).floor() as u64;
                Some(steps.saturating_add(1))
            }
            Self::Float { .. } => None,
            Self::Int { low, high, step, .. } => {
                u64::try_from((i128::from(*high) - i128::from(*low)) / i128::from(*step) + 1).ok()
            }
            Self::Categorical { choices } => Some(choices.len() as u64),
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Self::Float { low, high, scale, step } => {
                let ordered = low.is_finite() && high.is_finite() && low <= high;
                // Grids are searched as if there were half a step more at each end.
                let width = high - low + step.unwrap_or(0.0).max(0.0);
                if !ordered {
                    Some(format!("the range {low:?}..={high:?} must be finite and not empty"))
                } else if *scale == Scale::Log && *low <= 0.0 {
                    Some(format!("a logarithmic range must be above zero, it starts at {low:?}"))
                } else if step.is_some_and(|step| !(step > 0.0 && step.is_finite())) {
                    Some(format!("the step must be above zero and finite, it is {step:?}"))
                } else if !width.is_finite() {
                    Some(format!("the range {low:?}..={high:?} is wider than a double can tell"))
                } else {
                    (*scale == Scale::Log && step.is_some())
                        .then(|| "a logarithmic range has no step".to_owned())
                }
            }
            Self::Int { low, high, scale, step } => {
                if low > high {
                    Some(format!("the range {low}..={high} is empty"))
                } else if *step < 1 {
                    Some(format!("the step must be at least 1, it is {step}"))
                } else if *scale == Scale::Log && (*low < 1 || *step != 1) {
                    Some(format!(
                        "a logarithmic range starts at 1 or above and has step 1, it starts at {low} with step {step}"
                    ))
                } else {
                    None
                }
            }
            Self::Categorical { choices } => {
                let twice = |i: usize| choices[..i].contains(&choices[i]);
                if choices.is_empty() {
                    Some("there is no choice".to_owned())
                } else {
                    (0..choices.len())
                        .find(|&i| twice(i))
                        .map(|i| format!("the choice {} stands twice", choices[i]))
                }
            }
        }
    }
}

fn is_on_grid(steps: f64) -> bool {
    (steps - steps.round()).abs() <= 1e-9 * steps.abs().max(1.0)
}

/// One parameter of a search space.
///
/// ```
/// use mlp_core::{Dimension, SearchSpace};
///
/// let space = SearchSpace::new([
///     Dimension::categorical("kernel", ["linear", "rbf"]),
///     Dimension::log_float("c", 1e-3, 1e3),
///     Dimension::log_float("gamma", 1e-4, 1.0).when("kernel", ["rbf"]),
/// ])?;
/// assert_eq!(space.dimensions().len(), 3);
/// # Ok::<(), mlp_core::SpaceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// The name of the parameter.
    pub name: String,
    /// Where its values come from.
    pub domain: Domain,
    /// The parameter exists only where this holds; none: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
}

/// Another parameter has one of some values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The other parameter; it stands earlier in the space.
    pub parameter: String,
    /// The values that make the condition hold.
    pub values: Vec<ParamValue>,
}

impl Dimension {
    fn new(name: impl Into<String>, domain: Domain) -> Self {
        Self { name: name.into(), domain, condition: None }
    }

    /// Doubles spread evenly from `low` to `high`.
    pub fn float(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self::new(name, Domain::Float { low, high, scale: Scale::Linear, step: None })
    }

    /// Doubles whose logarithms are spread evenly from `low` to `high`.
    pub fn log_float(name: impl Into<String>, low: f64, high: f64) -> Self {
        Self::new(name, Domain::Float { low, high, scale: Scale::Log, step: None })
    }

    /// The doubles `low`, `low + step`, … up to `high`.
    pub fn stepped_float(name: impl Into<String>, low: f64, high: f64, step: f64) -> Self {
        Self::new(name, Domain::Float { low, high, scale: Scale::Linear, step: Some(step) })
    }

    /// Integers spread evenly from `low` to `high`.
    pub fn int(name: impl Into<String>, low: i64, high: i64) -> Self {
        Self::new(name, Domain::Int { low, high, scale: Scale::Linear, step: 1 })
    }

    /// The integers `low`, `low + step`, … up to `high`.
    pub fn stepped_int(name: impl Into<String>, low: i64, high: i64, step: i64) -> Self {
        Self::new(name, Domain::Int { low, high, scale: Scale::Linear, step })
    }

    /// Integers whose logarithms are spread evenly from `low` to `high`.
    pub fn log_int(name: impl Into<String>, low: i64, high: i64) -> Self {
        Self::new(name, Domain::Int { low, high, scale: Scale::Log, step: 1 })
    }

    /// One of some values.
    pub fn categorical<V: Into<ParamValue>>(
        name: impl Into<String>,
        choices: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::new(
            name,
            Domain::Categorical { choices: choices.into_iter().map(Into::into).collect() },
        )
    }

    /// A value that is not searched, but belongs to every trial.
    pub fn constant(name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        Self::new(name, Domain::Categorical { choices: vec![value.into()] })
    }

    /// Makes the parameter exist only where an earlier one has one of these values.
    #[must_use]
    pub fn when<V: Into<ParamValue>>(
        mut self,
        parameter: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.condition = Some(Condition {
            parameter: parameter.into(),
            values: values.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Whether the parameter exists beside these values of the earlier ones.
    #[must_use]
    pub fn is_active(&self, params: &Params) -> bool {
        self.condition.as_ref().is_none_or(|condition| {
            params.get(&condition.parameter).is_some_and(|v| condition.values.contains(v))
        })
    }
}

/// The parameters to search, in the order in which they are chosen. Checked when made or read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Dimension>", into = "Vec<Dimension>")]
pub struct SearchSpace {
    dimensions: Vec<Dimension>,
}

impl SearchSpace {
    /// Checks and takes the dimensions.
    ///
    /// # Errors
    /// If a name stands twice, a domain is empty or ill-formed, or a condition refers to a parameter that does not stand earlier or to a
    /// value it cannot have. The error names the parameter.
    pub fn new(dimensions: impl IntoIterator<Item = Dimension>) -> Result<Self, SpaceError> {
        let dimensions: Vec<_> = dimensions.into_iter().collect();
        for (i, dimension) in dimensions.iter().enumerate() {
            if let Some(reason) = fault(&dimensions[..i], dimension) {
                return Err(SpaceError { parameter: dimension.name.clone(), reason });
            }
        }
        Ok(Self { dimensions })
    }

    /// The dimensions, in the order in which they are chosen.
    #[must_use]
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Whether these are the parameters of one point of the space: each active one set within its domain, and no other.
    #[must_use]
    pub fn contains(&self, params: &Params) -> bool {
        let active: Vec<_> =
            self.dimensions.iter().filter(|dimension| dimension.is_active(params)).collect();
        active.len() == params.len()
            && active
                .iter()
                .all(|d| params.get(&d.name).is_some_and(|value| d.domain.contains(value)))
    }
}

fn fault(earlier: &[Dimension], dimension: &Dimension) -> Option<String> {
    if earlier.iter().any(|other| other.name == dimension.name) {
        return Some("the name stands twice".to_owned());
    }
    if let Some(reason) = dimension.domain.fault() {
        return Some(reason);
    }
    let condition = dimension.condition.as_ref()?;
    let Some(parent) = earlier.iter().find(|other| other.name == condition.parameter) else {
        return Some(format!(
            "its condition refers to {:?}, which does not stand before it",
            condition.parameter
        ));
    };
    if condition.values.is_empty() {
        return Some("its condition allows no value".to_owned());
    }
    let impossible = condition.values.iter().find(|value| !parent.domain.contains(value))?;
    Some(format!("its condition asks for {} = {impossible}, which cannot be", parent.name))
}

impl TryFrom<Vec<Dimension>> for SearchSpace {
    type Error = SpaceError;

    fn try_from(dimensions: Vec<Dimension>) -> Result<Self, SpaceError> {
        Self::new(dimensions)
    }
}

impl From<SearchSpace> for Vec<Dimension> {
    fn from(space: SearchSpace) -> Self {
        space.dimensions
    }
}

/// A search space that cannot be: which parameter, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parameter {parameter:?} of the search space: {reason}")]
pub struct SpaceError {
    /// The parameter at fault.
    pub parameter: String,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_dimension_is_refused_by_name() {
        let bad = [
            Dimension::float("x", 1.0, 0.0),
            Dimension::float("x", 0.0, f64::INFINITY),
            Dimension::float("x", f64::NAN, 1.0),
            Dimension::float("x", -1e308, 1e308),
            Dimension::stepped_float("x", 0.0, 1.2e308, 0.8e308),
            Dimension::log_float("x", 0.0, 1.0),
            Dimension::stepped_float("x", 0.0, 1.0, 0.0),
            Dimension::int("x", 2, 1),
            Dimension::stepped_int("x", 0, 9, 0),
            Dimension::log_int("x", 0, 9),
            Dimension::categorical::<i64>("x", []),
            Dimension::categorical("x", [1, 2, 1]),
            Dimension::float("x", 0.0, 1.0).when("y", [1]),
        ];
        for dimension in bad {
            let error = SearchSpace::new([dimension.clone()])
                .expect_err(&format!("{dimension:?} was taken"));
            assert_eq!(error.parameter, "x");
        }
        assert!(SearchSpace::new([Dimension::int("x", 1, 2), Dimension::int("x", 1, 2)]).is_err());
        assert!(
            SearchSpace::new([Dimension::int("y", 1, 2), Dimension::int("x", 1, 2).when("y", [3])])
                .is_err()
        );
    }

    #[test]
    fn a_point_belongs_to_the_space_with_its_active_parameters_only() {
        let space = SearchSpace::new([
            Dimension::categorical("kernel", ["linear", "rbf"]),
            Dimension::log_float("gamma", 1e-4, 1.0).when("kernel", ["rbf"]),
        ])
        .unwrap();
        assert!(space.contains(&Params::new().with("kernel", "linear")));
        assert!(space.contains(&Params::new().with("kernel", "rbf").with("gamma", 0.5)));
        assert!(!space.contains(&Params::new().with("kernel", "rbf")));
        assert!(!space.contains(&Params::new().with("kernel", "linear").with("gamma", 0.5)));
        assert!(!space.contains(&Params::new().with("kernel", "rbf").with("gamma", 2.0)));
    }

    #[test]
    fn a_space_is_checked_when_read_and_reads_back() {
        let space = SearchSpace::new([
            Dimension::stepped_float("x", 0.0, 1.0, 0.1),
            Dimension::log_int("n", 1, 64),
        ])
        .unwrap();
        let text = serde_json::to_string(&space).unwrap();
        assert_eq!(serde_json::from_str::<SearchSpace>(&text).unwrap(), space);
        assert!(serde_json::from_str::<SearchSpace>(&text.replace("0.1", "-0.1")).is_err());
        assert!(
            serde_json::from_str::<SearchSpace>(&text.replace("\"step\"", "\"stride\"")).is_err()
        );
    }

    #[test]
    fn a_grid_is_counted_with_both_its_ends() {
        let count = |dimension: Dimension| dimension.domain.cardinality();
        assert_eq!(count(Dimension::stepped_float("x", 0.0, 1.0, 0.1)), Some(11));
        assert_eq!(count(Dimension::int("x", -2, 2)), Some(5));
        assert_eq!(count(Dimension::float("x", 0.0, 1.0)), None);
        let countless = Dimension::stepped_float("x", 0.0, 1.0, 1e-20);
        assert_eq!(count(countless), Some(u64::MAX));
        assert!(
            Dimension::stepped_float("x", 0.0, 1.0, 0.1)
                .domain
                .contains(&0.30000000000000004.into())
        );
        assert!(!Dimension::stepped_float("x", 0.0, 1.0, 0.1).domain.contains(&0.35.into()));
    }
}
