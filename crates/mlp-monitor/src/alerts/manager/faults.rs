//! What sinks and stores do wrong, and what becomes of alerts then.

use super::tests::{HOUR, MINUTE, alert, patient};
use super::*;
use crate::{AlertRoute, Circuit, MemorySink, SinkSettings};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mlp_core::{AlertStatus, ManualClock, Notification, Severity, SinkError};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Hangs in every call until it is let go, and says what it was called with.
#[derive(Debug)]
pub(super) struct Hanging {
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

pub(super) fn hanging() -> (Arc<Hanging>, Receiver<Notification>, Sender<()>) {
    let (called, calls) = unbounded();
    let (go, let_go) = bounded(0);
    (Arc::new(Hanging { called, let_go }), calls, go)
}

/// Fails with this error for as long as it is told to.
#[derive(Debug, Default)]
pub(super) struct Failing {
    pub(super) failures: AtomicUsize,
    pub(super) calls: AtomicUsize,
    after: Option<Duration>,
    pub(super) heard: MemorySink,
}

impl Failing {
    pub(super) fn times(failures: usize) -> Arc<Self> {
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

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()))
}

pub(super) fn fire(manager: &AlertManager, name: &str, severity: Severity) {
    manager.update(alert(name, "a", severity, AlertStatus::Firing)).unwrap();
}

pub(super) fn end(manager: &AlertManager, name: &str, severity: Severity) {
    manager.update(alert(name, "a", severity, AlertStatus::Resolved)).unwrap();
}

/// Waits for what another thread does, for as long as a busy machine may need.
pub(super) fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + MINUTE;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(SECOND / 500);
    }
}

/// Pages go to both sinks.
fn both(first: &str, second: &str) -> AlertConfig {
    AlertConfig::new(second).with_route(AlertRoute::of(Severity::P0, [first, second]))
}

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
    let first = calls.recv_timeout(MINUTE).unwrap();
    assert!(!manager.flush(SECOND / 10), "a call is under way");
    wait_until(|| !other.notifications().is_empty());
    assert_eq!(other.take().len(), 1);
    for lost in 1..=3 {
        clock.advance(MINUTE);
        manager.tick();
        assert_eq!(manager.sinks()["stuck"].stuck, lost);
        clock.advance(MINUTE);
        manager.tick();
        let again = calls.recv_timeout(MINUTE).unwrap();
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
    let deadline = Instant::now() + MINUTE;
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
    calls.recv_timeout(MINUTE).unwrap();
    clock.advance(MINUTE);
    manager.tick();
    assert_eq!((manager.sinks()["late"].stuck, manager.sinks()["late"].waiting), (1, 1));
    go.send(()).unwrap();
    wait_until(|| manager.sinks()["late"].stuck == 0);
    // It was delivered after all, and is not delivered again.
    clock.advance(MINUTE);
    manager.tick();
    assert!(manager.flush(MINUTE));
    let status = &manager.sinks()["late"];
    assert_eq!((status.stuck, status.waiting, status.failed, status.delivered), (0, 0, 1, 1));
    assert_eq!(calls.try_iter().count(), 0);
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
    manager.flush(MINUTE);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::Closed);
    for _ in 0..4 {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(MINUTE);
    }
    assert_eq!(sink.calls.load(Ordering::SeqCst), 5);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::Open);
    clock.advance(MINUTE);
    assert_eq!(manager.sinks()["chat"].circuit, Circuit::HalfOpen, "the next call is a trial");
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(
        (sink.calls.load(Ordering::SeqCst), manager.sinks()["chat"].circuit),
        (6, Circuit::Open)
    );
    // Now it would wait for some 32 s; after seven failures for a minute, but a page waits half a minute at most.
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!(sink.calls.load(Ordering::SeqCst), 7);
    fire(&manager, "down", Severity::P0);
    clock.advance(MINUTE / 2);
    manager.tick();
    manager.flush(MINUTE);
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
    manager.flush(MINUTE);
    fire(&manager, "disk", Severity::P0);
    for _ in 0..9 {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(MINUTE);
    }
    assert_eq!(sink.calls.load(Ordering::SeqCst), 1);
    clock.advance(MINUTE);
    manager.tick();
    manager.flush(MINUTE);
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
        manager.flush(MINUTE);
    }
    fire(&manager, "down", Severity::P0);
    manager.flush(MINUTE);
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
        manager.flush(MINUTE);
    }
    let told = names(chat.take());
    assert_eq!(told, ["c firing", "d firing", "e firing", "NotificationsHeldBack resolved"]);
    assert!(!manager.sinks()["chat"].held_back);
}

