//! Ensembles, calibration, thresholds and rules.

use mlp_core::{
    Estimator, FitError, ModelError, ModelExt, Samples, SaveError, Saved, Target, random,
};
use mlp_models::{
    Calibrated, DecisionGoal, DecisionTree, DummyClassifier, FittedThreshold, Folds, HeuristicRule,
    LinearRegression, Loader, LogisticRegression, Pipeline, RandomForest, Stacking, StandardScaler,
    Threshold, Voting,
};
use ndarray::{Array2, array};

use crate::data::Data;

/// Two classes of which the first feature gives the probability; the second is noise.
struct Coins {
    features: Array2<f64>,
    labels: Vec<usize>,
    names: [String; 2],
    classes: [String; 2],
}

impl Coins {
    fn new(rows: usize, seed: u64) -> Self {
        let mut draw = random::stream(seed, 0);
        let features = Array2::from_shape_simple_fn((rows, 2), || random::uniform(&mut draw));
        let labels = features.rows().into_iter();
        let labels = labels.map(|row| usize::from(random::uniform(&mut draw) < 0.2 * row[0]));
        let labels = labels.collect();
        Self {
            features,
            labels,
            names: ["chance", "noise"].map(str::to_owned),
            classes: ["no", "yes"].map(str::to_owned),
        }
    }

    fn samples(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }
}

/// Minus the mean log-probability of the true class on fresh rows.
fn log_loss(estimator: &dyn Estimator, train: &Coins, test: &Coins) -> f64 {
    let model = estimator.fit(train.samples(), 1).unwrap();
    let predicted = model.predict(test.features.view()).unwrap();
    let of = |(&label, row): (&usize, ndarray::ArrayView1<'_, f64>)| -row[label].max(1e-15).ln();
    test.labels.iter().zip(predicted.rows()).map(of).sum::<f64>() / test.labels.len() as f64
}

#[test]
fn calibration_on_held_out_rows_puts_an_overfitted_forest_right() {
    let (train, test) = (Coins::new(1_500, 1), Coins::new(1_500, 2));
    let forest = RandomForest::default().with_trees(30);
    let raw = log_loss(&forest, &train, &test);
    let platt = log_loss(&Calibrated::platt(forest.clone(), Folds::stratified(5)), &train, &test);
    let isotonic = Calibrated::isotonic(forest.clone(), Folds::stratified(5));
    let isotonic = log_loss(&isotonic, &train, &test);
    assert!(platt < raw - 0.05 && isotonic < raw - 0.05, "{raw}, {platt}, {isotonic}");
    // The control: on the rows that the forest has learnt by heart, the curve believes it.
    let rows: Vec<usize> = (0..1_500).collect();
    let overlapping = Folds::given(1_500, vec![(rows.clone(), rows)]);
    let refused = Calibrated::platt(forest, overlapping).fit(train.samples(), 1).unwrap_err();
    assert!(refused.to_string() == "fitting failed", "{refused}");
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("both sides of fold 0"), "{source}");
}

