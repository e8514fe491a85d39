//! A gate for continuous integration: a candidate is compared with the baseline, and the exit code says whether it may go on.
//!
//! `cargo run --release --example gate -- 0.79` passes (exit code 0), `-- 0.70` or `-- NaN` does not (1), `-- high` is bad input (2).

use std::process::ExitCode;

use mlp::core::{Clock, Direction, StoreError, SystemClock};
use mlp::eval::{
    EvalStore, EvalStoreExt, Evaluation, Filter, Gate, GateRule, InMemoryEvalStore, NewEvaluation,
    Stage,
};

fn main() -> ExitCode {
    let given = std::env::args().nth(1).unwrap_or_else(|| "0.79".to_owned());
    let Ok(f1) = given.parse() else {
        eprintln!("{given:?} is no number: give the candidate's F1, such as 0.79");
        return ExitCode::from(2);
    };
    match judge(f1) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn judge(f1: f64) -> Result<bool, StoreError> {
    let (store, clock) = (InMemoryEvalStore::new(), SystemClock::new());
    let log = |experiment: &str, f1: f64| -> Result<Evaluation, StoreError> {
        let evaluation = NewEvaluation::new(experiment, Stage::Test, clock.now())
            .with_metric("f1", f1)
            .with_metric("latency_p99_ms", 3.2);
        store.get(store.log(evaluation, clock.now())?)
    };
    for earlier in [0.74, 0.80] {
        log("released", earlier)?;
    }
    let candidate = log("candidate", f1)?;
    let baseline = store.best(&Filter::experiment("released"), "f1", Direction::Maximize)?;

    let gate = Gate::new([
        GateRule::AtLeast("f1".into(), 0.72),
        GateRule::AtMost("latency_p99_ms".into(), 50.0),
        GateRule::MaxRelativeRegression("f1".into(), Direction::Maximize, 0.05),
    ]);
    let report = gate.judge(&candidate, baseline.as_ref());
    println!("{report}\n\n{}", report.to_junit());
    Ok(report.passed())
}
