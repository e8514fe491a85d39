//! A table as a Parquet file.

use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, ConvertedType, Repetition, Type as PhysicalType};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::Type;

use crate::durable::write_durably;
use crate::error::{Error, Place, Result};
use crate::table::{Table, TargetColumn, code};

/// Rows of a row group: as many are held in memory by those who read the file bit by bit.
const GROUP: usize = 1 << 17;

/// Writes a table to a Parquet file with Snappy compression: features, then the target; weights, groups and ids are not written.
///
/// The file appears complete or not at all, and is on the disk when this returns. Numbers keep every bit, NaN becomes null; categories and
/// classes are written as their texts.
///
/// # Errors
/// If the file cannot be written.
pub fn write_parquet(path: impl AsRef<Path>, table: &Table) -> Result<()> {
    let path = path.as_ref();
    let failed = |source| Error::File {
        place: Place::file(path.display().to_string()),
        action: "write",
        source,
    };
    let bytes = encode(table).map_err(|error| failed(std::io::Error::other(error)))?;
    write_durably(path, &bytes).map_err(failed)
}

fn encode(table: &Table) -> Result<Vec<u8>, ParquetError> {
    let names = table.names().iter().map(String::as_str).chain(table.target().name());
    let is_text = |column: usize| match table.names().get(column) {
        Some(_) => table.dictionary_at(column).is_some(),
        None => matches!(table.target(), TargetColumn::Classes { .. }),
    };
    let fields = names.enumerate().map(|(column, name)| {
        let (physical, converted) = if is_text(column) {
            (PhysicalType::BYTE_ARRAY, ConvertedType::UTF8)
        } else {
            (PhysicalType::DOUBLE, ConvertedType::NONE)
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_converted_type(converted);
        field.build().map(Arc::new)
    });
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("table").with_fields(fields).build()?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    for start in (0..table.n_rows()).step_by(GROUP) {
        let rows = start..(start + GROUP).min(table.n_rows());
        let mut group = file.next_row_group()?;
        let mut column = 0;
        while let Some(writer) = group.next_column()? {
            write_column(writer, table, column, rows.clone())?;
            column += 1;
        }
        group.close()?;
    }
    file.into_inner()
}

fn write_column(
    mut writer: SerializedColumnWriter<'_>,
    table: &Table,
    column: usize,
    rows: std::ops::Range<usize>,
) -> Result<(), ParquetError> {
    let texts = |values: Vec<Option<&str>>, writer: &mut SerializedColumnWriter<'_>| {
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<ByteArray> = values.into_iter().flatten().map(ByteArray::from).collect();
        writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None)
    };
    let numbers = |values: Vec<f64>, writer: &mut SerializedColumnWriter<'_>| {
        let levels: Vec<i16> = values.iter().map(|value| i16::from(!value.is_nan())).collect();
        let values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        writer.typed::<DoubleType>().write_batch(&values, Some(&levels), None)
    };
    if column < table.n_features() {
        let values = rows.map(|row| table.features()[[row, column]]);
        match table.dictionary_at(column) {
            Some(dictionary) => {
                let text = |value| Some(dictionary[code(value, dictionary.len())?].as_str());
                texts(values.map(text).collect(), &mut writer)?
            }
            None => numbers(values.collect(), &mut writer)?,
        };
    } else {
        match table.target() {
            TargetColumn::Classes { labels, classes, .. } => {
                let text = |row: usize| Some(classes[labels[row]].as_str());
                texts(rows.map(text).collect(), &mut writer)?;
            }
            TargetColumn::Values { values, .. } => {
                numbers(values[rows].to_vec(), &mut writer)?;
            }
            TargetColumn::Absent => {}
        }
    }
    writer.close()
}
