//! Which versions take requests.

use std::sync::Arc;

use mlp_core::{Route, Servable, VersionNumber};

use super::rolling::Rolling;
use crate::queue::Shadows;
use crate::version::Version;

/// The versions that take requests. Immutable: a change puts another one in its place, so a request sees the old state or the new one.
pub(super) struct Table<M: ?Sized + Servable> {
    /// Which one answers when there is no router.
    pub(super) current: Option<VersionNumber>,
    /// Which version takes over from it, and how far that is.
    pub(super) rolling: Option<Rolling>,
    pub(super) generation: u64,
    pub(super) versions: Vec<Arc<Version<M>>>,
}

impl<M: ?Sized + Servable> Table<M> {
    pub(super) fn empty() -> Self {
        Self { current: None, rolling: None, generation: 1, versions: Vec::new() }
    }

    pub(super) fn find(&self, version: VersionNumber) -> Option<&Arc<Version<M>>> {
        self.versions.iter().find(|held| held.ledger.version == version)
    }

    /// Whether it holds this very version: a number may be given anew.
    pub(super) fn holds(&self, version: &Arc<Version<M>>) -> bool {
        self.versions.iter().any(|held| Arc::ptr_eq(held, version))
    }

    /// Whether this very version answers when there is no router.
    pub(super) fn answers_by(&self, version: &Arc<Version<M>>) -> bool {
        self.current == Some(version.ledger.version) && self.holds(version)
    }

    /// The shadows of a route that are here, the first one last.
    pub(super) fn shadows(&self, route: &Route) -> Shadows<M> {
        if route.shadows().is_empty() {
            return Vec::new();
        }
        route.shadows().iter().rev().filter_map(|version| self.find(*version).cloned()).collect()
    }
}
