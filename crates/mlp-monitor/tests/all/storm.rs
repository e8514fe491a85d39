//! What a storm costs in memory, measured in a process that does nothing else.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Alert, AlertSink, AlertStatus, ManualClock, Severity, Timestamp};
use mlp_monitor::{AlertConfig, AlertManager, AlertRoute, MemorySink};

/// Set for the process in which the storm takes place.
const STORM: &str = "MLP_TEST_STORM";

/// How much memory this process has, where the system says so.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4_096)
}

fn alert(host: &str) -> Alert {
    let labels = [("alertname", "down"), ("host", host)];
    Alert {
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        status: AlertStatus::Firing,
        severity: Severity::P0,
        summary: "no answer".to_owned(),
        runbook_url: "https://runbooks.example/down".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    }
}

fn storm(kind: &str) {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let pager = Arc::new(MemorySink::new());
    let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", pager.clone())];
    let config = AlertConfig::new("pager").with_route(AlertRoute::of(Severity::P0, ["pager"]));
    let manager = AlertManager::new(config, sinks, clock).unwrap();
    let before = resident_bytes();
    let mut refused = 0;
    let same = kind == "identical";
    let raises = if same { 1_000_000 } else { 200_000 };
    for k in 0..raises {
        let host = if same { "a".to_owned() } else { format!("host-{}", k % 100_000) };
        refused += usize::from(manager.update(alert(&host)).is_err());
    }
    manager.tick();
    assert!(manager.flush(Duration::from_secs(60)));
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        assert!(after.saturating_sub(before) < 64 << 20, "{before} to {after} bytes");
    }
    assert_eq!(pager.notifications().len(), 1, "one notification");
    let raised: u64 = manager.incidents().iter().map(|incident| incident.raised).sum();
    assert_eq!(raised + refused as u64, raises, "each is counted or refused");
    if same {
        assert_eq!((manager.incidents().len(), refused), (1, 0));
    } else {
        assert_eq!(
            (manager.incidents().len(), refused),
            (20_000, 160_000),
            "twice the bound for pages"
        );
    }
}

#[test]
fn a_storm_of_a_million_identical_raises_or_of_different_ones_costs_less_than_64_mib() {
    if let Ok(kind) = std::env::var(STORM) {
        return storm(&kind);
    }
    for kind in ["identical", "distinct"] {
        let name = "storm::a_storm_of_a_million_identical_raises_or_of_different_ones_costs_less_than_64_mib";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(STORM, kind)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success() && said.contains("1 passed"), "{kind}: {said}");
    }
}
