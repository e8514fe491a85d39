//! Start simple: five models from dummy to boosting on three datasets, compared on the same folds, and no higher than the scores justify.
//!
//! Run it with `cargo run --release --example start_simple`.

use std::error::Error;

use mlp::data::{ReadOptions, Table, TargetKind, read_csv};
use mlp::select::{CrossValidation, Rule, Score, StratifiedKFold, standard_ladder};

/// The datasets stand beside the tests of the crate that uses them.
fn load(name: &str) -> Result<Table, Box<dyn Error>> {
    let path =
        format!("{}/crates/mlp-select/tests/vectors/data/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let target = target_of(&path)?;
    Ok(read_csv(&path, &ReadOptions::new().with_target(target, TargetKind::Classes))?)
}

/// The target is the last column.
fn target_of(path: &str) -> Result<String, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let header = text.lines().next().ok_or("an empty file")?;
    Ok(header.rsplit(',').next().unwrap_or(header).trim().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    let validation = CrossValidation::default().with_seed(1);
    for name in ["iris", "breast_cancer", "wine"] {
        let table = load(name)?;
        let samples = table.samples()?;
        println!("\n{name}: {} rows, {} features", table.n_rows(), table.n_features());
        let report = standard_ladder(samples.target(), Score::Accuracy).climb(
            &samples,
            &StratifiedKFold::new(5).shuffled(1),
            &validation,
        )?;
        println!("{report}");
        if let Some(saving) = report.saving() {
            println!("saving: {saving}");
        }
        // The same scores by other rules: how much better must the complex model be?
        for rule in [Rule::Best, Rule::Tolerance(0.01), Rule::CorrectedT(0.05)] {
            let ladder = standard_ladder(samples.target(), Score::Accuracy).with_rule(rule);
            let report =
                ladder.climb(&samples, &StratifiedKFold::new(5).shuffled(1), &validation)?;
            println!("by {rule:?}: {}", report.verdict());
        }
    }
    Ok(())
}
