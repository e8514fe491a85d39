//! How many features does it take? Recursive elimination inside folds, with the log of what went and why, the curve as text and as a picture.
//!
//! Run it with `cargo run --release --example rfe`; the picture goes to `target/rfe.svg`, or where the first argument says.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use mlp::core::{Samples, Transformer};
use mlp::data::{ReadOptions, TargetKind, read_csv};
use mlp::models::{LogisticRegression, Pipeline, StandardScaler};
use mlp::select::{
    CrossValidation, Rfe, RfeCv, RfeCvReport, Rule, Score, SelectError, StratifiedKFold, Summary,
};

fn main() -> Result<(), Box<dyn Error>> {
    let data = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/mlp-select/tests/vectors/data/breast_cancer.csv"
    );
    let table = read_csv(data, &ReadOptions::new().with_target("target", TargetKind::Classes))?;
    let samples = table.samples()?;
    // Coefficients tell importance only where features are on one scale.
    let scaled = StandardScaler.fit(samples.reborrow(), 0)?;
    let (names, values) = (scaled.output_names().to_vec(), transform(&*scaled, &samples)?);
    let scaled = samples.to_owned_samples().with_features(values, names)?;
    let samples = scaled.as_samples();

    let estimator = Arc::new(LogisticRegression::default());
    let folds = StratifiedKFold::new(5).shuffled(1);
    let rfecv = RfeCv::new(estimator.clone(), Score::LogLoss)
        .with_min_features(2)
        .with_rule(Rule::OneStandardError);
    println!(
        "{} features: at most {} fits\n",
        samples.n_features(),
        rfecv.fits(samples.n_features(), 5)?
    );
    let validation =
        CrossValidation::default().with_progress(|done, of| eprintln!("{done} of {of} done"));
    let report = rfecv.run(&samples, &folds, &validation)?;
    println!("{report}\n\n{}\n", report.elimination);
    println!("{}", bars(&report));
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target/rfe.svg").to_owned());
    if let Some(folder) = std::path::Path::new(&path).parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, picture(&report))?;
    println!("the curve is in {path}\n");

    // The features were chosen on these rows: testing them here would flatter, and is refused.
    let chosen = report.elimination.selection().select_from(&samples)?;
    let refused = CrossValidation::default().run(
        &*estimator,
        &chosen.as_samples(),
        &folds,
        &[&Score::Accuracy],
    );
    match refused {
        Err(error @ SelectError::SelectionLeak { .. }) => println!("refused: {error}"),
        other => return Err(format!("a leak was not refused: {other:?}").into()),
    }
    // Inside the folds the elimination sees what it may see.
    let honest = Pipeline::of(LogisticRegression::default())
        .after("standardise", StandardScaler)
        .after("eliminate", Rfe::new(estimator, report.n_features()));
    let honest =
        CrossValidation::default().run(&honest, &table.samples()?, &folds, &[&Score::Accuracy])?;
    if let Some(Summary { mean, standard_error, .. }) = honest.summary("accuracy") {
        println!(
            "honest: {} features, accuracy {mean:.4} ± {standard_error:.4}",
            report.n_features()
        );
    }
    Ok(())
}

fn transform(
    scaler: &dyn mlp::core::FittedTransformer,
    samples: &Samples<'_>,
) -> Result<ndarray::Array2<f64>, Box<dyn Error>> {
    use mlp::core::FittedTransformerExt as _;
    Ok(scaler.transform(samples.features().view())?)
}

/// The mean score of each number of features, and its standard error.
fn curve(report: &RfeCvReport) -> Vec<(usize, f64, f64)> {
    let point = |size: &mlp::select::SizeScores| {
        let summary = Summary::of(&size.scores)?;
        Some((size.features, summary.mean, summary.standard_error))
    };
    report.curve.iter().filter_map(point).collect()
}

fn bars(report: &RfeCvReport) -> String {
    let points = curve(report);
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let mut text = String::new();
    for (features, mean, _) in points {
        let mark = if features == report.n_features() { "  <- chosen" } else { "" };
        let bar = "█".repeat((60.0 * mean / most).round() as usize);
        let _ = writeln!(text, "{features:>3} {mean:.4} {bar}{mark}");
    }
    text
}

/// The curve with its standard errors as an SVG file.
fn picture(report: &RfeCvReport) -> String {
    let points = curve(report);
    let top = points.iter().map(|point| point.1 + point.2).fold(0.0, f64::max);
    let widest = points.last().map_or(1, |point| point.0) as f64;
    let (width, height, margin) = (640.0, 360.0, 48.0);
    let x = |features: usize| margin + (width - 2.0 * margin) * features as f64 / widest;
    let y = |score: f64| height - margin - (height - 2.0 * margin) * score / top;
    let line: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"24\" text-anchor=\"middle\">{} by number of features, with standard errors</text>\n",
        width / 2.0,
        report.metric
    );
    for (features, mean, error) in &points {
        let (x, low, high) = (x(*features), y(mean - error), y(mean + error));
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{low:.1}\" x2=\"{x:.1}\" y2=\"{high:.1}\" stroke=\"#bbb\" stroke-width=\"3\"/>"
        );
        if features % 5 == 0 {
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{features}</text>",
                height - margin + 18.0
            );
        }
    }
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6feb\" stroke-width=\"2\"/>",
        line.join(" ")
    );
    let chosen = points.iter().find(|point| point.0 == report.n_features());
    if let Some((features, mean, _)) = chosen {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\" fill=\"#d1242f\"><title>{features} features: {mean:.4}</title></circle>",
            x(*features),
            y(*mean)
        );
    }
    for share in [0.0, 0.5, 1.0] {
        let score = top * share;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{score:.3}</text>",
            margin - 6.0,
            y(score) + 4.0
        );
    }
    svg + "</svg>\n"
}
