//! The values of one column of a Parquet file.

use std::borrow::Cow;

use ::parquet::basic::{ConvertedType, Type as PhysicalType};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::DataType;
use ::parquet::schema::types::ColumnDescriptor;

use crate::error::{Error, Place, Result, cut};

/// Values in the order of the rows; nothing where the file has a null.
#[derive(Debug)]
pub(super) enum Column {
    Numbers(Vec<Option<f64>>),
    /// Whole numbers of 64 bits, of which a double does not keep every digit: as keys they need them.
    Signed(Vec<Option<i64>>),
    Unsigned(Vec<Option<u64>>),
    Texts(Vec<Option<String>>),
}

/// So many values are decoded at a time.
const BATCH: usize = 8_192;

impl Column {
    /// An empty column for what the file declares.
    ///
    /// # Errors
    /// If it holds lists or other structures, decimals, or anything else that is neither a number nor text.
    pub(super) fn new(described: &ColumnDescriptor, place: &Place) -> Result<Self> {
        let refused = |what: &str| Error::Invalid {
            what: place.to_string(),
            reason: format!("{what} cannot be columns of a table: numbers, booleans and texts can"),
        };
        if described.max_rep_level() > 0 || described.path().parts().len() > 1 {
            return Err(refused("lists and structures"));
        }
        if described.converted_type() == ConvertedType::DECIMAL {
            return Err(refused("decimals"));
        }
        match described.physical_type() {
            PhysicalType::INT64 if is_unsigned(described) => Ok(Self::Unsigned(Vec::new())),
            PhysicalType::INT64 => Ok(Self::Signed(Vec::new())),
            PhysicalType::BOOLEAN
            | PhysicalType::INT32
            | PhysicalType::FLOAT
            | PhysicalType::DOUBLE => Ok(Self::Numbers(Vec::new())),
            PhysicalType::BYTE_ARRAY => Ok(Self::Texts(Vec::new())),
            other => Err(refused(&format!("values of type {other}"))),
        }
    }

    /// Takes the values of a row group.
    pub(super) fn append(
        &mut self,
        reader: ColumnReader,
        described: &ColumnDescriptor,
        place: &Place,
    ) -> Result<()> {
        let (unsigned, nullable) = (is_unsigned(described), described.max_def_level() > 0);
        match (self, reader) {
            (Self::Numbers(to), ColumnReader::BoolColumnReader(mut from)) => {
                values(&mut from, nullable, place, |v| to.push(v.map(|v| f64::from(u8::from(*v)))))
            }
            (Self::Numbers(to), ColumnReader::Int32ColumnReader(mut from)) => {
                let number = |v: i32| if unsigned { f64::from(v as u32) } else { f64::from(v) };
                values(&mut from, nullable, place, |v| to.push(v.map(|v| number(*v))))
            }
            (Self::Signed(to), ColumnReader::Int64ColumnReader(mut from)) => {
                values(&mut from, nullable, place, |v| to.push(v.copied()))
            }
            (Self::Unsigned(to), ColumnReader::Int64ColumnReader(mut from)) => {
                values(&mut from, nullable, place, |v| to.push(v.map(|v| v.cast_unsigned())))
            }
            (Self::Numbers(to), ColumnReader::FloatColumnReader(mut from)) => {
                values(&mut from, nullable, place, |v| to.push(v.map(|v| f64::from(*v))))
            }
            (Self::Numbers(to), ColumnReader::DoubleColumnReader(mut from)) => {
                values(&mut from, nullable, place, |v| to.push(v.copied()))
            }
            (Self::Texts(to), ColumnReader::ByteArrayColumnReader(mut from)) => {
                let mut damaged = None;
                values(&mut from, nullable, place, |v| {
                    to.push(v.map(|bytes| match std::str::from_utf8(bytes.data()) {
                        Ok(text) => text.to_owned(),
                        Err(_) => {
                            damaged.get_or_insert(to.len());
                            String::from_utf8_lossy(bytes.data()).into_owned()
                        }
                    }));
                })?;
                match damaged {
                    Some(row) => Err(Error::NotUtf8 {
                        place: place.clone().at_line(row as u64 + 1),
                        value: to[row].as_deref().map(cut).unwrap_or_default(),
                    }),
                    None => Ok(()),
                }
            }
            _ => Err(failed(place, "a row group has another type than the file declares")),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Signed(values) => values.len(),
            Self::Unsigned(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Whether the values are texts, and no numbers.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Texts(_))
    }

    /// The value of a row as a number, to the digits that a double has; nothing for a null or a text.
    pub(super) fn number(&self, row: usize) -> Option<f64> {
        match self {
            Self::Numbers(values) => values[row],
            Self::Signed(values) => values[row].map(|value| value as f64),
            Self::Unsigned(values) => values[row].map(|value| value as f64),
            Self::Texts(_) => None,
        }
    }

    /// The value of a row as text, as a CSV file would have it; nothing for a null.
    pub(super) fn text(&self, row: usize) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Numbers(values) => (values[row]? + 0.0).to_string().into(),
            Self::Signed(values) => values[row]?.to_string().into(),
            Self::Unsigned(values) => values[row]?.to_string().into(),
            Self::Texts(values) => values[row].as_deref()?.into(),
        })
    }
}

fn is_unsigned(described: &ColumnDescriptor) -> bool {
    matches!(described.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64)
}

/// Hands out every value of a row group, nothing for a null.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    nullable: bool,
    place: &Place,
    mut each: impl FnMut(Option<&T::T>),
) -> Result<()> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    loop {
        levels.clear();
        values.clear();
        let defined = nullable.then_some(&mut levels);
        let (records, _, _) = reader
            .read_records(BATCH, defined, None, &mut values)
            .map_err(|error| failed(place, &error.to_string()))?;
        if records == 0 {
            return Ok(());
        }
        if nullable {
            let mut next = values.iter();
            for level in &levels {
                each(if *level == 0 { None } else { next.next() });
            }
        } else {
            values.iter().for_each(|value| each(Some(value)));
        }
    }
}

pub(super) fn failed(place: &Place, reason: &str) -> Error {
    let source = std::io::Error::other(cut(reason));
    Error::File { place: place.clone(), action: "read", source }
}
