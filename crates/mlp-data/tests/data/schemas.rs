//! Violations are found, counted, grouped and shown.

use mlp_data::{
    ColumnSchema, InferOptions, Infinite, ReadOptions, Relation, Rule, Schema, Table, TargetKind,
    Unexpected, ValidationReport, read_csv_from,
};
use ndarray::{Array2, array};
use proptest::prelude::*;

fn lines(report: &ValidationReport) -> Vec<String> {
    report.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let check = |column: ColumnSchema, values: [f64; 3], expected: &str| {
        let table = Table::new(["x"], Array2::from_shape_vec((3, 1), values.to_vec()).unwrap());
        let report = Schema::new([column]).validate(&table.unwrap()).unwrap();
        assert_eq!(lines(&report).get(1).map_or("", |line| line.trim()), expected);
    };
    let x = || ColumnSchema::number("x");
    check(x(), [1.0, 2.5, -3.0], "");
    check(x(), [1.0, f64::NAN, 2.0], "\"x\": not missing: 1 of 3 rows, such as NaN in row 1");
    check(x().with_missing_rate(0.34), [1.0, f64::NAN, 2.0], "");
    check(
        x().with_missing_rate(0.33),
        [1.0, f64::NAN, 2.0],
        "\"x\": at most 33% missing: 1 of 3 rows, such as NaN in row 1",
    );
    check(x(), [1.0, f64::INFINITY, 2.0], "\"x\": not infinite: 1 of 3 rows, such as inf in row 1");
    check(x().with_infinite(Infinite::Allowed), [1.0, f64::INFINITY, 2.0], "");
    check(x().with_range(0.0, 2.0), [0.0, 2.0, 1.0], "");
    check(
        x().with_minimum(0.0),
        [0.0, -0.5, 1.0],
        "\"x\": at least 0: 1 of 3 rows, such as -0.5 in row 1",
    );
    check(
        x().with_maximum(1.0),
        [0.0, 2.0, 3.0],
        "\"x\": at most 1: 2 of 3 rows, such as 2 in row 1, 3 in row 2",
    );
    check(
        x().with_allowed([0.0, 1.0]),
        [0.0, 2.0, 1.0],
        "\"x\": one of [0.0, 1.0]: 1 of 3 rows, such as 2 in row 1",
    );
    check(
        ColumnSchema::integer("x"),
        [0.0, 2.5, 1.0],
        "\"x\": a whole number: 1 of 3 rows, such as 2.5 in row 1",
    );
    check(ColumnSchema::category("x"), [0.0, 1.0, 2.0], "\"x\": a category");
    check(ColumnSchema::number("y"), [0.0, 1.0, 2.0], "\"y\": must be in the table");
    check(ColumnSchema::number("y").optional(), [0.0, 1.0, 2.0], "");
}

#[test]
fn texts_are_checked_by_list_and_pattern() {
    let file = "code,n\nab1,1\nAB,2\nzz9,3\n";
    let table =
        read_csv_from(file.as_bytes(), "a.csv", &ReadOptions::new().with_categories("code"))
            .unwrap();
    let schema = Schema::new([ColumnSchema::category("code")
        .with_texts(["ab1", "AB"])
        .with_pattern("[a-z]+[0-9]")]);
    let report = schema.validate(&table).unwrap();
    assert_eq!(
        lines(&report)[1..],
        [
            "  \"code\": matches \"[a-z]+[0-9]\": 1 of 3 rows, such as \"AB\" in a.csv line 3",
            "  \"code\": one of \"ab1\", \"AB\": 1 of 3 rows, such as \"zz9\" in a.csv line 4",
        ]
    );
}

#[test]
fn columns_are_compared_and_repeats_are_found() {
    let table = Table::new(
        ["low", "high"],
        array![[1.0, 2.0], [3.0, 2.0], [f64::NAN, 2.0], [1.0, 2.0], [1.0, 3.0]],
    )
    .unwrap();
    let missing = |name: &str| ColumnSchema::number(name).with_missing_rate(1.0);
    let schema = Schema::new([missing("low"), missing("high")])
        .with_comparison("low", Relation::LessOrEqual, "high")
        .with_unique(["low", "high"]);
    let report = schema.validate(&table).unwrap();
    assert_eq!(
        lines(&report),
        [
            "the schema is broken 2 times, in 2 of 5 rows",
            "  \"low\": low ≤ high: 1 of 5 rows, such as 3 against 2 in row 1",
            "  \"low, high\": unique together: low, high: 1 of 5 rows, such as 1, 2 as in row 0 in row 3",
        ]
    );
    let absent = Schema::new([]).with_unique(["z"]).validate(&table).unwrap();
    assert_eq!(absent.rules[0].column, "z");
}

