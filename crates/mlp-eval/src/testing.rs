//! The contract of [`EvalStore`], executable: a backend calls [`check`] with a function that opens a fresh store.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a check fails by panicking")]

use mlp_core::{
    ContentHash, DatasetRef, Direction, EvaluationId, ParamValue, StoreError, Timestamp,
    VersionNumber,
};

use crate::batch::{Batch, MAX_DEPTH, MAX_METRICS, MAX_PARAMS, MAX_TAGS, MAX_VALUE_BYTES};
use crate::evaluation::{Evaluation, Lifecycle, NewEvaluation, Stage, Status};
use crate::filter::{Field, Filter, Operator, Statistic, Value};
use crate::query::{Keys, Order, PageToken, Projection, Query, Sorting, View};
use crate::retention::{LEGAL_HOLD, PIN};
use crate::series::SeriesKey;
use crate::store::{EvalStore, EvalStoreExt};

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

fn metrics_sort_both_ways(store: &dyn EvalStore) {
    let values = [
        None,
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        Some(-1000.0),
        Some(0.0),
        Some(0.0),
        Some(1000.0),
    ];
    for (second, value) in (0..).zip(values) {
        let evaluation = new(second);
        create(
            store,
            match value {
                Some(value) => evaluation.with_metric("m", value),
                None => evaluation,
            },
        );
    }
    let sorted = |order| -> Vec<String> {
        let page = store.query(&Query::default().with_order(order)).unwrap();
        page.evaluations.iter().map(|e| format!("{:?}", e.metrics.get("m"))).collect()
    };
    let mut expected = [
        Some(f64::NEG_INFINITY),
        Some(-1000.0),
        Some(0.0),
        Some(0.0),
        Some(1000.0),
        Some(f64::INFINITY),
        Some(f64::NAN),
        None,
    ]
    .map(|v| format!("{v:?}"));
    assert_eq!(sorted(Order::ascending(Field::metric("m"))), expected);
    expected[..6].reverse();
    assert_eq!(sorted(Order::descending(Field::metric("m"))), expected);

    let ended = new(50);
    store.log(ended.clone(), at(60)).unwrap();
    for order in [Order::ascending(Field::EndedAt), Order::descending(Field::EndedAt)] {
        let page = store.query(&Query::default().with_order(order)).unwrap();
        assert_eq!(page.evaluations[0].id, ended.id, "a missing end comes last both ways");
    }
}

fn ties_are_told_apart_by_start_then_id(store: &dyn EvalStore) {
    let ids: Vec<_> = [5, 5, 9].map(|s| create(store, new(s).with_metric("m", 1.0))).into();
    let mut tied = [ids[0], ids[1]];
    tied.sort();
    for query in
        [Query::default(), Query::default().with_order(Order::ascending(Field::metric("m")))]
    {
        let read: Vec<_> = store.query(&query).unwrap().evaluations.iter().map(|e| e.id).collect();
        assert_eq!(read, [ids[2], tied[0], tied[1]]);
    }
}

fn a_comparison_never_matches_a_missing_key(store: &dyn EvalStore) {
    create(store, new(0));
    create(store, new(1).with_metric("m", f64::NAN));
    create(store, new(2).with_metric("m", 0.0).with_param("p", 0.1).with_tag("t", "u"));
    let count = |filter: Filter| store.count(&filter).unwrap();
    let metric = |operator, value| count(Filter::metric("m", operator, value));
    assert_eq!(metric(Operator::NotEqual, 5.0), 2, "NaN differs from 5, a missing value does not");
    assert_eq!(metric(Operator::Equal, 0.0), 1);
    assert_eq!(metric(Operator::Greater, f64::NEG_INFINITY), 1);
    assert_eq!(count(Filter::Present(Field::metric("m"))), 2);
    assert_eq!(count(Filter::Absent(Field::metric("m"))), 1);
    assert_eq!(count(Filter::compare(Field::Tag("t".into()), Operator::NotEqual, "v")), 1);
    assert_eq!(count(Filter::compare(Field::Param("p".into()), Operator::Equal, "0.1")), 1);
    assert_eq!(count(Filter::compare(Field::Param("p".into()), Operator::Less, 0.2)), 1);
    assert_eq!(count(Filter::Any(vec![])), 0);
    let either = Filter::Absent(Field::metric("m")).or(Filter::tag("t", "u"));
    assert_eq!(count(either.clone().and(Filter::experiment("wine"))), 2);
    assert_eq!(count(either.and(Filter::experiment("beer"))), 0);
    assert!(store.count(&Filter::compare(Field::metric("m"), Operator::Equal, "0")).is_err());
    assert!(
        store.count(&Filter::compare(Field::Param("p".into()), Operator::Greater, "0")).is_err()
    );
}

