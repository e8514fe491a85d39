//! The contract of [`EvalStore`], executable: a backend calls [`check`] with a function that opens a fresh store.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a check fails by panicking")]

use mlp_core::{
    ContentHash, DatasetRef, EvaluationId, ParamValue, StoreError, Timestamp, VersionNumber,
};

use crate::batch::{Batch, MAX_DEPTH, MAX_METRICS, MAX_PARAMS, MAX_TAGS, MAX_VALUE_BYTES};
use crate::evaluation::{Lifecycle, NewEvaluation, Stage, Status};
use crate::filter::{Field, Filter, Operator};
use crate::query::{Keys, Order, Projection, Query, View};
use crate::retention::{LEGAL_HOLD, PIN};
use crate::series::SeriesKey;
use crate::store::EvalStore;

mod questions;
mod random;

use questions::*;
use random::HOSTILE;

type Check = fn(&dyn EvalStore);

const CHECKS: &[(&str, Check)] = &[
    ("what_was_written_comes_back", what_was_written_comes_back),
    ("every_double_comes_back_by_its_bits", every_double_comes_back_by_its_bits),
    ("an_id_is_taken_once", an_id_is_taken_once),
    ("the_latest_value_has_the_greatest_step_then_time_then_value", the_latest_value),
    ("a_history_is_ordered_and_holds_identical_points_once", a_history_is_ordered),
    ("a_failing_batch_writes_nothing", a_failing_batch_writes_nothing),
    ("a_parameter_is_written_once", a_parameter_is_written_once),
    ("tags_overwrite_and_a_missing_one_cannot_be_removed", tags_overwrite),
    ("an_ended_evaluation_takes_no_more_writes", an_ended_evaluation_takes_no_more_writes),
    ("a_deleted_evaluation_is_read_but_not_written", a_deleted_evaluation_is_read_but_not_written),
    ("deleting_and_restoring_are_idempotent", deleting_and_restoring_are_idempotent),
    ("an_ended_or_deleted_evaluation_can_be_held_and_is_then_not_purged", held_is_not_purged),
    ("what_is_accepted_is_read_back", what_is_accepted_is_read_back),
    ("only_the_bin_is_purged", only_the_bin_is_purged),
    ("metrics_sort_as_numbers_then_nan_then_missing", metrics_sort_both_ways),
    ("ties_are_told_apart_by_start_then_id", ties_are_told_apart_by_start_then_id),
    ("a_comparison_never_matches_a_missing_key", a_comparison_never_matches_a_missing_key),
    ("a_filter_asks_for_the_latest_value_or_a_statistic", a_filter_asks_for_a_statistic),
    ("patterns_match_whole_texts", patterns_match_whole_texts),
    ("conditions_on_a_dataset_are_about_one_dataset", conditions_on_a_dataset),
    ("a_clock_that_goes_backwards_changes_no_latest_value_and_no_page", a_clock_goes_backwards),
    ("pages_neither_skip_nor_repeat", pages_neither_skip_nor_repeat),
    ("a_wrong_page_size_or_token_is_refused", a_wrong_page_size_or_token_is_refused),
    ("bad_keys_and_too_large_batches_are_refused", bad_keys_and_too_large_batches_are_refused),
    ("a_model_version_that_databases_cannot_hold_is_refused", a_model_version_too_large),
    ("hostile_texts_are_only_texts", hostile_texts_are_only_texts),
    ("a_missing_or_nan_metric_is_never_best", a_missing_or_nan_metric_is_never_best),
    ("a_first_batch_is_stored_with_its_evaluation_or_neither_is", first_batch_with_evaluation),
    ("an_experiment_goes_to_the_bin_with_its_evaluations_and_comes_back", an_experiment_is_binned),
    ("a_name_is_taken_until_it_is_purged", a_name_is_taken_until_it_is_purged),
    ("what_a_projection_leaves_out_is_not_there", what_a_projection_leaves_out_is_not_there),
    ("any_two_keys_sort_as_the_query_says", any_two_keys_sort_as_the_query_says),
    ("a_filter_on_the_key_of_the_order_passes_over_nothing_else", filters_on_the_key_of_the_order),
    ("any_filter_matches_as_it_does_in_memory", any_filter_matches_as_it_does_in_memory),
    ("any_writes_are_as_in_memory", random::writes_are_as_in_memory),
    ("eight_writers_lose_nothing", eight_writers_lose_nothing),
];

