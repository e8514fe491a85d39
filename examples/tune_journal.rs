//! A study in Optuna's own file format: `cargo run --release --example tune_journal -- study.log`.
//!
//! Each run adds ten trials to the file and prints what is in it. In between, Python may do the same:
//!
//! ```python
//! import optuna
//! from optuna.storages import JournalStorage
//! from optuna.storages.journal import JournalFileBackend
//!
//! study = optuna.load_study(study_name="journal", storage=JournalStorage(JournalFileBackend("study.log")))
//! study.optimize(objective, n_trials=10)
//! ```

use std::error::Error;
use std::process::ExitCode;

use mlp::core::{Dimension, Direction, SearchSpace};
use mlp::tune::{Budget, Study};

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: tune_journal PATH");
        return ExitCode::from(2);
    };
    match run(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &str) -> Result<(), Box<dyn Error>> {
    let space = SearchSpace::new([
        Dimension::float("x", -5.0, 10.0),
        Dimension::log_float("rate", 1e-5, 1.0),
        Dimension::log_int("width", 16, 1024),
        Dimension::categorical("activation", ["relu", "tanh", "gelu"]),
        Dimension::stepped_float("dropout", 0.0, 1.0, 0.3),
    ])?;
    let study = Study::new(space, Direction::Minimize)
        .with_name("journal")
        .with_seed(1)
        .with_journal(path)?;
    let before = study.trials()?.len();
    study.optimize(
        |trial| {
            let (x, rate) = (trial.float("x")?, trial.float("rate")?);
            let width = trial.int("width")? as f64;
            let penalty = if trial.text("activation")? == "gelu" { 0.0 } else { 0.5 };
            trial.report(0, f64::INFINITY)?;
            Ok((x - 2.0).powi(2)
                + (rate.log10() + 3.0).powi(2)
                + (width.log2() - 7.0).abs()
                + trial.float("dropout")?
                + penalty)
        },
        Budget::trials(10),
    )?;
    let trials = study.trials()?;
    let best = study.best()?;
    println!("{before} trials were in {path}, {} are now", trials.len());
    println!(
        "best: trial {} with {:.4}: {}",
        best.number,
        best.value().unwrap_or(f64::NAN),
        best.params
    );
    Ok(())
}
