//! A night on call: a storm that is one notification, a silence, an escalation, an acknowledgement, a restart, and the end of it.
//!
//! `cargo run --release --example alerting`. Time is a clock that the example moves, so the night is over at once and the same every time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp::core::{
    Alert, AlertSink, AlertStatus, Clock, Labels, ManualClock, Notification, Severity, SinkError,
};
use mlp::monitor::{
    AlertConfig, AlertManager, AlertRoute, Exposition, Fingerprint, Inhibition, Limit, Matcher,
    MemoryAlertStore, Rule, RuleEngine, SinkSettings,
};
use parking_lot::Mutex;

type Failure = Box<dyn std::error::Error>;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Shows a notification as the person sees it.
#[derive(Debug)]
struct Shown {
    name: &'static str,
    clock: Arc<ManualClock>,
    messages: Arc<Mutex<usize>>,
}

impl AlertSink for Shown {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        *self.messages.lock() += 1;
        let time = self.clock.now().to_string();
        let Notification { status, severity, alerts, .. } = notification;
        println!(
            "  {} {:7} {severity} {status}: {} alerts",
            &time[11..19],
            self.name,
            alerts.len()
        );
        for alert in alerts.iter().take(3) {
            println!(
                "                     {} {} — {}",
                alert.status, alert.labels["host"], alert.summary
            );
        }
        if alerts.len() > 3 {
            println!("                     and {} more", alerts.len() - 3);
        }
        println!("                     what to do: {}", alerts[0].runbook_url);
        Ok(())
    }
}

/// What the night is about.
struct Night {
    clock: Arc<ManualClock>,
    store: Arc<MemoryAlertStore>,
    messages: Arc<Mutex<usize>>,
}

impl Night {
    fn manager(&self) -> Result<AlertManager, Failure> {
        let sink = |name| {
            let (clock, messages) = (Arc::clone(&self.clock), Arc::clone(&self.messages));
            (name, Arc::new(Shown { name, clock, messages }) as Arc<dyn AlertSink>)
        };
        let config = AlertConfig::new("chat")
            .with_route(AlertRoute::of(Severity::P0, ["pager"]).with_group_interval(MINUTE))
            .with_route(AlertRoute::of(Severity::P1, ["chat"]).with_group_wait(30 * SECOND))
            .with_inhibition(Inhibition {
                source: Matcher::all().with_severity(Severity::P0),
                target: Matcher::all().with_severity(Severity::P2),
                equal: vec!["host".to_owned()],
            })
            .with_sink("chat", SinkSettings::default().with_rate_limit(20, HOUR));
        Ok(AlertManager::open(
            config,
            ["pager", "chat"].map(sink),
            self.clock.clone(),
            self.store.clone(),
        )?)
    }

    fn pass(&self, manager: &AlertManager, span: Duration) {
        for _ in 0..span.as_secs() / 10 {
            self.clock.advance(10 * SECOND);
            manager.tick();
            manager.flush(MINUTE);
        }
    }

    fn told(&self) -> usize {
        std::mem::take(&mut self.messages.lock())
    }
}

fn labels(host: &str) -> Labels {
    [("host".to_owned(), host.to_owned())].into()
}

fn alert(
    name: &str,
    host: &str,
    severity: Severity,
    status: AlertStatus,
    clock: &ManualClock,
) -> Alert {
    let mut labels = labels(host);
    labels.insert("alertname".to_owned(), name.to_owned());
    Alert {
        labels,
        status,
        severity,
        summary: format!("{name} on {host}"),
        runbook_url: format!("https://runbooks.example/{name}"),
        starts_at: clock.now(),
        ends_at: None,
    }
}

fn check(holds: bool, what: &str) -> Result<(), Failure> {
    if !holds {
        return Err(format!("does not hold: {what}").into());
    }
    println!("  ✓ {what}");
    Ok(())
}

fn main() -> Result<(), Failure> {
    let clock = Arc::new(ManualClock::new("2026-03-01T02:00:00Z".parse()?));
    let night = Night { clock, store: Arc::new(MemoryAlertStore::new()), messages: Arc::default() };
    let manager = night.manager()?;
    storm(&night, &manager)?;
    silence(&night, &manager)?;
    escalation(&night, &manager)?;
    let manager = restart(&night, manager)?;
    rules(&night, &manager)?;
    let mut metrics = Exposition::new();
    manager.expose(&mut metrics)?;
    println!("\nWhat Prometheus would scrape, in part");
    let text = metrics.into_text();
    text.lines()
        .filter(|line| line.starts_with("mlp_alert_sink_delivered"))
        .for_each(|line| println!("  {line}"));
    Ok(())
}

