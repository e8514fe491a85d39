//! How a version comes to its host, and leaves it again.

use mlp_core::{HostError, VersionNumber, VersionSource, catch_panic};

use super::Deployment;
use super::core::Core;
use crate::change::{Change, Receipt};
use crate::error::{Error, Result};
use crate::record::Action;
use crate::state::VersionState;

impl<M: ?Sized + 'static> Deployment<M> {
    /// Prepares a version if it is not warm, then makes the change, unless the world has moved on meanwhile.
    pub(super) fn start(
        &self,
        version: VersionNumber,
        change: &Change,
        action: Action,
    ) -> Result<Receipt> {
        let result = self.start_one(version, change, action);
        self.retire_unneeded();
        result
    }

    fn start_one(
        &self,
        version: VersionNumber,
        change: &Change,
        action: Action,
    ) -> Result<Receipt> {
        change.check()?;
        let prepared = {
            let mut core = self.core.lock();
            if let Some(receipt) = core.repeated(change, &action)? {
                return Ok(receipt);
            }
            // Its host may be letting go of it this very moment.
            while core.retiring.contains(&version) {
                self.retired.wait(&mut core);
            }
            core.check_generation(change)?;
            let state = core.ledger.entry(version)?.state;
            match state {
                VersionState::Standby => None,
                _ => Some(self.begin_warming(&mut core, version, change, &action)?),
            }
        };
        let Some((warming_since, source)) = prepared else {
            if !self.is_healthy(version) {
                return Err(Error::Unhealthy { version });
            }
            return self.simple(change, action);
        };
        let outcome = self.prepare(version, source);
        let mut core = self.core.lock();
        let is_mine = core.ledger.entry(version).is_ok_and(|entry| {
            entry.state == VersionState::Warming && entry.since == warming_since
        });
        if !is_mine {
            // Somebody blocked it meanwhile.
            let state = core.ledger.entry(version)?.state;
            core.to_retire.push(version);
            return Err(Error::WrongState { version, state, allowed: "still warming" });
        }
        let moved_on =
            change.expected_generation.is_some() && core.ledger.generation != warming_since;
        let result = outcome.and_then(|()| {
            if moved_on {
                let (expected, current) = (warming_since, core.ledger.generation);
                return Err(Error::Stale { expected, current });
            }
            let mut unbound = change.clone();
            unbound.expected_generation = None;
            self.commit(&mut core, &unbound, Vec::new(), action)
        });
        if let Err(error) = &result {
            let give_up = Action::GiveUp { version, error: error.to_string() };
            let because = Change::by(&change.actor).because(&change.reason);
            // The first error is what the caller needs; if this cannot be written either, a restart gives the version up.
            let _ = self.commit(&mut core, &because, Vec::new(), give_up);
        }
        result
    }

    fn begin_warming(
        &self,
        core: &mut Core<M>,
        version: VersionNumber,
        change: &Change,
        action: &Action,
    ) -> Result<(u64, VersionSource<M>)> {
        core.ledger.check(&Action::Warm { version })?;
        // What cannot be done anyway is refused before the host builds anything.
        let mut afterwards = core.ledger.clone();
        afterwards.apply(core.next_generation, &Action::Warm { version }, "");
        afterwards.check(action)?;
        if self.host().is_none() {
            return Err(Error::NoHost);
        }
        let source = core.sources.get(&version).cloned().ok_or(Error::NoSource { version })?;
        let because = Change::by(&change.actor).because(&change.reason);
        let receipt = self.commit(core, &because, Vec::new(), Action::Warm { version })?;
        core.to_retire.retain(|other| *other != version);
        Ok((receipt.generation, source))
    }

    pub(super) fn prepare(&self, version: VersionNumber, source: VersionSource<M>) -> Result<()> {
        let host = self.host().ok_or(Error::NoHost)?;
        match catch_panic(|| host.prepare(version, source)) {
            Err(panicked) => Err(Error::HostPanicked { message: panicked.message }),
            Ok(Err(HostError::AlreadyPresent { .. })) | Ok(Ok(())) => {
                if self.is_healthy(version) {
                    Ok(())
                } else {
                    Err(Error::Unhealthy { version })
                }
            }
            Ok(Err(source)) => Err(Error::Preparation { version, source }),
        }
    }

    /// Lets the host go of what nobody needs. Waits for requests that these versions still answer, so never on a request's own thread.
    pub(super) fn retire_unneeded(&self) {
        let Some(host) = self.host() else { return };
        let unneeded = std::mem::take(&mut self.core.lock().to_retire);
        for version in unneeded {
            let mut core = self.core.lock();
            if core.holds(version) || !core.retiring.insert(version) {
                continue;
            }
            drop(core);
            // A panic of the host is its own affair here: the version is not routed to any more.
            let _ = catch_panic(|| host.retire(version));
            let mut core = self.core.lock();
            core.retiring.remove(&version);
            if core.state(version) == Some(VersionState::Draining) {
                let change = Change::by("deployment").because("no longer needed");
                // If it cannot be written down, the version stays draining, and a restart archives it.
                let _ = self.commit(&mut core, &change, Vec::new(), Action::Archive { version });
            }
            drop(core);
            self.retired.notify_all();
        }
    }
}

impl<M: ?Sized> Core<M> {
    fn state(&self, version: VersionNumber) -> Option<VersionState> {
        self.ledger.entry(version).ok().map(|entry| entry.state)
    }

    /// Whether its host is to hold the version.
    fn holds(&self, version: VersionNumber) -> bool {
        self.state(version).is_some_and(|state| state.is_warm() || state == VersionState::Warming)
    }
}
