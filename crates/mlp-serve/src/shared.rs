//! What all handles of a server share.

mod ending;
mod rolling;
mod table;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mlp_core::{
    Health, Host, HostError, Lifecycle, Panicked, PredictionId, PredictionLog, Role, Route, Router,
    Servable, VersionNumber, VersionSource, catch_panic,
};

use crate::admission::{Admitted, Arrival, Exchange, Place, Turned};
use crate::builder::{MakeCache, ServerBuilder};
use crate::error::ServeError;
use crate::gate::Gate;
use crate::health::{ServerHealth, VersionHealth};
use crate::identity::Identities;
use crate::ledger::{Call, Counters, Ledger, Tally, count};
use crate::numbers::Numbers;
use crate::options::ServeOptions;
use crate::prepare::{self, Context, WarmUp};
use crate::request::Request;
use crate::server::Settled;
use crate::sync::Mutex;
use crate::threads::Threads;
use crate::time::Time;
use crate::timer::Timer;
use crate::version::Version;
use table::Table;

pub(crate) struct Shared<M: ?Sized + Servable + 'static> {
    options: ServeOptions,
    time: Time,
    router: Option<Arc<dyn Router>>,
    log: Option<Arc<dyn PredictionLog>>,
    warm_up: WarmUp<M::Input>,
    cache: MakeCache<M::Output>,
    /// How many replicas a version gets.
    replicas: AtomicUsize,
    threads: Arc<Threads>,
    timer: Arc<Timer>,
    table: ArcSwap<Table<M>>,
    changes: Mutex<Changes<M>>,
    identities: Identities,
    is_draining: AtomicBool,
    shadows: Arc<Gate>,
    /// How many requests reached no version.
    turned_away: AtomicU64,
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
    error: ServeError,
    call: Call,
    version: Arc<Version<M>>,
}

impl<M: ?Sized + Servable> Full<M> {
    /// Reports that the request was refused; what its caller is told.
    pub(crate) fn refuse(self, exchange: &mut Exchange<M>) -> Admitted<M::Output> {
        exchange.fail(self.version.refuse(&self.call, self.error))
    }
}

/// What changes of the table need to know.
struct Changes<M: ?Sized + Servable> {
    warming: Vec<VersionNumber>,
    leaving: Vec<Weak<Version<M>>>,
    /// The version that is being rolled out.
    rolling: Option<VersionNumber>,
}

