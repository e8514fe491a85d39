//! From data to a model: validate, compute features, start simple, eliminate, tune, evaluate, record.

use std::error::Error;
use std::sync::Arc;

use mlp::core::{
    Clock, Direction, Estimator, FittedModel, ManualClock, ModelExt, ModelFamily, ModelName,
    Params, Timestamp, Transformer,
};
use mlp::data::{
    DatasetVersion, FeatureSet, FeatureSetSpec, FeatureStore, InferOptions, RowOrder, Schema, Table,
};
use mlp::eval::{EvalStoreExt, Filter, NewEvaluation, Stage};
use mlp::lineage::{
    ArtifactStoreExt, EnvironmentCapture, FeatureSource, LineageStoreExt, Record, capture_code,
    diff, verify_artifacts, verify_chain,
};
use mlp::models::{
    DecisionTree, DummyClassifier, LogisticRegression, RandomForest, StandardScaler, family,
};
use mlp::select::{
    CrossValidation, Fold, Kind, Ladder, RfeCv, Rule, Score, Scorer, Split, StratifiedKFold,
};
use mlp::tune::{Budget, Journal, RandomSampler, Study, TrialError, TrialObserver, TrialRecord};
use parking_lot::Mutex;

use crate::data::{Source, with_classes};
use crate::report::Report;
use crate::store::Stores;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What development hands to production.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) features: Arc<FeatureSet>,
    pub(crate) train: Table,
    pub(crate) traffic: Table,
    pub(crate) train_version: DatasetVersion,
    pub(crate) family: Arc<dyn ModelFamily>,
    pub(crate) tuned: Params,
    pub(crate) champion: Arc<dyn FittedModel>,
    pub(crate) challenger: Arc<dyn FittedModel>,
    pub(crate) champion_record: Record,
    pub(crate) challenger_record: Record,
}

/// The three parts of the data, with features.
struct Parts {
    train: Table,
    test: Table,
    traffic: Table,
}

pub(crate) fn develop(
    source: &Source,
    seed: u64,
    evaluations: &Stores,
    report: &mut Report,
) -> Result<Made> {
    let clock = Arc::new(ManualClock::new("2026-01-01T09:00:00Z".parse::<Timestamp>()?));
    let (parts, version) = validate(source, seed, &clock, report)?;
    let features = FeatureStore::new();
    let all = compute_features(&source.name, &features, &parts, report)?;
    let train = all.compute(&parts.train)?;
    let folds = StratifiedKFold::new(5).shuffled(seed).split(&train.samples()?)?;

    let family = climb(&train, &folds, evaluations, &version, &clock, seed, report)?;
    let chosen = eliminate(&*family, &train, &features, &all, seed, report)?;
    let train = chosen.compute(&parts.train)?;
    let tuned = tune(&family, &train, &folds, evaluations, &version, &clock, seed, report)?;

    let (default, tuned_estimator) = (family.build(&Params::new())?, family.build(&tuned)?);
    let champion = default.fit(train.samples()?, seed)?;
    let challenger = tuned_estimator.fit(train.samples()?, seed)?;
    let test = chosen.compute(&parts.test)?;
    evaluate(
        &[("default", &champion), ("tuned", &challenger)],
        &test,
        evaluations,
        &version,
        &clock,
        report,
    )?;

    let lineage = Lineage {
        clock: &clock,
        version: &version,
        features: &chosen,
        family: &*family,
        seed,
        stores: evaluations,
    };
    let records = lineage.record(
        &source.name,
        [("default", Params::new(), &champion), ("tuned", tuned.clone(), &challenger)],
        report,
    )?;
    let [champion_record, challenger_record] = records;
    Ok(Made {
        name: source.name.clone(),
        clock,
        features: chosen,
        train: parts.train,
        traffic: parts.traffic,
        train_version: version,
        family,
        tuned,
        champion,
        challenger,
        champion_record,
        challenger_record,
    })
}

