//! Drift with effect sizes: a real stream in its own order, and a shift planted in one slice of real data.
//!
//! `cargo run --release --example drift_report`

use std::error::Error;
use std::path::Path;

use mlp::core::{Direction, Estimator, ModelExt};
use mlp::data::{ReadOptions, Table, TargetColumn, TargetKind, read_csv};
use mlp::models::{LogisticRegression, Pipeline, StandardScaler};
use mlp::monitor::{DriftConfig, DriftReference, Slices, StreamDrift};
use mlp::stats::{Adwin, AdwinConfig};
use ndarray::Axis;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    stream()?;
    planted_shift()
}

/// Reads one of the files beside this example.
fn read(name: &str, target: &str) -> Result<Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data").join(name);
    let options = ReadOptions::new().with_target(target, TargetKind::Detect { max_classes: 2 });
    Ok(read_csv(&path, &options)?)
}

fn labels(table: &Table) -> &[usize] {
    match table.target() {
        TargetColumn::Classes { labels, .. } => labels,
        _ => &[],
    }
}

/// For each row, 1 if the model is right about it.
fn right(model: &dyn mlp::core::Model, table: &Table) -> Result<Vec<f64>> {
    let probabilities = model.predict(table.features())?;
    let said = probabilities.axis_iter(Axis(0)).map(|row| usize::from(row[1] > row[0]));
    Ok(said.zip(labels(table)).map(|(said, label)| f64::from(u8::from(said == *label))).collect())
}

/// Phishing sites as they came: the first 500 are what was learnt from, the rest is compared in windows and row by row.
fn stream() -> Result<()> {
    let all = read("phishing.csv", "is_phishing")?;
    let rows = |from: usize, to: usize| all.select_rows(&(from..to).collect::<Vec<_>>());
    let (learnt, rest) = (rows(0, 500)?, rows(500, all.n_rows())?);
    let model = LogisticRegression::default().fit(learnt.samples()?, 0)?;

    // Every column is a category: no, maybe, yes.
    let names: Vec<&str> = all.names().iter().map(String::as_str).collect();
    let config = DriftConfig::default();
    let features =
        DriftReference::with_categories(names.clone(), learnt.features(), &names, config.clone())?;
    let expected = model.predict(learnt.features())?;
    let predictions = DriftReference::new(["legitimate", "phishing"], expected.view(), config)?;

    println!("The phishing stream: rows 0 to 499 are the reference.\n");
    for from in (500..all.n_rows()).step_by(250) {
        let window = rows(from, from + 250)?;
        let report = features.compare(window.features())?;
        let of_predictions = predictions.compare(model.predict(window.features())?.view())?;
        let right = right(&*model, &window)?;
        println!(
            "rows {from} to {}: drifted: {}; predictions: {}; accuracy {:.3}",
            from + 249,
            list(report.drifted()),
            list(of_predictions.drifted()),
            right.iter().sum::<f64>() / right.len() as f64,
        );
        if from + 250 == all.n_rows() {
            println!("\nThe last of them, column by column:\n{report}");
        }
    }

    let watched = names.iter().copied().chain(["the model is right"]);
    let mut stream = StreamDrift::new(watched, || Ok(Adwin::new(AdwinConfig::default())?))?;
    let right = right(&*model, &rest)?;
    println!("Row by row, by ADWIN, from row 500:");
    let mut changes = 0;
    for (row, right) in rest.features().axis_iter(Axis(0)).zip(right) {
        let values: Vec<f64> = row.iter().copied().chain([right]).collect();
        for change in stream.add(&values)? {
            println!("  row {}: {} changed", change.row + 500, change.column);
            changes += 1;
        }
    }
    println!("  {changes} changes in {} columns of {} rows\n", names.len() + 1, rest.n_rows());
    Ok(())
}

/// Breast cancer: every other row is the reference; in the others the texture of large tumours reads one standard deviation too high.
fn planted_shift() -> Result<()> {
    let all = read("breast_cancer.csv", "target")?;
    let every_other =
        |first: usize| all.select_rows(&(first..all.n_rows()).step_by(2).collect::<Vec<_>>());
    let (reference, current) = (every_other(0)?, every_other(1)?);
    let names = all.names().to_vec();
    let known = DriftReference::new(names, reference.features(), DriftConfig::default())?;
    let quiet = known.compare(current.features())?;
    println!(
        "Breast cancer: every other row against the rest, nothing planted: drifted: {}",
        list(quiet.drifted())
    );

    let area = current.column("mean_area")?.to_vec();
    let spread = reference.column("mean_texture")?.std(0.0);
    let is_large = |row: usize| area[row] > 700.0;
    let mut row = 0;
    let shifted = current.map_column("mean_texture", |texture| {
        row += 1;
        if is_large(row - 1) { texture + spread } else { texture }
    })?;

    let slices = Slices::new(shifted.n_rows())
        .with_predicate("small (area up to 450)", |row| area[*row] <= 450.0)?
        .with_predicate("middle", |row| area[*row] > 450.0 && !is_large(*row))?
        .with_predicate("large (area above 700)", |row| is_large(*row))?;
    println!(
        "\nmean_texture {spread:.1} too high where the area is above 700; mean_texture and two others, on the whole:"
    );
    let shown = ["mean_texture", "mean_smoothness", "mean_symmetry"];
    let three = |table: &Table| table.select_columns(&shown);
    let config = DriftConfig::default();
    let whole = DriftReference::new(shown, three(&reference)?.features(), config.clone())?;
    println!("{}", whole.compare(three(&shifted)?.features())?);

    // A slice is compared with the same slice of the reference: large tumours differ from all in other ways too.
    let before = reference.column("mean_area")?.to_vec();
    let bounds = [(0.0, 450.0), (450.0, 700.0), (700.0, f64::INFINITY)];
    for ((name, rows), (low, high)) in slices.parts().zip(bounds) {
        let own = |row: &usize| before[*row] > low && before[*row] <= high;
        let own: Vec<usize> = (0..reference.n_rows()).filter(own).collect();
        let part = three(&reference.select_rows(&own)?)?;
        let known = DriftReference::new(shown, part.features(), config.clone())?;
        println!("{name}, {} rows against {}:", rows.len(), own.len());
        println!("{}", known.compare(three(&shifted.select_rows(rows)?)?.features())?);
    }

    let model = Pipeline::of(LogisticRegression::default()).after("scale", StandardScaler);
    let model = model.fit(reference.samples()?, 0)?;
    let right = right(&*model, &shifted)?;
    let accuracy =
        |rows: &[usize]| Some(rows.iter().map(|row| right[*row]).sum::<f64>() / rows.len() as f64);
    println!("What it does to a logistic regression, by slice:");
    print!("{}", slices.score("accuracy", Direction::Maximize, 30, accuracy));
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
