//! Where capabilities meet: each meeting that the design foresees, in a few lines that compile and run.

use std::sync::Arc;
use std::time::Duration;

use mlp::core::{
    Dimension, Direction, Estimator, ManualClock, MetricSource, Metrics, Model, ModelError,
    ModelExt, Outcome, OutcomeStatus, Reading, RequestKey, Router, Samples, SearchSpace, Servable,
    Signal, SourceError, Target, Timestamp, VersionNumber, VersionSource,
};
use mlp::data::{DatasetVersion, RowOrder, Table};
use mlp::eval::{EvalStoreExt, Filter, InMemoryEvalStore, NewEvaluation, Stage};
use mlp::models::{DecisionTree, LogisticRegression, Pipeline, StandardScaler};
use mlp::rollback::{
    CanaryPlan, Change, Deployment, DeploymentConfig, Share, Trigger, VersionBundle,
};
use mlp::select::{CrossValidation, Rfe, Score, StratifiedKFold};
use mlp::serve::Server;
use mlp::tune::{Budget, RandomSampler, Study, TrialObserver, TrialRecord};
use ndarray::Array2;
use parking_lot::Mutex;

/// Two classes told apart by the first of three features.
fn table() -> Table {
    let features =
        Array2::from_shape_fn((90, 3), |(row, column)| ((row * (7 + column * 4)) % 23) as f64);
    let labels = features.column(0).iter().map(|&value| usize::from(value > 11.0)).collect();
    let table = Table::new(["signal", "noise", "more noise"], features).unwrap();
    table.with_classes("kind", labels, ["low", "high"]).unwrap()
}

fn model() -> Arc<dyn Model> {
    DecisionTree::default().fit(table().samples().unwrap(), 1).unwrap()
}

/// Answers with the length of a text, or fails: nothing tabular about it.
#[derive(Debug)]
struct Length {
    fails: bool,
}

impl Servable for Length {
    type Input = String;
    type Output = usize;

    fn run(&self, batch: &[String], out: &mut Vec<usize>) -> Result<(), ModelError> {
        if self.fails {
            return Err(ModelError::failed("broken"));
        }
        out.extend(batch.iter().map(String::len));
        Ok(())
    }
}

/// A deployment of texts' lengths and the server that it steers.
fn deployed() -> (Arc<Deployment<Length>>, Server<Length>, VersionNumber) {
    let deployment =
        Arc::new(Deployment::<Length>::new(DeploymentConfig::default().with_seed(7)).unwrap());
    let server = Server::routed(Arc::clone(&deployment) as Arc<dyn Router>).unwrap();
    deployment.attach(&server.host());
    let version = register(&deployment, false);
    deployment.deploy(version, &Change::by("test")).unwrap();
    (deployment, server, version)
}

fn register(deployment: &Deployment<Length>, fails: bool) -> VersionNumber {
    let source = VersionSource::new(move || Ok(Arc::new(Length { fails })));
    deployment.register(VersionBundle::new("length"), source, &Change::by("test")).unwrap()
}

#[test]
fn a_server_over_a_router_serves_any_servable() {
    let (_deployment, server, version) = deployed();
    let answer = server.predict("four".to_owned()).unwrap();
    assert_eq!((answer.output, answer.version), (4, version));
    let rows = Server::fixed(VersionNumber(3), VersionSource::shared(model())).unwrap();
    assert_eq!(rows.predict(vec![20.0, 0.0, 0.0]).unwrap().output, [0.0, 1.0]);
}

#[test]
fn a_deployment_steers_its_host() {
    let (deployment, server, first) = deployed();
    let second = register(&deployment, false);
    deployment.deploy(second, &Change::by("test")).unwrap();
    assert!(server.host().health(second).is_ready());
    assert_eq!(server.predict("x".to_owned()).unwrap().version, second);
    deployment.rollback(&Change::by("test")).unwrap();
    assert_eq!(server.predict("x".to_owned()).unwrap().version, first);
}

