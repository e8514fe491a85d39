//! How fast the evaluation store on SQLite is, durably, beside what the disk and SQLite themselves allow in the same run.
//!
//! ```sh
//! cargo run --release --example store_throughput              # up to 100,000 evaluations, a minute
//! cargo run --release --example store_throughput -- 1000000   # as many as this
//! ```

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use mlp::core::{Clock, Direction, SystemClock, Timestamp};
use mlp::eval::{
    Batch, EvalStore, EvalStoreExt, Field, Filter, NewEvaluation, Operator, Order, Query, Stage,
};
use mlp_sqlite::Database;

/// How long each measurement of a rate takes.
const SPAN: Duration = Duration::from_secs(3);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let given = std::env::args().nth(1).unwrap_or_else(|| "100000".to_owned());
    let evaluations: usize =
        given.parse().map_err(|_| format!("{given:?} is no number of evaluations"))?;
    // Beside the program: a folder for temporary files may lie in memory, where a sync costs nothing.
    let program = std::env::current_exe()?;
    let folder = tempfile::tempdir_in(program.parent().ok_or("a program without a folder")?)?;
    println!("{:<58} {:>12}  beside", "what", "measured");

    let data_syncs = raw_syncs(folder.path(), Raw::AppendAndSyncData)?;
    row("4 KiB appended and fdatasync, one after the other", &rate(data_syncs), "");
    let syncs = raw_syncs(folder.path(), Raw::OverwriteAndSync)?;
    row("4 KiB overwritten and fsync, one after the other", &rate(syncs), "");
    let frames = raw_syncs(folder.path(), Raw::FramesAndSync)?;
    row("14 pages of a log by one write and fsync, as a run has", &rate(frames), "");
    let bare_one = bare_groups(&folder.path().join("bare-1.db"), 1)?;
    row("rusqlite alone, 1 run a transaction", &rate(bare_one), "");
    let bare = bare_groups(&folder.path().join("bare.db"), 100)?;
    row("rusqlite alone, 100 runs a transaction", &rate(bare), "");

    let bare_few = bare_groups(&folder.path().join("bare-8.db"), 8)?;
    row("rusqlite alone, 8 runs a transaction", &rate(bare_few), "");

    for (threads, wanted) in [(1, 0.7 * syncs), (8, 4.0 * syncs), (100, 0.5 * bare)] {
        // The disk's rate changes from minute to minute: what is beside is measured beside.
        let now = raw_syncs(folder.path(), Raw::OverwriteAndSync)?;
        let database = Database::open(folder.path().join(format!("runs-{threads}.db")))?;
        let (runs, p99) = runs(&database, threads)?;
        let beside = format!(
            "wanted {}, {:.2} of the fsync rate just now, {:.0} times MLflow's 6",
            rate(wanted),
            runs / now,
            runs / 6.0
        );
        row(
            &format!("runs, {threads} threads, p99 {:.1} ms", p99.as_secs_f64() * 1e3),
            &rate(runs),
            &beside,
        );
    }

    let database = Database::open(folder.path().join("many.db"))?;
    let metrics = metrics(&database)?;
    row(
        "metrics in batches of 1,000, one thread",
        &rate(metrics),
        "wanted 100,000/s, MLflow 2,800/s",
    );

    let mut filled = 0;
    for size in [10_000, 100_000, 1_000_000] {
        if size > evaluations {
            break;
        }
        fill(&database, filled, size, |_| "filled".to_owned())?;
        filled = size;
        let everything = Filter::experiment("filled");
        let best = median(|| database.best(&everything, "acc", Direction::Maximize).map(|_| ()))?;
        row(&format!("best of {size}"), &micros(best), "wanted 200 µs, MLflow 0.23 s of 10,000");
        let filter = everything
            .and(Filter::metric("acc", Operator::Less, 0.9))
            .and(Filter::tag("team", "red"));
        let order = Order::descending(Field::metric("acc"));
        let query = Query::new(filter).with_order(order).with_limit(100);
        let page = median(|| database.query(&query).map(|_| ()))?;
        row(&format!("a filtered, ordered page of 100 of {size}"), &micros(page), "wanted 10 ms");
        let tied = Query::new(Filter::experiment("filled"))
            .with_order(Order::descending(Field::metric("tied")))
            .with_limit(100);
        pages_of(&database, &tied, &format!("a page of 100 of {size} equal values"))?;
        let sorted = Query::new(Filter::experiment("filled"))
            .with_order(Order::ascending(Field::Param("lr".into())))
            .with_limit(100);
        pages_of(&database, &sorted, &format!("a page of 100 of {size} by a parameter"))?;
        let before = resident();
        let pages = paged(&database)?;
        let grown = resident().saturating_sub(before);
        row(
            &format!("all {size} in {pages} pages, memory grown"),
            &format!("{} KiB", grown / 1024),
            "flat",
        );
    }

    let database = Database::open(folder.path().join("experiments.db"))?;
    fill(&database, 0, 10_000, |k| format!("e{k}"))?;
    let everything = Filter::everything();
    let best = median(|| database.best(&everything, "acc", Direction::Maximize).map(|_| ()))?;
    row("best of 10,000 in as many experiments", &micros(best), "wanted 200 µs");
    let order = Order::descending(Field::metric("acc"));
    let query = Query::new(everything).with_order(order).with_limit(100);
    pages_of(&database, &query, "a page of 100 of 10,000 experiments")?;
    Ok(())
}

