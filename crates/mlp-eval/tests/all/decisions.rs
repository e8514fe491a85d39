use mlp_core::{Direction, Timestamp};
use mlp_eval::{
    EvalStore, EvalStoreExt, Evaluation, Gate, GateRule, InMemoryEvalStore, NewEvaluation, Stage,
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
}
