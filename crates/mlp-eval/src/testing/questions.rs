//! Checks of what is asked: filters, orders, pages, the best.

use mlp_core::{
    ContentHash, DatasetRef, Direction, EvaluationId, ParamValue, StoreError, VersionNumber,
};

use super::{at, create, new};
use crate::batch::Batch;
use crate::evaluation::{Evaluation, Lifecycle, NewEvaluation, Stage, Status};
use crate::filter::{Field, Filter, Operator, Statistic, Value};
use crate::query::{Keys, Order, PageToken, Projection, Query, Sorting, View};
use crate::series::SeriesKey;
use crate::store::{EvalStore, EvalStoreExt};

/// The operators that numbers take.
const COMPARISONS: [Operator; 6] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::Less,
    Operator::AtMost,
    Operator::Greater,
    Operator::AtLeast,
];

pub(super) fn metrics_sort_both_ways(store: &dyn EvalStore) {
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

pub(super) fn ties_are_told_apart_by_start_then_id(store: &dyn EvalStore) {
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

pub(super) fn a_comparison_never_matches_a_missing_key(store: &dyn EvalStore) {
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

pub(super) fn a_filter_asks_for_a_statistic(store: &dyn EvalStore) {
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

pub(super) fn patterns_match_whole_texts(store: &dyn EvalStore) {
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

pub(super) fn pages_neither_skip_nor_repeat(store: &dyn EvalStore) {
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

pub(super) fn conditions_on_a_dataset(store: &dyn EvalStore) {
    let on = |k: u8, stage: Stage| {
        let dataset = DatasetRef {
            name: format!("name{k}"),
            version: k.to_string(),
            fingerprint: ContentHash::from_bytes([k; 32]),
        };
        create(store, NewEvaluation::new("wine", stage, at(1)).with_dataset(dataset))
    };
    let ids = [on(1, Stage::Training), on(2, Stage::Test)];
    create(store, new(1));
    let found = |text: &str| -> Vec<EvaluationId> {
        let page = store.query(&Query::new(Filter::parse(text).unwrap())).unwrap();
        page.evaluations.iter().map(|e| e.id).collect()
    };
    let digest = |k: u8| ContentHash::from_bytes([k; 32]);
    for (name, by, expected) in [(1, 1, vec![ids[0]]), (2, 2, vec![ids[1]]), (1, 2, vec![])] {
        let text = format!("dataset.name = 'name{name}' AND dataset.digest = '{}'", digest(by));
        assert_eq!(found(&text), expected, "{text}");
    }
    assert_eq!(found("datasets.name LIKE 'name%' AND dataset.context = 'train'"), [ids[0]]);
    assert_eq!(found("dataset.name = 'name1' AND dataset.context = 'test'"), []);
}

pub(super) fn a_clock_goes_backwards(store: &dyn EvalStore) {
    // Each evaluation starts before the one that was logged before it, and so does each point of its series.
    let ids: Vec<_> = (0..6).map(|k| create(store, new(100 - k))).collect();
    for id in &ids {
        for step in 0..4 {
            let batch = Batch::new().with_point("m", step, at(50 - step), step as f64);
            store.write(*id, &batch).unwrap();
        }
        let finish = Batch::new().finished(Status::Finished, at(10));
        store.write(*id, &finish).unwrap();
    }
    let mut query = Query::default().with_limit(2);
    let mut seen = Vec::new();
    loop {
        let page = store.query(&query).unwrap();
        for evaluation in &page.evaluations {
            assert_eq!(evaluation.metrics.get("m"), Some(3.0), "the greatest step is the latest");
            assert_eq!(evaluation.ended_at, Some(at(10)));
            seen.push(evaluation.id);
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids, "the latest start comes first");
}

pub(super) fn a_wrong_page_size_or_token_is_refused(store: &dyn EvalStore) {
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
    let of = |query: Query| store.query(&query.with_after(token.clone()));
    assert!(of(Query::default().with_limit(5)).is_ok(), "its own");
    for other in [
        Query::default().with_order(Order::ascending(Field::Id)),
        Query::default().with_view(View::All),
        Query::new(Filter::tag("team", "red")),
    ] {
        assert!(matches!(of(other), Err(StoreError::Invalid { .. })));
    }
}

pub(super) fn what_a_projection_leaves_out_is_not_there(store: &dyn EvalStore) {
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
pub(super) fn varied(store: &dyn EvalStore) -> Vec<Evaluation> {
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
            let train = [(0, f64::NAN), (1, (k % 5) as f64), (2, -((k % 2) as f64))];
            for (step, value) in train.into_iter().take(k as usize % 4) {
                batch = batch.with_point(in_training(), step, at(step), value);
            }
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

/// A series that only has a context: it is another than the metric of its name.
fn in_training() -> SeriesKey {
    SeriesKey::new("m").with_context("subset", "train")
}

fn varied_fields() -> Vec<Field> {
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
        Field::metric(in_training()),
        Field::Metric(in_training(), Statistic::Max),
        Field::Metric("only nan".into(), Statistic::Mean),
    ];
    fields.extend(Statistic::ALL.map(|statistic| Field::Metric("m".into(), statistic)));
    fields
}

pub(super) fn any_two_keys_sort_as_the_query_says(store: &dyn EvalStore) {
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

pub(super) fn filters_on_the_key_of_the_order(store: &dyn EvalStore) {
    let all = varied(store);
    for key in [SeriesKey::new("m"), in_training()] {
        filters_on_the_series_of_the_order(store, &all, &key);
    }
}

fn filters_on_the_series_of_the_order(store: &dyn EvalStore, all: &[Evaluation], key: &SeriesKey) {
    let last = || Field::metric(key);
    let mut filters = vec![
        Filter::everything(),
        Filter::Present(last()),
        Filter::Absent(last()),
        Filter::Present(Field::metric("n")).and(Filter::tag("t", "Tag 1")),
        Filter::metric(key, Operator::Greater, 0.0).or(Filter::Absent(last())),
    ];
    for operator in COMPARISONS {
        for number in [f64::NAN, f64::NEG_INFINITY, -0.0, 7.0] {
            let compared = Filter::metric(key, operator, number);
            filters.extend([compared.clone(), Filter::experiment("wine").and(compared)]);
        }
    }
    for filter in filters {
        for sorting in [Sorting::Ascending, Sorting::Descending] {
            for (field, limit) in [(last(), 60), (last(), 3), (Field::StartedAt, 4)] {
                let mut query = Query::new(filter.clone()).with_limit(limit).with_view(View::All);
                query.order = vec![Order { field, sorting }];
                pages_are_as_said(store, all, query);
            }
        }
    }
}

pub(super) fn any_filter_matches_as_it_does_in_memory(store: &dyn EvalStore) {
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
    let patterns = [Operator::Like, Operator::LikeIgnoringCase];
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
            for operator in COMPARISONS.into_iter().chain(patterns) {
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

pub(super) fn a_missing_or_nan_metric_is_never_best(store: &dyn EvalStore) {
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