#[test]
fn probabilities_that_are_right_stay_nearly_as_they_are() {
    let data = Coins::new(4_000, 3);
    let plain = LogisticRegression::default().fit(data.samples(), 0).unwrap();
    let calibrated = Calibrated::platt(LogisticRegression::default(), Folds::stratified(5));
    let calibrated = calibrated.fit(data.samples(), 0).unwrap();
    let (a, b) = (plain.predict(data.features.view()), calibrated.predict(data.features.view()));
    let largest =
        a.unwrap().iter().zip(&b.unwrap()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(largest < 0.02, "{largest}");
}

#[test]
fn a_threshold_for_costs_decides_where_they_balance() {
    let data = Coins::new(20_000, 4);
    // A missed yes costs nine times a false one, so the place to decide is one tenth.
    let goal = DecisionGoal::Cost { false_positive: 1.0, false_negative: 9.0 };
    let careful = Threshold::chosen(LogisticRegression::default(), goal, Folds::stratified(5));
    let cost = |estimator: &dyn Estimator| {
        let model = estimator.fit(data.samples(), 0).unwrap();
        let decided = model.predict_classes(data.features.view()).unwrap();
        let pairs = decided.iter().zip(&data.labels);
        let each = pairs.map(|(decided, truth)| match (decided, truth) {
            (1, 0) => 1.0,
            (0, 1) => 9.0,
            _ => 0.0,
        });
        each.sum::<f64>()
    };
    let (plain, fixed) =
        (LogisticRegression::default(), Threshold::at(LogisticRegression::default(), 0.1));
    let (chosen, fixed, plain) = (cost(&careful), cost(&fixed), cost(&plain));
    assert!(chosen < 0.97 * plain, "{chosen}, {plain}");
    assert!((chosen - fixed).abs() < 0.03 * fixed, "{chosen}, {fixed}");
}

/// Right and wrong decisions: true positives, false positives, true negatives, false negatives.
fn decisions(probabilities: &[f64], labels: &[usize], threshold: f64) -> [f64; 4] {
    let mut counts = [0.0; 4];
    for (probability, label) in probabilities.iter().zip(labels) {
        let place = match (*probability > threshold, label) {
            (true, 1) => 0,
            (true, _) => 1,
            (false, 0) => 2,
            (false, _) => 3,
        };
        counts[place] += 1.0;
    }
    counts
}

/// What a goal makes of decisions, by its definition.
fn score(goal: DecisionGoal, [tp, fp, tn, fn_]: [f64; 4]) -> f64 {
    let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
    match goal {
        DecisionGoal::Accuracy => (tp + tn) / (tp + fp + tn + fn_),
        DecisionGoal::BalancedAccuracy => (share(tp, tp + fn_) + share(tn, tn + fp)) / 2.0,
        DecisionGoal::FScore { beta } => {
            let (precision, recall) = (share(tp, tp + fp), share(tp, tp + fn_));
            let b = beta * beta;
            share((1.0 + b) * precision * recall, b * precision + recall)
        }
        DecisionGoal::Matthews => {
            let root = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
            share(tp * tn - fp * fn_, root)
        }
        other => panic!("{other:?} is not asked"),
    }
}

#[test]
fn every_goal_finds_a_threshold_at_least_as_good_as_one_half() {
    let data = Coins::new(3_000, 5);
    let goals = [
        DecisionGoal::Accuracy,
        DecisionGoal::BalancedAccuracy,
        DecisionGoal::FScore { beta: 1.0 },
        DecisionGoal::FScore { beta: 2.0 },
        DecisionGoal::Matthews,
    ];
    // Given folds, so that the test can ask about the same held-out rows.
    let parts: Vec<(Vec<usize>, Vec<usize>)> =
        (0..4).map(|fold| (0..3_000).partition(|row| row % 4 != fold)).collect();
    let folds = || Folds::given(3_000, parts.clone());
    let mut held = vec![0.0; 3_000];
    for (train, test) in &parts {
        let samples = data.samples();
        let model = LogisticRegression::default().fit(samples.with_rows(train).unwrap(), 0);
        let asked = data.features.select(ndarray::Axis(0), test);
        let predicted = model.unwrap().predict(asked.view()).unwrap();
        test.iter().zip(predicted.column(1)).for_each(|(&row, p)| held[row] = *p);
    }
    let mut gained = 0;
    for goal in goals {
        let chosen = Threshold::chosen(LogisticRegression::default(), goal, folds());
        let model = chosen.fit(data.samples(), 0).unwrap();
        let rows = model.predict(data.features.view()).unwrap();
        assert!(rows.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12));
        // What was saved decides in the same way.
        let loaded = Loader::default().model(&model.save().unwrap()).unwrap();
        assert_eq!(loaded.predict(data.features.view()).unwrap(), rows);
        // On the rows it was chosen by, held out fold by fold, it does at least as well as one half; a far-off threshold is the control.
        let threshold = model.downcast_ref::<FittedThreshold>().unwrap();
        let counts = |threshold| decisions(&held, &data.labels, threshold);
        let (chosen, half) = (counts(threshold.threshold()), counts(0.5));
        let (own, of_half) = (score(goal, chosen), score(goal, half));
        assert!((own - threshold.score().unwrap()).abs() < 1e-12, "{goal:?}: {own}");
        assert!(own >= of_half, "{goal:?}: {own} at {}, {of_half} at 1/2", threshold.threshold());
        assert!(score(goal, counts(0.97)) <= own, "{goal:?}");
        gained += usize::from(own > of_half);
    }
    // Few rows are of class 1: but for accuracy one half is a bad place.
    assert!(gained >= 4, "{gained}");
    let bad = DecisionGoal::FScore { beta: -1.0 };
    let bad = Threshold::chosen(LogisticRegression::default(), bad, folds());
    assert!(bad.fit(data.samples(), 0).unwrap_err().to_string().contains("beta is -1.0"));
    assert!(Threshold::at(LogisticRegression::default(), 1.0).fit(data.samples(), 0).is_err());
    let three = Data::load("iris");
    assert!(Threshold::at(LogisticRegression::default(), 0.3).fit(three.samples(), 0).is_err());
}

