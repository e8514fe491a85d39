//! What sinks and stores do wrong, and what becomes of alerts then.

use super::tests::{HOUR, MINUTE, alert};
use super::*;
use crate::{Circuit, MemoryAlertStore, MemorySink, SinkSettings};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mlp_core::{AlertStatus, ManualClock, Notification, Severity, SinkError, Timestamp};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const SECOND: Duration = Duration::from_secs(1);

/// Hangs in every call until it is let go, and says what it was called with.
#[derive(Debug)]
struct Hanging {
    called: Sender<Notification>,
    let_go: Receiver<()>,
}

impl AlertSink for Hanging {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.called.send(notification.clone()).unwrap();
        // An end of the channel that is gone lets go as well.
        self.let_go.recv().ok();
        Ok(())
    }
}

fn hanging() -> (Arc<Hanging>, Receiver<Notification>, Sender<()>) {
    let (called, calls) = unbounded();
    let (go, let_go) = bounded(0);
    (Arc::new(Hanging { called, let_go }), calls, go)
}

/// Fails with this error for as long as it is told to.
#[derive(Debug, Default)]
struct Failing {
    failures: AtomicUsize,
    calls: AtomicUsize,
    after: Option<Duration>,
    heard: MemorySink,
}

impl Failing {
    fn times(failures: usize) -> Arc<Self> {
        Arc::new(Self { failures: AtomicUsize::new(failures), ..Self::default() })
    }
}

impl AlertSink for Failing {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let left = self.failures.load(Ordering::SeqCst);
        if left == 0 {
            return self.heard.deliver(notification);
        }
        self.failures.store(left - 1, Ordering::SeqCst);
        Err(SinkError::Retry { after: self.after, source: "503".into() })
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()))
}

fn fire(manager: &AlertManager, name: &str, severity: Severity) {
    manager.update(alert(name, "a", severity, AlertStatus::Firing)).unwrap();
}

fn end(manager: &AlertManager, name: &str, severity: Severity) {
    manager.update(alert(name, "a", severity, AlertStatus::Resolved)).unwrap();
}

/// Pages go to both sinks.
fn both(first: &str, second: &str) -> AlertConfig {
    AlertConfig::new(second).with_route(AlertRoute::of(Severity::P0, [first, second]))
}

use super::super::AlertRoute;

#[test]
fn a_sink_that_hangs_delays_no_other_and_its_page_is_tried_again() {
    let (stuck, calls, go) = hanging();
    let other = Arc::new(MemorySink::new());
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 2] = [("stuck", stuck), ("other", other.clone())];
    let config =
        both("stuck", "other").with_sink("stuck", SinkSettings::default().with_timeout(MINUTE));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    let first = calls.recv_timeout(5 * SECOND).unwrap();
    assert!(!manager.flush(SECOND / 10), "a call is under way");
    assert_eq!(other.take().len(), 1);
    for lost in 1..=3 {
        clock.advance(MINUTE);
        manager.tick();
        assert_eq!(manager.sinks()["stuck"].stuck, lost);
        clock.advance(MINUTE);
        manager.tick();
        let again = calls.recv_timeout(5 * SECOND).unwrap();
        assert_eq!(again.dedupe_key, first.dedupe_key, "the same page, by its key");
    }
    // Three calls are lost: the fourth is left alone, and no more threads are started.
    clock.advance(HOUR);
    manager.tick();
    manager.tick();
    let status = &manager.sinks()["stuck"];
    assert_eq!((status.stuck, status.waiting, status.failed, status.delivered), (3, 1, 3, 0));
    assert_eq!(status.last_error.as_deref(), Some("no answer within 60s"));
    fire(&manager, "disk", Severity::P0);
    manager.tick();
    assert_eq!(manager.sinks()["stuck"].waiting, 2, "pages are kept");
    drop(go);
    let deadline = Instant::now() + 20 * SECOND;
    let well = |status: &SinkStatus| status.stuck == 0 && status.waiting == 0;
    while !well(&manager.sinks()["stuck"]) {
        assert!(Instant::now() < deadline, "what hung has come back: {:?}", manager.sinks());
        clock.advance(MINUTE / 2);
        manager.tick();
        manager.flush(SECOND);
    }
    let heard: Vec<String> =
        calls.try_iter().map(|n| n.alerts[0].labels["alertname"].clone()).collect();
    assert!(heard.contains(&"disk".to_owned()), "{heard:?}");
}

