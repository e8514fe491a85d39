//! Domains as Optuna's distributions, and parameter values as its internal numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mlp_core::{Domain, ParamValue, Scale, StoreError};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{decimal, number};

/// The domains of a trial's parameters by name.
pub(super) type Domains = Arc<BTreeMap<String, Domain>>;

/// Distributions that were read before: a journal repeats the same few texts in every trial.
#[derive(Debug, Default)]
pub(super) struct Distributions {
    by_text: HashMap<String, Domain>,
    /// The last sets by the text of their field, the newest last.
    fields: Vec<(String, Domains)>,
    /// The sets of the last trials, shared between those that are alike.
    sets: Vec<Domains>,
    /// The texts of the set that was written last.
    written: Option<(Domains, BTreeMap<String, String>)>,
}

/// How many distribution texts, and how many sets of them, are remembered.
const MAX_TEXTS: usize = 10_000;
const MAX_SETS: usize = 64;
/// How many fields are remembered: each of them is compared with every line.
const MAX_FIELDS: usize = 4;
/// How the field of the distributions begins.
const FIELD: &str = r#""distributions":"#;

impl Distributions {
    pub(super) fn read(&mut self, text: &str) -> Result<Domain, String> {
        if let Some(domain) = self.by_text.get(text) {
            return Ok(domain.clone());
        }
        let domain = parse(text)?;
        if self.by_text.len() < MAX_TEXTS {
            self.by_text.insert(text.to_owned(), domain.clone());
        }
        Ok(domain)
    }

    pub(super) fn share(&mut self, set: BTreeMap<String, Domain>) -> Domains {
        if let Some(shared) = self.sets.iter().find(|shared| ***shared == set) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(set);
        if self.sets.len() < MAX_SETS {
            self.sets.push(Arc::clone(&shared));
        }
        shared
    }

    /// Where the line has the field of its distributions; none unless it is surely one of the operation itself, and no key inside another.
    fn field(line: &str) -> Option<usize> {
        let start = line.find(FIELD)?;
        // Inside a text the quotes would be escaped, and inside another object there would be its brace.
        let outer = line.starts_with('{') && !line[1..start].contains('{');
        outer.then_some(start)
    }

    /// The line without the field of its distributions, and what that field says, if the same text was read lately.
    pub(super) fn cut(&self, line: &str) -> Option<(String, Domains)> {
        let start = Self::field(line)?;
        let text = &line[start..];
        let known = |(field, _): &&(String, Domains)| text.starts_with(field.as_str());
        let (field, domains) = self.fields.iter().rev().find(known)?;
        let rest = text[field.len()..].strip_prefix(',')?;
        Some(([&line[..start], rest].concat(), Arc::clone(domains)))
    }

    /// Remembers what the field of a line says.
    pub(super) fn remember(&mut self, line: &str, domains: &Domains) {
        let Some(start) = Self::field(line) else { return };
        let text = &line[start + FIELD.len()..];
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
        if !matches!(values.next(), Some(Ok(_))) {
            return;
        }
        let end = start + FIELD.len() + values.byte_offset();
        if self.fields.len() == MAX_FIELDS {
            self.fields.remove(0);
        }
        self.fields.push((line[start..end].to_owned(), Arc::clone(domains)));
    }

    /// The distribution texts of a set of domains, remembered for the next trial of the same study.
    pub(super) fn texts(&mut self, set: &Domains) -> &BTreeMap<String, String> {
        if !self.written.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, set)) {
            self.written = None;
        }
        let (_, texts) = self.written.get_or_insert_with(|| {
            let texts = set.iter().map(|(name, domain)| (name.clone(), write(domain))).collect();
            (Arc::clone(set), texts)
        });
        texts
    }
}

/// The distribution as Optuna writes it, all attributes present and in its spacing.
pub(super) fn write(domain: &Domain) -> String {
    match domain {
        Domain::Float { low, high, scale, step } => {
            // Optuna's high lies on the grid.
            let high = step.map_or(*high, |step| decimal::last_of_grid(*low, *high, step));
            let step = step.map_or_else(|| "null".to_owned(), number::write);
            let (low, high, log) = (number::write(*low), number::write(high), is_log(*scale));
            format!(
                r#"{{"name": "FloatDistribution", "attributes": {{"step": {step}, "low": {low}, "high": {high}, "log": {log}}}}}"#
            )
        }
        Domain::Int { low, high, scale, step } => {
            // The width of the range may be more than an `i64` holds.
            let (low, high) = (i128::from(*low), i128::from(*high));
            let high = high - (high - low) % i128::from((*step).max(1));
            let log = is_log(*scale);
            format!(
                r#"{{"name": "IntDistribution", "attributes": {{"log": {log}, "step": {step}, "low": {low}, "high": {high}}}}}"#
            )
        }
        Domain::Categorical { choices } => {
            let choices: Vec<String> = choices.iter().map(write_choice).collect();
            let choices = choices.join(", ");
            format!(
                r#"{{"name": "CategoricalDistribution", "attributes": {{"choices": [{choices}]}}}}"#
            )
        }
        _ => unreachable!("mlp-core has three kinds of domain"),
    }
}

