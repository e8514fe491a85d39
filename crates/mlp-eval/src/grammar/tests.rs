use super::*;
use crate::filter::Statistic;
use mlp_core::Timestamp;
use proptest::prelude::*;

fn column_of(text: &str) -> usize {
    Filter::parse(text).unwrap_err().column
}

#[test]
fn what_mlflow_takes_is_taken_and_means_the_same() {
    let last = |name: &str| Field::metric(name);
    let param = |name: &str| Field::Param(name.to_owned());
    for (text, expected) in [
        ("metrics.acc > 0.72", Filter::metric("acc", Operator::Greater, 0.72)),
        ("metric.\"val acc\" <= -1e-3", Filter::metric("val acc", Operator::AtMost, -1e-3)),
        ("metrics.`a b` != NaN", Filter::compare(last("a b"), Operator::NotEqual, f64::NAN)),
        (
            "params.\"cat dog\" = 'it''s'",
            Filter::compare(param("cat dog"), Operator::Equal, "it's"),
        ),
        ("parameter.lr like '0.%'", Filter::compare(param("lr"), Operator::Like, "0.%")),
        ("params.depth >= 4", Filter::compare(param("depth"), Operator::AtLeast, 4.0)),
        (
            "tag.mlflow.source ILIKE '%PY'",
            Filter::compare(Field::Tag("mlflow.source".into()), Operator::LikeIgnoringCase, "%PY"),
        ),
        (
            "attributes.status = 'finished'",
            Filter::compare(Field::Status, Operator::Equal, "finished"),
        ),
        ("params.model = \"tree\"", Filter::compare(param("model"), Operator::Equal, "tree")),
        ("run_id IN ('a', 'b')", Filter::In(Field::Id, vec!["a".into(), "b".into()])),
        (
            "start_time >= 1700000000000",
            Filter::compare(
                Field::StartedAt,
                Operator::AtLeast,
                Timestamp::from_micros(1_700_000_000_000_000),
            ),
        ),
        (
            "dataset.digest != 'x'",
            Filter::compare(Field::DatasetFingerprint, Operator::NotEqual, "x"),
        ),
        ("status != 'KILLED'", Filter::compare(Field::Status, Operator::NotEqual, "killed")),
        (
            "attributes.run_name = 'a'",
            Filter::compare(Field::Tag("mlflow.runName".into()), Operator::Equal, "a"),
        ),
        (
            "user_id != 'b'",
            Filter::compare(Field::Tag("mlflow.user".into()), Operator::NotEqual, "b"),
        ),
        ("dataset.context = 'train'", Filter::stage(&crate::Stage::Training)),
        (
            "dataset.context IN ('eval', 'Mine')",
            Filter::In(Field::Stage, vec!["validation".into(), "Mine".into()]),
        ),
        ("status = 'SCHEDULED'", Filter::compare(Field::Status, Operator::Equal, "scheduled")),
        ("status LIKE 'F%'", Filter::compare(Field::Status, Operator::Like, "f%")),
        ("`metric`.a >= 0.1", Filter::metric("a", Operator::AtLeast, 0.1)),
        (
            "`metrics`.\"a b\".min < 1",
            Filter::compare(Field::Metric("a b".into(), Statistic::Min), Operator::Less, 1.0),
        ),
        ("`tags`.source_name = 'a notebook'", Filter::tag("source_name", "a notebook")),
        ("`run name` = 'x'", Filter::tag("mlflow.runName", "x")),
        ("attributes.`Run name` = 'x'", Filter::tag("mlflow.runName", "x")),
        ("`status` = 'FAILED'", Filter::compare(Field::Status, Operator::Equal, "failed")),
        ("param.lr = '1'", Filter::compare(param("lr"), Operator::Equal, "1")),
        ("parameters.lr = '1'", Filter::compare(param("lr"), Operator::Equal, "1")),
        ("attr.status = 'failed'", Filter::compare(Field::Status, Operator::Equal, "failed")),
        ("attribute.status = 'failed'", Filter::compare(Field::Status, Operator::Equal, "failed")),
        ("run.status = 'failed'", Filter::compare(Field::Status, Operator::Equal, "failed")),
        (
            "metrics.loss.MIN < 0.2",
            Filter::compare(Field::Metric("loss".into(), Statistic::Min), Operator::Less, 0.2),
        ),
        ("datasets.context = 'Training'", Filter::stage(&crate::Stage::Training)),
        ("stage = 'ab:B'", Filter::stage(&crate::Stage::AbArm("B".into()))),
        ("datasets.context = 'training'", Filter::stage(&crate::Stage::Training)),
        (
            "metrics.loss.min < 0.2",
            Filter::compare(Field::Metric("loss".into(), Statistic::Min), Operator::Less, 0.2),
        ),
        ("metrics.\"loss.min\" < 0.2", Filter::metric("loss.min", Operator::Less, 0.2)),
        (
            "metrics.\"loss.min\".max < 0.2",
            Filter::compare(Field::Metric("loss.min".into(), Statistic::Max), Operator::Less, 0.2),
        ),
        ("params.p IS NULL", Filter::Absent(param("p"))),
        ("params.p is not null", Filter::Present(param("p"))),
        ("", Filter::everything()),
    ] {
        let parsed = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(format!("{parsed:?}"), format!("{expected:?}"), "{text}");
        parsed.check().unwrap();
    }
}

