use super::*;
use crate::{AlertRoute, Inhibition, MemorySink, SinkSettings, Suppression};
use mlp_core::{AlertStatus, Labels, ManualClock, Notification, Severity, SinkError, Timestamp};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);

/// A manager with a sink per severity for P0 and P1 and a log for the rest, a clock that stands still, and what came out.
pub(super) struct Desk {
    pub(super) clock: Arc<ManualClock>,
    pub(super) manager: AlertManager,
    pub(super) pager: Arc<MemorySink>,
    pub(super) chat: Arc<MemorySink>,
    pub(super) log: Arc<MemorySink>,
}

pub(super) fn config() -> AlertConfig {
    AlertConfig::new("log")
        .with_route(AlertRoute::of(Severity::P0, ["pager"]))
        .with_route(AlertRoute::of(Severity::P1, ["chat"]))
}

/// Sinks whose calls are not given up however far the clock jumps while they are under way.
pub(super) fn patient<const N: usize>(config: AlertConfig, sinks: [&str; N]) -> AlertConfig {
    let settings = SinkSettings::default().with_timeout(Duration::MAX);
    sinks.into_iter().fold(config, |config, sink| config.with_sink(sink, settings.clone()))
}

impl Desk {
    pub(super) fn new(config: AlertConfig) -> Self {
        let clock = Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
        let [pager, chat, log] = [(); 3].map(|()| Arc::new(MemorySink::new()));
        let sinks: [(&str, Arc<dyn AlertSink>); 3] =
            [("pager", pager.clone()), ("chat", chat.clone()), ("log", log.clone())];
        let config = patient(config, ["pager", "chat", "log"]);
        let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
        Self { clock, manager, pager, chat, log }
    }

    pub(super) fn raise(&self, name: &str, host: &str, severity: Severity) {
        self.manager.update(alert(name, host, severity, AlertStatus::Firing)).unwrap();
    }

    pub(super) fn clear(&self, name: &str, host: &str, severity: Severity) {
        self.manager.update(alert(name, host, severity, AlertStatus::Resolved)).unwrap();
    }

    /// Ticks every half minute over a span.
    pub(super) fn pass(&self, span: Duration) {
        for _ in 0..span.as_secs() / 30 {
            self.clock.advance(MINUTE / 2);
            self.tick();
        }
    }

    pub(super) fn tick(&self) {
        self.manager.tick();
        assert!(self.manager.flush(MINUTE), "sinks in memory take everything");
    }
}

pub(super) fn alert(name: &str, host: &str, severity: Severity, status: AlertStatus) -> Alert {
    let labels = [("alertname", name), ("host", host)];
    Alert {
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        status,
        severity,
        summary: format!("{name} on {host}"),
        runbook_url: "https://runbooks/it".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    }
}

/// Notifications as "status severity: host status, …".
pub(super) fn told(sink: &MemorySink) -> Vec<String> {
    let of = |n: Notification| {
        let alerts: Vec<String> =
            n.alerts.iter().map(|a| format!("{} {}", a.labels["host"], a.status)).collect();
        format!("{} {}: {}", n.status, n.severity, alerts.join(", "))
    };
    sink.take().into_iter().map(of).collect()
}

#[test]
fn p0_goes_only_to_p0_sinks_and_what_no_route_takes_goes_to_the_default_sink() {
    let desk = Desk::new(config());
    desk.raise("errors", "a", Severity::P0);
    desk.raise("slow", "a", Severity::P1);
    desk.raise("drift", "a", Severity::P3);
    desk.tick();
    assert_eq!(told(&desk.pager), ["firing P0: a firing"], "a page does not wait for its group");
    desk.pass(MINUTE);
    assert_eq!(told(&desk.pager), [""; 0]);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    assert_eq!(told(&desk.log), ["firing P3: a firing"]);
}

#[test]
fn twenty_alerts_of_one_group_within_the_wait_are_one_notification_listing_twenty() {
    let desk = Desk::new(config());
    for host in 0..20 {
        desk.raise("slow", &host.to_string(), Severity::P1);
        desk.clock.advance(Duration::from_secs(1));
        desk.tick();
    }
    assert_eq!(told(&desk.chat), [""; 0]);
    desk.pass(MINUTE);
    let notifications = desk.chat.take();
    assert_eq!(notifications.len(), 1);
    assert_eq!(notifications[0].alerts.len(), 20);
}

#[test]
fn a_thousand_duplicates_in_the_repeat_window_are_one_notification_and_one_more_after_it() {
    let desk = Desk::new(config());
    for _ in 0..1_000 {
        desk.raise("slow", "a", Severity::P1);
        desk.manager.acknowledge(Fingerprint::of(&Labels::new()), "nobody").unwrap_err();
        desk.clock.advance(Duration::from_secs(3));
        desk.tick();
    }
    assert_eq!(told(&desk.chat).len(), 1);
    assert_eq!(desk.manager.incidents()[0].raised, 1_000);
    let quiet = Desk::new(config().without_escalation());
    quiet.raise("slow", "a", Severity::P1);
    quiet.pass(4 * HOUR);
    assert_eq!(told(&quiet.chat).len(), 1);
    quiet.pass(MINUTE);
    assert_eq!(told(&quiet.chat).len(), 1);
    quiet.pass(3 * HOUR);
    assert_eq!(told(&quiet.chat).len(), 0);
}

