//! What does a durable write cost, and how fast are the frequent questions? Rates beside what disk and SQLite allow: `--example store_throughput`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mlp_core::{ContentHash, DatasetRef, Direction, ModelName, RecordId, Timestamp};
use mlp_eval::{
    Batch, EvalStore, EvalStoreExt, Field, Filter, Keys, NewEvaluation, Operator, Order,
    Projection, Query, Stage,
};
use mlp_lineage::{LineageStore, LineageStoreExt, Node, Record};
use mlp_sqlite::{Database, Durability, Options};

fn run(k: i64) -> NewEvaluation {
    let score = |salt: i64| ((k * 2_654_435_761 + salt * 977) % 1_000_003) as f64 / 1_000_003.0;
    let at = Timestamp::from_micros(1_700_000_000_000_000 + k);
    let mut run = NewEvaluation::new("bench", Stage::Validation, at).with_tag("team", "red");
    for (salt, name) in (0..).zip(["lr", "depth", "trees", "seed", "fold"]) {
        run = run.with_param(name, score(salt + 10));
    }
    for (salt, name) in (0..).zip(["acc", "f1", "auc", "loss", "time"]) {
        run = run.with_metric(name, score(salt));
    }
    run
}

fn writing(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for (name, durability) in [("full", Durability::Full), ("normal", Durability::Normal)] {
        let path = folder.path().join(format!("{name}.db"));
        let options = Options::new().with_durability(durability);
        let database = Database::open_with(path, &options).expect("opens");
        let mut k = 0;
        criterion.bench_function(&format!("log_a_run/{name}"), |bencher| {
            bencher.iter(|| {
                k += 1;
                let run = run(k);
                let end = run.started_at;
                database.log(run, end).expect("logs")
            });
        });
    }
    let database = Database::open(folder.path().join("points.db")).expect("opens");
    let curves = run(0);
    database.create(&curves).expect("creates");
    let mut step = 0;
    criterion.bench_function("write_a_batch_of_1000_points", |bencher| {
        bencher.iter(|| {
            let mut batch = Batch::new();
            for _ in 0..1_000 {
                let curve = format!("loss/{}", step / 1_000_000);
                batch = batch.with_point(curve.as_str(), step, curves.started_at, step as f64);
                step += 1;
            }
            database.write(curves.id, &batch).expect("writes");
        });
    });
}

/// A database with 10,000 runs.
fn filled(path: &std::path::Path, run: fn(i64) -> NewEvaluation) -> Database {
    let options = Options::new().with_durability(Durability::Normal);
    let database = Database::open_with(path, &options).expect("opens");
    std::thread::scope(|scope| {
        for thread in 0..50 {
            let database = &database;
            scope.spawn(move || {
                for k in 0..200 {
                    database.create(&run(k * 50 + thread)).expect("creates");
                }
            });
        }
    });
    database
}

/// As many experiments as runs, all of which have the same accuracy.
fn tied(k: i64) -> NewEvaluation {
    let mut run = run(k).with_metric("acc", 1.0);
    run.experiment = format!("e{k}");
    run
}

fn reading(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let database = filled(&folder.path().join("read.db"), run);
    let bench = Filter::experiment("bench");
    criterion.bench_function("best_of_10000", |bencher| {
        bencher.iter(|| database.best(black_box(&bench), "acc", Direction::Maximize));
    });
    let filter = Filter::parse("metrics.acc < 0.9 AND tags.team = 'red'").expect("parses");
    let query =
        Query::new(bench.clone().and(filter)).with_order(Order::descending(Field::metric("acc")));
    criterion.bench_function("filtered_page_of_100_of_10000", |bencher| {
        bencher.iter(|| database.query(black_box(&query)));
    });
    let narrow = Projection::nothing().with_metrics(Keys::only(["acc"]));
    let narrow = query.clone().with_projection(narrow);
    criterion.bench_function("filtered_page_of_100_of_10000/one_metric_read", |bencher| {
        bencher.iter(|| database.query(black_box(&narrow)));
    });
    let count = bench.and(Filter::metric("f1", Operator::Greater, 0.5));
    criterion.bench_function("count_of_10000", |bencher| {
        bencher.iter(|| database.count(black_box(&count)));
    });
    let bench = Filter::experiment("bench");
    let sorted = Query::new(bench).with_order(Order::ascending(Field::Param("lr".into())));
    pages(criterion, &database, "page_of_100_of_10000_by_a_parameter", sorted);

    let database = filled(&folder.path().join("tied.db"), tied);
    let everything = Filter::everything();
    criterion.bench_function("best_of_10000_equal_values_in_as_many_experiments", |bencher| {
        bencher.iter(|| database.best(black_box(&everything), "acc", Direction::Maximize));
    });
    let equal = Query::new(everything).with_order(Order::descending(Field::metric("acc")));
    pages(criterion, &database, "page_of_100_of_10000_equal_values", equal);
}

/// The first page of a query and the second.
fn pages(criterion: &mut Criterion, database: &Database, name: &str, query: Query) {
    let next = database.query(&query).expect("a page").next;
    for (which, query) in [("first", query.clone()), ("second", query.with_after(next))] {
        criterion.bench_function(&format!("{name}/{which}"), |bencher| {
            bencher.iter(|| database.query(black_box(&query)));
        });
    }
}

/// A record of 50 datasets and its version, in one group commit; and a chain of 20,000 records whose graph is walked by the database.
fn lineage(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("lineage.db")).unwrap();
    let model: ModelName = "wine".parse().unwrap();
    let mut seconds = 0;
    criterion.bench_function("lineage/record_with_50_datasets", |bencher| {
        bencher.iter(|| {
            seconds += 1;
            let at = Timestamp::from_micros(seconds);
            let mut record = Record::new(model.clone(), at);
            for k in 0..50_u8 {
                let fingerprint = ContentHash::from_bytes([k; 32]);
                let dataset =
                    DatasetRef { name: k.to_string(), version: "1".to_owned(), fingerprint };
                record = record.with_dataset(k.to_string(), dataset);
            }
            database.record_version(record, at).unwrap()
        });
    });
    let layers: Vec<Vec<RecordId>> =
        (0..200).map(|_| (0..100).map(|_| RecordId::generate()).collect()).collect();
    for (number, layer) in layers.iter().enumerate() {
        // As many threads as records: they share their commits.
        std::thread::scope(|scope| {
            for (k, id) in layer.iter().enumerate() {
                let (database, model, layers) = (&database, &model, &layers);
                scope.spawn(move || {
                    let mut record = Record::new(model.clone(), Timestamp::UNIX_EPOCH);
                    record.id = *id;
                    if number > 0 {
                        let before = &layers[number - 1];
                        record = record.with_parent(before[k]).with_parent(before[(k + 1) % 100]);
                    }
                    database.record(record).unwrap();
                });
            }
        });
    }
    let last = Node::Record(layers[199][99]);
    criterion.bench_function("lineage/ancestors_over_20000", |bencher| {
        bencher.iter(|| database.ancestors(&last).unwrap().len());
    });
    criterion.bench_function("lineage/verify_chain_20000", |bencher| {
        bencher.iter(|| database.verify_chain(None).unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = writing, reading, lineage
}
criterion_main!(benches);
