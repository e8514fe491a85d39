//! From a model to a service that can be trusted: serve, compare, break, drift, roll back, retrain.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use mlp::core::{
    Clock, FittedModel, Labels, ManualClock, Model, ModelError, ModelExt, PredictionLog, Router,
    Scratch, Severity, Signature, VersionNumber, VersionSource,
};
use mlp::data::{DatasetVersion, RowCodec, RowOrder, Table};
use mlp::monitor::{
    AlertConfig, AlertManager, AlertRoute, ChangeDirection, DriftConfig, DriftReference, Limit,
    MemorySink, Observation, PerformanceConfig, PerformanceMonitor, PredictionLogs, Rule,
    RuleEngine, Scoring, TrafficWindow, Truth,
};
use mlp::rollback::{CanaryPlan, Change, Deployment, DeploymentConfig, Share, VersionBundle};
use mlp::serve::{ServeError, ServeOptions, Server};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

use crate::development::Made;
use crate::report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The share of the traffic that a new version gets.
const CANARY_PERCENT: f64 = 20.0;

/// Everything that runs in production, and how much of the traffic has come.
struct Production<'a> {
    made: &'a Made,
    deployment: Arc<Deployment<dyn Model>>,
    server: Server<dyn Model>,
    performance: Arc<PerformanceMonitor>,
    window: Arc<TrafficWindow>,
    rules: RuleEngine,
    alerts: AlertManager,
    on_call: Arc<MemorySink>,
    codec: RowCodec,
    sequence: u64,
}

/// What came of some traffic.
#[derive(Debug, Default)]
struct Replay {
    requests: u64,
    failed: u64,
    right: u64,
    to: BTreeMap<VersionNumber, u64>,
}

pub(crate) fn serve(made: &Made, seed: u64, report: &mut Report) -> Result<()> {
    let mut production = Production::start(made, seed)?;
    let (champion, challenger) = production.champion_and_challenger(report)?;
    let active = production.decide(champion, challenger, report)?;
    production.broken_challenger(active, report)?;
    let shifted = production.drift(active, report)?;
    production.retrain(active, &shifted, seed, report)?;
    let drained = production.server.drain(Duration::from_secs(5));
    report.line("drained", format!("{drained:?}"));
    Ok(())
}

impl<'a> Production<'a> {
    fn start(made: &'a Made, seed: u64) -> Result<Self> {
        let clock: Arc<ManualClock> = Arc::clone(&made.clock);
        // True outcomes come right after the predictions here, so each counts at once.
        let performance = PerformanceMonitor::new(
            PerformanceConfig::default().with_scoring(Scoring::AtOnce),
            clock.clone(),
        )?;
        let (performance, window) = (Arc::new(performance), Arc::new(TrafficWindow::new(2_000)?));
        let config = DeploymentConfig::default().with_name(&made.name).with_seed(seed);
        let deployment = Arc::new(
            Deployment::builder(config).clock(clock.clone()).metrics(performance.clone()).open()?,
        );
        let logs: Vec<Arc<dyn PredictionLog>> = vec![performance.clone(), window.clone()];
        let server = Server::builder()
            .with_options(ServeOptions::default().with_replicas(2))
            .with_clock(clock.clone())
            .with_log(Arc::new(PredictionLogs::new(logs)))
            .routed(Arc::clone(&deployment) as Arc<dyn Router>)?;
        deployment.attach(&server.host());
        let on_call = Arc::new(MemorySink::new());
        let routes = [Severity::P0, Severity::P1, Severity::P2]
            .map(|severity| AlertRoute::of(severity, ["on-call"]).with_group_wait(Duration::ZERO));
        let config = routes.into_iter().fold(AlertConfig::new("on-call"), AlertConfig::with_route);
        let sinks = [("on-call", Arc::clone(&on_call) as Arc<dyn mlp::core::AlertSink>)];
        let alerts = AlertManager::new(config, sinks, clock.clone())?;
        let rules = RuleEngine::new(rules()?, clock)?;
        Ok(Self {
            made,
            deployment,
            server,
            performance,
            window,
            rules,
            alerts,
            on_call,
            codec: RowCodec::new(&Signature::regressor(
                made.features.spec().inputs.clone(),
                "target",
            )),
            sequence: 0,
        })
    }

    fn register(&self, name: &str, model: Arc<dyn Model>) -> Result<VersionNumber> {
        let bundle =
            VersionBundle::new(name).with_feature_set(self.made.features.name().to_string());
        Ok(self.deployment.register(
            bundle,
            VersionSource::shared(model),
            &Change::by("lifecycle"),
        )?)
    }

