//! All that the manager knows, and how it changes: no locks, no sinks, no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mlp_core::{Alert, AlertStatus, Notification, Timestamp};
use serde::{Deserialize, Serialize};

use super::admit::admit;
use super::group::{Group, Member};
use super::message::message;
use super::mute::Sources;
use super::tracked::Tracked;
use super::{Acknowledgement, AlertConfig, Fingerprint, Incident, Silence, SilenceId};
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

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) incidents: Tracked<Fingerprint, Incident>,
    pub(crate) groups: Tracked<String, Group>,
    pub(crate) silences: Tracked<SilenceId, Silence>,
    pub(crate) last_silence: u64,
    /// Follows from the incidents.
    pub(super) sources: Sources,
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
                    let before = std::mem::take(&mut changed);
                    outgoing.extend(self.tell_changed(config, &before, moment));
                }
                if self.update(config, fingerprint, alert, moment)? {
                    changed.insert(fingerprint);
                }
                Ok(())
            });
            first_fault = first_fault.and(taken);
        }
        outgoing.extend(self.tell_changed(config, &changed, moment));
        (outgoing, first_fault)
    }

    /// Mutes what has changed, now that all of it is known, and tells what is due of it.
    fn tell_changed(
        &mut self,
        config: &AlertConfig,
        changed: &BTreeSet<Fingerprint>,
        moment: Moment,
    ) -> Vec<Outgoing> {
        let mut news = BTreeSet::new();
        for fingerprint in changed {
            self.mute(config, *fingerprint, moment.now);
            let Some(incident) = self.incidents.get(fingerprint) else { continue };
            let mut quiet = Vec::new();
            for (key, member) in &incident.groups {
                if member.is_news(incident) {
                    news.insert(key.clone());
                } else if member.told.is_none() && !incident.is_firing() {
                    quiet.push(key.clone());
                }
            }
            quiet.iter().for_each(|key| self.leave(*fingerprint, key));
        }
        news.iter().filter_map(|key| self.flush(config, key, moment)).collect()
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
        self.note_source(config, fingerprint);
        self.place(config, fingerprint, moment.now);
        Ok(true)
    }

    fn open(
        &mut self,
        config: &AlertConfig,
        fingerprint: Fingerprint,
        alert: Alert,
        moment: Moment,
    ) -> Result<()> {
        let limit = config.room_for(alert.severity);
        if self.incidents.len() >= limit {
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
            hushed: false,
            groups: BTreeMap::new(),
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
        let mut left = Vec::new();
        for (other, member) in incident.groups.iter_mut().filter(|(other, _)| **other != key) {
            member.here = false;
            if member.told.is_none() {
                left.push(other.clone());
            }
        }
        let unknown = Member { told: None, again: false, here: true };
        let member = incident.groups.entry(key.clone()).or_insert(unknown);
        member.here = true;
        let louder = member.told.is_some_and(|told| incident.alert.severity < told);
        left.iter().for_each(|other| self.leave(fingerprint, other));
        if !self.groups.contains_key(&key) {
            self.groups.insert(key.clone(), Group::new(route, labels, now));
        }
        // Who belongs to it is kept with the incidents.
        if let Some(group) = self.groups.get_mut_unmarked(&key) {
            group.members.insert(fingerprint);
        }
        if louder {
            self.hurry(&key);
        }
    }

    /// Lets a group tell what has changed whatever its intervals say.
    pub(super) fn hurry(&mut self, key: &String) {
        if let Some(group) = self.groups.get_mut(key) {
            group.urgent = true;
        }
    }

    fn leave(&mut self, fingerprint: Fingerprint, key: &String) {
        if let Some(incident) = self.incidents.get_mut(&fingerprint) {
            incident.groups.remove(key);
        }
        if let Some(group) = self.groups.get_mut_unmarked(key) {
            group.members.remove(&fingerprint);
        }
    }

    /// Makes more urgent what nobody has acknowledged in time.
    fn escalate(&mut self, config: &AlertConfig, now: Duration) {
        let overdue = |incident: &&Incident| {
            let after = config.escalate_after.get(&incident.alert.severity);
            let waited = now.saturating_sub(incident.urgent_since);
            let idle = incident.acknowledged.is_none() && incident.is_audible();
            idle && after.is_some_and(|after| waited >= *after)
        };
        let overdue: Vec<Fingerprint> =
            self.incidents.values().filter(overdue).map(|incident| incident.fingerprint).collect();
        for fingerprint in overdue {
            if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                incident.alert.severity = incident.escalated();
                incident.urgent_since = now;
                self.note_source(config, fingerprint);
                self.place(config, fingerprint, now);
            }
        }
    }

    /// Lets nothing escalate before this span has passed: after a restart whoever raised an alert must have had time to say that it is over.
    pub(crate) fn spare(&mut self, config: &AlertConfig, span: Duration, now: Duration) {
        let earliest = |incident: &Incident| {
            let after = config.escalate_after.get(&incident.alert.severity)?;
            let since = now.saturating_add(span).saturating_sub(*after);
            (since > incident.urgent_since).then_some((incident.fingerprint, since))
        };
        let spared: Vec<(Fingerprint, Duration)> =
            self.incidents.values().filter_map(earliest).collect();
        for (fingerprint, since) in spared {
            if let Some(incident) = self.incidents.get_mut(&fingerprint) {
                incident.urgent_since = since;
            }
        }
    }

    /// Lets time pass, and returns what must be told. `validity` says which sinks forget, and after how long.
    pub(crate) fn advance(
        &mut self,
        config: &AlertConfig,
        validity: &BTreeMap<String, Duration>,
        moment: Moment,
    ) -> Vec<Outgoing> {
        self.mute_all(config, moment.now);
        self.silences.retain(|_, silence| moment.now < silence.until);
        self.escalate(config, moment.now);
        let keys: Vec<String> = self.groups.keys().cloned().collect();
        let mut outgoing = Vec::new();
        for key in &keys {
            outgoing.extend(self.flush(config, key, moment));
            outgoing.extend(self.refresh(config, validity, key, moment.now));
        }
        self.groups.retain(|_, group| !group.is_over(config.route(&group.route), moment.now));
        self.incidents.retain(|_, incident| incident.is_firing() || !incident.groups.is_empty());
        outgoing
    }

    /// Tells what a group has to tell, if it is time.
    fn flush(&mut self, config: &AlertConfig, key: &String, moment: Moment) -> Option<Outgoing> {
        let group = self.groups.get(key)?;
        let route = config.route(&group.route);
        let changes = group.tells_changes(route, moment.now);
        let again = group.tells_again(route, moment.now);
        // Most alerts come while their group rests: then nothing is looked through.
        if !changes && !again {
            return None;
        }
        let due = |member: Member, incident: &Incident| {
            changes && member.is_news(incident) || again && member.is_repeated(incident)
        };
        if !self.members(key).any(|(incident, member)| due(member, incident)) {
            return None;
        }
        // What mutes a member may have begun or ended since it was looked at.
        let members: Vec<Fingerprint> = self.groups.get(key)?.members.iter().copied().collect();
        members.iter().for_each(|fingerprint| self.mute(config, *fingerprint, moment.now));
        if !self.members(key).any(|(incident, member)| due(member, incident)) {
            return None;
        }
        let alerts = members.into_iter().filter_map(|member| self.tell(member, key)).collect();
        let group = self.groups.get_mut(key)?;
        group.told(moment.now);
        let notification = message(key, &group.labels, alerts)?;
        Some(Outgoing { sinks: route.sinks.clone(), notification })
    }

    /// What the sinks of a group are to hear of a member now; they are held to know it from here on.
    fn tell(&mut self, fingerprint: Fingerprint, key: &String) -> Option<Alert> {
        let incident = self.incidents.get(&fingerprint)?;
        let member = *incident.groups.get(key)?;
        let (alert, severity) = (incident.alert.clone(), incident.alert.severity);
        if !incident.is_firing() {
            self.leave(fingerprint, key);
            return member.told.map(|_| alert);
        }
        if !(member.here && incident.is_audible()) {
            return None;
        }
        let heard = Member { told: Some(severity), again: false, ..member };
        if member != heard {
            *self.incidents.get_mut(&fingerprint)?.groups.get_mut(key)? = heard;
        }
        Some(alert)
    }

    /// Tells receivers that forget of everything that fires and that they were told of, whether it is muted, acknowledged or neither.
    fn refresh(
        &mut self,
        config: &AlertConfig,
        validity: &BTreeMap<String, Duration>,
        key: &String,
        now: Duration,
    ) -> Option<Outgoing> {
        let group = self.groups.get(key)?;
        let route = config.route(&group.route);
        let due = |sink: &&String| {
            validity.get(*sink).is_some_and(|validity| group.tells_forgetful(*validity, now))
        };
        let sinks: Vec<String> = route.sinks.iter().filter(due).cloned().collect();
        if sinks.is_empty() {
            return None;
        }
        let known = self
            .members(key)
            .filter(|(incident, member)| member.told.is_some() && incident.is_firing());
        let alerts = known.map(|(incident, _)| incident.alert.clone()).collect();
        let notification = message(key, &group.labels, alerts)?;
        self.groups.get_mut(key)?.refreshed(now);
        Some(Outgoing { sinks, notification })
    }

    /// The incidents of a group, and what its sinks know of each.
    fn members(&self, key: &String) -> impl Iterator<Item = (&Incident, Member)> {
        let members = self.groups.get(key).into_iter().flat_map(|group| &group.members);
        members.filter_map(move |fingerprint| {
            let incident = self.incidents.get(fingerprint)?;
            Some((incident, *incident.groups.get(key)?))
        })
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
}