#[test]
fn a_resolve_is_told_only_where_the_firing_was_told() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.clear("slow", "a", Severity::P1);
    desk.clear("unknown", "a", Severity::P1);
    desk.pass(HOUR);
    assert_eq!(told(&desk.chat), [""; 0], "over before anybody was told");
    assert_eq!(desk.manager.incidents(), []);
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    desk.clear("slow", "a", Severity::P1);
    desk.pass(HOUR);
    assert_eq!(told(&desk.chat), ["firing P1: a firing", "resolved P1: a resolved"]);
    assert_eq!(told(&desk.log).len() + told(&desk.pager).len(), 0);
    assert_eq!(desk.manager.incidents(), []);
}

#[test]
fn an_alert_that_flaps_within_the_group_interval_stays_one_firing() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    for _ in 0..4 {
        desk.clear("slow", "a", Severity::P1);
        desk.clock.advance(MINUTE / 2);
        desk.raise("slow", "a", Severity::P1);
        desk.pass(MINUTE / 2);
    }
    desk.pass(10 * MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
}

#[test]
fn a_silence_that_ends_while_firing_notifies_at_once() {
    let desk = Desk::new(config());
    let matcher = Matcher::all().with_label("host", "a");
    desk.manager.silence(matcher, 2 * HOUR, "kim", "disk is being swapped").unwrap();
    desk.raise("slow", "a", Severity::P1);
    desk.pass(2 * HOUR - MINUTE);
    assert_eq!(told(&desk.chat), [""; 0]);
    let muted = desk.manager.incidents();
    assert!(matches!(muted[0].suppressed, Some(Suppression::Silenced(_))), "visible as suppressed");
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    assert_eq!(desk.manager.silences(), []);
    // The same within the group interval of the first notification, and by ending the silence by hand.
    let id = desk.manager.silence(Matcher::all().with_label("host", "a"), HOUR, "kim", "").unwrap();
    desk.tick();
    desk.manager.end_silence(id).unwrap();
    desk.tick();
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
}

#[test]
fn what_was_told_before_a_silence_is_resolved_during_it() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    desk.manager.silence(Matcher::all().with_label("host", "a"), HOUR, "kim", "").unwrap();
    desk.raise("slow", "b", Severity::P1);
    desk.clear("slow", "a", Severity::P1);
    desk.pass(10 * MINUTE);
    let told = told(&desk.chat);
    assert_eq!(told, ["firing P1: a firing", "firing P1: b firing, a resolved"]);
    assert!(desk.manager.silence(Matcher::all(), HOUR, "kim", "").is_err());
}

#[test]
fn critical_mutes_warning_of_the_same_subject() {
    let desk = Desk::new(config().with_inhibition(Inhibition {
        source: Matcher::all().with_severity(Severity::P0),
        target: Matcher::all().with_severity(Severity::P1),
        equal: vec!["host".to_owned()],
    }));
    desk.raise("slow", "a", Severity::P1);
    desk.raise("down", "a", Severity::P0);
    desk.raise("slow", "b", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: b firing"]);
    desk.clear("down", "a", Severity::P0);
    desk.pass(10 * MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing, b firing"]);
}

#[test]
fn an_unacknowledged_p1_escalates_after_its_hour_and_an_acknowledged_one_does_not() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.raise("slow", "b", Severity::P1);
    desk.pass(MINUTE);
    let b = alert("slow", "b", Severity::P1, AlertStatus::Firing);
    desk.manager.acknowledge(Fingerprint::of(&b.labels), "kim").unwrap();
    desk.pass(58 * MINUTE);
    assert_eq!(told(&desk.pager), [""; 0]);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"]);
    assert_eq!(desk.manager.incidents().len(), 2, "one incident, not a second one");
    assert_eq!(told(&desk.chat), ["firing P1: a firing, b firing"]);
    desk.clear("slow", "a", Severity::P1);
    desk.pass(HOUR);
    assert_eq!(told(&desk.pager), ["resolved P0: a resolved"]);
    assert_eq!(told(&desk.chat), ["firing P1: b firing, a resolved"]);
}

#[test]
fn critical_beats_warning_in_one_incident_which_keeps_its_severity() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    desk.raise("slow", "a", Severity::P0);
    desk.tick();
    desk.raise("slow", "a", Severity::P1);
    desk.pass(HOUR);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"]);
    assert_eq!(desk.manager.incidents().len(), 1);
}

#[test]
fn the_clock_going_backwards_tells_nothing() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    for wall in ["1990-01-01T00:00:00Z", "2200-01-01T00:00:00Z", "2026-03-01T12:00:00Z"] {
        desk.clock.set_wall(wall.parse().unwrap());
        desk.tick();
        assert_eq!(told(&desk.chat), [""; 0], "{wall}");
    }
    desk.pass(MINUTE / 2);
    assert_eq!(told(&desk.chat).len(), 1);
}

