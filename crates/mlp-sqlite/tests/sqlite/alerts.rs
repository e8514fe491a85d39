//! The state of an alert manager.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::{
    Alert, AlertSink, AlertStatus, ManualClock, Notification, Severity, SinkError, StoreError,
    SystemClock, Timestamp,
};
use mlp_monitor::{
    AlertConfig, AlertManager, AlertRoute, AlertStore, JsonLinesSink, MemorySink, testing,
};
use mlp_sqlite::Database;

use crate::script::{Killed, TURNS, child, place};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn alert_state_keeps_the_contract_and_every_record_its_checksum() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("mlp.db")).unwrap();
    testing::check_alert_store(&database);
    let report = database.verify().unwrap();
    assert!(report.is_sound(), "{report}");
    testing::check_reopening(|| Database::open(folder.path().join("again.db")).unwrap());
    let wrapped = Arc::new(Database::open(folder.path().join("wrapped.db")).unwrap());
    testing::check_alert_store(&wrapped);
}

fn manager(database: &Database, clock: &Arc<ManualClock>) -> (AlertManager, Arc<MemorySink>) {
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let store = Arc::new(database.clone());
    (AlertManager::open(config, sinks, clock.clone(), store).unwrap(), pager)
}

fn alert(host: &str) -> Alert {
    Alert {
        labels: [("alertname", "down"), ("host", host)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        status: AlertStatus::Firing,
        severity: Severity::P0,
        summary: "it is down".to_owned(),
        runbook_url: "https://runbooks.example/down".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    }
}

#[test]
fn a_manager_on_the_file_pages_nobody_twice_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let clock = Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
    {
        let database = Database::open(&path).unwrap();
        let (manager, pager) = manager(&database, &clock);
        manager.update(alert("a")).unwrap();
        assert!(manager.flush(60 * SECOND));
        assert_eq!((pager.take().len(), manager.store_fault()), (1, None));
    }
    let database = Database::open(&path).unwrap();
    let (second, pager) = manager(&database, &clock);
    second.update(alert("a")).unwrap();
    clock.advance(60 * SECOND);
    second.tick();
    assert!(second.flush(60 * SECOND));
    assert_eq!((pager.take().len(), second.incidents().len()), (0, 1));
    // A third one takes over, in another process or here.
    let (_third, _) = manager(&database, &clock);
    assert!(second.update(alert("b")).is_err(), "it is superseded");
}

#[test]
fn a_damaged_row_of_alert_state_is_found_by_the_read_and_by_verify() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let database = Database::open(&path).unwrap();
    let (epoch, _) = database.take_over().unwrap();
    database.apply(epoch, &[("incident/1".to_owned(), Some("{}".to_owned()))]).unwrap();
    drop(database);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE alert_state SET value = '[]'", []).unwrap();
    drop(other);
    let database = Database::open(&path).unwrap();
    let report = database.verify().unwrap();
    assert!(report.to_string().contains("alert_state"), "{report}");
    assert!(matches!(database.take_over(), Err(StoreError::Corrupt { .. })));
}

/// Goes to sleep for good once the receiver has heard, before the manager can note it.
#[derive(Debug)]
struct Sleepy(JsonLinesSink);

impl AlertSink for Sleepy {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        self.0.deliver(notification)?;
        loop {
            std::thread::park();
        }
    }
}

fn night(folder: &Path, sink: impl AlertSink + 'static) -> AlertManager {
    let database = Database::open(folder.join("mlp.db")).unwrap();
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", Arc::new(sink))];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let clock = Arc::new(SystemClock::new());
    AlertManager::open(config, sinks, clock, Arc::new(database)).unwrap()
}

#[test]
#[ignore = "run by the kill between sending and noting, in a process of its own"]
fn child_that_dies_while_it_tells() {
    let Some(path) = place() else { return };
    let folder = path.parent().unwrap();
    let sink = Sleepy(JsonLinesSink::open(folder.join("told.jsonl")).unwrap());
    let manager = night(folder, sink);
    manager.update(alert("a")).unwrap();
    manager.flush(600 * SECOND);
}

#[test]
fn after_kill_9_between_sending_and_noting_the_same_page_is_sent_once_more_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.db");
    let told = folder.path().join("told.jsonl");
    let pages = || -> Vec<Notification> {
        let text = std::fs::read_to_string(&told).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let _turn = TURNS.lock();
    let command = Command::new(std::env::current_exe().unwrap());
    let process = Killed::spawn(child(command, "alerts::child_that_dies_while_it_tells", &path));
    let deadline = Instant::now() + 600 * SECOND;
    while !told.exists() || pages().is_empty() {
        assert!(Instant::now() < deadline, "it tells");
        std::thread::sleep(SECOND / 100);
    }
    process.kill();
    assert_eq!(pages().len(), 1);
    for again in [1, 0] {
        let manager = night(folder.path(), JsonLinesSink::open(&told).unwrap());
        manager.update(alert("a")).unwrap();
        manager.tick();
        assert!(manager.flush(60 * SECOND));
        assert_eq!(manager.sinks()["pager"].delivered, again, "at least once, and once only");
    }
    let pages = pages();
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[0].dedupe_key, pages[1].dedupe_key);
    assert_eq!(pages[0].alerts, pages[1].alerts);
}