/// Runs every check, each on a fresh store from `open`.
///
/// # Panics
/// If a promise is broken; the check is named on the line before.
pub fn check<S: EvalStore>(open: impl Fn() -> S) {
    for (name, check) in CHECKS {
        let store = open();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&store)));
        assert!(result.is_ok(), "the store breaks its contract: {name}");
    }
}

/// Checks that what was written is there after the store was closed and opened again: `open` opens the same one each time.
///
/// # Panics
/// If something is lost or changed.
pub fn check_reopening<S: EvalStore>(open: impl Fn() -> S) {
    let store = open();
    varied(&store);
    let binned = create(&store, NewEvaluation::new("gone", Stage::Test, at(1)));
    store.delete_experiment("gone").unwrap();
    let everything = |store: &S| {
        let all = Query::default().with_view(View::All).with_limit(1_000);
        let page = store.query(&all).unwrap();
        let points: Vec<_> = page
            .evaluations
            .iter()
            .flat_map(|e| e.series.iter().map(|s| store.series(e.id, &s.key).unwrap()))
            .collect();
        format!("{:?} {points:?} {:?}", page.evaluations, store.experiments(View::All).unwrap())
    };
    let before = everything(&store);
    drop(store);
    let store = open();
    assert_eq!(everything(&store), before, "reopening changed something");
    assert!(store.create(&NewEvaluation::new("gone", Stage::Test, at(2))).is_err());
    store.restore_experiment("gone").unwrap();
    assert_eq!(store.get(binned).unwrap().lifecycle, Lifecycle::Active);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn new(second: i64) -> NewEvaluation {
    NewEvaluation::new("wine", Stage::Test, at(second))
}

fn create(store: &dyn EvalStore, evaluation: NewEvaluation) -> EvaluationId {
    store.create(&evaluation).unwrap();
    evaluation.id
}

fn what_was_written_comes_back(store: &dyn EvalStore) {
    let text = "naïve \u{1F377} \u{0} \"';--\n";
    let evaluation = new(1)
        .with_model("forest".parse().unwrap())
        .with_model_version(mlp_core::VersionNumber(7))
        .with_param("depth", 8)
        .with_param("rate", 0.1)
        .with_param("layers", vec![64, 32])
        .with_param("note", text)
        .with_tag("long", "x".repeat(MAX_VALUE_BYTES))
        .with_metric("f1", 0.75);
    store.create(&evaluation).unwrap();
    let read = store.get(evaluation.id).unwrap();
    assert_eq!(
        (&read.params, &read.tags, &read.metrics),
        (&evaluation.params, &evaluation.tags, &evaluation.metrics)
    );
    assert_eq!(
        (read.experiment.as_str(), read.stage, read.status),
        ("wine", Stage::Test, Status::Running)
    );
    assert_eq!((read.model, read.model_version), (evaluation.model, evaluation.model_version));
    assert_eq!((read.started_at, read.ended_at), (at(1), None));
    let missing = store.get(EvaluationId::generate());
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
}

fn every_double_comes_back_by_its_bits(store: &dyn EvalStore) {
    let values =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, f64::MAX, 1.0 / 3.0];
    let id = create(store, new(0));
    for (step, value) in (0..).zip(values) {
        store.write(id, &Batch::new().with_point("m", step, at(step), value)).unwrap();
        let last = store.get(id).unwrap().metrics.get("m").unwrap();
        assert_eq!(last.to_bits(), value.to_bits());
    }
    let history = store.series(id, &"m".into()).unwrap();
    let bits: Vec<_> = history.iter().map(|point| point.value.to_bits()).collect();
    assert_eq!(bits, values.map(f64::to_bits));
    let summary = store.get(id).unwrap().summary("m").unwrap().clone();
    assert_eq!((summary.count, summary.nan_count), (8, 1));
    assert_eq!(summary.max.unwrap().value, f64::INFINITY);
}

