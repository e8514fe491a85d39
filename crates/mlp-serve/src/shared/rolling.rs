//! How a version takes over from another one, replica by replica.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mlp_core::{HostError, ModelError, Servable, VersionNumber, VersionSource, catch_panic};

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

/// That a version is being rolled out, for as long as it lives.
struct Claim<'a, M: ?Sized + Servable + 'static>(&'a Shared<M>);

impl<M: ?Sized + Servable + 'static> Drop for Claim<'_, M> {
    fn drop(&mut self) {
        self.0.changes.lock().rolling = None;
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
        let _claim = self.claim_roll(number)?;
        let new = self.build(number, source, 1, Use::Rolling)?;
        // Whatever of it panics, the old version takes all again.
        let rolled = catch_panic(|| self.roll_on(&old, &new, pause)).unwrap_or_else(|it| {
            Err(HostError::Build { version: number, source: it.into() }.into())
        });
        self.end_roll(&old, &new, rolled)
    }

    /// Notes that a version is to be rolled out, unless another one is.
    fn claim_roll(&self, number: VersionNumber) -> Result<Claim<'_, M>, ServeError> {
        let mut changes = self.changes.lock();
        if let Some(version) = changes.rolling {
            return Err(ServeError::RollingOut { version });
        }
        changes.rolling = Some(number);
        Ok(Claim(self))
    }

    fn roll_on(
        &self,
        old: &Arc<Version<M>>,
        new: &Arc<Version<M>>,
        pause: Duration,
    ) -> Result<(), ServeError> {
        let number = new.ledger.version;
        let superseded = || ServeError::Superseded { version: number };
        let mut done = 0;
        loop {
            // Asked each time anew: it may be scaled meanwhile.
            let replicas = self.replicas.load(Ordering::Relaxed);
            done = (done + 1).min(replicas);
            if !self.table.load().holds(new) {
                return Err(superseded());
            }
            new.scale_to(done)?;
            let (share, of) = (done as u64, replicas as u64);
            let is_first = done == 1;
            let is_ours = self.change(|table| {
                let to = table.rolling.map(|rolling| rolling.to);
                let is_ours = table.answers_by(old)
                    && table.holds(new)
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
        new: &Arc<Version<M>>,
        rolled: Result<(), ServeError>,
    ) -> Result<(), ServeError> {
        let number = new.ledger.version;
        let is_ours = self.change(|table| {
            let is_rolling = table.rolling.is_some_and(|rolling| rolling.to == number);
            let is_ours = is_rolling && table.holds(new);
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
        let gone = if rolled.is_ok() { old } else { new };
        self.withdraw(|held| Arc::ptr_eq(held, gone));
        if rolled.is_ok() {
            self.scale_as_wanted(new)?;
        } else if self.table.load().answers_by(old) {
            self.scale_as_wanted(old)?;
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
