//! Where the evaluations of a run go: into memory, or into a file that keeps those of every run.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use mlp::eval::{Comparison, EvalStore, EvalStoreExt, Filter, InMemoryEvalStore, View};
use mlp_sqlite::Database;

use crate::report::Report;

/// The evaluations of this run, beside those of the runs before it.
#[derive(Debug, Clone)]
pub(crate) struct Evaluations {
    store: Arc<dyn EvalStore>,
    /// The number of this run in its store, from 1.
    run: u64,
}

impl Evaluations {
    /// In memory without a path; otherwise in that file, after the runs that it holds.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let store: Arc<dyn EvalStore> = match path {
            None => Arc::new(InMemoryEvalStore::new()),
            Some(path) => Arc::new(Database::open(path)?),
        };
        let experiments = store.experiments(View::All)?;
        let runs = experiments.iter().filter_map(|experiment| run_of(&experiment.name));
        Ok(Self { run: runs.max().unwrap_or(0) + 1, store })
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

fn name(run: u64, stage: &str) -> String {
    format!("run {run}: {stage}")
}

fn run_of(experiment: &str) -> Option<u64> {
    experiment.strip_prefix("run ")?.split_once(':')?.0.parse().ok()
}
