//! A study of gradient boosting on the breast-cancer data of Wisconsin: cross-validated, pruned by folds, on four threads, and killed in the middle.
//!
//! ```sh
//! cargo run --release --features progress --example tune                                  # in a temporary folder
//! cargo run --release --features progress --example tune -- --journal tune.log --crash-after 15
//! cargo run --release --features progress --example tune -- --journal tune.log            # goes on where it died
//! ```
//!
//! The second and third command lead to the same trials as the first, though the process was killed between them; `--print` prints them one per line so that
//! this can be checked.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use mlp::core::{Dimension, Direction, SearchSpace};
use mlp::data::{ReadOptions, RowOrder, Table, TargetKind, read_csv};
use mlp::models::GradientBoosting;
use mlp::select::{CrossValidation, Fold, Score, Scorer, Split, StratifiedKFold};
use mlp::tune::{Budget, Duplicates, Study, Trial, TrialError, TrialState, WilcoxonPruner};

const TRIALS: u64 = 40;
const FOLDS: usize = 8;
const THREADS: usize = 4;

#[derive(Debug, Default)]
struct Arguments {
    journal: Option<PathBuf>,
    crash_after: Option<u64>,
    print: bool,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(argument) = given.next() {
            let mut value = || given.next().ok_or(format!("{argument} needs a value"));
            match &*argument {
                "--journal" => arguments.journal = Some(value()?.into()),
                "--crash-after" => {
                    let number = value()?;
                    let number = number.parse().map_err(|_| format!("{number:?} is no number"))?;
                    arguments.crash_after = Some(number);
                }
                "--print" => arguments.print = true,
                other => return Err(format!("{other:?} is unknown")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\nusage: tune [--journal PATH] [--crash-after N] [--print]");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn space() -> Result<SearchSpace, Box<dyn Error>> {
    Ok(SearchSpace::new([
        Dimension::log_float("learning_rate", 0.01, 0.5),
        Dimension::int("rounds", 10, 80),
        Dimension::int("max_leaves", 2, 32),
        Dimension::int("min_leaf", 2, 40),
        Dimension::log_float("l2", 1e-3, 10.0),
    ])?)
}

/// The log loss of one candidate, fold by fold: a candidate that is worse than the best one on the folds so far is not fitted on the others.
fn objective(trial: &mut Trial<'_>, table: &Table, folds: &[Fold]) -> Result<f64, TrialError> {
    let estimator = GradientBoosting::default()
        .with_rounds(trial.int("rounds")? as usize)
        .with_learning_rate(trial.float("learning_rate")?)
        .with_max_leaves(trial.int("max_leaves")? as usize)
        .with_min_leaf(trial.int("min_leaf")? as usize)
        .with_l2(trial.float("l2")?);
    let samples = table.samples()?;
    let validation = CrossValidation::default();
    let mut sum = 0.0;
    for (step, fold) in folds.iter().enumerate() {
        let validated = validation.run_folds(
            &estimator,
            &samples,
            std::slice::from_ref(fold),
            &[&Score::LogLoss],
        )?;
        let loss = validated.summary(Score::LogLoss.name()).map(|summary| summary.mean);
        let loss = loss.ok_or_else(|| TrialError::failed("the fold has no score"))?;
        sum += loss;
        trial.report(step as i64, loss)?;
        if trial.should_prune()? {
            return Err(TrialError::Pruned);
        }
    }
    Ok(sum / folds.len() as f64)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/breast_cancer.csv");
    let table = read_csv(data, &ReadOptions::new().with_target("target", TargetKind::Classes))?;
    let folds = StratifiedKFold::new(FOLDS).shuffled(1).split(&table.samples()?)?;
    let folder = tempfile::tempdir()?;
    let journal = arguments.journal.clone().unwrap_or(folder.path().join("study.log"));

    let (crash_after, ended) = (arguments.crash_after, AtomicU64::new(0));
    let study = Study::new(space()?, Direction::Minimize)
        .with_name("boosting")
        .with_seed(1)
        .with_threads(THREADS)
        .with_attempts(10)
        .with_order(THREADS as u64) // the same trials on any number of threads, and after a crash
        .with_pruner(WilcoxonPruner::new(0.1)?.with_startup_steps(3))
        .with_duplicates(Duplicates::Reuse)
        .with_inputs(table.fingerprint(RowOrder::Matters).to_string(), env!("CARGO_PKG_VERSION"))
        .with_callback(move |_, _| {
            if crash_after.is_some_and(|after| ended.fetch_add(1, Ordering::SeqCst) + 1 >= after) {
                std::process::abort(); // As if the power had gone: nothing is cleaned up.
            }
        })
        .with_journal(&journal)?;
    #[cfg(feature = "progress")]
    let study = study.with_progress();
    let before = study.trials()?.iter().filter(|trial| trial.state.is_finished()).count();
    study.optimize(|trial| objective(trial, &table, &folds), Budget::total_trials(TRIALS))?;

    let trials = study.trials()?;
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    if arguments.print {
        for trial in &trials {
            println!("{} {} {} {:?}", trial.number, trial.state, trial.params, trial.values);
        }
        return Ok(());
    }
    println!("{}: {} rows, {} features", data, table.n_rows(), table.n_features());
    println!("{before} trials were in the journal, {} are now", trials.len());
    println!(
        "{} complete, {} stopped by their folds, {} failed",
        count(TrialState::Complete),
        count(TrialState::Pruned),
        count(TrialState::Failed)
    );
    let fitted: usize = trials.iter().map(|trial| trial.reports.len()).sum();
    println!("{fitted} of {} folds were fitted", trials.len() * FOLDS);
    let best = study.best()?;
    println!(
        "best: trial {} with a log loss of {:.4}: {}",
        best.number,
        best.value().unwrap_or(f64::NAN),
        best.params
    );
    Ok(())
}
