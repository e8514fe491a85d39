//! Throughput and latency of a server under load: a model that costs 50 µs a batch, whatever its size, as many small networks do.
//!
//! ```sh
//! cargo run --release --example serve_load
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp::core::{ModelError, Servable, VersionNumber, VersionSource};
use mlp::serve::{ServeError, ServeOptions, Server};

/// Keeps a core busy for a fixed time, whatever the size of the batch.
#[derive(Debug)]
struct PerBatch(Duration);

impl Servable for PerBatch {
    type Input = u64;
    type Output = u64;

    fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
        let until = Instant::now() + self.0;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        out.extend(batch.iter().map(|input| input + 1));
        Ok(())
    }
}

fn measure(name: &str, callers: u64, options: ServeOptions) -> Result<(), ServeError> {
    let model = Arc::new(PerBatch(Duration::from_micros(50)));
    let server = Server::builder()
        .with_options(options)
        .with_warm_up([0])
        .fixed(VersionNumber(1), VersionSource::shared(model))?;
    let started = Instant::now();
    let until = started + Duration::from_secs(2);
    let answered: u64 = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..callers)
            .map(|caller| {
                let server = &server;
                scope.spawn(move || {
                    let mut answered = 0;
                    while Instant::now() < until {
                        answered += u64::from(
                            server.predict(caller).is_ok_and(|answer| answer.output == caller + 1),
                        );
                    }
                    answered
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("no caller panics")).sum()
    });
    let seconds = started.elapsed().as_secs_f64();
    let numbers = &server.numbers().versions[0];
    let latency = numbers.request_seconds;
    println!(
        "{name:<34} {callers:>7} {:>12.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.1}",
        answered as f64 / seconds,
        latency.p50 * 1e6,
        latency.p90 * 1e6,
        latency.p99 * 1e6,
        latency.p999 * 1e6,
        numbers.batch_rows.mean,
    );
    Ok(())
}

fn main() -> Result<(), ServeError> {
    println!("a model of 50 µs a batch, one replica; latencies in µs\n");
    println!(
        "{:<34} {:>7} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "batching", "callers", "requests/s", "p50", "p90", "p99", "p99.9", "rows"
    );
    let greedy = ServeOptions::default().with_replicas(1);
    for callers in [1, 4, 16, 64] {
        measure("greedy (the default)", callers, greedy.clone())?;
    }
    measure("none (one row a batch)", 16, greedy.clone().with_max_batch_rows(1))?;
    measure(
        "up to 200 µs for more to come",
        16,
        greedy.clone().with_batch_delay(Duration::from_micros(200)),
    )?;
    swap_under_load(greedy)?;
    memory()
}

/// Sixteen callers keep a model of 50 µs busy for four seconds; half-way another version takes over.
fn swap_under_load(options: ServeOptions) -> Result<(), ServeError> {
    let version = || VersionSource::shared(Arc::new(PerBatch(Duration::from_micros(50))));
    let builder = Server::builder().with_options(options).with_warm_up([0]);
    let server = builder.fixed(VersionNumber(1), version())?;
    let started = Instant::now();
    let (requests, swapped) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16_u64)
            .map(|caller| {
                let server = &server;
                scope.spawn(move || {
                    let mut requests = Vec::new();
                    while started.elapsed() < Duration::from_secs(4) {
                        let asked = Instant::now();
                        let is_right =
                            server.predict(caller).is_ok_and(|answer| answer.output == caller + 1);
                        requests.push((asked.duration_since(started), asked.elapsed(), is_right));
                    }
                    requests
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        let swapped = server.swap(VersionNumber(2), version());
        let requests: Vec<_> = callers
            .into_iter()
            .flat_map(|caller| caller.join().expect("no caller panics"))
            .collect();
        (requests, swapped)
    });
    swapped?;
    let p99 = |from: f64, to: f64| {
        let span = Duration::from_secs_f64(from)..Duration::from_secs_f64(to);
        let within = requests.iter().filter(|(asked, ..)| span.contains(asked));
        let mut latencies: Vec<Duration> = within.map(|(_, latency, _)| *latency).collect();
        latencies.sort_unstable();
        latencies.get(latencies.len() * 99 / 100).map_or(0, Duration::as_micros)
    };
    let failed = requests.iter().filter(|(.., is_right)| !is_right).count();
    println!(
        "\na swap under 16 callers: {} requests, {failed} failed; p99 of the second before {} µs, around the swap {} µs, after {} µs",
        requests.len(),
        p99(0.5, 1.5),
        p99(1.5, 2.5),
        p99(2.5, 3.5)
    );
    Ok(())
}

/// A million requests and a hundred reloads; what the process holds before and after, where Linux tells.
fn memory() -> Result<(), ServeError> {
    let version = || VersionSource::shared(Arc::new(PerBatch(Duration::ZERO)));
    let options = ServeOptions::default().with_cache_entries(1_000);
    let builder = Server::builder().with_options(options).with_warm_up([0]);
    let server = builder.fixed(VersionNumber(0), version())?;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let mut report = Vec::new();
    for part in 1..=10 {
        for request in 0..100_000 {
            server.predict(request % 5_000)?;
        }
        for reload in 1..=10 {
            server.swap(VersionNumber(10 * part + reload), version())?;
        }
        report.push(resident());
    }
    let shown: Vec<_> =
        report.iter().map(|kib| kib.map_or("?".to_owned(), |kib| kib.to_string())).collect();
    println!("memory after each 100,000 requests and 10 reloads, in KiB: {}", shown.join(", "));
    if let [_, Some(early), .., Some(late)] = report[..] {
        assert!(late < early + early / 10, "memory grew from {early} to {late} KiB");
    }
    Ok(())
}
