//! How a version takes over from another one, replica by replica.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlp_core::{Host, HostError, ModelError, Servable, VersionNumber, VersionSource};

use super::{Shared, Use};
use crate::error::ServeError;
use crate::version::Version;

/// A version that takes over, replica by replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rolling {
    pub(super) to: VersionNumber,
    /// How many of so many requests it gets.
    share: u64,
    of: u64,
}

impl Rolling {
    pub(super) fn takes(&self, sequence: u64) -> bool {
        sequence % self.of < self.share
    }
}

impl<M: ?Sized + Servable + 'static> Shared<M> {
    /// Replaces the current version replica by replica.
    pub(crate) fn roll(
        &self,
        number: VersionNumber,
        source: VersionSource<M>,
        pause: Duration,
    ) -> Result<(), ServeError> {
        let table = self.table.load_full();
        let Some(old) = table.current.and_then(|current| table.find(current)).cloned() else {
            return self.swap(number, source);
        };
        if let Some(version) = self.claim_roll(number) {
            return Err(ServeError::RollingOut { version });
        }
        let rolled = self.build(number, source, 1, Use::Named).map_err(ServeError::from);
        let rolled = rolled.and_then(|()| {
            let rolled = self.roll_on(&old, number, pause);
            self.end_roll(&old, number, rolled)
        });
        self.changes.lock().rolling = None;
        rolled
    }

    /// Notes that a version is to be rolled out, unless another one is: that one.
    fn claim_roll(&self, number: VersionNumber) -> Option<VersionNumber> {
        let mut changes = self.changes.lock();
        if changes.rolling.is_none() {
            changes.rolling = Some(number);
            return None;
        }
        changes.rolling
    }

    fn roll_on(
        &self,
        old: &Arc<Version<M>>,
        number: VersionNumber,
        pause: Duration,
    ) -> Result<(), ServeError> {
        let superseded = || ServeError::Superseded { version: number };
        let mut done = 0;
        loop {
            // Asked each time anew: it may be scaled meanwhile.
            let replicas = self.replicas.load(Ordering::Relaxed);
            done = (done + 1).min(replicas);
            let table = self.table.load_full();
            let new = table.find(number).ok_or_else(superseded)?;
            new.scale_to(done)?;
            let (share, of) = (done as u64, replicas as u64);
            let is_first = done == 1;
            let is_ours = self.change(|table| {
                let to = table.rolling.map(|rolling| rolling.to);
                let is_ours = table.current == Some(old.ledger.version)
                    && table.find(number).is_some()
                    && (to == Some(number) || (is_first && to.is_none()));
                if is_ours {
                    table.rolling = Some(Rolling { to: number, share, of });
                }
                is_ours
            });
            if !is_ours {
                return Err(superseded());
            }
            if done < replicas {
                old.scale_to(replicas - done)?;
            }
            self.rest(pause)?;
            if !new.health().is_ready() {
                let source = ModelError::failed("it did not stay well while it took over");
                return Err(HostError::WarmUp { version: number, source }.into());
            }
            if done == replicas {
                return Ok(());
            }
        }
    }

    /// Lets the new version take over, or the old one again, between two requests.
    fn end_roll(
        &self,
        old: &Arc<Version<M>>,
        number: VersionNumber,
        rolled: Result<(), ServeError>,
    ) -> Result<(), ServeError> {
        let is_ours = self.change(|table| {
            let is_ours = table.rolling.is_some_and(|rolling| rolling.to == number);
            if is_ours {
                table.rolling = None;
            }
            if is_ours && rolled.is_ok() {
                table.current = Some(number);
            }
            is_ours
        });
        let rolled = match is_ours {
            true => rolled,
            false => Err(ServeError::Superseded { version: number }),
        };
        let replicas = self.replicas.load(Ordering::Relaxed);
        if rolled.is_ok() {
            self.retire(old.ledger.version);
            if let Some(new) = self.table.load_full().find(number) {
                new.scale_to(replicas)?;
            }
        } else {
            self.retire(number);
            if self.table.load().current == Some(old.ledger.version) {
                old.scale_to(replicas)?;
            }
        }
        rolled
    }

    /// Waits for so long, unless the server drains.
    fn rest(&self, pause: Duration) -> Result<(), ServeError> {
        let until = self.time.monotonic().saturating_add(pause);
        loop {
            if self.is_draining.load(Ordering::Acquire) {
                return Err(HostError::ShuttingDown.into());
            }
            let left = until.saturating_sub(self.time.monotonic());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }
}