fn validate(
    source: &Source,
    seed: u64,
    clock: &ManualClock,
    report: &mut Report,
) -> Result<(Parts, DatasetVersion)> {
    report.stage("Data: validate and version");
    let raw = &source.raw;
    report.line(
        "source",
        format!("{}: {} rows, {} features", source.about, raw.n_rows(), raw.n_features()),
    );
    let found = DatasetVersion::of(raw, &source.name, "raw", RowOrder::Matters, clock.now());
    let distinct = raw.drop_duplicates();
    report.decision(format!(
        "{} duplicate rows are dropped: a copy in training and test would flatter every score",
        distinct.dropped
    ));
    let (table, target) = with_classes(&distinct.table)?;
    report.line("target", target);
    let samples = table.samples()?;
    let (labels, classes) = samples.classes()?;
    let count = |class: usize| labels.iter().filter(|&&label| label == class).count();
    let counts: Vec<String> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| format!("{name} {}", count(class)))
        .collect();
    report.line("classes", counts.join(", "));

    let schema = Schema::infer(&table, &InferOptions::new())?;
    let violations = schema.validate(&table)?;
    report.check(
        "every row keeps the schema inferred from it (type, range, missing values)",
        violations.is_valid(),
    );
    let mut broken = table.features().to_owned();
    broken[[0, 0]] = f64::NAN;
    let broken = table.clone().replace_features(table.names().to_vec(), broken)?;
    report.check("a row with NaN does not", !schema.validate(&broken)?.is_valid());

    let version = DatasetVersion::of(&table, &source.name, "1", RowOrder::Matters, clock.now())
        .derived_from(&found, format!("{} duplicate rows dropped", distinct.dropped));
    report.line("version", version.reference());
    report.check(
        "the fingerprint is that of the content",
        version.verify(&table).is_ok() && version.verify(&broken).is_err(),
    );

    // Half of the rows to learn from, a quarter to test on, a quarter to come as traffic.
    let quarters = StratifiedKFold::new(4).shuffled(seed).split(&samples)?;
    let mut train = [&quarters[2].test[..], &quarters[3].test[..]].concat();
    train.sort_unstable();
    let part = |rows: &[usize]| table.select_rows(rows);
    let parts = Parts {
        train: part(&train)?,
        test: part(&quarters[0].test)?,
        traffic: part(&quarters[1].test)?,
    };
    let rows = (parts.train.n_rows(), parts.test.n_rows(), parts.traffic.n_rows());
    report.line(
        "split",
        format!(
            "{} rows to learn from, {} to test on, {} to come as traffic",
            rows.0, rows.1, rows.2
        ),
    );
    Ok((parts, version))
}

fn compute_features(
    name: &str,
    store: &FeatureStore,
    parts: &Parts,
    report: &mut Report,
) -> Result<Arc<FeatureSet>> {
    report.stage("Features: the same offline and online");
    let scaler = StandardScaler.fit(parts.train.samples()?, 0)?;
    let scale = store.register_transform("standard_scale", scaler)?;
    let spec = FeatureSetSpec::new(parts.train.names().to_vec())
        .with_transform(&scale)
        .with_features(parts.train.names().to_vec());
    let set = store.register_set(name, spec)?;
    report.line(
        "transform",
        format!("{scale}, fitted on the {} rows to learn from", parts.train.n_rows()),
    );
    report.line("feature set", format!("{}: {} features", set.name(), set.spec().features.len()));
    let offline = set.compute(&parts.traffic)?;
    let mut row = vec![0.0; set.spec().features.len()];
    let mut scratch = mlp::core::Scratch::new();
    let mut differing = 0;
    for (raw, computed) in
        parts.traffic.features().rows().into_iter().zip(offline.features().rows())
    {
        set.compute_row(&raw.to_vec(), &mut row, &mut scratch)?;
        differing += row
            .iter()
            .zip(computed)
            .filter(|(online, offline)| online.to_bits() != offline.to_bits())
            .count();
    }
    report.check(
        &format!("offline and online features differ in 0 bits over {} rows", offline.n_rows()),
        differing == 0,
    );
    Ok(set)
}

/// The rungs of the ladder, and the family that each belongs to.
const RUNGS: [(&str, &str); 3] = [
    ("logistic regression", "logistic_regression"),
    ("decision tree", "decision_tree"),
    ("random forest", "random_forest"),
];