fn is_log(scale: Scale) -> bool {
    scale == Scale::Log
}

fn write_choice(choice: &ParamValue) -> String {
    match choice {
        ParamValue::Bool(value) => value.to_string(),
        ParamValue::Int(value) => value.to_string(),
        ParamValue::Float(value) => number::write(*value),
        ParamValue::Text(text) => Value::from(text.as_str()).to_string(),
        ParamValue::List(values) => {
            format!("[{}]", values.iter().map(write_choice).collect::<Vec<_>>().join(", "))
        }
    }
}

fn parse(text: &str) -> Result<Domain, String> {
    let value: Value = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&number::quote_nonfinite(text)))
        .map_err(|error| format!("the distribution {text:?} is not JSON: {error}"))?;
    let wrong = || format!("the distribution {text:?} is unknown");
    let attributes = value.get("attributes").unwrap_or(&value);
    let scale = match attributes.get("log").and_then(Value::as_bool) {
        Some(true) => Scale::Log,
        _ => Scale::Linear,
    };
    let float = |name| attributes.get(name).and_then(Value::as_f64);
    let int = |name| {
        let value = attributes.get(name)?;
        value.as_i64().or_else(|| value.as_f64().map(|value| value as i64))
    };
    let name = value.get("name").or_else(|| value.get("type")).and_then(Value::as_str);
    match name.ok_or_else(wrong)? {
        "FloatDistribution" | "float" => Ok(Domain::Float {
            low: float("low").ok_or_else(wrong)?,
            high: float("high").ok_or_else(wrong)?,
            scale,
            step: float("step"),
        }),
        "IntDistribution" | "int" => Ok(Domain::Int {
            low: int("low").ok_or_else(wrong)?,
            high: int("high").ok_or_else(wrong)?,
            scale,
            step: int("step").unwrap_or(1).max(1),
        }),
        "CategoricalDistribution" | "categorical" => {
            let choices = attributes.get("choices").and_then(Value::as_array).ok_or_else(wrong)?;
            let choices = choices.iter().map(read_choice).collect::<Option<_>>();
            Ok(Domain::Categorical { choices: choices.ok_or_else(wrong)? })
        }
        _ => Err(wrong()),
    }
}

fn read_choice(choice: &Value) -> Option<ParamValue> {
    if choice.is_null() {
        return Some("None".into());
    }
    serde_json::from_value(choice.clone()).ok()
}

/// A parameter as Optuna's internal number.
pub(super) fn internal(name: &str, domain: &Domain, value: &ParamValue) -> Result<f64, StoreError> {
    let found = match domain {
        Domain::Categorical { choices } => {
            choices.iter().position(|choice| choice == value).map(|index| index as f64)
        }
        _ => value.as_float(),
    };
    found.ok_or_else(|| StoreError::invalid(name, format!("{value} is not in its domain")))
}

/// A parameter from Optuna's internal number.
pub(super) fn external(domain: &Domain, internal: f64) -> Result<ParamValue, String> {
    match domain {
        Domain::Float { .. } => Ok(internal.into()),
        Domain::Int { .. } => Ok((internal.round() as i64).into()),
        Domain::Categorical { choices } => choices
            .get(internal as usize)
            .filter(|_| internal >= 0.0)
            .cloned()
            .ok_or_else(|| format!("there is no choice {internal}")),
        _ => unreachable!("mlp-core has three kinds of domain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_reads_back_and_is_written_as_optuna_writes_it() {
        let log = Domain::Float { low: 1e-5, high: 1.0, scale: Scale::Log, step: None };
        assert_eq!(
            write(&log),
            r#"{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-5, "high": 1.0, "log": true}}"#
        );
        let choices = vec!["relu".into(), true.into(), 2.into(), 0.5.into(), "é\"".into()];
        for domain in [
            log,
            Domain::Int { low: -3, high: 9, scale: Scale::Linear, step: 4 },
            Domain::Categorical { choices },
        ] {
            assert_eq!(parse(&write(&domain)), Ok(domain));
        }
    }

    #[test]
    fn the_high_end_of_a_stepped_range_lies_on_its_grid() {
        let int = Domain::Int { low: 1, high: 10, scale: Scale::Linear, step: 4 };
        assert!(write(&int).contains(r#""high": 9"#));
        let float = Domain::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: Some(0.3) };
        let text = write(&float);
        let Ok(Domain::Float { high, .. }) = parse(&text) else { panic!("{text}") };
        assert_eq!(high, 0.9, "{text}");
    }

    #[test]
    fn a_range_wider_than_an_integer_holds_is_written() {
        let wide = |step| Domain::Int { low: -2, high: i64::MAX, scale: Scale::Linear, step };
        assert!(write(&wide(1)).contains(&format!("\"high\": {}", i64::MAX)));
        assert!(write(&wide(4)).contains(&format!("\"high\": {}", i64::MAX - 1)));
    }

    #[test]
    fn abbreviated_distributions_are_read() {
        let short = parse(r#"{"type":"float","low":0,"high":1}"#);
        let float = Domain::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: None };
        assert_eq!(short, Ok(float));
        assert!(parse(r#"{"type":"normal"}"#).is_err());
    }
}
