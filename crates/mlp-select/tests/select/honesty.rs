//! Not fooling oneself: leakage, warm paths, shadow copies, suspicious data, costs.

use std::sync::Arc;

use mlp_core::{Estimator, FitError, FittedModel, Samples, Target};
use mlp_models::{
    DecisionTree, DummyClassifier, DummyRegressor, LinearRegression, LogisticRegression, Pipeline,
    RandomForest, StandardScaler,
};
use mlp_select::{
    Candidate, Cost, CrossValidation, KFold, Ladder, MissingFilter, PermutationRanked, Rfe, RfeCv,
    Rule, Score, SelectError, SelectKBest, ShadowTest, ShadowVerdict, Split, Statistic, Step,
    StratifiedGroupKFold, StratifiedKFold, Suspicion, mutual_information, standard_ladder,
    suspicions,
};
use ndarray::{Array2, Axis, array, concatenate};

use crate::data::{Data, cases, list, number};

fn accuracies(case: &serde_json::Value) -> Vec<f64> {
    list(&case["fold_accuracy"]).iter().map(number).collect()
}

fn scores(estimator: &dyn Estimator, data: &Samples<'_>, validation: &CrossValidation) -> Vec<f64> {
    let result = validation.run(estimator, data, &StratifiedKFold::new(5), &[&Score::Accuracy]);
    result.unwrap().scores("accuracy").into_iter().map(Option::unwrap).collect()
}

/// On pure noise: selected outside the folds, the best columns seem to predict; inside, they do not.
#[test]
fn leakage_vectors_selection_outside_the_folds_is_refused_and_inside_is_honest() {
    let (cases, logistic) = (cases("leakage.json"), LogisticRegression::default());
    let validation = CrossValidation::default();
    for case in &cases {
        let data = Data::load(case["dataset"].as_str().unwrap());
        let data = if case["selector"].as_str().unwrap().starts_with("RFE") {
            data.standardised()
        } else {
            data
        };
        let samples = data.samples();
        let keep = case["k"].as_u64().unwrap() as usize;
        let rfe = Rfe::new(Arc::new(logistic), keep).with_step(Step::Count(10));
        let k_best = SelectKBest::new(Statistic::AnovaF, keep);
        let is_rfe = case["selector"].as_str().unwrap().starts_with("RFE");
        let selection = if is_rfe {
            rfe.eliminate(&samples, 0).unwrap().selection()
        } else {
            k_best.select(&samples).unwrap()
        };
        let wanted: Vec<usize> =
            list(&case["leaky"]["selected"]).iter().map(|c| number(c) as usize).collect();
        assert_eq!(selection.columns(), wanted, "{}", case["selector"]);
        let narrowed = selection.select_from(&samples).unwrap();
        let folds = StratifiedKFold::new(5);
        let refused =
            validation.run(&logistic, &narrowed.as_samples(), &folds, &[&Score::Accuracy]);
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, SelectError::SelectionLeak { fold: 0, seen: 8, tested: 8 }),
            "{refused}"
        );
        assert!(refused.to_string().contains("allowing_selection_leak"));
        let also = RfeCv::new(Arc::new(logistic), Score::Accuracy).run(
            &narrowed.as_samples(),
            &folds,
            &validation,
        );
        assert!(matches!(also, Err(SelectError::SelectionLeak { .. })));
        let scaled = || Pipeline::of(logistic).after("standardise", StandardScaler);
        let allowed = validation.clone().allowing_selection_leak();
        let leaky = scores(&scaled(), &narrowed.as_samples(), &allowed);
        let inside = if is_rfe {
            Pipeline::of(logistic).after("rfe", rfe).after("standardise", StandardScaler)
        } else {
            scaled().after("best", k_best)
        };
        let inside = match is_rfe {
            true => Pipeline::of(logistic)
                .after("standardise", StandardScaler)
                .after("rfe", Rfe::new(Arc::new(logistic), keep).with_step(Step::Count(10))),
            false => inside,
        };
        let inside = scores(&inside, &samples, &validation);
        crate::data::tell(&format!(
            "{}: leaky {leaky:?} for {:?}",
            case["selector"],
            accuracies(&case["leaky"])
        ));
        crate::data::tell(&format!(
            "{}: inside {inside:?} for {:?}",
            case["selector"],
            accuracies(&case["inside_folds"])
        ));
        assert_eq!(leaky, accuracies(&case["leaky"]), "{}", case["selector"]);
        assert_eq!(inside, accuracies(&case["inside_folds"]), "{}", case["selector"]);
    }
    crate::data::tell(&format!("leakage: {} cases", cases.len()));
}

