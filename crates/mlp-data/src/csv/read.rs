//! A CSV file as a table.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ::csv::{ByteRecord, Reader, ReaderBuilder};
use ndarray::Array2;

use super::bounded::{Bounded, TooLong};
use crate::error::{Error, Place, Result};
use crate::read::cell::{Number, number, number_error, text};
use crate::read::roles::{Header, Role, names};
use crate::read::target::{Codes, TargetCells};
use crate::read::{NonFinite, ReadOptions};
use crate::table::{Origin, Table};

/// Reads a table from a CSV file: a header line, then a row a record (RFC 4180; blank lines are skipped).
///
/// # Errors
/// Each names the file, and as far as they are known the line, the column and the value: a file that cannot be opened, no header, no row,
/// an unnamed or repeated column, a missing one, a ragged record, a cell that is not UTF-8 or holds NUL, a cell that is no finite number,
/// a single class, a bound of the options that was reached.
pub fn read_csv(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Table> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| Error::File {
        place: Place::file(&name),
        action: "open",
        source,
    })?;
    read_csv_from(file, &name, options)
}

/// Reads a table from anything that gives the bytes of a CSV file; `name` is what errors call it.
///
/// # Errors
/// As [`read_csv`].
pub fn read_csv_from(reader: impl Read, name: &str, options: &ReadOptions) -> Result<Table> {
    let mut records = Records::new(reader, name, options)?;
    let file = Place::file(name);
    if !records.next()? {
        return Err(Error::NoHeader { place: file });
    }
    let line = file.clone().at_line(records.line);
    let header = Header::new(names(&records.record, &line)?, &line, options)?;
    let mut cells = Cells::new(&header, file, options);
    while records.next()? {
        cells.push(&records.record, records.line)?;
    }
    cells.finish(records.line)
}

/// The records of a file, one at a time, each within its bounds.
struct Records<'a, R> {
    reader: Reader<Bounded<R>>,
    record: ByteRecord,
    line: u64,
    name: &'a str,
    options: &'a ReadOptions,
}

impl<'a, R: Read> Records<'a, R> {
    fn new(reader: R, name: &'a str, options: &'a ReadOptions) -> Result<Self> {
        let delimiter = u8::try_from(options.delimiter)
            .ok()
            .filter(|byte| byte.is_ascii() && !b"\"\r\n\0".contains(byte))
            .ok_or_else(|| Error::Invalid {
                what: format!("the delimiter {:?}", options.delimiter),
                reason: "it must be an ASCII character other than a quote, a line end and NUL"
                    .to_owned(),
            })?;
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            // A carriage return before the line end stays in the last cell, where it is trimmed.
            .terminator(::csv::Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(64 << 10)
            .from_reader(Bounded::new(reader, options.max_record_bytes));
        Ok(Self { reader, record: ByteRecord::new(), line: 1, name, options })
    }

    /// Reads the next record that is no blank line; false at the end of the file.
    fn next(&mut self) -> Result<bool> {
        loop {
            let first_line = self.reader.position().line();
            self.reader.get_mut().restart();
            if !self
                .reader
                .read_byte_record(&mut self.record)
                .map_err(|error| self.failed(error))?
            {
                return Ok(false);
            }
            let next_line = self.reader.position().line();
            // Below blank lines, which the reader skips, and with line ends inside, the record's line is counted from its end.
            self.line = if next_line == first_line + 1 {
                first_line
            } else {
                let bytes = self.record.as_slice();
                let inside = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
                // A quote that is still open at the end of the file has taken the last line end, too.
                let is_open = self.reader.get_ref().is_exhausted();
                (next_line - u64::from(!is_open)).saturating_sub(inside).max(first_line)
            };
            if !(self.record.len() == 1 && &self.record[0] == b"\r") {
                break;
            }
        }
        if self.record.len() > self.options.max_columns {
            let place = Place::file(self.name).at_line(self.line);
            let (given, bound) = (self.record.len(), self.options.max_columns);
            return Err(limit(place, "too many cells in a record", given, bound));
        }
        Ok(true)
    }

    fn failed(&self, error: ::csv::Error) -> Error {
        let place = Place::file(self.name).at_line(self.reader.position().line());
        match error.into_kind() {
            ::csv::ErrorKind::Io(source) if source.get_ref().is_some_and(|e| e.is::<TooLong>()) => {
                let bound = self.options.max_record_bytes;
                limit(place, "a record is too long in bytes", bound + 1, bound)
            }
            ::csv::ErrorKind::Io(source) => Error::File { place, action: "read", source },
            other => Error::File {
                place,
                action: "read",
                source: std::io::Error::other(format!("{other:?}")),
            },
        }
    }
}

fn limit(place: Place, what: &'static str, given: usize, limit: usize) -> Error {
    Error::Limit { place, what, given: given as u64, limit: limit as u64 }
}

/// The cells read so far, by their roles.
struct Cells<'a> {
    header: &'a Header,
    options: &'a ReadOptions,
    file: Place,
    features: Vec<f64>,
    categories: Vec<Codes>,
    target: TargetCells,
    weights: Vec<f64>,
    groups: Vec<u64>,
    row_ids: Vec<String>,
    lines: Vec<u64>,
}

