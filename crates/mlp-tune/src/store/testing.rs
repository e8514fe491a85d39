//! The contract of [`StudyStore`], executable.

use mlp_core::{Direction, Domain, ParamValue, Scale, StoreError, Timestamp};
use serde_json::json;

use super::{StudyId, StudyStore, TrialDraft, TrialEvent};
use crate::trial::{TrialRecord, TrialState};

type Check = fn(&dyn StudyStore);

const CHECKS: &[(&str, Check)] = &[
    ("a_study_opens_again_with_its_directions_only", a_study_opens_again_with_its_directions_only),
    ("attributes_of_a_study_are_its_own", attributes_of_a_study_are_its_own),
    ("numbers_have_no_gaps", numbers_have_no_gaps),
    ("a_finished_trial_never_changes", a_finished_trial_never_changes),
    ("a_waiting_trial_is_claimed_once", a_waiting_trial_is_claimed_once),
    (
        "a_claim_brings_its_attributes_or_changes_nothing",
        a_claim_brings_its_attributes_or_changes_nothing,
    ),
    ("doubles_come_back_exactly", doubles_come_back_exactly),
    ("the_first_report_of_a_step_stands", the_first_report_of_a_step_stands),
    ("reports_of_several_objectives_come_back", reports_of_several_objectives_come_back),
    ("changes_since_a_revision_are_what_happened", changes_since_a_revision_are_what_happened),
    ("parameters_keep_their_types", parameters_keep_their_types),
    ("a_lease_is_taken_in_turns", a_lease_is_taken_in_turns),
    ("studies_do_not_mix", studies_do_not_mix),
    ("racing_threads_get_distinct_numbers", racing_threads_get_distinct_numbers),
];

/// Runs every check of the contract, each on a fresh store from `open`.
///
/// # Panics
/// If the store breaks a promise; the name of the check is written to standard error first.
pub fn check<S: StudyStore>(open: impl Fn() -> S) {
    for (name, check) in CHECKS {
        let store = open();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&store)));
        assert!(outcome.is_ok(), "the store breaks the contract: {name}");
    }
}

const MINIMIZE: &[Direction] = &[Direction::Minimize];

fn open(store: &dyn StudyStore) -> StudyId {
    store.open_study("study", MINIMIZE).expect("opens")
}

fn running() -> TrialDraft {
    TrialDraft::new(TrialState::Running)
}

fn claim<const N: usize>(system: [(&str, serde_json::Value); N]) -> TrialEvent {
    let system = system.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    TrialEvent::Claim { started: Timestamp::from_micros(5_000_000), system }
}

fn finish(values: Vec<f64>) -> TrialEvent {
    TrialEvent::Finish {
        state: TrialState::Complete,
        values,
        finished: Timestamp::from_micros(1_700_000_000_000_001),
    }
}

fn only(store: &dyn StudyStore, study: StudyId) -> TrialRecord {
    let trials = store.changes(study, 0).expect("reads").trials;
    assert_eq!(trials.len(), 1);
    (*trials[0]).clone()
}

fn is_conflict<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Conflict { .. }))
}

fn a_study_opens_again_with_its_directions_only(store: &dyn StudyStore) {
    let first = open(store);
    assert_eq!(open(store), first);
    assert!(is_conflict(store.open_study("study", &[Direction::Maximize])));
    let other = store.open_study("other", &[Direction::Maximize, Direction::Minimize]);
    assert_ne!(other.expect("opens"), first);
    let names: Vec<_> = store.studies().expect("reads").into_iter().map(|s| s.1).collect();
    assert_eq!(names, ["study", "other"]);
}

fn attributes_of_a_study_are_its_own(store: &dyn StudyStore) {
    let study = open(store);
    let other = store.open_study("other", MINIMIZE).expect("opens");
    assert!(store.attributes(study).expect("reads").is_empty());
    let data = json!({"rows": 1e-300, "\"ü\"": [null, true, "x\n"]});
    for (study, name, value) in [(study, "data", json!(1)), (other, "data", json!("theirs"))] {
        store.set_attribute(study, name, &value).expect("attaches");
    }
    store.set_attribute(study, "data", &data).expect("replaces");
    store.set_attribute(study, "a \"name\"", &json!(-0.1)).expect("attaches");
    let own = store.attributes(study).expect("reads");
    let known = [("data".to_owned(), data), ("a \"name\"".to_owned(), json!(-0.1))];
    assert_eq!(own, known.into());
    assert_eq!(store.attributes(other).expect("reads")["data"], "theirs");
    let missing = StudyId(u64::MAX);
    let is_missing = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::NotFound { .. })), "{outcome:?}");
    };
    is_missing(store.set_attribute(missing, "data", &json!(1)));
    is_missing(store.attributes(missing).map(drop));
}