fn climb(
    train: &Table,
    folds: &[Fold],
    evaluations: &Stores,
    version: &DatasetVersion,
    clock: &ManualClock,
    seed: u64,
    report: &mut Report,
) -> Result<Arc<dyn ModelFamily>> {
    report.stage("Start simple: the ladder");
    let ladder = Ladder::new(Score::RocAuc)
        .baseline("most frequent class", DummyClassifier::most_frequent())
        .rung(RUNGS[0].0, LogisticRegression::default())
        .rung(RUNGS[1].0, DecisionTree::default().with_min_leaf(5))
        .rung(RUNGS[2].0, RandomForest::default());
    let climbed = ladder.climb(
        &train.samples()?,
        &Given(folds.to_vec()),
        &CrossValidation::default().with_seed(seed),
    )?;
    report.block(format!(
        "{:<20} {:>9} {:>9} {:>9}   {:>9} {:>9}",
        "rung", climbed.metric, "std error", "numbers", "fit ms", "µs a row"
    ));
    for rung in &climbed.rungs {
        let (Some(summary), Some(complexity), Ok(validated)) =
            (rung.summary(), rung.complexity(), &rung.validated)
        else {
            continue;
        };
        report.block(format!(
            "{:<20} {:>9.4} {:>9.4} {:>9}   {:>9.1} {:>9.2}",
            rung.name,
            summary.mean,
            summary.standard_error,
            complexity.parameters,
            validated.fit_time().as_secs_f64() * 1e3,
            validated.time_per_row().as_secs_f64() * 1e6
        ));
        let evaluation = NewEvaluation::new(
            evaluations.experiment("ladder"),
            Stage::CrossValidation,
            clock.now(),
        )
        .with_tag("rung", &rung.name)
        .with_dataset(version.reference())
        .with_metric(&climbed.metric, summary.mean)
        .with_metric("std_error", summary.standard_error);
        evaluations.store().log(evaluation, clock.now())?;
    }
    report.decision(climbed.verdict());
    report.check("a model beats the baseline", climbed.chosen().kind == Kind::Model);
    let name = RUNGS
        .iter()
        .find(|(rung, _)| *rung == climbed.chosen().name)
        .map_or("logistic_regression", |(_, family)| family);
    Ok(family(name).ok_or("the family of the chosen rung")?)
}

/// Folds that are there already.
#[derive(Debug)]
struct Given(Vec<Fold>);

impl Split for Given {
    fn split(
        &self,
        _: &mlp::core::Samples<'_>,
    ) -> std::result::Result<Vec<Fold>, mlp::select::SelectError> {
        Ok(self.0.clone())
    }
}

fn eliminate(
    family: &dyn ModelFamily,
    train: &Table,
    store: &FeatureStore,
    all: &FeatureSet,
    seed: u64,
    report: &mut Report,
) -> Result<Arc<FeatureSet>> {
    report.stage("Features that earn their place: recursive elimination");
    // A forest of a few trees ranks features as well as a large one, and the elimination fits hundreds.
    let (estimator, step): (Arc<dyn Estimator>, usize) = match family.name() {
        "random_forest" => (
            Arc::new(RandomForest::default().with_trees(25).with_min_leaf(3)),
            train.n_features().div_ceil(15),
        ),
        _ => (family.build(&Params::new())?, 1),
    };
    let rfecv = RfeCv::new(estimator, Score::RocAuc)
        .with_rule(Rule::OneStandardError)
        .with_step(mlp::select::Step::Count(step));
    report.line(
        "cost",
        format!(
            "at most {} fits, 5 folds, {step} feature(s) a step",
            rfecv.fits(train.n_features(), 5)?
        ),
    );
    let found = rfecv.run(
        &train.samples()?,
        &StratifiedKFold::new(5).shuffled(seed),
        &CrossValidation::default().with_seed(seed),
    )?;
    report.block(&found);
    report.block(&found.elimination);
    let kept = found.elimination.kept_names();
    report.decision(format!(
        "{} of {} features: the fewest within one standard error of the best number",
        kept.len(),
        train.n_features()
    ));
    let removed: usize = found.elimination.log().iter().map(|step| step.removed.len()).sum();
    report.check(
        "the log and the survivors are all the features",
        removed + kept.len() == train.n_features(),
    );
    let selected = store.register_selection(all.name(), &kept)?;
    report.line("feature set", format!("{}, kept as a version of its own", selected.name()));
    Ok(selected)
}

