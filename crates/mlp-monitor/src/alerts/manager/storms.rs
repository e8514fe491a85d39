//! Many alerts: what is bounded, what is never lost, and what it costs.

use super::faults::{Failing, clock};
use super::tests::{Desk, HOUR, MINUTE, alert, config, patient, told};
use super::*;
use crate::{AlertRoute, MemorySink, SinkSettings};
use mlp_core::{AlertStatus, Notification, Severity};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// The hosts that a sink heard of, as firing or as over.
fn hosts(notifications: &[Notification], status: AlertStatus) -> BTreeSet<String> {
    let alerts = notifications.iter().flat_map(|n| &n.alerts);
    alerts.filter(|a| a.status == status).map(|a| a.labels["host"].clone()).collect()
}

#[test]
fn a_page_is_taken_and_told_when_the_table_of_incidents_is_full() {
    let mut config = config();
    config.max_incidents = 3;
    let desk = Desk::new(config);
    for host in ["a", "b", "c"] {
        desk.raise("slow", host, Severity::P3);
    }
    let refused = desk.manager.update(alert("slow", "d", Severity::P1, AlertStatus::Firing));
    assert!(matches!(refused, Err(MonitorError::LimitExceeded { what: "incidents", limit: 3 })));
    for host in ["d", "e", "f"] {
        desk.raise("down", host, Severity::P0);
    }
    let seventh = desk.manager.update(alert("down", "g", Severity::P0, AlertStatus::Firing));
    assert!(matches!(seventh, Err(MonitorError::LimitExceeded { what: "incidents", limit: 6 })));
    desk.pass(10 * MINUTE);
    assert_eq!(
        hosts(&desk.pager.take(), AlertStatus::Firing),
        ["d", "e", "f"].map(String::from).into()
    );
    let over = |host| alert("down", host, Severity::P0, AlertStatus::Resolved);
    desk.manager.update_all(["d", "e", "f"].map(over)).unwrap();
    desk.pass(10 * MINUTE);
    assert_eq!(told(&desk.pager), ["resolved P0: d resolved, e resolved, f resolved"]);
    assert_eq!(desk.manager.incidents().len(), 3);
}

#[test]
fn a_rule_whose_page_comes_when_all_is_full_pages() {
    let clock = clock();
    let rule = |name: &str, severity| {
        crate::Rule::new(name, "load", "https://runbooks/load")
            .unwrap()
            .with_critical(crate::Limit::above(1.0), severity)
    };
    let rules = vec![rule("slow", Severity::P2), rule("down", Severity::P0)];
    let engine = crate::RuleEngine::new(rules, clock.clone()).unwrap();
    let (pager, log) = (Arc::new(MemorySink::new()), Arc::new(MemorySink::new()));
    let sinks: [(&str, Arc<dyn AlertSink>); 2] = [("pager", pager.clone()), ("log", log)];
    let mut config = AlertConfig::new("log").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    config.max_incidents = 1;
    let manager = AlertManager::new(config, sinks, clock).unwrap();
    let host = |host: &str| [("host".to_owned(), host.to_owned())].into();
    for name in ["a", "b"] {
        let refused = manager.update_all(engine.observe("load", &host(name), 2.0).unwrap());
        assert_eq!(refused.is_err(), name == "b", "a P2 is refused");
    }
    manager.flush(MINUTE);
    assert_eq!(pager.take().len(), 1, "one group of pages, told with the first");
    assert_eq!(manager.incidents().len(), 2, "the P2 of a, and its page");
}