fn an_id_is_taken_once(store: &dyn EvalStore) {
    let evaluation = new(0).with_metric("m", 1.0);
    store.create(&evaluation).unwrap();
    let again = store.create(&evaluation.clone().with_metric("m", 2.0));
    assert!(matches!(again, Err(StoreError::Conflict { .. })));
    // Whoever tries again hears that, whatever else is wrong.
    let again = store.create_with(&evaluation, &Batch::new().without_tag("missing"));
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
    assert_eq!(store.get(evaluation.id).unwrap().metrics.get("m"), Some(1.0));
}

fn the_latest_value(store: &dyn EvalStore) {
    let id = create(store, new(0));
    let points =
        [(1.0, 100, 0), (2.0, 50, 5), (3.0, 200, 1), (4.0, 10, 5), (4.5, 50, 5), (-9.0, 900, -3)];
    for (value, time, step) in points {
        store.write(id, &Batch::new().with_point("m", step, at(time), value)).unwrap();
    }
    assert_eq!(store.get(id).unwrap().metrics.get("m"), Some(4.5));
}

fn a_history_is_ordered(store: &dyn EvalStore) {
    let id = create(store, new(0));
    let key = SeriesKey::new("m").with_context("subset", "train");
    let point = |step, time, value| Batch::new().with_point(key.clone(), step, at(time), value);
    for batch in
        [point(2, 5, 1.0), point(-1, 5, 9.0), point(0, 1, 3.0), point(2, 5, 1.0), point(2, 5, 0.5)]
    {
        store.write(id, &batch).unwrap();
    }
    let history = store.series(id, &key).unwrap();
    let read: Vec<_> = history.iter().map(|p| (p.at, p.step, p.value)).collect();
    assert_eq!(read, [(at(1), 0, 3.0), (at(5), -1, 9.0), (at(5), 2, 0.5), (at(5), 2, 1.0)]);
    assert_eq!(store.get(id).unwrap().series[0].count, 4);
    assert_eq!(store.series(id, &"m".into()).unwrap(), []);
    assert!(store.get(id).unwrap().metrics.is_empty(), "a series with a context is not the metric");
    assert!(store.series(EvaluationId::generate(), &key).is_err());
}

fn a_failing_batch_writes_nothing(store: &dyn EvalStore) {
    let id = create(store, new(0).with_param("a", 1));
    let before = store.get(id).unwrap();
    let good = || Batch::new().with_point("m", 0, at(0), 1.0).with_param("b", 2).with_tag("t", "u");
    for batch in [
        good().with_param("a", 2),
        good().with_param("b", 3),
        good().without_tag("absent"),
        good().with_tag("", "no key"),
        good().finished(Status::Running, at(1)),
    ] {
        store.write(id, &batch).unwrap_err();
        assert_eq!(store.get(id).unwrap(), before, "{batch:?} left something");
    }
    store.write(id, &good()).unwrap();
}

fn a_parameter_is_written_once(store: &dyn EvalStore) {
    let id = create(store, new(0).with_param("a", 1).with_param("n", f64::NAN));
    store.write(id, &Batch::new().with_param("a", 1).with_param("n", f64::NAN)).unwrap();
    store.write(id, &Batch::new().with_param("n", -f64::NAN)).unwrap();
    for other in [Batch::new().with_param("a", 2), Batch::new().with_param("a", "1")] {
        assert!(matches!(store.write(id, &other), Err(StoreError::Conflict { .. })));
    }
}

