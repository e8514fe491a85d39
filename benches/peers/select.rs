//! Elimination, ladder and threads beside scikit-learn.

use std::path::Path;
use std::sync::Arc;

use mlp::core::{Estimator, FitError, FittedModel, Samples, Target};
use mlp::models::{
    DecisionTree, DummyClassifier, GradientBoosting, LinearRegression, LogisticRegression,
    RandomForest,
};
use mlp::select::{CrossValidation, KFold, Ladder, RfeCv, Score, Split, StratifiedKFold};
use ndarray::{Array2, ArrayView2};

use crate::{measure, read};

/// An estimator whose way to update its solution is hidden: what an elimination costs without it.
#[derive(Debug)]
struct Cold<E>(E);

impl<E: Estimator> Estimator for Cold<E> {
    fn fit(&self, data: Samples<'_>, seed: u64) -> Result<Arc<dyn FittedModel>, FitError> {
        self.0.fit(data, seed)
    }
}

struct Data {
    features: Array2<f64>,
    names: Vec<String>,
    target: Vec<f64>,
    labels: Vec<usize>,
    classes: [String; 2],
}

impl Data {
    fn read(folder: &Path, name: &str) -> Self {
        let target = read(folder, &format!("{name}.target"));
        let features = read(folder, &format!("{name}.features"));
        let shape = (target.len(), features.len() / target.len());
        Self {
            features: ArrayView2::from_shape(shape, &features).expect("whole rows").to_owned(),
            names: (0..shape.1).map(|column| format!("x{column}")).collect(),
            labels: target.iter().map(|value| usize::from(*value > 0.5)).collect(),
            target,
            classes: ["no".to_owned(), "yes".to_owned()],
        }
    }

    fn classes(&self) -> Samples<'_> {
        let target = Target::Classes { labels: &self.labels, names: &self.classes };
        Samples::new(self.features.view(), &self.names, target).expect("good data")
    }

    fn values(&self) -> Samples<'_> {
        let target = Target::Values(&self.target);
        Samples::new(self.features.view(), &self.names, target).expect("good data")
    }
}

/// The chosen number of features, and the ranking as one number: equal only for equal rankings.
fn rfecv(
    estimator: Arc<dyn Estimator>,
    score: Score,
    data: &Samples<'_>,
    split: &dyn Split,
    threads: usize,
) -> f64 {
    let validation = CrossValidation::default().with_threads(threads);
    let report = RfeCv::new(estimator, score).run(data, split, &validation).expect("a report");
    let ranking = report.elimination.ranking();
    let weighted = ranking.iter().enumerate().map(|(at, rank)| (at + 1) * rank);
    weighted.sum::<usize>() as f64 + report.n_features() as f64 * 1e9
}

pub(crate) fn run(folder: &Path) {
    let folds = StratifiedKFold::new(5);
    let logistic = || Arc::new(LogisticRegression::default());
    for name in ["1000x20", "5000x100"] {
        let data = Data::read(folder, name);
        let samples = data.classes();
        measure(&format!("rfecv_logistic_{name}"), 2, || {
            rfecv(logistic(), Score::Accuracy, &samples, &folds, 1)
        });
        if name == "1000x20" {
            let cold = Arc::new(Cold(LogisticRegression::default()));
            measure("rfecv_cold_1000x20", 2, || {
                rfecv(cold.clone(), Score::Accuracy, &samples, &folds, 1)
            });
        } else {
            measure("rfecv_two_threads", 2, || {
                rfecv(logistic(), Score::Accuracy, &samples, &folds, 2)
            });
        }
    }
    let data = Data::read(folder, "regression");
    measure("rfecv_ols_5000x100", 3, || {
        let estimator = Arc::new(LinearRegression::default());
        rfecv(estimator, Score::R2, &data.values(), &KFold::new(5), 1)
    });
    let data = Data::read(folder, "breast_cancer");
    let samples = data.classes();
    // As deep as scikit-learn's.
    let boosting = GradientBoosting::default().with_max_depth(3).with_max_leaves(8);
    for threads in [1, 2] {
        measure(&format!("ladder_{threads}"), 2, || {
            let report = Ladder::new(Score::RocAuc)
                .baseline("most frequent class", DummyClassifier::most_frequent())
                .rung("logistic regression", LogisticRegression::default())
                .rung("decision tree", DecisionTree::default())
                .rung("random forest", RandomForest::default().with_threads(1))
                .rung("gradient boosting", boosting.clone())
                .climb(&samples, &folds, &CrossValidation::default().with_threads(threads));
            report.expect("a report").rungs.len() as f64
        });
    }
    // What the models are worth, so that speed is not bought with quality.
    let validation = CrossValidation::default().with_threads(1);
    let forest = RandomForest::default().with_threads(1);
    measure("forest_auc", 1, || {
        let result = validation.run(&forest, &samples, &folds, &[&Score::RocAuc]);
        result.expect("scores").summary("roc_auc").expect("a summary").mean
    });
}
