//! Query plans: the frequent questions are answered by an index, never by reading a whole table.

use super::*;
use crate::database::Database;
use mlp_core::Direction;
use mlp_eval::{EvalStore, NewEvaluation, Stage};

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

#[test]
fn pages_by_start_and_by_metric_are_read_from_an_index() {
    let (_folder, database) = filled();
    let filter = Filter::experiment("e1")
        .and(Filter::metric("acc", Operator::Greater, 3.0))
        .and(Filter::tag("team", "red"))
        .and(Filter::compare(Field::Param("lr".into()), Operator::Equal, "7"));
    database
        .read(|connection| {
            for filter in [Filter::everything(), filter] {
                let query = Query::new(filter.clone());
                for part in parts_by_start(connection, &query)? {
                    let plan = plan(connection, &part);
                    assert_no_scan(&plan);
                    assert!(
                        plan[0].contains("SEARCH e USING COVERING INDEX evaluation_by_")
                            || plan[0].contains("SEARCH e USING INDEX evaluation_by_"),
                        "{plan:#?}"
                    );
                    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:#?}");
                }
                for direction in [Direction::Maximize, Direction::Minimize] {
                    let order = Order::best(Field::metric("acc"), direction);
                    let sorting = order.sorting;
                    let query = Query::new(filter.clone()).with_order(order).with_limit(1);
                    let parts =
                        parts_by_metric(connection, &query, "acc", sorting, Phase::Numbers, None)?;
                    assert!(!parts.is_empty());
                    for part in parts {
                        let plan = plan(connection, &part);
                        assert_no_scan(&plan);
                        assert!(
                            plan[0].contains("SEARCH s USING INDEX series_by_value")
                                || plan[0]
                                    .contains("SEARCH s USING COVERING INDEX series_by_value"),
                            "{plan:#?}"
                        );
                        assert!(
                            !plan.iter().any(|line| line.contains("FOR ORDER BY")),
                            "{plan:#?}"
                        );
                    }
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_id_is_found_by_its_index_and_the_check_of_plans_can_fail() {
    let (_folder, database) = filled();
    database
        .read(|connection| {
            let by_id = Condition::new("SELECT n FROM evaluation e WHERE e.id = x'00'", []);
            assert_no_scan(&plan(connection, &by_id));
            let by_text = Condition::new("SELECT n FROM evaluation e WHERE mlp_id(e.id) = 'x'", []);
            let scan = plan(connection, &by_text);
            assert!(std::panic::catch_unwind(|| assert_no_scan(&scan)).is_err());
            Ok(())
        })
        .unwrap();
}
