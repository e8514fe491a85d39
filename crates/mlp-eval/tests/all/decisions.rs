use mlp_core::{Direction, Timestamp, VersionNumber};
use mlp_eval::{
    Batch, EvalStore, EvalStoreExt, Evaluation, Filter, Gate, GateRule, InMemoryEvalStore,
    Leaderboard, NewEvaluation, Retention, SeriesKey, Stage, Status, Trend,
};

fn new(experiment: &str) -> NewEvaluation {
    NewEvaluation::new(experiment, Stage::Test, Timestamp::UNIX_EPOCH)
}

fn logged(store: &InMemoryEvalStore, evaluation: NewEvaluation) -> Evaluation {
    store.get(store.log(evaluation, Timestamp::UNIX_EPOCH).unwrap()).unwrap()
}

#[test]
fn a_comparison_shows_what_differs_and_by_how_much() {
    let store = InMemoryEvalStore::new();
    let base = new("wine").with_param("seed", 1);
    let one =
        logged(&store, base.clone().with_model("tree".parse().unwrap()).with_metric("f1", 0.5));
    let two = new("wine").with_param("seed", 1).with_param("trees", 9);
    let two = logged(
        &store,
        two.with_model("forest".parse().unwrap())
            .with_metric("f1", 0.75)
            .with_metric("auc", f64::NAN),
    );
    let comparison = store.compare(&[one.id, two.id]).unwrap();
    assert_eq!(comparison.params, [("trees".to_owned(), vec![None, Some("9".to_owned())])]);
    assert_eq!(comparison.metrics[1].deltas, [Some(0.0), Some(0.25)]);
    assert_eq!(
        comparison.to_string(),
        "         tree            forest\n\
         trees       -                 9\n\
         auc         -               NaN\n\
         f1     0.5000  0.7500 (+0.2500)\n"
    );
    let text = serde_json::to_string(&comparison).unwrap();
    let read: mlp_eval::Comparison = serde_json::from_str(&text).unwrap();
    assert!(read.metrics[0].values[1].unwrap().is_nan(), "{text}");
}

#[test]
fn a_comparison_has_a_row_for_each_context_of_a_metric() {
    let store = InMemoryEvalStore::new();
    let ids = [0.5, 0.25].map(|loss| {
        let run = new("wine");
        let train = SeriesKey::new("loss").with_context("subset", "train");
        let batch = Batch::new().with_point(train, 0, Timestamp::UNIX_EPOCH, loss);
        store.create_with(&run, &batch).unwrap();
        run.id
    });
    let comparison = store.compare(&ids).unwrap();
    assert_eq!(comparison.metrics[0].metric, "loss[subset=train]");
    assert_eq!(comparison.metrics[0].deltas, [Some(0.0), Some(-0.25)]);
}

#[test]
fn experiments_are_compared_by_their_best_evaluation() {
    let store = InMemoryEvalStore::new();
    for (experiment, rmse) in [("a", 2.0), ("a", 1.0), ("b", f64::NAN), ("c", 3.0)] {
        logged(&store, new(experiment).with_metric("rmse", rmse));
    }
    let comparison =
        store.compare_experiments(&["a", "b", "c"], "rmse", Direction::Minimize).unwrap();
    assert_eq!(comparison.metrics[0].values, [Some(1.0), Some(3.0)]);
    assert!(comparison.labels[0].starts_with("a: "));
}

#[test]
fn a_gate_fails_on_a_missing_value_a_nan_and_a_regression() {
    let store = InMemoryEvalStore::new();
    let evaluation = |f1: f64| logged(&store, new("wine").with_metric("f1", f1));
    let (good, slightly_worse, worse, nan) =
        (evaluation(0.8), evaluation(0.79), evaluation(0.6), evaluation(f64::NAN));
    let missing = logged(&store, new("wine"));
    let absolute = Gate::new([GateRule::AtLeast("f1".into(), 0.7)]);
    let relative =
        Gate::new([GateRule::MaxRelativeRegression("f1".into(), Direction::Maximize, 0.02)]);
    let by_difference =
        Gate::new([GateRule::MaxRegression("f1".into(), Direction::Maximize, 0.02)]);
    let at_most = Gate::new([GateRule::AtMost("f1".into(), 1.0)]);

    for gate in [&absolute, &relative, &by_difference, &at_most] {
        assert!(gate.judge(&slightly_worse, Some(&good)).passed(), "{gate:?}");
        assert!(!gate.judge(&nan, Some(&good)).passed(), "{gate:?}");
        assert!(!gate.judge(&missing, Some(&good)).passed(), "{gate:?}");
    }
    for gate in [&absolute, &relative, &by_difference] {
        assert!(!gate.judge(&worse, Some(&good)).passed(), "{gate:?}");
    }
    let infinite = evaluation(f64::INFINITY);
    assert!(!relative.judge(&good, Some(&infinite)).passed());
    assert!(relative.judge(&infinite, Some(&infinite)).passed());
    let no_worse = GateRule::MaxRelativeRegression("f1".into(), Direction::Minimize, 0.0);
    let no_worse = Gate::new([no_worse]);
    assert!(no_worse.judge(&good, Some(&infinite)).passed(), "any number is less than infinity");
    assert!(!no_worse.judge(&infinite, Some(&good)).passed());
    for gate in [&relative, &by_difference] {
        for baseline in [None, Some(&nan), Some(&missing)] {
            assert!(!gate.judge(&good, baseline).passed(), "{gate:?} without a baseline");
        }
    }
}

