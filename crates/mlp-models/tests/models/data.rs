//! The datasets that the vectors speak of, and their folder.

use std::fs;
use std::path::PathBuf;

use mlp_core::{FitError, Samples, Target};
use ndarray::{Array2, Axis};
use serde_json::Value;

/// The folder of the vectors: the crate's own, or `MLP_VECTORS_DIR`.
fn folder() -> PathBuf {
    let built_in = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    std::env::var_os("MLP_VECTORS_DIR").map_or(built_in, PathBuf::from)
}

fn read(path: &str) -> String {
    let path = folder().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of one file of vectors.
pub(crate) fn cases(file: &str) -> Vec<Value> {
    let file: Value =
        serde_json::from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let cases = file["cases"].as_array().expect("a list of cases").clone();
    assert!(!cases.is_empty(), "no cases");
    cases
}

/// A number as the files write it: texts stand for numbers that are not finite.
pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(other) => panic!("{other:?} is no number"),
        None => value.as_f64().unwrap_or_else(|| panic!("{value} is no number")),
    }
}

/// A list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

/// A dataset: a header, then numbers with the target last.
pub(crate) struct Data {
    pub(crate) features: Array2<f64>,
    names: Vec<String>,
    labels: Option<(Vec<usize>, Vec<String>)>,
    values: Vec<f64>,
}

impl Data {
    pub(crate) fn load(name: &str) -> Self {
        let text = read(&format!("data/{name}.csv"));
        let mut lines = text.lines();
        let mut names: Vec<String> =
            lines.next().expect("a header").split(',').map(str::to_owned).collect();
        names.pop();
        let cells: Vec<f64> = lines
            .flat_map(|line| line.split(','))
            .map(|cell| cell.parse().unwrap_or_else(|_| panic!("{cell:?} in {name}")))
            .collect();
        let width = names.len() + 1;
        let all = Array2::from_shape_vec((cells.len() / width, width), cells).expect("a rectangle");
        let values = all.column(width - 1).to_vec();
        let features =
            all.slice_move(ndarray::s![.., ..width - 1]).as_standard_layout().into_owned();
        // The one regression dataset is friedman1; every other target holds class numbers.
        let labels = (name != "friedman1").then(|| {
            let classes = values.iter().fold(0.0_f64, |most, &label| most.max(label)) as usize + 1;
            (
                values.iter().map(|&label| label as usize).collect(),
                (0..classes).map(|class| class.to_string()).collect(),
            )
        });
        Self { features, names, labels, values }
    }

    /// Every column with mean 0 and variance 1 (n in the denominator); a constant column keeps its scale.
    pub(crate) fn standardised(mut self) -> Self {
        for mut column in self.features.axis_iter_mut(Axis(1)) {
            let (mean, std) = (column.mean().expect("rows"), column.std(0.0));
            column.mapv_inplace(|value| (value - mean) / if std == 0.0 { 1.0 } else { std });
        }
        self
    }

    pub(crate) fn samples(&self) -> Samples<'_> {
        let target = match &self.labels {
            Some((labels, names)) => Target::Classes { labels, names },
            None => Target::Values(&self.values),
        };
        Samples::new(self.features.view(), &self.names, target).expect("data that fit together")
    }
}

/// Features x0, x1, … with weights or groups, and a target of either kind.
pub(crate) struct Given {
    pub(crate) features: Array2<f64>,
    pub(crate) names: Vec<String>,
    pub(crate) classes: Vec<String>,
    pub(crate) labels: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Given {
    pub(crate) fn classes(features: Array2<f64>, labels: &[usize]) -> Self {
        let most = labels.iter().max().map_or(0, |most| most + 1);
        let classes = (0..most).map(|class| format!("c{class}")).collect();
        Self { labels: labels.to_vec(), classes, ..Self::values(features, &[]) }
    }

    pub(crate) fn values(features: Array2<f64>, values: &[f64]) -> Self {
        let names = (0..features.ncols()).map(|column| format!("x{column}")).collect();
        Self { features, names, classes: vec![], labels: vec![], values: values.to_vec() }
    }

    pub(crate) fn samples(&self) -> Samples<'_> {
        let target = if self.labels.is_empty() {
            Target::Values(&self.values)
        } else {
            Target::Classes { labels: &self.labels, names: &self.classes }
        };
        Samples::new(self.features.view(), &self.names, target).unwrap()
    }
}

/// An error and its source as one text.
pub(crate) fn reason(error: &FitError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error} {}", source.unwrap_or_default())
}