/// How long this thread has had a processor, which nobody else on the machine makes longer; where the system does not tell, how long it is
/// since then.
fn worked(since: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// 10,000 different alerts into one group, one by one, while its sink fails at first. The time is for a debug build: looking through the group
/// at each alert would take minutes.
#[test]
fn a_storm_of_distinct_raises_is_told_in_few_notifications_and_loses_none() {
    const STORM: usize = 10_000;
    let sink = Failing::times(3);
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let mut config = patient(AlertConfig::new("chat"), ["chat"]).without_escalation();
    config.max_incidents = STORM;
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    let since = Instant::now();
    let start = worked(since);
    let storm = |status| {
        for host in 0..STORM {
            manager.update(alert("slow", &host.to_string(), Severity::P1, status)).unwrap();
        }
    };
    let pass = |span: Duration| {
        for _ in 0..span.as_secs() / 60 {
            clock.advance(MINUTE);
            manager.tick();
            manager.flush(MINUTE);
        }
    };
    storm(AlertStatus::Firing);
    let one_more = alert("slow", "one more", Severity::P1, AlertStatus::Firing);
    assert!(manager.update(one_more).is_err(), "the bound holds, and says so");
    pass(10 * MINUTE);
    storm(AlertStatus::Resolved);
    pass(10 * MINUTE);
    let took = worked(since) - start;
    assert!(took < MINUTE, "{took:?}");
    let heard = sink.heard.take();
    assert_eq!(hosts(&heard, AlertStatus::Firing).len(), STORM);
    assert_eq!(hosts(&heard, AlertStatus::Resolved).len(), STORM);
    let status = &manager.sinks()["chat"];
    assert_eq!(
        (heard.len(), status.delivered, status.failed),
        (3, 3, 3),
        "the first end is told at once"
    );
    assert_eq!((status.waiting, status.undelivered), (0, 0));
    assert_eq!(manager.incidents(), []);
}

/// The same of alerts that are muted: a group that is due and has nothing to tell is not looked through either.
#[test]
fn a_storm_of_distinct_raises_that_a_silence_mutes_costs_no_more() {
    let desk = Desk::new(config());
    desk.raise("slow", "first", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat).len(), 1);
    let all = Matcher::all().with_label("alertname", "slow");
    desk.manager.silence(all, HOUR, "kim", "the switch").unwrap();
    desk.pass(10 * MINUTE);
    let since = Instant::now();
    let start = worked(since);
    for host in 0..9_000 {
        desk.raise("slow", &host.to_string(), Severity::P1);
    }
    let took = worked(since) - start;
    assert!(took < MINUTE, "{took:?}");
    assert_eq!(told(&desk.chat), [""; 0]);
    desk.clock.advance(HOUR);
    desk.tick();
    assert_eq!(desk.chat.take().last().unwrap().alerts.len(), 9_001);
}

#[test]
fn what_one_alert_changes_is_written_in_few_rows_however_large_its_group_is() {
    let clock = clock();
    let store = Arc::new(crate::MemoryAlertStore::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("log", Arc::new(MemorySink::new()))];
    let manager = AlertManager::open(AlertConfig::new("log"), sinks, clock, store).unwrap();
    let written = |host: &str| -> usize {
        let moment = manager.timeline.moment();
        let raised = alert("slow", host, Severity::P1, AlertStatus::Firing);
        let mut state = manager.state.lock();
        drop(state.update_all(&manager.config, [raised], moment));
        let rows = state.take_rows(Scope::Changed, moment);
        rows.into_iter().map(|(key, text)| key.len() + text.unwrap_or_default().len()).sum()
    };
    written("the first");
    let before = written("host 00000");
    for host in 1..1_000 {
        written(&format!("host {host:05}"));
    }
    assert_eq!(written("host 01000"), before, "bytes, in a group of 1,000");
}

#[test]
fn a_thousand_duplicates_and_then_one_more_after_the_repeat_interval_are_two_notifications() {
    let desk = Desk::new(config().without_escalation());
    for second in 0..1_000 {
        desk.raise("slow", "a", Severity::P1);
        desk.clock.advance(Duration::from_secs(14));
        if second % 10 == 0 {
            desk.tick();
        }
    }
    desk.tick();
    assert_eq!(told(&desk.chat).len(), 1, "14,000 s are less than 4 h");
    desk.raise("slow", "a", Severity::P1);
    desk.tick();
    assert_eq!(told(&desk.chat).len(), 0);
    desk.clock.advance(10 * MINUTE);
    desk.raise("slow", "a", Severity::P1);
    desk.tick();
    assert_eq!(told(&desk.chat), ["firing P1: a firing"], "the repeat interval is over");
    assert_eq!(desk.manager.incidents()[0].raised, 1_002);
}

#[test]
fn a_full_queue_gives_up_the_least_urgent_and_counts_it_while_the_sink_is_down() {
    let sink = Failing::times(usize::MAX);
    let clock = clock();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("chat", sink.clone())];
    let mut config = AlertConfig::new("chat").without_escalation();
    config.max_queued = 10;
    config.default_route = config.default_route.with_group_wait(Duration::ZERO);
    let config = config.with_sink("chat", SinkSettings::default());
    let manager = AlertManager::new(config, sinks, clock.clone()).unwrap();
    let severities = [Severity::P3, Severity::P1, Severity::P0, Severity::P2];
    for k in 0..40 {
        let name = format!("alert {k:02}");
        manager.update(alert(&name, "a", severities[k % 4], AlertStatus::Firing)).unwrap();
        manager.flush(MINUTE);
    }
    let status = &manager.sinks()["chat"];
    assert_eq!(status.waiting as u64 + status.undelivered + status.merged, 40);
    assert_eq!(status.waiting, 10, "ten pages");
    sink.failures.store(0, Ordering::SeqCst);
    for _ in 0..20 {
        clock.advance(MINUTE);
        manager.tick();
        manager.flush(MINUTE);
    }
    let heard: BTreeSet<Severity> = sink.heard.take().iter().map(|n| n.severity).collect();
    assert_eq!(heard, [Severity::P0].into());
    let lost = manager.undelivered("chat");
    assert_eq!((lost.len(), manager.sinks()["chat"].delivered), (30, 10));
}
