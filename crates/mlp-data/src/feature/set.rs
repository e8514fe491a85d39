//! A set of features: an ordered list of names, and the transforms that make them.

use std::collections::HashMap;
use std::sync::Arc;

use mlp_core::{FittedTransformer, FittedTransformerExt, ModelError, SaveError, Saved, Scratch};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use super::store::VersionedName;
use crate::error::{Error, Result, name_some};
use crate::table::Table;

/// A set of features as data: which raw columns go in, which transforms run over them in order, and which features come out.
///
/// A transform takes its inputs by name, from the raw columns and from what the transforms before it gave. Where two give the same name
/// (a scaler gives the names it takes), the later one is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSetSpec {
    /// The raw columns, in order.
    pub inputs: Vec<String>,
    /// The transforms, in the order in which they run.
    pub transforms: Vec<VersionedName>,
    /// The features, in order.
    pub features: Vec<String>,
}

impl FeatureSetSpec {
    /// A set over these raw columns, without transforms and features yet.
    pub fn new<N: Into<String>>(inputs: impl IntoIterator<Item = N>) -> Self {
        let inputs = inputs.into_iter().map(Into::into).collect();
        Self { inputs, transforms: Vec::new(), features: Vec::new() }
    }

    /// Adds a transform behind those there are.
    #[must_use]
    pub fn with_transform(mut self, transform: &VersionedName) -> Self {
        self.transforms.push(transform.clone());
        self
    }

    /// Sets the features, in order.
    #[must_use]
    pub fn with_features<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.features = names.into_iter().map(Into::into).collect();
        self
    }
}

/// A version of a set of features, ready to compute: over a table and over one row by the same code.
///
/// It is a [`FittedTransformer`] itself, from the raw columns to the features, so it can stand at the head of a pipeline.
#[derive(Debug, Clone)]
pub struct FeatureSet {
    name: VersionedName,
    spec: FeatureSetSpec,
    steps: Vec<Step>,
    /// For each feature, its place among the columns computed.
    chosen: Vec<usize>,
    /// How many columns are computed: the raw ones, then the outputs of each transform.
    width: usize,
}

#[derive(Debug, Clone)]
struct Step {
    transform: Arc<dyn FittedTransformer>,
    inputs: Vec<usize>,
    first_output: usize,
}

impl FeatureSet {
    pub(crate) fn new(
        name: VersionedName,
        spec: FeatureSetSpec,
        transforms: Vec<Arc<dyn FittedTransformer>>,
    ) -> Result<Self> {
        if spec.features.is_empty() {
            let what = format!("the feature set {name}");
            return Err(Error::Invalid { what, reason: "it has no features".to_owned() });
        }
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (place, input) in spec.inputs.iter().enumerate() {
            if places.insert(input, place).is_some() {
                return Err(Error::DuplicateName { what: "the raw column", name: input.clone() });
            }
        }
        let mut width = spec.inputs.len();
        let mut steps = Vec::with_capacity(transforms.len());
        for transform in &transforms {
            let inputs = transform.input_names().iter().map(|name| find(&places, name));
            let inputs = inputs.collect::<Result<Vec<_>>>()?;
            let first_output = width;
            for output in transform.output_names() {
                places.insert(output, width);
                width += 1;
            }
            steps.push(Step { transform: Arc::clone(transform), inputs, first_output });
        }
        let chosen =
            spec.features.iter().map(|name| find(&places, name)).collect::<Result<Vec<_>>>()?;
        if let Some(i) =
            (0..spec.features.len()).find(|&i| spec.features[..i].contains(&spec.features[i]))
        {
            return Err(Error::DuplicateName {
                what: "the feature",
                name: spec.features[i].clone(),
            });
        }
        Ok(Self { name, spec, steps, chosen, width })
    }

    /// The name and version of the set.
    #[must_use]
    pub fn name(&self) -> &VersionedName {
        &self.name
    }

    /// The set as data.
    #[must_use]
    pub fn spec(&self) -> &FeatureSetSpec {
        &self.spec
    }

    /// The features of a table's rows. Columns are found by name; target, weights, groups and ids stay.
    ///
    /// The codes of categories go in as they are. Whether they stand for what they stood for when the transforms were fitted is not known here:
    /// a [`Schema`](crate::Schema) that lists the texts finds codes of another file, and [`Table::recode`] changes them.
    ///
    /// # Errors
    /// If a raw column is not in the table, or a transform fails.
    pub fn compute(&self, table: &Table) -> Result<Table> {
        let raw = table.select_columns(&self.spec.inputs)?;
        let mut out = Array2::zeros((raw.n_rows(), self.chosen.len()));
        self.transform_into(raw.features(), out.view_mut(), &mut Scratch::new())?;
        table.replace_features(self.spec.features.clone(), out)
    }

