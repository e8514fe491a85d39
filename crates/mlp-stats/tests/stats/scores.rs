use mlp_stats::{
    Average, BinaryScores, ClassScores, Confusion, LabelScore, Pairing, RegressionScores,
    StatsError, Undefined, ZeroDivision, accuracy, corrected_resampled_t, student_t_quantile,
};
use serde_json::Value;

use super::support::{Case, Vectors, labels, number, numbers};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The scores of a case, each to be compared once; what nobody compares fails.
struct Scores<'a> {
    case: &'a Case<'a>,
    compared: RefCell<BTreeSet<String>>,
}

/// The scores for which scikit-learn has 0 or 1 by convention where there is no value, and ours says why there is none.
const CONVENTIONS: [&str; 7] = [
    "mcc",
    "r2",
    "explained_variance",
    "d2_pinball_0.9",
    "d2_absolute",
    "average_precision",
    "pr_auc_trapezoid",
];

impl<'a> Scores<'a> {
    fn of(case: &'a Case<'a>) -> Self {
        Self { case, compared: RefCell::new(BTreeSet::new()) }
    }

    /// Compares a score with scikit-learn's, which may be a number, an error, or a number where ours is an undefined score with a reason.
    fn compare(&self, name: &str, ours: Result<f64, StatsError>, tolerance: f64) {
        let case = self.case;
        let Some(theirs) = case.value["expected"].get(name) else { return };
        self.compared.borrow_mut().insert(name.to_owned());
        if let Some(error) = theirs.get("error") {
            // Scores that only rank may be infinite here.
            if error.to_string().contains("infinity") && name != "log_loss" && name != "brier" {
                return;
            }
            assert!(ours.is_err(), "{}: {name} is {ours:?}, expected an error", case.name);
            return;
        }
        let value = theirs.get("value").unwrap_or(theirs);
        match ours {
            Ok(ours) => case.close(name, ours, value, tolerance, tolerance),
            Err(error) => {
                assert!(error.undefined_reason().is_some(), "{}: {name}: {error}", case.name);
                let value = number(value);
                let has_convention = CONVENTIONS.contains(&name) && [0.0, 1.0].contains(&value);
                let is_undefined = !value.is_finite() || has_convention;
                assert!(is_undefined, "{}: {name}: {error}, expected {value}", case.name);
            }
        }
    }

    fn also_compared(&self, name: &str) {
        self.compared.borrow_mut().insert(name.to_owned());
    }

    fn all_were_compared(&self) {
        let expected = self.case.value["expected"].as_object().unwrap().keys().cloned();
        let missing: Vec<String> =
            expected.filter(|key| !self.compared.borrow().contains(key)).collect();
        assert!(missing.is_empty(), "{}: nobody compared {missing:?}", self.case.name);
    }
}