#[test]
fn and_binds_more_than_or_and_parentheses_more_than_both() {
    let m = |name: &str| Filter::metric(name, Operator::Greater, 0.0);
    let parse = |text: &str| Filter::parse(text).unwrap();
    assert_eq!(
        parse("metrics.a > 0 OR metrics.b > 0 AND metrics.c > 0"),
        m("a").or(m("b").and(m("c")))
    );
    assert_eq!(
        parse("(metrics.a > 0 OR metrics.b > 0) AND metrics.c > 0"),
        Filter::All(vec![m("a").or(m("b")), m("c")])
    );
    let between = parse("metrics.a BETWEEN 1 AND 2 AND metrics.c > 0");
    let expected =
        Filter::metric("a", Operator::AtLeast, 1.0).and(Filter::metric("a", Operator::AtMost, 2.0));
    assert_eq!(between, Filter::All(vec![expected, m("c")]));
    let not = parse("tags.t NOT IN ('a', 'b')");
    assert!(matches!(not, Filter::All(parts) if parts.len() == 2));
}

#[test]
fn a_context_names_one_series_of_a_metric() {
    let train = SeriesKey::new("loss").with_context("subset", "train");
    let both = train.clone().with_context("a fold", "it's 1]");
    let min = |key: SeriesKey| Filter::Present(Field::Metric(key, Statistic::Min));
    let whole = SeriesKey { metric: "loss.min".into(), ..train.clone() };
    for (text, expected) in [
        ("metrics.loss[subset=train] < 1", Filter::metric(&train, Operator::Less, 1.0)),
        ("metric.loss [ subset = 'train' ].min IS NOT NULL", min(train)),
        ("metrics.\"loss\"[subset=train, `a fold`='it''s 1]'].MIN is not null", min(both)),
        ("metrics.loss.min[subset=train] < 1", Filter::metric(whole, Operator::Less, 1.0)),
    ] {
        let parsed = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(parsed, expected, "{text}");
    }
    for (text, column) in [
        ("metrics.loss[] < 1", 14),
        ("metrics.loss[subset] < 1", 20),
        ("metrics.loss[subset=train < 1", 27),
        ("metrics.loss[a=1, a=2] < 1", 19),
        ("params.loss[a=1] = '1'", 12),
        ("status[a=1] = '1'", 7),
        ("metrics.loss[a=1].median < 1", 18),
        ("tags.`loss`[a=1] = '1'", 12),
    ] {
        assert_eq!(column_of(text), column, "{text}");
    }
}

#[test]
fn an_error_points_at_its_column() {
    for (text, column) in [
        ("params.lr = 0.1", 13),
        ("metrics.acc > '0.9'", 15),
        ("metric.acc > 0.9 trash", 18),
        ("metrics.acc > 0.9 AND", 22),
        ("metrics.acc >", 14),
        ("metrics.acc = 'a", 15),
        ("tags.\"a = 'b'", 6),
        ("unknown.x = 1", 1),
        ("params.lr > 'a'", 13),
        ("tags.t > 'a'", 8),
        ("(metrics.a > 1", 15),
        ("metrics.a > 1)", 14),
        ("metrics. > 1", 1),
        ("metrics.a ? 1", 11),
        ("metrics.a BETWEEN 1 OR 2", 21),
        ("tags.t IN ()", 12),
        ("start_time > 'yesterday'", 14),
        ("metrics.a > 1e", 13),
        ("naïve = 1", 1),
        ("status = 'LATE'", 10),
        ("metrics.a > 1 AND attributes.artifact_uri = 'x'", 19),
        ("stage IN ('test', 'tests')", 19),
        ("params.\"lr\".max = '0.1'", 12),
        ("tags.\"mlflow\".user = 'x'", 14),
        ("attributes.\"status\".foo = 'finished'", 20),
        ("metrics.\"a\".median < 1", 12),
        ("attributes.\"foo\" = 'x'", 1),
        ("`foo` = 'x'", 1),
        ("`metrics` > 1", 1),
        ("`params.lr`.max = '0.1'", 1),
        ("\"metrics.f1.min\" > 0.5", 1),
        ("`metrics.` \"a b\" > 1", 1),
    ] {
        assert_eq!(column_of(text), column, "{text}: {:?}", Filter::parse(text));
    }
    let said = |text: &str| Filter::parse(text).unwrap_err().message;
    assert!(said("metrics.\"a\".median < 1").contains("\"median\" is no statistic: last, min"));
    assert!(
        said("attributes.\"foo\" = 'x'").contains("attributes.\"foo\" is unknown: one of run_id")
    );
    assert!(said("dataset.size = 1").contains("name, version, digest or context"));
    let deep = format!("{}metrics.a > 1{}", "(".repeat(40), ")".repeat(40));
    assert!(Filter::parse(&deep).is_err());
    assert!(Filter::parse(&" ".repeat(MAX_FILTER_TEXT)).is_ok());
    assert!(Filter::parse(&" ".repeat(MAX_FILTER_TEXT + 1)).is_err());
}

