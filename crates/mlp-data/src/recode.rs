//! The same texts by other codes.

use std::collections::HashMap;

use crate::error::{Error, Result, cut, name_some};
use crate::table::{Table, TargetColumn, code};

impl Table {
    /// The table with the codes of a column of categories, or of a target of classes, changed to stand for these texts: those of another table,
    /// or of a model that exists. The texts of the rows stay as they are.
    ///
    /// ```
    /// use mlp_data::{ReadOptions, read_csv_from};
    ///
    /// let options = ReadOptions::new().with_categories("colour");
    /// let train = read_csv_from("colour\nblue\ngreen\nred\n".as_bytes(), "train.csv", &options)?;
    /// let new = read_csv_from("colour\nblue\nred\n".as_bytes(), "new.csv", &options)?;
    /// assert_eq!(new.column("colour")?.to_vec(), [0.0, 1.0]);
    /// let new = new.recode("colour", train.dictionary("colour").unwrap_or_default())?;
    /// assert_eq!(new.column("colour")?.to_vec(), [0.0, 2.0]);
    /// # Ok::<(), mlp_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no such column, it holds numbers, a text stands twice, or a row has a text that is not among these.
    pub fn recode<V: AsRef<str>>(
        &self,
        column: &str,
        texts: impl IntoIterator<Item = V>,
    ) -> Result<Self> {
        let texts: Vec<String> = texts.into_iter().map(|text| text.as_ref().to_owned()).collect();
        match self.target() {
            TargetColumn::Classes { name, labels, classes } if name == column => {
                let places = places(classes, &texts);
                let place = |(row, &label): (usize, &usize)| {
                    places[label].ok_or_else(|| unknown(column, row, &classes[label], &texts))
                };
                let labels = labels.iter().enumerate().map(place).collect::<Result<Vec<_>>>()?;
                return self.clone().with_classes(name, labels, texts);
            }
            _ => {}
        }
        let values = self.column(column)?;
        let known = self.dictionary(column).ok_or_else(|| Error::Invalid {
            what: format!("column {column:?}"),
            reason: "it holds numbers, and only categories have texts".to_owned(),
        })?;
        let places = places(known, &texts);
        let place = |(row, &value): (usize, &f64)| match code(value, known.len()) {
            Some(code) => match places[code] {
                Some(place) => Ok(place as f64),
                None => Err(unknown(column, row, &known[code], &texts)),
            },
            None => Ok(value),
        };
        let mut codes =
            values.iter().enumerate().map(place).collect::<Result<Vec<_>>>()?.into_iter();
        self.map_column(column, |value| codes.next().unwrap_or(value))?
            .with_dictionary(column, texts)
    }
}

/// Where each known text stands among the new ones, if it does.
fn places(known: &[String], texts: &[String]) -> Vec<Option<usize>> {
    let index: HashMap<&String, usize> =
        texts.iter().enumerate().map(|(place, text)| (text, place)).collect();
    known.iter().map(|text| index.get(text).copied()).collect()
}

fn unknown(column: &str, row: usize, text: &str, texts: &[String]) -> Error {
    Error::Invalid {
        what: format!("column {column:?}"),
        reason: format!("row {row}: {:?} is not among {}", cut(text), name_some(texts)),
    }
}