#[test]
fn a_silence_of_everything_is_refused_however_it_is_said() {
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", Arc::new(MemorySink::new()))];
    let manager = AlertManager::new(AlertConfig::new("chat"), sinks, clock()).unwrap();
    let silence = |matcher| manager.silence(matcher, HOUR, "kim", "");
    let all = [Severity::P0, Severity::P1, Severity::P2, Severity::P3];
    let named = all.into_iter().fold(Matcher::all(), Matcher::with_severity);
    assert!(silence(Matcher::all()).is_err());
    assert!(silence(named.clone()).is_err(), "all four severities are everything");
    assert!(silence(named.with_label("host", "a")).is_ok());
    assert!(silence(all[1..].iter().copied().fold(Matcher::all(), Matcher::with_severity)).is_ok());
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
    assert!(manager.flush(MINUTE));
    clock.advance(MINUTE);
    manager.tick();
    assert!(manager.flush(MINUTE));
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
    wait_until(|| !pager.notifications().is_empty());
    assert_eq!(pager.take().len(), 1);
    drop(ticker);
    assert_eq!(Arc::strong_count(&manager), 1, "its thread is gone");
}

/// Fails with an error that cannot even be shown.
#[derive(Debug)]
struct Unspeakable;

#[derive(Debug)]
struct Unshowable;

impl std::fmt::Display for Unshowable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("this error has no words")
    }
}

impl std::error::Error for Unshowable {}

impl AlertSink for Unspeakable {
    fn deliver(&self, _: &Notification) -> std::result::Result<(), SinkError> {
        Err(SinkError::Retry { after: None, source: Box::new(Unshowable) })
    }
}

#[test]
fn a_sink_whose_error_panics_when_it_is_shown_is_called_again() {
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", Arc::new(Unspeakable))];
    let config = AlertConfig::new("chat").with_route(AlertRoute::of(Severity::P0, ["chat"]));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    for failed in 1..=3 {
        wait_until(|| manager.sinks()["chat"].failed == failed);
        assert_eq!(
            manager.sinks()["chat"].last_error.as_deref(),
            Some("panicked: this error has no words")
        );
        clock.advance(MINUTE);
        manager.tick();
    }
}

/// A clock that panics once, in the thread for which it is broken.
#[derive(Debug)]
struct Broken(Arc<ManualClock>, Mutex<Option<ThreadId>>);

impl Clock for Broken {
    fn now(&self) -> mlp_core::Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        let here = thread::current().id();
        let breaks = self.1.lock().take_if(|broken_for| *broken_for == here).is_some();
        assert!(!breaks, "the clock fell over");
        self.0.monotonic()
    }
}

/// Breaks the clock for the thread that makes the first of its calls, hears everything, and then does what another sink does.
#[derive(Debug)]
struct Breaking(Arc<Broken>, MemorySink, Arc<dyn AlertSink>);

impl AlertSink for Breaking {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        if self.1.notifications().is_empty() {
            *self.0.1.lock() = Some(thread::current().id());
        }
        self.1.deliver(notification)?;
        self.2.deliver(notification)
    }
}

/// A manager on a clock that breaks for the thread of its only sink, which gives up calls after this time.
fn breaking(
    clock: &Arc<ManualClock>,
    sink: Arc<dyn AlertSink>,
    timeout: Duration,
) -> (AlertManager, Arc<Breaking>) {
    let broken = Arc::new(Broken(clock.clone(), Mutex::new(None)));
    let sink = Arc::new(Breaking(broken.clone(), MemorySink::new(), sink));
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let config = AlertConfig::new("chat")
        .with_route(AlertRoute::of(Severity::P0, ["chat"]))
        .with_sink("chat", SinkSettings::default().with_timeout(timeout));
    (AlertManager::new(config, sinks, broken).unwrap(), sink)
}

#[test]
fn a_sink_whose_thread_falls_over_gets_another_one() {
    let clock = clock();
    // The clock jumps while the thread may be about to end: it is not given up meanwhile.
    let (manager, sink) = breaking(&clock, Arc::new(MemorySink::new()), Duration::MAX);
    fire(&manager, "down", Severity::P0);
    wait_until(|| !sink.1.notifications().is_empty());
    // Its thread ends while it looks at the clock; at the next tick it is seen, and what it had is tried again.
    wait_until(|| {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(SECOND);
        sink.1.notifications().len() >= 2
    });
    let keys: BTreeSet<String> = sink.1.take().into_iter().map(|n| n.dedupe_key).collect();
    assert_eq!(keys.len(), 1, "the same page");
    assert_eq!(manager.sinks()["chat"].stuck, 0, "no call hangs");
}

