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
        greedy.with_batch_delay(Duration::from_micros(200)),
    )
}
