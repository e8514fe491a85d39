use super::*;
use crate::{Limit, RuleEngine};
use mlp_core::{ManualClock, Severity};
use mlp_data::{ColumnSchema, Relation, Unexpected};
use ndarray::{Array2, array};
use std::sync::Arc;

fn single(values: Vec<f64>) -> Table {
    Table::new(["a"], Array2::from_shape_vec((values.len(), 1), values).unwrap()).unwrap()
}

/// Which columns an alert is raised for, by a rule that fires above this rate.
fn alerts(signal: &str, rate: f64, quality: &TableQuality) -> Vec<String> {
    let rule = crate::Rule::new("data", signal, "https://runbooks/data").unwrap();
    let rule = rule.with_critical(Limit::above(rate), Severity::P2);
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rules = RuleEngine::new(vec![rule], clock).unwrap();
    let observed = quality.observations(&Labels::new()).into_iter();
    let alerts =
        observed.flat_map(|(signal, labels, value)| rules.observe(signal, &labels, value).unwrap());
    alerts.map(|alert| alert.labels.get("column").cloned().unwrap_or_default()).collect()
}

#[test]
fn missing_is_counted_whether_or_not_it_is_allowed_and_the_limit_is_strict() {
    for allowed in [0.0, 0.01, 1.0] {
        let schema = Schema::new([ColumnSchema::number("a").with_missing_rate(allowed)]);
        let of = |missing: usize| {
            let values = (0..10_000).map(|row| if row < missing { f64::NAN } else { row as f64 });
            TableQuality::of(&single(values.collect()), &schema).unwrap()
        };
        assert_eq!(alerts("missing_rate", 0.01, &of(100)), [""; 0]);
        assert_eq!(alerts("missing_rate", 0.01, &of(101)), ["a"]);
    }
}

#[test]
fn each_rule_of_a_schema_has_a_rate() {
    let schema = Schema::new([
        ColumnSchema::integer("count").with_minimum(0.0),
        ColumnSchema::number("size").with_range(0.0, 1.0),
        ColumnSchema::number("set").with_allowed([1.0, 2.0]),
        ColumnSchema::category("text").with_pattern("^[a-z]+$"),
        ColumnSchema::number("gone"),
        ColumnSchema::number("id"),
    ])
    .with_unique(["id"])
    .with_comparison("size", Relation::LessOrEqual, "count")
    .with_unexpected(Unexpected::Refused);
    let rows = array![
        [1.5, 0.5, 1.0, 0.0, 1.0, 0.0],
        [-1.0, 2.0, 3.0, 1.0, 1.0, 0.0],
        [2.0, -1.0, 2.0, 0.0, 2.0, 0.0],
        [2.0, f64::INFINITY, 2.0, 0.0, 3.0, 0.0],
    ];
    let names = ["count", "size", "set", "text", "id", "more"];
    let table = Table::new(names, rows).unwrap().with_dictionary("text", ["good", "BAD"]).unwrap();
    let quality = TableQuality::of(&table, &schema).unwrap();
    for (column, fault, rate) in [
        ("count", SchemaFault::Kind, 0.25),
        ("count", SchemaFault::Range, 0.25),
        ("size", SchemaFault::Range, 0.75),
        ("size", SchemaFault::Infinite, 0.25),
        ("size ≤ count", SchemaFault::Comparison, 0.5),
        ("set", SchemaFault::Set, 0.25),
        ("set", SchemaFault::Range, 0.0),
        ("text", SchemaFault::Pattern, 0.25),
        ("gone", SchemaFault::Absent, 1.0),
        ("id", SchemaFault::Unique, 0.25),
        ("more", SchemaFault::Unexpected, 1.0),
    ] {
        assert_eq!(quality.rate(column, fault), Some(rate), "{column} {fault:?}");
    }
    assert_eq!(quality.rate("other", SchemaFault::Range), None);
    // What is not there has no missing rate: an alert on it neither fires nor resolves.
    assert_eq!(quality.rate("gone", SchemaFault::Missing), None);
    let subject = Labels::from([("table".to_owned(), "wine".to_owned())]);
    let of_gone = quality.observations(&subject).into_iter().find(|(signal, labels, _)| {
        *signal == "missing_rate" && labels["column"] == "gone" && labels["table"] == "wine"
    });
    assert_eq!(of_gone.unwrap().2, crate::Observation::MISSING);
    let text = quality.to_string();
    assert!(text.contains("75.00 %") && !text.contains("set     range"), "{text}");
    let violations = alerts("schema_violation_rate", 0.5, &quality);
    assert_eq!(violations, ["gone", "more", "size"]);
}