#[test]
fn rows_that_the_selection_did_not_see_may_be_tested() {
    let data = Data::load("breast_cancer").standardised();
    let samples = data.samples();
    let (seen, fresh): (Vec<usize>, Vec<usize>) =
        (0..samples.n_rows()).partition(|row| row % 2 == 0);
    let rfe = Rfe::new(Arc::new(LogisticRegression::default()), 5);
    let selection = rfe.eliminate(&samples.with_rows(&seen).unwrap(), 0).unwrap().selection();
    let validate = |rows: &[usize]| {
        let narrowed = selection.select_from(&samples.with_rows(rows).unwrap()).unwrap();
        let folds = StratifiedKFold::new(3);
        CrossValidation::default()
            .run(
                &LogisticRegression::default(),
                &narrowed.as_samples(),
                &folds,
                &[&Score::Accuracy],
            )
            .map(drop)
    };
    assert!(validate(&fresh).is_ok());
    let mut mixed = fresh.clone();
    mixed[0] = seen[0];
    assert!(matches!(validate(&mixed), Err(SelectError::SelectionLeak { seen: 1, .. })));
    // Stored and read back it still knows the rows.
    let text = serde_json::to_string(&selection).unwrap();
    let again: mlp_select::ColumnSelection = serde_json::from_str(&text).unwrap();
    let narrowed = again.select_from(&samples.with_rows(&seen).unwrap()).unwrap();
    assert!(narrowed.as_samples().seen_by_selection().unwrap().iter().all(|seen| *seen));
    let other = Data::load("iris");
    assert!(matches!(selection.select_from(&other.samples()), Err(SelectError::Setting { .. })));
}

/// Hides the way to update a solution, so that every step is fitted anew.
#[derive(Debug)]
struct Cold<E>(E);

impl<E: Estimator> Estimator for Cold<E> {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.0.fit(data, seed)
    }
}

fn check_same<E: Estimator + Copy + 'static>(
    estimator: E,
    data: &Samples<'_>,
    score: Score,
    split: &dyn Split,
    step: Step,
) {
    assert!(estimator.path().is_some() && Cold(estimator).path().is_none());
    let run = |estimator: Arc<dyn Estimator>, threads: usize| {
        let validation = CrossValidation::default().with_threads(threads);
        RfeCv::new(estimator, score).with_step(step).run(data, split, &validation).unwrap()
    };
    let (warm, cold) = (run(Arc::new(estimator), 1), run(Arc::new(Cold(estimator)), 1));
    assert_eq!(warm.elimination.ranking(), cold.elimination.ranking());
    assert_eq!((warm.chosen, warm.best), (cold.chosen, cold.best));
    for (warm, cold) in warm.elimination.log().iter().zip(cold.elimination.log()) {
        for (warm, cold) in warm.removed.iter().zip(&cold.removed) {
            let error = (warm.importance - cold.importance).abs();
            assert!(error <= 1e-5, "{}: {} and {}", warm.name, warm.importance, cold.importance);
        }
    }
    for (warm, cold) in warm.curve.iter().zip(&cold.curve) {
        let pairs = warm.scores.iter().zip(&cold.scores);
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-6), "{warm:?} {cold:?}");
    }
    assert_eq!(run(Arc::new(estimator), 2), warm, "bit for bit the same on two threads");
}

