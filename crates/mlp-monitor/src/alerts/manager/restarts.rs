//! What survives a restart, what a store does wrong, and what becomes of alerts then.

use super::faults::{Failing, clock, end, fire, hanging};
use super::tests::{HOUR, MINUTE, alert};
use super::*;
use crate::{AlertRoute, MemoryAlertStore, MemorySink, SinkSettings};
use crossbeam_channel::{Receiver, Sender, bounded};
use mlp_core::{AlertStatus, ManualClock, Notification, Severity, Timestamp};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A store that fails as long as it is told to.
#[derive(Debug, Default)]
struct Flawed {
    store: MemoryAlertStore,
    failures: AtomicU64,
}

impl Flawed {
    fn fails(&self) -> std::result::Result<(), StoreError> {
        match self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        {
            Ok(_) => Err(StoreError::StorageFull),
            Err(_) => Ok(()),
        }
    }
}

impl AlertStore for Flawed {
    fn load(&self) -> std::result::Result<AlertRows, StoreError> {
        self.store.load()
    }

    fn take_over(&self) -> std::result::Result<(u64, AlertRows), StoreError> {
        self.store.take_over()
    }

    fn apply(
        &self,
        epoch: u64,
        changes: &[crate::AlertChange],
    ) -> std::result::Result<(), StoreError> {
        self.fails()?;
        self.store.apply(epoch, changes)
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> std::result::Result<(), StoreError> {
        self.fails()?;
        self.store.replace(epoch, rows)
    }
}

fn open(store: &Arc<Flawed>, clock: &Arc<ManualClock>) -> (AlertManager, Arc<MemorySink>) {
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    (AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap(), pager)
}

#[test]
fn a_restart_pages_nobody_twice_and_forgets_no_silence() {
    let (store, clock) = (Arc::new(Flawed::default()), clock());
    let (manager, pager) = open(&store, &clock);
    fire(&manager, "down", Severity::P0);
    manager.silence(Matcher::all().with_label("alertname", "disk"), HOUR, "kim", "swap").unwrap();
    fire(&manager, "disk", Severity::P0);
    manager.flush(MINUTE);
    assert_eq!(pager.take().len(), 1);
    drop(manager);
    clock.advance(10 * MINUTE);
    let (manager, pager) = open(&store, &clock);
    fire(&manager, "down", Severity::P0);
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(pager.take(), []);
    assert_eq!(manager.silences().len(), 1);
    clock.advance(HOUR);
    end(&manager, "down", Severity::P0);
    manager.tick();
    manager.flush(MINUTE);
    let told: Vec<AlertStatus> = pager.take().iter().map(|n| n.status).collect();
    assert_eq!(
        told,
        [AlertStatus::Resolved, AlertStatus::Firing],
        "the end of one, and the other now that its silence is over"
    );
}

#[test]
fn a_restart_by_a_wall_clock_that_was_turned_back_fires_and_resolves_nothing() {
    let (store, clock) = (Arc::new(Flawed::default()), clock());
    let (manager, pager) = open(&store, &clock);
    fire(&manager, "down", Severity::P0);
    manager.flush(MINUTE);
    assert_eq!(pager.take().len(), 1);
    drop(manager);
    clock.set_wall(Timestamp::UNIX_EPOCH);
    let (manager, pager) = open(&store, &clock);
    manager.flush(MINUTE);
    assert_eq!(pager.take(), []);
    clock.advance(4 * HOUR);
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(
        pager.take().len(),
        1,
        "its repeat is due four hours later by the manager's own time"
    );
}

#[test]
fn a_store_that_fails_stops_no_page_and_is_made_good_later() {
    let (store, clock) = (Arc::new(Flawed::default()), clock());
    let (manager, pager) = open(&store, &clock);
    store.failures.store(3, Ordering::SeqCst);
    fire(&manager, "down", Severity::P0);
    manager.flush(MINUTE);
    assert_eq!(pager.take().len(), 1);
    assert_eq!(manager.store_fault().as_deref(), Some("the storage is full"));
    let mut metrics = crate::Exposition::new();
    manager.expose(&mut metrics).unwrap();
    assert!(metrics.into_text().contains("\nmlp_alert_store_faulty 1\n"));
    manager.tick();
    manager.tick();
    assert!(manager.store_fault().is_some(), "it failed twice more");
    manager.tick();
    assert_eq!(manager.store_fault(), None);
    drop(manager);
    let (manager, pager) = open(&store, &clock);
    manager.flush(MINUTE);
    assert_eq!((pager.take().len(), manager.incidents().len()), (0, 1), "it is known, and told");
}

#[test]
fn of_two_managers_on_one_store_only_the_later_goes_on() {
    let (store, clock) = (Arc::new(Flawed::default()), clock());
    let (earlier, old_pager) = open(&store, &clock);
    let (later, pager) = open(&store, &clock);
    for _ in 0..2 {
        let refused = earlier.update(alert("down", "a", Severity::P0, AlertStatus::Firing));
        assert!(
            matches!(refused, Err(MonitorError::Store(StoreError::Conflict { .. }))),
            "{refused:?}"
        );
    }
    assert!(earlier.silence(Matcher::all().with_label("a", "b"), HOUR, "kim", "").is_err());
    clock.advance(HOUR);
    earlier.tick();
    assert_eq!(old_pager.take(), []);
    fire(&later, "down", Severity::P0);
    later.flush(MINUTE);
    assert_eq!(pager.take().len(), 1);
}

#[test]
fn what_waited_for_a_sink_that_is_no_more_goes_to_the_default_route() {
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let down = Failing::times(usize::MAX);
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("old pager", down)];
    let manager =
        AlertManager::open(AlertConfig::new("old pager"), sinks, clock.clone(), store.clone())
            .unwrap();
    fire(&manager, "down", Severity::P0);
    clock.advance(MINUTE);
    manager.tick();
    drop(manager);
    for expected in [1, 0] {
        let pager = Arc::new(MemorySink::new());
        let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
        let manager =
            AlertManager::open(AlertConfig::new("pager"), sinks, clock.clone(), store.clone())
                .unwrap();
        manager.flush(MINUTE);
        assert_eq!(pager.take().len(), expected);
    }
}

