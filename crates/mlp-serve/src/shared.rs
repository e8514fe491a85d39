//! What all handles of a server share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mlp_core::{
    Health, Host, HostError, Lifecycle, ModelError, Panicked, PredictionId, PredictionLog, Role,
    Route, Router, Servable, VersionNumber, VersionSource, catch_panic,
};

use crate::admission::{Admitted, Place, Turned};
use crate::builder::ServerBuilder;
use crate::error::ServeError;
use crate::gate::Gate;
use crate::health::{ServerHealth, VersionHealth};
use crate::identity::Identities;
use crate::ledger::{Call, Counters, Ledger, Tally};
use crate::numbers::Numbers;
use crate::options::ServeOptions;
use crate::prepare::{self, Context};
use crate::queue::Shadows;
use crate::request::Request;
use crate::server::{Drained, Settled};
use crate::sync::Mutex;
use crate::threads::Threads;
use crate::time::Time;
use crate::version::Version;

pub(crate) struct Shared<M: ?Sized + Servable> {
    options: ServeOptions,
    time: Time,
    router: Option<Arc<dyn Router>>,
    log: Option<Arc<dyn PredictionLog>>,
    warm_up: Arc<Mutex<Vec<M::Input>>>,
    /// How many replicas a version gets.
    replicas: AtomicUsize,
    threads: Arc<Threads>,
    table: ArcSwap<Table<M>>,
    changes: Mutex<Changes<M>>,
    identities: Identities,
    is_draining: AtomicBool,
    shadows: Arc<Gate>,
}

/// The versions that take requests. Immutable: a change puts another one in its place, so a request sees the old state or the new one.
struct Table<M: ?Sized + Servable> {
    /// Which one answers when there is no router.
    current: Option<VersionNumber>,
    /// Which version takes over from it, and how far that is.
    rolling: Option<Rolling>,
    generation: u64,
    versions: Vec<Arc<Version<M>>>,
}

/// A version that takes over, replica by replica.
#[derive(Debug, Clone, Copy)]
struct Rolling {
    to: VersionNumber,
    /// How many of so many requests it gets.
    share: u64,
    of: u64,
}

impl Rolling {
    fn takes(&self, sequence: u64) -> bool {
        sequence % self.of < self.share
    }
}

/// How many requests to come tell which versions answer.
const PROBES: u64 = 16;

/// A request that has come in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: PredictionId,
    sequence: u64,
    entered: Duration,
    deadline: Option<Duration>,
}

/// A request for which there is no room, before anybody was told.
pub(crate) struct Full<M: ?Sized + Servable> {
    pub(crate) input: M::Input,
    error: ServeError,
    call: Call,
    version: Arc<Version<M>>,
}

impl<M: ?Sized + Servable> Full<M> {
    /// Reports that the request was refused; what its caller is told.
    pub(crate) fn refuse(self) -> Admitted<M::Output> {
        Admitted::Settled(Err(self.version.refuse(&self.call, self.error)))
    }
}

/// What changes of the table need to know.
struct Changes<M: ?Sized + Servable> {
    warming: Vec<VersionNumber>,
    leaving: Vec<Weak<Version<M>>>,
}

impl<M: ?Sized + Servable> Table<M> {
    fn find(&self, version: VersionNumber) -> Option<&Arc<Version<M>>> {
        self.versions.iter().find(|held| held.ledger.version == version)
    }
}

