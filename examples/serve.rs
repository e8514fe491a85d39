//! A random forest behind replicas, swapped for a larger one in the middle of traffic: no request fails, and none is answered by a
//! version that is half there.
//!
//! ```sh
//! cargo run --release --example serve
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mlp::core::{Estimator, Model, Samples, Target, VersionNumber, VersionSource, random};
use mlp::models::RandomForest;
use mlp::serve::{ServeOptions, Server};
use ndarray::Array2;

/// Rows of four features; the class is whether the first two add up to more than 1.
fn data(rows: usize) -> (Array2<f64>, Vec<usize>) {
    let mut generator = random::stream(1, 0);
    let features = Array2::from_shape_simple_fn((rows, 4), || random::uniform(&mut generator));
    let labels =
        features.rows().into_iter().map(|row| usize::from(row[0] + row[1] > 1.0)).collect();
    (features, labels)
}

fn forest(trees: usize) -> Result<VersionSource<dyn Model>, Box<dyn std::error::Error>> {
    let (features, labels) = data(2_000);
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    let classes = ["small", "large"].map(str::to_owned);
    let target = Target::Classes { labels: &labels, names: &classes };
    let model: Arc<dyn Model> = RandomForest::default()
        .with_trees(trees)
        .fit(Samples::new(features.view(), &names, target)?, 7)?;
    Ok(VersionSource::shared(model))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder()
        .with_options(ServeOptions::default().with_replicas(2).with_cache_entries(256))
        .with_warm_up([vec![0.5; 4]])
        .fixed(VersionNumber(1), forest(25)?)?;
    println!("version 1 (25 trees) is ready: {}", server.health().is_ready);

    let answers: Mutex<BTreeMap<VersionNumber, u64>> = Mutex::default();
    let stop = AtomicBool::new(false);
    let (rows, _) = data(1_000);
    let failed = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut mine, mut failed) = (BTreeMap::new(), 0_u64);
                    for row in rows.rows().into_iter().cycle() {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        match server.predict(row.to_vec()) {
                            Ok(answer) => *mine.entry(answer.version).or_insert(0) += 1,
                            Err(_) => failed += 1,
                        }
                    }
                    let mut all = answers.lock().expect("no caller panics");
                    mine.into_iter()
                        .for_each(|(version, count)| *all.entry(version).or_insert(0) += count);
                    failed
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        let started = Instant::now();
        let swapped = forest(100).and_then(|source| Ok(server.swap(VersionNumber(2), source)?));
        println!(
            "version 2 (100 trees) was fitted, warmed and swapped in after {:.0?} of traffic",
            started.elapsed()
        );
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        let failed = callers.into_iter().map(|caller| caller.join().expect("no caller panics"));
        let failed: u64 = failed.sum();
        swapped.map(|()| failed)
    })?;

    println!("\nfailed requests: {failed}\n\nversion   answers");
    for (version, count) in answers.into_inner()? {
        println!("{version:<7} {count:>9}");
    }
    let numbers = server.numbers();
    let now = &numbers.versions[0];
    println!(
        "\nversion 2: p50 {:.1} µs, p99 {:.1} µs, {} of {} from the cache",
        now.request_seconds.p50 * 1e6,
        now.request_seconds.p99 * 1e6,
        now.cached,
        now.request_seconds.count
    );
    let drained = server.drain(Duration::from_secs(5));
    println!("drained: {} unanswered, ready: {}", drained.unanswered, server.health().is_ready);
    Ok(())
}
