//! Random writes, each compared with what the store in memory makes of it.

use mlp_core::random::{ChaCha8Rng, below, stream};
use mlp_core::{EvaluationId, ParamValue};

use super::{at, new};
use crate::batch::Batch;
use crate::evaluation::Status;
use crate::memory::InMemoryEvalStore;
use crate::series::SeriesKey;
use crate::store::EvalStore;

/// How many writes there are.
const WRITES: u64 = 400;

/// Texts that something could take for its own: SQL, JSON, a pattern, a separator, a quotation.
pub(super) const HOSTILE: [&str; 9] = [
    "'; DROP TABLE evaluations; --",
    "\" OR 1=1 --",
    "%",
    "_",
    "\\",
    "\u{202e}",
    "NULL",
    "{\"a\":1}",
    "] = ' OR [\u{1F377}",
];

pub(super) fn writes_are_as_in_memory(store: &dyn EvalStore) {
    let memory = InMemoryEvalStore::new();
    let (mut generator, mut ids) = (stream(8, 0), Vec::new());
    let mut taken = 0;
    for k in 0..WRITES {
        if ids.len() < 4 || below(&mut generator, 20) == 0 {
            let evaluation = new(k as i64 % 50).with_param("first", value(&mut generator));
            let evaluation = evaluation.with_metric("m", double(&mut generator));
            store.create(&evaluation).unwrap();
            memory.create(&evaluation).unwrap();
            ids.push(evaluation.id);
        }
        let id = ids[below(&mut generator, ids.len() as u64) as usize];
        let write = write(&mut generator);
        let (done, expected) = (write(store, id), write(&memory, id));
        assert_eq!(done.is_ok(), expected.is_ok(), "write {k}: {done:?}, in memory {expected:?}");
        taken += u64::from(done.is_ok());
        assert_eq!(told(store, id), told(&memory, id), "after write {k}");
    }
    ids.iter().for_each(|id| assert_eq!(told(store, *id), told(&memory, *id)));
    assert!((WRITES / 3..WRITES).contains(&taken), "{taken} writes were taken");
}

type Write = Box<dyn Fn(&dyn EvalStore, EvaluationId) -> Result<(), mlp_core::StoreError>>;

fn write(generator: &mut ChaCha8Rng) -> Write {
    match below(generator, 30) {
        0 => Box::new(|store, id| store.delete(id)),
        1..3 => Box::new(|store, id| store.restore(id)),
        3 => Box::new(|store, id| store.purge(id)),
        _ => {
            let batch = batch(generator);
            Box::new(move |store, id| store.write(id, &batch))
        }
    }
}

fn batch(generator: &mut ChaCha8Rng) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..below(generator, 6) {
        let (step, second) = (below(generator, 4) as i64 - 1, below(generator, 3) as i64);
        batch = batch.with_point(key(generator), step, at(second), double(generator));
    }
    if below(generator, 3) == 0 {
        batch = batch.with_param(["a", "b", "c"][below(generator, 3) as usize], value(generator));
    }
    for _ in 0..below(generator, 3) {
        let name = ["t", "u"][below(generator, 2) as usize];
        batch = match below(generator, 4) {
            0 => batch.without_tag(name),
            _ => batch.with_tag(name, HOSTILE[below(generator, 9) as usize]),
        };
    }
    if below(generator, 60) == 0 {
        batch = batch.finished(Status::Finished, at(100));
    }
    batch
}

fn key(generator: &mut ChaCha8Rng) -> SeriesKey {
    let key = SeriesKey::new(["m", "loss"][below(generator, 2) as usize]);
    match below(generator, 3) {
        0 => key,
        _ => key.with_context("part", HOSTILE[below(generator, 9) as usize]),
    }
}

/// Any bits at all, or one of a few values, so that points come twice.
fn double(generator: &mut ChaCha8Rng) -> f64 {
    match below(generator, 3) {
        0 => f64::from_bits(below(generator, u64::MAX)),
        _ => [0.0, -0.0, f64::NAN, f64::INFINITY][below(generator, 4) as usize],
    }
}

fn value(generator: &mut ChaCha8Rng) -> ParamValue {
    match below(generator, 4) {
        0 => ParamValue::Int(below(generator, 3) as i64),
        1 => double(generator).into(),
        2 => HOSTILE[below(generator, 9) as usize].into(),
        _ => vec![below(generator, 2) as i64, 2].into(),
    }
}

/// What a store tells of an evaluation, with each double by its bits where it matters.
fn told(store: &dyn EvalStore, id: EvaluationId) -> Option<String> {
    let mut evaluation = store.get(id).ok()?;
    evaluation.series.sort_by(|one, other| one.key.cmp(&other.key));
    let points: Vec<_> = evaluation
        .series
        .iter()
        .map(|summary| {
            let points = store.series(id, &summary.key).unwrap();
            let bits = |value: f64| value.to_bits();
            points.iter().map(|p| (p.at, p.step, bits(p.value))).collect::<Vec<_>>()
        })
        .collect();
    Some(format!("{evaluation:?} {points:?}"))
}
