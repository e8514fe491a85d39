//! Query plans: the frequent questions are answered by an index, never by reading a whole table.

use super::*;
use crate::database::Database;
use mlp_core::Direction;
use mlp_eval::{Batch, EvalStore, Keys, NewEvaluation, Projection, Stage};
use rusqlite::params_from_iter;

/// A database with enough in it that the planner has a choice.
fn filled() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("mlp.db")).unwrap();
    for k in 0..200 {
        let at = Timestamp::from_micros(k);
        let evaluation = NewEvaluation::new(format!("e{}", k % 3), Stage::Test, at)
            .with_metric("acc", k as f64)
            .with_param("lr", k)
            .with_tag("team", "red");
        database.create(&evaluation).unwrap();
    }
    database.optimize().unwrap();
    (folder, database)
}

fn plan(connection: &Connection, statement: &Condition) -> Vec<String> {
    let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let mut prepared = connection.prepare(&sql).unwrap();
    let rows =
        prepared.query_map(params_from_iter(statement.bound.clone()), |row| row.get(3)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn assert_no_scan(plan: &[String]) {
    assert!(!plan.iter().any(|line| line.starts_with("SCAN")), "{plan:#?}");
}

fn sorts(plan: &[String]) -> bool {
    plan.iter().any(|line| line.contains("TEMP B-TREE"))
}

/// Filters with and without an experiment, on several kinds of keys.
fn filters() -> [Filter; 2] {
    let conditions = Filter::everything()
        .and(Filter::metric("acc", Operator::Greater, 3.0))
        .and(Filter::tag("team", "red"))
        .and(Filter::compare(Field::Param("lr".into()), Operator::Equal, "7"));
    [conditions.clone(), Filter::experiment("e1").and(conditions)]
}

/// The token after the first page of a query.
fn token(database: &Database, query: &Query) -> Query {
    let page = database.query(&query.clone().with_limit(3)).unwrap();
    query.clone().with_after(Some(page.next.unwrap()))
}

#[test]
fn pages_by_start_are_read_from_an_index_in_both_directions_with_and_without_a_token() {
    let (_folder, database) = filled();
    for filter in [Filter::everything(), Filter::experiment("e1")].into_iter().chain(filters()) {
        for order in [Order::ascending(Field::StartedAt), Order::descending(Field::StartedAt)] {
            let query = Query::new(filter.clone()).with_order(order.clone());
            let some = Query::new(Filter::everything()).with_order(order.clone());
            let after = query.clone().with_after(token(&database, &some).after);
            for query in [query, after] {
                database
                    .read(|connection| {
                        let scope = scope(connection, &filter)?.unwrap();
                        let statement = start_statement(&query, order.sorting, scope, Bin::InUse);
                        let plan = plan(connection, &statement);
                        assert_no_scan(&plan);
                        let index = format!("INDEX {} (", scope.index_of_starts());
                        assert!(plan[0].starts_with("SEARCH e USING") && plan[0].contains(&index));
                        assert!(
                            query.after.is_none() || plan[0].contains("started_at"),
                            "a token is sought: {plan:#?}"
                        );
                        // Against the order of the index only equal starts are sorted.
                        let last = |line: &String| line.ends_with("FOR LAST TERM OF ORDER BY");
                        let is_fine = !sorts(&plan)
                            || order.sorting == Sorting::Ascending && plan.iter().any(last);
                        assert!(is_fine, "{plan:#?}");
                        Ok(())
                    })
                    .unwrap();
            }
        }
    }
}

#[test]
fn pages_by_a_metric_are_read_from_an_index_in_each_phase_with_and_without_a_token() {
    let (_folder, database) = filled();
    let position =
        Position::new(vec![None], Timestamp::from_micros(7), mlp_core::EvaluationId::generate());
    for filter in [Filter::everything(), Filter::experiment("e1")].into_iter().chain(filters()) {
        for direction in [Direction::Maximize, Direction::Minimize] {
            let order = Order::best(Field::metric("acc"), direction);
            let sorting = order.sorting;
            let query = Query::new(filter.clone()).with_order(order).with_limit(1);
            database
                .read(|connection| {
                    let scope = scope(connection, &filter)?.unwrap();
                    let acc = "acc".into();
                    let walk = Walk::new(connection, &query, &acc, sorting, scope)?;
                    let values = "PRIMARY KEY (";
                    let first = walk.experiments[0];
                    for beyond in [None, Some(5.0)] {
                        let statement = walk.values_statement(first, Bin::InUse, beyond).unwrap();
                        let plan = plan(connection, &statement);
                        assert_no_scan(&plan);
                        assert!(plan[0].starts_with("SEARCH s") && plan[0].contains(values));
                        assert!(beyond.is_none() || plan[0].contains("last"), "{plan:#?}");
                        assert!(!sorts(&plan), "{plan:#?}");
                    }
                    for (value, from) in [5.0, f64::NAN]
                        .into_iter()
                        .flat_map(|value| [(value, None), (value, Some(&position))])
                    {
                        let statement =
                            walk.ties_statement(first, Bin::InUse, value, from).unwrap();
                        let plan = plan(connection, &statement);
                        assert_no_scan(&plan);
                        assert!(plan[0].starts_with("SEARCH s") && plan[0].contains(values));
                        assert!(plan[0].contains("last=?"), "{plan:#?}");
                        assert!(from.is_none() || plan[0].contains("started_at"), "{plan:#?}");
                        // Only what has one value and one start is sorted by its id.
                        let last = |line: &String| line.ends_with("FOR LAST TERM OF ORDER BY");
                        assert!(!sorts(&plan) || plan.iter().any(last), "{plan:#?}");
                    }
                    for from in [None, Some(5.0)] {
                        let statement = walk.firsts_statement(Bin::InUse, from).unwrap();
                        let plan = plan(connection, &statement);
                        let of_series = plan.iter().find(|line| line.contains(" s ")).unwrap();
                        assert!(of_series.starts_with("SEARCH s") && of_series.contains(values));
                        assert!(from.is_none() || of_series.contains("last"), "{plan:#?}");
                        assert!(!sorts(&plan), "{plan:#?}");
                    }
                    for from in [None, Some(&position)] {
                        let plan = plan(connection, &walk.missing_statement(Bin::InUse, from));
                        assert_no_scan(&plan);
                        let index = format!("INDEX {} (", scope.index_of_starts());
                        assert!(plan[0].contains(&index) && !sorts(&plan), "{plan:#?}");
                    }
                    Ok(())
                })
                .unwrap();
        }
    }
}

#[test]
fn pages_over_many_experiments_are_those_of_all_evaluations_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::Options::new().with_durability(crate::Durability::Normal);
    let database = Database::open_with(folder.path().join("mlp.db"), &options).unwrap();
    for k in 0..200_i64 {
        let run =
            NewEvaluation::new(format!("e{}", k % 23), Stage::Test, Timestamp::from_micros(k % 5));
        let run = run.with_param("odd", k % 2 == 1);
        // Many equal values, infinities, NaN, and some without the metric.
        let value = match k * 7 % 31 {
            30 => f64::NAN,
            29 => f64::INFINITY,
            28 => f64::NEG_INFINITY,
            rest => (rest % 9) as f64,
        };
        let run = if k % 17 == 0 { run } else { run.with_metric("acc", value) };
        database.create(&run).unwrap();
    }
    for filter in [Filter::everything(), Filter::parse("params.odd = 'true'").unwrap()] {
        for direction in [Direction::Maximize, Direction::Minimize] {
            let order = Order::best(Field::metric("acc"), direction);
            let query = Query::new(filter.clone()).with_order(order).with_limit(1_000);
            let mut expected =
                database.query(&Query::new(filter.clone()).with_limit(1_000)).unwrap().evaluations;
            expected
                .sort_by(|one, other| query.compare(&query.position(one), &query.position(other)));
            let ids =
                |found: &[mlp_eval::Evaluation]| found.iter().map(|it| it.id).collect::<Vec<_>>();
            for limit in [1, 7, 60, 1_000] {
                let mut query = query.clone().with_limit(limit);
                let mut read = Vec::new();
                loop {
                    let page = database.query(&query).unwrap();
                    read.extend(page.evaluations);
                    let Some(next) = page.next else { break };
                    query = query.with_after(Some(next));
                }
                assert_eq!(ids(&read), ids(&expected), "{limit} a page");
            }
        }
    }
}

#[test]
fn counts_and_other_orders_read_one_experiment_by_its_index_and_never_a_whole_table() {
    let (_folder, database) = filled();
    for filter in [Filter::everything(), Filter::experiment("e1")].into_iter().chain(filters()) {
        let order = Order::ascending(Field::Param("lr".into()));
        let query = Query::new(filter.clone()).with_order(order.clone());
        let some = Query::new(Filter::everything()).with_order(order);
        let after = query.clone().with_after(token(&database, &some).after);
        database
            .read(|connection| {
                let scope = scope(connection, &filter)?.unwrap();
                let index = format!("INDEX {} (", scope.index_of_starts());
                let statements = [
                    count_statement(scope, &filter),
                    sorted::statement(&query, scope),
                    sorted::statement(&after, scope),
                ];
                for statement in statements {
                    let plan = plan(connection, &statement);
                    // What is between the keys and the token is no table.
                    let tables = plan.iter().filter(|line| !line.contains("subquery")).cloned();
                    assert_no_scan(&tables.collect::<Vec<_>>());
                    assert!(plan.iter().any(|line| line.contains(&index)), "{plan:#?}");
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn equal_values_are_read_from_the_index_and_not_sorted_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let options = crate::Options::new().with_durability(crate::Durability::Normal);
    let database = Database::open_with(folder.path().join("mlp.db"), &options).unwrap();
    for k in 0..3_000 {
        let at = Timestamp::from_micros(k);
        let run = NewEvaluation::new(format!("e{}", k % 2), Stage::Test, at);
        let value = if k % 3 == 0 { f64::NAN } else { 1.0 };
        database.create(&run.with_metric("acc", value)).unwrap();
    }
    for filter in [Filter::everything(), Filter::experiment("e1")] {
        let order = Order::descending(Field::metric("acc"));
        let query = &Query::new(filter.clone()).with_order(order).with_limit(10);
        let middle = database.query(&query.clone().with_limit(500)).unwrap().next.unwrap();
        let from = middle.position();
        database
            .read(|connection| {
                let scope = scope(connection, &filter)?.unwrap();
                let acc = "acc".into();
                let walk = Walk::new(connection, query, &acc, Sorting::Descending, scope)?;
                let (first, bin) = (walk.experiments[0], Bin::InUse);
                let statements = [
                    walk.values_statement(first, bin, None),
                    walk.ties_statement(first, bin, 1.0, None),
                    walk.ties_statement(first, bin, 1.0, Some(from)),
                    walk.ties_statement(first, bin, f64::NAN, None),
                ];
                for statement in statements {
                    let statement = statement.unwrap();
                    let mut prepared = connection.prepare(&statement.sql).unwrap();
                    let rows = prepared.query(params_from_iter(statement.bound)).unwrap();
                    assert_eq!(rows.mapped(|_| Ok(())).count(), 11);
                    let steps = prepared.get_status(rusqlite::StatementStatus::VmStep);
                    assert!(steps < 1_000, "{steps} steps: {}", statement.sql);
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_projection_reads_only_the_records_that_hold_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("mlp.db")).unwrap();
    for k in 0..5 {
        let mut run = NewEvaluation::new("wide", Stage::Test, Timestamp::from_micros(k));
        for name in 0..100 {
            run = run.with_param(format!("p{name}"), name).with_tag(format!("t{name}"), "x");
            run = run.with_metric(format!("m{name}"), 0.5);
        }
        database.create(&run).unwrap();
    }
    let read = |projection: Projection| {
        let query = Query::new(Filter::experiment("wide")).with_projection(projection);
        let before = super::super::RECORDS.with(std::cell::Cell::get);
        let page = database.query(&query).unwrap();
        let read = super::super::RECORDS.with(std::cell::Cell::get) - before;
        let one = page.evaluations[0].clone();
        (read, [one.params.len(), one.tags.len(), one.series.len(), one.metrics.len()])
    };
    assert_eq!(read(Projection::nothing()), (0, [0; 4]));
    // One record of each evaluation, and what the metric's key means once; parameters and tags are one record.
    let one = |keys: &str| Keys::only([keys]);
    assert_eq!(read(Projection::nothing().with_params(one("p7"))), (5, [1, 0, 0, 0]));
    assert_eq!(read(Projection::nothing().with_tags(one("t7"))), (5, [0, 1, 0, 0]));
    assert_eq!(read(Projection::nothing().with_metrics(one("m7"))), (6, [0, 0, 1, 1]));
    assert_eq!(read(Projection::nothing().with_metrics(one("absent"))), (0, [0; 4]));
    // All of them, and each key once.
    assert_eq!(read(Projection::default()), (5 * 2 + 100, [100; 4]));
}

#[test]
fn a_metric_with_many_series_elsewhere_is_read_by_the_keys_that_are_met() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path().join("mlp.db")).unwrap();
    let run = |k: i64| NewEvaluation::new(format!("e{k}"), Stage::Test, Timestamp::from_micros(k));
    let window = |k: i64| SeriesKey::new("latency").with_context("window", k.to_string());
    let read = |experiment: &str| {
        let of_latency = Projection::nothing().with_metrics(Keys::only(["latency"]));
        let query = Query::new(Filter::experiment(experiment)).with_projection(of_latency);
        let before = super::super::RECORDS.with(std::cell::Cell::get);
        let page = database.query(&query).unwrap();
        let read = super::super::RECORDS.with(std::cell::Cell::get) - before;
        (read, page.evaluations[0].series.iter().map(|it| it.key.clone()).collect::<Vec<_>>())
    };
    let write = |k: i64, keys: &[SeriesKey]| {
        let run = run(k).with_metric("other", 0.5);
        let batch = keys.iter().fold(Batch::new(), |batch, key| {
            batch.with_point(key.clone(), 0, Timestamp::from_micros(0), 0.5)
        });
        database.create_with(&run, &batch).unwrap();
    };
    write(0, &[window(0)]);
    // The card of scores, and the only key.
    assert_eq!(read("e0"), (2, vec![window(0)]));
    write(1, &(1..500).map(window).collect::<Vec<_>>());
    assert_eq!(read("e0"), (2, vec![window(0)]), "as before");
    assert_eq!(read("e1").1.len(), 499);
}

#[test]
fn an_id_is_found_by_its_index_and_the_check_of_plans_can_fail() {
    let (_folder, database) = filled();
    database
        .read(|connection| {
            let id = mlp_core::EvaluationId::generate().to_string();
            let by_id = Filter::compare(Field::Id, Operator::Equal, id);
            for filter in [by_id.clone(), Filter::metric("acc", Operator::Less, 1.0).and(by_id)] {
                let order = Order::ascending(Field::Param("lr".into()));
                let query = Query::new(filter.clone()).with_order(order);
                for statement in [
                    count_statement(Scope::Everywhere, &filter),
                    sorted::statement(&query, Scope::Everywhere),
                ] {
                    let plan = plan(connection, &statement);
                    assert_no_scan(&plan);
                    assert!(plan[0].contains("(id=?)"), "{plan:#?}");
                }
            }
            let by_text = Condition::new("SELECT n FROM evaluation e WHERE mlp_id(e.id) = 'x'", []);
            let scan = plan(connection, &by_text);
            assert!(std::panic::catch_unwind(|| assert_no_scan(&scan)).is_err());
            Ok(())
        })
        .unwrap();
}