#[test]
fn updating_the_solution_eliminates_the_same_features_as_fitting_anew() {
    let logistic = LogisticRegression::default();
    for (name, step) in [
        ("breast_cancer", Step::Count(1)),
        ("iris", Step::Count(1)),
        ("wine", Step::Count(3)),
        ("synth1k", Step::Share(0.1)),
    ] {
        let data = Data::load(name).standardised();
        check_same(logistic, &data.samples(), Score::LogLoss, &StratifiedKFold::new(3), step);
        let weak = logistic.with_c(100.0);
        check_same(weak, &data.samples(), Score::Accuracy, &StratifiedKFold::new(3), step);
    }
    let data = Data::load("friedman1").standardised();
    for alpha in [0.0, 5.0] {
        let linear = LinearRegression::default().with_alpha(alpha);
        check_same(linear, &data.samples(), Score::R2, &KFold::new(4), Step::Count(1));
    }
}

#[test]
fn scikit_learns_folds_of_stratified_groups() {
    // StratifiedGroupKFold(4) of scikit-learn 1.9.1 on numbers of numpy's default_rng(3).
    let labels = [
        2, 0, 0, 0, 0, 2, 2, 1, 0, 0, 0, 1, 1, 1, 0, 0, 2, 2, 0, 0, 1, 1, 2, 1, 1, 1, 1, 1, 0, 2,
        2, 2, 2, 0, 0, 1, 1, 2, 2, 0, 2, 0, 0, 2, 2, 0, 0, 0, 0, 2, 1, 1, 0, 1, 0, 2, 1, 0, 0, 2,
    ];
    let groups = [
        7, 5, 3, 1, 8, 9, 7, 13, 12, 2, 8, 8, 3, 4, 6, 10, 4, 10, 9, 3, 5, 11, 11, 9, 0, 9, 3, 11,
        12, 6, 13, 10, 4, 12, 5, 1, 8, 11, 9, 5, 12, 6, 5, 2, 2, 9, 11, 4, 8, 12, 2, 3, 7, 7, 5, 5,
        1, 8, 13, 2,
    ];
    let wanted = [
        2, 0, 1, 2, 3, 1, 2, 3, 2, 1, 3, 3, 1, 3, 3, 0, 3, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 2, 3,
        3, 0, 3, 2, 0, 2, 3, 0, 1, 0, 2, 3, 0, 1, 1, 1, 0, 3, 3, 2, 1, 1, 2, 2, 0, 0, 2, 3, 3, 1,
    ];
    let (features, names) = (Array2::zeros((60, 1)), ["x".to_owned()]);
    let classes = ["a", "b", "c"].map(str::to_owned);
    let samples =
        Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes })
            .unwrap();
    let samples = samples.with_groups(&groups).unwrap();
    let folds = StratifiedGroupKFold::new(4).split(&samples).unwrap();
    for (at, fold) in folds.iter().enumerate() {
        let test: Vec<usize> = (0..60).filter(|&row| wanted[row] == at).collect();
        assert_eq!(fold.test, test, "fold {at}");
        assert!(fold.train.iter().all(|&a| fold.test.iter().all(|&b| groups[a] != groups[b])));
    }
    let error = StratifiedGroupKFold::new(19).split(&samples).unwrap_err().to_string();
    assert!(error.contains("members of class \"b\"") || error.contains("groups"), "{error}");
}