impl<M: ?Sized + Servable + 'static> Shared<M> {
    pub(crate) fn new(builder: ServerBuilder<M>) -> Self {
        let ServerBuilder { options, time, log, router, warm_up } = builder;
        let replicas = options.replicas;
        Self {
            options,
            identities: Identities::new(&time),
            time,
            router,
            log,
            warm_up: Arc::new(Mutex::new(warm_up)),
            replicas: AtomicUsize::new(replicas),
            threads: Arc::default(),
            table: ArcSwap::from_pointee(Table {
                current: None,
                rolling: None,
                generation: 0,
                versions: Vec::new(),
            }),
            changes: Mutex::new(Changes { warming: Vec::new(), leaving: Vec::new() }),
            is_draining: AtomicBool::new(false),
            shadows: Arc::default(),
        }
    }

    /// Gives a request its identity, its number and its deadline.
    pub(crate) fn enter(&self, request: &Request<'_>) -> Entry {
        let entered = self.time.monotonic();
        let (id, sequence) = self.identities.next(entered, request.sequence);
        let timeout = request.timeout.or(self.options.timeout);
        let deadline = timeout.map(|timeout| entered.saturating_add(timeout));
        Entry { id, sequence, entered, deadline }
    }

    /// Routes a request and hands it to its version. If that was retired meanwhile, it is routed once more, and again as long as versions
    /// come and go in between.
    pub(crate) fn admit(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        place: Place,
        mut input: M::Input,
    ) -> Result<Admitted<M::Output>, Box<Full<M>>> {
        let &Entry { id, sequence, entered, deadline } = entry;
        let mut missing = None;
        let mut seen = [None; 2];
        loop {
            if self.is_draining.load(Ordering::Acquire) {
                return Ok(Admitted::Settled(Err(ServeError::Draining)));
            }
            let table = self.table.load();
            // Twice in the same state of the table is enough; a new state may hold what the last one lacked.
            if seen == [Some(table.generation); 2] {
                break;
            }
            seen = [seen[1], Some(table.generation)];
            let Some(route) = self.route(&table, request, sequence) else { break };
            let route = match route {
                Ok(route) => route,
                Err(Panicked { message }) => {
                    return Ok(Admitted::Settled(Err(ServeError::RouterPanicked { message })));
                }
            };
            missing = Some(route.version);
            let Some(version) = table.find(route.version) else { continue };
            let call = Call { route, id, entered, deadline };
            match version.admit(call, request.priority, place, input, table.shadows(&route)) {
                Ok(admitted) => return Ok(admitted),
                Err(Turned::Away(returned)) => input = returned,
                Err(Turned::Full(input, error)) => {
                    let version = Arc::clone(version);
                    return Err(Box::new(Full { input, error, call, version }));
                }
            }
        }
        let error = match self.is_draining.load(Ordering::Acquire) {
            true => ServeError::Draining,
            false => ServeError::NotReady { version: missing },
        };
        Ok(Admitted::Settled(Err(error)))
    }

    /// The version for a request; none if there is none to choose.
    fn route(
        &self,
        table: &Table<M>,
        request: &Request<'_>,
        sequence: u64,
    ) -> Option<Result<Route, Panicked>> {
        match (&self.router, request.pin) {
            (Some(router), _) => Some(catch_panic(|| router.route(&request.key(sequence)))),
            (None, Some(version)) => Some(Ok(Route::new(version, Role::Pinned, table.generation))),
            (None, None) => {
                let rolling = table.rolling.filter(|rolling| rolling.takes(sequence));
                let version = rolling.map(|rolling| rolling.to).or(table.current)?;
                Some(Ok(Route::new(version, Role::Active, table.generation)))
            }
        }
    }

    /// Whether a request that came now would find a version that is ready: each of those that answer in the active role (of those in any
    /// role, if none is active) the next few anonymous requests, whose numbers are not used up by this.
    fn can_answer(&self, table: &Table<M>) -> bool {
        let next = self.identities.next_sequence();
        let routes: Vec<_> = (next..next.wrapping_add(PROBES))
            .map_while(|sequence| self.route(table, &Request::new(), sequence)?.ok())
            .collect();
        let has_active = routes.iter().any(|route| route.role == Role::Active);
        let is_ready = |route: &Route| {
            table.find(route.version).is_some_and(|version| version.health().is_ready())
        };
        let mut judged = routes.iter().filter(|route| !has_active || route.role == Role::Active);
        routes.len() as u64 == PROBES && judged.all(is_ready)
    }

    pub(crate) fn swap(
        &self,
        version: VersionNumber,
        source: VersionSource<M>,
    ) -> Result<(), HostError> {
        self.build(version, source, self.replicas.load(Ordering::Relaxed), Use::Current)
    }

    /// Replaces the current version replica by replica.
    pub(crate) fn roll(
        &self,
        number: VersionNumber,
        source: VersionSource<M>,
        pause: Duration,
    ) -> Result<(), HostError> {
        let replicas = self.replicas.load(Ordering::Relaxed);
        let table = self.table.load_full();
        let Some(old) = table.current.and_then(|current| table.find(current)).cloned() else {
            return self.swap(number, source);
        };
        if table.rolling.is_some() {
            return Err(HostError::AlreadyPresent { version: number });
        }
        self.build(number, source, 1, Use::Named)?;
        let rolled = self.roll_on(&old, number, replicas, pause);
        let (current, gone) = match rolled {
            Ok(()) => (number, old.ledger.version),
            Err(_) => (old.ledger.version, number),
        };
        self.change(|table| table.rolling = None);
        if rolled.is_ok() {
            self.change(|table| table.current = Some(current));
        } else {
            // What it had given up; if even that fails, it serves on with fewer.
            let _ = old.scale_to(replicas);
        }
        self.retire(gone);
        rolled
    }

    fn roll_on(
        &self,
        old: &Arc<Version<M>>,
        number: VersionNumber,
        replicas: usize,
        pause: Duration,
    ) -> Result<(), HostError> {
        for done in 1..=replicas {
            let table = self.table.load_full();
            let Some(new) = table.find(number) else { return Err(HostError::ShuttingDown) };
            new.scale_to(done)?;
            let (share, of) = (done as u64, replicas as u64);
            self.change(|table| table.rolling = Some(Rolling { to: number, share, of }));
            if done < replicas {
                old.scale_to(replicas - done)?;
            }
            self.rest(pause)?;
            if !new.health().is_ready() {
                let source = ModelError::failed("it did not stay well while it took over");
                return Err(HostError::WarmUp { version: number, source });
            }
        }
        Ok(())
    }

    /// Waits for so long, unless the server drains.
    fn rest(&self, pause: Duration) -> Result<(), HostError> {
        let until = self.time.monotonic().saturating_add(pause);
        loop {
            if self.is_draining.load(Ordering::Acquire) {
                return Err(HostError::ShuttingDown);
            }
            let left = until.saturating_sub(self.time.monotonic());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    /// Puts a changed table in the place of the present one.
    fn change(&self, change: impl FnOnce(&mut Table<M>)) {
        let _changes = self.changes.lock();
        let table = self.table.load();
        let mut changed = Table {
            current: table.current,
            rolling: table.rolling,
            generation: table.generation + 1,
            versions: table.versions.clone(),
        };
        change(&mut changed);
        self.table.store(Arc::new(changed));
    }

    /// Sets how many replicas each version has, those to come among them.
    pub(crate) fn scale_to(&self, replicas: usize) -> Result<(), ServeError> {
        let options = ServeOptions { replicas, ..self.options.clone() };
        options.check()?;
        self.replicas.store(replicas, Ordering::Relaxed);
        let versions = self.table.load().versions.clone();
        for version in versions {
            version.scale_to(replicas)?;
        }
        Ok(())
    }

    pub(crate) fn forget(&self, input: Option<&M::Input>) {
        self.table.load().versions.iter().for_each(|version| version.forget(input));
    }

    fn build(
        &self,
        number: VersionNumber,
        source: VersionSource<M>,
        replicas: usize,
        in_use: Use,
    ) -> Result<(), HostError> {
        self.reserve(number)?;
        let ledger = Ledger {
            version: number,
            time: self.time.clone(),
            router: self.router.clone(),
            log: self.log.clone(),
            log_one_in: self.options.log_one_in,
            counters: Counters::default(),
            tally: Mutex::new(Tally::new()),
        };
        let context = Context {
            options: self.options.clone(),
            warm_up: Arc::clone(&self.warm_up),
            gate: Arc::clone(&self.shadows),
            threads: Arc::clone(&self.threads),
        };
        let built = prepare::build(ledger, source, replicas, context)
            .and_then(|version| prepare::start(&version).map(|()| version));
        let mut changes = self.changes.lock();
        changes.warming.retain(|warming| *warming != number);
        let version = built?;
        if self.is_draining.load(Ordering::Acquire) {
            version.close();
            return Err(HostError::ShuttingDown);
        }
        let table = self.table.load();
        let before = table.current.filter(|_| in_use == Use::Current);
        let mut versions = table.versions.clone();
        versions.push(version);
        versions.sort_by_key(|version| version.ledger.version);
        let current = if in_use == Use::Current { Some(number) } else { table.current };
        let (rolling, generation) = (table.rolling, table.generation + 1);
        self.table.store(Arc::new(Table { current, rolling, generation, versions }));
        drop(table);
        drop(changes);
        before.inspect(|before| self.retire(*before));
        Ok(())
    }

    /// Takes a place for a version that is about to be built.
    fn reserve(&self, version: VersionNumber) -> Result<(), HostError> {
        let mut changes = self.changes.lock();
        changes.reap();
        self.threads.reap();
        let table = self.table.load();
        if self.is_draining.load(Ordering::Acquire) {
            return Err(HostError::ShuttingDown);
        }
        if table.find(version).is_some() || changes.warming.contains(&version) {
            return Err(HostError::AlreadyPresent { version });
        }
        let limit = self.options.max_versions;
        if table.versions.len() + changes.warming.len() >= limit {
            return Err(HostError::TooManyVersions { limit });
        }
        changes.warming.push(version);
        Ok(())
    }

    pub(crate) fn settle_shadows(&self, timeout: Duration) -> Settled {
        let until = self.time.monotonic().saturating_add(timeout);
        Settled { left: self.shadows.wait_until_empty(&self.time, Some(until)) }
    }

    pub(crate) fn drain(&self, timeout: Duration) -> Drained {
        let until = self.time.monotonic().saturating_add(timeout);
        let versions = {
            // Under the lock of changes, so that a version that is being prepared either is closed here or sees the flag.
            let changes = self.changes.lock();
            self.is_draining.store(true, Ordering::Release);
            let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
            self.table.load().versions.iter().cloned().chain(leaving).collect::<Vec<_>>()
        };
        versions.iter().for_each(|version| version.close());
        let unanswered = versions.iter().map(|version| version.wait_until_quiet(until)).sum();
        versions.iter().for_each(|version| version.abort());
        Drained { unanswered }
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let mut held: Vec<_> = {
            let changes = self.changes.lock();
            let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
            self.table.load().versions.iter().cloned().chain(leaving).collect()
        };
        held.sort_by_key(|version| version.ledger.version);
        Numbers { versions: held.iter().map(|version| version.numbers()).collect() }
    }

    pub(crate) fn server_health(&self) -> ServerHealth {
        let changes = self.changes.lock();
        let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
        let held: Vec<_> = self.table.load().versions.iter().cloned().chain(leaving).collect();
        let mut versions: Vec<_> = held.iter().map(|version| describe(version)).collect();
        versions.extend(changes.warming.iter().map(|&version| VersionHealth {
            version,
            health: Health {
                lifecycle: Lifecycle::Warming,
                replicas: self.replicas.load(Ordering::Relaxed),
                ..Health::ABSENT
            },
            replicas: Vec::new(),
        }));
        versions.sort_by_key(|version| version.version);
        let is_draining = self.is_draining.load(Ordering::Acquire);
        let is_live = !is_draining || held.iter().any(|version| version.queue.lock().open > 0);
        let table = self.table.load_full();
        // A router is foreign code: not under the lock of changes, which it may want.
        drop(changes);
        ServerHealth { is_live, is_ready: !is_draining && self.can_answer(&table), versions }
    }
}

/// What a version is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To answer from now on, where there is no router.
    Current,
    /// To be there when a router or a pin names it.
    Named,
}

