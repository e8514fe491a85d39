//! Hyperparameters: named, typed values, and a reader that reports everything wrong with them at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::nonfinite::exact;

/// The value of one hyperparameter.
///
/// In JSON a value is itself: `3` is an integer, `3.0` a float, `"l2"` a text. A float that is not finite is `{"float": "NaN"}`, so that it
/// is not mistaken for a text.
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A double.
    Float(f64),
    /// A text, such as the name of a choice.
    Text(String),
    /// Several values.
    List(Vec<ParamValue>),
}

impl ParamValue {
    /// The kind of the value, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
        }
    }

    /// The value as a double, if it is a number.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a hyperparameter beyond 2^53 is not told apart from its neighbour"
    )]
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            _ => None,
        }
    }
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<i32> for ParamValue {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl From<u32> for ParamValue {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<V: Into<ParamValue>> From<Vec<V>> for ParamValue {
    fn from(values: Vec<V>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { ", " })?;
                    // A text within a list is told apart from its neighbours by quotes.
                    match value {
                        Self::Text(text) => write!(f, "{text:?}")?,
                        value => value.fmt(f)?,
                    }
                }
                f.write_str("]")
            }
        }
    }
}

impl Serialize for ParamValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Float(value) => match exact::text(*value) {
                None => serializer.serialize_f64(*value),
                Some(text) => {
                    let mut map = serializer.serialize_map(Some(1))?;
                    map.serialize_entry("float", text)?;
                    map.end()
                }
            },
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = ParamValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a text, a list of these, or {\"float\": \"NaN\"}")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ParamValue, E> {
        Ok(ParamValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ParamValue, E> {
        Ok(ParamValue::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ParamValue, E> {
        i64::try_from(value).map(ParamValue::Int).map_err(|_| {
            E::custom(format_args!("{value} is above the largest integer, {}", i64::MAX))
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ParamValue, E> {
        Ok(ParamValue::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ParamValue, E> {
        Ok(ParamValue::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ParamValue, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(ParamValue::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParamValue, A::Error> {
        let wrong = || {
            A::Error::custom(
                "the only object allowed here is {\"float\": \"NaN\"}, with NaN, Infinity or -Infinity",
            )
        };
        let (key, text): (String, String) = map.next_entry()?.ok_or_else(wrong)?;
        let value = exact::value(&text).filter(|_| key == "float");
        let value = value.or_else(|| exact::number(&key, &text)).ok_or_else(wrong)?;
        Ok(ParamValue::Float(value))
    }
}

/// Named hyperparameters, in alphabetical order.
///
/// ```
/// use mlp_core::Params;
///
/// let params = Params::new().with("trees", 100).with("learning_rate", 0.1);
/// let mut read = params.read("gradient_boosting");
/// let trees = read.int("trees", 50, 1..=10_000);
/// let rate = read.float("learning_rate", 0.3, 0.0..=1.0);
/// let depth = read.int("depth", 6, 1..=64); // not given: its default
/// read.finish()?; // every unknown, ill-typed and out-of-range parameter at once
/// assert_eq!((trees, rate, depth), (100, 0.1, 6));
/// # Ok::<(), mlp_core::ParamError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, ParamValue>);

impl Params {
    /// No parameters: every default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.insert(name, value);
        self
    }

    /// Adds or replaces one parameter, and returns the value it had.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        value: impl Into<ParamValue>,
    ) -> Option<ParamValue> {
        self.0.insert(name.into(), value.into())
    }

    /// The value of a parameter, if it is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0.get(name)
    }

    /// All names and values, in alphabetical order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Keeps the parameters for which this holds.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str, &ParamValue) -> bool) {
        self.0.retain(|name, value| keeps(name, value));
    }

    /// How many parameters are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no parameter is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts to read the parameters of `owner`; see [`ParamReader`].
    pub fn read<'a>(&'a self, owner: &'a str) -> ParamReader<'a> {
        ParamReader { params: self, owner, known: BTreeSet::new(), issues: Vec::new() }
    }
}

impl<N: Into<String>, V: Into<ParamValue>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(params: I) -> Self {
        Self(params.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

/// Reads parameters one by one, and reports all that is wrong with them together.
///
/// Each method takes the name, the value to use when it is not set, and the range allowed. Where a value is wrong the default stands in
/// until [`finish`](Self::finish) says so.
#[derive(Debug)]
#[must_use = "call `finish`, or wrong parameters go unnoticed"]
pub struct ParamReader<'a> {
    params: &'a Params,
    owner: &'a str,
    known: BTreeSet<&'a str>,
    issues: Vec<ParamIssue>,
}

impl<'a> ParamReader<'a> {
    /// Reads a double; an integer is taken for one. NaN is in no range.
    pub fn float(&mut self, name: &'a str, default: f64, range: RangeInclusive<f64>) -> f64 {
        let allowed = || format!("a number from {:?} to {:?}", range.start(), range.end());
        self.value(
            name,
            default,
            |value| value.as_float().filter(|number| range.contains(number)),
            allowed,
        )
    }

    /// Reads an integer; a float without a fraction is taken for one.
    pub fn int(&mut self, name: &'a str, default: i64, range: RangeInclusive<i64>) -> i64 {
        let allowed = || format!("an integer from {} to {}", range.start(), range.end());
        let whole = |value: &ParamValue| match value {
            ParamValue::Int(number) => Some(*number),
            ParamValue::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Some(*number as i64)
            }
            _ => None,
        };
        self.value(
            name,
            default,
            |value| whole(value).filter(|number| range.contains(number)),
            allowed,
        )
    }

    /// Reads a boolean.
    pub fn boolean(&mut self, name: &'a str, default: bool) -> bool {
        let boolean =
            |value: &ParamValue| if let ParamValue::Bool(yes) = value { Some(*yes) } else { None };
        self.value(name, default, boolean, || "true or false".to_owned())
    }

    /// Reads one of some named choices, and returns its position in the list.
    pub fn choice(&mut self, name: &'a str, default: usize, choices: &[&str]) -> usize {
        let position = |value: &ParamValue| match value {
            ParamValue::Text(text) => choices.iter().position(|choice| choice == text),
            _ => None,
        };
        self.value(name, default, position, || format!("one of {}", choices.join(", ")))
    }

    fn value<T>(
        &mut self,
        name: &'a str,
        default: T,
        read: impl Fn(&ParamValue) -> Option<T>,
        allowed: impl Fn() -> String,
    ) -> T {
        self.known.insert(name);
        let Some(given) = self.params.get(name) else { return default };
        read(given).unwrap_or_else(|| {
            self.issues.push(ParamIssue::NotAllowed {
                name: name.to_owned(),
                given: given.clone(),
                allowed: allowed(),
            });
            default
        })
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Lists every parameter that was out of range, of the wrong type, or not asked for.
    pub fn finish(mut self) -> Result<(), ParamError> {
        let unknown =
            self.params.iter().map(|(name, _)| name).filter(|name| !self.known.contains(name));
        let known = || self.known.iter().map(ToString::to_string).collect();
        self.issues.extend(
            unknown.map(|name| ParamIssue::Unknown { name: name.to_owned(), known: known() }),
        );
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(ParamError { owner: self.owner.to_owned(), issues: self.issues })
        }
    }
}

/// Parameters that their owner cannot take: everything that is wrong with them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("parameters of {owner}: {}", .issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct ParamError {
    /// Whose parameters they are.
    pub owner: String,
    /// What is wrong, one entry a parameter.
    pub issues: Vec<ParamIssue>,
}

/// One thing that is wrong with a set of parameters.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamIssue {
    /// The owner has no parameter of that name.
    #[error("{name} is unknown (known: {})", .known.join(", "))]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The value has the wrong type or is out of range.
    #[error("{name} is {given}, expected {allowed}")]
    NotAllowed {
        /// The name of the parameter.
        name: String,
        /// The value given.
        given: ParamValue,
        /// What is allowed, in words.
        allowed: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_serde_json_gives_them_with_arbitrary_precision_are_numbers() {
        use serde::de::value::{Error, MapDeserializer};

        let given = |key: &'static str, text: &'static str| {
            MapDeserializer::<_, Error>::new([(key, text)].into_iter())
        };
        let key = "$serde_json::private::Number";
        let param = ParamValue::deserialize(given(key, "-1.5e-3")).unwrap();
        assert_eq!(param, ParamValue::Float(-1.5e-3));
        assert_eq!(exact::deserialize(given(key, "0.1")).unwrap().to_bits(), 0.1_f64.to_bits());
        for (key, text) in [(key, "one"), (key, "1e999"), (key, "nan"), ("number", "0.1")] {
            assert!(ParamValue::deserialize(given(key, text)).is_err(), "{key} {text}");
            assert!(exact::deserialize(given(key, text)).is_err(), "{key} {text}");
        }
    }

    #[test]
    fn a_value_keeps_its_type_and_bits_through_json() {
        let values = [
            ParamValue::from(true),
            3.into(),
            3.0.into(),
            (-0.0).into(),
            f64::INFINITY.into(),
            "NaN".into(),
            vec![1, 2].into(),
            ParamValue::List(vec![]),
            (1.0 / 3.0).into(),
            i64::MIN.into(),
        ];
        for value in values {
            let text = serde_json::to_string(&value).unwrap();
            let read: ParamValue = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{value:?}"), format!("{read:?}"), "through {text}");
        }
        let nan: ParamValue =
            serde_json::from_str(&serde_json::to_string(&ParamValue::Float(f64::NAN)).unwrap())
                .unwrap();
        assert!(matches!(nan, ParamValue::Float(value) if value.is_nan()));
    }

    #[test]
    fn a_list_prints_its_values_however_deep_it_is() {
        let mixed = ParamValue::List(vec![1.into(), "a, b".into(), vec![0.5].into(), true.into()]);
        assert_eq!(mixed.to_string(), r#"[1, "a, b", [0.5], true]"#);
        let deep = (0..40).fold(ParamValue::from("x"), |inner, _| ParamValue::List(vec![inner]));
        assert_eq!(deep.to_string().len(), 2 * 40 + 3);
    }

    #[test]
    fn a_value_that_is_no_parameter_is_refused() {
        for bad in [
            "null",
            "{}",
            r#"{"float": 1}"#,
            r#"{"int": "NaN"}"#,
            "18446744073709551615",
            r#"{"float":"NaN","more":"NaN"}"#,
        ] {
            assert!(serde_json::from_str::<ParamValue>(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let params = Params::new()
            .with("depth", "deep")
            .with("rate", f64::NAN)
            .with("tress", 10)
            .with("loss", "l3");
        let mut read = params.read("tree");
        read.int("depth", 6, 1..=64);
        read.float("rate", 0.1, 0.0..=1.0);
        read.choice("loss", 0, &["l1", "l2"]);
        let error = read.finish().unwrap_err();
        assert_eq!(error.issues.len(), 4);
        let text = error.to_string();
        for part in [
            "depth is deep, expected an integer from 1 to 64",
            "rate is NaN",
            "tress is unknown (known: depth, loss, rate)",
            "one of l1, l2",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
}