/// The time of the first page of a query, and of the one after it.
fn pages_of(database: &Database, query: &Query, what: &str) -> Result<(), Failure> {
    let first = median(|| database.query(query).map(|_| ()))?;
    let after = query.clone().with_after(database.query(query)?.next);
    let second = median(|| database.query(&after).map(|_| ()))?;
    row(what, &micros(first), &format!("the second page {}", micros(second)));
    Ok(())
}

fn row(what: &str, measured: &str, beside: &str) {
    println!("{what:<58} {measured:>12}  {beside}");
}

fn rate(value: f64) -> String {
    format!("{value:.0}/s")
}

fn micros(time: Duration) -> String {
    format!("{:.0} µs", time.as_secs_f64() * 1e6)
}

/// What one durable write costs without a database.
#[derive(Clone, Copy, PartialEq)]
enum Raw {
    /// The file grows: its length is part of what is synced.
    AppendAndSyncData,
    /// As a write-ahead log that is begun anew.
    OverwriteAndSync,
    /// As the pages are written that a run with five parameters and five metrics changes: each behind a header, all by one call.
    FramesAndSync,
}

/// The pages that one run changes, counted in a log, each with its header.
const LOG_OF_A_RUN: u64 = 14 * (2_048 + 24);

fn raw_syncs(folder: &Path, how: Raw) -> Result<f64, Failure> {
    let mut file = File::create(folder.join("raw"))?;
    if how != Raw::AppendAndSyncData {
        file.write_all(&vec![0; 4 << 20])?;
        file.sync_all()?;
    }
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < SPAN {
        match how {
            Raw::AppendAndSyncData => {
                file.write_all(&[0x5a; 4096])?;
                file.sync_data()?;
            }
            Raw::OverwriteAndSync => {
                file.write_all_at(&[0x5a; 4096], u64::from(count % 1_024) * 4_096)?;
                file.sync_all()?;
            }
            Raw::FramesAndSync => {
                let bytes = [0x5a; LOG_OF_A_RUN as usize];
                file.write_all_at(&bytes, u64::from(count) % 100 * LOG_OF_A_RUN)?;
                file.sync_all()?;
            }
        }
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// The same records without anything of ours: one table of runs, one of parameters, one of metrics.
fn bare_groups(path: &Path, group: u32) -> Result<f64, Failure> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE run (n INTEGER PRIMARY KEY, id BLOB UNIQUE, experiment TEXT, started INTEGER);
         CREATE TABLE param (run INTEGER, name TEXT, value TEXT, PRIMARY KEY (run, name)) WITHOUT ROWID;
         CREATE TABLE metric (run INTEGER, name TEXT, value REAL, PRIMARY KEY (run, name)) WITHOUT ROWID;
         CREATE INDEX by_value ON metric (name, value);",
    )?;
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < SPAN {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..group {
            let run = evaluation(count as usize);
            let sql = "INSERT INTO run VALUES (?1, ?2, ?3, ?4)";
            let started = run.started_at.as_micros();
            connection.prepare_cached(sql)?.execute((count, run.id.as_bytes(), "bare", started))?;
            for (name, value) in run.params.iter() {
                let sql = "INSERT INTO param VALUES (?1, ?2, ?3)";
                connection.prepare_cached(sql)?.execute((count, name, value.to_string()))?;
            }
            for (name, value) in run.metrics.iter() {
                let sql = "INSERT INTO metric VALUES (?1, ?2, ?3)";
                connection.prepare_cached(sql)?.execute((count, name, value))?;
            }
            count += 1;
        }
        connection.execute_batch("COMMIT")?;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// A run with five parameters and five metrics.
fn evaluation(k: usize) -> NewEvaluation {
    let started = Timestamp::from_micros(1_700_000_000_000_000 + k as i64);
    let score = |salt: usize| {
        (k.wrapping_mul(2_654_435_761).wrapping_add(salt * 977) % 1_000_003) as f64 / 1_000_003.0
    };
    let mut run = NewEvaluation::new("runs", Stage::Validation, started);
    for (number, name) in ["lr", "depth", "trees", "seed", "fold"].into_iter().enumerate() {
        run = run.with_param(name, score(number + 10));
    }
    for (number, name) in ["acc", "f1", "auc", "loss", "time"].into_iter().enumerate() {
        run = run.with_metric(name, score(number));
    }
    run
}

/// Finished runs a second by so many threads, and the 99th percentile of what one waits.
fn runs(database: &Database, threads: usize) -> Result<(f64, Duration), Failure> {
    let start = Instant::now();
    let mut waits = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || -> Result<Vec<Duration>, Failure> {
                    let (clock, mut waits) = (SystemClock::new(), Vec::new());
                    while start.elapsed() < SPAN {
                        let run = evaluation(worker * 1_000_000 + waits.len());
                        let asked = Instant::now();
                        database.log(run, clock.now())?;
                        waits.push(asked.elapsed());
                    }
                    Ok(waits)
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| "a thread panicked")??);
        }
        Ok::<_, Failure>(all)
    })?;
    let runs = waits.len() as f64 / start.elapsed().as_secs_f64();
    waits.sort_unstable();
    Ok((runs, waits[waits.len() * 99 / 100]))
}