#[test]
fn dummy_vectors() {
    let cases = cases("dummy.json");
    let mut checked = 0;
    for case in &cases {
        let data = Data::load(case["dataset"].as_str().unwrap());
        let samples = data.samples();
        let strategy = case["strategy"].as_str().unwrap();
        let dummy: Arc<dyn Estimator> = match (strategy, case["dataset"] == "friedman1") {
            ("most_frequent", _) => Arc::new(DummyClassifier::most_frequent()),
            ("prior", _) => Arc::new(DummyClassifier::prior()),
            ("stratified", _) => Arc::new(DummyClassifier::stratified()),
            ("uniform", _) => Arc::new(DummyClassifier::uniform()),
            ("constant", false) => {
                Arc::new(DummyClassifier::constant(number(&case["constant"]) as usize))
            }
            ("constant", true) => Arc::new(DummyRegressor::constant(number(&case["constant"]))),
            ("mean", _) => Arc::new(DummyRegressor::mean()),
            ("median", _) => Arc::new(DummyRegressor::median()),
            ("quantile", _) => Arc::new(DummyRegressor::quantile(number(&case["quantile"]))),
            (other, _) => panic!("{other}"),
        };
        if let Some(expected) = case["expected_accuracy"].as_f64() {
            let folds = StratifiedKFold::new(5);
            let result = CrossValidation::default()
                .with_seed(3)
                .run(&*dummy, &samples, &folds, &[&Score::Accuracy])
                .unwrap();
            let accuracy = result.summary("accuracy").unwrap().mean;
            assert!((accuracy - expected).abs() < 5.0 * number(&case["expected_sd"]), "{case}");
            checked += 1;
            continue;
        }
        let folds: Box<dyn Split> = if case["dataset"] == "friedman1" {
            Box::new(KFold::new(5))
        } else {
            Box::new(StratifiedKFold::new(5))
        };
        for (metric, theirs) in case["cv_test"].as_object().unwrap() {
            let (score, sign) = match metric.as_str() {
                "accuracy" => (Score::Accuracy, 1.0),
                "balanced_accuracy" => (Score::BalancedAccuracy, 1.0),
                "f1_macro" => (Score::F1Macro, 1.0),
                "neg_log_loss" => (Score::LogLoss, -1.0),
                "r2" => (Score::R2, 1.0),
                "neg_mean_absolute_error" => (Score::Mae, -1.0),
                "neg_mean_squared_error" => (Score::Mse, -1.0),
                "neg_root_mean_squared_error" => (Score::Rmse, -1.0),
                other => panic!("{other}"),
            };
            let name = mlp_select::Scorer::name(&score).to_owned();
            let result =
                CrossValidation::default().run(&*dummy, &samples, &*folds, &[&score]).unwrap();
            for (ours, theirs) in result.scores(&name).iter().zip(list(theirs)) {
                let (ours, theirs) = (sign * ours.unwrap(), number(theirs));
                assert!(
                    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
                    "{} {strategy} {metric}: {ours} for {theirs}",
                    case["dataset"]
                );
            }
        }
        checked += 1;
    }
    assert_eq!(checked, cases.len());
    crate::data::tell(&format!("dummy: {checked} cases"));
}

#[test]
fn information_finds_a_dependence_of_any_shape() {
    let features = Array2::from_shape_fn((400, 3), |(i, j)| match j {
        0 => i as f64,
        1 => ((i * 37) % 101) as f64,
        _ => 3.0,
    });
    let names = ["wave", "noise", "constant"].map(str::to_owned);
    // Rises and falls: no correlation, all the information.
    let values: Vec<f64> = (0..400).map(|i| (f64::from(i) - 199.5).powi(2)).collect();
    let samples = Samples::new(features.view(), &names, Target::Values(&values)).unwrap();
    let information = mutual_information(&samples).unwrap();
    assert!(
        information[0] > 1.0 && information[1] < 0.1 && information[2] == 0.0,
        "{information:?}"
    );
    let best = SelectKBest::new(Statistic::MutualInformation, 1).select(&samples).unwrap();
    assert_eq!(best.columns(), [0]);
}

