//! Where the evaluations, records and models of a run go: into memory, or into a file that keeps those of every run.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use mlp::eval::{Comparison, EvalStore, EvalStoreExt, Evaluation, Filter, InMemoryEvalStore, View};
use mlp::lineage::{
    ArtifactStore, FileArtifactStore, InMemoryArtifactStore, InMemoryLineageStore,
    InMemoryModelRegistry, LineageStore, ModelRegistry, Record, diff,
};
use mlp_sqlite::Database;

use crate::report::Report;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The stores of this run, with what the runs before it left there.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    store: Arc<dyn EvalStore>,
    pub(crate) lineage: Arc<dyn LineageStore>,
    pub(crate) registry: Arc<dyn ModelRegistry>,
    pub(crate) artifacts: Arc<dyn ArtifactStore>,
    /// The number of this run in its store, from 1.
    run: u64,
}

impl Stores {
    /// In memory without a path; otherwise in that file, after the runs that it holds.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                store: Arc::new(InMemoryEvalStore::new()),
                lineage: Arc::new(InMemoryLineageStore::new()),
                registry: Arc::new(InMemoryModelRegistry::new()),
                artifacts: Arc::new(InMemoryArtifactStore::new()),
                run: 1,
            });
        };
        let database = Database::open(path)?;
        let artifacts = FileArtifactStore::open(path.with_extension("artifacts"))?;
        let store = Arc::new(database.clone());
        let experiments = store.experiments(View::All)?;
        let runs = experiments.iter().filter_map(|experiment| run_of(&experiment.name));
        let run = runs.max().unwrap_or(0) + 1;
        let (lineage, registry) = (Arc::new(database.clone()), Arc::new(database));
        Ok(Self { store, lineage, registry, artifacts: Arc::new(artifacts), run })
    }

    pub(crate) fn store(&self) -> &dyn EvalStore {
        &*self.store
    }

    /// What the evaluations of one stage of this run are gathered under.
    pub(crate) fn experiment(&self, stage: &str) -> String {
        name(self.run, stage)
    }

    /// Puts the test scores of this run beside those of the last run before it that came as far.
    pub(crate) fn compare_runs(&self, report: &mut Report) -> Result<()> {
        if self.run == 1 {
            return Ok(());
        }
        let now = self.tested(self.run)?;
        let Some((run, before)) = self.last_tested(now.len())? else {
            report.line(
                "the run before",
                "no earlier run tested its models: nothing to compare with",
            );
            return Ok(());
        };
        let same_data = before.first().map(|e| &e.dataset) == now.first().map(|e| &e.dataset);
        let data = if same_data { "the same data" } else { "other data" };
        report.line("the run before", format!("run {run} of this store, on {data}"));
        for (before, now) in before.iter().zip(&now) {
            let model = now.tags.get("model").map_or("", String::as_str);
            let labels = vec![format!("run {run}: {model}"), format!("run {}", self.run)];
            report.block(Comparison::of(&[before.clone(), now.clone()]).with_labels(labels));
        }
        let same_models = before.iter().map(|e| &e.tags).eq(now.iter().map(|e| &e.tags));
        report.check("each model is compared with the same of the run before", same_models);
        Ok(())
    }

    /// The last run before this one with so many models tested: a run that was interrupted has fewer, or none.
    fn last_tested(&self, models: usize) -> Result<Option<(u64, Vec<Evaluation>)>> {
        for run in (1..self.run).rev() {
            let found = self.tested(run)?;
            if found.len() == models {
                return Ok(Some((run, found)));
            }
        }
        Ok(None)
    }

    /// The models that a run tested, in the order of their names.
    fn tested(&self, run: u64) -> Result<Vec<Evaluation>> {
        let mut found = self.store.find(&Filter::experiment(name(run, "test")))?;
        found.sort_by(|one, other| one.tags.cmp(&other.tags));
        Ok(found)
    }

    /// Says what changed since an earlier run: of each model's record, every field that is another in the last record of the same description.
    pub(crate) fn diff_runs(&self, before: &[Record], now: &[Record], report: &Report) {
        if self.run == 1 {
            return;
        }
        for now in now {
            let of = format!("{}, {}", now.model, now.description.as_deref().unwrap_or_default());
            let same = |before: &&Record| before.description == now.description;
            let Some(before) = before.iter().rev().find(same) else {
                report.line("since an earlier run", format!("there is no earlier record of {of}"));
                continue;
            };
            let changes = diff(before, now);
            let words = if changes.is_empty() {
                "nothing".to_owned()
            } else {
                format!("{} fields", changes.len())
            };
            report.line("since an earlier run", format!("{words} changed in the record of {of}"));
            for change in changes {
                report.line("", change);
            }
        }
    }
}

fn name(run: u64, stage: &str) -> String {
    format!("run {run}: {stage}")
}

fn run_of(experiment: &str) -> Option<u64> {
    experiment.strip_prefix("run ")?.split_once(':')?.0.parse().ok()
}