#[test]
fn a_pattern_for_what_is_no_text_is_refused_with_its_column() {
    for (text, column) in [
        ("metrics.a LIKE 5", 16),
        ("metrics.a LIKE '5%'", 16),
        ("model_version ILIKE 5", 21),
        ("start_time LIKE 5", 17),
        ("end_time LIKE '2026-01-31T12:00:00Z'", 15),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.starts_with("a pattern is a text in single quotes"), "{error}");
    }
    assert_eq!(column_of("tags.t LIKE 5"), 13);
    assert_eq!(column_of("params.p ILIKE 5"), 16);
    assert!(Filter::parse("params.p LIKE '5%'").unwrap().check().is_ok());
}

#[test]
fn whatever_key_meets_whatever_comparison_and_value_is_refused_or_passes_the_check() {
    let keys = "metrics.a metrics.a.min params.p tags.t run_id experiment model model_version \
                stage status start_time end_time run_name dataset.name dataset.version \
                dataset.digest dataset.context";
    let values = ["5", "'5'", "\"5\"", "nan", "word", "'test'", "'2026-01-31T12:00:00Z'"];
    let (mut taken, mut refused) = (0, 0);
    for key in keys.split_whitespace() {
        for value in values {
            let alone = ["=", "!=", "<", ">=", "LIKE", "ILIKE"]
                .map(|operator| format!("{key} {operator} {value}"));
            let more = [
                format!("{key} IN ({value})"),
                format!("{key} NOT IN ({value}, {value})"),
                format!("{key} BETWEEN {value} AND {value}"),
                format!("{key} NOT BETWEEN {value} AND {value}"),
            ];
            for text in alone.into_iter().chain(more) {
                match Filter::parse(&text) {
                    Ok(filter) => {
                        filter.check().unwrap_or_else(|error| panic!("{text}: {error}"));
                        taken += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
}

#[test]
fn what_is_too_deep_or_too_long_for_the_check_is_refused_with_its_column() {
    // Each parenthesis adds two levels: an OR within an AND.
    let nested = |levels: usize| {
        let open = "params.p = 'x' AND (params.q = 'y' OR ".repeat(levels);
        format!("params.r IS NULL AND ({open}metrics.a > 1{})", ")".repeat(levels))
    };
    let deepest = (0..MAX_FILTER_DEPTH).filter(|n| Filter::parse(&nested(*n)).is_ok()).max();
    let deepest = deepest.expect("some depth is fine");
    assert!(Filter::parse(&nested(deepest)).unwrap().check().is_ok());
    assert_eq!(deepest, 15, "two levels each");
    assert!(column_of(&nested(deepest + 1)) > 20);

    let long =
        |values: usize| format!("tags.t = 'a' OR tags.u IN ({})", vec!["'b'"; values].join(", "));
    let most = MAX_FILTER_TERMS - 2;
    assert!(Filter::parse(&long(most)).unwrap().check().is_ok());
    assert_eq!(column_of(&long(most + 1)), 17);
    let many = |count: usize| vec!["tags.t = 'a'"; count].join(" AND ");
    assert!(Filter::parse(&many(MAX_FILTER_TERMS - 1)).unwrap().check().is_ok());
    assert_eq!(column_of(&many(MAX_FILTER_TERMS)), 17 * (MAX_FILTER_TERMS - 1) + 1);
    assert_eq!(Order::parse_list(&vec!["start_time"; 17].join(",")).unwrap_err().column, 177);
}

#[test]
fn orders_are_read_with_both_directions_and_nothing_else() {
    let orders = Order::parse_list("metrics.acc DESC, params.\"a b\" asc, start_time").unwrap();
    let expected = [
        Order::descending(Field::metric("acc")),
        Order::ascending(Field::Param("a b".into())),
        Order::ascending(Field::StartedAt),
    ];
    assert_eq!(orders, expected);
    assert_eq!(Order::parse_list("metrics.acc UP").unwrap_err().column, 13);
    assert!(Order::parse_list("metrics.acc,").is_err());
    assert_eq!(Order::parse_list("").unwrap(), []);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_what_it_takes_passes_the_check(text in "[ a-z.'\"`()<>=!0-9,%A-Z]{0,60}") {
        if let Ok(filter) = Filter::parse(&text) {
            prop_assert!(filter.check().is_ok());
        }
        let _ = Order::parse_list(&text);
    }

    #[test]
    fn any_text_in_quotes_is_only_a_text(text in "\\PC{0,40}") {
        let quoted = format!("tags.t = '{}'", text.replace('\'', "''"));
        prop_assert_eq!(Filter::parse(&quoted).unwrap(), Filter::tag("t", text));
    }
}
