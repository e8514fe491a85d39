//! Tests and divergences beside the sort they need, scores beside memory, detectors by update.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mlp_stats::{
    Adwin, AdwinConfig, Ddm, DdmConfig, DriftDetector, Eddm, EddmConfig, HddmA, HddmAConfig, HddmW,
    HddmWConfig, Kswin, KswinConfig, PageHinkley, PageHinkleyConfig, RateEvidence, ReferenceBins,
    accuracy, ks_two_sample, log_loss, mann_whitney, roc_auc, wasserstein,
};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const MANY: usize = 1_000_000;

fn uniform(seed: u64, count: usize) -> Vec<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| generator.next_u64() as f64 / u64::MAX as f64).collect()
}

fn samples(c: &mut Criterion) {
    let mut group = c.benchmark_group("a million against a million");
    group.sample_size(10).throughput(Throughput::Elements(2 * MANY as u64));
    let (first, second) = (uniform(1, MANY), uniform(2, MANY));
    let both = || (first.clone(), second.clone());
    group.bench_function("sorting both", |b| {
        b.iter_batched(
            both,
            |(mut first, mut second)| {
                first.sort_unstable_by(f64::total_cmp);
                second.sort_unstable_by(f64::total_cmp);
                (first, second)
            },
            BatchSize::LargeInput,
        );
    });
    // What the library itself sorts: the values' bits as integers that order the same.
    let keys =
        |values: &[f64]| -> Vec<u64> { values.iter().map(|value| value.to_bits()).collect() };
    group.bench_function("sorting both as integers", |b| {
        b.iter(|| {
            let (mut first, mut second) = (keys(&first), keys(&second));
            first.sort_unstable();
            second.sort_unstable();
            (first, second)
        });
    });
    group.bench_function("Kolmogorov-Smirnov", |b| b.iter(|| ks_two_sample(&first, &second)));
    group.bench_function("Mann-Whitney", |b| b.iter(|| mann_whitney(&first, &second)));
    group.bench_function("Wasserstein", |b| b.iter(|| wasserstein(&first, &second)));
    group.bench_function("sorting one as integers", |b| {
        b.iter(|| {
            let mut first = keys(&first);
            first.sort_unstable();
            first
        });
    });
    group.bench_function("PSI, bins and both shares", |b| {
        b.iter(|| ReferenceBins::new(&first, 10).and_then(|bins| bins.psi(&second)));
    });
    group.finish();
}

fn scores(c: &mut Criterion) {
    let mut group = c.benchmark_group("a million predictions");
    group.sample_size(20);
    let scores = uniform(3, MANY);
    let truth: Vec<bool> = uniform(4, MANY).iter().zip(&scores).map(|(u, s)| u < s).collect();
    group.bench_function("ROC AUC", |b| b.iter(|| roc_auc(&truth, &scores)));
    let labels: Vec<usize> = truth.iter().map(|label| usize::from(*label)).collect();
    let predicted: Vec<usize> = scores.iter().map(|score| usize::from(*score > 0.5)).collect();
    group.throughput(Throughput::Bytes(16 * MANY as u64));
    group.bench_function("accuracy", |b| b.iter(|| accuracy(&labels, &predicted)));
    let probabilities: Vec<f64> = scores.iter().flat_map(|score| [1.0 - score, *score]).collect();
    group.throughput(Throughput::Bytes(24 * MANY as u64));
    group.bench_function("log loss", |b| b.iter(|| log_loss(&labels, &probabilities, 2)));
    group.finish();
}

fn detectors(c: &mut Criterion) {
    let mut group = c.benchmark_group("detector updates");
    let updates = 100_000;
    group.sample_size(20).throughput(Throughput::Elements(updates as u64));
    let values = uniform(5, updates);
    let errors: Vec<f64> = values.iter().map(|u| f64::from(u8::from(*u < 0.1))).collect();
    let mut measure =
        |name: &str, detector: &dyn Fn() -> Box<dyn DriftDetector>, stream: &[f64]| {
            group.bench_function(name, |b| {
                b.iter_batched(
                    detector,
                    |mut detector| {
                        for value in stream {
                            let _ = black_box(detector.update(*value));
                        }
                        detector
                    },
                    BatchSize::SmallInput,
                );
            });
        };
    let adwin = |clock: u64| {
        let config = AdwinConfig { clock, ..AdwinConfig::default() };
        move || -> Box<dyn DriftDetector> { Box::new(Adwin::new(config).expect("a configuration")) }
    };
    measure("ADWIN, clock 1", &adwin(1), &values);
    measure("ADWIN, clock 32", &adwin(32), &values);
    measure(
        "Page-Hinkley",
        &|| Box::new(PageHinkley::new(PageHinkleyConfig::default()).expect("a configuration")),
        &values,
    );
    measure(
        "KSWIN",
        &|| Box::new(Kswin::new(KswinConfig::default()).expect("a configuration")),
        &values,
    );
    measure("DDM", &|| Box::new(Ddm::new(DdmConfig::default()).expect("a configuration")), &errors);
    measure(
        "EDDM",
        &|| Box::new(Eddm::new(EddmConfig::default()).expect("a configuration")),
        &errors,
    );
    measure(
        "HDDM-A",
        &|| Box::new(HddmA::new(HddmAConfig::default()).expect("a configuration")),
        &errors,
    );
    measure(
        "HDDM-W",
        &|| Box::new(HddmW::new(HddmWConfig::default()).expect("a configuration")),
        &errors,
    );
    group.finish();
}

fn evidence(c: &mut Criterion) {
    let mut evidence = RateEvidence::new(0.01).expect("a bound");
    evidence.add(60, 5_000);
    c.bench_function("e-value of 60 errors in 5,000", |b| {
        b.iter(|| black_box(&evidence).log_e_value())
    });
}

criterion_group!(benches, samples, scores, detectors, evidence);
criterion_main!(benches);