fn metrics(database: &Database) -> Result<f64, Failure> {
    let run = NewEvaluation::new("curves", Stage::Training, Timestamp::from_micros(0));
    database.create(&run)?;
    let (start, mut step) = (Instant::now(), 0);
    while start.elapsed() < SPAN {
        let mut batch = Batch::new();
        for _ in 0..1_000 {
            // A series holds a million points at most.
            batch = batch.with_point(
                format!("loss/{}", step / 1_000_000).as_str(),
                step,
                Timestamp::from_micros(step),
                1.0 / (step + 1) as f64,
            );
            step += 1;
        }
        database.write(run.id, &batch)?;
    }
    Ok(step as f64 / start.elapsed().as_secs_f64())
}

/// Brings the database to so many evaluations by a hundred threads, each in the experiment of this name.
fn fill(
    database: &Database,
    from: usize,
    to: usize,
    experiment: impl Fn(usize) -> String + Sync,
) -> Result<(), Failure> {
    let (threads, experiment) = (100, &experiment);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || -> Result<(), Failure> {
                    for k in (from + worker..to).step_by(threads) {
                        let team = if k % 3 == 0 { "blue" } else { "red" };
                        let run = evaluation(k).with_tag("team", team);
                        let mut run = run.with_metric("tied", 1.0);
                        run.experiment = experiment(k);
                        let end = run.started_at;
                        database.log(run, end)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

fn median(
    mut work: impl FnMut() -> Result<(), mlp::core::StoreError>,
) -> Result<Duration, Failure> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Reads everything page by page, and forgets it again.
fn paged(database: &Database) -> Result<usize, Failure> {
    let order = Order::ascending(Field::metric("f1"));
    let mut query = Query::new(Filter::experiment("filled")).with_order(order).with_limit(1_000);
    let mut pages = 0;
    loop {
        let page = database.query(&query)?;
        pages += 1;
        query.after = page.next;
        if query.after.is_none() {
            return Ok(pages);
        }
    }
}

/// The memory that the process has, in bytes; 0 where the system does not tell.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