    /// The features of one row of raw values, written in place: what is computed online.
    ///
    /// # Errors
    /// If there are not as many raw values or features as the set has, or a transform fails.
    pub fn compute_row(
        &self,
        raw: &[f64],
        features: &mut [f64],
        scratch: &mut Scratch,
    ) -> Result<()> {
        let given = (1, features.len());
        let rows = ArrayView2::from_shape((1, raw.len()), raw);
        let out = ArrayViewMut2::from_shape((1, features.len()), features);
        let (Ok(rows), Ok(out)) = (rows, out) else {
            return Err(ModelError::OutputShape { expected: (1, self.chosen.len()), given }.into());
        };
        Ok(self.transform_into(rows, out, scratch)?)
    }
}

fn find(places: &HashMap<&str, usize>, name: &str) -> Result<usize> {
    places.get(name).copied().ok_or_else(|| {
        let mut known: Vec<&str> = places.keys().copied().collect();
        known.sort_unstable();
        Error::UnknownColumn { name: name.to_owned(), known: name_some(&known) }
    })
}

/// How many rows are computed at a time: the columns in between stay in the cache.
const BLOCK: usize = 256;

impl FittedTransformer for FeatureSet {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        let blocks = rows.axis_chunks_iter(ndarray::Axis(0), BLOCK);
        for (rows, out) in blocks.zip(out.axis_chunks_iter_mut(ndarray::Axis(0), BLOCK)) {
            self.transform_block(rows, out, scratch)?;
        }
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.spec.inputs
    }

    fn output_names(&self) -> &[String] {
        &self.spec.features
    }

    /// Saves nothing: a set is kept by its [`FeatureStore`](crate::FeatureStore), which knows its transforms.
    fn save(&self) -> Result<Saved, SaveError> {
        Err(SaveError::NotSaveable {
            what: format!("the feature set {}", self.name),
            reason: "it is kept by its feature store: save that".to_owned(),
        })
    }
}

impl FeatureSet {
    fn transform_block(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let n_rows = rows.nrows();
        let mut all = scratch.take(n_rows * self.width);
        for (row, place) in rows.rows().into_iter().zip(all.chunks_exact_mut(self.width.max(1))) {
            place.iter_mut().zip(row).for_each(|(place, &value)| *place = value);
        }
        let done =
            self.steps.iter().try_for_each(|step| step.run(n_rows, &mut all, self.width, scratch));
        if done.is_ok() {
            for (mut features, row) in
                out.rows_mut().into_iter().zip(all.chunks_exact(self.width.max(1)))
            {
                features.iter_mut().zip(&self.chosen).for_each(|(f, &place)| *f = row[place]);
            }
        }
        scratch.give(all);
        done
    }
}

impl Step {
    /// Runs the transform over its columns of `all` (`n_rows × width`), and puts what it gives behind what is there.
    fn run(
        &self,
        n_rows: usize,
        all: &mut [f64],
        width: usize,
        scratch: &mut Scratch,
    ) -> Result<(), ModelError> {
        let n_outputs = self.transform.output_names().len();
        let mut input = scratch.take(n_rows * self.inputs.len());
        for (place, row) in
            input.chunks_exact_mut(self.inputs.len().max(1)).zip(all.chunks_exact(width))
        {
            place.iter_mut().zip(&self.inputs).for_each(|(place, &column)| *place = row[column]);
        }
        let mut output = scratch.take(n_rows * n_outputs);
        let failed =
            |error| ModelError::failed(Box::new(error) as Box<dyn std::error::Error + Send + Sync>);
        let done = match (
            ArrayView2::from_shape((n_rows, self.inputs.len()), &input),
            ArrayViewMut2::from_shape((n_rows, n_outputs), &mut output),
        ) {
            (Ok(rows), Ok(out)) => self.transform.transform_into(rows, out, scratch),
            (Err(error), _) | (_, Err(error)) => Err(failed(error)),
        };
        for (row, values) in all.chunks_exact_mut(width).zip(output.chunks_exact(n_outputs.max(1)))
        {
            row[self.first_output..self.first_output + n_outputs].copy_from_slice(values);
        }
        scratch.give(input);
        scratch.give(output);
        done
    }
}