fn tags_overwrite(store: &dyn EvalStore) {
    let id = create(store, new(0).with_tag("team", "red"));
    store.write(id, &Batch::new().with_tag("team", "blue")).unwrap();
    assert_eq!(store.get(id).unwrap().tags["team"], "blue");
    store.write(id, &Batch::new().without_tag("team")).unwrap();
    let again = store.write(id, &Batch::new().without_tag("team"));
    assert!(matches!(again, Err(StoreError::NotFound { .. })));
}

fn an_ended_evaluation_takes_no_more_writes(store: &dyn EvalStore) {
    let id = create(store, new(0));
    store.write(id, &Batch::new().with_tag("a", "b").finished(Status::Failed, at(9))).unwrap();
    let read = store.get(id).unwrap();
    assert_eq!((read.status, read.ended_at, read.tags.len()), (Status::Failed, Some(at(9)), 1));
    for batch in [Batch::new().with_tag("a", "c"), Batch::new().finished(Status::Finished, at(9))] {
        assert!(matches!(store.write(id, &batch), Err(StoreError::Conflict { .. })));
    }
}

fn a_deleted_evaluation_is_read_but_not_written(store: &dyn EvalStore) {
    let id = create(store, new(0).with_metric("m", 1.0));
    store.delete(id).unwrap();
    let written = store.write(id, &Batch::new().with_tag("a", "b"));
    assert!(matches!(written, Err(StoreError::Conflict { .. })));
    assert_eq!(store.get(id).unwrap().metrics.get("m"), Some(1.0));
    assert_eq!(store.count(&Filter::everything()).unwrap(), 0);
    let seen = |view| store.query(&Query::default().with_view(view)).unwrap().evaluations.len();
    assert_eq!([View::Active, View::Deleted, View::All].map(seen), [0, 1, 1]);
}

fn deleting_and_restoring_are_idempotent(store: &dyn EvalStore) {
    let id = create(store, new(0).with_metric("m", 1.0).with_tag("a", "b"));
    let before = store.get(id).unwrap();
    for _ in 0..2 {
        store.delete(id).unwrap();
    }
    for _ in 0..2 {
        store.restore(id).unwrap();
    }
    assert_eq!(store.get(id).unwrap(), before);
    assert!(store.delete(EvaluationId::generate()).is_err());
    assert!(store.restore(EvaluationId::generate()).is_err());
}

fn held_is_not_purged(store: &dyn EvalStore) {
    let id = create(store, new(0));
    store.write(id, &Batch::new().finished(Status::Finished, at(1))).unwrap();
    for mixed in [
        Batch::new().with_tag(PIN, "a").with_tag("b", "c"),
        Batch::new().with_tag(PIN, "a").with_param("b", 1),
        Batch::new(),
    ] {
        assert!(matches!(store.write(id, &mixed), Err(StoreError::Conflict { .. })));
    }
    store.write(id, &Batch::new().with_tag(PIN, "for the paper")).unwrap();
    store.delete_experiment("wine").unwrap();
    store.write(id, &Batch::new().with_tag(LEGAL_HOLD, "case 7").without_tag(PIN)).unwrap();
    assert_eq!(store.get(id).unwrap().tags.len(), 1);
    let is_conflict = |result| matches!(result, Err(StoreError::Conflict { .. }));
    assert!(is_conflict(store.purge(id)) && is_conflict(store.purge_experiment("wine")));
    let missing = store.write(id, &Batch::new().without_tag(PIN));
    assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    assert!(store.get(id).is_ok());
    store.write(id, &Batch::new().without_tag(LEGAL_HOLD)).unwrap();
    store.purge_experiment("wine").unwrap();
    assert!(store.get(id).is_err());
}