fn a_filter_asks_for_a_statistic(store: &dyn EvalStore) {
    let id = create(store, new(0));
    let points = [0.9, 0.2, 0.4].into_iter().enumerate();
    let batch = points.fold(Batch::new(), |b, (i, v)| b.with_point("loss", i as i64, at(0), v));
    store.write(id, &batch).unwrap();
    for (statistic, value) in [
        (Statistic::Last, 0.4),
        (Statistic::Min, 0.2),
        (Statistic::Max, 0.9),
        (Statistic::Mean, 0.5),
        (Statistic::Count, 3.0),
        (Statistic::StepOfMin, 1.0),
        (Statistic::StepOfMax, 0.0),
    ] {
        let near = |operator, value| {
            Filter::compare(Field::Metric("loss".into(), statistic), operator, value)
        };
        let filter =
            near(Operator::AtLeast, value - 1e-9).and(near(Operator::AtMost, value + 1e-9));
        assert_eq!(store.count(&filter).unwrap(), 1, "{statistic:?}");
    }
}

fn patterns_match_whole_texts(store: &dyn EvalStore) {
    create(store, new(0).with_tag("t", "Random Forest"));
    let count = |operator, pattern: &str| {
        store.count(&Filter::compare(Field::Tag("t".into()), operator, pattern)).unwrap()
    };
    assert_eq!(count(Operator::Like, "Random%"), 1);
    assert_eq!(count(Operator::Like, "random%"), 0);
    assert_eq!(count(Operator::LikeIgnoringCase, "random%"), 1);
    assert_eq!(count(Operator::Like, "Random"), 0);
    assert_eq!(count(Operator::Like, "Random_Forest"), 0, "only % is a wildcard");
}

