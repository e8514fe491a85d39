//! The logger that never blocks.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{StoreError, Timestamp};
use parking_lot::Mutex;

use mlp_eval::{
    Batch, EvalLogger, EvalStore, EvalStoreExt, InMemoryEvalStore, LogError, LoggerOptions,
    NewEvaluation, Stage, Status, WhenFull,
};

use crate::contract::{Slow, Wrapper};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn running(store: &dyn EvalStore) -> mlp_core::EvaluationId {
    let run = NewEvaluation::new("wine", Stage::Training, at(0));
    store.create(&run).unwrap();
    run.id
}

#[test]
fn dropping_a_logger_writes_everything_it_took() {
    let store = Arc::new(InMemoryEvalStore::new());
    let runs: Vec<_> = (0..5).map(|_| running(store.as_ref())).collect();
    let options = LoggerOptions::default().with_gather(Duration::from_secs(3_600));
    let logger = EvalLogger::start(store.clone(), options).unwrap();
    for step in 0..2_300 {
        for run in &runs {
            logger.log(*run, "loss", step, at(step), 0.5).unwrap();
        }
    }
    drop(logger);
    for run in runs {
        assert_eq!(store.series(run, &"loss".into()).unwrap().len(), 2_300);
    }
}

#[test]
fn points_are_written_after_their_time_without_a_flush() {
    let store = Arc::new(InMemoryEvalStore::new());
    let run = running(store.as_ref());
    let options = LoggerOptions::default().with_gather(Duration::from_millis(5));
    let logger = EvalLogger::start(store.clone(), options).unwrap();
    logger.log(run, "loss", 0, at(0), 0.5).unwrap();
    let written = || !store.series(run, &"loss".into()).unwrap().is_empty();
    let waited = (0..12_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        written()
    });
    assert!(waited, "nothing was written in a minute");
}

/// A store that takes nothing while this is locked.
static DOOR: Mutex<()> = Mutex::new(());
/// Tests that lock the door take turns.
static TURN: Mutex<()> = Mutex::new(());

fn behind_the_door(inner: Arc<InMemoryEvalStore>) -> Wrapper {
    Wrapper::failing(inner, 0, |_| {
        drop(DOOR.lock());
        None
    })
}

#[test]
fn at_the_bound_a_point_is_refused_at_once_or_waits_for_its_place() {
    let _turn = TURN.lock();
    let store = Arc::new(InMemoryEvalStore::new());
    let run = running(store.as_ref());
    let options = LoggerOptions::default().with_queue(4).with_gather(Duration::ZERO);
    let door = DOOR.lock();
    let logger =
        EvalLogger::start(Arc::new(behind_the_door(store.clone())), options.clone()).unwrap();
    let results: Vec<_> = (0..50).map(|step| logger.log(run, "a", step, at(0), 1.0)).collect();
    let full = Err(LogError::Full { waiting: 4 });
    assert!(results[..4].iter().all(Result::is_ok) && results[4..].iter().all(|r| *r == full));
    drop(door);
    logger.flush().unwrap();
    assert_eq!(store.series(run, &"a".into()).unwrap().len(), 4);
    logger.log(run, "a", 4, at(0), 1.0).unwrap();
    logger.close().unwrap();
    assert_eq!(store.series(run, &"a".into()).unwrap().len(), 5);

    let waiting = options.with_when_full(WhenFull::Wait);
    let slow = Arc::new(Slow::new(Duration::from_millis(5)));
    let run = running(slow.as_ref());
    let logger = EvalLogger::start(slow.clone(), waiting).unwrap();
    (0..20).for_each(|step| logger.log(run, "b", step, at(0), 1.0).unwrap());
    logger.flush().unwrap();
    assert_eq!(slow.series(run, &"b".into()).unwrap().len(), 20);
}

#[test]
fn points_that_are_gathered_for_many_evaluations_count_against_the_bound() {
    let _turn = TURN.lock();
    let store = Arc::new(InMemoryEvalStore::new());
    let runs: Vec<_> = (0..50).map(|_| running(store.as_ref())).collect();
    let options =
        LoggerOptions::default().with_queue(1_000).with_gather(Duration::from_secs(3_600));
    let door = DOOR.lock();
    let logger =
        EvalLogger::start(Arc::new(behind_the_door(store.clone())), options.clone()).unwrap();
    let log_all = |logger: &EvalLogger| {
        let points = (0..100).flat_map(|step| runs.iter().map(move |run| (*run, step)));
        points.filter(|(run, step)| logger.log(*run, "m", *step, at(0), 1.0).is_ok()).count()
    };
    assert_eq!(log_all(&logger), 1_000, "more are held than may wait");
    drop(door);
    logger.close().unwrap();
    let written: usize =
        runs.iter().map(|run| store.series(*run, &"m".into()).unwrap().len()).sum();
    assert_eq!(written, 1_000);

    // Whoever waits for a place does not wait for the gathering, of an hour, to end.
    let waiting = options.with_when_full(WhenFull::Wait);
    let logger = EvalLogger::start(store.clone(), waiting).unwrap();
    assert_eq!(log_all(&logger), 5_000);
    logger.close().unwrap();
    assert!(runs.iter().all(|run| store.series(*run, &"m".into()).unwrap().len() == 100));
}