impl<M: ?Sized + Servable> Table<M> {
    /// The shadows of a route that are here, the first one last.
    fn shadows(&self, route: &Route) -> Shadows<M> {
        route.shadows().iter().rev().filter_map(|version| self.find(*version).cloned()).collect()
    }
}

impl<M: ?Sized + Servable> Changes<M> {
    /// Forgets the versions that are gone.
    fn reap(&mut self) {
        self.leaving.retain(|version| version.strong_count() > 0);
    }
}

fn describe<M: ?Sized + Servable>(version: &Version<M>) -> VersionHealth {
    VersionHealth {
        version: version.ledger.version,
        health: version.health(),
        replicas: version.replica_health(),
    }
}

impl<M: ?Sized + Servable + 'static> Host<M> for Shared<M> {
    fn prepare(&self, version: VersionNumber, source: VersionSource<M>) -> Result<(), HostError> {
        self.build(version, source, self.replicas.load(Ordering::Relaxed), Use::Named)
    }

    fn health(&self, version: VersionNumber) -> Health {
        let health = self.server_health();
        health
            .versions
            .iter()
            .find(|it| it.version == version)
            .map_or(Health::ABSENT, |it| it.health)
    }

    fn retire(&self, version: VersionNumber) {
        let mut changes = self.changes.lock();
        let table = self.table.load_full();
        if let Some(retired) = table.find(version).cloned() {
            let versions = table
                .versions
                .iter()
                .filter(|held| held.ledger.version != version)
                .cloned()
                .collect();
            let current = table.current.filter(|current| *current != version);
            self.table.store(Arc::new(Table {
                current,
                rolling: table.rolling.filter(|rolling| rolling.to != version),
                generation: table.generation + 1,
                versions,
            }));
            changes.leaving.push(Arc::downgrade(&retired));
            retired.close();
        }
        changes.reap();
        drop(changes);
        self.threads.reap();
    }
}

impl<M: ?Sized + Servable> Drop for Shared<M> {
    fn drop(&mut self) {
        let until = self.time.monotonic().saturating_add(self.options.drain_timeout);
        let changes = self.changes.get_mut();
        let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
        let versions: Vec<_> = self.table.load().versions.iter().cloned().chain(leaving).collect();
        versions.iter().for_each(|version| version.close());
        for version in &versions {
            version.wait_until_quiet(until);
            version.abort();
        }
        self.threads.join_all();
    }
}

impl<M: ?Sized + Servable> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.table.load().versions).finish()
    }
}