#[test]
fn what_is_damaged_in_the_store_is_named() {
    let store = Arc::new(MemoryAlertStore::new());
    let (epoch, _) = store.take_over().unwrap();
    for (key, text) in [
        ("incident/zzz", "{}"),
        ("group/a", "{\"route\": 7}"),
        ("meta", "[]"),
        ("waiting/00000000000000000001/pager", "no"),
        ("waiting/7/pager", "no"),
        ("waiting/+/pager", "{}"),
        ("waiting/00000000000000000001", "{}"),
        ("undelivered/x/pager", "{}"),
        ("held-back/00000000000000000000/pager", "{"),
    ] {
        store.replace(epoch, &[(key.to_owned(), text.to_owned())].into()).unwrap();
        let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", Arc::new(MemorySink::new()))];
        let kept = Arc::new(MemoryAlertStore::new());
        let (own, _) = kept.take_over().unwrap();
        kept.replace(own, &[(key.to_owned(), text.to_owned())].into()).unwrap();
        let error =
            AlertManager::open(AlertConfig::new("pager"), sinks, clock(), kept).unwrap_err();
        let MonitorError::Store(StoreError::Corrupt { what, .. }) = error else {
            panic!("{error:?}")
        };
        assert!(what.contains(key), "{what}");
    }
}

/// The rows of a manager with one page that a sink has heard and one that waits.
fn rows() -> AlertRows {
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let pager = Failing::times(0);
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let manager = AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    manager.flush(MINUTE);
    pager.failures.store(usize::MAX, Ordering::SeqCst);
    fire(&manager, "disk", Severity::P0);
    drop(manager);
    store.load().unwrap()
}