#[test]
fn a_stack_does_not_trust_a_member_that_knows_its_rows_by_heart() {
    let (train, test) = (Coins::new(1_000, 6), Coins::new(1_000, 7));
    let last = LogisticRegression::default().with_c(1e4);
    let stacking = Stacking::new(last, Folds::stratified(5))
        .member("by heart", DecisionTree::default())
        .member("sound", LogisticRegression::default());
    let stacked = log_loss(&stacking, &train, &test);
    let sound = log_loss(&LogisticRegression::default(), &train, &test);
    assert!(stacked < sound + 0.01, "{stacked}, {sound}");
    // The control: a final model that learns from predictions for rows that the tree has seen believes it.
    let tree = DecisionTree::default().fit(train.samples(), 1).unwrap();
    let told = |coins: &Coins| Coins {
        features: tree.predict(coins.features.view()).unwrap(),
        labels: coins.labels.clone(),
        names: coins.names.clone(),
        classes: coins.classes.clone(),
    };
    let fooled = log_loss(&last, &told(&train), &told(&test));
    assert!(fooled > sound + 0.3, "{fooled}");
}

#[test]
fn members_vote_by_weight_and_the_first_class_wins_a_tie() {
    let data = Data::load("iris");
    let always = |class| DummyClassifier::constant(class);
    let vote = |weights: [f64; 3]| {
        let voting = (0..3).fold(Voting::hard(), |voting, class| {
            voting.member(format!("m{class}"), always(class), weights[class])
        });
        let model = voting.fit(data.samples(), 0)?;
        Ok::<_, FitError>(model.predict_classes(data.features.view())?[0])
    };
    assert_eq!(vote([1.0, 2.0, 2.0]).unwrap(), 1);
    assert_eq!(vote([1.0, 2.0, 4.0]).unwrap(), 2);
    assert!(vote([0.0; 3]).is_err() && vote([1.0, f64::NAN, 1.0]).is_err());
    assert!(Voting::soft().fit(data.samples(), 0).unwrap_err().to_string().contains("members"));
    let twice = Voting::soft().member("a", always(0), 1.0).member("a", always(1), 1.0);
    assert!(twice.fit(data.samples(), 0).is_err());
}

#[test]
fn numbers_are_averaged_by_weight() {
    let data = Data::load("friedman1");
    let voting = Voting::average().member("linear", LinearRegression::default(), 1.0).member(
        "tree",
        DecisionTree::default(),
        3.0,
    );
    let model = voting.fit(data.samples(), 0).unwrap();
    let of = |estimator: &dyn Estimator| {
        let model = estimator.fit(data.samples(), 0).unwrap();
        model.predict_values(data.features.view()).unwrap()
    };
    let (linear, tree) = (of(&LinearRegression::default()), of(&DecisionTree::default()));
    let ours = model.predict_values(data.features.view()).unwrap();
    let wanted = linear.iter().zip(&tree).map(|(linear, tree)| 0.25 * linear + 0.75 * tree);
    assert!(ours.iter().zip(wanted).all(|(ours, wanted)| (ours - wanted).abs() < 1e-9));
    assert!(
        Voting::hard()
            .member("m", LinearRegression::default(), 1.0)
            .fit(data.samples(), 0)
            .is_err()
    );
    let sums: f64 = model.importances().unwrap().iter().sum();
    assert!((sums - 1.0).abs() < 1e-9);
}

#[test]
fn given_folds_are_cut_down_to_the_rows_of_an_outer_fold() {
    let data = Data::load("iris");
    let (even, odd): (Vec<usize>, Vec<usize>) = (0..150).partition(|row| row % 2 == 0);
    let folds = Folds::given(150, vec![(even.clone(), odd.clone()), (odd, even)]);
    let calibrated = Calibrated::platt(LogisticRegression::default(), folds);
    let outer: Vec<usize> = (0..150).filter(|row| row % 3 != 0).collect();
    let samples = data.samples();
    assert!(calibrated.fit(samples.with_rows(&outer).unwrap(), 0).is_ok());
    let renumbered = samples.with_rows(&outer).unwrap().to_owned_samples();
    let refused = calibrated.fit(renumbered.as_samples(), 0).unwrap_err();
    assert!(refused.to_string().contains("150 given, 100 expected"), "{refused}");
}

