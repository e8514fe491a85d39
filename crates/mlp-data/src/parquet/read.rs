//! A Parquet file as a table.

use std::fs::File;
use std::path::Path;

use ::parquet::file::reader::{FileReader, SerializedFileReader};

use super::assemble::assemble;
use super::column::{Column, failed};
use crate::error::{Error, Place, Result};
use crate::read::ReadOptions;
use crate::read::roles::{Header, names};
use crate::table::Table;

/// Reads a table from a Parquet file (uncompressed or with Snappy).
///
/// Columns of numbers and booleans are features, columns of texts categories; the options say which are the target, weights, groups and row
/// ids. A null feature is a missing value, NaN. Whole numbers above 2⁵³ lose their last digits as features, weights and targets, not as
/// categories, groups and row ids.
///
/// # Errors
/// Each names the file, and as far as they are known the column, and the row (from 1) as the line: a file that cannot be opened or is
/// damaged, no row, a missing column, one of lists, structures or decimals, a value that is not finite, a null target, a single class, a
/// bound of the options that was reached.
///
/// ```
/// use mlp_data::{ReadOptions, Table, read_parquet, write_parquet};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("wine.parquet");
/// let wine = Table::new(["alcohol", "ph"], ndarray::array![[9.4, 3.5], [9.8, f64::NAN]])?;
/// write_parquet(&path, &wine)?;
/// let again = read_parquet(&path, &ReadOptions::new())?;
/// assert_eq!(again.features()[[0, 1]], 3.5);
/// assert!(again.features()[[1, 1]].is_nan());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_parquet(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Table> {
    let path = path.as_ref();
    let place = Place::file(path.display().to_string());
    let file = File::open(path).map_err(|source| Error::File {
        place: place.clone(),
        action: "open",
        source,
    })?;
    // The decoder panics on some damaged files.
    mlp_core::catch_panic(|| read(file, &place, options))
        .map_err(|panicked| failed(&place, &format!("the file is damaged: {panicked}")))?
}

fn read(file: File, place: &Place, options: &ReadOptions) -> Result<Table> {
    let fail = |error: ::parquet::errors::ParquetError| failed(place, &error.to_string());
    let reader = SerializedFileReader::new(file).map_err(fail)?;
    let metadata = reader.metadata().file_metadata();
    let described = metadata.schema_descr().columns();
    let limit = |what, given: u64, limit: usize| Error::Limit {
        place: place.clone(),
        what,
        given,
        limit: limit as u64,
    };
    if described.len() > options.max_columns {
        let (given, bound) = (described.len() as u64, options.max_columns);
        return Err(limit("too many columns", given, bound));
    }
    let rows = u64::try_from(metadata.num_rows()).unwrap_or(u64::MAX);
    let given = rows.saturating_mul(described.len() as u64);
    if given > options.max_values as u64 {
        return Err(limit("too many values in the table", given, options.max_values));
    }
    if rows == 0 {
        return Err(Error::NoRows { place: place.clone() });
    }
    let header =
        Header::new(names(described.iter().map(|c| c.name().as_bytes()), place)?, place, options)?;
    let mut columns = Vec::with_capacity(described.len());
    for (at, (described, name)) in described.iter().zip(&header.names).enumerate() {
        let place = place.clone().at_column(name);
        let mut column = Column::new(described, &place)?;
        for group in 0..reader.num_row_groups() {
            let values = reader.get_row_group(group).and_then(|g| g.get_column_reader(at));
            let values = values.map_err(|error| failed(&place, &error.to_string()))?;
            column.append(values, described, &place)?;
            if column.len() as u64 > rows {
                break;
            }
        }
        if column.len() as u64 != rows {
            let reason = format!("the column has {} values, the file {rows} rows", column.len());
            return Err(failed(&place, &reason));
        }
        columns.push(column);
    }
    assemble(header, columns, rows as usize, place, options)
}