#[test]
fn a_row_without_the_row_that_it_needs_is_named_and_the_manager_that_runs_goes_on() {
    let rows = rows();
    let groups: Vec<&String> = rows.keys().filter(|key| key.starts_with("group/")).collect();
    assert_eq!(groups.len(), 2);
    for group in groups {
        let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
        let (epoch, _) = store.take_over().unwrap();
        let mut damaged = rows.clone();
        damaged.remove(group);
        store.replace(epoch, &damaged).unwrap();
        let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", Arc::new(MemorySink::new()))];
        let opened = AlertManager::open(AlertConfig::new("pager"), sinks, clock, store.clone());
        let Err(MonitorError::Store(StoreError::Corrupt { what, reason })) = opened else {
            panic!("{opened:?}")
        };
        assert!(what.contains("incident/") && reason.contains(&format!("{group:?}")), "{reason}");
        store.apply(epoch, &[]).expect("nobody was superseded by a manager that cannot start");
    }
    // An incident that is missing is an incident less.
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let (epoch, _) = store.take_over().unwrap();
    let without = |(key, _): &(String, String)| !key.starts_with("incident/");
    store.replace(epoch, &rows.into_iter().filter(without).collect()).unwrap();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", Arc::new(MemorySink::new()))];
    let manager = AlertManager::open(AlertConfig::new("pager"), sinks, clock, store).unwrap();
    manager.tick();
    assert_eq!(manager.incidents(), []);
}

#[test]
fn a_page_that_waits_for_a_sink_that_was_renamed_goes_where_its_group_goes_now() {
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let page =
        |sink: &str| AlertConfig::new("log").with_route(AlertRoute::of(Severity::P0, [sink]));
    let down = Failing::times(usize::MAX);
    let sinks: [(&str, Arc<dyn AlertSink>); 2] =
        [("pagerduty", down), ("log", Arc::new(MemorySink::new()))];
    let manager = AlertManager::open(page("pagerduty"), sinks, clock.clone(), store.clone());
    let manager = manager.unwrap();
    fire(&manager, "down", Severity::P0);
    manager.flush(MINUTE);
    drop(manager);
    // The route has another name as well: then what it picks decides.
    for (config, forget_group) in [(page("pager"), false), (page("pager"), true)] {
        let kept = Arc::new(MemoryAlertStore::new());
        let (epoch, _) = kept.take_over().unwrap();
        let mut rows = store.load().unwrap();
        if forget_group {
            rows.retain(|key, _| !key.starts_with("group/") && !key.starts_with("incident/"));
        }
        kept.replace(epoch, &rows).unwrap();
        let [pager, log] = [(); 2].map(|()| Arc::new(MemorySink::new()));
        let sinks: [(&str, Arc<dyn AlertSink>); 2] =
            [("pager", pager.clone()), ("log", log.clone())];
        let manager = AlertManager::open(config, sinks, clock.clone(), kept.clone()).unwrap();
        manager.flush(MINUTE);
        assert_eq!((pager.take().len(), log.take().len()), (1, 0), "it is a page");
        drop(manager);
        assert!(!kept.load().unwrap().keys().any(|key| key.starts_with("waiting/")));
    }
}

#[test]
fn what_a_sink_that_is_no_more_will_never_get_stays_visible() {
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let (epoch, _) = store.take_over().unwrap();
    let page = rows().into_iter().find(|(key, _)| key.starts_with("waiting/")).unwrap();
    let notification: Notification = serde_json::from_str(&page.1).unwrap();
    let lost = Undelivered { notification, reason: "the receiver answered 400".to_owned() };
    let key = "undelivered/00000000000000000007/old".to_owned();
    store.replace(epoch, &[(key.clone(), serde_json::to_string(&lost).unwrap())].into()).unwrap();
    for _ in 0..2 {
        let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", Arc::new(MemorySink::new()))];
        let config = AlertConfig::new("pager");
        let manager = AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap();
        let shown = manager.undelivered("pager");
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].notification, lost.notification);
        assert_eq!(shown[0].reason, "to \"old\", which is no more: the receiver answered 400");
        assert!(!store.load().unwrap().contains_key(&key), "it is kept once");
    }
}

