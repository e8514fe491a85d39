//! What do recording, hashing, walking and proving cost?
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use std::hint::black_box;
use std::io::{Read, repeat};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mlp_core::{ContentHash, DatasetRef, ModelName, RecordId, Timestamp};
use mlp_lineage::{
    ArtifactStore, FileArtifactStore, InMemoryLineageStore, LineageStore, LineageStoreExt, Node,
    Record, capture_code,
};

fn record() -> Record {
    let model: ModelName = "wine".parse().expect("a name");
    Record::new(model, Timestamp::UNIX_EPOCH)
}

fn dataset(k: u8) -> DatasetRef {
    let fingerprint = ContentHash::from_bytes([k; 32]);
    DatasetRef { name: format!("data{k}"), version: "1".to_owned(), fingerprint }
}

fn hashing(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store = FileArtifactStore::open(folder.path().join("artifacts")).expect("opens");
    let mut group = criterion.benchmark_group("artifact");
    group.sample_size(10);
    let bytes = 256 << 20;
    let artifact = store.put(&mut repeat(7).take(bytes)).expect("puts");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("read_and_verify_256_mib", |bencher| {
        bencher.iter(|| {
            let mut sink = std::io::sink();
            store.copy_to(artifact.hash, &mut sink).expect("reads")
        });
    });
    let weights = vec![7_u8; 64 << 20];
    group.throughput(Throughput::Bytes(weights.len() as u64));
    group.bench_function("hash_64_mib", |bencher| {
        bencher.iter(|| blake3::hash(black_box(&weights)))
    });
    group.finish();
}

fn recording(criterion: &mut Criterion) {
    criterion.bench_function("record/50_nodes_in_memory", |bencher| {
        bencher.iter_batched(
            || {
                let store = InMemoryLineageStore::new();
                let parents: Vec<RecordId> = (0..24)
                    .map(|_| {
                        let parent = record();
                        store.record(parent.clone()).expect("records");
                        parent.id
                    })
                    .collect();
                let datasets =
                    (0..25).fold(record(), |r, k| r.with_dataset(format!("d{k}"), dataset(k)));
                (store, parents.into_iter().fold(datasets, Record::with_parent))
            },
            |(store, record)| store.record(record).expect("records"),
            criterion::BatchSize::SmallInput,
        );
    });
}

fn walking(criterion: &mut Criterion) {
    let store = InMemoryLineageStore::new();
    let mut ids: Vec<RecordId> = Vec::new();
    for k in 0..100_000_usize {
        let mut next = record();
        if k >= 100 {
            let (one, other) = (k - 100, (k - 100) / 100 * 100 + (k + 1) % 100);
            next = next.with_parent(ids[one]).with_parent(ids[other]);
        }
        ids.push(next.id);
        store.record(next).expect("records");
    }
    let last = Node::Record(ids[ids.len() - 1]);
    assert!(store.ancestors(&last).expect("walks").len() > 90_000);
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(20);
    group.bench_function("ancestors_of_100000_with_two_parents", |bencher| {
        bencher.iter(|| store.ancestors(black_box(&last)));
    });
    group.finish();
}

fn proving(criterion: &mut Criterion) {
    let store = InMemoryLineageStore::new();
    for _ in 0..10_000 {
        store
            .record(record().with_dataset("train", dataset(1)).with_author("ann"))
            .expect("records");
    }
    let mut group = criterion.benchmark_group("verify");
    group.sample_size(10);
    group.bench_function("10000_records", |bencher| bencher.iter(|| store.verify_chain(None)));
    group.finish();
    criterion.bench_function("capture_code/this_repository", |bencher| {
        bencher.iter(|| capture_code(env!("CARGO_MANIFEST_DIR")));
    });
}

criterion_group!(benches, hashing, recording, walking, proving);
criterion_main!(benches);
