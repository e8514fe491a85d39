//! What a prediction costs besides the model: by its caller, through the queue, from the cache.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mlp_core::{
    ModelError, Outcome, RequestKey, Role, Route, Router, Servable, VersionNumber, VersionSource,
};
use mlp_serve::{PredictionCache, QuickCache, Remembered, ServeOptions, Server};

const V1: VersionNumber = VersionNumber(1);

/// The sum of 16 features: a model that costs almost nothing, so that what is measured is the server.
#[derive(Debug)]
struct Sum;

impl Servable for Sum {
    type Input = [f64; 16];
    type Output = f64;

    fn run(&self, batch: &[[f64; 16]], out: &mut Vec<f64>) -> Result<(), ModelError> {
        out.extend(batch.iter().map(|row| row.iter().sum::<f64>()));
        Ok(())
    }

    fn cache_key(&self, row: &[f64; 16], key: &mut Vec<u8>) -> bool {
        row.iter().for_each(|value| key.extend_from_slice(&(value + 0.0).to_le_bytes()));
        true
    }
}

#[derive(Debug)]
struct Always;

impl Router for Always {
    fn route(&self, _: &RequestKey<'_>) -> Route {
        Route::new(V1, Role::Active, 1)
    }

    fn observe(&self, outcome: &Outcome) {
        black_box(outcome.latency);
    }
}

fn source() -> VersionSource<Sum> {
    VersionSource::shared(Arc::new(Sum))
}

fn serve(options: ServeOptions) -> Server<Sum> {
    Server::builder().with_options(options).with_warm_up([[0.0; 16]]).fixed(V1, source()).unwrap()
}

fn idle_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("one_row");
    let mut out = Vec::with_capacity(1);
    group.bench_function("the_model_directly", |b| {
        b.iter(|| {
            out.clear();
            Sum.run(&[black_box([1.0; 16])], &mut out).unwrap();
            out[0]
        });
    });
    let fixed = serve(ServeOptions::default());
    group.bench_function("an_idle_server_fixed_version", |b| {
        b.iter(|| fixed.predict(black_box([1.0; 16])).unwrap().output);
    });
    let routed = Server::builder().with_warm_up([[0.0; 16]]).routed(Arc::new(Always)).unwrap();
    routed.host().prepare(V1, source()).unwrap();
    group.bench_function("an_idle_server_with_a_router", |b| {
        b.iter(|| routed.predict(black_box([1.0; 16])).unwrap().output);
    });
    let cached = serve(ServeOptions::default().with_cache_entries(1_000));
    group.bench_function("a_cache_hit", |b| {
        b.iter(|| cached.predict(black_box([1.0; 16])).unwrap().cached)
    });
    let queued = serve(ServeOptions::default().with_inline_below(Duration::ZERO).with_replicas(1));
    group.bench_function("through_the_queue", |b| {
        b.iter(|| queued.predict(black_box([1.0; 16])).unwrap().output)
    });
    group.finish();
}

/// The least that handing a value to another thread and back can cost.
fn park_unpark(c: &mut Criterion) {
    let turn = Arc::new(AtomicUsize::new(0));
    let (there, here) = (Arc::clone(&turn), std::thread::current());
    let worker = std::thread::spawn(move || {
        loop {
            match there.load(Ordering::Acquire) {
                1 => {
                    there.store(0, Ordering::Release);
                    here.unpark();
                }
                2 => return,
                _ => std::thread::park(),
            }
        }
    });
    c.bench_function("one_row/a_bare_park_unpark_round_trip", |b| {
        b.iter(|| {
            turn.store(1, Ordering::Release);
            worker.thread().unpark();
            while turn.load(Ordering::Acquire) == 1 {
                std::thread::park();
            }
        });
    });
    turn.store(2, Ordering::Release);
    worker.thread().unpark();
    worker.join().unwrap();
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache_look_up_16_features");
    let key: Vec<u8> = (0..16).flat_map(|n| f64::from(n).to_le_bytes()).collect();
    let ours = QuickCache::new(1_000);
    ours.insert(
        Box::from(&key[..]),
        Remembered { output: 1.0, replica: 0, expires: None, bytes: 200 },
    );
    group.bench_function("key_compared_in_full", |b| {
        b.iter(|| ours.get(black_box(&key)).unwrap().output)
    });
    let bare = quick_cache::sync::Cache::<u64, f64>::new(1_000);
    bare.insert(7, 1.0);
    group
        .bench_function("bare_quick_cache_of_u64", |b| b.iter(|| bare.get(black_box(&7)).unwrap()));
    let bare = quick_cache::sync::Cache::<Box<[u8]>, f64>::new(1_000);
    bare.insert(Box::from(&key[..]), 1.0);
    group.bench_function("bare_quick_cache_of_the_same_keys", |b| {
        b.iter(|| bare.get(black_box(&key[..])).unwrap())
    });
    group.finish();
}

criterion_group! {
    name = overhead;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    targets = idle_path, park_unpark, look_up
}
criterion_main!(overhead);
