//! What recording costs a request, a drift report, and joining late labels.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mlp_core::{
    Labels, ManualClock, PredictionId, PredictionLog, PredictionRecord, Role, SystemClock,
    Timestamp, VersionNumber, random,
};
use mlp_monitor::{
    Counter, DriftConfig, DriftReference, Latency, PerformanceConfig, PerformanceMonitor, Scoring,
    Signals, SignalsConfig, Truth,
};
use ndarray::Array2;

fn recorders(signals: &Signals) -> (Counter, Latency) {
    let counter = signals.counter("requests", &Labels::new()).unwrap();
    (counter, signals.latency("latency", &Labels::new()).unwrap())
}

fn record(counter: &Counter, latency: &Latency, k: u64) {
    counter.add(1);
    latency.record(Duration::from_nanos(100_000 + (k * 7_919) % 1_000_000));
}

/// A counter and a latency: alone, with a second thread that records into the same, and with one that reads all the time.
fn recording(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    let signals = Signals::new(SignalsConfig::default(), Arc::new(SystemClock::new())).unwrap();
    let (counter, latency) = recorders(&signals);
    let time = |rounds: u64| {
        let start = Instant::now();
        (0..rounds).for_each(|k| record(&counter, &latency, black_box(k)));
        start.elapsed()
    };
    group.bench_function("alone", |b| b.iter_custom(time));
    let beside = |other: &(dyn Fn() + Sync), rounds: u64| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    other();
                }
            });
            let took = time(rounds);
            stop.store(true, Ordering::Relaxed);
            took
        })
    };
    let records = || (0..1_000).for_each(|k| record(&counter, &latency, black_box(k)));
    group.bench_function("on two threads", |b| b.iter_custom(|n| beside(&records, n)));
    let ticks = || signals.tick();
    group.bench_function("beside a reader", |b| b.iter_custom(|n| beside(&ticks, n)));
    group.finish();
}

fn drift(bench: &mut Criterion) {
    let mut generator = random::stream(0, 0);
    let mut normal =
        |rows| Array2::from_shape_simple_fn((rows, 20), || random::normal(&mut generator));
    let (reference, current) = (normal(100_000), normal(100_000));
    let names: Vec<String> = (0..20).map(|column| format!("x{column}")).collect();
    let learn =
        || DriftReference::new(names.clone(), reference.view(), DriftConfig::default()).unwrap();
    let mut group = bench.benchmark_group("drift of 100,000 x 20");
    group.sample_size(10);
    group.bench_function("reference", |b| b.iter(learn));
    let known = learn();
    group.bench_function("report", |b| b.iter(|| known.compare(current.view()).unwrap()));
    group.finish();

    // Samples of middling size and unequal length: an exact test of those far apart would count 10⁸ paths.
    let mut group = bench.benchmark_group("drift of 10,000 against 9,999, a column");
    group.sample_size(10);
    let grid = |rows: usize, shift: f64| {
        Array2::from_shape_fn((rows, 1), |(i, _)| i as f64 / rows as f64 + shift)
    };
    let known =
        DriftReference::new(["x"], grid(10_000, 0.0).view(), DriftConfig::default()).unwrap();
    for (name, shift) in [("shifted by half of its range", 0.5), ("shifted by a fiftieth", 0.02)] {
        let current = grid(9_999, shift);
        group.bench_function(name, |b| b.iter(|| known.compare(current.view()).unwrap()));
    }
    group.finish();
}

/// A million predictions, then their outcomes in another order.
fn joining(bench: &mut Criterion) {
    const LABELS: usize = 1_000_000;
    let ids: Vec<PredictionId> = (0..LABELS).map(|_| PredictionId::generate()).collect();
    let mut group = bench.benchmark_group("join");
    group.sample_size(10).throughput(Throughput::Elements(LABELS as u64));
    let monitor = || {
        let config =
            PerformanceConfig::default().with_scoring(Scoring::AtOnce).with_max_open(2 * LABELS);
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let monitor = PerformanceMonitor::new(config, clock).unwrap();
        for id in &ids {
            let record =
                PredictionRecord::new(*id, VersionNumber(1), Role::Active, Timestamp::UNIX_EPOCH);
            monitor.record(&record.with_data(None, Some(&[0.3, 0.7])));
        }
        monitor
    };
    group.bench_function("predictions", |b| b.iter(monitor));
    group.bench_function("outcomes", |b| {
        b.iter_batched_ref(
            monitor,
            |monitor| {
                let order = (0..LABELS).map(|k| (k * 514_229) % LABELS);
                order.for_each(|k| monitor.outcome(ids[k], Truth::Class(k % 2)));
                assert_eq!(monitor.counts().joined, LABELS as u64);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Predictions and their outcomes, one after the other: alone, and with a second thread that does the same.
fn reporting(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("report a prediction and its outcome");
    group.throughput(Throughput::Elements(1));
    let monitor =
        PerformanceMonitor::new(PerformanceConfig::default(), Arc::new(SystemClock::new()))
            .unwrap();
    let report = |rounds: u64| {
        for k in 0..rounds {
            let id = PredictionId::generate();
            let record =
                PredictionRecord::new(id, VersionNumber(1), Role::Active, Timestamp::UNIX_EPOCH);
            monitor.record(&record.with_data(None, Some(&[0.3, 0.7])));
            monitor.outcome(id, Truth::Class((k % 2) as usize));
        }
    };
    let time = |rounds: u64| {
        let start = Instant::now();
        report(rounds);
        start.elapsed()
    };
    group.bench_function("alone", |b| b.iter_custom(time));
    group.bench_function("on two threads", |b| {
        b.iter_custom(|rounds| {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        report(100);
                    }
                });
                let took = time(rounds);
                stop.store(true, Ordering::Relaxed);
                took
            })
        });
    });
    group.finish();
}

criterion_group!(benches, recording, drift, joining, reporting);
criterion_main!(benches);
