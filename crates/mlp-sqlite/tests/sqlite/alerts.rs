//! The state of an alert manager.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Alert, AlertSink, AlertStatus, ManualClock, Severity, StoreError, Timestamp};
use mlp_monitor::{AlertConfig, AlertManager, AlertRoute, AlertStore, MemorySink, testing};
use mlp_sqlite::Database;

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
        assert!(manager.flush(5 * SECOND));
        assert_eq!((pager.take().len(), manager.store_fault()), (1, None));
    }
    let database = Database::open(&path).unwrap();
    let (second, pager) = manager(&database, &clock);
    second.update(alert("a")).unwrap();
    clock.advance(60 * SECOND);
    second.tick();
    assert!(second.flush(5 * SECOND));
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
