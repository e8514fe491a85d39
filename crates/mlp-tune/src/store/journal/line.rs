//! The lines of a journal: operations of Optuna's `JournalStorage`, written and applied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use mlp_core::{Direction, Params, StoreError, Timestamp};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::distribution::{self, Distributions, Domains};
use super::number;
use crate::store::ledger::Ledger;
use crate::store::{StudyId, TrialDraft, TrialEvent};
use crate::trial::{FAILURE, RUNG, TrialRecord, TrialState};
use crate::worker;

fn code(state: TrialState) -> u8 {
    match state {
        TrialState::Running => 0,
        TrialState::Complete => 1,
        TrialState::Pruned => 2,
        TrialState::Failed => 3,
        TrialState::Waiting => 4,
    }
}

fn state(code: u8) -> Result<TrialState, String> {
    Ok(match code {
        0 => TrialState::Running,
        1 => TrialState::Complete,
        2 => TrialState::Pruned,
        3 => TrialState::Failed,
        4 => TrialState::Waiting,
        _ => return Err(format!("there is no trial state {code}")),
    })
}

fn text(value: &str) -> String {
    Value::from(value).to_string()
}

fn moment(moment: Timestamp) -> String {
    // Python reads `Z` from 3.11 on only.
    text(&moment.to_string().replace('Z', "+00:00"))
}

fn start(operation: u8) -> String {
    format!(r#"{{"op_code":{operation},"worker_id":{}"#, text(worker::process()))
}

pub(super) fn create_study(name: &str, directions: &[Direction]) -> String {
    let directions: Vec<u8> =
        directions.iter().map(|d| if *d == Direction::Minimize { 1 } else { 2 }).collect();
    format!("{},\"study_name\":{},\"directions\":{directions:?}}}\n", start(0), text(name))
}

pub(super) fn study_attribute(study: StudyId, name: &str, value: &Value) -> String {
    format!("{},\"study_id\":{},\"user_attr\":{}}}\n", start(2), study.0, attribute(name, value))
}

/// An object with one member.
fn attribute(name: &str, value: &Value) -> String {
    format!("{{{}:{value}}}", text(name))
}

pub(super) fn create_trial(
    study: StudyId,
    id: u64,
    draft: &TrialDraft,
    distributions: &mut Distributions,
) -> Result<String, StoreError> {
    let texts = distributions.texts(&draft.domains);
    let mut domains = Vec::new();
    let mut params = Vec::new();
    for (name, value) in draft.params.iter() {
        let (Some(domain), Some(distribution)) = (draft.domains.get(name), texts.get(name)) else {
            return Err(StoreError::invalid(name, "the parameter has no domain"));
        };
        let internal = distribution::internal(name, domain, value)?;
        domains.push(format!("{}:{}", text(name), text(distribution)));
        params.push(format!("{}:{}", text(name), number::write(internal)));
    }
    let started = draft.started.map_or_else(|| "null".to_owned(), moment);
    Ok(format!(
        "{},\"study_id\":{},\"mlp_id\":{id},\"datetime_start\":{started},\"state\":{},\"value\":null,\"values\":null,\"distributions\":{{{}}},\"params\":{{{}}},\"user_attrs\":{},\"system_attrs\":{},\"intermediate_values\":{{}}}}\n",
        start(4),
        study.0,
        code(draft.state),
        domains.join(","),
        params.join(","),
        json(&draft.attributes)?,
        json(&*draft.system)?,
    ))
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::backend)
}