/// Logs every trial to the evaluation store: the one place where studies and evaluations meet.
#[derive(Debug)]
struct TrialLog {
    evaluations: Stores,
    version: DatasetVersion,
    clock: Arc<ManualClock>,
    failed: Mutex<Option<String>>,
}

impl TrialObserver for TrialLog {
    fn trial_finished(&self, study: &str, trial: &TrialRecord) {
        let experiment = self.evaluations.experiment(study);
        let mut evaluation =
            NewEvaluation::new(experiment, Stage::CrossValidation, self.clock.now())
                .with_params((*trial.params).clone())
                .with_dataset(self.version.reference())
                .with_tag("trial", trial.number.to_string());
        if let Some(value) = trial.value() {
            evaluation = evaluation.with_metric("roc_auc", value);
        }
        if let Err(error) = self.evaluations.store().log(evaluation, self.clock.now()) {
            *self.failed.lock() = Some(error.to_string());
        }
    }
}

const TRIALS: u64 = 16;

#[expect(clippy::too_many_arguments, reason = "one call of one stage")]
fn tune(
    family: &Arc<dyn ModelFamily>,
    train: &Table,
    folds: &[Fold],
    evaluations: &Stores,
    version: &DatasetVersion,
    clock: &Arc<ManualClock>,
    seed: u64,
    report: &mut Report,
) -> Result<Params> {
    report.stage("Tune: a study that survives an interruption");
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("study.log");
    let samples = train.samples()?;
    let observer = Arc::new(TrialLog {
        evaluations: evaluations.clone(),
        version: version.clone(),
        clock: Arc::clone(clock),
        failed: Mutex::default(),
    });
    let run = |trials: u64| -> Result<(Params, f64, u64)> {
        let study = Study::new(family.search_space(), Direction::Maximize)
            .with_name("tuning")
            .with_sampler(RandomSampler::new())
            .with_seed(seed)
            .with_store(Arc::new(Journal::open(&path)?))
            .with_observer(observer.clone());
        study.optimize(
            |trial| {
                let estimator = family
                    .build(trial.params())
                    .map_err(|error| TrialError::failed(error.to_string()))?;
                let validation = CrossValidation::default().with_seed(seed);
                let validated =
                    validation.run_folds(&*estimator, &samples, folds, &[&Score::RocAuc]);
                let validated = validated.map_err(|error| TrialError::failed(error.to_string()))?;
                let summary = validated.summary(Score::RocAuc.name());
                summary.map(|summary| summary.mean).ok_or_else(|| TrialError::failed("no score"))
            },
            Budget::total_trials(trials),
        )?;
        let best = study.best()?;
        Ok(((*best.params).clone(), best.value().unwrap_or(f64::NAN), study.trials()?.len() as u64))
    };
    let (_, first, done) = run(TRIALS / 2)?;
    report.line(
        "first half",
        format!(
            "{done} trials of {}, best roc_auc {first:.4}; then the process stops",
            family.name()
        ),
    );
    let (params, best, done) = run(TRIALS)?;
    report.line("resumed", format!("{done} trials in the journal, best roc_auc {best:.4}"));
    report.check(
        &format!("{TRIALS} trials in all, none of them twice"),
        done == TRIALS && best >= first,
    );
    report.check("every trial was logged", observer.failed.lock().is_none());
    let logged = evaluations
        .store()
        .best(
            &Filter::experiment(evaluations.experiment("tuning")),
            "roc_auc",
            Direction::Maximize,
        )?
        .ok_or("a best trial")?;
    report.check("the evaluation store names the same best trial", logged.params == params);
    report.check(
        "its score is traceable to the fingerprint of the data",
        logged.dataset == Some(version.reference()),
    );
    report.decision(format!("{} with {params}", family.name()));
    Ok(params)
}