fn numbers_have_no_gaps(store: &dyn StudyStore) {
    let study = open(store);
    assert!(is_conflict(store.create_trial(study, 1, &running())));
    store.create_trial(study, 0, &running()).expect("creates");
    assert!(is_conflict(store.create_trial(study, 0, &running())));
    store.create_trial(study, 1, &running()).expect("creates");
    assert_eq!(store.changes(study, 0).expect("reads").trials.len(), 2);
}

fn a_finished_trial_never_changes(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &running()).expect("creates");
    store.record(study, 0, &finish(vec![1.0])).expect("finishes");
    let before = only(store, study);
    assert!(is_conflict(store.record(study, 0, &finish(vec![2.0]))));
    assert!(is_conflict(store.record(
        study,
        0,
        &TrialEvent::Report { step: 0, values: vec![1.0] }
    )));
    assert_eq!(only(store, study), before);
    let missing = store.record(study, 7, &finish(vec![2.0]));
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

fn a_waiting_trial_is_claimed_once(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &TrialDraft::new(TrialState::Waiting)).expect("creates");
    let claim = claim([]);
    store.record(study, 0, &claim).expect("claims");
    assert!(is_conflict(store.record(study, 0, &claim)));
    assert_eq!(only(store, study).started, Some(Timestamp::from_micros(5_000_000)));
}

fn a_claim_brings_its_attributes_or_changes_nothing(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &TrialDraft::new(TrialState::Waiting)).expect("creates");
    let lease = |worker: &str, epoch: u64| ("mlp:lease", json!({"worker": worker, "epoch": epoch}));
    assert!(is_conflict(store.record(study, 0, &claim([lease("late", 1), ("note", json!(1))]))));
    let before = only(store, study);
    assert_eq!((before.state, before.system.len()), (TrialState::Waiting, 0));
    store.record(study, 0, &claim([lease("one", 0), ("note", json!([1, 2]))])).expect("claims");
    assert!(is_conflict(store.record(study, 0, &claim([lease("two", 1), ("note", json!(3))]))));
    let trial = only(store, study);
    assert_eq!(trial.state, TrialState::Running);
    assert_eq!(trial.system["mlp:lease"]["worker"], "one");
    assert_eq!(trial.system["note"], json!([1, 2]));
}

fn doubles_come_back_exactly(store: &dyn StudyStore) {
    let study = open(store);
    let doubles = [0.1 + 0.2, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
    for (number, value) in doubles.into_iter().enumerate() {
        store.create_trial(study, number as u64, &running()).expect("creates");
        store
            .record(study, number as u64, &TrialEvent::Report { step: 0, values: vec![f64::NAN] })
            .expect("reports");
        store.record(study, number as u64, &finish(vec![value])).expect("finishes");
    }
    for (trial, value) in store.changes(study, 0).expect("reads").trials.iter().zip(doubles) {
        assert_eq!(trial.values[0].to_bits(), value.to_bits());
        assert!(trial.reports[&0].is_nan());
    }
}

fn the_first_report_of_a_step_stands(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &running()).expect("creates");
    for value in [1.0, 2.0] {
        store
            .record(study, 0, &TrialEvent::Report { step: 3, values: vec![value] })
            .expect("reports");
    }
    assert_eq!(only(store, study).reports[&3], 1.0);
}

