//! Named rows: a struct or a JSON object as the row a model takes, and back.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use mlp_core::Signature;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Place, Result, cut, name_some};
use crate::table::{Table, code};

/// What becomes of a name whose value is `null`: an `Option` that is `None`, or a NaN of a struct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nulls {
    /// It is a problem.
    #[default]
    Refuse,
    /// It is a missing value, NaN.
    Missing,
}

/// One thing that is wrong with a named row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowProblem {
    /// The row is no object of names and values.
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// A name of the signature is not in the row.
    Missing {
        /// The name.
        name: String,
    },
    /// A name of the row is not in the signature.
    Unknown {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A name stands twice in the row.
    Twice {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A value is of another type.
    Mistyped {
        /// The name.
        name: String,
        /// What is needed.
        needed: &'static str,
        /// What there is.
        found: String,
    },
    /// A text is not in the dictionary.
    UnknownCategory {
        /// The name.
        name: String,
        /// The text, cut to 80 characters.
        value: String,
        /// The first of the known texts.
        known: String,
    },
    /// A code stands for no text, or a number has no form in JSON.
    NotRepresentable {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for RowProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject { found } => {
                write!(f, "it is {found}, not an object of names and values")
            }
            Self::Missing { name } => write!(f, "{name:?} is missing"),
            Self::Unknown { name } => write!(f, "{name:?} is unknown"),
            Self::Twice { name } => write!(f, "{name:?} stands twice"),
            Self::Mistyped { name, needed, found } => {
                write!(f, "{name:?} must be {needed}, it is {found}")
            }
            Self::UnknownCategory { name, value, known } => {
                write!(f, "{name:?} is {value:?}, it must be one of {known}")
            }
            Self::NotRepresentable { name, value } => write!(f, "{name:?} cannot be {value}"),
        }
    }
}

/// Turns structs and JSON objects into rows in the order of a model's signature, and rows back.
///
/// ```
/// use mlp_core::Signature;
/// use mlp_data::RowCodec;
///
/// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
/// struct Wine { colour: String, ph: f64 }
///
/// let signature = Signature::classifier(["ph", "colour"], ["plain", "good"]);
/// let codec = RowCodec::new(&signature).with_dictionary("colour", ["red", "white"])?;
/// let wine = Wine { colour: "white".to_owned(), ph: 3.2 };
/// let row = codec.encode(&wine)?;
/// assert_eq!(row, [3.2, 1.0]);
/// assert_eq!(codec.decode::<Wine>(&row)?, wine);
///
/// let error = codec.encode_json(r#"{"ph": "acid", "color": "red"}"#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the row does not fit: \"ph\" must be a number, it is the text \"acid\"; \"color\" is unknown; \"colour\" is missing",
/// );
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RowCodec {
    signature: Signature,
    positions: HashMap<String, usize>,
    dictionaries: BTreeMap<usize, Vec<String>>,
    nulls: Nulls,
}

/// How many problems of one row are listed; the others are counted.
const LISTED: usize = 100;

/// The longest JSON object that is looked at: room for 16,384 features with names of a thousand bytes.
const LONGEST_JSON: usize = 16 << 20;

impl RowCodec {
    /// A codec of rows of numbers.
    #[must_use]
    pub fn new(signature: &Signature) -> Self {
        let positions =
            signature.features().iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
        let (signature, dictionaries) = (signature.clone(), BTreeMap::new());
        Self { signature, positions, dictionaries, nulls: Nulls::Refuse }
    }

    /// Makes a feature one of categories: its value is a text, the position of which is what the model takes.
    ///
    /// # Errors
    /// If the signature has no such feature, or a text stands twice.
    pub fn with_dictionary<T: Into<String>>(
        mut self,
        feature: &str,
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        let Some(&position) = self.positions.get(feature) else {
            let known = name_some(self.signature.features());
            return Err(Error::UnknownColumn { name: feature.to_owned(), known });
        };
        let texts: Vec<String> = texts.into_iter().map(Into::into).collect();
        if let Some(twice) = (0..texts.len()).find(|&i| texts[..i].contains(&texts[i])) {
            return Err(Error::DuplicateName { what: "the category", name: texts[twice].clone() });
        }
        self.dictionaries.insert(position, texts);
        Ok(self)
    }

    /// Takes the dictionaries of the table's columns that the signature names.
    #[must_use]
    pub fn with_dictionaries_of(mut self, table: &Table) -> Self {
        for (name, &position) in &self.positions {
            if let Some(texts) = table.dictionary(name) {
                self.dictionaries.insert(position, texts.to_vec());
            }
        }
        self
    }

    /// Sets what becomes of `null`.
    #[must_use]
    pub fn with_nulls(mut self, nulls: Nulls) -> Self {
        self.nulls = nulls;
        self
    }

    /// The row of a struct, or of anything that serialises as an object. A `bool` is 0 or 1.
    ///
    /// # Errors
    /// If names are missing, unknown or of another type: all of them in one error.
    pub fn encode<T: Serialize + ?Sized>(&self, row: &T) -> Result<Vec<f64>> {
        let value = serde_json::to_value(row).map_err(|error| Error::Invalid {
            what: "the row".to_owned(),
            reason: error.to_string(),
        })?;
        match value {
            Value::Object(object) => self.encode_pairs(object.into_iter().collect()),
            other => Err(not_an_object(&other)),
        }
    }