#[test]
fn a_call_given_up_that_comes_back_before_the_next_trial_is_no_longer_stuck() {
    let (sink, calls, go) = hanging();
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("late", sink)];
    let config = AlertConfig::new("late")
        .with_route(AlertRoute::of(Severity::P0, ["late"]))
        .with_sink("late", SinkSettings::default().with_timeout(MINUTE));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    calls.recv_timeout(5 * SECOND).unwrap();
    clock.advance(MINUTE);
    manager.tick();
    assert_eq!(manager.sinks()["late"].stuck, 1);
    go.send(()).unwrap();
    let deadline = Instant::now() + 20 * SECOND;
    while manager.sinks()["late"].stuck > 0 {
        assert!(Instant::now() < deadline, "{:?}", manager.sinks());
        std::thread::yield_now();
    }
    drop(go);
    clock.advance(MINUTE);
    manager.tick();
    assert!(manager.flush(20 * SECOND));
    let status = &manager.sinks()["late"];
    assert_eq!((status.stuck, status.waiting, status.failed, status.delivered), (0, 0, 1, 1));
}

#[test]
fn five_failures_in_a_row_open_the_circuit_and_a_page_does_not_wait_for_long() {
    let sink = Failing::times(7);
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let config = AlertConfig::new("chat").with_route(AlertRoute::of(Severity::P0, ["chat"]));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "slow", Severity::P2);
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(5 * SECOND);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::Closed);
    for _ in 0..4 {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(5 * SECOND);
    }
    assert_eq!(sink.calls.load(Ordering::SeqCst), 5);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::Open);
    clock.advance(MINUTE);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::HalfOpen, "the next call is a trial");
    manager.tick();
    manager.flush(5 * SECOND);
    assert_eq!(
        (sink.calls.load(Ordering::SeqCst), manager.sinks()["chat"].circuit),
        (6, Circuit::Open)
    );
    // Now it would wait for some 32 s; after seven failures for a minute, but a page waits half a minute at most.
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(5 * SECOND);
    assert_eq!(sink.calls.load(Ordering::SeqCst), 7);
    fire(&manager, "down", Severity::P0);
    clock.advance(MINUTE / 2);
    manager.tick();
    manager.flush(5 * SECOND);
    let heard: Vec<Severity> = sink.heard.take().iter().map(|n| n.severity).collect();
    assert_eq!(heard, [Severity::P0, Severity::P2], "the page first");
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::Closed);
}

#[test]
fn a_receiver_that_asks_to_wait_is_left_alone_even_with_a_page() {
    let sink = Arc::new(Failing {
        failures: AtomicUsize::new(1),
        after: Some(10 * MINUTE),
        ..Failing::default()
    });
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let config = AlertConfig::new("chat").with_route(AlertRoute::of(Severity::P0, ["chat"]));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    manager.flush(5 * SECOND);
    fire(&manager, "disk", Severity::P0);
    for _ in 0..9 {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(5 * SECOND);
    }
    assert_eq!(sink.calls.load(Ordering::SeqCst), 1);
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(5 * SECOND);
    assert_eq!(sink.heard.take().len(), 2);
}