#[test]
fn vectors_metrics_labels() {
    Vectors::read("metrics_labels").check(|case| {
        let scores_of = Scores::of(case);
        let (truth, predicted) = (labels(&case.value["y_true"]), labels(&case.value["y_pred"]));
        let mut present: Vec<usize> = truth.iter().chain(&predicted).copied().collect();
        present.sort_unstable();
        present.dedup();
        // Their classes are those that occur; 1 is the positive one.
        let place = |label: &usize| present.binary_search(label).unwrap();
        let (rows, columns): (Vec<usize>, Vec<usize>) =
            (truth.iter().map(place).collect(), predicted.iter().map(place).collect());
        let weights =
            case.value["sample_weight"].as_array().map(|_| numbers(&case.value["sample_weight"]));
        let confusion = match &weights {
            Some(weights) => Confusion::weighted(&rows, &columns, weights, present.len()),
            None => Confusion::of(&rows, &columns, present.len()),
        };
        let of = |score: &dyn Fn(&Confusion) -> Result<f64, StatsError>| score(&confusion.clone()?);
        if weights.is_none() {
            scores_of.compare("accuracy", accuracy(&truth, &predicted), 1e-12);
        }
        scores_of.compare("accuracy", of(&Confusion::accuracy), 1e-12);
        scores_of.compare("hamming_loss", of(&|c| Ok(1.0 - c.accuracy()?)), 1e-12);
        scores_of.compare("balanced_accuracy", of(&Confusion::balanced_accuracy), 1e-12);
        scores_of.compare("mcc", of(&Confusion::matthews_correlation), 1e-12);
        scores_of.compare("kappa", of(&Confusion::cohen_kappa), 1e-12);
        scores_of.compare("kappa_quadratic", of(&Confusion::quadratic_kappa), 1e-12);
        let policies = [
            ("zd0.0", ZeroDivision::Value(0.0)),
            ("zd1.0", ZeroDivision::Value(1.0)),
            ("zdnan", ZeroDivision::Skip),
        ];
        let scores = [
            ("precision", LabelScore::Precision),
            ("recall", LabelScore::Recall),
            ("f1", LabelScore::F1),
        ];
        let averages =
            [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)];
        let positive = present.binary_search(&1);
        let absent = || StatsError::Label { input: "positive", index: 0, label: 1, classes: 1 };
        for (policy_name, policy) in policies {
            let by_policy = |score: Result<f64, StatsError>| match (policy, &score) {
                (ZeroDivision::Value(value), Err(StatsError::Undefined { .. })) => Ok(value),
                _ => score,
            };
            for (name, score) in scores {
                for (average_name, average) in averages {
                    let key = format!("{name}_{average_name}_{policy_name}");
                    scores_of.compare(&key, of(&|c| c.average(score, average, policy)), 1e-12);
                }
                let key = format!("{name}_binary_{policy_name}");
                let binary = of(&|c| c.score(score, positive.map_err(|_| absent())?));
                // Without any positive row or prediction theirs is the policy's value.
                let binary = match binary {
                    Err(StatsError::Label { .. }) if confusion.is_ok() => {
                        Err(StatsError::Undefined {
                            quantity: name,
                            reason: Undefined::ZeroDivision,
                        })
                    }
                    other => other,
                };
                scores_of.compare(&key, by_policy(binary), 1e-12);
                let key = format!("{name}_per_class_{policy_name}");
                per_class(&scores_of, &key, |class| by_policy(of(&|c| c.score(score, class))));
            }
        }
        let beta = LabelScore::FBeta(2.0);
        for (name, average) in averages {
            let score = of(&|c| c.average(beta, average, ZeroDivision::Value(0.0)));
            scores_of.compare(&format!("fbeta2_{name}"), score, 1e-12);
        }
        // Without any positive row or prediction theirs is 0 by their policy.
        let binary = match positive {
            Ok(positive) => of(&|c| c.score(beta, positive)),
            Err(_) => confusion.clone().map(|_| 0.0),
        };
        scores_of.compare("fbeta2_binary", binary, 1e-12);
        let jaccard =
            of(&|c| c.average(LabelScore::Jaccard, Average::Macro, ZeroDivision::Value(0.0)));
        scores_of.compare("jaccard_macro", jaccard, 1e-12);
        matrix(case, confusion.ok().as_ref());
        scores_of.also_compared("confusion_matrix");
        scores_of.all_were_compared();
    });
}

fn per_class(scores: &Scores<'_>, key: &str, score: impl Fn(usize) -> Result<f64, StatsError>) {
    let case = scores.case;
    scores.also_compared(key);
    let Some(values) = case.value["expected"].get(key).and_then(|v| v["value"].as_array()) else {
        return;
    };
    for (class, theirs) in values.iter().enumerate() {
        let ours = score(class).unwrap_or(f64::NAN);
        case.close(&format!("{key}[{class}]"), ours, theirs, 1e-12, 0.0);
    }
}

fn matrix(case: &Case<'_>, confusion: Option<&Confusion>) {
    let theirs = &case.expected("confusion_matrix");
    let Some(confusion) = confusion else {
        assert!(theirs.get("error").is_some(), "{}", case.name);
        return;
    };
    if theirs.get("error").is_some() {
        assert!(
            confusion.accuracy().is_err(),
            "{}: only an empty matrix may be theirs' error",
            case.name
        );
        return;
    }
    for (truth, row) in theirs["value"].as_array().unwrap().iter().enumerate() {
        for (predicted, count) in row.as_array().unwrap().iter().enumerate() {
            case.same("count", confusion.count(truth, predicted), number(count));
        }
    }
}