/// A store whose writes panic, or wait until they are let go.
#[derive(Debug)]
struct Wild {
    store: MemoryAlertStore,
    panics: AtomicBool,
    waits: AtomicBool,
    called: Sender<()>,
    let_go: Receiver<()>,
}

impl Wild {
    fn begin(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "the store fell over");
        if self.waits.load(Ordering::SeqCst) {
            self.called.send(()).ok();
            self.let_go.recv().ok();
        }
    }
}

impl AlertStore for Wild {
    fn load(&self) -> std::result::Result<AlertRows, StoreError> {
        self.store.load()
    }

    fn take_over(&self) -> std::result::Result<(u64, AlertRows), StoreError> {
        self.store.take_over()
    }

    fn apply(
        &self,
        epoch: u64,
        changes: &[crate::AlertChange],
    ) -> std::result::Result<(), StoreError> {
        self.begin();
        self.store.apply(epoch, changes)
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> std::result::Result<(), StoreError> {
        self.begin();
        self.store.replace(epoch, rows)
    }
}

fn wild() -> (Arc<Wild>, Receiver<()>, Sender<()>) {
    let ((called, calls), (go, let_go)) = (bounded(100), bounded(0));
    let [panics, waits] = [false, false].map(AtomicBool::new);
    let store = MemoryAlertStore::new();
    (Arc::new(Wild { store, panics, waits, called, let_go }), calls, go)
}

#[test]
fn a_store_that_panics_stops_no_page_and_is_made_good_later() {
    let ((store, _, _go), clock) = (wild(), clock());
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let manager = AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap();
    store.panics.store(true, Ordering::SeqCst);
    for name in ["down", "disk"] {
        fire(&manager, name, Severity::P0);
        assert!(manager.flush(MINUTE));
    }
    assert_eq!(pager.take().len(), 2, "the thread of the sink goes on");
    assert_eq!(manager.store_fault().as_deref(), Some("panicked: the store fell over"));
    store.panics.store(false, Ordering::SeqCst);
    manager.tick();
    assert_eq!(manager.store_fault(), None);
    assert_eq!(store.load().unwrap().keys().filter(|key| key.starts_with("incident/")).count(), 2);
}

#[test]
fn a_store_that_is_slow_makes_nobody_wait_who_only_looks() {
    let ((store, calls, go), clock) = (wild(), clock());
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let manager = AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap();
    store.waits.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let update = scope.spawn(|| fire(&manager, "down", Severity::P0));
        calls.recv_timeout(MINUTE).unwrap();
        // The write is under way and does not come back: this thread is not held up by it.
        assert_eq!(manager.incidents().len(), 1);
        assert_eq!(manager.sinks()["pager"].waiting, 1);
        assert_eq!(manager.store_fault(), None);
        assert_eq!(pager.take(), [], "nobody hears of what is not kept yet");
        assert!(!update.is_finished(), "whoever changed something waits until it is kept");
        store.waits.store(false, Ordering::SeqCst);
        drop(go);
        update.join().unwrap();
    });
    assert!(manager.flush(MINUTE));
    assert_eq!(pager.take().len(), 1);
}