#[test]
fn a_rollback_leaves_the_previous_version_serving() {
    let (deployment, server, first) = deployed();
    let broken = register(&deployment, true);
    deployment
        .start_canary(
            broken,
            CanaryPlan::fixed(Share::percent(50.0).unwrap()).unwrap(),
            &Change::by("test"),
        )
        .unwrap();
    let failed = (0..200).filter(|_| server.predict("x".to_owned()).is_err()).count();
    assert!((1..=20).contains(&failed), "{failed} requests failed");
    assert_eq!(deployment.active(), Some(first));
    assert!(
        (0..200)
            .all(|_| server.predict("x".to_owned()).is_ok_and(|answer| answer.version == first))
    );
}

#[test]
fn a_canary_gets_the_share_that_was_asked() {
    let (deployment, server, _) = deployed();
    let canary = register(&deployment, false);
    for percent in [5.0, 25.0] {
        deployment
            .start_canary(
                canary,
                CanaryPlan::fixed(Share::percent(percent).unwrap()).unwrap(),
                &Change::by("test"),
            )
            .unwrap();
        let n = 4_000;
        let given = (0..n)
            .filter(|_| server.predict("x".to_owned()).unwrap().version == canary)
            .count() as f64;
        let (mean, deviation) = (
            f64::from(n) * percent / 100.0,
            (f64::from(n) * percent / 100.0 * (1.0 - percent / 100.0)).sqrt(),
        );
        assert!((given - mean).abs() < 4.0 * deviation, "{given} of {n} for {percent} %");
        deployment.abort(canary, &Change::by("test")).unwrap();
    }
}

/// Says that half of a version's predictions were wrong.
#[derive(Debug)]
struct HalfWrong(VersionNumber);

impl MetricSource for HalfWrong {
    fn read(&self, version: VersionNumber, signal: &Signal) -> Result<Reading, SourceError> {
        match signal {
            Signal::WrongPredictions if version == self.0 => {
                Ok(Reading::Proportion { events: 500, trials: 1_000 })
            }
            Signal::WrongPredictions => Ok(Reading::Proportion { events: 50, trials: 1_000 }),
            _ => Err(SourceError::UnknownSignal { signal: signal.clone() }),
        }
    }
}

#[test]
fn a_trigger_reads_a_metric_source() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let config = DeploymentConfig::default().with_triggers([Trigger::accuracy(0.95)]);
    let builder = Deployment::<Length>::builder(config)
        .clock(clock.clone())
        .metrics(Arc::new(HalfWrong(VersionNumber(2))));
    let deployment = Arc::new(builder.open().unwrap());
    let server = Server::routed(Arc::clone(&deployment) as Arc<dyn Router>).unwrap();
    deployment.attach(&server.host());
    let first = register(&deployment, false);
    deployment.deploy(first, &Change::by("test")).unwrap();
    let canary = register(&deployment, false);
    deployment
        .start_canary(
            canary,
            CanaryPlan::fixed(Share::percent(40.0).unwrap()).unwrap(),
            &Change::by("test"),
        )
        .unwrap();
    for _ in 0..20 {
        clock.advance(Duration::from_secs(3_600));
        deployment.tick();
    }
    assert_eq!(deployment.active(), Some(first));
    let routes = (0..500)
        .filter(|&request| deployment.route(&RequestKey::new(request)).version == canary)
        .count();
    assert_eq!(routes, 0, "the canary still answers");
    assert!(
        deployment
            .history()
            .iter()
            .any(|entry| entry.causes.iter().any(|cause| cause.trigger == "accuracy"))
    );
}

#[test]
fn a_stale_outcome_is_no_evidence_against_a_newer_state() {
    let (deployment, _server, first) = deployed();
    let route = deployment.route(&RequestKey::new(1));
    assert_eq!(route.version, first);
    deployment.observe(&Outcome::new(&route, OutcomeStatus::Answered, Duration::from_millis(1)));
    let second = register(&deployment, false);
    deployment.deploy(second, &Change::by("test")).unwrap();
    assert!(deployment.route(&RequestKey::new(1)).generation > route.generation);
}

/// Logs each trial to an evaluation store.
#[derive(Debug)]
struct Log(Arc<InMemoryEvalStore>, DatasetVersion, Mutex<Vec<String>>);