fn what_is_accepted_is_read_back(store: &dyn EvalStore) {
    let nested =
        |depth| (0..depth).fold(ParamValue::from("\"\\"), |inner, _| ParamValue::List(vec![inner]));
    for depth in [0, 1, MAX_DEPTH, MAX_DEPTH + 1, 40, 200] {
        let evaluation = new(0).with_param("p", nested(depth));
        let created = store.create(&evaluation);
        assert_eq!(created.is_ok(), depth <= MAX_DEPTH, "a list {depth} deep");
        assert_eq!(store.get(evaluation.id).is_ok(), depth <= MAX_DEPTH);
    }
    for (arm, is_fine) in
        [("", false), ("b", true), ("a:b", true), ("\n", false), (&"x".repeat(251), false)]
    {
        let mut evaluation = new(0);
        evaluation.stage = Stage::AbArm(arm.to_owned());
        assert_eq!(store.create(&evaluation).is_ok(), is_fine, "arm {arm:?}");
        let read = store.get(evaluation.id).ok().map(|read| read.stage);
        assert_eq!(read, is_fine.then_some(evaluation.stage));
    }
    let long = DatasetRef {
        name: "x".repeat(MAX_VALUE_BYTES + 1),
        version: String::new(),
        fingerprint: ContentHash::from_bytes([0; 32]),
    };
    assert!(store.create(&new(0).with_dataset(long)).is_err());
    assert_eq!(store.query(&Query::default()).unwrap().evaluations.len(), 5);
}

fn only_the_bin_is_purged(store: &dyn EvalStore) {
    let evaluation = new(0).with_metric("m", 1.0);
    let id = create(store, evaluation.clone());
    assert!(matches!(store.purge(id), Err(StoreError::Conflict { .. })));
    store.delete(id).unwrap();
    store.purge(id).unwrap();
    assert!(matches!(store.get(id), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.purge(id), Err(StoreError::NotFound { .. })));
    store.create(&evaluation).unwrap();
    assert_eq!(store.series(id, &"m".into()).unwrap().len(), 1);
}

fn bad_keys_and_too_large_batches_are_refused(store: &dyn EvalStore) {
    let id = create(store, new(0));
    for key in ["", "a^b", "../a", "a/../b", "/a", "a/", "a\u{0}", "a;b", &"x".repeat(251)] {
        assert!(store.write(id, &Batch::new().with_point(key, 0, at(0), 1.0)).is_err(), "{key:?}");
        assert!(store.write(id, &Batch::new().with_param(key, 1)).is_err(), "{key:?}");
        assert!(store.write(id, &Batch::new().with_tag(key, "")).is_err(), "{key:?}");
        assert!(store.create(&new(0).with_metric(key, 1.0)).is_err(), "{key:?}");
    }
    for key in ["val acc", "a/b", "é-1_2.3:4", &"x".repeat(250)] {
        store.write(id, &Batch::new().with_point(key, 0, at(0), 1.0)).unwrap();
    }
    let points =
        |n: usize| (0..n).fold(Batch::new(), |b, i| b.with_point("m", i as i64, at(0), 0.0));
    store.write(id, &points(MAX_METRICS)).unwrap();
    let params = |n: usize| (0..n).fold(Batch::new(), |b, i| b.with_param(format!("p{i}"), 1));
    let tags = |n: usize| (0..n).fold(Batch::new(), |b, i| b.with_tag(format!("t{i}"), ""));
    store.write(id, &params(MAX_PARAMS)).unwrap();
    store.write(id, &tags(MAX_TAGS)).unwrap();
    for over in [points(MAX_METRICS + 1), params(MAX_PARAMS + 1), tags(MAX_TAGS + 1)] {
        let refused = store.write(id, &over);
        assert!(matches!(refused, Err(StoreError::LimitExceeded { .. })), "{refused:?}");
    }
    let long = "x".repeat(MAX_VALUE_BYTES + 1);
    assert!(store.write(id, &Batch::new().with_tag("long", long)).is_err());
    let twice = Batch::new().without_tag("t0").without_tag("t0");
    assert!(matches!(store.write(id, &twice), Err(StoreError::Invalid { .. })));
    assert!(store.get(id).unwrap().tags.contains_key("t0"));
    assert!(store.create(&NewEvaluation::new("", Stage::Test, at(0))).is_err());
}