#[test]
fn shuffled_copies_tell_signal_from_noise() {
    let data = Data::load("friedman1");
    let forest = Arc::new(RandomForest::default().with_trees(40).with_threads(1));
    let report =
        ShadowTest::new(forest.clone()).with_rounds(25).unwrap().run(&data.samples(), 5).unwrap();
    crate::data::tell(&format!("{report}"));
    // Friedman's function uses the first five columns of ten.
    for (at, feature) in report.features.iter().enumerate() {
        if [0, 1, 3, 4].contains(&at) {
            assert_eq!(feature.verdict, ShadowVerdict::Confirmed, "{feature:?}");
        } else if at >= 5 {
            assert_ne!(feature.verdict, ShadowVerdict::Confirmed, "{feature:?}");
        }
    }
    assert!(ShadowTest::new(forest.clone()).with_rounds(0).is_err());
    assert!(ShadowTest::new(forest).with_alpha(f64::NAN).is_err());
}

#[test]
fn mostly_missing_features_go() {
    let features = array![[1.0, f64::NAN, 1.0], [2.0, f64::NAN, f64::NAN], [3.0, 1.0, 4.0]];
    let names = ["a", "b", "c"].map(str::to_owned);
    let samples = Samples::new(features.view(), &names, Target::Values(&[1.0, 2.0, 3.0])).unwrap();
    assert_eq!(MissingFilter::new(0.4).select(&samples).unwrap().columns(), [0, 2]);
    assert_eq!(MissingFilter::new(0.0).select(&samples).unwrap().columns(), [0]);
    assert!(MissingFilter::new(1.5).select(&samples).is_err());
}

#[test]
fn suspicious_data_are_named_before_anyone_believes_the_scores() {
    let data = Data::load("breast_cancer");
    let samples = data.samples();
    let (labels, classes) = samples.classes().unwrap();
    let climb = |features: &Array2<f64>, labels: &[usize]| {
        let names: Vec<String> = (0..features.ncols()).map(|i| format!("x{i}")).collect();
        let target = Target::Classes { labels, names: classes };
        let samples = Samples::new(features.view(), &names, target).unwrap();
        Ladder::new(Score::Accuracy)
            .baseline("most frequent", DummyClassifier::most_frequent())
            .rung("tree", DecisionTree::default().with_max_depth(3))
            .climb(&samples, &StratifiedKFold::new(4), &CrossValidation::default())
    };
    let features = samples.features().into_owned();
    assert_eq!(climb(&features, &labels).unwrap().suspicions, []);

    let copied: Vec<f64> = labels.iter().map(|label| *label as f64 * 2.0 + 1.0).collect();
    let leaky = concatenate(
        Axis(1),
        &[features.view(), Array2::from_shape_vec((569, 1), copied).unwrap().view()],
    )
    .unwrap();
    let report = climb(&leaky, &labels).unwrap();
    assert!(
        matches!(&report.suspicions[..], [Suspicion::Leak { feature, score }] if feature == "x30" && *score == 1.0)
    );
    assert!(report.to_string().contains("suspicious: \"x30\" alone"), "{report}");

    let rows: Vec<usize> = (0..569).chain(0..100).collect();
    let doubled: Vec<usize> = rows.iter().map(|&row| labels[row]).collect();
    let report = climb(&features.select(Axis(0), &rows), &doubled).unwrap();
    assert!(
        matches!(report.suspicions[..], [Suspicion::Duplicates { rows, tested: 669 }] if rows > 50),
        "{:?}",
        report.suspicions
    );

    let constant = climb(&features, &vec![1; 569]);
    assert!(matches!(constant, Err(SelectError::ConstantTarget)), "{constant:?}");
}

/// The features that are suspected of giving the target away.
fn leaks(samples: &Samples<'_>) -> Vec<String> {
    let leak = |suspicion| match suspicion {
        Suspicion::Leak { feature, .. } => Some(feature),
        _ => None,
    };
    suspicions(samples, &[]).into_iter().filter_map(leak).collect()
}

