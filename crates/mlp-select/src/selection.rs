//! A choice of columns, as a transformer.

use mlp_core::{
    FittedTransformer, FittedTransformerExt, ModelError, OwnedSamples, Samples, SamplesError,
    SaveError, Saved, Scratch, choose_columns,
};
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::{Deserialize, Serialize};

use crate::error::{SelectError, setting};
use crate::leak::{RowPrints, narrowed};

/// Keeps some columns of its input, in ascending order.
///
/// What an elimination chose, ready to stand in a pipeline or a feature store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSelection {
    input_names: Vec<String>,
    columns: Vec<usize>,
    output_names: Vec<String>,
    /// The rows that were seen when the columns were chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saw: Option<RowPrints>,
}

/// The same data with some of its columns only.
pub(crate) fn with_columns(
    data: &OwnedSamples,
    columns: &[usize],
) -> Result<OwnedSamples, SamplesError> {
    let samples = data.as_samples();
    let names = columns.iter().map(|&column| samples.names()[column].clone()).collect();
    data.clone().with_features(choose_columns(samples.features().view(), columns), names)
}

/// What a saved selection is called.
const KIND: &str = "mlp-select/columns";
const FORMAT: u32 = 1;

impl ColumnSelection {
    pub(crate) fn of(names: &[String], columns: Vec<usize>) -> Self {
        let output_names = columns.iter().map(|&column| names[column].clone()).collect();
        Self { input_names: names.to_vec(), columns, output_names, saw: None }
    }

    /// Columns chosen on these rows.
    pub(crate) fn chosen_on(data: &Samples<'_>, columns: Vec<usize>) -> Self {
        Self::of(data.names(), columns).remembering(RowPrints::of(data))
    }

    /// Remembers the rows that the columns were chosen on.
    pub(crate) fn remembering(mut self, saw: RowPrints) -> Self {
        self.saw = Some(saw);
        self
    }

    /// For pipelines, which fit selections inside the folds and need not remember.
    pub(crate) fn forgetting(mut self) -> Self {
        self.saw = None;
        self
    }

    /// The chosen columns of some data, which then remember which of their rows the selection saw: cross-validating them on those is the
    /// error [`SelectError::SelectionLeak`](crate::SelectError::SelectionLeak), unless
    /// [`CrossValidation::allowing_selection_leak`](crate::CrossValidation::allowing_selection_leak) says otherwise. Marks of an earlier
    /// selection stay. A row is recognised by its values, so data that were scaled or filled after the columns were chosen are not.
    ///
    /// # Errors
    /// If the data have other features than those that were chosen from.
    pub fn select_from(&self, data: &Samples<'_>) -> Result<OwnedSamples, SelectError> {
        if data.names() != self.input_names {
            let allowed = format!("the {} that were chosen from", self.input_names.len());
            return Err(setting("the features", format!("{} others", data.n_features()), allowed));
        }
        Ok(narrowed(data, &self.columns, self.saw.as_ref())?)
    }

    /// The columns that are kept, in ascending order.
    #[must_use]
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Reads a saved selection.
    ///
    /// # Errors
    /// If it is another kind, a newer format, or ill-formed.
    pub fn load(saved: &Saved) -> Result<Self, SaveError> {
        if saved.kind() != KIND {
            return Err(SaveError::UnknownKind { kind: saved.kind().to_owned() });
        }
        if saved.format() > FORMAT {
            return Err(SaveError::NewerFormat {
                kind: KIND.to_owned(),
                found: saved.format(),
                supported: FORMAT,
            });
        }
        let malformed = |reason: String| SaveError::Malformed { reason };
        let selection: Self =
            serde_json::from_slice(saved.body()).map_err(|error| malformed(error.to_string()))?;
        let ascending = selection.columns.is_sorted_by(|a, b| a < b);
        if !ascending
            || selection.columns.last().is_some_and(|&last| last >= selection.input_names.len())
        {
            return Err(malformed(
                "the columns must ascend and be below the number of features".to_owned(),
            ));
        }
        if selection.clone().forgetting()
            != Self::of(&selection.input_names, selection.columns.clone())
        {
            return Err(malformed("the names of the columns do not fit the features".to_owned()));
        }
        Ok(selection)
    }
}

impl FittedTransformer for ColumnSelection {
    fn transform_into(
        &self,
        rows: ArrayView2<'_, f64>,
        mut out: ArrayViewMut2<'_, f64>,
        _: &mut Scratch,
    ) -> Result<(), ModelError> {
        self.check_shapes(&rows, &out)?;
        for (place, &column) in self.columns.iter().enumerate() {
            out.column_mut(place).assign(&rows.column(column));
        }
        Ok(())
    }

    fn input_names(&self) -> &[String] {
        &self.input_names
    }

    fn output_names(&self) -> &[String] {
        &self.output_names
    }

    fn save(&self) -> Result<Saved, SaveError> {
        let body = serde_json::to_vec(self)
            .map_err(|error| SaveError::Malformed { reason: error.to_string() })?;
        Saved::new(KIND, FORMAT, body)
    }
}
