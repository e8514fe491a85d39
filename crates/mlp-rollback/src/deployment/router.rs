//! The path of a request: choose a version, hear how it went.

use mlp_core::{
    MetricSource, Outcome, Reading, RequestKey, Route, Router, Signal, SourceError, VersionNumber,
};

use super::Deployment;
use crate::evidence;
use crate::trigger::Response;

impl<M: ?Sized + 'static> Router for Deployment<M> {
    /// A hash of the seed and the unit, or of the seed and the request's number where no unit is named. A pin to a version that is warm
    /// and not blocked comes first; a pin to any other version is routed as if it were not there.
    fn route(&self, request: &RequestKey<'_>) -> Route {
        self.table.load().route(request)
    }

    fn observe(&self, outcome: &Outcome) {
        if !outcome.is_evidence() {
            return;
        }
        let table = self.table.load();
        let Some(tracked) = table.tracked(outcome.version) else { return };
        if outcome.generation < tracked.counts.since {
            return;
        }
        let is_worth_weighing = tracked.counts.record(outcome);
        if !is_worth_weighing || tracked.counts.is_decided(Response::RollBack) {
            return;
        }
        let tracked = tracked.clone();
        drop(table);
        // What was decided already is weighed again only to be told of beside something new.
        let is_open = |response| !tracked.counts.is_decided(response);
        let open = self.config.triggers.iter().filter(|trigger| is_open(trigger.response));
        let new = evidence::breaches(open, &tracked.counts);
        let worse = self.worse_than_active(&tracked);
        if new.is_empty() && !worse.iter().any(|(response, _)| is_open(*response)) {
            return;
        }
        let mut causes = evidence::breaches(&self.config.triggers, &tracked.counts);
        causes.extend(worse);
        self.respond(&tracked, causes);
    }
}

/// What the deployment itself has counted since a version took its role: [`Signal::Errors`] and [`Signal::Agreement`].
impl<M: ?Sized + 'static> MetricSource for Deployment<M> {
    fn read(&self, version: VersionNumber, signal: &Signal) -> Result<Reading, SourceError> {
        let table = self.table.load();
        let tracked = table.tracked(version).ok_or(SourceError::UnknownVersion { version })?;
        match signal {
            Signal::Errors => {
                let (events, trials) = tracked.counts.errors();
                Ok(Reading::Proportion { events, trials })
            }
            Signal::Agreement => Ok(tracked.counts.agreement()),
            _ => Err(SourceError::UnknownSignal { signal: signal.clone() }),
        }
    }
}