fn a_model_version_too_large(store: &dyn EvalStore) {
    let largest = i64::MAX as u64;
    let versions = [0, 1, largest, largest + 1, u64::MAX];
    for version in versions {
        let created = store.create(&new(0).with_model_version(VersionNumber(version)));
        let is_fine = version <= largest;
        assert_eq!(created.is_ok(), is_fine, "version {version}");
        assert!(
            is_fine
                || matches!(created, Err(StoreError::Invalid { field, .. }) if field == "model version")
        );
    }
    let above = |bound: f64| Filter::compare(Field::ModelVersion, Operator::Greater, bound);
    assert_eq!(store.count(&above(-1.0)).unwrap(), 3);
    let page = store.query(&Query::new(above(1e15))).unwrap();
    assert_eq!(page.evaluations[0].model_version, Some(VersionNumber(largest)));
    let order = Order::descending(Field::ModelVersion);
    let sorted = store.query(&Query::default().with_order(order)).unwrap().evaluations;
    let read: Vec<_> = sorted.iter().map(|e| e.model_version.unwrap().0).collect();
    assert_eq!(read, [largest, 1, 0]);
}

fn hostile_texts_are_only_texts(store: &dyn EvalStore) {
    for text in HOSTILE {
        let evaluation = NewEvaluation::new(text, Stage::AbArm(text.into()), at(0))
            .with_tag("t", text)
            .with_param("p", text)
            .with_dataset(DatasetRef {
                name: text.to_owned(),
                version: text.to_owned(),
                fingerprint: ContentHash::from_bytes([1; 32]),
            });
        let id = create(store, evaluation);
        let key = SeriesKey::new("m").with_context("part", text);
        store.write(id, &Batch::new().with_point(&key, 0, at(0), 1.0)).unwrap();
        assert_eq!(store.series(id, &key).unwrap().len(), 1);
    }
    for text in HOSTILE {
        let stage = Filter::stage(&Stage::AbArm(text.into()));
        let equal = |field| Filter::compare(field, Operator::Equal, text);
        for filter in [
            Filter::experiment(text),
            Filter::tag("t", text),
            equal(Field::Param("p".into())),
            equal(Field::DatasetName),
            equal(Field::DatasetVersion),
            stage,
        ] {
            assert_eq!(store.count(&filter).unwrap(), 1, "{filter:?}");
        }
        let series = Field::metric(SeriesKey::new("m").with_context("part", text));
        assert_eq!(store.count(&Filter::Present(series.clone())).unwrap(), 1, "{series:?}");
        // Nobody has keys of these names; they are no part of a statement either.
        for field in [Field::Param(text.into()), Field::Tag(text.into()), Field::metric(text)] {
            assert_eq!(store.count(&Filter::Present(field.clone())).unwrap(), 0, "{field:?}");
            let only = Projection::nothing().with_tags(Keys::only([text]));
            let only = only.with_params(Keys::only([text])).with_metrics(Keys::only([text]));
            let query = Query::default().with_order(Order::ascending(field)).with_projection(only);
            let page = store.query(&query).unwrap();
            assert_eq!(page.evaluations.len(), HOSTILE.len());
            assert!(page.evaluations.iter().all(|e| e.tags.is_empty() && e.params.is_empty()));
        }
        let by_series = Query::default().with_order(Order::descending(series)).with_limit(1);
        assert_eq!(store.query(&by_series).unwrap().evaluations[0].experiment, text);
    }
    for text in HOSTILE {
        store.delete_experiment(text).unwrap();
        assert_eq!(store.count(&Filter::experiment(text)).unwrap(), 0);
        store.restore_experiment(text).unwrap();
        assert_eq!(store.count(&Filter::experiment(text)).unwrap(), 1);
    }
    store.delete_experiment(HOSTILE[0]).unwrap();
    store.purge_experiment(HOSTILE[0]).unwrap();
    assert_eq!(store.count(&Filter::everything()).unwrap(), HOSTILE.len() as u64 - 1);
    assert_eq!(store.count(&Filter::metric("m' OR '1'='1", Operator::NotEqual, 0.0)).unwrap(), 0);
}

