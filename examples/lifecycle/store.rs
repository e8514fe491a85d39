//! Where the evaluations, records and models of a run go: into memory, or into a file that keeps those of every run.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use mlp::eval::{Comparison, EvalStore, EvalStoreExt, Filter, InMemoryEvalStore, View};
use mlp::lineage::{
    ArtifactStore, FileArtifactStore, InMemoryArtifactStore, InMemoryLineageStore,
    InMemoryModelRegistry, LineageStore, ModelRegistry, Record, diff,
};
use mlp_sqlite::Database;

use crate::report::Report;

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
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Box<dyn Error>> {
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

    /// Puts the test scores of this run beside those of the run before it.
    pub(crate) fn compare_runs(&self, report: &mut Report) -> Result<(), Box<dyn Error>> {
        if self.run == 1 {
            return Ok(());
        }
        let of_run = |run| {
            let mut found = self.store.find(&Filter::experiment(name(run, "test")))?;
            found.sort_by(|one, other| one.tags.cmp(&other.tags));
            Ok::<_, Box<dyn Error>>(found)
        };
        let (before, now) = (of_run(self.run - 1)?, of_run(self.run)?);
        let same_data = before.first().map(|e| &e.dataset) == now.first().map(|e| &e.dataset);
        let data = if same_data { "the same data" } else { "other data" };
        report.line("the run before", format!("run {} of this store, on {data}", self.run - 1));
        for (before, now) in before.iter().zip(&now) {
            let model = now.tags.get("model").map_or("", String::as_str);
            let labels =
                vec![format!("run {}: {model}", self.run - 1), format!("run {}", self.run)];
            report.block(Comparison::of(&[before.clone(), now.clone()]).with_labels(labels));
        }
        report.check("the run before is compared with", before.len() == now.len());
        Ok(())
    }
}

impl Stores {
    /// Says what changed since the run before: of each model's record, every field that is another.
    pub(crate) fn diff_runs(
        &self,
        before: &[Record],
        now: &[Record],
        report: &mut Report,
    ) -> Result<(), Box<dyn Error>> {
        if self.run == 1 {
            return Ok(());
        }
        let before = &before[before.len().saturating_sub(now.len())..];
        for (before, now) in before.iter().zip(now) {
            let changes = diff(before, now);
            let words = if changes.is_empty() {
                "nothing".to_owned()
            } else {
                format!("{} fields", changes.len())
            };
            report.line(
                "since the run before",
                format!("{words} changed in the record of {}", now.model),
            );
            for change in changes {
                report.line("", change);
            }
        }
        report.check("each record has one of the run before beside it", before.len() == now.len());
        Ok(())
    }
}

fn name(run: u64, stage: &str) -> String {
    format!("run {run}: {stage}")
}

fn run_of(experiment: &str) -> Option<u64> {
    experiment.strip_prefix("run ")?.split_once(':')?.0.parse().ok()
}
