//! What all handles of a server share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use mlp_core::{
    Health, Host, HostError, Lifecycle, PredictionId, PredictionLog, Role, Route, Router, Servable,
    VersionNumber, VersionSource,
};

use crate::builder::ServerBuilder;
use crate::error::ServeError;
use crate::gate::Gate;
use crate::health::{ReplicaHealth, ServerHealth, VersionHealth};
use crate::identity::Identities;
use crate::ledger::{Call, Counters, Ledger};
use crate::numbers::{Counted, Numbers};
use crate::options::ServeOptions;
use crate::prepare;
use crate::queue::Shadows;
use crate::request::Request;
use crate::server::{Drained, Settled};
use crate::sync::Mutex;
use crate::time::Time;
use crate::version::{Admitted, Place, Version};

pub(crate) struct Shared<M: ?Sized + Servable> {
    options: ServeOptions,
    time: Time,
    router: Option<Arc<dyn Router>>,
    log: Option<Arc<dyn PredictionLog>>,
    warm_up: Mutex<Vec<M::Input>>,
    table: ArcSwap<Table<M>>,
    changes: Mutex<Changes<M>>,
    identities: Identities,
    sequence: AtomicU64,
    is_draining: AtomicBool,
    shadows: Arc<Gate>,
}

/// The versions that take requests. Immutable: a change puts another one in its place, so a request sees the old state or the new one.
struct Table<M: ?Sized + Servable> {
    /// Which one answers when there is no router.
    current: Option<VersionNumber>,
    generation: u64,
    versions: Vec<Arc<Version<M>>>,
}

/// What changes of the table need to know.
struct Changes<M: ?Sized + Servable> {
    warming: Vec<VersionNumber>,
    leaving: Vec<Weak<Version<M>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<M: ?Sized + Servable> Table<M> {
    fn find(&self, version: VersionNumber) -> Option<&Arc<Version<M>>> {
        self.versions.iter().find(|held| held.ledger.version == version)
    }
}

impl<M: ?Sized + Servable + 'static> Shared<M> {
    pub(crate) fn new(builder: ServerBuilder<M>) -> Self {
        let ServerBuilder { options, time, log, router, warm_up } = builder;
        Self {
            options,
            identities: Identities::new(&time),
            time,
            router,
            log,
            warm_up: Mutex::new(warm_up),
            table: ArcSwap::from_pointee(Table {
                current: None,
                generation: 0,
                versions: Vec::new(),
            }),
            changes: Mutex::new(Changes {
                warming: Vec::new(),
                leaving: Vec::new(),
                threads: Vec::new(),
            }),
            sequence: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
            shadows: Arc::default(),
        }
    }

    /// Routes a request and hands it to its version. If that was retired meanwhile, it is routed once more, and again as long as versions
    /// come and go in between.
    pub(crate) fn admit(
        &self,
        request: &Request<'_>,
        place: Place,
        mut input: M::Input,
    ) -> (PredictionId, Admitted<M::Output>) {
        let entered = self.time.monotonic();
        let id = self.identities.next(entered);
        let sequence =
            request.sequence.unwrap_or_else(|| self.sequence.fetch_add(1, Ordering::Relaxed));
        let timeout = request.timeout.or(self.options.timeout);
        let deadline = timeout.map(|timeout| entered.saturating_add(timeout));
        let mut missing = None;
        let mut seen = [None; 2];
        loop {
            if self.is_draining.load(Ordering::Acquire) {
                return (id, Admitted::Settled(Err(ServeError::Draining)));
            }
            let table = self.table.load();
            // Twice in the same state of the table is enough; a new state may hold what the last one lacked.
            if seen == [Some(table.generation); 2] {
                break;
            }
            seen = [seen[1], Some(table.generation)];
            let Some(route) = self.route(&table, request, sequence) else { break };
            missing = Some(route.version);
            let Some(version) = table.find(route.version) else { continue };
            let call = Call { route, id, entered, deadline };
            match version.admit(call, request.priority, place, input, table.shadows(&route)) {
                Ok(admitted) => return (id, admitted),
                Err(returned) => input = returned,
            }
        }
        let error = match self.is_draining.load(Ordering::Acquire) {
            true => ServeError::Draining,
            false => ServeError::NotReady { version: missing },
        };
        (id, Admitted::Settled(Err(error)))
    }