#[test]
fn a_store_that_is_slowly_made_good_makes_nobody_wait_and_lacks_nothing_then() {
    let ((store, calls, go), clock) = (wild(), clock());
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let manager = AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap();
    store.panics.store(true, Ordering::SeqCst);
    fire(&manager, "down", Severity::P0);
    assert!(manager.flush(MINUTE));
    assert_eq!(pager.take().len(), 1);
    store.panics.store(false, Ordering::SeqCst);
    store.waits.store(true, Ordering::SeqCst);
    let (done, is_done) = bounded(1);
    std::thread::scope(|scope| {
        let tick = scope.spawn(|| manager.tick());
        calls.recv_timeout(MINUTE).unwrap();
        // The whole state is being written and does not come back.
        let others = scope.spawn(|| {
            assert_eq!((manager.incidents().len(), manager.silences().len()), (1, 0));
            fire(&manager, "disk", Severity::P0);
            end(&manager, "down", Severity::P0);
            assert!(manager.flush(MINUTE));
            done.send(manager.sinks()["pager"].waiting).unwrap();
        });
        let waiting = is_done.recv_timeout(MINUTE / 6);
        let told = pager.take().len();
        store.waits.store(false, Ordering::SeqCst);
        drop(go);
        tick.join().unwrap();
        others.join().unwrap();
        assert_eq!((waiting, told), (Ok(0), 1), "the page was told meanwhile");
    });
    assert_eq!(manager.store_fault(), None);
    // What changed meanwhile is kept as well.
    let kept = store.load().unwrap();
    let mut own = State::default();
    std::mem::swap(&mut own, &mut manager.state.lock());
    let rows = |mut state: State| {
        let rows = state.take_rows(Scope::All, manager.timeline.moment()).into_iter();
        rows.filter(|(key, _)| key != "meta").collect::<Vec<_>>()
    };
    assert_eq!(rows(State::load(&manager.config, &kept).unwrap().0), rows(own));
}

#[test]
fn after_two_hours_down_nothing_escalates_before_it_can_be_said_to_be_over() {
    let (store, clock) = (Arc::new(Flawed::default()), clock());
    let (manager, pager) = open(&store, &clock);
    for name in ["slow", "late"] {
        fire(&manager, name, Severity::P1);
    }
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(pager.take().len(), 2);
    drop(manager);
    clock.advance(2 * HOUR);
    let (manager, pager) = open(&store, &clock);
    for _ in 0..4 {
        clock.advance(MINUTE);
        manager.tick();
    }
    end(&manager, "slow", Severity::P1);
    manager.flush(MINUTE);
    let told: Vec<(AlertStatus, Severity)> =
        pager.take().iter().map(|n| (n.status, n.severity)).collect();
    assert_eq!(told, [(AlertStatus::Resolved, Severity::P1)]);
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(pager.take()[0].severity, Severity::P0, "the other one still fires: it escalates");
}

#[test]
fn a_summary_of_what_is_held_back_is_resolved_after_a_restart() {
    let (store, clock) = (Arc::new(MemoryAlertStore::new()), clock());
    let open = |chat: Arc<dyn AlertSink>| {
        let sinks = [("chat", chat)];
        let settings = SinkSettings::default().with_rate_limit(1, HOUR);
        let mut config = AlertConfig::new("chat").with_sink("chat", settings).without_escalation();
        config.default_route = config.default_route.with_group_wait(Duration::ZERO);
        AlertManager::open(config, sinks, clock.clone(), store.clone()).unwrap()
    };
    let names = |told: Vec<Notification>| -> Vec<String> {
        let name = |n: Notification| format!("{} {}", n.alerts[0].labels["alertname"], n.status);
        told.into_iter().map(name).collect()
    };
    let chat = Arc::new(MemorySink::new());
    let manager = open(chat.clone());
    for name in ["a", "b"] {
        fire(&manager, name, Severity::P2);
        manager.flush(MINUTE);
    }
    assert_eq!(names(chat.take()), ["a firing", "NotificationsHeldBack firing"]);
    drop(manager);
    clock.advance(2 * HOUR);
    // What waits is delivered as soon as the manager is open: the sink hangs until it was looked at.
    let (hangs, calls, go) = hanging();
    let manager = open(hangs);
    assert!(manager.sinks()["chat"].held_back);
    drop(go);
    assert!(manager.flush(MINUTE));
    let told = names(calls.try_iter().collect());
    assert_eq!(told, ["b firing", "NotificationsHeldBack resolved"]);
    drop(manager);
    let manager = open(chat.clone());
    assert!(manager.flush(MINUTE));
    assert_eq!((chat.take().len(), manager.sinks()["chat"].held_back), (0, false));
}
