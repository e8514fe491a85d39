//! All that the manager knows, and how it changes: no locks, no sinks, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Labels, Notification, StoreError, Timestamp};
use serde::{Deserialize, Serialize};

use super::admit::admit;
use super::book::{read, write};
use super::group::{Group, Member};
use super::store::{AlertChange, AlertRows};
use super::tracked::Tracked;
use super::{
    Acknowledgement, AlertConfig, Fingerprint, Incident, Inhibition, Silence, SilenceId,
    Suppression,
};
use crate::error::{MonitorError, Result};

/// A notification, and the sinks that are to hear it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) sinks: Vec<String>,
    pub(crate) notification: Notification,
}

/// The moment of a change: in the manager's time, and on the wall.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) now: Duration,
    pub(crate) wall: Timestamp,
}

#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) incidents: Tracked<Fingerprint, Incident>,
    pub(crate) groups: Tracked<String, Group>,
    pub(crate) silences: Tracked<SilenceId, Silence>,
    last_silence: u64,
}

/// What is kept beside incidents, groups and silences.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// When the state was last written.
    pub(crate) written: Moment,
    last_silence: u64,
}

impl Meta {
    pub(crate) const KEY: &str = "meta";
}

impl State {
    /// Takes alerts together, and returns what must be told at once; the fault is that of the first that is refused.
    pub(crate) fn update_all(
        &mut self,
        config: &AlertConfig,
        alerts: impl IntoIterator<Item = Alert>,
        moment: Moment,
    ) -> (Vec<Outgoing>, Result<()>) {
        let mut outgoing = Vec::new();
        let mut first_fault = Ok(());
        let mut changed = BTreeSet::new();
        for alert in alerts {
            let taken = admit(alert).and_then(|alert| {
                let fingerprint = Fingerprint::of(&alert.labels);
                // Its state before is told, where that is due, before it changes again.
                if changed.contains(&fingerprint) {
                    outgoing.extend(self.flush_groups_of(
                        config,
                        &std::mem::take(&mut changed),
                        moment,
                    ));
                }
                if self.update(config, fingerprint, alert, moment)? {
                    changed.insert(fingerprint);
                }
                Ok(())
            });
            first_fault = first_fault.and(taken);
        }
        outgoing.extend(self.flush_groups_of(config, &changed, moment));
        (outgoing, first_fault)
    }

    fn flush_groups_of(
        &mut self,
        config: &AlertConfig,
        changed: &BTreeSet<Fingerprint>,
        moment: Moment,
    ) -> Vec<Outgoing> {
        let incidents = changed.iter().filter_map(|fingerprint| self.incidents.get(fingerprint));
        let groups: BTreeSet<String> = incidents.flat_map(|i| i.groups.iter().cloned()).collect();
        groups.iter().filter_map(|key| self.flush(config, key, moment)).collect()
    }