#[test]
fn a_gate_report_is_text_json_and_junit() {
    let store = InMemoryEvalStore::new();
    let candidate = logged(&store, new("wine").with_metric("f1", 0.5));
    let gate = Gate::new([GateRule::AtLeast("f1".into(), 0.7), GateRule::AtMost("f1".into(), 1.0)]);
    let report = gate.judge(&candidate, None);
    assert!(report.to_string().starts_with("FAIL  f1 is at least 0.7: it is 0.5\npass"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["passed"], false);
    let junit = report.to_junit();
    assert!(junit.contains("tests=\"2\" failures=\"1\""), "{junit}");
    assert!(junit.contains("<failure message=\"it is 0.5\"/>"), "{junit}");
    let hostile = Gate::new([GateRule::AtLeast("<f1 & \"x\">".into(), 0.7)]);
    assert!(hostile.judge(&candidate, None).to_junit().contains("&lt;f1 &amp; &quot;x&quot;&gt;"));
    let labelled = SeriesKey::new("f1").with_context("by", "a\n\u{1}\u{FFFF}b");
    let hostile = Gate::new([GateRule::AtLeast(labelled, 0.7)]).judge(&candidate, None).to_junit();
    assert!(hostile.contains("by=a&#10;\u{FFFD}\u{FFFD}b"), "{hostile}");
}

#[test]
fn a_confidence_bound_from_folds_passes_only_what_the_folds_support() {
    let store = InMemoryEvalStore::new();
    let folds = [0.80, 0.82, 0.78, 0.81, 0.79];
    let run = new("wine").with_metric("f1", 0.8);
    store.create(&run).unwrap();
    for (fold, score) in folds.into_iter().enumerate() {
        let key = SeriesKey::new("f1").with_context("by", "fold");
        let batch = Batch::new().with_point(key, fold as i64, Timestamp::UNIX_EPOCH, score);
        store.write(run.id, &batch).unwrap();
    }
    let key = || SeriesKey::new("f1").with_context("by", "fold");
    // s = 0.015811, t(0.95, 4) = 2.131847: the bound is 0.8 - 2.131847 * s * sqrt(1/5 + 1/4) = 0.777389.
    let judged = |rule| Gate::new([rule]).judge_with(&store, run.id, None).unwrap().passed();
    assert!(judged(GateRule::ConfidentlyAtLeast(key(), 0.7773, 0.95)));
    assert!(!judged(GateRule::ConfidentlyAtLeast(key(), 0.7775, 0.95)));
    assert!(judged(GateRule::ConfidentlyAtMost(key(), 0.8227, 0.95)));
    assert!(!judged(GateRule::ConfidentlyAtMost(key(), 0.8225, 0.95)));
    assert!(!judged(GateRule::ConfidentlyAtLeast("f1".into(), 0.1, 0.95)), "one point is no fold");
    for confidence in [95.0, 1.0, 0.4, -0.95, f64::NAN] {
        let rule = GateRule::ConfidentlyAtLeast(key(), 0.1, confidence);
        let report = Gate::new([rule]).judge_with(&store, run.id, None).unwrap();
        let because = &report.rules[0].because;
        assert!(!report.passed() && because.contains("0.5 or more and less than 1"), "{because}");
    }
    let rule = GateRule::ConfidentlyAtLeast(key(), 0.1, 0.95);
    let evaluation = store.get(run.id).unwrap();
    assert!(!Gate::new([rule]).judge(&evaluation, None).passed(), "no folds were read");
}

#[test]
fn a_leaderboard_has_one_place_a_model_and_shares_ranks() {
    let store = InMemoryEvalStore::new();
    for (model, version, f1) in [
        ("forest", 1, 0.7),
        ("forest", 1, 0.8),
        ("forest", 2, 0.8),
        ("tree", 1, f64::NAN),
        ("boosting", 1, 0.9),
    ] {
        let evaluation = new("wine")
            .with_model(model.parse().unwrap())
            .with_model_version(mlp_core::VersionNumber(version));
        logged(&store, evaluation.with_metric("f1", f1));
    }
    logged(&store, new("wine").with_metric("f1", 0.75));
    let board = |places| {
        Leaderboard::of(&store, &Filter::everything(), "f1", Direction::Maximize, places).unwrap()
    };
    let ranks: Vec<_> = board(10).standings.iter().map(|s| (s.rank, s.value)).collect();
    assert_eq!(ranks, [(1, 0.9), (2, 0.8), (2, 0.8), (4, 0.75)]);
    assert_eq!(board(2).standings.len(), 2);
    assert!(board(10).to_string().contains("boosting v1"), "{}", board(10));
}

#[test]
fn a_trend_follows_the_versions_of_a_model() {
    let store = InMemoryEvalStore::new();
    let model: mlp_core::ModelName = "forest".parse().unwrap();
    for (second, version, f1) in
        [(1, 2, 0.70), (2, 1, 0.60), (3, 2, 0.75), (4, 10, 0.65), (5, 11, 0.80)]
    {
        let at = Timestamp::from_micros(second);
        let mut evaluation = new("wine").with_model(model.clone()).with_metric("f1", f1);
        evaluation.started_at = at;
        logged(&store, evaluation.with_model_version(mlp_core::VersionNumber(version)));
    }
    logged(&store, new("wine").with_model(model.clone()));
    let trend =
        Trend::of(&store, &model, &Filter::everything(), "f1", Direction::Maximize).unwrap();
    let points: Vec<_> = trend.points.iter().map(|p| (p.version.0, p.value, p.is_record)).collect();
    assert_eq!(points, [(1, 0.60, true), (2, 0.75, true), (10, 0.65, false), (11, 0.80, true)]);
    assert!(trend.points[0].change.is_nan());
    assert!((trend.points[2].change + 0.10).abs() < 1e-12);
}

#[test]
fn a_series_with_a_context_is_ranked_gated_and_kept_as_a_metric_is() {
    let store = InMemoryEvalStore::new();
    let key = SeriesKey::new("loss").with_context("subset", "train");
    let evaluations: Vec<_> = [0.3, 0.1, 0.2]
        .into_iter()
        .zip(1..)
        .map(|(loss, version)| {
            let new = new("wine").with_model("forest".parse().unwrap());
            let new = new.with_model_version(VersionNumber(version)).with_metric("loss", -loss);
            store.create(&new).unwrap();
            let batch = Batch::new().with_point(&key, 0, new.started_at, loss);
            store.write(new.id, &batch.finished(Status::Finished, new.started_at)).unwrap();
            store.get(new.id).unwrap()
        })
        .collect();
    let (everything, low) = (Filter::everything(), Direction::Minimize);
    let best = |key: &SeriesKey| store.best(&everything, key, low).unwrap().unwrap().id;
    assert_eq!(best(&key), evaluations[1].id);
    assert_eq!(best(&"loss".into()), evaluations[0].id, "the metric of that name is another");
    let board = Leaderboard::of(&store, &everything, &key, low, 10).unwrap();
    let values: Vec<_> = board.standings.iter().map(|standing| standing.value).collect();
    assert_eq!((board.metric.as_str(), values), ("loss subset=train", vec![0.1, 0.2, 0.3]));
    let model = "forest".parse().unwrap();
    let trend = Trend::of(&store, &model, &everything, &key, low).unwrap();
    let values: Vec<_> = trend.points.iter().map(|point| point.value).collect();
    assert_eq!(values, [0.3, 0.1, 0.2]);
    let gate = Gate::new([GateRule::MaxRegression(key.clone(), low, 0.15)]);
    assert!(gate.judge(&evaluations[2], Some(&evaluations[1])).passed());
    assert!(!gate.judge(&evaluations[0], Some(&evaluations[1])).passed());
    let retention = Retention::default().with_count_per_model(0).with_best(&key, low, 1);
    let plan = retention.plan(&store, &everything, Timestamp::from_micros(10)).unwrap();
    let kept: Vec<_> = plan.kept.iter().map(|verdict| verdict.id).collect();
    assert_eq!(kept, [evaluations[1].id]);
}