fn evaluate(
    models: &[(&str, &Arc<dyn FittedModel>)],
    test: &Table,
    evaluations: &Stores,
    version: &DatasetVersion,
    clock: &ManualClock,
    report: &mut Report,
) -> Result<()> {
    report.stage("Evaluate: rows that nothing was learnt from");
    let (samples, scorers) =
        (test.samples()?, [Score::RocAuc, Score::Accuracy, Score::F1Macro, Score::LogLoss]);
    let mut logged = Vec::new();
    for (name, model) in models {
        let predictions = model.predict(test.features())?;
        let mut evaluation =
            NewEvaluation::new(evaluations.experiment("test"), Stage::Test, clock.now())
                .with_tag("model", *name)
                .with_dataset(version.reference());
        for scorer in &scorers {
            evaluation =
                evaluation.with_metric(scorer.name(), scorer.score(&samples, predictions.view())?);
        }
        logged.push(evaluations.store().log(evaluation, clock.now())?);
    }
    let labels = models.iter().map(|(name, _)| (*name).to_owned()).collect();
    report.block(evaluations.store().compare(&logged)?.with_labels(labels));
    let best = evaluations
        .store()
        .best(&Filter::experiment(evaluations.experiment("test")), "roc_auc", Direction::Maximize)?
        .ok_or("a best model")?;
    report.line("best on the test", best.tags.get("model").map_or("", String::as_str));
    evaluations.compare_runs(report)
}

/// What the records of both models have in common.
struct Lineage<'a> {
    clock: &'a ManualClock,
    version: &'a DatasetVersion,
    features: &'a FeatureSet,
    family: &'a dyn ModelFamily,
    seed: u64,
    stores: &'a Stores,
}

impl Lineage<'_> {
    fn record(
        &self,
        name: &str,
        models: [(&str, Params, &Arc<dyn FittedModel>); 2],
        report: &mut Report,
    ) -> Result<[Record; 2]> {
        report.stage("Trace: what made each model");
        let Stores { lineage: store, registry, artifacts, .. } = self.stores;
        let model_name: ModelName = name.parse()?;
        let before = store.records_of(&model_name)?;
        let (code, environment) =
            (capture_code(env!("CARGO_MANIFEST_DIR")), EnvironmentCapture::new().capture()?);
        let mut records = Vec::new();
        for (parameters, params, model) in models {
            let artifact = artifacts.put_bytes(&model.save()?.to_bytes())?;
            let content = artifact.hash.short();
            let size = artifact.size;
            // The record refers to the dataset version; its summary of every column is kept beside the model.
            let dataset = artifacts.put_bytes(&serde_json::to_vec(self.version)?)?;
            let record = Record::new(model_name.clone(), self.clock.now())
                .with_description(format!("{parameters} parameters"))
                .with_dataset("train", self.version.reference())
                .with_artifact("dataset version", dataset)
                .with_features(self.feature_source())
                .with_code(code.clone())
                .with_environment(environment.clone())
                .with_configuration(params.with("family", self.family.name()))
                .with_seed("everything", self.seed)
                .with_artifact("model", artifact);
            store.record(record.clone())?;
            let version = registry.register(&model_name, record.id, self.clock.now())?;
            report.line(&format!("{name} {version}"), format!("{size} bytes, content {content}"));
            records.push(record);
        }
        for change in diff(&records[0], &records[1]) {
            let show = |value: &Option<serde_json::Value>| {
                value.as_ref().map_or_else(|| "(default)".to_owned(), short)
            };
            report.line(
                "changed",
                format!("{}: {} -> {}", change.path, show(&change.before), show(&change.after)),
            );
        }
        self.stores.diff_runs(&before, &records, report);
        let mut entries = store.all_entries()?;
        report.check("the chain of records is whole", verify_chain(&entries, None)?.is_none());
        report.check(
            "the artifacts are what they were",
            verify_artifacts(&[before, records.clone()].concat(), &**artifacts)?.is_intact(),
        );
        entries.swap(0, 1);
        report.check("swapped records are found", verify_chain(&entries, None)?.is_some());
        let [first, second] = records.try_into().map_err(|_| "two records")?;
        Ok([first, second])
    }

    fn feature_source(&self) -> FeatureSource {
        let transforms = self.features.spec().transforms.iter().map(ToString::to_string).collect();
        let name = self.features.name();
        FeatureSource {
            name: name.name().to_owned(),
            version: name.version().to_string(),
            transforms,
        }
    }
}

fn short(value: &serde_json::Value) -> String {
    value.to_string().chars().take(24).collect()
}