fn storm(night: &Night, manager: &AlertManager) -> Result<(), Failure> {
    println!("\n02:00 a switch fails: twenty hosts are slow, and each says so 50,000 times");
    let hosts: Vec<Alert> = (0..20)
        .map(|k| {
            alert("slow", &format!("host-{k:02}"), Severity::P1, AlertStatus::Firing, &night.clock)
        })
        .collect();
    let start = Instant::now();
    for _ in 0..50_000 {
        manager.update_all(hosts.iter().cloned())?;
    }
    let took = start.elapsed();
    night.pass(manager, 10 * MINUTE);
    println!("  1,000,000 raises took {:.2} s", took.as_secs_f64());
    check(night.told() == 1, "one notification that lists all twenty")
}

fn silence(night: &Night, manager: &AlertManager) -> Result<(), Failure> {
    println!(
        "\n02:10 host-03 is being replaced: silenced for half an hour, and it fails meanwhile"
    );
    manager.silence(Matcher::all().with_label("host", "host-03"), HOUR / 2, "kim", "disk swap")?;
    manager.update(alert("down", "host-03", Severity::P0, AlertStatus::Firing, &night.clock))?;
    night.pass(manager, 29 * MINUTE);
    check(night.told() == 0, "nobody is woken")?;
    let muted = manager.incidents().iter().filter(|incident| incident.suppressed.is_some()).count();
    check(muted == 2, "what is muted stays visible as suppressed")?;
    night.pass(manager, 2 * MINUTE);
    check(night.told() >= 1, "the silence ends while it still fires: the pager rings at once")
}

fn escalation(night: &Night, manager: &AlertManager) -> Result<(), Failure> {
    println!("\n02:41 nobody looks at the chat; kim takes care of host-00 and of the page");
    for (name, host) in [("slow", "host-00"), ("down", "host-03")] {
        let subject = alert(name, host, Severity::P1, AlertStatus::Firing, &night.clock);
        manager.acknowledge(Fingerprint::of(&subject.labels), "kim")?;
    }
    night.pass(manager, 25 * MINUTE);
    let page = |incident: &&mlp::monitor::Incident| incident.alert.severity == Severity::P0;
    let incidents = manager.incidents();
    println!(
        "  {} incidents, {} of them P0",
        incidents.len(),
        incidents.iter().filter(page).count()
    );
    check(incidents.len() == 21, "the same 21 incidents, none of them twice")?;
    check(night.told() >= 1, "what nobody acknowledged within its hour rings the pager")
}

fn restart(night: &Night, manager: AlertManager) -> Result<AlertManager, Failure> {
    println!("\n03:06 the process is deployed anew");
    drop(manager);
    night.clock.advance(MINUTE);
    let manager = night.manager()?;
    manager.update_all((0..20).map(|k| {
        alert("slow", &format!("host-{k:02}"), Severity::P1, AlertStatus::Firing, &night.clock)
    }))?;
    night.pass(&manager, 5 * MINUTE);
    check(night.told() == 0, "the hosts say again that they are slow, and nobody is paged twice")?;
    println!("\n03:12 the switch works again");
    manager.update_all((0..20).map(|k| {
        alert("slow", &format!("host-{k:02}"), Severity::P1, AlertStatus::Resolved, &night.clock)
    }))?;
    manager.update(alert("down", "host-03", Severity::P0, AlertStatus::Resolved, &night.clock))?;
    night.pass(&manager, 20 * MINUTE);
    check(night.told() >= 2, "whoever was told hears that it is over")?;
    check(manager.incidents().is_empty(), "nothing is left")?;
    Ok(manager)
}

fn rules(night: &Night, manager: &AlertManager) -> Result<(), Failure> {
    println!("\n03:32 an error rate that hovers around its limit of 0.9: 0.95 0.85 0.91 0.85 0.79");
    let rule = Rule::new("errors", "error_rate", "https://runbooks.example/errors")?
        .with_critical(Limit::above(0.9).with_clear(0.8), Severity::P0);
    let engine = RuleEngine::new(vec![rule], night.clock.clone())?;
    for value in [0.95, 0.85, 0.91, 0.85, 0.79] {
        manager.update_all(engine.observe("error_rate", &labels("host-00"), value)?)?;
        night.pass(manager, 2 * MINUTE);
    }
    check(night.told() == 2, "one page, and one message that it is over")
}