#[test]
fn all_violations_of_a_row_are_reported() {
    let schema = Schema::new([
        ColumnSchema::integer("a").with_range(0.0, 1.0).with_allowed([0.0, 1.0]),
        ColumnSchema::number("b"),
    ]);
    let checker = schema.row_checker(&["b", "a"]).unwrap();
    let rules: Vec<Rule> =
        checker.check(&[f64::NAN, 2.5]).unwrap().into_iter().map(|v| v.rule).collect();
    assert_eq!(rules.len(), 4, "{rules:?}");
    assert!(checker.check(&[0.0]).is_err());
    assert!(checker.check(&[0.0, 1.0]).unwrap().is_empty());
    let partial = schema.row_checker(&["a"]).unwrap();
    assert_eq!(partial.check(&[1.0]).unwrap()[0].rule, Rule::Present);
    assert!(schema.select(&["a"]).row_checker(&["a"]).unwrap().check(&[1.0]).unwrap().is_empty());
}

#[test]
fn counts_cover_all_rows_and_examples_the_first_five() {
    let table = Table::new(["x"], Array2::from_elem((100, 1), 7.0)).unwrap();
    let report =
        Schema::new([ColumnSchema::number("x").with_maximum(1.0)]).validate(&table).unwrap();
    assert_eq!((report.rules[0].count, report.bad_rows), (100, 100));
    assert_eq!(report.rules[0].examples.iter().map(|e| e.row).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ValidationReport>(&json).unwrap(), report);
    let error = report.into_result().unwrap_err().to_string();
    assert!(error.starts_with("the schema is broken 100 times, in 100 of 100 rows; first: \"x\""));
}

#[test]
fn a_target_is_a_column_like_any_other() {
    let file = "x,y\n1,a\n2,b\n";
    let options = ReadOptions::new().with_target("y", TargetKind::Classes);
    let table = read_csv_from(file.as_bytes(), "a.csv", &options).unwrap();
    let schema = Schema::new([ColumnSchema::category("y").with_texts(["a"])]);
    assert_eq!(schema.validate(&table).unwrap().rules[0].examples[0].value, "\"b\"");
    let strict = schema.with_unexpected(Unexpected::Refused);
    assert!(strict.validate(&table).unwrap().rules.iter().any(|rule| rule.rule == Rule::Expected));
}

#[test]
fn a_schema_that_makes_no_sense_is_refused_by_column() {
    let x = || ColumnSchema::number("x");
    let bad = [
        Schema::new([x().with_range(1.0, 0.0)]),
        Schema::new([x().with_minimum(f64::NAN)]),
        Schema::new([x().with_missing_rate(1.5)]),
        Schema::new([x().with_pattern("a")]),
        Schema::new([ColumnSchema::category("x").with_pattern("(")]),
        Schema::new([x(), x()]),
    ];
    for schema in bad {
        let error = schema.check_definition().unwrap_err().to_string();
        assert!(error.contains("\"x\"") && !error.contains('\n'), "{error}");
    }
    let json = serde_json::to_string(&Schema::new([x().with_range(0.0, 1.0)])).unwrap();
    assert!(serde_json::from_str::<Schema>(&json).is_ok());
    assert!(serde_json::from_str::<Schema>(&json.replace("maximum", "maximal")).is_err());
}

proptest! {
    #[test]
    fn a_sample_keeps_the_schema_inferred_from_it(
        values in prop::collection::vec(prop_oneof![any::<f64>(), Just(f64::NAN), (-5_i8..5).prop_map(f64::from)], 2..200),
        margin in prop_oneof![Just(0.0), 0.0..2.0],
    ) {
        let n_rows = values.len() / 2;
        let features = Array2::from_shape_vec((n_rows, 2), values[..n_rows * 2].to_vec()).unwrap();
        let table = Table::new(["a", "b"], features).unwrap().with_values("y", vec![1.0; n_rows]).unwrap();
        let schema = Schema::infer(&table, &InferOptions::new().with_range_margin(margin)).unwrap();
        let report = schema.validate(&table).unwrap();
        prop_assert!(report.is_valid(), "{}", report);
    }
}