impl<M: ?Sized + Servable + 'static> Shared<M> {
    pub(crate) fn new(builder: ServerBuilder<M>) -> Self {
        let ServerBuilder { options, time, log, router, warm_up, cache } = builder;
        let replicas = options.replicas;
        let threads = Arc::<Threads>::default();
        Self {
            options,
            identities: Identities::new(&time),
            timer: Arc::new(Timer::new(time.clone(), Arc::clone(&threads))),
            time,
            router,
            log,
            warm_up,
            cache,
            replicas: AtomicUsize::new(replicas),
            threads,
            table: ArcSwap::from_pointee(Table::empty()),
            changes: Mutex::new(Changes {
                warming: Vec::new(),
                leaving: Vec::new(),
                rolling: None,
            }),
            is_draining: AtomicBool::new(false),
            shadows: Arc::default(),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Gives a request its identity, its number and its deadline.
    #[inline(always)] // As with `route`.
    pub(crate) fn enter(&self, request: &Request<'_>) -> Entry {
        let entered = self.time.monotonic();
        let (id, sequence) = self.identities.next(entered, request.sequence);
        let timeout = request.timeout.or(self.options.timeout);
        let deadline = timeout.map(|timeout| entered.saturating_add(timeout));
        Entry { id, sequence, entered, deadline }
    }

    /// Routes a request and hands it to its version. If that was retired meanwhile, it is routed once more, and again as long as versions
    /// come and go in between.
    #[inline(always)] // As with `route`: so a request stays where it is, which is a tenth of what it costs.
    pub(crate) fn admit(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        place: Place,
        exchange: &mut Exchange<M>,
    ) -> Result<Admitted<M::Output>, Box<Full<M>>> {
        let &Entry { id, sequence, entered, deadline } = entry;
        let mut missing = None;
        // The first state of the table is number 1.
        let mut seen = [0; 2];
        loop {
            if self.is_draining.load(Ordering::Acquire) {
                return Ok(self.turn_away(exchange, ServeError::Draining));
            }
            let table = self.table.load();
            // Twice in the same state of the table is enough; a new state may hold what the last one lacked.
            if seen == [table.generation; 2] {
                break;
            }
            seen = [seen[1], table.generation];
            let route = match self.route(&table, request, sequence) {
                Ok(Some(route)) => route,
                Ok(None) => break,
                Err(Panicked { message }) => {
                    let error = ServeError::RouterPanicked { message };
                    return Ok(self.turn_away(exchange, error));
                }
            };
            missing = Some(route.version);
            let Some(version) = table.find(route.version) else { continue };
            let call = Call { route, id, entered, deadline };
            let (priority, shadows) = (request.priority, table.shadows(&call.route));
            let exchange = &mut *exchange;
            let mut arrival =
                Arrival { call: &call, priority, place, exchange, rows: 0, key: None, shadows };
            match version.admit(&mut arrival) {
                Ok(admitted) => return Ok(admitted),
                Err(Turned::Away) => {}
                Err(Turned::Full(error)) => {
                    let version = Arc::clone(version);
                    return Err(Box::new(Full { error, call, version }));
                }
            }
        }
        let error = match self.is_draining.load(Ordering::Acquire) {
            true => ServeError::Draining,
            false => ServeError::NotReady { version: missing },
        };
        Ok(self.turn_away(exchange, error))
    }

    /// Tells a request that there is no version for it.
    #[cold]
    fn turn_away(&self, exchange: &mut Exchange<M>, error: ServeError) -> Admitted<M::Output> {
        count(&self.turned_away);
        exchange.fail(error)
    }

    /// The version for a request; none if there is none to choose.
    #[inline(always)] // It would be copied twice right after it is written, which the processor has to wait for.
    fn route(
        &self,
        table: &Table<M>,
        request: &Request<'_>,
        sequence: u64,
    ) -> Result<Option<Route>, Panicked> {
        if let Some(router) = &self.router {
            return catch_panic(|| router.route(&request.key(sequence))).map(Some);
        }
        let rolling = || table.rolling.filter(|it| it.takes(sequence)).map(|it| it.to);
        let (version, role) = match request.pin {
            Some(version) => (Some(version), Role::Pinned),
            None => (rolling().or(table.current), Role::Active),
        };
        Ok(version.map(|version| Route::new(version, role, table.generation)))
    }

    /// Whether a request that came now would find a version that is ready: each of those that answer in the active role (of those in any
    /// role, if none is active) the next few anonymous requests, whose numbers are not used up by this.
    fn can_answer(&self, table: &Table<M>) -> bool {
        let next = self.identities.next_sequence();
        let routes: Vec<_> = (next..next.wrapping_add(PROBES))
            .map_while(|sequence| self.route(table, &Request::new(), sequence).ok()?)
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
    ) -> Result<(), ServeError> {
        if self.router.is_some() {
            return Err(ServeError::Routed);
        }
        let replicas = self.replicas.load(Ordering::Relaxed);
        self.build(version, source, replicas, Use::Current)?;
        Ok(())
    }

    /// Puts a changed table in the place of the present one.
    fn change<T>(&self, change: impl FnOnce(&mut Table<M>) -> T) -> T {
        let _changes = self.changes.lock();
        self.put(change)
    }

    /// As [`change`](Self::change), for who holds the lock of changes.
    fn put<T>(&self, change: impl FnOnce(&mut Table<M>) -> T) -> T {
        let table = self.table.load();
        let mut changed = Table {
            current: table.current,
            rolling: table.rolling,
            generation: table.generation + 1,
            versions: table.versions.clone(),
        };
        let result = change(&mut changed);
        self.table.store(Arc::new(changed));
        result
    }

    /// Retires the version that is meant, if it is held.
    fn withdraw(&self, is_meant: impl Fn(&Arc<Version<M>>) -> bool) {
        let mut changes = self.changes.lock();
        let retired = self.table.load().versions.iter().find(|held| is_meant(held)).cloned();
        if let Some(retired) = &retired {
            let number = retired.ledger.version;
            self.put(|table| {
                table.versions.retain(|held| held.ledger.version != number);
                table.current = table.current.filter(|current| *current != number);
                table.rolling = table.rolling.filter(|rolling| rolling.to != number);
            });
            changes.leaving.push(Arc::downgrade(retired));
        }
        changes.reap();
        drop(changes);
        // Listeners hear of copies that it leaves to others: under no lock.
        retired.iter().for_each(|retired| retired.close());
        self.threads.reap();
    }

    /// Sets how many replicas each version has, those to come among them. A roll-out gives its versions theirs.
    pub(crate) fn scale_to(&self, replicas: usize) -> Result<(), ServeError> {
        let options = ServeOptions { replicas, ..self.options.clone() };
        options.check()?;
        self.replicas.store(replicas, Ordering::SeqCst);
        let table = self.table.load_full();
        let is_rolling = |version: VersionNumber| {
            table.rolling.is_some_and(|it| it.to == version || table.current == Some(version))
        };
        for version in table.versions.iter().filter(|it| !is_rolling(it.ledger.version)) {
            self.scale(version, replicas)?;
        }
        Ok(())
    }

    fn scale(&self, version: &Arc<Version<M>>, replicas: usize) -> Result<(), HostError> {
        match version.scale_to(replicas) {
            // One that was retired meanwhile needs none.
            Err(HostError::ShuttingDown) if !self.is_draining.load(Ordering::Acquire) => Ok(()),
            scaled => scaled,
        }
    }

    /// Gives a version as many replicas as are wanted by now. It must be where [`scale_to`](Self::scale_to) finds it.
    fn scale_as_wanted(&self, version: &Arc<Version<M>>) -> Result<(), HostError> {
        loop {
            let wanted = self.replicas.load(Ordering::SeqCst);
            self.scale(version, wanted)?;
            // Whoever has wanted others meanwhile may have scaled it before this did.
            if self.replicas.load(Ordering::SeqCst) == wanted {
                return Ok(());
            }
        }
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
    ) -> Result<Arc<Version<M>>, HostError> {
        self.reserve(number)?;
        // Whatever of it panics, its place is given back.
        let built = catch_panic(|| self.make(number, source, replicas))
            .unwrap_or_else(|it| Err(HostError::Build { version: number, source: it.into() }));
        let mut changes = self.changes.lock();
        changes.warming.retain(|warming| *warming != number);
        let version = built?;
        if self.is_draining.load(Ordering::Acquire) {
            drop(changes);
            version.close();
            return Err(HostError::ShuttingDown);
        }
        let before = self.put(|table| {
            table.versions.push(Arc::clone(&version));
            table.versions.sort_by_key(|version| version.ledger.version);
            if in_use != Use::Current {
                return Vec::new();
            }
            let rolling = table.rolling.take().map(|rolling| rolling.to);
            let before = [table.current.replace(number), rolling].into_iter().flatten();
            before.filter_map(|before| table.find(before).cloned()).collect()
        });
        drop(changes);
        before.iter().for_each(|before| self.withdraw(|held| Arc::ptr_eq(held, before)));
        if in_use == Use::Rolling {
            return Ok(version);
        }
        // It may have been scaled while it was built.
        let scaled = self.scale_as_wanted(&version);
        if scaled.is_err() && in_use == Use::Prepared {
            // Nothing is left of a version that could not be prepared.
            self.withdraw(|held| Arc::ptr_eq(held, &version));
        }
        scaled.map(|()| version)
    }

    /// Builds a version and starts its threads.
    fn make(
        &self,
        number: VersionNumber,
        source: VersionSource<M>,
        replicas: usize,
    ) -> Result<Arc<Version<M>>, HostError> {
        let ledger = Ledger {
            version: number,
            time: self.time.clone(),
            router: self.router.clone(),
            log: self.log.clone(),
            log_one_in: self.options.log_one_in,
            counters: Counters::default(),
            tally: Mutex::new(Tally::new()),
            timer: Arc::clone(&self.timer),
        };
        let context = Context {
            options: self.options.clone(),
            warm_up: self.warm_up.clone(),
            gate: Arc::clone(&self.shadows),
            threads: Arc::clone(&self.threads),
            cache: (self.cache)(&self.options),
        };
        let version = prepare::build(ledger, source, replicas, context)?;
        prepare::start(&version).map(|()| version)
    }

    /// Takes a place for a version that is about to be built. Versions that answer what they have accepted count until they have done so, and
    /// are waited for as long as that may take.
    fn reserve(&self, version: VersionNumber) -> Result<(), HostError> {
        let until = self.time.monotonic().saturating_add(self.options.drain_timeout);
        loop {
            self.threads.reap();
            let mut changes = self.changes.lock();
            changes.reap();
            let table = self.table.load();
            if self.is_draining.load(Ordering::Acquire) {
                return Err(HostError::ShuttingDown);
            }
            let busy: Vec<_> = changes.busy().map(|busy| busy.ledger.version).collect();
            let is_held = table.find(version).is_some() || changes.warming.contains(&version);
            if is_held {
                return Err(HostError::AlreadyPresent { version });
            }
            let (limit, held) = (self.options.max_versions, table.versions.len());
            let held = held + changes.warming.len();
            if held >= limit {
                return Err(HostError::TooManyVersions { limit });
            }
            if held + busy.len() < limit && !busy.contains(&version) {
                changes.warming.push(version);
                return Ok(());
            }
            drop(table);
            drop(changes);
            if self.threads.is_own() || self.time.monotonic() >= until {
                return Err(match busy.contains(&version) {
                    true => HostError::AlreadyPresent { version },
                    false => HostError::TooManyVersions { limit },
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn settle_shadows(&self, timeout: Duration) -> Settled {
        let until = self.time.monotonic().saturating_add(timeout);
        Settled { left: self.shadows.wait_until_empty(&self.time, Some(until)) }
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let mut held: Vec<_> = {
            let changes = self.changes.lock();
            let leaving = changes.leaving.iter().filter_map(Weak::upgrade);
            self.table.load().versions.iter().cloned().chain(leaving).collect()
        };
        held.sort_by_key(|version| version.ledger.version);
        Numbers {
            model: self.options.model.clone(),
            turned_away: self.turned_away.load(Ordering::Relaxed),
            versions: held.iter().map(|version| version.numbers()).collect(),
        }
    }

    pub(crate) fn server_health(&self) -> ServerHealth {
        let is_draining = self.is_draining.load(Ordering::Acquire);
        let (held, versions) = self.versions();
        let is_live = !is_draining || held.iter().any(|version| version.queue.lock().open > 0);
        ServerHealth { is_live, is_ready: !is_draining && self.is_ready(), versions }
    }

    fn is_ready(&self) -> bool {
        loop {
            let table = self.table.load_full();
            let can_answer = self.can_answer(&table);
            // A version that was exchanged meanwhile says nothing about the one that answers now.
            if can_answer || self.table.load().generation == table.generation {
                return can_answer;
            }
        }
    }

    /// The versions that are held, and how they and those to come are.
    fn versions(&self) -> (Vec<Arc<Version<M>>>, Vec<VersionHealth>) {
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
        (held, versions)
    }
}

/// What a version is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// To answer from now on, where there is no router.
    Current,
    /// To be there when a router or a pin names it.
    Prepared,
    /// To take over replica by replica: whoever rolls it out gives it those that it is to have.
    Rolling,
}

impl<M: ?Sized + Servable> Changes<M> {
    /// Forgets the versions that are gone.
    fn reap(&mut self) {
        self.leaving.retain(|version| version.strong_count() > 0);
    }

    /// The versions that still answer what they have accepted.
    fn busy(&self) -> impl Iterator<Item = Arc<Version<M>>> {
        let leaving = self.leaving.iter().filter_map(Weak::upgrade);
        leaving.filter(|version| version.queue.lock().open > 0)
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
        self.build(version, source, self.replicas.load(Ordering::Relaxed), Use::Prepared)?;
        Ok(())
    }

    fn health(&self, version: VersionNumber) -> Health {
        let (_, versions) = self.versions();
        let found = versions.iter().find(|it| it.version == version);
        found.map_or(Health::ABSENT, |it| it.health)
    }

    fn retire(&self, version: VersionNumber) {
        self.withdraw(|held| held.ledger.version == version);
    }
}

impl<M: ?Sized + Servable + 'static> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.table.load().versions).finish()
    }
}

#[cfg(all(test, not(mlp_loom)))]
mod tests {
    use super::*;
    use crate::server::Server;
    use mlp_core::ModelError;

    #[derive(Debug)]
    struct Echo;

    impl Servable for Echo {
        type Input = u64;
        type Output = u64;

        fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
            out.extend(batch);
            Ok(())
        }
    }

    #[test]
    fn threads_of_replicas_that_left_are_joined_when_it_is_scaled_again() {
        let options = ServeOptions::default().with_replicas(1);
        let source = VersionSource::shared(Arc::new(Echo));
        let server =
            Server::builder().with_options(options).fixed(VersionNumber(1), source).unwrap();
        for replicas in [5, 1, 5, 1, 5, 1] {
            server.scale_to(replicas).unwrap();
        }
        let threads = &server.shared.threads;
        let start = std::time::Instant::now();
        while threads.len() > 1 {
            assert!(start.elapsed() < Duration::from_secs(20), "{} are left", threads.len());
            std::thread::sleep(Duration::from_millis(1));
            server.scale_to(1).unwrap();
        }
    }
}