#[test]
fn folds_by_a_rule_that_names_rows_of_an_outer_test_fold_are_refused() {
    let data = Data::load("iris");
    let samples = data.samples();
    let outer: Vec<usize> = (0..150).filter(|row| row % 3 != 0).collect();
    let samples = samples.with_rows(&outer).unwrap();
    let fit = |folds: Folds| {
        let logistic = LogisticRegression::default().with_c(0.1);
        Calibrated::platt(logistic, folds).fit(samples.reborrow(), 0)
    };
    let halves = |rows: Vec<usize>| -> Vec<(Vec<usize>, Vec<usize>)> {
        let (even, odd): (Vec<usize>, Vec<usize>) = rows.iter().partition(|row| *row % 2 == 0);
        vec![(even.clone(), odd.clone()), (odd, even)]
    };
    let refused = |folds: Folds, part: &str| {
        let error = fit(folds).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(part), "{source}");
    };
    // Positions among the rows at hand instead of the rows, and splits of the whole table that were made before.
    let positions = Folds::by("positions", move |data, _| Ok(halves((0..data.n_rows()).collect())));
    refused(positions, "row 0 of fold 0 is not among the rows at hand");
    let all = halves((0..150).collect());
    refused(Folds::by("all", move |_, _| Ok(all.clone())), "is not among the rows at hand");
    let beyond = Folds::by("beyond", |data, _| {
        let rows = data.row_indices();
        Ok(vec![(rows[..50].to_vec(), [&rows[50..], &[999]].concat())])
    });
    refused(beyond, "row 999 of fold 0 is not among the rows at hand");
    let right = Folds::by("right", move |data, _| Ok(halves(data.row_indices().to_vec())));
    assert!(fit(right).is_ok(), "the control");
}

#[test]
fn calibration_does_not_hang_on_the_unit_of_the_weights() {
    let data = Coins::new(400, 9);
    let fit = |calibrated: &Calibrated, weight: Option<f64>| {
        let weights = vec![weight.unwrap_or(1.0); 400];
        let samples = match weight {
            Some(_) => data.samples().with_weights(&weights).unwrap(),
            None => data.samples(),
        };
        // A model that does not hang on the unit either, so that the curve alone is asked.
        let model = calibrated.fit(samples, 0).unwrap();
        model.predict(data.features.view()).unwrap()
    };
    let stump = || DecisionTree::default().with_max_depth(2).with_min_leaf(20);
    let methods: [fn(DecisionTree, Folds) -> Calibrated; 2] =
        [Calibrated::platt, Calibrated::isotonic];
    for method in methods {
        let calibrated = method(stump(), Folds::stratified(4));
        let wanted = fit(&calibrated, None);
        for weight in [1.0, 1.0 / 1_024.0, 1e-12] {
            let found = fit(&calibrated, Some(weight));
            let pairs = wanted.iter().zip(&found);
            assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-9), "{calibrated:?}, {weight}");
        }
    }
}

#[test]
fn calibration_refuses_held_out_rows_that_lack_a_class() {
    let features = Array2::from_shape_fn((60, 1), |(row, _)| (row * 7 % 60) as f64);
    let names = ["x".to_owned()];
    let fit = |labels: &[usize], weights: &[f64], held: std::ops::Range<usize>| {
        let classes = ["a", "b", "c", "absent"].map(str::to_owned);
        let count = if labels.contains(&2) { 4 } else { 2 };
        let target = Target::Classes { labels, names: &classes[..count] };
        let samples = Samples::new(features.view(), &names, target).unwrap();
        let (test, train) = (0..60).partition(|row| held.contains(row));
        let folds = Folds::given(60, vec![(train, test)]);
        let calibrated = Calibrated::platt(LogisticRegression::default(), folds);
        calibrated.fit(samples.with_weights(weights).unwrap(), 0)
    };
    let two: Vec<usize> = (0..60).map(|row| usize::from(row >= 20 && row % 2 == 0)).collect();
    let ones = [1.0; 60];
    let error = fit(&two, &ones, 0..20).unwrap_err();
    assert!(matches!(&error, FitError::SingleClass { class } if class == "a"), "{error}");
    // The rows of one class are there, but have no weight.
    let weights: Vec<f64> = two
        .iter()
        .enumerate()
        .map(|(row, &label)| if row < 40 { label as f64 } else { 1.0 })
        .collect();
    let error = fit(&two, &weights, 20..40).unwrap_err();
    assert!(matches!(&error, FitError::SingleClass { class } if class == "b"), "{error}");
    assert!(fit(&two, &ones, 20..40).is_ok(), "the control");
    let three: Vec<usize> = (0..60).map(|row| if row < 20 { row % 2 } else { row % 3 }).collect();
    let error = fit(&three, &ones, 0..20).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no held-out row with weight is of class \"c\""), "{source}");
    let model = fit(&three, &ones, 20..40).unwrap();
    let predicted = model.predict(features.view()).unwrap();
    assert!(predicted.column(3).iter().all(|p| *p == 0.0), "a class that no row has");
}

