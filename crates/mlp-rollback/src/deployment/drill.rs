//! Rehearsing a rollback.

use std::time::Duration;

use mlp_core::VersionNumber;
use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::change::Change;
use crate::error::{Error, Result};
use crate::record::Action;
use crate::table::Table;

/// What a drill found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillReport {
    /// The active version, which would be taken out.
    pub from: VersionNumber,
    /// The version that would take over.
    pub to: VersionNumber,
    /// How long it takes to find the target, ask for its health, and build the routing table that would be swapped in.
    pub took: Duration,
}

impl<M: ?Sized + 'static> Deployment<M> {
    /// Rehearses a rollback of the active version, up to the swap: finds the target, asks the host for its health, makes the change on a
    /// copy of the state, and builds the routing table. Nothing that is served changes; the drill is written down.
    ///
    /// # Errors
    /// If nothing is active, or no predecessor is warm and healthy: a real rollback would fail, which is what a drill is there to find.
    pub fn drill(&self, change: &Change) -> Result<DrillReport> {
        let started = self.clock.monotonic();
        let healthy = self.healthy_targets();
        let mut core = self.core.lock();
        let from = core.ledger.active.ok_or(Error::Nothing { what: "active version" })?;
        let to = healthy.into_iter().find(|target| core.ledger.standby.contains(target));
        let to = to.ok_or(Error::Nothing { what: "healthy version to roll back to" })?;
        let action = Action::RollBack { from, to };
        core.ledger.check(&action)?;
        let mut rehearsed = core.ledger.clone();
        rehearsed.apply(core.next_generation, &action, "drill");
        drop(Table::build(self.config.seed, &rehearsed, &core.counts));
        let took = self.clock.monotonic().saturating_sub(started);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commit(&mut core, change, Vec::new(), Action::Drill { from, to, nanoseconds })?;
        Ok(DrillReport { from, to, took })
    }
}