    /// Takes an alert; whether it says anything new.
    fn update(
        &mut self,
        config: &AlertConfig,
        fingerprint: Fingerprint,
        alert: Alert,
        moment: Moment,
    ) -> Result<bool> {
        match (self.incidents.get_mut_unmarked(&fingerprint), alert.status) {
            (None, AlertStatus::Resolved) => return Ok(false),
            (None, AlertStatus::Firing) => self.open(config, fingerprint, alert, moment)?,
            (Some(incident), AlertStatus::Resolved) if !incident.is_firing() => {
                return Ok(false);
            }
            (Some(incident), AlertStatus::Firing) => {
                incident.raised = incident.raised.saturating_add(1);
                incident.alert.summary.clone_from(&alert.summary);
                if incident.is_firing() && alert.severity >= incident.raised_as {
                    return Ok(false);
                }
                if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                    incident.raise(&alert, moment.now);
                }
            }
            (Some(_), AlertStatus::Resolved) => {
                if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                    incident.resolve(alert, moment.wall);
                }
            }
        }
        self.place(config, fingerprint, moment.now);
        self.mute(config, fingerprint, moment.now);
        Ok(true)
    }

    fn open(
        &mut self,
        config: &AlertConfig,
        fingerprint: Fingerprint,
        alert: Alert,
        moment: Moment,
    ) -> Result<()> {
        if self.incidents.len() >= config.max_incidents {
            let limit = config.max_incidents;
            return Err(MonitorError::LimitExceeded { what: "incidents", limit });
        }
        let incident = Incident {
            fingerprint,
            raised_as: alert.severity,
            alert: Alert { ends_at: None, ..alert },
            raised: 1,
            acknowledged: None,
            suppressed: None,
            urgent_since: moment.now,
            groups: Vec::new(),
        };
        self.incidents.insert(fingerprint, incident);
        Ok(())
    }

    /// Puts an incident into the group that its labels and its severity ask for.
    fn place(&mut self, config: &AlertConfig, fingerprint: Fingerprint, now: Duration) {
        let Some(incident) = self.incidents.get_mut(&fingerprint) else { return };
        let route = config.route_of(&incident.alert);
        let labels = route.group_labels(&incident.alert);
        let key = Group::key(route, &labels);
        for other in incident.groups.iter().filter(|other| **other != key) {
            let here = |group: &Group| group.members.get(&fingerprint).is_some_and(|m| m.here);
            if !self.groups.get(other).is_some_and(here) {
                continue;
            }
            if let Some(group) = self.groups.get_mut(other) {
                let member = group.members.get_mut(&fingerprint);
                if member.is_some_and(|member| {
                    member.here = false;
                    member.told.is_none()
                }) {
                    group.members.remove(&fingerprint);
                }
            }
        }
        if !self.groups.contains_key(&key) {
            self.groups.insert(key.clone(), Group::new(route, labels, now));
        }
        let Some(group) = self.groups.get_mut(&key) else { return };
        let member = group.members.entry(fingerprint).or_insert(Member { told: None, here: true });
        member.here = true;
        if member.told.is_some_and(|told| incident.alert.severity < told) {
            group.urgent = true;
        }
        if !incident.groups.contains(&key) {
            incident.groups.push(key);
        }
    }

    /// Finds out whether an incident is muted, and makes it urgent again where a silence is over.
    fn mute(&mut self, config: &AlertConfig, fingerprint: Fingerprint, now: Duration) {
        let Some(incident) = self.incidents.get(&fingerprint) else { return };
        let after = self.silence_of(incident, now).or_else(|| {
            let targeted = |rule: &&Inhibition| targets(rule, &incident.alert);
            config.inhibitions.iter().filter(targeted).find_map(|rule| {
                let source = |other: &&Incident| {
                    other.is_firing()
                        && rule.source.matches(&other.alert)
                        && values(rule, &other.alert) == values(rule, &incident.alert)
                };
                let source = self.incidents.values().find(source)?;
                Some(Suppression::Inhibited(source.fingerprint))
            })
        });
        self.set_suppression(fingerprint, after, now);
    }

    fn silence_of(&self, incident: &Incident, now: Duration) -> Option<Suppression> {
        let active =
            |silence: &&Silence| now < silence.until && silence.matcher.matches(&incident.alert);
        self.silences.values().find(active).map(|silence| Suppression::Silenced(silence.id))
    }

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
        let before = std::mem::replace(&mut incident.suppressed, after);
        if matches!(before, Some(Suppression::Silenced(_)))
            && after.is_none()
            && incident.is_firing()
        {
            incident.urgent_since = now;
            for key in &incident.groups {
                let Some(group) = self.groups.get_mut(key) else { continue };
                if let Some(member) =
                    group.members.get_mut(&fingerprint).filter(|member| member.here)
                {
                    member.told = None;
                    group.urgent = true;
                }
            }
        }
    }

    /// Finds out which incidents are muted, in one pass.
    fn mute_all(&mut self, config: &AlertConfig, now: Duration) {
        let mut sources: HashMap<(usize, Vec<Option<&str>>), Fingerprint> = HashMap::new();
        let firing = || self.incidents.values().filter(|incident| incident.is_firing());
        for incident in firing() {
            for (index, rule) in config.inhibitions.iter().enumerate() {
                if rule.source.matches(&incident.alert) {
                    sources
                        .entry((index, values(rule, &incident.alert)))
                        .or_insert(incident.fingerprint);
                }
            }
        }
        let inhibited = |incident: &Incident| {
            let rules = config.inhibitions.iter().enumerate();
            rules.filter(|(_, rule)| targets(rule, &incident.alert)).find_map(|(index, rule)| {
                let source = sources.get(&(index, values(rule, &incident.alert)))?;
                Some(Suppression::Inhibited(*source))
            })
        };
        let after: Vec<(Fingerprint, Option<Suppression>)> = firing()
            .map(|incident| {
                let muted = self.silence_of(incident, now).or_else(|| inhibited(incident));
                (incident.fingerprint, muted)
            })
            .filter(|(fingerprint, muted)| self.incidents[fingerprint].suppressed != *muted)
            .collect();
        for (fingerprint, muted) in after {
            self.set_suppression(fingerprint, muted, now);
        }
    }

    /// Makes more urgent what nobody has acknowledged in time.
    fn escalate(&mut self, config: &AlertConfig, now: Duration) {
        let overdue = |incident: &&Incident| {
            let after = config.escalate_after.get(&incident.alert.severity);
            let idle = incident.acknowledged.is_none() && incident.suppressed.is_none();
            let waited = now.saturating_sub(incident.urgent_since);
            incident.is_firing() && idle && after.is_some_and(|after| waited >= *after)
        };
        let overdue: Vec<Fingerprint> =
            self.incidents.values().filter(overdue).map(|incident| incident.fingerprint).collect();
        for fingerprint in overdue {
            if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                incident.alert.severity = incident.escalated();
                incident.urgent_since = now;
                self.place(config, fingerprint, now);
            }
        }
    }

    /// Lets time pass, and returns what must be told.
    pub(crate) fn advance(&mut self, config: &AlertConfig, moment: Moment) -> Vec<Outgoing> {
        self.mute_all(config, moment.now);
        self.silences.retain(|_, silence| moment.now < silence.until);
        self.escalate(config, moment.now);
        let keys: Vec<String> = self.groups.keys().cloned().collect();
        let outgoing = keys.iter().filter_map(|key| self.flush(config, key, moment)).collect();
        self.groups.retain(|_, group| !group.is_over(config.route(&group.route), moment.now));
        self.forget_what_is_over();
        outgoing
    }

    fn forget_what_is_over(&mut self) {
        let groups = &self.groups;
        self.incidents.retain(|fingerprint, incident| {
            incident.is_firing()
                || incident.groups.iter().any(|key| {
                    groups.get(key).is_some_and(|group| group.members.contains_key(fingerprint))
                })
        });
    }

    /// Tells what a group has to tell, if it is time.
    fn flush(&mut self, config: &AlertConfig, key: &String, moment: Moment) -> Option<Outgoing> {
        let group = self.groups.get(key)?;
        let route = config.route(&group.route);
        let mut changed = false;
        let mut unheard = false;
        let mut quiet = Vec::new();
        for (fingerprint, member) in &group.members {
            let incident = &self.incidents[fingerprint];
            let audible = member.here && incident.is_firing() && incident.suppressed.is_none();
            match member.told {
                None if !incident.is_firing() => quiet.push(*fingerprint),
                None => changed |= audible,
                Some(told) => {
                    changed |= !incident.is_firing() || audible && incident.alert.severity < told;
                    unheard |= audible && incident.acknowledged.is_none();
                }
            }
        }
        let due = changed && group.change_due(route) <= moment.now;
        let repeat = unheard && group.repeat_due(route).is_some_and(|due| due <= moment.now);
        if quiet.is_empty() && !due && !repeat {
            return None;
        }
        let group = self.groups.get_mut(key)?;
        for fingerprint in quiet {
            group.members.remove(&fingerprint);
        }
        if !due && !repeat {
            return None;
        }
        let notification = notification(key, group, &self.incidents)?;
        group.told(moment.now);
        Some(Outgoing { sinks: route.sinks.clone(), notification })
    }

    /// Mutes what a silence picks from now on.
    pub(crate) fn silence(
        &mut self,
        config: &AlertConfig,
        mut silence: Silence,
        now: Duration,
    ) -> Result<SilenceId> {
        if self.silences.len() >= config.max_silences {
            let limit = config.max_silences;
            return Err(MonitorError::LimitExceeded { what: "silences", limit });
        }
        self.last_silence += 1;
        silence.id = SilenceId(self.last_silence);
        let id = silence.id;
        self.silences.insert(id, silence);
        self.mute_all(config, now);
        Ok(id)
    }

    pub(crate) fn acknowledge(
        &mut self,
        fingerprint: Fingerprint,
        acknowledgement: Acknowledgement,
    ) -> Result<()> {
        match self.incidents.get_mut(&fingerprint).filter(|incident| incident.is_firing()) {
            Some(incident) => {
                incident.acknowledged = Some(acknowledgement);
                Ok(())
            }
            None => {
                Err(MonitorError::Unknown { what: "open incident", name: fingerprint.to_string() })
            }
        }
    }

    /// What a store must hear: all that changed since the last call, and when that was. Nothing if nothing changed.
    pub(crate) fn take_changes(&mut self, written: Moment) -> Vec<AlertChange> {
        let mut changes = take_rows(&mut self.incidents);
        changes.extend(take_rows(&mut self.groups));
        changes.extend(take_rows(&mut self.silences));
        if !changes.is_empty() {
            changes.push((Meta::KEY.to_owned(), Some(write(&self.meta(written)))));
        }
        changes
    }

    /// Everything as it is kept.
    pub(crate) fn rows(&self, written: Moment) -> AlertRows {
        let mut rows: AlertRows = all_rows(&self.incidents)
            .chain(all_rows(&self.groups))
            .chain(all_rows(&self.silences))
            .collect();
        rows.insert(Meta::KEY.to_owned(), write(&self.meta(written)));
        rows
    }

    fn meta(&self, written: Moment) -> Meta {
        Meta { written, last_silence: self.last_silence }
    }

    /// The state from what was kept, and when that was written.
    pub(crate) fn load(
        rows: &AlertRows,
    ) -> std::result::Result<(Self, Option<Moment>), StoreError> {
        let meta: Option<Meta> =
            rows.get(Meta::KEY).map(|text| read(Meta::KEY, text)).transpose()?;
        let state = Self {
            incidents: load_rows(rows)?,
            groups: load_rows(rows)?,
            silences: load_rows(rows)?,
            last_silence: meta.as_ref().map_or(0, |meta| meta.last_silence),
        };
        Ok((state, meta.map(|meta| meta.written)))
    }
}