#[test]
fn a_call_given_up_whose_thread_falls_over_is_no_longer_stuck() {
    let (stuck, calls, go) = hanging();
    let clock = clock();
    let (manager, sink) = breaking(&clock, stuck, MINUTE);
    fire(&manager, "down", Severity::P0);
    calls.recv_timeout(MINUTE).unwrap();
    clock.advance(MINUTE);
    manager.tick();
    assert_eq!(manager.sinks()["chat"].stuck, 1);
    drop(go);
    // Its thread asks the clock when the call has come back, and ends by that.
    wait_until(|| manager.sinks()["chat"].stuck == 0);
    assert_eq!(*sink.0.1.lock(), None, "the clock fell over");
    assert_eq!(manager.sinks()["chat"].delivered, 0);
    clock.advance(MINUTE);
    manager.tick();
    assert!(manager.flush(MINUTE));
    let status = &manager.sinks()["chat"];
    assert_eq!((status.stuck, status.waiting, status.delivered), (0, 0, 1), "another one tries");
}

#[test]
fn deliveries_that_fail_do_not_use_up_the_rate_limit() {
    let sink = Failing::times(3);
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let settings = SinkSettings::default().with_rate_limit(2, 24 * HOUR);
    let mut config = AlertConfig::new("chat").with_sink("chat", settings).without_escalation();
    config.default_route = config.default_route.with_group_wait(Duration::ZERO);
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "a", Severity::P2);
    fire(&manager, "b", Severity::P2);
    for _ in 0..6 {
        manager.flush(MINUTE);
        clock.advance(MINUTE);
        manager.tick();
    }
    manager.flush(MINUTE);
    let heard: Vec<String> =
        sink.heard.take().iter().map(|n| n.alerts[0].labels["alertname"].clone()).collect();
    assert_eq!(heard, ["a", "b"], "two in a day, after three failures");
    assert_eq!(manager.sinks()["chat"].failed, 3);
    fire(&manager, "c", Severity::P2);
    manager.flush(MINUTE);
    assert!(manager.sinks()["chat"].held_back, "the control: what was taken counts");
}

#[test]
fn a_flush_is_woken_when_a_call_is_given_up() {
    let (sink, calls, go) = hanging();
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("stuck", sink)];
    let config = AlertConfig::new("stuck").with_route(AlertRoute::of(Severity::P0, ["stuck"]));
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    fire(&manager, "down", Severity::P0);
    calls.recv_timeout(MINUTE).unwrap();
    std::thread::scope(|scope| {
        let start = Instant::now();
        let flushed = scope.spawn(|| manager.flush(10 * MINUTE));
        // Whether it waits already or not: after the call is given up nothing can be delivered now.
        std::thread::sleep(SECOND / 20);
        clock.advance(MINUTE);
        manager.tick();
        assert!(flushed.join().unwrap());
        assert!(start.elapsed() < 5 * MINUTE);
    });
    drop(go);
}

/// A receiver that forgets what it has not heard of for an hour.
#[derive(Debug, Default)]
struct Forgetful(MemorySink);

impl AlertSink for Forgetful {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        self.0.deliver(notification)
    }

    fn validity(&self) -> Option<Duration> {
        Some(HOUR)
    }
}

#[test]
fn a_receiver_that_forgets_hears_in_time_of_what_fires_acknowledged_or_silenced() {
    let (forgetful, chat) = (Arc::new(Forgetful::default()), Arc::new(MemorySink::new()));
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 2] =
        [("alertmanager", forgetful.clone()), ("chat", chat.clone())];
    let mut config = patient(AlertConfig::new("chat"), ["alertmanager", "chat"]);
    config = config.without_escalation();
    config.default_route.sinks = vec!["alertmanager".to_owned(), "chat".to_owned()];
    config.default_route = config.default_route.with_repeat_interval(48 * HOUR);
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    for host in ["a", "b", "c"] {
        manager.update(alert("slow", host, Severity::P1, AlertStatus::Firing)).unwrap();
    }
    let pass = |span: Duration| {
        for _ in 0..span.as_secs() / 60 {
            clock.advance(MINUTE);
            manager.tick();
            manager.flush(MINUTE);
        }
    };
    pass(MINUTE);
    assert_eq!((forgetful.0.take().len(), chat.take().len()), (1, 1));
    let a = alert("slow", "a", Severity::P1, AlertStatus::Firing);
    manager.acknowledge(Fingerprint::of(&a.labels), "kim").unwrap();
    manager.silence(Matcher::all().with_label("host", "b"), 12 * HOUR, "kim", "").unwrap();
    pass(6 * HOUR);
    let told = forgetful.0.take();
    assert!((12..=13).contains(&told.len()), "twice an hour: {}", told.len());
    assert!(told.iter().all(|n| n.alerts.len() == 3 && n.status == AlertStatus::Firing));
    assert_eq!(chat.take(), [], "people are not told again");
    manager.update(alert("slow", "a", Severity::P1, AlertStatus::Resolved)).unwrap();
    pass(6 * HOUR);
    let told = forgetful.0.take();
    assert_eq!(told[0].alerts.iter().filter(|a| a.status == AlertStatus::Resolved).count(), 1);
    assert_eq!(told.last().unwrap().alerts.len(), 2, "what is over is not told again");
}