pub(super) fn event(trial: u64, event: &TrialEvent) -> Result<String, StoreError> {
    let line = |operation, rest: String| {
        Ok(format!("{},\"trial_id\":{trial},{rest}}}\n", start(operation)))
    };
    match event {
        TrialEvent::Param { name, domain, value } => {
            let internal = number::write(distribution::internal(name, domain, value)?);
            let distribution = text(&distribution::write(domain));
            let name = text(name);
            line(
                5,
                format!(
                    "\"param_name\":{name},\"param_value_internal\":{internal},\"distribution\":{distribution}"
                ),
            )
        }
        TrialEvent::Claim { started, system } => {
            // In the same line, in a key that Optuna passes over: who dies leaves both or neither.
            let system = match system.is_empty() {
                true => String::new(),
                false => format!(",\"mlp_system\":{}", json(system)?),
            };
            let started = moment(*started);
            line(6, format!("\"state\":0,\"values\":null,\"datetime_start\":{started}{system}"))
        }
        TrialEvent::Report { step, values } => {
            let first = number::write(values.first().copied().unwrap_or(f64::NAN));
            // Optuna knows one value a step, and passes over keys that it does not know.
            let all = match values.len() {
                0 | 1 => String::new(),
                _ => format!(",\"mlp_values\":{}", list(values)),
            };
            line(7, format!("\"step\":{step},\"intermediate_value\":{first}{all}"))
        }
        TrialEvent::Attribute { name, value } => {
            line(8, format!("\"user_attr\":{}", attribute(name, value)))
        }
        TrialEvent::System { name, value } => {
            let value = match name.starts_with(RUNG) {
                true => number::write_json(value),
                false => value.to_string(),
            };
            line(9, format!("\"system_attr\":{{{}:{value}}}", text(name)))
        }
        TrialEvent::Finish { state, values, finished } => {
            let values = if values.is_empty() { "null".to_owned() } else { list(values) };
            let (state, finished) = (code(*state), moment(*finished));
            line(
                6,
                format!("\"state\":{state},\"values\":{values},\"datetime_complete\":{finished}"),
            )
        }
    }
}

fn list(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|value| number::write(*value)).collect();
    format!("[{}]", values.join(","))
}

/// Any operation: the fields of all of them.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    op_code: u8,
    #[serde(rename = "worker_id", borrow)]
    _worker_id: Cow<'a, str>,
    #[serde(borrow)]
    study_name: Option<Cow<'a, str>>,
    directions: Option<Vec<u8>>,
    study_id: Option<u64>,
    /// The id of a trial that is created: what it would be if no line before were damaged.
    mlp_id: Option<u64>,
    trial_id: Option<u64>,
    state: Option<u8>,
    value: Option<Number>,
    values: Option<Vec<Number>>,
    #[serde(borrow)]
    datetime_start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    datetime_complete: Option<Cow<'a, str>>,
    #[serde(borrow)]
    distributions: Option<Pairs<Cow<'a, str>, Cow<'a, str>>>,
    #[serde(borrow)]
    params: Option<Pairs<Cow<'a, str>, Number>>,
    user_attrs: Option<BTreeMap<String, Value>>,
    system_attrs: Option<BTreeMap<String, Value>>,
    intermediate_values: Option<BTreeMap<String, Number>>,
    #[serde(borrow)]
    param_name: Option<Cow<'a, str>>,
    param_value_internal: Option<Number>,
    #[serde(borrow)]
    distribution: Option<Cow<'a, str>>,
    step: Option<i64>,
    intermediate_value: Option<Number>,
    mlp_values: Option<Vec<Number>>,
    user_attr: Option<BTreeMap<String, Value>>,
    system_attr: Option<BTreeMap<String, Value>>,
    /// The system attributes that come with a claim.
    mlp_system: Option<BTreeMap<String, Value>>,
}

