//! The routing table: everything that a routing decision needs, immutable, swapped as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use mlp_core::{RequestKey, Role, Route, VersionNumber};

use crate::counts::Counts;
use crate::draw;
use crate::flags::Flag;
use crate::ledger::Ledger;
use crate::state::VersionState;

/// Version 0 stands for "nothing was deployed yet": no host holds it.
const NONE: VersionNumber = VersionNumber(0);

#[derive(Debug, Clone)]
pub(crate) struct Tracked {
    pub(crate) version: VersionNumber,
    pub(crate) counts: Arc<Counts>,
}

/// A version that answers the requests whose place lies in `from..to`.
#[derive(Debug)]
struct Slot {
    from: u32,
    to: u32,
    role: Role,
    tracked: Tracked,
}

#[derive(Debug)]
struct Mirror {
    below: u32,
    tracked: Tracked,
}

#[derive(Debug)]
pub(crate) struct Table {
    seed: u64,
    pub(crate) generation: u64,
    active: VersionNumber,
    flags: Vec<(Flag, Tracked)>,
    slots: Vec<Slot>,
    mirrors: Vec<Mirror>,
    /// Everything that outcomes are counted for.
    pub(crate) tracked: Vec<Tracked>,
    /// Versions that can be pinned to: warm and not blocked.
    pinnable: Vec<VersionNumber>,
    pins: Arc<BTreeMap<String, VersionNumber>>,
}

impl Table {
    pub(crate) fn build(
        seed: u64,
        ledger: &Ledger,
        counts: &BTreeMap<VersionNumber, Arc<Counts>>,
    ) -> Self {
        let tracked = |version: VersionNumber| {
            counts.get(&version).map(|counts| Tracked { version, counts: Arc::clone(counts) })
        };
        // A canary grows from below, challengers stand above: no growth moves anyone from one trial to another.
        let mut slots = Vec::new();
        if let Some(canary) = &ledger.canary {
            let to = canary.share().millionths();
            slots.extend(tracked(canary.version).map(|tracked| Slot {
                from: 0,
                to,
                role: Role::Canary,
                tracked,
            }));
        }
        let mut upper = draw::WHOLE as u32;
        for &(version, share) in &ledger.challengers {
            let (from, to) = (upper.saturating_sub(share.millionths()), upper);
            upper = from;
            slots.extend(tracked(version).map(|tracked| Slot {
                from,
                to,
                role: Role::Challenger,
                tracked,
            }));
        }
        if let Some(retreat) = ledger.retreat {
            let to = retreat.keeps.rest().millionths();
            slots.extend(tracked(retreat.to).map(|tracked| Slot {
                from: 0,
                to,
                role: Role::Active,
                tracked,
            }));
        }
        let flags = ledger
            .flags
            .iter()
            .filter_map(|(version, flag)| Some((flag.clone(), tracked(*version)?)));
        let flags = flags.collect();
        let mirrors = ledger
            .shadows
            .iter()
            .filter_map(|&(version, share)| {
                Some(Mirror { below: share.millionths(), tracked: tracked(version)? })
            })
            .collect();
        let pinnable = ledger
            .versions
            .iter()
            .filter(|(_, entry)| {
                // Nobody gets a shadow's answers.
                entry.state.is_warm()
                    && entry.state != VersionState::Shadow
                    && entry.blocked.is_none()
            })
            .map(|(version, _)| *version)
            .collect();
        Self {
            seed,
            generation: ledger.generation,
            active: ledger.active.unwrap_or(NONE),
            flags,
            slots,
            mirrors,
            tracked: counts.keys().filter_map(|version| tracked(*version)).collect(),
            pinnable,
            pins: Arc::clone(&ledger.pins),
        }
    }

    pub(crate) fn route(&self, request: &RequestKey<'_>) -> Route {
        let draw = match request.unit {
            Some(unit) => draw::of_unit(self.seed, unit),
            None => draw::of_sequence(self.seed, request.sequence),
        };
        let (version, role) = self
            .pinned(request)
            .or_else(|| self.flagged(request))
            .unwrap_or_else(|| self.drawn(draw::place(draw)));
        let mut route = Route::new(version, role, self.generation);
        for mirror in &self.mirrors {
            let place = draw::place(draw::again(draw, mirror.tracked.version.0));
            if place < mirror.below
                && mirror.tracked.version != version
                && !mirror.tracked.counts.is_tripped()
            {
                route = route.with_shadow(mirror.tracked.version);
            }
        }
        route
    }

    fn pinned(&self, request: &RequestKey<'_>) -> Option<(VersionNumber, Role)> {
        let by_unit = || {
            if self.pins.is_empty() { None } else { self.pins.get(request.unit?).copied() }
        };
        let version = request.pin.or_else(by_unit)?;
        let is_tripped =
            || self.tracked(version).is_some_and(|tracked| tracked.counts.is_tripped());
        let may_answer =
            self.pinnable.contains(&version) && (version == self.active || !is_tripped());
        may_answer.then_some((version, Role::Pinned))
    }

    /// The first flag that is on for the unit. Anonymous requests have no bucket that could stay theirs.
    fn flagged(&self, request: &RequestKey<'_>) -> Option<(VersionNumber, Role)> {
        let unit = if self.flags.is_empty() { None } else { request.unit }?;
        let (_, tracked) = self.flags.iter().find(|(flag, tracked)| {
            flag.is_on(unit, request.attributes) && !tracked.counts.is_tripped()
        })?;
        Some((tracked.version, Role::Challenger))
    }

    fn drawn(&self, place: u32) -> (VersionNumber, Role) {
        self.slots
            .iter()
            .find(|slot| (slot.from..slot.to).contains(&place) && !slot.tracked.counts.is_tripped())
            .map_or((self.active, Role::Active), |slot| (slot.tracked.version, slot.role))
    }

    pub(crate) fn tracked(&self, version: VersionNumber) -> Option<&Tracked> {
        self.tracked.iter().find(|tracked| tracked.version == version)
    }
}