    /// Sends rows again and again until this many requests were made, and tells the monitor what was true.
    ///
    /// A request is what a client sends: a JSON object with the names of the raw columns. The codec makes it a row, or lists everything that
    /// is wrong with it; the feature set computes from it what the model was trained on.
    fn replay(&mut self, rows: &Table, requests: u64) -> Result<Replay> {
        let features = Arc::clone(&self.made.features);
        let inputs = rows.select_columns(&features.spec().inputs)?;
        let samples = rows.samples()?;
        let (labels, _) = samples.classes()?;
        let (mut replay, mut scratch) = (Replay::default(), Scratch::new());
        let mut computed = vec![0.0; features.spec().features.len()];
        while replay.requests < requests {
            let row = (self.sequence % rows.n_rows() as u64) as usize;
            self.sequence += 1;
            replay.requests += 1;
            self.made.clock.advance(Duration::from_millis(20));
            let object = self.codec.decode_object(&inputs.features().row(row).to_vec())?;
            let request = serde_json::to_string(&object)?;
            let named = self.codec.encode_json(&request)?;
            features.compute_row(&named, &mut computed, &mut scratch)?;
            match self.server.predict(computed.clone()) {
                Ok(answer) => {
                    *replay.to.entry(answer.version).or_default() += 1;
                    let top = |a: usize, b: usize| {
                        if answer.output[b] > answer.output[a] { b } else { a }
                    };
                    replay.right +=
                        u64::from((0..answer.output.len()).reduce(top) == Some(labels[row]));
                    self.performance.outcome(answer.id, Truth::Class(labels[row]));
                }
                Err(ServeError::ModelFailed { .. } | ServeError::ModelPanicked { .. }) => {
                    replay.failed += 1
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(replay)
    }

    fn accuracy(&self, version: VersionNumber) -> f64 {
        let performance = self.performance.performance(version);
        performance.and_then(|performance| performance.scored.accuracy()).unwrap_or(f64::NAN)
    }

    fn champion_and_challenger(
        &mut self,
        report: &mut Report,
    ) -> Result<(VersionNumber, VersionNumber)> {
        report.stage("Serve: champion and challenger behind one router");
        let inputs = &self.made.features.spec().inputs;
        report.line("a request", format!("a JSON object of {} names", inputs.len()));
        let misspelt = format!("{{\"{}?\": 1}}", inputs[0]);
        let problems = self.codec.encode_json(&misspelt).unwrap_err().to_string();
        report.check(
            "a misspelt request names what is unknown and what is missing",
            problems.contains("is unknown") && problems.contains("is missing"),
        );
        let by = Change::by("lifecycle");
        let champion = self.register("champion: default parameters", self.made.champion.clone())?;
        self.deployment.deploy(champion, &by)?;
        let challenger =
            self.register("challenger: tuned parameters", self.made.challenger.clone())?;
        self.deployment.start_canary(
            challenger,
            CanaryPlan::fixed(Share::percent(CANARY_PERCENT)?)?,
            &by,
        )?;
        let lineage = [&self.made.champion_record, &self.made.challenger_record];
        for (version, record) in [champion, challenger].into_iter().zip(lineage) {
            let artifact = record
                .artifacts
                .get("model")
                .map_or_else(String::new, |artifact| artifact.hash.short());
            report.line(
                &version.to_string(),
                format!("content {artifact}, {:?}", self.server.host().health(version).lifecycle),
            );
        }
        let replay = self.replay(&self.made.traffic, 4_000)?;
        let to = replay.to.get(&challenger).copied().unwrap_or(0);
        report.line(
            "traffic",
            format!("{} requests, {to} of them to the challenger", replay.requests),
        );
        let (asked, n) = (CANARY_PERCENT / 100.0, replay.requests as f64);
        let bound = 4.0 * (asked * (1.0 - asked) / n).sqrt();
        let given = to as f64 / n;
        report.check(
            &format!("its share is what was asked: {given:.4} is {asked} within {bound:.4}, four standard deviations"),
            (given - asked).abs() <= bound,
        );
        report.check("no request failed", replay.failed == 0);
        Ok((champion, challenger))
    }

    fn decide(
        &self,
        champion: VersionNumber,
        challenger: VersionNumber,
        report: &mut Report,
    ) -> Result<VersionNumber> {
        let (old, new) = (self.accuracy(champion), self.accuracy(challenger));
        report.line(
            "accuracy",
            format!("champion {old:.4}, challenger {new:.4}, on the true outcomes of the traffic"),
        );
        let by = Change::by("lifecycle");
        if new >= old {
            self.deployment
                .promote(challenger, &by.because("at least as accurate on live traffic"))?;
            report.decision(format!(
                "the challenger {challenger} is promoted: it is at least as accurate"
            ));
            Ok(challenger)
        } else {
            self.deployment.abort(challenger, &by.because("less accurate on live traffic"))?;
            report.decision(format!(
                "the champion {champion} stays: the challenger is less accurate"
            ));
            Ok(champion)
        }
    }

    fn broken_challenger(&mut self, active: VersionNumber, report: &mut Report) -> Result<()> {
        report.stage("Roll back: a challenger that fails");
        let traffic = self.made.features.compute(&self.made.traffic)?;
        let broken = self.register(
            "broken: fails on half of the rows",
            Arc::new(Broken::over(Arc::clone(&self.made.champion), &traffic)),
        )?;
        self.deployment.start_canary(
            broken,
            CanaryPlan::fixed(Share::percent(CANARY_PERCENT)?)?,
            &Change::by("lifecycle"),
        )?;
        let mut seen = Replay::default();
        while self
            .deployment
            .status()
            .version(broken)
            .is_some_and(|status| status.state.is_routed())
            && seen.requests < 2_000
        {
            let one = self.replay(&self.made.traffic, 1)?;
            seen.requests += 1;
            seen.failed += one.failed;
        }
        report.line(
            "failures",
            format!(
                "{} failed requests until the evidence sufficed, {} requests in all",
                seen.failed, seen.requests
            ),
        );
        let story = self.deployment.latest_post_mortem().ok_or("a post-mortem")?;
        report.line("post-mortem", &story.incident);
        report.check(
            "the broken version was rolled back by itself",
            story.incident.from == Some(broken),
        );
        report.check("after few failures", seen.failed <= 20);
        report.check("the version before still serves", self.deployment.active() == Some(active));
        let after = self.replay(&self.made.traffic, 500)?;
        report.check(
            "and no request fails any more",
            after.failed == 0 && after.to.get(&active) == Some(&500),
        );
        Ok(())
    }

    fn drift(&mut self, active: VersionNumber, report: &mut Report) -> Result<Table> {
        report.stage("Monitor: an input that shifts");
        report.line("drifted is", "a difference that chance does not explain (adjusted p, for all columns, up to 0.05) and that matters:");
        report.line("", "a PSI of 0.1 or more, or distribution functions that are 0.05 or more apart (distance)");
        report.line("sizes", "JS is 0 to 1, Wasserstein in standard deviations of the reference: two for a shift by two");
        let reference = self.made.features.compute(&self.made.train)?;
        self.window.clear(active);
        // Each row once: repeated rows are no independent evidence of how features are distributed.
        let rows = self.made.traffic.n_rows() as u64;
        let usual = self.replay(&self.made.traffic, rows)?;
        let quiet = self.judge_drift(active, &reference, &usual, &usual, report)?;
        report.check(
            "unchanged traffic raises no alert",
            quiet.is_empty() && self.on_call.take().is_empty(),
        );

        let (shifted, column) = shift(&self.made.traffic, self.made)?;
        report.line(
            "the shift",
            format!("{column:?} reads two standard deviations too high from now on"),
        );
        self.window.clear(active);
        let now = self.replay(&shifted, rows)?;
        let drifted = self.judge_drift(active, &reference, &usual, &now, report)?;
        report.check("the shifted feature is named", drifted.contains(&column));
        for notification in self.on_call.take() {
            for alert in &notification.alerts {
                report.line(
                    "on call",
                    format!("{} {}: {}", notification.severity, alert.status, alert.summary),
                );
            }
        }
        self.deployment.report_drift(active, format!("{column} shifted"))?;
        report.decision("investigate, and learn from data that include the shift");
        Ok(shifted)
    }

    /// Compares the latest traffic with the data learnt from, and tells the rules; returns the features that drifted.
    fn judge_drift(
        &self,
        version: VersionNumber,
        reference: &Table,
        usual: &Replay,
        now: &Replay,
        report: &Report,
    ) -> Result<Vec<String>> {
        let features = DriftReference::new(
            reference.names().to_vec(),
            reference.features(),
            DriftConfig::default(),
        )?
        .with_dataset(self.made.train_version.fingerprint);
        let found = features.compare(self.window.features(version).view())?;
        report.block(&found);
        let subject: Labels =
            [("version".to_owned(), version.to_string()), ("of".to_owned(), "features".to_owned())]
                .into();
        for (signal, subject, observation) in found.observations(&subject) {
            self.alerts.update_all(self.rules.observe(signal, &subject, observation)?)?;
        }
        let expected = ModelExt::predict(&*self.made.champion, reference.features())?;
        let outputs = self
            .made
            .champion
            .signature()
            .outputs()
            .iter()
            .map(|class| format!("probability of {class}"));
        let predictions = DriftReference::new(outputs, expected.view(), DriftConfig::default())?;
        report.block(predictions.compare(self.window.outputs(version).view())?);
        let drifted: Vec<String> = found.drifted().map(str::to_owned).collect();
        let subject: Labels = [("version".to_owned(), version.to_string())].into();
        let accuracy = |replay: &Replay| replay.right as f64 / replay.requests as f64;
        report.line("accuracy", format!("{:.4}, usually {:.4}", accuracy(now), accuracy(usual)));
        let observation = Observation::new(accuracy(now))
            .with_count(now.requests)
            .with_reference(accuracy(usual));
        self.alerts.update_all(self.rules.observe("accuracy", &subject, observation)?)?;
        self.alerts.tick();
        self.alerts.flush(Duration::from_secs(300)); // a bound for a sink that hangs
        Ok(drifted)
    }

    fn retrain(
        &mut self,
        active: VersionNumber,
        shifted: &Table,
        seed: u64,
        report: &mut Report,
    ) -> Result<()> {
        report.stage("Retrain: data that include the shift");
        let (train, _) = shift(&self.made.train, self.made)?;
        let both = self.made.train.concat(&train)?;
        let version = DatasetVersion::of(
            &both,
            &self.made.name,
            "2",
            RowOrder::Matters,
            self.made.clock.now(),
        )
        .derived_from(&self.made.train_version, "the shifted rows added");
        report.line("version", version.reference());
        let features = self.made.features.compute(&both)?;
        let model = self.made.family.build(&self.made.tuned)?.fit(features.samples()?, seed)?;
        let retrained = self.register("retrained on the shift", model)?;
        self.deployment.start_canary(
            retrained,
            CanaryPlan::fixed(Share::percent(CANARY_PERCENT)?)?,
            &Change::by("lifecycle"),
        )?;
        let counts = |version| {
            self.performance
                .performance(version)
                .map_or((0, 0), |p| (p.scored.labelled - p.scored.wrong, p.scored.labelled))
        };
        let before = counts(active);
        let replay = self.replay(shifted, 4_000)?;
        let counts = |version| {
            self.performance
                .performance(version)
                .map_or((0, 0), |p| (p.scored.labelled - p.scored.wrong, p.scored.labelled))
        };
        let after = counts(active);
        let old = (after.0 - before.0) as f64 / (after.1 - before.1) as f64;
        let new = self.accuracy(retrained);
        report.line(
            "accuracy",
            format!("{active} {old:.4}, retrained {new:.4}, both on shifted traffic"),
        );
        report.check("no request failed", replay.failed == 0);
        report.check("the retrained version is no worse", new >= old - 0.01);
        self.deployment.promote(
            retrained,
            &Change::by("lifecycle").because("passed its canary on shifted traffic"),
        )?;
        report
            .check("it passed its canary and serves", self.deployment.active() == Some(retrained));
        report.line("history", "");
        for entry in self.deployment.history() {
            report.block(format!("  {entry}"));
        }
        Ok(())
    }
}

/// What an on-call person should hear of.
fn rules() -> Result<Vec<Rule>> {
    let runbook = |page: &str| format!("https://runbooks.example.org/{page}");
    Ok(vec![
        Rule::new("feature_drift", "drift_psi", runbook("drift"))?
            .with_warning(Limit::above(0.25), Severity::P2)
            .with_critical(Limit::above(1.0), Severity::P1)
            .with_summary("a feature is distributed otherwise than in training"),
        Rule::new("accuracy_drop", "accuracy", runbook("accuracy"))?
            .with_critical(Limit::relative_change(0.05, ChangeDirection::Fall), Severity::P1)
            .with_summary("the model is right less often than before"),
    ])
}

/// The feature that varies most among those the model sees reads two standard deviations too high.
fn shift(table: &Table, made: &Made) -> Result<(Table, String)> {
    let importances = made.champion.importances().ok_or("importances")?;
    let most = (0..importances.len())
        .fold(0, |best, i| if importances[i] > importances[best] { i } else { best });
    let name = made.features.spec().features[most].clone();
    let column = table.column_index(&name)?;
    let mut features: Array2<f64> = table.features().to_owned();
    let deviation = made.train.column(&name)?.std(0.0);
    features.column_mut(column).mapv_inplace(|value| value + 2.0 * deviation);
    Ok((table.clone().replace_features(table.names().to_vec(), features)?, name))
}

/// A model with a mistake in it: it fails where its first feature is above the median.
#[derive(Debug)]
struct Broken {
    model: Arc<dyn FittedModel>,
    limit: f64,
}

impl Broken {
    fn over(model: Arc<dyn FittedModel>, rows: &Table) -> Self {
        let mut values = rows.features().column(0).to_vec();
        values.sort_by(f64::total_cmp);
        Self { model, limit: values[values.len() / 2] }
    }
}

impl Model for Broken {
    fn predict_into(
        &self,
        rows: ArrayView2<'_, f64>,
        out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> std::result::Result<(), ModelError> {
        if rows.column(0).iter().any(|value| *value >= self.limit) {
            return Err(ModelError::failed("a mistake in the model"));
        }
        self.model.predict_into(rows, out, scratch)
    }

    fn signature(&self) -> &Signature {
        self.model.signature()
    }
}