    /// The row of a JSON object of at most 16 MiB. A name that stands twice is a problem, whichever value it has.
    ///
    /// # Errors
    /// If the text is longer or no JSON; otherwise as [`encode`](Self::encode).
    pub fn encode_json(&self, json: &str) -> Result<Vec<f64>> {
        let failed = |error: serde_json::Error| Error::Invalid {
            what: "the JSON of the row".to_owned(),
            reason: error.to_string(),
        };
        if json.len() > LONGEST_JSON {
            let (given, limit) = (json.len() as u64, LONGEST_JSON as u64);
            let (place, what) = (Place::file("the row"), "a JSON object is too long in bytes");
            return Err(Error::Limit { place, what, given, limit });
        }
        if !json.trim_ascii_start().starts_with('{') {
            return Err(not_an_object(&serde_json::from_str::<Value>(json).map_err(failed)?));
        }
        let pairs: Pairs = serde_json::from_str(json).map_err(failed)?;
        self.encode_pairs(pairs.0)
    }

    fn encode_pairs(&self, pairs: Vec<(String, Value)>) -> Result<Vec<f64>> {
        let mut problems = Problems::default();
        let mut row = vec![None; self.signature.n_features()];
        for (name, value) in &pairs {
            match self.positions.get(name) {
                None => problems.add(RowProblem::Unknown { name: cut(name) }),
                Some(&position) if row[position].is_some() => {
                    problems.add(RowProblem::Twice { name: cut(name) });
                }
                Some(&position) => match self.number(position, value) {
                    Ok(number) => row[position] = Some(number),
                    Err(problem) => {
                        row[position] = Some(f64::NAN);
                        problems.add(problem);
                    }
                },
            }
        }
        for (value, name) in row.iter().zip(self.signature.features()) {
            if value.is_none() {
                problems.add(RowProblem::Missing { name: name.clone() });
            }
        }
        problems.into_result()?;
        Ok(row.into_iter().flatten().collect())
    }

    fn number(&self, position: usize, value: &Value) -> Result<f64, RowProblem> {
        let name = || self.signature.features()[position].clone();
        let dictionary = self.dictionaries.get(&position);
        let mistyped = || {
            let needed = if dictionary.is_some() { "a text" } else { "a number" };
            RowProblem::Mistyped { name: name(), needed, found: found(value) }
        };
        match (value, dictionary) {
            (Value::Null, _) if self.nulls == Nulls::Missing => Ok(f64::NAN),
            (Value::String(text), Some(texts)) => {
                texts.iter().position(|known| known == text).map(|code| code as f64).ok_or_else(
                    || RowProblem::UnknownCategory {
                        name: name(),
                        value: cut(text),
                        known: name_some(texts),
                    },
                )
            }
            (Value::Bool(flag), None) => Ok(f64::from(u8::from(*flag))),
            (Value::Number(number), None) => {
                number.as_f64().filter(|n| n.is_finite()).ok_or_else(mistyped)
            }
            _ => Err(mistyped()),
        }
    }

    /// The names and values of a row: texts where there is a dictionary, `null` for NaN.
    ///
    /// # Errors
    /// If the row has the wrong length, a value is infinite, or a code stands for no text: all of them in one error.
    pub fn decode_object(&self, row: &[f64]) -> Result<Map<String, Value>> {
        named(self.signature.features(), row, |position| self.dictionaries.get(&position))
    }

    /// A row as a struct.
    ///
    /// # Errors
    /// As [`decode_object`](Self::decode_object); if the struct does not take the names and values.
    pub fn decode<T: DeserializeOwned>(&self, row: &[f64]) -> Result<T> {
        serde_json::from_value(Value::Object(self.decode_object(row)?)).map_err(|error| {
            Error::Invalid { what: "the struct for a row".to_owned(), reason: error.to_string() }
        })
    }

    /// What a model gave for one row, by the names of its outputs: the probability of each class, or the predicted numbers.
    ///
    /// # Errors
    /// If there are not as many outputs as the signature names, or one is infinite.
    pub fn name_outputs(&self, outputs: &[f64]) -> Result<Map<String, Value>> {
        named(self.signature.outputs(), outputs, |_| None)
    }
}

fn named<'a>(
    names: &[String],
    values: &[f64],
    dictionary: impl Fn(usize) -> Option<&'a Vec<String>>,
) -> Result<Map<String, Value>> {
    if values.len() != names.len() {
        let (given, expected) = (values.len(), names.len());
        return Err(Error::Length { what: "values of the row", given, expected });
    }
    let mut problems = Problems::default();
    let mut object = Map::with_capacity(names.len());
    for (position, (name, &value)) in names.iter().zip(values).enumerate() {
        let shown = match dictionary(position) {
            _ if value.is_nan() => Some(Value::Null),
            Some(texts) => code(value, texts.len()).map(|code| Value::from(texts[code].clone())),
            None => serde_json::Number::from_f64(value).map(Value::Number),
        };
        match shown {
            Some(shown) => drop(object.insert(name.clone(), shown)),
            None => problems
                .add(RowProblem::NotRepresentable { name: name.clone(), value: value.to_string() }),
        }
    }
    problems.into_result()?;
    Ok(object)
}

fn not_an_object(value: &Value) -> Error {
    Error::Row { problems: vec![RowProblem::NotAnObject { found: found(value) }], count: 1 }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {:?}", cut(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The problems of a row: the first ones, and the count of all.
#[derive(Default)]
struct Problems {
    listed: Vec<RowProblem>,
    count: usize,
}

impl Problems {
    fn add(&mut self, problem: RowProblem) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(problem);
        }
    }

    fn into_result(self) -> Result<()> {
        if self.count == 0 {
            Ok(())
        } else {
            Err(Error::Row { problems: self.listed, count: self.count })
        }
    }
}

/// The names and values of a JSON object as they stand there: a map would hide that a name stands twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}