#[test]
fn an_alert_without_a_runbook_and_a_route_without_its_sink_are_refused() {
    let desk = Desk::new(config());
    let mut nowhere = alert("slow", "a", Severity::P1, AlertStatus::Firing);
    nowhere.runbook_url.clear();
    assert!(matches!(desk.manager.update(nowhere), Err(MonitorError::NoRunbook { .. })));
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("log", desk.log.clone())];
    assert!(matches!(
        AlertManager::new(config(), sinks, clock),
        Err(MonitorError::Unknown { what: "sink", .. })
    ));
}

#[test]
fn labels_and_incidents_are_bounded() {
    let mut config = config();
    config.max_incidents = 2;
    let desk = Desk::new(config);
    desk.raise("slow", &"x".repeat(1_000_000), Severity::P1);
    desk.raise("slow", "b", Severity::P1);
    let host = &desk.manager.incidents()[0].alert.labels["host"];
    let longest =
        desk.manager.incidents().iter().map(|i| i.alert.labels["host"].chars().count()).max();
    assert_eq!(longest, Some(1_024), "{host}");
    let third = alert("slow", "c", Severity::P1, AlertStatus::Firing);
    assert!(matches!(desk.manager.update(third), Err(MonitorError::LimitExceeded { .. })));
    desk.raise("slow", "b", Severity::P1);
    let mut bomb = alert("slow", "b", Severity::P1, AlertStatus::Firing);
    bomb.labels.extend((0..64).map(|n| (n.to_string(), "x".to_owned())));
    assert!(desk.manager.update(bomb).is_err());
}

/// Fails as often as it is told to, by a panic every second time, and then hears everything.
#[derive(Debug)]
struct Flaky {
    failures: AtomicUsize,
    heard: MemorySink,
}

impl AlertSink for Flaky {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left == 0 {
            return self.heard.deliver(notification);
        }
        self.failures.store(left - 1, Ordering::Relaxed);
        assert!(left.is_multiple_of(2), "the sink fell over");
        Err(SinkError::Retry { after: None, source: "503".into() })
    }
}

#[test]
fn a_sink_that_fails_and_panics_delays_no_other_and_hears_everything_later() {
    let flaky = Arc::new(Flaky { failures: AtomicUsize::new(6), heard: MemorySink::new() });
    let other = Arc::new(MemorySink::new());
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let sinks: [(&str, Arc<dyn AlertSink>); 2] =
        [("flaky", flaky.clone()), ("other", other.clone())];
    let route = AlertRoute::of(Severity::P0, ["flaky", "other"]).with_group_interval(MINUTE);
    let config = AlertConfig::new("other").with_route(route);
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    manager.update(alert("down", "a", Severity::P0, AlertStatus::Firing)).unwrap();
    manager.tick();
    manager.flush(MINUTE);
    assert_eq!((other.take().len(), flaky.heard.take().len()), (1, 0));
    manager.update(alert("down", "a", Severity::P0, AlertStatus::Resolved)).unwrap();
    for _ in 0..300 {
        clock.advance(Duration::from_secs(1));
        manager.tick();
        manager.flush(MINUTE);
    }
    let heard: Vec<AlertStatus> = flaky.heard.take().iter().map(|n| n.status).collect();
    assert_eq!(
        heard,
        [AlertStatus::Firing, AlertStatus::Resolved],
        "first the firing, then its end"
    );
    let status = &manager.sinks()["flaky"];
    assert_eq!((status.failed, status.delivered, status.waiting), (6, 2, 0));
}

#[test]
fn alerts_that_come_together_are_told_together_and_none_undoes_another_unheard() {
    let desk = Desk::new(config());
    let of = |host: &str, status| alert("down", host, Severity::P0, status);
    let firing = ["a", "b", "c"].map(|host| of(host, AlertStatus::Firing));
    desk.manager.update_all(firing).unwrap();
    desk.tick();
    assert_eq!(told(&desk.pager), ["firing P0: a firing, b firing, c firing"]);
    desk.pass(10 * MINUTE);
    let mixed = [of("a", AlertStatus::Resolved), of("d", AlertStatus::Firing)];
    desk.manager.update_all(mixed).unwrap();
    desk.pass(10 * MINUTE);
    let back = [of("d", AlertStatus::Resolved), of("d", AlertStatus::Firing)];
    desk.manager.update_all(back).unwrap();
    desk.pass(10 * MINUTE);
    assert_eq!(
        told(&desk.pager),
        [
            "firing P0: b firing, c firing, d firing, a resolved",
            "firing P0: b firing, c firing, d resolved",
            "firing P0: b firing, c firing, d firing",
        ]
    );
    let mut bad = of("e", AlertStatus::Firing);
    bad.runbook_url.clear();
    assert!(desk.manager.update_all([bad, of("f", AlertStatus::Firing)]).is_err());
    assert_eq!(desk.manager.incidents().len(), 4, "those after it are taken all the same");
}
