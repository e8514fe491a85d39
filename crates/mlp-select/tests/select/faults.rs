//! Foreign code that panics, predictions that are no predictions, tests that cannot be computed.

use std::sync::Arc;

use mlp_core::{
    Complexity, Direction, Estimator, FitError, FittedModel, Model, ModelError, Samples, SaveError,
    Saved, Scratch, Signature, Target,
};
use mlp_select::{
    Candidate, CrossValidation, Fold, KFold, Ladder, PermutationRanked, Rfe, RfeCv, Rule, Score,
    ScoreError, Scorer, SelectError, SelectFromModel, SelectKBest, ShadowTest, ShuffleSplit, Split,
    Statistic, TimeSeriesSplit, anova_f, permutation_importance,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, array};

use crate::scripted::Scripted;

/// Panics where it is told to, or tells an importance too few; otherwise gives each row the probabilities of `row`.
#[derive(Debug, Clone, Default)]
struct Faulty {
    panics_in: &'static str,
    row: Vec<f64>,
}

const MISCOUNT: &str = "no place";

impl Faulty {
    fn reach(&self, place: &str) {
        assert!(self.panics_in != place, "poisoned {place}");
    }
}

impl Estimator for Faulty {
    fn fit(&self, data: Samples<'_>, _seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.reach("fit");
        let outputs: Vec<String> = (0..self.row.len()).map(|i| i.to_string()).collect();
        let signature = Signature::classifier(data.names().to_vec(), outputs);
        Ok(Arc::new(FaultyModel(self.clone(), signature)))
    }
}

#[derive(Debug)]
struct FaultyModel(Faulty, Signature);

impl Model for FaultyModel {
    fn predict_into(
        &self,
        _: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.0.reach("predict");
        out.rows_mut().into_iter().for_each(|mut row| row.assign(&ndarray::aview1(&self.0.row)));
        Ok(())
    }

    fn signature(&self) -> &Signature {
        &self.1
    }
}

impl FittedModel for FaultyModel {
    fn importances(&self) -> Option<Vec<f64>> {
        self.0.reach("importances");
        let told = self.1.n_features() - usize::from(self.0.panics_in == MISCOUNT);
        Some((0..told).map(|i| i as f64).collect())
    }

    fn complexity(&self) -> Complexity {
        Complexity { parameters: 1, bytes: 1 }
    }

    fn save(&self) -> Result<Saved, SaveError> {
        Saved::new("faulty", 1, Vec::new())
    }
}

/// A scorer that panics.
#[derive(Debug, Clone, Copy)]
struct Poisoned;

impl Scorer for Poisoned {
    fn name(&self) -> &str {
        "poisoned"
    }

    fn direction(&self) -> Direction {
        Direction::Maximize
    }

    fn score(&self, _: &Samples<'_>, _: ArrayView2<'_, f64>) -> Result<f64, ScoreError> {
        panic!("poisoned score")
    }
}

