//! How long does a study of 28,000 trials take to open, beside reading its lines as JSON?

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use mlp_core::{Dimension, Direction, Params, SearchSpace, StoreError, Timestamp};
use mlp_tune::{Journal, StudyStore, TrialDraft, TrialEvent, TrialState};
use tempfile::TempDir;

const TRIALS: u64 = 28_000;

fn space() -> SearchSpace {
    let floats = (0..10).map(|i| Dimension::float(format!("x{i}"), 0.0, 1.0));
    SearchSpace::new(floats).expect("ten ranges")
}

/// A journal of complete trials, as a study writes it: two lines a trial.
fn write(path: &Path) -> Result<(), StoreError> {
    let journal = Journal::open(path)?;
    let study = journal.open_study("study", &[Direction::Minimize])?;
    let mut draft = TrialDraft::new(TrialState::Running);
    let domains = space().dimensions().iter().map(|d| (d.name.clone(), d.domain.clone())).collect();
    draft.domains = Arc::new(domains);
    draft.started = Some(Timestamp::UNIX_EPOCH);
    let lease = serde_json::json!({"worker": "mlp/here/1/1", "study": 1, "epoch": 0, "until": 1});
    draft.system = Arc::new([("mlp:lease".to_owned(), lease)].into());
    let mut stream = mlp_core::random::stream(1, 0);
    for number in 0..TRIALS {
        let values = (0..10).map(|i| (format!("x{i}"), mlp_core::random::uniform(&mut stream)));
        draft.params = Arc::new(values.collect::<Params>());
        journal.create_trial(study, number, &draft)?;
        let finished = Timestamp::UNIX_EPOCH;
        let values = vec![mlp_core::random::uniform(&mut stream)];
        let event = TrialEvent::Finish { state: TrialState::Complete, values, finished };
        journal.record(study, number, &event)?;
    }
    Ok(())
}

/// The journal in a folder in memory, where there is one with room for its 57 MB: syncing 56,000 lines to a disk may take minutes, and is not
/// what is measured.
fn written() -> (TempDir, PathBuf) {
    let write_in = |folder: TempDir| {
        let path = folder.path().join("study.log");
        write(&path).map(|()| (folder, path))
    };
    let in_memory = tempfile::tempdir_in("/dev/shm").ok().and_then(|folder| write_in(folder).ok());
    in_memory.unwrap_or_else(|| {
        write_in(tempfile::tempdir().expect("a folder")).expect("a journal of 57 MB")
    })
}

fn journal(criterion: &mut Criterion) {
    let (_folder, path) = written();
    let mut group = criterion.benchmark_group("28000_trials");
    group.sample_size(10);
    group.bench_function("parse_lines_as_json", |bencher| {
        bencher.iter(|| {
            let text = std::fs::read_to_string(&path).expect("the journal");
            let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
            text.lines().map(parse).filter(|value| black_box(value).is_object()).count()
        });
    });
    group.bench_function("open", |bencher| {
        bencher.iter(|| {
            let journal = Journal::open(&path).expect("the journal");
            assert_eq!(journal.damaged_lines(), 0);
            let study = journal.studies().expect("the study")[0].0;
            assert_eq!(journal.changes(study, 0).expect("trials").trials.len() as u64, TRIALS);
        });
    });
    group.finish();
}

criterion_group!(benches, journal);
criterion_main!(benches);