    fn route(&self, table: &Table<M>, request: &Request<'_>, sequence: u64) -> Option<Route> {
        match (&self.router, request.pin) {
            (Some(router), _) => Some(router.route(&request.key(sequence))),
            (None, Some(version)) => Some(Route::new(version, Role::Pinned, table.generation)),
            (None, None) => Some(Route::new(table.current?, Role::Active, table.generation)),
        }
    }

    pub(crate) fn swap(
        &self,
        version: VersionNumber,
        source: VersionSource<M>,
    ) -> Result<(), HostError> {
        self.build(version, source, Use::Current)?;
        Ok(())
    }

    fn build(
        &self,
        number: VersionNumber,
        source: VersionSource<M>,
        in_use: Use,
    ) -> Result<(), HostError> {
        self.reserve(number)?;
        let ledger = Ledger {
            version: number,
            time: self.time.clone(),
            router: self.router.clone(),
            log: self.log.clone(),
            counters: Counters::default(),
            latencies: Mutex::new(Counted::new()),
        };
        let built = prepare::build(ledger, &source, &self.options, &self.warm_up, &self.shadows)
            .and_then(|version| prepare::start(&version).map(|threads| (version, threads)));
        let mut changes = self.changes.lock();
        changes.warming.retain(|warming| *warming != number);
        let (version, threads) = built?;
        changes.threads.extend(threads);
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
        self.table.store(Arc::new(Table { current, generation: table.generation + 1, versions }));
        drop(table);
        drop(changes);
        before.inspect(|before| self.retire(*before));
        Ok(())
    }

    /// Takes a place for a version that is about to be built.
    fn reserve(&self, version: VersionNumber) -> Result<(), HostError> {
        let mut changes = self.changes.lock();
        changes.reap();
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
        let table = self.table.load();
        let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
        let held: Vec<_> = table.versions.iter().cloned().chain(leaving).collect();
        let mut versions: Vec<_> = held.iter().map(|version| describe(version)).collect();
        versions.extend(changes.warming.iter().map(|&version| VersionHealth {
            version,
            health: Health {
                lifecycle: Lifecycle::Warming,
                replicas: self.options.replicas,
                ..Health::ABSENT
            },
            replicas: Vec::new(),
        }));
        versions.sort_by_key(|version| version.version);
        let is_draining = self.is_draining.load(Ordering::Acquire);
        let can_answer = match (&self.router, table.current) {
            (None, current) => current
                .and_then(|current| table.find(current))
                .is_some_and(|it| it.health().is_ready()),
            (Some(_), _) => table.versions.iter().any(|version| version.health().is_ready()),
        };
        let is_live = !is_draining || held.iter().any(|version| version.queue.lock().open > 0);
        ServerHealth { is_live, is_ready: can_answer && !is_draining, versions }
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
    /// Joins the threads that have ended, and forgets the versions that are gone.
    fn reap(&mut self) {
        let (ended, working) =
            std::mem::take(&mut self.threads).into_iter().partition(|thread| thread.is_finished());
        self.threads = working;
        join(ended);
        self.leaving.retain(|version| version.strong_count() > 0);
    }
}

/// Waits for threads to end; a thread does not wait for itself.
fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.thread().id() != std::thread::current().id() {
            // A panic of a replica's thread has nobody left to tell: its callers were told when their requests were dropped.
            let _ = thread.join();
        }
    }
}

fn describe<M: ?Sized + Servable>(version: &Version<M>) -> VersionHealth {
    let replicas = version.served.iter().enumerate();
    VersionHealth {
        version: version.ledger.version,
        health: version.health(),
        replicas: replicas
            .map(|(replica, served)| ReplicaHealth {
                replica,
                requests: served.load(Ordering::Relaxed),
            })
            .collect(),
    }
}

impl<M: ?Sized + Servable + 'static> Host<M> for Shared<M> {
    fn prepare(&self, version: VersionNumber, source: VersionSource<M>) -> Result<(), HostError> {
        self.build(version, source, Use::Named)
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
                generation: table.generation + 1,
                versions,
            }));
            changes.leaving.push(Arc::downgrade(&retired));
            retired.close();
        }
        changes.reap();
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
        join(std::mem::take(&mut changes.threads));
    }
}

impl<M: ?Sized + Servable> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.table.load().versions).finish()
    }
}