#[test]
fn closing_a_logger_tells_what_could_not_be_written() {
    let store = Arc::new(InMemoryEvalStore::new());
    let run = running(store.as_ref());
    let full = Wrapper::failing(store, 0, |_| Some(StoreError::StorageFull));
    let options = LoggerOptions::default().with_gather(Duration::from_secs(3_600));
    let logger = EvalLogger::start(Arc::new(full), options).unwrap();
    logger.log(run, "m", 0, at(0), 1.0).unwrap();
    assert!(matches!(logger.close(), Err(StoreError::StorageFull)));
}

#[test]
fn a_store_that_stays_busy_is_given_up_for_everything_that_waits_as_long() {
    let _turn = TURN.lock();
    let store = Arc::new(InMemoryEvalStore::new());
    let run = running(store.as_ref());
    let busy = Arc::new(Wrapper::failing(store, 0, |_| {
        drop(DOOR.lock());
        Some(StoreError::Busy { reason: "another writes".to_owned() })
    }));
    let options = LoggerOptions::default().with_patience(Duration::from_millis(300));
    // The store says that it is busy once every point has waited for longer than points do.
    let door = DOOR.lock();
    let logger = EvalLogger::start(busy.clone(), options).unwrap();
    (0..20_000).for_each(|step| logger.log(run, "m", step, at(0), 1.0).unwrap());
    std::thread::sleep(Duration::from_millis(400));
    drop(door);
    assert!(matches!(logger.flush(), Err(StoreError::Busy { .. })));
    assert_eq!(logger.lost(), 20_000);
    // Twenty batches, each of which would be tried once by itself. A pause of a second has the store asked once more.
    assert!(busy.calls() <= 10, "the store was asked {} times", busy.calls());
}

#[test]
fn a_store_that_is_free_again_takes_everything_however_long_it_has_waited() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let store = Arc::new(InMemoryEvalStore::new());
    let runs: Vec<_> = (0..20).map(|_| running(store.as_ref())).collect();
    // The first batch is asked for twice, and is written when all have waited for as long as they may.
    let busy = Wrapper::failing(store.clone(), 0, |call| match call {
        0 => Some(StoreError::Busy { reason: "another writes".to_owned() }),
        1 => {
            std::thread::sleep(2 * PATIENCE);
            None
        }
        _ => None,
    });
    let options = LoggerOptions::default().with_patience(PATIENCE);
    let logger = EvalLogger::start(Arc::new(busy), options).unwrap();
    runs.iter().for_each(|run| logger.log(*run, "m", 0, at(0), 1.0).unwrap());
    logger.flush().unwrap();
    assert_eq!(logger.lost(), 0);
}

#[test]
fn a_point_that_the_store_refuses_is_counted_and_told_and_takes_no_other_with_it() {
    let store = Arc::new(InMemoryEvalStore::new());
    let (good, ended) = (running(store.as_ref()), running(store.as_ref()));
    store.write(ended, &Batch::new().finished(Status::Finished, at(1))).unwrap();
    let logger = EvalLogger::start(store.clone(), LoggerOptions::default()).unwrap();
    logger.log(good, "m", 0, at(0), 1.0).unwrap();
    logger.log(good, "not^allowed", 0, at(0), 1.0).unwrap();
    logger.log(good, "m", 1, at(0), 1.0).unwrap();
    logger.log(ended, "m", 0, at(0), 1.0).unwrap();
    let error = logger.flush().unwrap_err();
    assert!(matches!(&error, StoreError::Invalid { field, .. } if field.contains("not^allowed")));
    assert_eq!(logger.lost(), 2);
    assert_eq!(store.series(good, &"m".into()).unwrap().len(), 2);
    logger.flush().unwrap();
    assert_eq!(store.find(&mlp_eval::Filter::everything()).unwrap().len(), 2);
}

#[test]
fn a_busy_store_is_waited_for_and_one_that_fails_is_not_asked_for_every_point() {
    let store = Arc::new(InMemoryEvalStore::new());
    let run = running(store.as_ref());
    let busy = Wrapper::failing(store.clone(), 0, |call| {
        (call < 2).then(|| StoreError::Busy { reason: "another writes".to_owned() })
    });
    let logger = EvalLogger::start(Arc::new(busy), LoggerOptions::default()).unwrap();
    logger.log(run, "m", 0, at(0), 1.0).unwrap();
    logger.flush().unwrap();
    assert_eq!((logger.lost(), store.series(run, &"m".into()).unwrap().len()), (0, 1));

    let full = Arc::new(Wrapper::failing(store, 0, |_| Some(StoreError::StorageFull)));
    // One batch, however long the logging takes.
    let options = LoggerOptions::default().with_gather(Duration::from_secs(3_600));
    let logger = EvalLogger::start(full.clone(), options).unwrap();
    (0..1_000).for_each(|step| logger.log(run, "m", step, at(0), 1.0).unwrap());
    assert!(matches!(logger.flush(), Err(StoreError::StorageFull)));
    assert_eq!((logger.lost(), full.calls()), (1_000, 1));
}