fn first_batch_with_evaluation(store: &dyn EvalStore) {
    let evaluation = new(0).with_param("a", 1).with_metric("m", 1.0);
    let bad = Batch::new().with_param("a", 2).with_point("m", 1, at(1), 2.0);
    assert!(matches!(store.create_with(&evaluation, &bad), Err(StoreError::Conflict { .. })));
    assert!(store.get(evaluation.id).is_err(), "half of it is there");
    assert_eq!(store.experiments(View::All).unwrap(), []);
    let first = Batch::new().with_point("m", 1, at(1), 2.0).finished(Status::Finished, at(2));
    store.create_with(&evaluation, &first).unwrap();
    let read = store.get(evaluation.id).unwrap();
    assert_eq!((read.status, read.metrics.get("m")), (Status::Finished, Some(2.0)));
    assert_eq!(store.series(evaluation.id, &"m".into()).unwrap().len(), 2);
}

fn an_experiment_is_binned(store: &dyn EvalStore) {
    let (kept, binned) = (create(store, new(0)), create(store, new(1)));
    let other = create(store, NewEvaluation::new("beer", Stage::Test, at(2)));
    store.delete(binned).unwrap();
    for _ in 0..2 {
        store.delete_experiment("wine").unwrap();
    }
    let lifecycle = |id| store.get(id).unwrap().lifecycle;
    let (active, deleted) = (Lifecycle::Active, Lifecycle::Deleted);
    assert_eq!([kept, binned, other].map(lifecycle), [deleted, deleted, active]);
    assert_eq!(store.count(&Filter::everything()).unwrap(), 1);
    assert!(matches!(store.create(&new(3)), Err(StoreError::Conflict { .. })));
    assert!(matches!(store.restore(kept), Err(StoreError::Conflict { .. })));
    for _ in 0..2 {
        store.restore_experiment("wine").unwrap();
    }
    assert_eq!([kept, binned, other].map(lifecycle), [active, deleted, active]);
    let names = |view| -> Vec<String> {
        store.experiments(view).unwrap().into_iter().map(|e| e.name).collect()
    };
    assert_eq!(
        (names(View::Active), names(View::Deleted).len()),
        (vec!["beer".into(), "wine".into()], 0)
    );
    for missing in
        [store.delete_experiment("x"), store.restore_experiment("x"), store.purge_experiment("x")]
    {
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    }
}

fn a_name_is_taken_until_it_is_purged(store: &dyn EvalStore) {
    store.create_experiment("wine").unwrap();
    let id = create(store, new(0).with_metric("m", 1.0));
    let taken = |result| assert!(matches!(result, Err(StoreError::Conflict { .. })));
    taken(store.create_experiment("wine"));
    taken(store.purge_experiment("wine"));
    store.delete_experiment("wine").unwrap();
    taken(store.create_experiment("wine"));
    store.purge_experiment("wine").unwrap();
    assert!(store.get(id).is_err());
    store.create_experiment("wine").unwrap();
    assert_eq!(store.count(&Filter::experiment("wine")).unwrap(), 0);
    store.create(&new(0).with_id(id)).unwrap();
    assert!(store.create_experiment("").is_err());
}

fn eight_writers_lose_nothing(store: &dyn EvalStore) {
    let shared = create(store, new(0));
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for step in 0..20 {
                    create(store, new(step).with_metric("m", step as f64));
                    let key = SeriesKey::new("m").with_context("writer", writer.to_string());
                    let batch = Batch::new().with_point(key, step, at(step), 1.0).with_point(
                        "all",
                        writer * 20 + step,
                        at(0),
                        1.0,
                    );
                    store.write(shared, &batch).unwrap();
                }
            });
        }
    });
    assert_eq!(store.count(&Filter::everything()).unwrap(), 161);
    assert_eq!(store.get(shared).unwrap().series.iter().map(|s| s.count).sum::<u64>(), 320);
}
