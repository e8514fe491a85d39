//! What selection promises, by name.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mlp_core::{Direction, FittedTransformerExt, Samples, Target, Transformer};
use mlp_select::{
    Candidate, ColumnSelection, CrossValidation, Failures, Fold, GroupKFold, KFold, Ladder,
    RepeatedKFold, Rfe, RfeCv, Rule, Score, SelectError, ShuffleSplit, Split, Step,
    StratifiedKFold, TimeSeriesSplit,
};
use ndarray::Array2;
use proptest::prelude::*;

use crate::scripted::Scripted;

/// Data whose target is the sum of the first `informative` features; the names tell the importances.
struct Data {
    features: Array2<f64>,
    names: Vec<String>,
    target: Vec<f64>,
}

impl Data {
    fn new(n: usize, importances: &[f64], informative: usize) -> Self {
        let features = Array2::from_shape_fn((n, importances.len()), |(i, j)| {
            ((i * 31 + j * 17) % 23) as f64 - 11.0
        });
        let target =
            features.rows().into_iter().map(|row| row.iter().take(informative).sum()).collect();
        Self {
            features,
            names: importances.iter().map(|importance| format!("x{importance}")).collect(),
            target,
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples::new(self.features.view(), &self.names, Target::Values(&self.target)).unwrap()
    }
}

fn scripted() -> Arc<Scripted> {
    Arc::new(Scripted::default())
}

#[test]
fn the_weakest_features_go_first_and_the_leftmost_of_equal_ones() {
    let data = Data::new(10, &[3.0, 1.0, 2.0, 1.0, 5.0], 1);
    let elimination = Rfe::new(scripted(), 2).eliminate(&data.samples(), 0).unwrap();
    let removed: Vec<usize> = elimination.log().iter().map(|step| step.removed[0].column).collect();
    assert_eq!(removed, [1, 3, 2]);
    assert_eq!(elimination.kept(), [0, 4]);
    assert_eq!(elimination.ranking(), [1, 4, 2, 3, 1]);
    assert_eq!(elimination.support(), [true, false, false, false, true]);
    let ties: Vec<bool> = elimination.log().iter().map(|step| step.tied).collect();
    assert_eq!(ties, [true, false, false], "only the first step was decided by position");
    assert!(elimination.to_string().contains("tie: leftmost went"));
}

#[test]
fn a_share_is_of_the_original_number_and_the_last_step_never_passes_the_number_to_keep() {
    let data = Data::new(10, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1);
    let counts = |step| {
        let elimination =
            Rfe::new(scripted(), 2).with_step(step).eliminate(&data.samples(), 0).unwrap();
        elimination.log().iter().map(|step| step.removed.len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(Step::Share(0.25)), [2, 2, 2, 1]);
    assert_eq!(counts(Step::Share(0.01)), [1; 7]);
    assert_eq!(counts(Step::Count(5)), [5, 2]);
}

#[test]
fn the_log_plus_the_survivors_is_a_permutation_of_the_features() {
    let data = Data::new(10, &[3.0, 1.0, 2.0, 7.0, 5.0, 4.0], 1);
    for (keep, step) in [(1, 1), (2, 3), (5, 2), (6, 1)] {
        let elimination = Rfe::new(scripted(), keep)
            .with_step(Step::Count(step))
            .eliminate(&data.samples(), 0)
            .unwrap();
        let removed = elimination
            .log()
            .iter()
            .flat_map(|step| step.removed.iter().map(|feature| feature.column));
        let mut all: Vec<usize> = removed.chain(elimination.kept().iter().copied()).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        assert_eq!(elimination.kept().len(), keep);
    }
}

#[test]
fn impossible_numbers_of_features_and_steps_are_errors() {
    let data = Data::new(10, &[1.0, 2.0], 1);
    let run = |keep, step| Rfe::new(scripted(), keep).with_step(step).eliminate(&data.samples(), 0);
    for (keep, step) in [
        (3, Step::Count(1)),
        (0, Step::Count(1)),
        (1, Step::Count(0)),
        (1, Step::Share(0.0)),
        (1, Step::Share(1.5)),
        (1, Step::Share(f64::NAN)),
    ] {
        let error = run(keep, step).expect_err("an impossible setting was taken");
        assert!(matches!(error, SelectError::Setting { .. }), "{error}");
    }
    assert_eq!(
        run(3, Step::Count(1)).unwrap_err().to_string(),
        "the number of features to keep is 3, it must be from 1 to 2, the number of features"
    );
    assert!(RfeCv::new(scripted(), Score::R2).with_min_features(3).sizes(2).is_err());
}

#[test]
fn an_importance_that_is_not_a_number_is_an_error_that_names_the_feature() {
    let data = Data::new(10, &[1.0, f64::NAN], 1);
    let error = Rfe::new(scripted(), 1).eliminate(&data.samples(), 0).unwrap_err();
    assert!(
        matches!(error, SelectError::UndefinedImportance { ref feature } if feature == "xNaN"),
        "{error}"
    );
}

#[test]
fn an_elimination_is_a_transformer_that_keeps_the_chosen_columns() {
    let data = Data::new(10, &[3.0, 1.0, 2.0], 1);
    let fitted = Rfe::new(scripted(), 2).fit(data.samples(), 0).unwrap();
    assert_eq!(fitted.output_names(), ["x3", "x2"]);
    let out = fitted.transform(data.features.view()).unwrap();
    assert_eq!(out, data.features.select(ndarray::Axis(1), &[0, 2]));
    let loaded = ColumnSelection::load(&fitted.save().unwrap()).unwrap();
    assert_eq!(loaded.transform(data.features.view()).unwrap(), out);
    assert!(fitted.transform(data.features.select(ndarray::Axis(1), &[0]).view()).is_err());
}

#[test]
fn rfecv_finds_the_features_that_make_the_target_and_says_what_it_costs() {
    let data = Data::new(60, &[9.0, 8.0, 1.0, 2.0], 2);
    let estimator = scripted();
    let rfecv = RfeCv::new(Arc::<Scripted>::clone(&estimator), Score::R2);
    let report = rfecv
        .run(&data.samples(), &KFold::new(5), &CrossValidation::default().with_threads(1))
        .unwrap();
    assert_eq!(report.n_features(), 2);
    assert_eq!(report.elimination.kept(), [0, 1]);
    let sizes: Vec<usize> = report.curve.iter().map(|size| size.features).collect();
    assert_eq!(sizes, [1, 2, 3, 4]);
    assert!(estimator.fits.load(Ordering::Relaxed) <= rfecv.fits(4, 5).unwrap());
}

#[test]
fn validation_is_the_same_for_any_number_of_threads() {
    let data = Data::new(60, &[9.0, 8.0, 1.0], 2);
    let run = |threads| {
        let validation = CrossValidation::default().with_threads(threads).with_predictions();
        validation
            .run(
                &*scripted(),
                &data.samples(),
                &KFold::new(7).shuffled(3),
                &[&Score::R2, &Score::Rmse],
            )
            .unwrap()
    };
    let (one, eight) = (run(1), run(8));
    for (a, b) in one.folds.iter().zip(&eight.folds) {
        assert_eq!(a.scores, b.scores);
        assert_eq!(a.test_rows, b.test_rows);
        assert_eq!(a.predictions, b.predictions);
    }
    assert!(
        CrossValidation::default()
            .with_threads(0)
            .run(&*scripted(), &data.samples(), &KFold::new(3), &[&Score::R2])
            .is_err()
    );
    assert!(
        CrossValidation::default().run(&*scripted(), &data.samples(), &KFold::new(3), &[]).is_err()
    );
}

#[test]
fn a_failing_fold_is_named_with_its_cause_or_recorded() {
    let mut data = Data::new(30, &[1.0], 1);
    // Folds of ten rows: only the first fold learns from nothing but the poison.
    data.features.column_mut(0).iter_mut().skip(10).for_each(|value| *value = 7.0);
    let estimator = Scripted { poison: Some(7.0), ..Scripted::default() };
    let run = |failures| {
        let validation = CrossValidation::default().with_failures(failures);
        validation.run(&estimator, &data.samples(), &KFold::new(3), &[&Score::Mae])
    };
    let error = run(Failures::Stop).unwrap_err();
    assert_eq!(error.to_string(), "fold 0 failed");
    let validated = run(Failures::Record).unwrap();
    assert_eq!(
        validated.folds[0].failure.as_deref(),
        Some("the estimator could not learn: antidotes: 0 given, at least 1 needed")
    );
    assert!(validated.scores("mae")[1].is_some());
    assert_eq!(validated.summary("mae"), None, "a mean over fewer folds flatters");
}

#[test]
fn a_rung_that_fails_is_reported_and_excluded() {
    let data = Data::new(30, &[1.0], 1);
    let mut poisoned = Data::new(30, &[1.0], 1);
    poisoned.features.fill(7.0);
    let ladder = Ladder::new(Score::Rmse)
        .rung("poisoned", Scripted { poison: Some(7.0), ..Scripted::default() })
        .rung("sum", Scripted::default());
    let report =
        ladder.climb(&poisoned.samples(), &KFold::new(3), &CrossValidation::default()).unwrap();
    assert_eq!(report.chosen().name, "sum");
    assert!(
        report.rungs[0].validated.as_ref().is_err_and(|reason| reason.contains("antidotes")),
        "{report}"
    );
    assert!(report.to_string().contains("failed: fold 0 failed"));
    assert_eq!(
        ladder
            .climb(&data.samples(), &KFold::new(3), &CrossValidation::default())
            .unwrap()
            .chosen()
            .name,
        "poisoned"
    );
    assert!(matches!(
        Ladder::new(Score::Rmse).climb(
            &data.samples(),
            &KFold::new(3),
            &CrossValidation::default()
        ),
        Err(SelectError::Setting { .. })
    ));
}

#[test]
fn a_baseline_that_wins_raises_an_alarm() {
    let data = Data::new(30, &[1.0], 1);
    let report = Ladder::new(Score::Rmse)
        .baseline("nothing learnt", Scripted::default())
        .rung("sum", Scripted::default())
        .climb(&data.samples(), &KFold::new(3), &CrossValidation::default())
        .unwrap();
    assert_eq!(report.chosen().name, "nothing learnt");
    assert!(report.alarm().is_some_and(|alarm| alarm.contains("data or the labels")));
}

#[test]
fn less_is_better_where_the_metric_says_so() {
    let candidates = [("simple", [0.5, 0.5]), ("complex", [0.1, 0.1])]
        .map(|(name, scores)| Candidate { name, scores: scores.map(Some).to_vec(), cost: None });
    let choose = |direction| Rule::OneStandardError.choose(direction, &candidates, 80, 20).unwrap();
    assert_eq!(choose(Direction::Minimize).chosen, 1);
    assert_eq!(choose(Direction::Maximize).chosen, 0);
    assert!((choose(Direction::Minimize).gap).abs() < 1e-15);
}

#[test]
fn no_score_at_all_is_an_error() {
    let nan = [
        Candidate { name: "a", scores: vec![Some(f64::NAN)], cost: None },
        Candidate { name: "b", scores: vec![None], cost: None },
    ];
    assert_eq!(Rule::Best.choose(Direction::Maximize, &nan, 80, 20), None);
}

#[test]
fn too_few_members_of_a_class_is_an_error_that_names_it() {
    let features = Array2::zeros((6, 1));
    let (names, classes) = (["x".to_owned()], ["many".to_owned(), "few".to_owned()]);
    let samples = Samples::new(
        features.view(),
        &names,
        Target::Classes { labels: &[0, 0, 0, 0, 1, 1], names: &classes },
    )
    .unwrap();
    let error = StratifiedKFold::new(3).split(&samples).unwrap_err();
    assert_eq!(error.to_string(), "members of class \"few\": 2 given, at least 3 needed");
}

#[test]
fn a_fold_of_a_fold_keeps_to_its_rows() {
    let data = Data::new(30, &[1.0], 1);
    let outer = KFold::new(3).shuffled(1).split(&data.samples()).unwrap();
    let train = data
        .samples()
        .with_rows(&outer[0].train)
        .unwrap()
        .with_rows(&outer[0].train)
        .unwrap()
        .n_rows();
    assert_eq!(train, 20);
    let samples = data.samples();
    let inner = KFold::new(2).split(&samples.with_rows(&outer[0].train).unwrap()).unwrap();
    let all: Vec<usize> = inner.iter().flat_map(|fold| fold.test.clone()).collect();
    assert!(all.iter().all(|row| outer[0].train.contains(row)));
    assert_eq!(all.len(), 20);
}

/// Every row is tested as often as it should be, and never learnt from at the same time.
fn check_partition(folds: &[Fold], n: usize, times: usize) {
    let mut tested = vec![0; n];
    for fold in folds {
        assert!(!fold.train.is_empty() && !fold.test.is_empty());
        assert!(fold.train.is_sorted() && fold.test.is_sorted());
        assert_eq!(fold.train.len() + fold.test.len(), n);
        fold.test.iter().for_each(|&row| tested[row] += 1);
        assert!(fold.train.iter().all(|row| fold.test.binary_search(row).is_err()));
    }
    assert!(tested.iter().all(|&count| count == times), "{tested:?}");
}

proptest! {
    #[test]
    fn every_row_is_tested_exactly_once(labels in prop::collection::vec(0_usize..4, 8..80), k in 2_usize..6, seed in any::<u64>()) {
        let features = Array2::zeros((labels.len(), 1));
        let names = ["x".to_owned()];
        let classes: Vec<String> = (0..4).map(|class| class.to_string()).collect();
        let groups: Vec<u64> = labels.iter().map(|&label| label as u64).collect();
        let samples = Samples::new(features.view(), &names, Target::Classes { labels: &labels, names: &classes }).unwrap();
        let samples = samples.with_groups(&groups).unwrap();
        let once: [&dyn Split; 5] = [
            &KFold::new(k), &KFold::new(k).shuffled(seed), &StratifiedKFold::new(k), &StratifiedKFold::new(k).shuffled(seed), &GroupKFold::new(k),
        ];
        for splitter in once {
            if let Ok(folds) = splitter.split(&samples) {
                check_partition(&folds, labels.len(), 1);
                prop_assert_eq!(folds, splitter.split(&samples).unwrap(), "the same seed gives the same folds");
            }
        }
        if let Ok(folds) = RepeatedKFold::new(k, 3, seed).split(&samples) {
            check_partition(&folds, labels.len(), 3);
        }
        for fold in GroupKFold::new(k).split(&samples).unwrap_or_default() {
            let learnt: Vec<u64> = fold.train.iter().map(|&row| groups[row]).collect();
            prop_assert!(fold.test.iter().all(|&row| !learnt.contains(&groups[row])), "a group is on both sides");
        }
    }

    #[test]
    fn the_past_is_learnt_from_and_the_future_tested(n in 4_usize..60, k in 2_usize..6, gap in 0_usize..4) {
        let data = Data::new(n, &[1.0], 1);
        if let Ok(folds) = TimeSeriesSplit::new(k).with_gap(gap).split(&data.samples()) {
            for fold in folds {
                prop_assert!(fold.train.last().unwrap() + gap < fold.test[0]);
            }
        }
    }

    #[test]
    fn random_splits_keep_their_share(n in 2_usize..60, share in 0.05_f64..0.95, seed in any::<u64>()) {
        let data = Data::new(n, &[1.0], 1);
        for fold in ShuffleSplit::new(3, share, seed).split(&data.samples()).unwrap() {
            prop_assert!(!fold.train.is_empty());
            prop_assert_eq!(fold.train.len() + fold.test.len(), n);
            prop_assert!((fold.test.len() as f64 - share * n as f64).abs() <= 1.0);
        }
    }
}