#[test]
fn vectors_metrics_binary_scores() {
    Vectors::read("metrics_binary_scores").check(|case| {
        let scores_of = Scores::of(case);
        let positive: Vec<bool> =
            numbers(&case.value["y_true"]).into_iter().map(|label| label == 1.0).collect();
        let scores = numbers(&case.value["p_positive"]);
        let weights = &case.value["sample_weight"];
        let weights = (!weights.is_null()).then(|| numbers(weights));
        let rows = BinaryScores::new(&positive, &scores).and_then(|rows| match &weights {
            Some(weights) => rows.weighted(weights),
            None => Ok(rows),
        });
        let of =
            |score: &dyn Fn(&BinaryScores<'_>) -> Result<f64, StatsError>| score(&rows.clone()?);
        scores_of.compare("roc_auc", of(&|rows| rows.roc_auc()), 1e-12);
        scores_of.compare("average_precision", of(&|rows| rows.average_precision()), 1e-12);
        scores_of.compare(
            "pr_auc_trapezoid",
            of(&|r| Ok(r.precision_recall_curve()?.area())),
            1e-12,
        );
        scores_of.compare("log_loss", of(&|rows| rows.log_loss()), 1e-12);
        scores_of.compare("brier", of(&|rows| rows.brier()), 1e-12);
        let lists = |name: &str, ours: Option<[Vec<f64>; 3]>, keys: [&str; 3]| {
            let theirs = &case.expected(name)["value"];
            let Some(ours) = ours else {
                let is_single = positive.iter().all(|label| *label == positive[0]);
                let undefined =
                    theirs.is_null() || is_single || theirs[keys[1]].to_string().contains("NaN");
                assert!(undefined, "{}: no {name}", case.name);
                return;
            };
            for (ours, key) in ours.iter().zip(keys) {
                let theirs = numbers(&theirs[key]);
                assert_eq!(ours.len(), theirs.len(), "{}: {name}.{key}", case.name);
                for (ours, theirs) in ours.iter().zip(theirs) {
                    let is_close = *ours == theirs || (ours - theirs).abs() < 1e-12;
                    assert!(is_close, "{}: {name}.{key}: {ours} for {theirs}", case.name);
                }
            }
        };
        let roc = rows.clone().and_then(|rows| rows.roc_curve()).ok();
        lists(
            "roc_curve_drop_intermediate_false",
            roc.map(|c| [c.thresholds, c.false_positive_rates, c.true_positive_rates]),
            ["thresholds", "fpr", "tpr"],
        );
        let curve = rows.clone().and_then(|rows| rows.precision_recall_curve()).ok();
        lists(
            "precision_recall_curve",
            curve.map(|c| [c.thresholds, c.precision, c.recall]),
            ["thresholds", "precision", "recall"],
        );
        for name in [
            "roc_curve_drop_intermediate_false",
            "precision_recall_curve",
            "ece10_positive_class",
            "ece10_top_label_threshold0.5",
        ] {
            scores_of.also_compared(name);
        }
        scores_of.all_were_compared();
        let Ok(rows) = rows else { return };
        if let Some(theirs) = case.value["expected"].get("ece10_positive_class") {
            let reliability = rows.reliability(10).unwrap();
            case.close("ece", reliability.expected_error(), &theirs["value"], 1e-12, 1e-12);
            case.close("max ce", reliability.maximum_error(), &theirs["max"], 1e-12, 1e-12);
            let bins = theirs["bins"].as_array().map(Vec::as_slice).unwrap_or_default();
            for bin in bins {
                let ours = reliability.bins[number(&bin["bin"]) as usize];
                case.close("mean", ours.mean_probability.unwrap(), &bin["mean_p"], 1e-12, 1e-12);
                case.close("share", ours.share_true.unwrap(), &bin["frac_pos"], 1e-12, 1e-12);
                if weights.is_none() {
                    case.close("count", ours.weight, &bin["count"], 0.0, 0.0);
                }
            }
        }
        if let Some(theirs) = case.value["expected"].get("ece10_top_label_threshold0.5") {
            let reliability = rows.top_label_reliability(10).unwrap();
            case.close("top ece", reliability.expected_error(), &theirs["value"], 1e-12, 1e-12);
            case.close("top max", reliability.maximum_error(), &theirs["max"], 1e-12, 1e-12);
        }
    });
}

#[test]
fn vectors_metrics_multiclass_scores() {
    Vectors::read("metrics_multiclass_scores").check(|case| {
        let scores_of = Scores::of(case);
        let truth = labels(&case.value["y_true"]);
        let rows: Vec<Vec<f64>> =
            case.value["proba"].as_array().unwrap().iter().map(numbers).collect();
        let (classes, probabilities) = (rows[0].len(), rows.concat());
        let scores = ClassScores::new(&truth, &probabilities, classes).unwrap();
        for (name, pairing, average) in [
            ("roc_auc_ovr_macro", Pairing::OneVsRest, Average::Macro),
            ("roc_auc_ovr_weighted", Pairing::OneVsRest, Average::Weighted),
            ("roc_auc_ovr_micro", Pairing::OneVsRest, Average::Micro),
            ("roc_auc_ovo_macro", Pairing::OneVsOne, Average::Macro),
            ("roc_auc_ovo_weighted", Pairing::OneVsOne, Average::Weighted),
        ] {
            scores_of.compare(name, scores.roc_auc(pairing, average), 1e-12);
        }
        scores_of.compare("log_loss", scores.log_loss(), 1e-12);
        // Theirs halves the sum by default where there are two classes.
        let scale = if classes == 2 { 0.5 } else { 1.0 };
        scores_of.compare("brier_multiclass", scores.brier().map(|brier| scale * brier), 1e-12);
        scores_of.compare("brier_multiclass_scaled_false", scores.brier(), 1e-12);
        scores_of.compare("top2_accuracy", scores.top_k_accuracy(2), 1e-12);
        let reliability = scores.top_label_reliability(10).unwrap();
        let theirs = case.expected("ece10_top_label");
        case.close("ece", reliability.expected_error(), &theirs["value"], 1e-12, 1e-12);
        case.close("max ce", reliability.maximum_error(), &theirs["max"], 1e-12, 1e-12);
        scores_of.also_compared("ece10_top_label");
        // The likeliest class, of equal ones the first.
        let likeliest =
            |row: &Vec<f64>| (0..classes).fold(0, |a, b| if row[b] > row[a] { b } else { a });
        let predicted: Vec<usize> = rows.iter().map(likeliest).collect();
        scores_of.compare("accuracy_argmax_first", accuracy(&truth, &predicted), 1e-12);
        scores_of.all_were_compared();
    });
}

#[test]
fn vectors_metrics_regression() {
    Vectors::read("metrics_regression").check(|case| {
        let scores_of = Scores::of(case);
        let (truth, predicted) = (numbers(&case.value["y_true"]), numbers(&case.value["y_pred"]));
        let weights = &case.value["sample_weight"];
        let weights = (!weights.is_null()).then(|| numbers(weights));
        let rows = RegressionScores::new(&truth, &predicted).and_then(|rows| match &weights {
            Some(weights) => rows.weighted(weights),
            None => Ok(rows),
        });
        let check =
            |name: &str, score: &dyn Fn(&RegressionScores<'_>) -> Result<f64, StatsError>| {
                scores_of.compare(name, rows.clone().and_then(|rows| score(&rows)), 1e-12);
            };
        check("r2", &|rows| rows.r2());
        check("r2_force_finite_false", &|rows| rows.r2());
        check("explained_variance", &|rows| rows.explained_variance());
        check("mae", &|rows| rows.mean_absolute_error());
        check("mse", &|rows| rows.mean_squared_error());
        check("rmse", &|rows| rows.rmse());
        check("mape", &|rows| rows.mean_absolute_percentage_error());
        check("median_ae", &|rows| rows.median_absolute_error());
        check("max_error", &|rows| rows.max_error());
        check("msle", &|rows| rows.mean_squared_log_error());
        for alpha in [0.1, 0.5, 0.9] {
            check(&format!("pinball_{alpha}"), &|rows| rows.pinball(alpha));
        }
        check("d2_pinball_0.9", &|rows| rows.d2_pinball(0.9));
        check("d2_absolute", &|rows| rows.d2_absolute_error());
        scores_of.all_were_compared();
    });
}

#[test]
fn vectors_model_comparison() {
    let belongs = |case: &Value| case["kind"] == "corrected_resampled_t";
    Vectors::read("model_comparison").check_where(belongs, |case| {
        let (a, b) = (numbers(&case.value["scores_a"]), numbers(&case.value["scores_b"]));
        let size = |name: &str| number(&case.value[name]) as usize;
        let ours = match corrected_resampled_t(&a, &b, size("n_train"), size("n_test")) {
            Ok(ours) => ours,
            Err(error) => {
                let theirs = &case.value["expected"]["t"];
                let is_undefined = theirs.as_f64().is_none();
                assert!(is_undefined, "{}: {error}, expected {theirs}", case.name);
                return;
            }
        };
        case.close("mean", ours.mean, case.expected("mean"), 1e-10, 1e-15);
        case.close("t", ours.t, case.expected("t"), 1e-10, 1e-12);
        case.close("p", ours.two_sided, case.expected("p_two_sided"), 1e-10, 1e-12);
        case.close("one-sided p", ours.greater, case.expected("p_greater"), 1e-10, 1e-12);
        case.close("variance", ours.variance, case.expected("var_ddof1"), 1e-10, 1e-18);
        if let Some(theirs) = case.value["expected"].get("ci95").filter(|ci| ci.is_array()) {
            let interval = ours.interval(0.95).unwrap();
            case.close("lower", interval.lower, &theirs[0], 1e-9, 1e-12);
            case.close("upper", interval.upper, &theirs[1], 1e-9, 1e-12);
        }
    });
    // The ladder's verdicts of this file are checked where the ladder is.
    let belongs = |case: &Value| case["kind"] == "student_t_ppf";
    Vectors::read("model_comparison").check_where(belongs, |case| {
        let of = |name: &str| number(&case.value[name]);
        case.close(
            "quantile",
            student_t_quantile(of("p"), of("df")),
            &case.value["ppf"],
            1e-10,
            0.0,
        );
    });
}
