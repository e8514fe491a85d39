//! Columns by their roles, as a table.

use ndarray::{Array2, ArrayViewMut1, Axis};

use super::column::Column;
use crate::error::{Error, Place, Result, cut};
use crate::read::roles::{Header, Role};
use crate::read::target::{Codes, TargetCells};
use crate::read::{NonFinite, ReadOptions};
use crate::table::Table;

pub(super) fn assemble(
    header: Header,
    columns: Vec<Column>,
    n_rows: usize,
    place: &Place,
    options: &ReadOptions,
) -> Result<Table> {
    let mut features = Array2::zeros((n_rows, header.features().len()));
    let (mut dictionaries, mut next_feature) = (Vec::new(), 0);
    let mut target = TargetCells::new(&options.target_kind, options.max_categories);
    let (mut weights, mut groups, mut row_ids) = (Vec::new(), Vec::new(), Vec::new());
    for ((column, role), name) in columns.iter().zip(&header.roles).zip(&header.names) {
        let place = place.clone().at_column(name);
        let at = |row: usize| place.clone().at_line(row as u64 + 1);
        match role {
            Role::Number | Role::Category(_) => {
                let into = features.index_axis_mut(Axis(1), next_feature);
                next_feature += 1;
                if let Some(texts) = feature(column, *role, name, into, options, &at)? {
                    dictionaries.push((name, texts));
                }
            }
            Role::Target => {
                each_text(column, &at, |row, text| target.push(text.as_bytes(), || at(row)))?
            }
            Role::Weight => each_number(column, &at, |row, weight| {
                if weight < 0.0 {
                    let reason = format!("the weight {weight} is negative");
                    return Err(Error::Invalid { what: at(row).to_string(), reason });
                }
                weights.push(weight);
                Ok(())
            })?,
            Role::Group => each_text(column, &at, |row, text| {
                let group = text.parse();
                let error = |_| Error::NotAGroup { place: at(row), value: cut(text) };
                groups.push(group.map_err(error)?);
                Ok(())
            })?,
            Role::RowId => each_text(column, &at, |_, text| {
                row_ids.push(text.to_owned());
                Ok(())
            })?,
            Role::Ignored => {}
        }
    }
    let mut table = Table::new(header.features(), features)?;
    for (name, texts) in dictionaries {
        table = table.with_dictionary(name, texts)?;
    }
    if options.weights.is_some() {
        table = table.with_weights(weights)?;
    }
    if options.groups.is_some() {
        table = table.with_groups(groups)?;
    }
    if options.row_ids.is_some() {
        table = table.with_row_ids(row_ids)?;
    }
    match &options.target {
        Some(column) => target.finish(table, column, place.clone().at_line(1), n_rows as u64),
        None => Ok(table),
    }
}

/// Writes a feature into its column of the table, and says what its codes stand for if it is one of categories.
fn feature(
    column: &Column,
    role: Role,
    name: &str,
    mut into: ArrayViewMut1<'_, f64>,
    options: &ReadOptions,
    at: &impl Fn(usize) -> Place,
) -> Result<Option<Vec<String>>> {
    if role == Role::Number && !column.is_text() {
        for (row, cell) in into.iter_mut().enumerate() {
            *cell = match column.number(row) {
                Some(value) if !value.is_finite() && options.non_finite == NonFinite::Refuse => {
                    return Err(Error::NotFinite { place: at(row), value: value.to_string() });
                }
                value => value.unwrap_or(f64::NAN),
            };
        }
        return Ok(None);
    }
    let mut codes = match options.categories.get(name) {
        Some(texts) if !texts.is_empty() => Codes::known(texts),
        _ => Codes::learn(options.max_categories),
    };
    for (row, cell) in into.iter_mut().enumerate() {
        *cell = match column.text(row) {
            Some(text) => codes.code(&text, || at(row))? as f64,
            None => f64::NAN,
        };
    }
    let (texts, places) = codes.sorted();
    into.iter_mut()
        .filter(|code| !code.is_nan())
        .for_each(|code| *code = places[*code as usize] as f64);
    Ok(Some(texts))
}

fn each_text(
    column: &Column,
    at: &impl Fn(usize) -> Place,
    mut each: impl FnMut(usize, &str) -> Result<()>,
) -> Result<()> {
    (0..column.len()).try_for_each(|row| match column.text(row) {
        Some(text) => each(row, &text),
        None => Err(Error::EmptyCell { place: at(row) }),
    })
}

fn each_number(
    column: &Column,
    at: &impl Fn(usize) -> Place,
    mut each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<()> {
    (0..column.len()).try_for_each(|row| match column.number(row) {
        Some(value) if value.is_finite() => each(row, value),
        Some(value) => Err(Error::NotFinite { place: at(row), value: value.to_string() }),
        None if column.is_text() => Err(Error::NotANumber {
            place: at(row),
            value: column.text(row).as_deref().map(cut).unwrap_or_default(),
        }),
        None => Err(Error::EmptyCell { place: at(row) }),
    })
}