/// A kind of thing that is kept, and what the keys of its rows begin with.
trait Kept: Serialize + for<'de> Deserialize<'de> {
    type Key: Ord + Clone + Display + FromStr;
    const PREFIX: &str;

    fn key(key: &Self::Key) -> String {
        format!("{}{key}", Self::PREFIX)
    }
}

impl Kept for Incident {
    type Key = Fingerprint;
    const PREFIX: &str = "incident/";
}

impl Kept for Group {
    type Key = String;
    const PREFIX: &str = "group/";
}

impl Kept for Silence {
    type Key = SilenceId;
    const PREFIX: &str = "silence/";
}

fn take_rows<V: Kept>(map: &mut Tracked<V::Key, V>) -> Vec<AlertChange> {
    let changed = map.take_changed();
    changed.into_iter().map(|key| (V::key(&key), map.get(&key).map(write))).collect()
}

fn all_rows<V: Kept>(map: &BTreeMap<V::Key, V>) -> impl Iterator<Item = (String, String)> {
    map.iter().map(|(key, value)| (V::key(key), write(value)))
}

fn load_rows<V: Kept>(rows: &AlertRows) -> std::result::Result<Tracked<V::Key, V>, StoreError> {
    let after = rows.range(V::PREFIX.to_owned()..);
    let ours = after.map_while(|(key, text)| Some((key, key.strip_prefix(V::PREFIX)?, text)));
    let load = |(key, name, text): (&String, &str, &String)| {
        let name = name.parse().map_err(|_| StoreError::Corrupt {
            what: format!("alert state {key:?}"),
            reason: "its key cannot be read".to_owned(),
        })?;
        Ok((name, read(key, text)?))
    };
    let map: std::result::Result<BTreeMap<V::Key, V>, StoreError> = ours.map(load).collect();
    map.map(Tracked::from)
}

