//! What does a deployment cost on the path of a request, how fast is a switch, and how fast does a long journal open?
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mlp_core::{
    Health, Host, HostError, Lifecycle, Outcome, OutcomeStatus, RequestKey, Router, VersionNumber,
    VersionSource,
};
use mlp_rollback::{
    CanaryPlan, Change, Deployment, DeploymentConfig, FileJournal, Journal, MemoryJournal, Share,
    VersionBundle,
};

#[derive(Debug)]
struct Ready;

impl Host<str> for Ready {
    fn prepare(&self, _: VersionNumber, _: VersionSource<str>) -> Result<(), HostError> {
        Ok(())
    }

    fn health(&self, _: VersionNumber) -> Health {
        Health { lifecycle: Lifecycle::Ready, ..Health::ABSENT }
    }

    fn retire(&self, _: VersionNumber) {}
}

fn source() -> VersionSource<str> {
    VersionSource::shared(Arc::from("model"))
}

/// Two versions deployed, the third one a canary of 20 %.
fn deployment(journal: Arc<dyn Journal>) -> (Arc<Deployment<str>>, Arc<dyn Host<str>>) {
    let config = DeploymentConfig::default().with_seed(7).with_cool_down(Duration::ZERO);
    let deployment = Deployment::builder(config).journal(journal).open().expect("opens");
    let host: Arc<dyn Host<str>> = Arc::new(Ready);
    deployment.attach(&host);
    let me = Change::by("bench");
    for _ in 0..3 {
        deployment.register(VersionBundle::new("model"), source(), &me).expect("registers");
    }
    deployment.deploy(VersionNumber(1), &me).expect("deploys");
    deployment.deploy(VersionNumber(2), &me).expect("deploys");
    let plan = CanaryPlan::fixed(Share::percent(20.0).expect("a share")).expect("a plan");
    deployment.start_canary(VersionNumber(3), plan, &me).expect("starts");
    (Arc::new(deployment), host)
}

fn path_of_a_request(criterion: &mut Criterion) {
    let (deployment, _host) = deployment(Arc::new(MemoryJournal::new()));
    let mut sequence = 0;
    criterion.bench_function("route/anonymous", |bencher| {
        bencher.iter(|| {
            sequence += 1;
            deployment.route(black_box(&RequestKey::new(sequence)))
        });
    });
    let unit = RequestKey::new(0).with_unit("a9f4c8e2-customer-000042");
    criterion.bench_function("route/unit_of_24_bytes", |bencher| {
        bencher.iter(|| deployment.route(black_box(&unit)));
    });
    let route = deployment.route(&RequestKey::new(1));
    let outcome = Outcome::new(&route, OutcomeStatus::Answered, Duration::from_micros(120));
    criterion.bench_function("observe/answered", |bencher| {
        bencher.iter(|| deployment.observe(black_box(&outcome)));
    });
}

/// From the call of `rollback` to the last request that another thread routed to the old version.
fn switch_once(journal: Arc<dyn Journal>) -> Duration {
    let me = Change::by("bench");
    let (deployment, _host) = deployment(journal);
    deployment.abort(VersionNumber(3), &me).expect("aborts");
    let start = Instant::now();
    let last = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let decided = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sequence = 0;
            while !stop.load(Ordering::Relaxed) {
                sequence += 1;
                let route = deployment.route(&RequestKey::new(sequence));
                if route.version == VersionNumber(2) {
                    last.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                }
            }
        });
        while last.load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
        let decided = start.elapsed();
        deployment.rollback(&me).expect("rolls back");
        stop.store(true, Ordering::Relaxed);
        decided
    });
    Duration::from_nanos(last.load(Ordering::Relaxed)).saturating_sub(decided)
}

fn switch(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = 0;
    let mut file_journal = move || -> Arc<dyn Journal> {
        files += 1;
        let path = folder.path().join(format!("journal-{files}"));
        Arc::new(FileJournal::open(path).expect("opens"))
    };
    let mut memory_journal = || -> Arc<dyn Journal> { Arc::new(MemoryJournal::new()) };
    let mut measure = |name: &str, journal: &mut dyn FnMut() -> Arc<dyn Journal>| {
        let mut all = Vec::new();
        criterion.bench_function(&format!("rollback/last_request/{name}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let switches: Vec<_> = (0..rounds).map(|_| switch_once(journal())).collect();
                all.extend_from_slice(&switches);
                switches.iter().sum()
            });
        });
        all.sort_unstable();
        let at = |share: f64| all[(share * (all.len() - 1) as f64) as usize];
        let (p50, p999) = (at(0.5), at(0.999));
        eprintln!(
            "{name}: {} switches, p50 {p50:?}, p99.9 {p999:?}, longest {:?}",
            all.len(),
            at(1.0)
        );
    };
    measure("memory_journal", &mut memory_journal);
    measure("file_journal", &mut file_journal);
}

fn journal(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let me = Change::by("bench").because("filling the journal");
    let memory = Arc::new(MemoryJournal::new());
    let config = DeploymentConfig::default();
    let deployment = Deployment::<str>::builder(config.clone()).journal(memory.clone());
    let deployment = deployment.open().expect("opens");
    for _ in 0..25_000 {
        deployment.freeze(&me).expect("freezes");
        deployment.unfreeze(&me).expect("unfreezes");
    }
    let lines = memory.read().expect("reads").lines;
    assert_eq!(lines.len(), 100_000);
    let mut text = "mlp-rollback journal 1\n".to_owned();
    for line in &lines {
        text.push_str(&format!("{} {} {}\n", line.sequence, line.hash, line.text));
    }
    std::fs::write(&path, text).expect("writes");
    let mut group = criterion.benchmark_group("journal");
    group.sample_size(10);
    group.bench_function("reopen/100000_records", |bencher| {
        bencher.iter(|| {
            let journal = Arc::new(FileJournal::open(&path).expect("opens"));
            let builder = Deployment::<str>::builder(config.clone()).journal(journal);
            builder.open().expect("opens").generation()
        });
    });
    group.finish();
}

criterion_group!(benches, path_of_a_request, switch, journal);
criterion_main!(benches);