#[test]
fn each_comparison_of_a_column_has_a_rate_of_its_own() {
    let schema = Schema::new(["a", "b", "c"].map(ColumnSchema::number))
        .with_comparison("a", Relation::LessOrEqual, "b")
        .with_comparison("a", Relation::LessOrEqual, "c")
        .with_comparison("a", Relation::Less, "gone");
    let rows = array![[9.0, 1.0, 1.0], [9.0, 1.0, 10.0], [0.0, 1.0, 1.0], [0.0, 1.0, 1.0]];
    let quality = TableQuality::of(&Table::new(["a", "b", "c"], rows).unwrap(), &schema).unwrap();
    let rate = |rule: &str| quality.rate(rule, SchemaFault::Comparison);
    assert_eq!(
        (rate("a ≤ b"), rate("a ≤ c"), rate("a < gone")),
        (Some(0.5), Some(0.25), Some(1.0))
    );
    assert_eq!((rate("a"), rate("gone")), (None, None));
}

#[test]
fn a_row_outside_of_both_sets_of_a_column_is_counted_once() {
    let column = ColumnSchema::category("a").with_texts(["x", "y"]).with_allowed([0.0, 2.0]);
    let schema = Schema::new([column]);
    // x, y, z and w: y is not among the numbers, z not among the texts, w in neither.
    let rows = array![[0.0], [1.0], [2.0], [3.0], [f64::NAN], [0.0], [0.0], [0.0]];
    let table =
        Table::new(["a"], rows).unwrap().with_dictionary("a", ["x", "y", "z", "w"]).unwrap();
    let quality = TableQuality::of(&table, &schema).unwrap();
    assert_eq!(quality.rate("a", SchemaFault::Set), Some(0.375));
}

#[test]
fn duplicates_rows_and_freshness_are_observed_and_a_future_row_is_new() {
    let schema = Schema::new([ColumnSchema::number("a")]);
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let quality = TableQuality::of(&single(vec![1.0, 1.0, -0.0, 0.0]), &schema).unwrap();
    let quality = quality.with_newest(at(100), at(160));
    let observed = quality.observations(&Labels::new());
    let value = |name: &str| observed.iter().find(|(signal, ..)| *signal == name).unwrap().2.value;
    assert_eq!(value("row_count"), Some(4.0));
    assert_eq!(value("duplicate_rate"), Some(0.5));
    assert_eq!(value("data_age_seconds"), Some(60.0));
    assert_eq!(alerts("data_age_seconds", 60.0, &quality), [""; 0], "equal to the limit");
    assert_eq!(alerts("data_age_seconds", 59.0, &quality).len(), 1);
    let future = quality.with_newest(at(200), at(160));
    assert_eq!(future.age, Some(Duration::ZERO));
}

#[test]
fn an_empty_table_has_rows_and_no_rates() {
    let schema = Schema::new([ColumnSchema::number("a"), ColumnSchema::number("b")]);
    let quality = TableQuality::of(&single(Vec::new()), &schema).unwrap();
    let observed = quality.observations(&Labels::new());
    let with_value: Vec<_> =
        observed.iter().filter(|(.., value)| value.value.is_some()).map(|found| found.0).collect();
    assert_eq!(with_value, ["row_count"]);
    assert_eq!(alerts("missing_rate", 0.0, &quality), [""; 0]);
}