#[test]
fn beyond_the_rate_limit_one_summary_is_told_and_nothing_is_lost_and_pages_pass() {
    let chat = Arc::new(MemorySink::new());
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", chat.clone())];
    let settings = SinkSettings::default().with_rate_limit(2, HOUR);
    let mut config = AlertConfig::new("chat").with_sink("chat", settings).without_escalation();
    config.default_route = config.default_route.with_group_wait(Duration::ZERO);
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        fire(&manager, name, Severity::P2);
        manager.flush(5 * SECOND);
    }
    fire(&manager, "down", Severity::P0);
    manager.flush(5 * SECOND);
    let names = |told: Vec<Notification>| -> Vec<String> {
        told.iter().map(|n| format!("{} {}", n.alerts[0].labels["alertname"], n.status)).collect()
    };
    let told = chat.take();
    let summary = told[2].alerts[0].summary.clone();
    assert_eq!(
        names(told),
        ["a firing", "b firing", "NotificationsHeldBack firing", "down firing"]
    );
    assert!(
        summary.starts_with("1 notifications of 1 alerts wait, for more than 2 in 3600s"),
        "{summary}"
    );
    assert!(manager.sinks()["chat"].held_back);
    for _ in 0..3 {
        clock.advance(HOUR);
        manager.tick();
        manager.flush(5 * SECOND);
    }
    let told = names(chat.take());
    assert_eq!(told, ["c firing", "d firing", "e firing", "NotificationsHeldBack resolved"]);
    assert!(!manager.sinks()["chat"].held_back);
}

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
    manager.flush(5 * SECOND);
    assert_eq!(pager.take().len(), 1);
    drop(manager);
    clock.advance(10 * MINUTE);
    let (manager, pager) = open(&store, &clock);
    fire(&manager, "down", Severity::P0);
    manager.tick();
    manager.flush(5 * SECOND);
    assert_eq!(pager.take(), []);
    assert_eq!(manager.silences().len(), 1);
    clock.advance(HOUR);
    end(&manager, "down", Severity::P0);
    manager.tick();
    manager.flush(5 * SECOND);
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
    manager.flush(5 * SECOND);
    assert_eq!(pager.take().len(), 1);
    drop(manager);
    clock.set_wall(Timestamp::UNIX_EPOCH);
    let (manager, pager) = open(&store, &clock);
    manager.flush(5 * SECOND);
    assert_eq!(pager.take(), []);
    clock.advance(4 * HOUR);
    manager.tick();
    manager.flush(5 * SECOND);
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
    manager.flush(5 * SECOND);
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
    manager.flush(5 * SECOND);
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
    later.flush(5 * SECOND);
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
        manager.flush(5 * SECOND);
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

#[test]
fn silences_are_bounded() {
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("log", Arc::new(MemorySink::new()))];
    let manager = AlertManager::new(AlertConfig::new("log"), sinks, clock()).unwrap();
    let silence =
        || manager.silence(Matcher::all().with_label("a", "b"), HOUR, "kim".repeat(1_000_000), "");
    for _ in 0..1_000 {
        silence().unwrap();
    }
    assert!(matches!(
        silence(),
        Err(MonitorError::LimitExceeded { what: "silences", limit: 1_000 })
    ));
    assert_eq!(manager.silences()[0].by.chars().count(), 1_024);
}

#[test]
fn threads_that_raise_and_clear_leave_receivers_with_the_truth() {
    let pager = Arc::new(MemorySink::new());
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let mut config = AlertConfig::new("pager");
    config.default_route =
        config.default_route.with_group_wait(Duration::ZERO).with_group_interval(Duration::ZERO);
    config.default_route = config.default_route.with_group_by(["alertname", "host"]);
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let manager = &manager;
            scope.spawn(move || {
                let host = worker.to_string();
                for _ in 0..100 {
                    manager
                        .update(alert("slow", &host, Severity::P1, AlertStatus::Firing))
                        .unwrap();
                    manager
                        .update(alert("slow", &host, Severity::P1, AlertStatus::Resolved))
                        .unwrap();
                }
            });
        }
    });
    // A call under way while the clock jumps would have had its time, and be tried again later.
    assert!(manager.flush(10 * SECOND));
    clock.advance(MINUTE);
    manager.tick();
    assert!(manager.flush(10 * SECOND));
    assert_eq!(manager.incidents(), []);
    for worker in 0..4 {
        let of = |n: &Notification| n.alerts[0].labels["host"] == worker.to_string();
        let told: Vec<AlertStatus> =
            pager.notifications().iter().filter(|n| of(n)).map(|n| n.status).collect();
        assert_eq!(
            (told.first(), told.last()),
            (Some(&AlertStatus::Firing), Some(&AlertStatus::Resolved))
        );
    }
}

#[test]
fn a_ticker_lets_time_pass_until_it_is_dropped() {
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let mut config = AlertConfig::new("pager");
    config.default_route = config.default_route.with_group_wait(SECOND / 20);
    let clock = Arc::new(mlp_core::SystemClock::new());
    let manager = Arc::new(AlertManager::new(config, sinks, clock).unwrap());
    assert!(manager.ticker(Duration::ZERO).is_err());
    let ticker = manager.ticker(SECOND / 100).unwrap();
    fire(&manager, "slow", Severity::P1);
    let deadline = Instant::now() + 10 * SECOND;
    while pager.notifications().is_empty() && Instant::now() < deadline {
        std::thread::sleep(SECOND / 100);
    }
    assert_eq!(pager.take().len(), 1);
    drop(ticker);
    assert_eq!(Arc::strong_count(&manager), 1, "its thread is gone");
}