#[test]
fn a_rule_reads_its_features_by_name_and_loads_where_it_is_registered() {
    let rule =
        HeuristicRule::classifier("chance above", ["chance"], |row| usize::from(row[0] > 0.5));
    let data = Coins::new(50, 8);
    let model = rule.fit(data.samples(), 0).unwrap();
    let wanted: Vec<usize> =
        data.features.column(0).iter().map(|chance| usize::from(*chance > 0.5)).collect();
    assert_eq!(model.predict_classes(data.features.view()).unwrap(), wanted);
    let saved = Saved::from_bytes(&model.save().unwrap().to_bytes()).unwrap();
    let unknown = Loader::default().model(&saved).unwrap_err();
    assert_eq!(unknown, SaveError::UnknownKind { kind: "mlp-models/rule/chance above".to_owned() });
    let loaded = Loader::default().with_rule(&rule).model(&saved).unwrap();
    assert_eq!(loaded.predict_classes(data.features.view()).unwrap(), wanted);

    let wild = HeuristicRule::classifier("wild", ["noise"], |_| 7).fit(data.samples(), 0).unwrap();
    assert!(matches!(wild.predict(data.features.view()), Err(ModelError::Failed { .. })));
    let broken =
        HeuristicRule::classifier("broken", ["noise"], |_| panic!("no")).fit(data.samples(), 0);
    let broken = broken.unwrap().predict(data.features.view());
    assert!(matches!(broken, Err(ModelError::Panicked { .. })));
    let absent = HeuristicRule::classifier("absent", ["colour"], |_| 0).fit(data.samples(), 0);
    let absent = std::error::Error::source(&absent.unwrap_err()).unwrap().to_string();
    assert!(absent.contains("\"colour\"") && absent.contains("chance, noise"), "{absent}");
    assert!(
        HeuristicRule::regressor("number", ["noise"], |row| row[0]).fit(data.samples(), 0).is_err()
    );
}

#[test]
fn parts_that_lie_too_deep_in_each_other_are_refused() {
    let features = array![[1.0], [2.0]];
    let names = ["x".to_owned()];
    let samples = Samples::new(features.view(), &names, Target::Values(&[1.0, 2.0])).unwrap();
    let mut saved = LinearRegression::default().fit(samples.reborrow(), 0).unwrap().save().unwrap();
    let pipeline =
        Pipeline::of(LinearRegression::default()).fit(samples, 0).unwrap().save().unwrap();
    let inner = saved.to_bytes().len();
    // Everything before the inner model's length, and that length replaced.
    let prefix = pipeline.body()[..pipeline.body().len() - inner - 8].to_vec();
    let mut refused_at = None;
    for depth in 1..100 {
        let inside = saved.to_bytes();
        let mut body = prefix.clone();
        body.extend_from_slice(&(inside.len() as u64).to_le_bytes());
        body.extend_from_slice(&inside);
        saved = Saved::new("mlp-models/pipeline", 1, body).unwrap();
        if Loader::default().model(&saved).is_err() {
            refused_at = Some(depth);
            break;
        }
    }
    assert_eq!(refused_at, Some(33));
}

#[test]
fn composed_models_forward_what_is_missing_and_stay_deterministic() {
    let data = Data::load("wine");
    let stacking = Stacking::new(LogisticRegression::default(), Folds::stratified(3))
        .member("forest", RandomForest::default().with_trees(5))
        .member(
            "linear",
            Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler),
        );
    let bytes = |seed| stacking.fit(data.samples(), seed).unwrap().save().unwrap().to_bytes();
    assert_eq!(bytes(3), bytes(3));
    assert_ne!(bytes(3), bytes(4));
}