fn leaks_of(column: &[f64], target: Target<'_>) -> usize {
    let features = Array2::from_shape_vec((column.len(), 1), column.to_vec()).unwrap();
    leaks(&Samples::new(features.view(), &["x".to_owned()], target).unwrap()).len()
}

#[test]
fn a_column_made_from_the_label_is_suspicious_whatever_the_number_of_classes() {
    for n in [2, 3, 7] {
        let classes: Vec<String> = (0..n).map(|class| class.to_string()).collect();
        let labels: Vec<usize> = (0..20 * n).map(|row| (row * 5 + row / n) % n).collect();
        let target = Target::Classes { labels: &labels, names: &classes };
        let copy: Vec<f64> = labels.iter().map(|&label| label as f64).collect();
        assert_eq!(leaks_of(&copy, target), 1, "{n} classes");
        let blurred: Vec<f64> =
            copy.iter().enumerate().map(|(row, v)| ((v * 3.0) % 7.0) + row as f64 * 1e-3).collect();
        assert_eq!(leaks_of(&blurred, target), 1, "in another order, {n} classes");
        // Row numbers tell nothing where the classes are mixed, though no two rows have the same.
        let row_numbers: Vec<f64> = (0..labels.len()).map(|row| row as f64).collect();
        assert_eq!(leaks_of(&row_numbers, target), 0, "{n} classes");
        // All classes but two are told apart.
        let merged: Vec<f64> = copy.iter().map(|v| v.max(1.0)).collect();
        assert_eq!(leaks_of(&merged, target), 0, "{n} classes");
    }
}

#[test]
fn missing_values_do_not_hide_a_leak_and_few_known_ones_make_none() {
    let labels: Vec<usize> = (0..60).map(|row| row % 3).collect();
    let classes = ["a", "b", "c"].map(str::to_owned);
    let values: Vec<f64> = (0..60).map(|row| f64::from(row * 7 % 60)).collect();
    let of_classes = Target::Classes { labels: &labels, names: &classes };
    let without = |copy: &[f64], known: usize| -> Vec<f64> {
        copy.iter().enumerate().map(|(i, v)| if i < known { *v } else { f64::NAN }).collect()
    };
    let copy: Vec<f64> = labels.iter().map(|&label| label as f64).collect();
    for (copy, target) in [(&copy, of_classes), (&values, Target::Values(&values))] {
        let leaks = |known| leaks_of(&without(copy, known), target);
        assert_eq!((leaks(59), leaks(31)), (1, 1));
        assert_eq!((leaks(3), leaks(0)), (0, 0), "what is mostly missing determines nothing");
    }
    // No row says how class c looks.
    let silent: Vec<f64> = copy.iter().map(|&v| if v == 2.0 { f64::NAN } else { v }).collect();
    assert_eq!(leaks_of(&silent, of_classes), 0);
    let infinite: Vec<f64> =
        values.iter().map(|&v| if v == 7.0 { f64::INFINITY } else { v }).collect();
    assert_eq!(leaks_of(&infinite, Target::Values(&values)), 1);
}

#[test]
fn honest_features_are_not_suspicious_however_strong() {
    let names = ["iris", "wine", "breast_cancer", "digits", "synth1k", "noise40x300", "friedman1"];
    for name in names {
        let data = Data::load(name);
        assert_eq!(leaks(&data.samples()), [""; 0], "{name}");
    }
}

#[test]
fn a_costly_rung_must_bring_what_it_costs() {
    let candidate =
        |name, mean: f64, cost| Candidate { name, scores: vec![Some(mean); 3], cost: Some(cost) };
    let candidates = [
        candidate("small", 0.80, 1.0),
        candidate("middle", 0.85, 3.0),
        candidate("large", 0.86, 50.0),
    ];
    let choose = |worth| {
        let rule = Rule::CostBenefit { cost: Cost::MicrosecondsPerRow, worth };
        rule.choose(mlp_core::Direction::Maximize, &candidates, 100, 20).unwrap().chosen
    };
    assert_eq!((choose(0.0001), choose(0.01), choose(0.1)), (2, 1, 0));
}

