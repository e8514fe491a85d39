//! The contract suites, and what comes back after reopening.

use mlp_core::Timestamp;
use mlp_eval::{
    Batch, EvalStore, Field, Filter, InMemoryEvalStore, MAX_FILTER_TERMS, NewEvaluation, Operator,
    Order, Page, Query, Stage, View, testing,
};
use mlp_sqlite::Database;

/// A fresh database in a folder that outlives it.
pub(crate) fn fresh() -> Database {
    let folder = tempfile::tempdir().unwrap().keep();
    Database::open(folder.join("mlp.db")).unwrap()
}

#[test]
fn the_evaluation_store_keeps_the_contract_and_every_record_its_checksum() {
    let opened = std::cell::RefCell::new(Vec::new());
    testing::check(|| {
        let database = fresh();
        opened.borrow_mut().push(database.clone());
        database
    });
    for database in opened.into_inner() {
        let report = database.verify().unwrap();
        assert!(report.is_sound(), "{report}");
        std::fs::remove_dir_all(database.path().parent().unwrap()).unwrap();
    }
}

#[test]
fn everything_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    testing::check_reopening(|| Database::open(folder.path().join("mlp.db")).unwrap());
}

#[test]
fn lineage_and_registry_keep_their_contracts_and_every_record_its_checksum() {
    let opened = std::cell::RefCell::new(Vec::new());
    let open = || {
        let database = fresh();
        opened.borrow_mut().push(database.clone());
        database
    };
    mlp_lineage::testing::check_lineage(open);
    mlp_lineage::testing::check_registry(open);
    for database in opened.into_inner() {
        let report = database.verify().unwrap();
        assert!(report.is_sound(), "{report}");
        std::fs::remove_dir_all(database.path().parent().unwrap()).unwrap();
    }
}

#[test]
fn pages_among_ties_are_those_of_the_store_in_memory() {
    let (database, memory) = (fresh(), InMemoryEvalStore::new());
    for k in 0..180_i64 {
        // Few values, few starts, NaN, infinities, zeros of both signs, and some without the metric.
        let start = Timestamp::from_micros(k * 7 % 5);
        let mut run = NewEvaluation::new(format!("e{}", k % 3), Stage::Test, start);
        let values = [1.0, -0.0, 0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0];
        if k % 8 > 0 {
            run = run.with_metric("m", values[(k * 5 % 7) as usize]);
        }
        if k % 4 > 0 {
            run = run.with_param("p", k % 3).with_tag("t", (k % 2).to_string());
        }
        for store in [&database as &dyn EvalStore, &memory] {
            store.create(&run).unwrap();
            if k % 10 == 9 {
                store.delete(run.id).unwrap();
            }
        }
    }
    let orders = |sorting: fn(Field) -> Order| {
        let keys = [
            vec![sorting(Field::metric("m"))],
            vec![sorting(Field::StartedAt)],
            vec![sorting(Field::Param("p".into()))],
            vec![sorting(Field::Tag("t".into())), Order::ascending(Field::metric("m"))],
            vec![sorting(Field::metric("m")), Order::descending(Field::Param("p".into()))],
        ];
        keys.into_iter()
    };
    for filter in [Filter::everything(), Filter::experiment("e1")] {
        for order in orders(Order::ascending).chain(orders(Order::descending)) {
            for (view, limit) in [(View::Active, 7), (View::All, 1), (View::Active, 50)] {
                let mut query = Query::new(filter.clone()).with_view(view).with_limit(limit);
                query.order = order.clone();
                loop {
                    let [page, expected] =
                        [&database as &dyn EvalStore, &memory].map(|s| s.query(&query).unwrap());
                    let ids =
                        |page: &Page| page.evaluations.iter().map(|e| e.id).collect::<Vec<_>>();
                    assert_eq!(ids(&page), ids(&expected), "{query:?}");
                    assert_eq!(page.next.is_some(), expected.next.is_some(), "{query:?}");
                    query.after = page.next;
                    if query.after.is_none() {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn the_largest_filter_is_answered_and_a_bad_write_beside_good_ones_fails_alone() {
    let database = fresh();
    let run = NewEvaluation::new("wine", Stage::Test, Timestamp::UNIX_EPOCH).with_metric("m", 3.0);
    database.create(&run).unwrap();
    let any = (0..MAX_FILTER_TERMS - 1)
        .map(|k| Filter::compare(Field::Param(format!("p{k}")), Operator::Equal, "x"))
        .chain([Filter::metric("m", Operator::Equal, 3.0)]);
    let all = Filter::Any(any.skip(1).collect());
    assert_eq!(database.count(&all).unwrap(), 1);
    assert_eq!(database.query(&Query::new(all)).unwrap().evaluations.len(), 1);

    // Half of these batches fail after they have written something; they are committed as groups.
    std::thread::scope(|scope| {
        for thread in 0..8_i64 {
            let (database, id) = (&database, run.id);
            scope.spawn(move || {
                for step in 0..50 {
                    let batch = Batch::new()
                        .with_point(format!("t{thread}").as_str(), step, Timestamp::UNIX_EPOCH, 1.0)
                        .with_tag(format!("t{thread}.{step}"), "x");
                    let bad = batch
                        .clone()
                        .with_param("new", step)
                        .with_tag("b", "c")
                        .without_tag("absent");
                    assert!(database.write(id, &bad).is_err());
                    database.write(id, &batch).unwrap();
                }
            });
        }
    });
    let read = database.get(run.id).unwrap();
    assert_eq!((read.tags.len(), read.params.len(), read.series.len()), (400, 0, 9));
    assert!(read.series.iter().filter(|s| s.key.metric != "m").all(|s| s.count == 50));
    assert!(database.verify().unwrap().is_sound());
}
