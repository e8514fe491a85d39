//! A table as a CSV file.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use ::csv::Writer;

use crate::durable::write_durably;
use crate::error::{Error, Place, Result};
use crate::table::{Table, TargetColumn, code};

/// Writes a table to a CSV file: features, then the target; weights, groups and ids are not written.
///
/// The file appears complete or not at all, and is on the disk when this returns. Numbers are written with as many digits as it takes to
/// read them back exactly; NaN and infinity as `NaN`, `inf` and `-inf`, which are read back with
/// [`NonFinite::Accept`](crate::NonFinite::Accept); categories and classes as their texts, a missing category as an empty cell, which is read
/// back with [`ReadOptions::with_missing`](crate::ReadOptions::with_missing)`([""])`.
///
/// # Errors
/// If the file cannot be written.
pub fn write_csv(path: impl AsRef<Path>, table: &Table) -> Result<()> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    write_csv_to(&mut bytes, table)?;
    write_durably(path, &bytes).map_err(|source| Error::File {
        place: Place::file(path.display().to_string()),
        action: "write",
        source,
    })
}

/// Writes a table as CSV to anything that takes bytes.
///
/// # Errors
/// If the writer fails.
pub fn write_csv_to(writer: impl Write, table: &Table) -> Result<()> {
    let mut csv = Writer::from_writer(writer);
    let header = table.names().iter().map(String::as_str).chain(table.target().name());
    csv.write_record(header).map_err(failed)?;
    for row in 0..table.n_rows() {
        for (column, &value) in table.features().row(row).iter().enumerate() {
            csv.write_field(&*cell(table, column, value)).map_err(failed)?;
        }
        match table.target() {
            TargetColumn::Absent => {}
            TargetColumn::Classes { labels, classes, .. } => {
                csv.write_field(&classes[labels[row]]).map_err(failed)?;
            }
            TargetColumn::Values { values, .. } => {
                csv.write_field(format!("{:?}", values[row])).map_err(failed)?;
            }
        }
        csv.write_record(None::<&[u8]>).map_err(failed)?;
    }
    csv.flush().map_err(|error| failed(error.into()))
}

fn cell(table: &Table, column: usize, value: f64) -> Cow<'_, str> {
    match table.dictionary_at(column) {
        // A missing value has no code, and any word for it might be a text too.
        Some(texts) => code(value, texts.len()).map_or("", |code| texts[code].as_str()).into(),
        None => format!("{value:?}").into(),
    }
}

fn failed(error: ::csv::Error) -> Error {
    Error::File {
        place: Place::file("the table"),
        action: "write",
        source: std::io::Error::other(error),
    }
}