fn pages_neither_skip_nor_repeat(store: &dyn EvalStore) {
    for second in 0..5 {
        create(store, new(second).with_metric("m", (second % 2) as f64));
    }
    let first = Query::default().with_order(Order::ascending(Field::metric("m"))).with_limit(2);
    let (mut sizes, mut ids, mut query) = (Vec::new(), Vec::new(), first.clone());
    loop {
        let page = store.query(&query).unwrap();
        sizes.push(page.evaluations.len());
        ids.extend(page.evaluations.iter().map(|e| e.id));
        let Some(token) = page.next else { break };
        // What is added before the place where the reader stands does not shift the rest.
        create(store, new(99).with_metric("m", -1.0));
        query.after = Some(token.to_string().parse().unwrap());
    }
    assert_eq!(sizes, [2, 2, 1]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    let exact = store.query(&first.with_limit(7)).unwrap();
    assert_eq!((exact.evaluations.len(), exact.next), (7, None));
}

fn a_wrong_page_size_or_token_is_refused(store: &dyn EvalStore) {
    for limit in [0, 50_001, usize::MAX] {
        assert!(matches!(
            store.query(&Query::default().with_limit(limit)),
            Err(StoreError::Invalid { .. })
        ));
    }
    for garbage in ["", "zz", "7b7d", "7b7", "é"] {
        assert!(garbage.parse::<PageToken>().is_err(), "{garbage:?} was taken");
    }
    create(store, new(0));
    create(store, new(1));
    let token = store.query(&Query::default().with_limit(1)).unwrap().next;
    let other = Query::default().with_order(Order::ascending(Field::Id)).with_after(token);
    assert!(store.query(&other).is_err(), "a token of another order");
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
    let texts =
        ["'; DROP TABLE evaluations; --", "\" OR 1=1 --", "%", "_", "\\", "\u{202e}", "NULL"];
    for text in texts {
        create(
            store,
            NewEvaluation::new(text, Stage::AbArm(text.into()), at(0))
                .with_tag("t", text)
                .with_param("p", text)
                .with_dataset(DatasetRef {
                    name: text.to_owned(),
                    version: text.to_owned(),
                    fingerprint: ContentHash::from_bytes([1; 32]),
                }),
        );
    }
    for text in texts {
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
    }
    assert_eq!(store.count(&Filter::metric("m' OR '1'='1", Operator::NotEqual, 0.0)).unwrap(), 0);
}

fn a_missing_or_nan_metric_is_never_best(store: &dyn EvalStore) {
    let best = |direction| store.best(&Filter::everything(), "m", direction).unwrap().map(|e| e.id);
    assert_eq!(best(Direction::Maximize), None);
    create(store, new(0));
    create(store, new(1).with_metric("m", f64::NAN));
    assert_eq!(best(Direction::Maximize), None);
    let low = create(store, new(2).with_metric("m", -5.0));
    let high = create(store, new(3).with_metric("m", 5.0));
    assert_eq!((best(Direction::Minimize), best(Direction::Maximize)), (Some(low), Some(high)));
    let infinite = create(store, new(4).with_metric("m", f64::INFINITY));
    assert_eq!((best(Direction::Minimize), best(Direction::Maximize)), (Some(low), Some(infinite)));
    store.delete(infinite).unwrap();
    assert_eq!(best(Direction::Maximize), Some(high));
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

fn what_a_projection_leaves_out_is_not_there(store: &dyn EvalStore) {
    for second in 0..4 {
        let evaluation = new(second)
            .with_param("a", second)
            .with_param("b", 2)
            .with_tag("t", "u")
            .with_metric("m", -second as f64)
            .with_metric("n", 1.0);
        create(store, evaluation);
    }
    let projection = Projection::nothing().with_metrics(Keys::only(["n", "absent"]));
    let mut query = Query::default()
        .with_order(Order::ascending(Field::metric("m")))
        .with_order(Order::ascending(Field::Param("a".into())))
        .with_projection(projection)
        .with_limit(3);
    let page = store.query(&query).unwrap();
    let starts: Vec<_> = page.evaluations.iter().map(|e| e.started_at).collect();
    assert_eq!(starts, [at(3), at(2), at(1)]);
    for evaluation in &page.evaluations {
        assert!(evaluation.params.is_empty() && evaluation.tags.is_empty());
        let metrics: Vec<_> = evaluation.metrics.iter().collect();
        assert_eq!((metrics, evaluation.series.len()), (vec![("n", 1.0)], 1));
    }
    query.after = page.next;
    assert_eq!(store.query(&query).unwrap().evaluations[0].started_at, at(0));
}

/// Evaluations in which every kind of value is there, missing, a text, a number, NaN or infinite.
fn varied(store: &dyn EvalStore) -> Vec<Evaluation> {
    let metrics = [None, Some(f64::NAN), Some(f64::NEG_INFINITY), Some(-0.0), Some(0.0), Some(7.0)];
    let params: [Option<ParamValue>; 7] = [
        None,
        Some(3.into()),
        Some(0.5.into()),
        Some("3".into()),
        Some("l2".into()),
        Some(f64::NAN.into()),
        Some(true.into()),
    ];
    let mut ids = Vec::new();
    for k in 0..60_i64 {
        let experiment = ["wine", "beer", "tea"][k as usize % 3];
        let stage =
            if k % 4 == 0 { Stage::Training } else { Stage::AbArm(format!("arm{}", k % 5)) };
        let mut evaluation = NewEvaluation::new(experiment, stage, at(k / 7));
        if let Some(value) = metrics[k as usize % 6] {
            evaluation = evaluation.with_metric("m", value).with_metric("n", (k % 5) as f64);
        }
        if let Some(value) = params[k as usize * 3 % 7].clone() {
            evaluation = evaluation.with_param("p", value);
        }
        if k % 3 != 1 {
            evaluation = evaluation.with_tag("t", format!("Tag {}", k % 4));
        }
        if k % 2 == 0 {
            evaluation = evaluation
                .with_model(format!("model-{}", k % 3).parse().unwrap())
                .with_model_version(VersionNumber(k as u64 % 4 + 1));
        }
        if k % 5 == 0 {
            evaluation = evaluation.with_dataset(DatasetRef {
                name: format!("data{}", k % 2),
                version: "1".to_owned(),
                fingerprint: ContentHash::from_bytes([k as u8; 32]),
            });
        }
        let mut batch = Batch::new();
        if k % 3 == 0 {
            let points = [(0, 4.0), (1, (k % 7) as f64), (2, f64::NAN)];
            for (step, value) in points {
                batch = batch.with_point("m", step, at(100 + step), value);
            }
            batch = batch.with_point("only nan", 0, at(0), f64::NAN);
        }
        if k % 4 == 1 {
            batch = batch.finished(Status::Finished, at(1_000 + k % 6));
        }
        store.create_with(&evaluation, &batch).unwrap();
        ids.push(evaluation.id);
    }
    ids.iter().step_by(11).for_each(|id| store.delete(*id).unwrap());
    ids.into_iter().map(|id| store.get(id).unwrap()).collect()
}

fn varied_fields() -> Vec<Field> {
    let statistics = [
        Statistic::Last,
        Statistic::Min,
        Statistic::Max,
        Statistic::Mean,
        Statistic::Count,
        Statistic::StepOfMin,
        Statistic::StepOfMax,
    ];
    let mut fields = vec![
        Field::Id,
        Field::Experiment,
        Field::Model,
        Field::ModelVersion,
        Field::DatasetName,
        Field::DatasetVersion,
        Field::DatasetFingerprint,
        Field::Stage,
        Field::Status,
        Field::StartedAt,
        Field::EndedAt,
        Field::Param("p".into()),
        Field::Tag("t".into()),
        Field::metric("only nan"),
        Field::Metric("only nan".into(), Statistic::Mean),
    ];
    fields.extend(statistics.map(|statistic| Field::Metric("m".into(), statistic)));
    fields
}

fn any_two_keys_sort_as_the_query_says(store: &dyn EvalStore) {
    let all = varied(store);
    let fields = varied_fields();
    for (k, field) in fields.iter().enumerate() {
        for (second, limit) in
            [(None, 60), (None, 13), (Some(&fields[(k * 7 + 3) % fields.len()]), 17)]
        {
            for (sorting, view) in
                [(Sorting::Ascending, View::Active), (Sorting::Descending, View::All)]
            {
                let mut query = Query::default().with_limit(limit).with_view(view);
                query.order = std::iter::once(field)
                    .chain(second)
                    .map(|field| Order { field: field.clone(), sorting })
                    .collect();
                pages_are_as_said(store, &all, query);
            }
        }
    }
}

/// Reads all pages of a query, and compares them with what the query itself makes of all evaluations there are.
fn pages_are_as_said(store: &dyn EvalStore, all: &[Evaluation], mut query: Query) {
    let mut expected: Vec<_> = all
        .iter()
        .filter(|e| query.view.shows(e.lifecycle) && query.filter.matches(e))
        .map(|e| query.position(e))
        .collect();
    expected.sort_by(|one, other| query.compare(one, other));
    let mut read = Vec::new();
    loop {
        let page = store.query(&query).unwrap();
        read.extend(page.evaluations.iter().map(|e| e.id));
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = expected.iter().map(|position| position.id).collect();
    assert_eq!(read, expected, "{:?} {:?}", query.filter, query.order);
}

fn filters_on_the_key_of_the_order(store: &dyn EvalStore) {
    let all = varied(store);
    let last = || Field::metric("m");
    let mut filters = vec![
        Filter::everything(),
        Filter::Present(last()),
        Filter::Absent(last()),
        Filter::Present(Field::metric("n")).and(Filter::tag("t", "Tag 1")),
        Filter::metric("m", Operator::Greater, 0.0).or(Filter::Absent(last())),
    ];
    for operator in [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::AtMost,
        Operator::Greater,
        Operator::AtLeast,
    ] {
        for number in [f64::NAN, f64::NEG_INFINITY, -0.0, 7.0] {
            let compared = Filter::metric("m", operator, number);
            filters.extend([compared.clone(), Filter::experiment("wine").and(compared)]);
        }
    }
    for filter in filters {
        for sorting in [Sorting::Ascending, Sorting::Descending] {
            for (field, limit) in [(last(), 60), (last(), 3), (Field::StartedAt, 4)] {
                let mut query = Query::new(filter.clone()).with_limit(limit).with_view(View::All);
                query.order = vec![Order { field, sorting }];
                pages_are_as_said(store, &all, query);
            }
        }
    }
}

fn any_filter_matches_as_it_does_in_memory(store: &dyn EvalStore) {
    let all = varied(store);
    let values: [Value; 16] = [
        0.0.into(),
        3.0.into(),
        0.5.into(),
        f64::NAN.into(),
        f64::NEG_INFINITY.into(),
        "3".into(),
        "NaN".into(),
        "l2".into(),
        "Tag 2".into(),
        "%a%".into(),
        "MODEL-%".into(),
        "wine".into(),
        all[7].id.to_string().into(),
        "ab:arm3".into(),
        at(3).into(),
        at(1_002).into(),
    ];
    let operators = [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Less,
        Operator::AtMost,
        Operator::Greater,
        Operator::AtLeast,
        Operator::Like,
        Operator::LikeIgnoringCase,
    ];
    let (mut checked, mut matched) = (0, 0);
    let mut check = |filter: Filter| {
        if filter.check().is_err() {
            assert!(store.count(&filter).is_err(), "{filter:?} was taken");
            return;
        }
        let mut expected: Vec<_> = all
            .iter()
            .filter(|e| e.lifecycle == Lifecycle::Active && filter.matches(e))
            .map(|e| e.id)
            .collect();
        expected.sort();
        assert_eq!(store.count(&filter).unwrap(), expected.len() as u64, "{filter:?}");
        for order in [None, Some(Order::descending(Field::metric("m")))] {
            let mut query = Query::new(filter.clone());
            query.order.extend(order);
            let page = store.query(&query).unwrap();
            let mut ids: Vec<_> = page.evaluations.iter().map(|e| e.id).collect();
            ids.sort();
            assert_eq!(ids, expected, "{filter:?}");
        }
        checked += 1;
        matched += usize::from(!expected.is_empty());
    };
    let fields = varied_fields();
    for (k, field) in fields.iter().enumerate() {
        check(Filter::Present(field.clone()));
        check(Filter::Absent(field.clone()));
        check(Filter::In(field.clone(), values.to_vec()));
        let of_kind = |text: bool| -> Vec<Value> {
            values.iter().filter(|v| matches!(v, Value::Text(_)) == text).cloned().collect()
        };
        check(Filter::In(field.clone(), of_kind(true)));
        check(Filter::In(field.clone(), of_kind(false)));
        for value in &values {
            for operator in operators {
                let filter = Filter::compare(field.clone(), operator, value.clone());
                check(filter.clone());
                let other = Filter::Present(fields[(k + 5) % fields.len()].clone());
                check(filter.clone().and(other.clone()));
                check(filter.or(other.and(Filter::experiment("beer"))));
            }
        }
    }
    check(Filter::Any(Vec::new()));
    check(Filter::everything());
    check(Filter::experiment("wine").and(Filter::experiment("beer")));
    check(Filter::experiment("wine").or(Filter::experiment("beer")));
    assert!(checked > 700 && matched > 300, "{matched} of {checked} filters matched something");
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