fn reports_of_several_objectives_come_back(store: &dyn StudyStore) {
    let directions = [Direction::Minimize, Direction::Maximize];
    let study = store.open_study("several", &directions).expect("opens");
    store.create_trial(study, 0, &running()).expect("creates");
    let vectors = [vec![0.5, f64::INFINITY], vec![f64::NAN, -0.25]];
    for (step, values) in (0..).zip(vectors.clone()) {
        store.record(study, 0, &TrialEvent::Report { step, values }).expect("reports");
    }
    store.record(study, 0, &finish(vec![1.0, 2.0])).expect("finishes");
    let trial = only(store, study);
    assert_eq!((trial.reports[&0], &trial.values[..]), (0.5, &[1.0, 2.0][..]));
    for (step, values) in (0..).zip(vectors) {
        let found = trial.reported(step).expect("a report");
        assert!(found.iter().zip(&values).all(|(one, two)| one.to_bits() == two.to_bits()));
    }
}

fn changes_since_a_revision_are_what_happened(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &running()).expect("creates");
    store.create_trial(study, 1, &running()).expect("creates");
    let before = store.changes(study, 0).expect("reads");
    assert!(store.changes(study, before.revision).expect("reads").trials.is_empty());
    let value = json!({"fold": [1, null, "é"]});
    let event = TrialEvent::Attribute { name: "note".into(), value: value.clone() };
    store.record(study, 1, &event).expect("attaches");
    let after = store.changes(study, before.revision).expect("reads");
    assert_eq!(after.trials.len(), 1);
    assert_eq!((after.trials[0].number, &after.trials[0].attributes["note"]), (1, &value));
}

fn parameters_keep_their_types(store: &dyn StudyStore) {
    let study = open(store);
    let choices = vec![ParamValue::from("a"), true.into(), 3.into(), 3.5.into()];
    let domains = [
        ("c", Domain::Categorical { choices }, ParamValue::from(3)),
        ("n", Domain::Int { low: 1, high: 64, scale: Scale::Log, step: 1 }, 8.into()),
        (
            "x",
            Domain::Float { low: 0.0, high: 1.0, scale: Scale::Linear, step: Some(0.25) },
            0.5.into(),
        ),
    ];
    let mut draft = running();
    let (name, domain, value) = domains[0].clone();
    draft.params = std::sync::Arc::new([(name, value)].into_iter().collect());
    draft.domains = std::sync::Arc::new([(name.to_owned(), domain)].into());
    store.create_trial(study, 0, &draft).expect("creates");
    for (name, domain, value) in domains[1..].iter().cloned() {
        store
            .record(study, 0, &TrialEvent::Param { name: name.into(), domain, value })
            .expect("sets");
    }
    let trial = only(store, study);
    for (name, domain, value) in domains {
        assert_eq!(trial.params.get(name), Some(&value));
        assert_eq!(trial.domains.get(name), Some(&domain));
    }
}

fn a_lease_is_taken_in_turns(store: &dyn StudyStore) {
    let study = open(store);
    store.create_trial(study, 0, &running()).expect("creates");
    let lease = |worker: &str, epoch: u64| TrialEvent::System {
        name: "mlp:lease".into(),
        value: json!({"worker": worker, "epoch": epoch, "until": "2026-11-23T00:00:00Z"}),
    };
    store.record(study, 0, &lease("one", 0)).expect("takes");
    store.record(study, 0, &lease("two", 1)).expect("takes over");
    assert!(is_conflict(store.record(study, 0, &lease("three", 1))));
    assert_eq!(only(store, study).system["mlp:lease"]["worker"], "two");
}

fn studies_do_not_mix(store: &dyn StudyStore) {
    let (one, two) = (open(store), store.open_study("two", MINIMIZE).expect("opens"));
    store.create_trial(two, 0, &running()).expect("creates");
    store.create_trial(one, 0, &running()).expect("creates");
    store.create_trial(two, 1, &running()).expect("creates");
    store.record(two, 1, &finish(vec![2.0])).expect("finishes");
    store.record(one, 0, &finish(vec![1.0])).expect("finishes");
    assert_eq!(only(store, one).values, [1.0]);
    let two = store.changes(two, 0).expect("reads").trials;
    assert_eq!((two[0].state, two[1].values[0]), (TrialState::Running, 2.0));
}

fn racing_threads_get_distinct_numbers(store: &dyn StudyStore) {
    let study = open(store);
    let created: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let create = |number| store.create_trial(study, number, &running()).is_ok();
                    (0..10).filter(|&number| create(number)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(created, store.changes(study, 0).expect("reads").trials.len());
}