/// The members of an object in their order. Of equal keys the last one counts, as everywhere.
#[derive(Debug)]
struct Pairs<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Members<K, V> {
            type Value = Pairs<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Pairs(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A double that may stand in quotes.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Number(#[serde(with = "mlp_core::exact")] f64);

/// How many trials in a row may be missing without the line behind them being taken for damaged.
const MAX_MISSING: u64 = 1_000;

/// Puts a failed trial in the place of one whose line is damaged, so that later lines, which refer to trials by their place, mean what they meant.
pub(super) fn stand_in(bytes: &[u8], number: u64, ledger: &mut Ledger) {
    if !bytes.starts_with(b"{\"op_code\":4,") {
        return;
    }
    const KEY: &[u8] = b"\"study_id\":";
    let place = bytes.windows(KEY.len()).position(|part| part == KEY);
    let digits = place.map(|place| &bytes[place + KEY.len()..]).unwrap_or_default();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let named = std::str::from_utf8(&digits[..end]).ok().and_then(|text| text.parse().ok());
    let study = ledger.only_study().or(named.map(StudyId));
    if let Some(study) = study {
        add_stand_in(
            study,
            &format!("line {number} of the journal, which created it, is damaged"),
            ledger,
        );
    }
}

fn add_stand_in(study: StudyId, reason: &str, ledger: &mut Ledger) {
    let mut draft = TrialDraft::new(TrialState::Failed);
    draft.system = std::sync::Arc::new([(FAILURE.to_owned(), Value::from(reason))].into());
    // There may be no such study: then no trial of it either.
    let _ = ledger.add_trial(study, |number| draft.into_record(number));
}

/// Reads one line and applies it. What Optuna passes over silently (an operation on a finished trial, a second study of one name) is passed
/// over here too.
pub(super) fn apply(
    bytes: &[u8],
    ledger: &mut Ledger,
    distributions: &mut Distributions,
) -> Result<(), String> {
    let line = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?.trim();
    // Trials repeat the distributions of those before: most lines are read without them.
    if let Some((rest, domains)) = distributions.cut(line) {
        return apply_text(&rest, Some(domains), ledger, distributions);
    }
    apply_text(line, None, ledger, distributions)
}

fn apply_text(
    text: &str,
    domains: Option<Domains>,
    ledger: &mut Ledger,
    distributions: &mut Distributions,
) -> Result<(), String> {
    match serde_json::from_str::<Line<'_>>(text) {
        Ok(line) => line.apply(text, domains, ledger, distributions),
        // NaN and infinities are rare: only lines that fail are looked at again.
        Err(_) => {
            let quoted = number::quote_nonfinite(text);
            let line: Line<'_> = serde_json::from_str(&quoted).map_err(|e| e.to_string())?;
            line.apply(text, domains, ledger, distributions)
        }
    }
}

fn missing(field: &'static str) -> impl Fn() -> String {
    move || format!("{field} is missing")
}

fn read_moment(text: Option<&Cow<'_, str>>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text else { return Ok(None) };
    // A time without a zone is taken for UTC.
    let zoned = text.parse().or_else(|_| format!("{text}Z").parse());
    zoned.map(Some).map_err(|error: mlp_core::TimestampError| error.to_string())
}

impl Line<'_> {
    /// Applies the operation. `domains` are those of its distributions if they were cut out of its text.
    fn apply(
        self,
        text: &str,
        domains: Option<Domains>,
        ledger: &mut Ledger,
        distributions: &mut Distributions,
    ) -> Result<(), String> {
        match self.op_code {
            0 => self.create_study(ledger),
            1 => {
                ledger.delete_study(self.study()?);
                Ok(())
            }
            2 => self.study_attributes(ledger),
            3 | 10 => Ok(()), // what samplers attach to studies, and Rustuna's hint to forget trials
            4 => self.create_trial(text, domains, ledger, distributions),
            5..=9 => self.event(ledger, distributions),
            other => Err(format!("there is no operation {other}")),
        }
    }

    fn study(&self) -> Result<StudyId, String> {
        self.study_id.map(StudyId).ok_or_else(missing("study_id"))
    }

    fn create_study(self, ledger: &mut Ledger) -> Result<(), String> {
        let name = self.study_name.ok_or_else(missing("study_name"))?;
        if ledger.find(&name).is_none() {
            // Optuna's 0, not set, is what it minimises.
            let direction =
                |code: &u8| if *code == 2 { Direction::Maximize } else { Direction::Minimize };
            let codes = self.directions.ok_or_else(missing("directions"))?;
            ledger.add_study(name.into_owned(), codes.iter().map(direction).collect());
        }
        Ok(())
    }

    fn study_attributes(self, ledger: &mut Ledger) -> Result<(), String> {
        let study = self.study()?;
        for (name, value) in self.user_attr.ok_or_else(missing("user_attr"))? {
            // Optuna passes over those of a study that was deleted.
            let _ = ledger.set_attribute(study, name, value);
        }
        Ok(())
    }

    fn create_trial(
        self,
        text: &str,
        domains: Option<Domains>,
        ledger: &mut Ledger,
        distributions: &mut Distributions,
    ) -> Result<(), String> {
        let study = self.study()?;
        // Trials before it that no line tells of: their lines are damaged beyond recognition.
        let missing = self.mlp_id.unwrap_or(0).saturating_sub(ledger.next_global_id());
        if missing > MAX_MISSING {
            return Err(format!("{missing} trials before it are missing"));
        }
        for _ in 0..missing {
            add_stand_in(study, "the line that created it is missing", ledger);
        }
        let domains = match (domains, &self.distributions) {
            (Some(domains), None) => domains,
            (Some(_), Some(_)) => return Err("it has two fields of distributions".to_owned()),
            (None, None) => Domains::default(),
            (None, Some(Pairs(given))) => {
                let read = |(name, text): &(Cow<'_, str>, Cow<'_, str>)| {
                    Ok((name.to_string(), distributions.read(text)?))
                };
                let domains = given.iter().map(read).collect::<Result<_, String>>()?;
                let domains = distributions.share(domains);
                distributions.remember(text, &domains);
                domains
            }
        };
        let mut params = Params::new();
        for (name, value) in self.params.iter().flat_map(|Pairs(params)| params) {
            let domain =
                domains.get(&**name).ok_or_else(|| format!("{name} has no distribution"))?;
            params.insert(&**name, distribution::external(domain, value.0)?);
        }
        let mut reports = BTreeMap::new();
        for (step, value) in self.intermediate_values.iter().flatten() {
            reports.insert(step.parse().map_err(|_| format!("{step:?} is no step"))?, value.0);
        }
        let values = self.values.unwrap_or_else(|| self.value.into_iter().collect());
        let record = TrialRecord {
            number: 0,
            state: state(self.state.unwrap_or(0))?,
            params: params.into(),
            domains,
            values: values.iter().map(|value| value.0).collect(),
            reports,
            vector_reports: BTreeMap::new(),
            attributes: self.user_attrs.unwrap_or_default(),
            system: self.system_attrs.unwrap_or_default().into(),
            started: read_moment(self.datetime_start.as_ref())?,
            finished: read_moment(self.datetime_complete.as_ref())?,
        };
        let added = ledger.add_trial(study, |number| TrialRecord { number, ..record });
        added.map_err(|error| error.to_string())
    }

    fn event(self, ledger: &mut Ledger, distributions: &mut Distributions) -> Result<(), String> {
        let id = self.trial_id.ok_or_else(missing("trial_id"))?;
        let (study, number) =
            ledger.by_global_id(id).ok_or_else(|| format!("there is no trial {id}"))?;
        for event in self.into_events(distributions)? {
            if ledger.check_event(study, number, &event).is_ok() {
                ledger.apply(study, number, event).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn into_events(self, distributions: &mut Distributions) -> Result<Vec<TrialEvent>, String> {
        let attributes = |given: Option<BTreeMap<String, Value>>, field| {
            given.map(IntoIterator::into_iter).ok_or_else(missing(field))
        };
        Ok(match self.op_code {
            5 => {
                let name = self.param_name.ok_or_else(missing("param_name"))?.into_owned();
                let text = self.distribution.ok_or_else(missing("distribution"))?;
                let domain = distributions.read(&text)?;
                let value =
                    self.param_value_internal.ok_or_else(missing("param_value_internal"))?;
                let value = distribution::external(&domain, value.0)?;
                vec![TrialEvent::Param { name, domain, value }]
            }
            6 => vec![self.state_event()?],
            7 => vec![TrialEvent::Report {
                step: self.step.ok_or_else(missing("step"))?,
                values: match self.mlp_values {
                    Some(values) if !values.is_empty() => values.iter().map(|v| v.0).collect(),
                    _ => vec![self.intermediate_value.ok_or_else(missing("intermediate_value"))?.0],
                },
            }],
            8 => attributes(self.user_attr, "user_attr")?
                .map(|(name, value)| TrialEvent::Attribute { name, value })
                .collect(),
            _ => attributes(self.system_attr, "system_attr")?
                .map(|(name, value)| TrialEvent::System { name, value })
                .collect(),
        })
    }

    fn state_event(self) -> Result<TrialEvent, String> {
        let state = state(self.state.ok_or_else(missing("state"))?)?;
        let epoch = Timestamp::UNIX_EPOCH;
        if !state.is_finished() {
            let started = read_moment(self.datetime_start.as_ref())?.unwrap_or(epoch);
            let system = self.mlp_system.unwrap_or_default();
            return Ok(TrialEvent::Claim { started, system });
        }
        let values = self.values.unwrap_or_default().iter().map(|value| value.0).collect();
        let finished = read_moment(self.datetime_complete.as_ref())?.unwrap_or(epoch);
        Ok(TrialEvent::Finish { state, values, finished })
    }
}