impl<'a> Cells<'a> {
    fn new(header: &'a Header, file: Place, options: &'a ReadOptions) -> Self {
        let codes = |column: &String| match options.categories.get(column) {
            Some(texts) if !texts.is_empty() => Codes::known(texts),
            _ => Codes::learn(options.max_categories),
        };
        Self {
            header,
            options,
            file,
            features: Vec::new(),
            categories: header.categories.iter().map(codes).collect(),
            target: TargetCells::new(&options.target_kind, options.max_categories),
            weights: Vec::new(),
            groups: Vec::new(),
            row_ids: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn push(&mut self, record: &ByteRecord, line: u64) -> Result<()> {
        let at_line = || self.file.clone().at_line(line);
        if record.len() != self.header.names.len() {
            let (expected, given) = (self.header.names.len(), record.len());
            return Err(Error::Ragged { place: at_line(), expected, given });
        }
        if self.features.len() + record.len() > self.options.max_values {
            let (given, bound) = (self.features.len() + record.len(), self.options.max_values);
            return Err(limit(at_line(), "too many values in the table", given, bound));
        }
        for ((cell, role), name) in record.iter().zip(&self.header.roles).zip(&self.header.names) {
            let place = || self.file.clone().at_line(line).at_column(name);
            if cell.len() > self.options.max_cell_bytes {
                let bound = self.options.max_cell_bytes;
                return Err(limit(place(), "a cell is too long in bytes", cell.len(), bound));
            }
            match role {
                Role::Number => {
                    let value =
                        feature(cell, self.options).ok_or_else(|| number_error(cell, place()))?;
                    self.features.push(value);
                }
                Role::Category(position) => {
                    let spelt = text(cell, &place())?.trim();
                    self.features.push(if self.options.missing.iter().any(|m| m == spelt) {
                        f64::NAN
                    } else if spelt.is_empty() {
                        return Err(Error::EmptyCell { place: place() });
                    } else {
                        self.categories[*position].code(spelt, place)? as f64
                    });
                }
                Role::Target => self.target.push(cell, place)?,
                Role::Weight => match number(cell) {
                    Number::Finite(weight) if weight >= 0.0 => self.weights.push(weight),
                    Number::Finite(weight) => {
                        return Err(Error::Invalid {
                            what: place().to_string(),
                            reason: format!("the weight {weight} is negative"),
                        });
                    }
                    _ => return Err(number_error(cell, place())),
                },
                Role::Group => {
                    let spelt = text(cell, &place())?.trim();
                    self.groups.push(spelt.parse().map_err(|_| Error::NotAGroup {
                        place: place(),
                        value: crate::error::cut(spelt),
                    })?);
                }
                Role::RowId => {
                    let spelt = text(cell, &place())?;
                    self.row_ids.push(spelt.strip_suffix('\r').unwrap_or(spelt).to_owned());
                }
                Role::Ignored => {}
            }
        }
        self.lines.push(line);
        Ok(())
    }

    fn finish(mut self, last_line: u64) -> Result<Table> {
        let names = self.header.features();
        let (n_rows, n_columns) = (self.lines.len(), names.len());
        let Some(&first_line) = self.lines.first() else {
            return Err(Error::NoRows { place: self.file.at_line(last_line + 1) });
        };
        let dictionaries = self.sort_categories(n_columns);
        let features = Array2::from_shape_vec((n_rows, n_columns), self.features)
            .map_err(|error| Error::Mismatch { reason: error.to_string() })?;
        let mut table = Table::new(names, features)?;
        for (column, texts) in self.header.categories.iter().zip(dictionaries) {
            table = table.with_dictionary(column, texts)?;
        }
        if self.options.weights.is_some() {
            table = table.with_weights(self.weights)?;
        }
        if self.options.groups.is_some() {
            table = table.with_groups(self.groups)?;
        }
        if self.options.row_ids.is_some() {
            table = table.with_row_ids(self.row_ids)?;
        }
        let last_line = self.lines[n_rows - 1];
        let file = self.file.file.as_str().into();
        let table = table.with_origin(Origin { file, lines: self.lines });
        match &self.options.target {
            Some(column) => {
                self.target.finish(table, column, self.file.at_line(first_line), last_line)
            }
            None => Ok(table),
        }
    }

    /// Gives the texts of each column of categories in their order, and the codes in the features their place in it.
    fn sort_categories(&mut self, n_columns: usize) -> Vec<Vec<String>> {
        let feature_roles: Vec<Role> = self
            .header
            .roles
            .iter()
            .copied()
            .filter(|role| matches!(role, Role::Number | Role::Category(_)))
            .collect();
        let (texts, places): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.categories).into_iter().map(Codes::sorted).unzip();
        if !texts.is_empty() {
            for row in self.features.chunks_exact_mut(n_columns) {
                for (value, role) in row.iter_mut().zip(&feature_roles) {
                    if let (Role::Category(position), false) = (role, value.is_nan()) {
                        *value = places[*position][*value as usize] as f64;
                    }
                }
            }
        }
        texts
    }
}

/// The number in a feature cell, if it may stand there.
fn feature(cell: &[u8], options: &ReadOptions) -> Option<f64> {
    match number(cell) {
        Number::Finite(value) if options.missing.is_empty() => Some(value),
        parsed => {
            let spelt = cell.trim_ascii();
            if options.missing.iter().any(|marker| marker.as_bytes() == spelt) {
                return Some(f64::NAN);
            }
            match parsed {
                Number::Finite(value) => Some(value),
                Number::NonFinite(value) if options.non_finite == NonFinite::Accept => Some(value),
                _ => None,
            }
        }
    }
}
