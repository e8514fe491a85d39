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
        .with_texts(["AB", "ab1"])
        .with_pattern("[a-z]+[0-9]")]);
    let report = schema.validate(&table).unwrap();
    assert_eq!(
        lines(&report)[1..],
        [
            "  \"code\": matches \"[a-z]+[0-9]\": 1 of 3 rows, such as \"AB\" in a.csv line 3",
            "  \"code\": one of \"AB\", \"ab1\": 1 of 3 rows, such as \"zz9\" in a.csv line 4",
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

fn colours(texts: &[&str]) -> Table {
    let file = format!("colour\n{}\n", texts.join("\n"));
    let options = ReadOptions::new().with_categories("colour");
    read_csv_from(file.as_bytes(), "a.csv", &options).unwrap()
}

#[test]
fn rules_of_numbers_do_not_read_the_codes_of_categories() {
    let ph = Table::new(["ph"], array![[0.0], [1.0], [2.0]])
        .and_then(|table| table.with_dictionary("ph", ["3.2", "35.0", "acid"]))
        .unwrap();
    for column in [ColumnSchema::number("ph").with_range(0.0, 14.0), ColumnSchema::integer("ph")] {
        let report = Schema::new([column.clone()]).validate(&ph).unwrap();
        assert_eq!((report.rules.len(), report.rules[0].count), (1, 0), "{report}");
        assert_eq!(report.rules[0].rule, Rule::Kind(column.kind));
    }
    let file = "x,quality\n1,3\n2,5\n3,9\n";
    let schema = Schema::new([ColumnSchema::integer("quality").with_range(3.0, 8.0)]);
    let read = |kind| {
        let options = ReadOptions::new().with_target("quality", kind);
        schema.validate(&read_csv_from(file.as_bytes(), "a.csv", &options).unwrap()).unwrap()
    };
    assert_eq!(lines(&read(TargetKind::Classes))[1..], ["  \"quality\": a whole number"]);
    let values = read(TargetKind::Values);
    assert_eq!(values.rules[0].examples[0].value, "9", "{values}");
}

#[test]
fn columns_are_compared_only_where_codes_stand_for_the_same_texts() {
    let check = |low: &[&str], high: &[&str], expected: &[&str]| {
        let mut table = Table::new(["low", "high"], array![[1.0, 0.0], [0.0, 1.0]]).unwrap();
        for (name, texts) in [("low", low), ("high", high)] {
            if !texts.is_empty() {
                table = table.with_dictionary(name, texts.to_vec()).unwrap();
            }
        }
        let schema = Schema::new([]).with_comparison("low", Relation::LessOrEqual, "high");
        assert_eq!(lines(&schema.validate(&table).unwrap())[1..], *expected);
    };
    let row = "  \"low\": low ≤ high: 1 of 2 rows, such as 1 against 0 in row 0";
    check(&[], &[], &[row]);
    check(&["s", "m"], &["s", "m"], &[row]);
    check(&["s", "m"], &["s", "m", "l"], &[row]);
    for (low, high) in [(&["s", "m"][..], &[][..]), (&[], &["s", "m"]), (&["s", "m"], &["m", "s"])]
    {
        check(low, high, &["  \"low\": low ≤ high"]);
    }

    let file = "low,quality\n1,3\n9,5\n2,8\n";
    let schema = Schema::new([]).with_comparison("low", Relation::LessOrEqual, "quality");
    let read = |kind| {
        let options = ReadOptions::new().with_target("quality", kind);
        schema.validate(&read_csv_from(file.as_bytes(), "a.csv", &options).unwrap()).unwrap()
    };
    assert_eq!((read(TargetKind::Values).count(), read(TargetKind::Classes).bad_rows), (1, 0));
    let listed = Schema::new([ColumnSchema::category("quality").with_texts(["3", "5"])])
        .with_comparison("low", Relation::LessOrEqual, "quality");
    let violations = listed.row_checker(&["low", "quality"]).unwrap().check(&[0.0, 1.0]).unwrap();
    let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["\"low\": low ≤ quality, it is numbers against categories"]);
}

#[test]
fn codes_that_stand_for_other_texts_than_the_schema_lists_are_found() {
    let train = colours(&["blue", "green", "red"]);
    let schema = Schema::infer(&train, &InferOptions::new()).unwrap();
    let check = |table: &Table, expected: &[&str]| {
        assert_eq!(lines(&schema.validate(table).unwrap())[1..], *expected);
    };
    let new = colours(&["blue", "red"]);
    check(
        &new,
        &["  \"colour\": code 1 stands for \"green\" in the schema, for \"red\" in the table"],
    );
    check(&new.recode("colour", ["blue", "green", "red"]).unwrap(), &[]);
    check(&colours(&["green", "blue"]), &[]);
    // A text more at the end gives no other a new code: only its own rows are wrong.
    let unknown = "  \"colour\": one of \"blue\", \"green\", \"red\": 1 of 4 rows, such as";
    let more = schema.validate(&colours(&["red", "green", "blue", "violet"])).unwrap();
    assert_eq!(lines(&more)[1..], [format!("{unknown} \"violet\" in a.csv line 5")]);
    let first = schema.validate(&colours(&["red", "green", "blue", "amber"])).unwrap();
    assert_eq!(first.rules.len(), 2, "{first}");

    let classes = Table::new(["x"], array![[1.0], [2.0]])
        .and_then(|table| table.with_classes("y", vec![0, 1], ["yes", "no"]))
        .unwrap();
    let schema = Schema::new([ColumnSchema::category("y").with_texts(["no", "yes"])]);
    let report = schema.validate(&classes).unwrap();
    assert!(matches!(report.rules[0].rule, Rule::Codes { code: 0, .. }), "{report}");
    let classes = classes.recode("y", ["no", "yes"]).unwrap();
    assert!(schema.validate(&classes).unwrap().is_valid());
    assert_eq!(classes.samples().unwrap().classes().unwrap().0.as_ref(), [1, 0]);
}

#[test]
fn recoding_keeps_every_text_or_names_the_row() {
    let table = Table::new(["c", "n"], array![[0.0, 5.0], [f64::NAN, 6.0], [1.0, 7.0]])
        .and_then(|table| table.with_dictionary("c", ["a", "b"]))
        .unwrap();
    let other = table.recode("c", ["z", "b", "a"]).unwrap();
    let codes = other.column("c").unwrap().to_vec();
    assert!(codes[0] == 2.0 && codes[1].is_nan() && codes[2] == 1.0, "{codes:?}");
    assert_eq!(other.column("n").unwrap(), table.column("n").unwrap());
    let error = |column: &str, texts: &[&str]| table.recode(column, texts).unwrap_err().to_string();
    assert_eq!(
        error("c", &["a", "z"]),
        "column \"c\" is invalid: row 2: \"b\" is not among \"a\", \"z\""
    );
    assert!(error("c", &["a", "b", "a"]).contains("\"a\" stands twice"));
    assert!(error("n", &["a"]).contains("it holds numbers"));
    assert!(error("none", &["a"]).contains("there is no column"));
}

/// As many texts as a file may have: a copy of the list for each unknown text or bad row would not fit into memory.
#[test]
fn a_long_list_of_texts_is_held_once_however_many_rows_break_it() {
    let count = 65_536;
    let texts = |first: &str| (0..count).map(|i| format!("{first}{i:05}")).collect::<Vec<_>>();
    let features = Array2::from_shape_fn((count, 1), |(row, _)| row as f64);
    let table = Table::new(["c"], features).unwrap().with_dictionary("c", texts("b")).unwrap();
    let schema = Schema::new([ColumnSchema::category("c").with_texts(texts("a"))]);
    let report = schema.validate(&table).unwrap();
    let counts: Vec<usize> = report.rules.iter().map(|rule| rule.count).collect();
    assert_eq!(counts, [0, count], "the codes as a whole, and each row");
    assert!(
        Schema::infer(&table, &InferOptions::new()).unwrap().validate(&table).unwrap().is_valid()
    );
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