impl TrialObserver for Log {
    fn trial_finished(&self, study: &str, trial: &TrialRecord) {
        let metrics: Metrics = trial.value().map(|value| ("accuracy", value)).into_iter().collect();
        let evaluation = NewEvaluation::new(study, Stage::CrossValidation, Timestamp::UNIX_EPOCH)
            .with_dataset(self.1.reference())
            .with_params((*trial.params).clone())
            .with_metrics(metrics);
        if let Err(error) = self.0.log(evaluation, Timestamp::UNIX_EPOCH) {
            self.2.lock().push(error.to_string());
        }
    }
}

#[test]
fn a_study_reports_to_an_observer_and_a_tuned_model_is_traceable_to_its_data() {
    let (table, store) = (table(), Arc::new(InMemoryEvalStore::new()));
    let version =
        DatasetVersion::of(&table, "kinds", "1", RowOrder::Matters, Timestamp::UNIX_EPOCH);
    let log = Arc::new(Log(Arc::clone(&store), version.clone(), Mutex::default()));
    let space = SearchSpace::new([Dimension::int("max_depth", 1, 6)]).unwrap();
    let study = Study::new(space, Direction::Maximize)
        .with_name("depth")
        .with_sampler(RandomSampler::new())
        .with_observer(log.clone());
    study
        .optimize(
            |trial| {
                let tree = DecisionTree::default().with_max_depth(trial.int("max_depth")? as usize);
                let validated = CrossValidation::default().run(
                    &tree,
                    &table.samples()?,
                    &StratifiedKFold::new(3),
                    &[&Score::Accuracy],
                )?;
                Ok(validated.summary("accuracy").map_or(f64::NAN, |summary| summary.mean))
            },
            Budget::trials(6),
        )
        .unwrap();
    assert!(log.2.lock().is_empty());
    let best =
        store.best(&Filter::experiment("depth"), "accuracy", Direction::Maximize).unwrap().unwrap();
    assert_eq!(best.params, *study.best().unwrap().params);
    assert_eq!(best.dataset.unwrap().fingerprint, table.fingerprint(RowOrder::Matters));
    assert!(version.verify(&table).is_ok());
}

#[test]
fn an_elimination_is_a_step_of_a_pipeline() {
    let table = table();
    let rfe = Rfe::new(Arc::new(LogisticRegression::default()), 1);
    let pipeline = Pipeline::of(LogisticRegression::default())
        .after("scale", StandardScaler)
        .after("eliminate", rfe);
    let validated = CrossValidation::default().run(
        &pipeline,
        &table.samples().unwrap(),
        &StratifiedKFold::new(3),
        &[&Score::Accuracy],
    );
    assert!(validated.unwrap().summary("accuracy").unwrap().mean > 0.9);
    let model = pipeline.fit(table.samples().unwrap(), 0).unwrap();
    let importances = model.importances().unwrap();
    assert!(
        importances[0] > 0.0 && importances[1] == 0.0 && importances[2] == 0.0,
        "{importances:?}"
    );
}

#[test]
fn the_rows_tested_change_nothing_that_a_fold_learns() {
    let table = table();
    let train: Vec<usize> = (0..60).collect();
    let fit = |features: &Array2<f64>| {
        let samples = table.samples().unwrap();
        let (labels, names) = samples.classes().unwrap();
        let changed = Samples::new(
            features.view(),
            samples.names(),
            Target::Classes { labels: &labels, names },
        )
        .unwrap();
        let rfe = Rfe::new(Arc::new(LogisticRegression::default()), 2);
        let pipeline = Pipeline::of(LogisticRegression::default())
            .after("scale", StandardScaler)
            .after("eliminate", rfe);
        let model = pipeline.fit(changed.with_rows(&train).unwrap(), 0).unwrap();
        model.predict(table.features()).unwrap()
    };
    let original = table.features().to_owned();
    let mut changed = original.clone();
    changed.slice_mut(ndarray::s![60.., ..]).fill(1e6);
    assert_eq!(fit(&original), fit(&changed));
    changed.slice_mut(ndarray::s![..1, ..]).fill(1e6);
    assert_ne!(fit(&original), fit(&changed), "the control: a row learnt from does matter");
}
