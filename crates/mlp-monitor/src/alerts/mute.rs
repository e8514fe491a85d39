//! What mutes an incident: silences, and alerts that speak for others.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use mlp_core::Alert;

use super::state::State;
use super::{AlertConfig, Fingerprint, Incident, Inhibition, Suppression};

/// The alerts that fire and speak for others: for each inhibition, by the values of the labels in which both must agree.
#[derive(Debug, Default)]
pub(super) struct Sources(HashMap<usize, HashMap<String, BTreeSet<Fingerprint>>>);

impl Sources {
    fn get(&self, index: usize, rule: &Inhibition, alert: &Alert) -> Option<Fingerprint> {
        self.0.get(&index)?.get(&values(rule, alert))?.first().copied()
    }

    fn set(&mut self, index: usize, values: String, fingerprint: Fingerprint) {
        self.0.entry(index).or_default().entry(values).or_default().insert(fingerprint);
    }

    fn remove(&mut self, index: usize, values: &str, fingerprint: Fingerprint) {
        let Some(by_values) = self.0.get_mut(&index) else { return };
        let Some(sources) = by_values.get_mut(values) else { return };
        sources.remove(&fingerprint);
        if sources.is_empty() {
            by_values.remove(values);
        }
    }
}

impl State {
    /// Notes for which inhibitions an incident speaks, after it has changed.
    pub(super) fn note_source(&mut self, config: &AlertConfig, fingerprint: Fingerprint) {
        let Some(incident) = self.incidents.get(&fingerprint) else { return };
        for (index, rule) in config.inhibitions.iter().enumerate() {
            let values = values(rule, &incident.alert);
            if incident.is_firing() && rule.source.matches(&incident.alert) {
                self.sources.set(index, values, fingerprint);
            } else {
                self.sources.remove(index, &values, fingerprint);
            }
        }
    }

    /// Notes it for all incidents.
    pub(crate) fn note_sources(&mut self, config: &AlertConfig) {
        let fingerprints: Vec<Fingerprint> = self.incidents.keys().copied().collect();
        fingerprints.into_iter().for_each(|fingerprint| self.note_source(config, fingerprint));
    }

    /// Finds out whether an incident is muted.
    pub(super) fn mute(&mut self, config: &AlertConfig, fingerprint: Fingerprint, now: Duration) {
        let Some(incident) = self.incidents.get(&fingerprint) else { return };
        let after = self.suppression(config, incident, now);
        self.set_suppression(fingerprint, after, now);
    }

    /// Finds out which of those that fire are muted.
    pub(super) fn mute_all(&mut self, config: &AlertConfig, now: Duration) {
        let firing = self.incidents.values().filter(|incident| incident.is_firing());
        let changed: Vec<(Fingerprint, Option<Suppression>)> = firing
            .map(|incident| (incident, self.suppression(config, incident, now)))
            .filter(|(incident, after)| incident.suppressed != *after)
            .map(|(incident, after)| (incident.fingerprint, after))
            .collect();
        for (fingerprint, after) in changed {
            self.set_suppression(fingerprint, after, now);
        }
    }

    fn suppression(
        &self,
        config: &AlertConfig,
        incident: &Incident,
        now: Duration,
    ) -> Option<Suppression> {
        let alert = &incident.alert;
        let silence = self
            .silences
            .values()
            .find(|silence| now < silence.until && silence.matcher.matches(alert));
        silence.map(|silence| Suppression::Silenced(silence.id)).or_else(|| {
            let rules = config.inhibitions.iter().enumerate();
            let mut targeting =
                rules.filter(|(_, rule)| rule.target.matches(alert) && !rule.source.matches(alert));
            let source = targeting.find_map(|(index, rule)| self.sources.get(index, rule, alert));
            source.map(Suppression::Inhibited)
        })
    }

    /// Mutes an incident or frees it. One that is free again has its whole time before it escalates; one that was silenced meanwhile is
    /// told at once.
    fn set_suppression(
        &mut self,
        fingerprint: Fingerprint,
        after: Option<Suppression>,
        now: Duration,
    ) {
        let unchanged = |incident: &Incident| incident.suppressed == after;
        if self.incidents.get(&fingerprint).is_none_or(unchanged) {
            return;
        }
        let Some(incident) = self.incidents.get_mut(&fingerprint) else { return };
        incident.suppressed = after;
        if let Some(by) = after {
            incident.hushed |= matches!(by, Suppression::Silenced(_));
            return;
        }
        let hushed = std::mem::take(&mut incident.hushed);
        if !incident.is_firing() {
            return;
        }
        incident.urgent_since = now;
        if hushed {
            let here = incident.groups.iter_mut().filter(|(_, member)| member.here);
            let keys: Vec<String> = here
                .map(|(key, member)| {
                    member.again = true;
                    key.clone()
                })
                .collect();
            keys.iter().for_each(|key| self.hurry(key));
        }
    }
}

/// The values of the labels in which source and target must agree, as one text.
fn values(rule: &Inhibition, alert: &Alert) -> String {
    let mut text = String::new();
    for name in &rule.equal {
        let written = match alert.labels.get(name) {
            Some(value) => write!(text, "{}:{value}", value.len()),
            None => write!(text, "-"),
        };
        debug_assert!(written.is_ok(), "writing to a string does not fail");
    }
    text
}