struct Two {
    features: Array2<f64>,
    names: Vec<String>,
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl Two {
    fn new(rows: usize) -> Self {
        Self {
            features: Array2::from_shape_fn((rows, 2), |(i, j)| ((i * 7 + j * 3) % 11) as f64),
            names: ["a", "b"].map(str::to_owned).to_vec(),
            labels: (0..rows).map(|row| row % 2).collect(),
            classes: ["no", "yes"].map(str::to_owned).to_vec(),
        }
    }

    fn samples(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }
}

fn faulty(panics_in: &'static str) -> Faulty {
    Faulty { panics_in, row: vec![0.25, 0.75] }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[test]
fn a_panic_in_a_fold_is_an_error_of_that_fold() {
    let data = Two::new(20);
    let validation = CrossValidation::default().with_threads(2);
    let run = |estimator: &Faulty, scorer: &dyn Scorer| {
        validation.run(estimator, &data.samples(), &KFold::new(4), &[scorer])
    };
    assert!(run(&faulty(""), &Score::Accuracy).is_ok());
    for place in ["fit", "predict"] {
        let error = chain(&run(&faulty(place), &Score::Accuracy).unwrap_err());
        assert!(error.contains("fold 0") && error.contains(place), "{error}");
    }
    let error = chain(&run(&faulty(""), &Poisoned).unwrap_err());
    assert!(error.contains("fold 0") && error.contains("poisoned score"), "{error}");
}

#[test]
fn a_panic_in_an_elimination_is_an_error() {
    let data = Two::new(20);
    for place in ["fit", "predict", "importances"] {
        let estimator: Arc<dyn Estimator> = Arc::new(faulty(place));
        let rfecv = RfeCv::new(Arc::clone(&estimator), Score::Accuracy);
        let run = rfecv.run(&data.samples(), &KFold::new(4), &CrossValidation::default());
        let error = chain(&run.unwrap_err());
        assert!(error.contains(&format!("poisoned {place}")), "{error}");
        if place != "predict" {
            let error = Rfe::new(Arc::clone(&estimator), 1).eliminate(&data.samples(), 0);
            let error = chain(&error.unwrap_err());
            assert!(error.contains(&format!("poisoned {place}")), "{error}");
            let error = SelectFromModel::new(estimator).select(&data.samples(), 0);
            let error = chain(&error.unwrap_err());
            assert!(error.contains(&format!("poisoned {place}")), "{error}");
        }
    }
    let rfecv = RfeCv::new(Arc::new(faulty("")), Poisoned);
    let run = rfecv.run(&data.samples(), &KFold::new(4), &CrossValidation::default());
    let error = chain(&run.unwrap_err());
    assert!(error.contains("poisoned score"), "{error}");
}

#[test]
fn a_model_that_tells_too_few_importances_is_an_error() {
    let data = Two::new(20);
    let estimator: Arc<dyn Estimator> = Arc::new(faulty(MISCOUNT));
    let eliminated = Rfe::new(Arc::clone(&estimator), 1).eliminate(&data.samples(), 0);
    let selected = SelectFromModel::new(Arc::clone(&estimator)).select(&data.samples(), 0);
    let shadowed = ShadowTest::new(estimator).run(&data.samples(), 0);
    let errors = [
        chain(&eliminated.unwrap_err()),
        chain(&selected.unwrap_err()),
        chain(&shadowed.unwrap_err()),
    ];
    for (error, features) in errors.iter().zip([2, 2, 4]) {
        let expected = format!("{} importances of {features} features", features - 1);
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn a_panic_while_features_are_shuffled_is_an_error() {
    let data = Two::new(20);
    let model = |place| faulty(place).fit(data.samples(), 0).unwrap();
    let ranked = |place, scorer: &dyn Scorer| {
        let ranked = permutation_importance(&*model(place), &data.samples(), scorer, 1, 0);
        chain(&ranked.unwrap_err())
    };
    assert!(ranked("predict", &Score::Accuracy).contains("poisoned predict"));
    assert!(ranked("", &Poisoned).contains("poisoned score"));
    let ranked = PermutationRanked::new(Arc::new(faulty("")), Poisoned, 1);
    assert!(Rfe::new(Arc::new(ranked), 1).eliminate(&data.samples(), 0).is_err());
}

#[test]
fn a_panic_of_who_is_told_the_progress_changes_nothing() {
    let data = Two::new(20);
    let run = |validation: CrossValidation| {
        let folds = KFold::new(4);
        validation.run(&faulty(""), &data.samples(), &folds, &[&Score::LogLoss]).unwrap()
    };
    let panics = CrossValidation::default().with_threads(2).with_progress(|_, _| panic!("broken"));
    let (told, untold) = (run(panics), run(CrossValidation::default()));
    assert_eq!(told.scores("log_loss"), untold.scores("log_loss"));
}

#[test]
fn predictions_of_too_few_columns_are_an_error_of_every_score() {
    let data = Two::new(4);
    let scores = [
        Score::Accuracy,
        Score::F1Macro,
        Score::F1,
        Score::Matthews,
        Score::AveragePrecision,
        Score::Brier,
        Score::RocAuc,
        Score::LogLoss,
    ];
    for score in scores {
        let error = score.score(&data.samples(), Array2::zeros((4, 1)).view()).unwrap_err();
        assert!(
            matches!(error, ScoreError::Columns { given: 1, expected: 2 }),
            "{score:?}: {error}"
        );
    }
    let values = [1.0, 2.0, 3.0, 4.0];
    let samples = Samples::new(data.features.view(), &data.names, Target::Values(&values)).unwrap();
    let error = Score::Mae.score(&samples, Array2::zeros((4, 0)).view()).unwrap_err();
    assert_eq!(error.to_string(), "the predictions have 0 columns, 1 needed");
    // A binary estimator that gives the probability of one class only.
    let one = Faulty { row: vec![0.7], ..faulty("") };
    let error = CrossValidation::default()
        .run(&one, &data.samples(), &KFold::new(2), &[&Score::RocAuc])
        .unwrap_err();
    assert!(chain(&error).contains("1 columns, 2 needed"), "{}", chain(&error));
}

#[test]
fn scoring_takes_the_class_that_serving_would_and_nan_alone_is_no_class() {
    let nan = f64::NAN;
    let names = ["x".to_owned()];
    let classes = ["a", "b", "c"].map(str::to_owned);
    let features = Array2::zeros((2, 1));
    let target = Target::Classes { labels: &[1, 0], names: &classes };
    let samples = Samples::new(features.view(), &names, target).unwrap();
    let score = |predictions: Array2<f64>| Score::Accuracy.score(&samples, predictions.view());
    assert_eq!(score(array![[nan, 0.9, 0.1], [0.4, 0.4, 0.2]]).unwrap(), 1.0);
    let error = score(array![[0.1, 0.9, 0.0], [nan, nan, nan]]).unwrap_err();
    assert!(matches!(error, ScoreError::NoClass { row: 1 }), "{error}");
    for of_labels in [Score::BalancedAccuracy, Score::F1Weighted, Score::Recall, Score::Matthews] {
        let error = of_labels.score(&samples, array![[nan, nan, nan], [1.0, 0.0, 0.0]].view());
        assert!(matches!(error, Err(ScoreError::NoClass { row: 0 })), "{of_labels:?}");
    }
}

#[test]
fn a_constant_feature_tells_nothing_and_is_kept_last() {
    for rows in 4..60 {
        let mut data = Two::new(rows);
        data.features.column_mut(0).fill(0.1);
        let found = anova_f(&data.samples()).unwrap();
        assert!(
            found[0].statistic.is_nan() && found[0].p_value.is_nan(),
            "{rows} rows: {:?}",
            found[0]
        );
        let best = SelectKBest::new(Statistic::AnovaF, 1).select(&data.samples()).unwrap();
        assert_eq!(best.columns(), [1], "{rows} rows");
    }
}

#[test]
fn a_second_selection_keeps_the_marks_of_the_first() {
    let data = Two::new(12);
    let samples = data.samples();
    let (seen, fresh): (Vec<usize>, Vec<usize>) = (0..12).partition(|row| *row < 6);
    let k_best = |keep| SelectKBest::new(Statistic::AnovaF, keep);
    let first = k_best(2).select(&samples.with_rows(&seen).unwrap()).unwrap();
    let narrowed = first.select_from(&samples).unwrap();
    let narrowed = narrowed.as_samples();
    let second = k_best(1).select(&narrowed.with_rows(&fresh).unwrap()).unwrap();
    let again = second.select_from(&narrowed).unwrap();
    let marks = again.as_samples().seen_by_selection().unwrap().into_owned();
    assert_eq!(marks, [true; 12], "each row was seen by one of them");
    let folds = [Fold { train: fresh, test: seen }];
    let refused = CrossValidation::default().run_folds(
        &faulty(""),
        &again.as_samples(),
        &folds,
        &[&Score::Accuracy],
    );
    assert!(matches!(refused, Err(SelectError::SelectionLeak { seen: 6, .. })), "{refused:?}");
}

/// Two rungs that predict the same.
fn two_rungs(rule: Rule) -> Ladder {
    Ladder::new(Score::Rmse)
        .with_rule(rule)
        .rung("simple", PermutationRanked::new(Arc::new(Scripted::default()), Score::Rmse, 1))
        .rung("complex", Scripted::default())
}

#[test]
fn the_corrected_test_counts_the_sizes_of_all_folds() {
    let scores = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let candidates = [
        Candidate { name: "simple", scores: scores(&[0.80, 0.79, 0.81, 0.78, 0.80]), cost: None },
        Candidate { name: "complex", scores: scores(&[0.82, 0.80, 0.84, 0.81, 0.81]), cost: None },
    ];
    let rule = Rule::CorrectedT(0.05);
    let features = Array2::zeros((60, 1));
    let names = ["x".to_owned()];
    let target = vec![0.0; 60];
    let samples = Samples::new(features.view(), &names, Target::Values(&target)).unwrap();
    let series = TimeSeriesSplit::new(5).split(&samples).unwrap();
    let sizes: Vec<_> = series.iter().map(|fold| (fold.train.len(), fold.test.len())).collect();
    assert_eq!(sizes, [(10, 10), (20, 10), (30, 10), (40, 10), (50, 10)]);
    let chosen =
        |folds: &[Fold]| rule.choose_on(Direction::Maximize, &candidates, folds).unwrap().chosen;
    let by_sizes = |n_train, n_test| {
        rule.choose(Direction::Maximize, &candidates, n_train, n_test).unwrap().chosen
    };
    // The mean of the ratios is 0.457: significant; of the first fold alone it is 1: not.
    assert_eq!((by_sizes(1_000, 457), by_sizes(10, 10)), (1, 0));
    assert_eq!(chosen(&series), 1);
    let mut reversed = series.clone();
    reversed.reverse();
    assert_eq!(chosen(&reversed), 1, "the order of folds of the same sizes decides nothing");
}

#[test]
fn a_test_that_cannot_be_computed_does_not_speak_for_the_simplest() {
    let rule = Rule::CorrectedT(0.05);
    let choose = |simple: &[f64], complex: &[f64], direction| {
        let scores = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        let candidates = [
            Candidate { name: "simple", scores: scores(simple), cost: None },
            Candidate { name: "complex", scores: scores(complex), cost: None },
        ];
        rule.choose(direction, &candidates, 80, 20).unwrap().chosen
    };
    assert_eq!(choose(&[0.5], &[0.9], Direction::Maximize), 1, "one fold is no test");
    let infinite = [f64::INFINITY, 1.0, 1.0];
    assert_eq!(choose(&infinite, &[0.3, 0.4, 0.3], Direction::Minimize), 1);
    assert_eq!(choose(&[0.9, 0.9, 0.9], &[0.9, 0.9, 0.9], Direction::Maximize), 0);

    let data = Two::new(24);
    let values: Vec<f64> = (0..24).map(f64::from).collect();
    let names = ["x1", "x2"].map(str::to_owned);
    let samples = Samples::new(data.features.view(), &names, Target::Values(&values)).unwrap();
    let (once, twice) = (ShuffleSplit::new(1, 0.25, 3), ShuffleSplit::new(2, 0.25, 3));
    let validation = CrossValidation::default();
    let refused = two_rungs(rule).climb(&samples, &once, &validation).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the number of folds for the corrected t-test is 1, it must be at least 2"
    );
    assert!(two_rungs(rule).climb(&samples, &twice, &validation).is_ok());
    assert!(two_rungs(Rule::Best).climb(&samples, &once, &validation).is_ok());
    let rfecv = RfeCv::new(Arc::new(Scripted::default()), Score::Rmse).with_rule(rule);
    let refused = rfecv.run(&samples, &once, &validation).unwrap_err();
    assert!(refused.to_string().contains("at least 2"), "{refused}");
    assert!(rfecv.run(&samples, &twice, &validation).is_ok());
}
