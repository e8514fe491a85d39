//! What data cost: a fingerprint, a CSV file, an online look-up, a row of features, a named row.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlp_core::{Scratch, Signature, Timestamp, random};
use mlp_data::online::{Event, Knowledge, MemoryOnlineStore, OnlineOptions, OnlineStore};
use mlp_data::{
    DerivedFeatures, FeatureSetSpec, FeatureStore, Formula, ReadOptions, RowCodec, RowOrder, Table,
    read_csv_from, write_csv_to,
};
use ndarray::Array2;

fn table(n_rows: usize, n_columns: usize, digits: i32) -> Table {
    let mut generator = random::stream(1, 0);
    let unit = 10_f64.powi(digits);
    let features = Array2::from_shape_simple_fn((n_rows, n_columns), || {
        let value = 100.0 * random::normal(&mut generator);
        if digits < 16 { (value * unit).round() / unit } else { value }
    });
    Table::new((0..n_columns).map(|i| format!("x{i}")), features).expect("names differ")
}

fn fingerprint(criterion: &mut Criterion) {
    let table = table(100_000, 20, 16);
    let mut group = criterion.benchmark_group("fingerprint");
    group.sample_size(20).throughput(Throughput::Bytes(100_000 * 20 * 8));
    group.bench_function("ordered/100000x20", |b| b.iter(|| table.fingerprint(RowOrder::Matters)));
    group
        .bench_function("unordered/100000x20", |b| b.iter(|| table.fingerprint(RowOrder::Ignored)));
    group.finish();
}

fn csv(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("csv");
    group.sample_size(20);
    for (name, digits) in [("read/50000x20_3_digits", 3), ("read/50000x20_17_digits", 16)] {
        let mut file = Vec::new();
        write_csv_to(&mut file, &table(50_000, 20, digits)).expect("memory takes it");
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                read_csv_from(&file[..], "bench.csv", &ReadOptions::new()).expect("good file")
            });
        });
    }
    group.finish();
}

fn online(criterion: &mut Criterion) {
    let store = MemoryOnlineStore::new((0..20).map(|i| format!("x{i}")), OnlineOptions::new())
        .expect("names differ");
    let entities: Vec<String> = (0..100_000).map(|i| format!("customer-{i}")).collect();
    for entity in &entities {
        for micros in 0..8 {
            let at = Timestamp::from_micros(micros);
            store.put(Event { entity, at, arrived: at, values: &[1.0; 20] }).expect("bounds kept");
        }
    }
    let mut out = [0.0; 20];
    let mut position = 0;
    criterion.bench_function("online/look_up_20_features_of_100000_entities", |b| {
        b.iter(|| {
            position = (position + 7919) % entities.len();
            let moment = Timestamp::from_micros(5);
            let found = store.look_up(&entities[position], moment, Knowledge::AtTheTime, &mut out);
            black_box(found.expect("the place fits"))
        });
    });
}

fn row(criterion: &mut Criterion) {
    let store = FeatureStore::new();
    let formulas =
        (0..10).map(|i| (format!("r{i}"), Formula::ratio(format!("x{i}"), format!("x{}", i + 1))));
    let derived = DerivedFeatures::new(formulas).expect("names differ");
    let derived = store.register_transform("ratios", Arc::new(derived)).expect("a good name");
    let names: Vec<String> = (0..11).map(|i| format!("x{i}")).collect();
    let features = names.iter().cloned().chain((0..9).map(|i| format!("r{i}")));
    let spec = FeatureSetSpec::new(names.clone()).with_transform(&derived).with_features(features);
    let set = store.register_set("bench", spec).expect("names fit");
    let (raw, mut out, mut scratch) = ([3.0; 11], [0.0; 20], Scratch::new());
    criterion.bench_function("features/one_row_of_20", |b| {
        b.iter(|| set.compute_row(black_box(&raw), &mut out, &mut scratch));
    });
    let codec = RowCodec::new(&Signature::regressor(names.clone(), "y"));
    let pairs: Vec<String> = names.iter().map(|name| format!("\"{name}\": 3.25")).collect();
    let json = format!("{{{}}}", pairs.join(","));
    criterion.bench_function("row/json_of_11", |b| b.iter(|| codec.encode_json(black_box(&json))));
}

criterion_group!(benches, fingerprint, csv, online, row);
criterion_main!(benches);