/// What the sinks of a group are to hear now; they are held to know it from here on.
fn notification(
    key: &str,
    group: &mut Group,
    incidents: &BTreeMap<Fingerprint, Incident>,
) -> Option<Notification> {
    let mut alerts = Vec::new();
    group.members.retain(|fingerprint, member| {
        let incident = &incidents[fingerprint];
        if !incident.is_firing() {
            if member.told.is_some() {
                alerts.push(incident.alert.clone());
            }
            return false;
        }
        if member.here && incident.suppressed.is_none() {
            member.told = Some(incident.alert.severity);
            alerts.push(incident.alert.clone());
        }
        true
    });
    notify(key, &group.labels, alerts)
}

/// One message about these alerts: firing ones first, the most urgent of them first. None without alerts.
pub(crate) fn notify(key: &str, labels: &Labels, mut alerts: Vec<Alert>) -> Option<Notification> {
    let firing = |alert: &Alert| alert.status == AlertStatus::Firing;
    alerts.sort_by(|a, b| {
        firing(b).cmp(&firing(a)).then(a.severity.cmp(&b.severity)).then(a.labels.cmp(&b.labels))
    });
    let status = alerts.first()?.status;
    let alike = alerts.iter().filter(|alert| alert.status == status);
    Some(Notification {
        dedupe_key: key.to_owned(),
        group_labels: labels.clone(),
        status,
        severity: alike.map(|alert| alert.severity).min()?,
        alerts,
    })
}

fn targets(rule: &Inhibition, alert: &Alert) -> bool {
    rule.target.matches(alert) && !rule.source.matches(alert)
}

/// The values of the labels in which source and target must agree.
fn values<'a>(rule: &Inhibition, alert: &'a Alert) -> Vec<Option<&'a str>> {
    rule.equal.iter().map(|name| alert.labels.get(name).map(String::as_str)).collect()
}
