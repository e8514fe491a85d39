//! The alert manager under a storm, its tick with many open alerts, and the text for Prometheus.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mlp_core::{Alert, AlertStatus, Labels, ManualClock, Severity, Timestamp};
use mlp_monitor::{
    AlertConfig, AlertManager, Exposition, Inhibition, Limit, Matcher, MemorySink, MetricKind,
    Rule, RuleEngine,
};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn alert(host: &str) -> Alert {
    Alert {
        labels: labels(&[("alertname", "slow"), ("host", host), ("team", "search")]),
        status: AlertStatus::Firing,
        severity: Severity::P1,
        summary: "p99 is 70, above 50".to_owned(),
        runbook_url: "https://runbooks.example/slow".to_owned(),
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
    }
}

fn manager() -> (AlertManager, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let config = AlertConfig::new("log").with_inhibition(Inhibition {
        source: Matcher::all().with_severity(Severity::P0),
        target: Matcher::all().with_severity(Severity::P1),
        equal: vec!["host".to_owned()],
    });
    let sinks = [("log", Arc::new(MemorySink::new()) as _)];
    (AlertManager::new(config, sinks, clock.clone()).unwrap(), clock)
}

fn storm(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("alerts");
    let (manager, _) = manager();
    let same = alert("a");
    group.throughput(Throughput::Elements(1));
    group.bench_function("raise what fires already", |b| {
        b.iter_batched(
            || same.clone(),
            |alert| manager.update(alert).unwrap(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// 10,000 different alerts of one group, raised one by one.
fn distinct(bench: &mut Criterion) {
    let alerts: Vec<Alert> = (0..10_000).map(|k| alert(&format!("host-{k}"))).collect();
    let mut group = bench.benchmark_group("alerts");
    group.sample_size(10).throughput(Throughput::Elements(10_000));
    group.bench_function("10,000 distinct raises, one by one", |b| {
        b.iter_batched(
            || (manager().0, alerts.clone()),
            |(manager, alerts)| {
                alerts.into_iter().for_each(|alert| manager.update(alert).unwrap());
                manager
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// 10,000 open alerts with ten silences and an inhibition: by host each a group of its own, or all one group.
fn tick(bench: &mut Criterion) {
    let (manager, clock) = manager();
    for k in 0..10 {
        let matcher = Matcher::all().with_label("host", format!("silenced-{k}"));
        manager.silence(matcher, Duration::from_secs(1 << 30), "kim", "").unwrap();
    }
    manager.update_all((0..10_000).map(|k| alert(&format!("host-{k}")))).unwrap();
    clock.advance(Duration::from_secs(60));
    manager.tick();
    bench.bench_function("alerts/tick with 10,000 open", |b| {
        b.iter(|| {
            clock.advance(Duration::from_millis(1));
            manager.tick();
        });
    });
}

/// 10,000 subjects whose value is over the limit, judged once more.
fn rules(bench: &mut Criterion) {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rule = Rule::new("slow", "p99", "https://runbooks.example/slow").unwrap();
    let rule = rule.with_critical(Limit::above(50.0).with_clear(40.0), Severity::P1);
    let engine = RuleEngine::new(vec![rule], clock).unwrap();
    let subjects: Vec<Labels> =
        (0..10_000).map(|k| labels(&[("host", &format!("host-{k}"))])).collect();
    let judge = || {
        let changes = subjects.iter().map(|subject| engine.observe("p99", subject, 70.0).unwrap());
        changes.map(|alerts| alerts.len()).sum::<usize>()
    };
    assert_eq!(judge(), 10_000);
    bench.bench_function("rules/10,000 subjects that fire", |b| b.iter(judge));
}

fn exposition(bench: &mut Criterion) {
    let series: Vec<Labels> =
        (0..10_000).map(|k| labels(&[("model", "wine"), ("replica", &k.to_string())])).collect();
    bench.bench_function("exposition/10,000 series", |b| {
        b.iter(|| {
            let mut metrics = Exposition::new();
            let kind = MetricKind::Counter;
            let mut family = metrics.family("requests_total", kind, "Requests.").unwrap();
            for (k, labels) in series.iter().enumerate() {
                family.sample(labels, k as f64).unwrap();
            }
            black_box(metrics.into_text())
        });
    });
}

criterion_group!(benches, storm, distinct, tick, rules, exposition);
criterion_main!(benches);