#[test]
fn the_standard_ladder_stops_where_nothing_is_gained_and_tells_how_far_it_is() {
    let data = Data::load("iris");
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let told_too = Arc::clone(&told);
    let validation =
        CrossValidation::default().with_progress(move |done, of| told_too.lock().push((done, of)));
    let report = standard_ladder(data.samples().target(), Score::Accuracy)
        .with_patience(1)
        .climb(&data.samples(), &StratifiedKFold::new(5), &validation)
        .unwrap();
    assert_eq!(report.chosen().name, "logistic regression");
    assert!(!report.not_tried.is_empty() && report.to_string().contains("not tried"), "{report}");
    let told = told.lock();
    assert_eq!(told.len(), 5 * report.rungs.len());
    assert!(told.iter().all(|(done, of)| (1..=5).contains(done) && *of == 5));
    let data = Data::load("friedman1");
    let report = standard_ladder(data.samples().target(), Score::R2)
        .climb(&data.samples(), &KFold::new(5), &CrossValidation::default())
        .unwrap();
    assert_eq!(report.rungs.len(), 5);
}

fn scaler_rfe_logistic(keep: usize) -> Pipeline {
    let logistic = LogisticRegression::default();
    Pipeline::of(logistic)
        .after("standardise", StandardScaler)
        .after("eliminate", Rfe::new(Arc::new(logistic), keep))
}

#[test]
fn breast_cancer_by_scaler_rfe_of_ten_and_logistic_scores_as_known() {
    let data = Data::load("breast_cancer");
    let found = scores(&scaler_rfe_logistic(10), &data.samples(), &CrossValidation::default());
    let wanted = [0.96491, 0.95614, 0.97368, 0.96491, 0.98230];
    assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 5e-6), "{found:?}");
}

#[test]
fn changing_the_values_of_test_rows_leaves_a_folds_scaler_and_selector_unchanged() {
    let data = Data::load("breast_cancer");
    let samples = data.samples();
    let folds = StratifiedKFold::new(5).split(&samples).unwrap();
    let (labels, classes) = samples.classes().unwrap();
    let mut changed = samples.features().into_owned();
    for &row in &folds[0].test {
        changed.row_mut(row).mapv_inplace(|value| 1_000.0 - 3.0 * value);
    }
    let target = Target::Classes { labels: &labels, names: classes };
    let changed = Samples::new(changed.view(), samples.names(), target).unwrap();
    let fit = |samples: &Samples<'_>| {
        let validation = CrossValidation::default().with_models();
        let result = validation.run_folds(
            &scaler_rfe_logistic(10),
            samples,
            &folds[..1],
            &[&Score::Accuracy],
        );
        let validated = result.unwrap();
        validated.folds[0].model.as_ref().unwrap().save().unwrap().to_bytes()
    };
    assert_eq!(fit(&samples), fit(&changed), "scaler, selection and model, byte for byte");
    // The control: a changed row that is learnt from does change them.
    let mut other = samples.features().into_owned();
    other.row_mut(folds[0].train[0]).mapv_inplace(|value| 1_000.0 - 3.0 * value);
    let other = Samples::new(other.view(), samples.names(), target).unwrap();
    assert_ne!(fit(&samples), fit(&other));
}

#[test]
fn any_model_can_be_ranked_by_permutation() {
    let data = Data::load("friedman1");
    let forest = RandomForest::default().with_trees(30).with_threads(1);
    let ranked = PermutationRanked::new(Arc::new(forest), Score::R2, 5);
    let elimination = Rfe::new(Arc::new(ranked), 4).eliminate(&data.samples(), 1).unwrap();
    // Four of the five columns that Friedman's function uses carry most of it.
    assert_eq!(elimination.kept(), [0, 1, 3, 4]);
}
