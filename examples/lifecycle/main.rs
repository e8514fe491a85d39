//! One real dataset through the whole life of a model.
//!
//! `cargo run --release --example lifecycle` takes the built-in wines; `-- --data PATH --target COLUMN` any CSV file of numbers;
//! `-- --store PATH` keeps the evaluations of every run in one SQLite file and compares each run with the last one before it that came as
//! far. Ends with 0 if every check held, 1 if one failed, 2 if the input cannot be used. The same seed gives the same report, measured times aside.

mod arguments;
mod data;
mod development;
mod production;
mod report;
mod store;

use std::error::Error;
use std::process::ExitCode;

use crate::arguments::{Arguments, USAGE};
use crate::report::Report;
use crate::store::Stores;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("lifecycle: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let source = match &arguments.data {
        None => data::wines(),
        Some((path, target)) => data::file(path, target),
    };
    let usable = source
        .map_err(|error| error.to_string())
        .and_then(|source| data::check(&source).map(|()| source));
    let source = match usable {
        Ok(source) => source,
        Err(problem) => {
            eprintln!("lifecycle: {problem}");
            return ExitCode::from(2);
        }
    };
    let evaluations = match Stores::open(arguments.store.as_deref()) {
        Ok(evaluations) => evaluations,
        Err(problem) => {
            let path = arguments.store.unwrap_or_default();
            eprintln!("lifecycle: {}: {}", path.display(), chain(&*problem));
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    if let Err(problem) = live(&source, arguments.seed, &evaluations, &mut report) {
        eprintln!("lifecycle: {}", chain(&*problem));
        return ExitCode::FAILURE;
    }
    report.end()
}

/// The whole life: what is made in development, and what becomes of it in production.
fn live(
    source: &data::Source,
    seed: u64,
    evaluations: &Stores,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let made = development::develop(source, seed, evaluations, report)?;
    production::serve(&made, seed, report)
}

/// The error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
