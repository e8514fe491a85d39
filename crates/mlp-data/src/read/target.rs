//! Texts as codes: columns of categories, and targets that may be classes.

use std::collections::HashMap;

use super::TargetKind;
use super::cell::{Number, number, number_error, text};
use crate::error::{Error, Place, Result, cut, name_some};
use crate::table::Table;

/// A column of texts: each distinct text gets the next code, or a code of a dictionary that is known beforehand.
#[derive(Debug)]
pub(crate) struct Codes {
    texts: Vec<String>,
    codes: HashMap<String, usize>,
    limit: Option<usize>,
}

impl Codes {
    /// Learns the texts, at most `limit` of them.
    pub(crate) fn learn(limit: usize) -> Self {
        Self { texts: Vec::new(), codes: HashMap::new(), limit: Some(limit) }
    }

    /// Knows the texts.
    pub(crate) fn known(texts: &[String]) -> Self {
        let codes = texts.iter().enumerate().map(|(code, text)| (text.clone(), code)).collect();
        Self { texts: texts.to_vec(), codes, limit: None }
    }

    pub(crate) fn is_learning(&self) -> bool {
        self.limit.is_some()
    }

    /// The code of a text.
    pub(crate) fn code(&mut self, text: &str, place: impl Fn() -> Place) -> Result<usize> {
        if let Some(&code) = self.codes.get(text) {
            return Ok(code);
        }
        let Some(limit) = self.limit else {
            return Err(Error::UnknownCategory {
                place: place(),
                value: cut(text),
                known: name_some(&self.texts),
                count: self.texts.len(),
            });
        };
        if self.texts.len() == limit {
            let (what, given) = ("too many distinct texts", limit as u64 + 1);
            return Err(Error::Limit { place: place(), what, given, limit: limit as u64 });
        }
        self.codes.insert(text.to_owned(), self.texts.len());
        self.texts.push(text.to_owned());
        Ok(self.texts.len() - 1)
    }

    /// The texts in order, and the place in that order of each code.
    pub(crate) fn sorted(self) -> (Vec<String>, Vec<usize>) {
        if self.limit.is_none() {
            let order = (0..self.texts.len()).collect();
            return (self.texts, order);
        }
        let mut order: Vec<usize> = (0..self.texts.len()).collect();
        order.sort_by(|&a, &b| self.texts[a].cmp(&self.texts[b]));
        let mut places = vec![0; order.len()];
        for (place, &code) in order.iter().enumerate() {
            places[code] = place;
        }
        (order.iter().map(|&code| self.texts[code].clone()).collect(), places)
    }
}

/// The cells of a target column, until it is known what they are.
#[derive(Debug)]
pub(crate) struct TargetCells {
    kind: TargetKind,
    max_categories: usize,
    /// The number of each row, as long as all cells are numbers.
    values: Vec<f64>,
    codes: Option<Codes>,
    labels: Vec<usize>,
    first_text: Option<(Place, String)>,
    first_number: bool,
    too_many: Option<Error>,
}

impl TargetCells {
    pub(crate) fn new(kind: &TargetKind, max_categories: usize) -> Self {
        let codes = match kind {
            TargetKind::Values => None,
            TargetKind::Classes => Some(Codes::learn(max_categories)),
            TargetKind::Detect { max_classes } => {
                Some(Codes::learn((*max_classes).min(max_categories)))
            }
            TargetKind::Known { classes } => Some(Codes::known(classes)),
        };
        Self {
            kind: kind.clone(),
            max_categories,
            values: Vec::new(),
            codes,
            labels: Vec::new(),
            first_text: None,
            first_number: false,
            too_many: None,
        }
    }

    pub(crate) fn push(&mut self, cell: &[u8], place: impl Fn() -> Place) -> Result<()> {
        let parsed = number(cell);
        if let (TargetKind::Values, Number::Finite(value)) = (&self.kind, parsed) {
            self.values.push(value);
            return Ok(());
        }
        if self.kind == TargetKind::Values || cell.trim_ascii().is_empty() {
            return Err(number_error(cell, place()));
        }
        let known = matches!(self.kind, TargetKind::Known { .. });
        let spelt = text(cell, &place())?.trim();
        match parsed {
            Number::Finite(value) => {
                self.first_number = true;
                self.values.push(value);
            }
            Number::OutOfRange => return Err(number_error(cell, place())),
            _ if self.first_text.is_none() => self.first_text = Some((place(), cut(spelt))),
            _ => {}
        }
        let mixed = self.first_number && self.first_text.is_some();
        if let (true, TargetKind::Detect { .. }, Some((place, value))) =
            (mixed, &self.kind, &self.first_text)
        {
            return Err(Error::NotANumber { place: place.clone(), value: value.clone() });
        }
        // Numbers are classes by their value: `1` and `1.0` are one class.
        let name = match parsed {
            Number::Finite(value) if !known => (value + 0.0).to_string(),
            Number::Finite(value) => self.known_number(value).unwrap_or_else(|| spelt.to_owned()),
            _ => spelt.to_owned(),
        };
        if let Some(codes) = &mut self.codes {
            match codes.code(&name, place) {
                Ok(label) => self.labels.push(label),
                Err(error @ Error::Limit { .. }) if self.first_text.is_none() => {
                    self.codes = None;
                    self.too_many = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The known class whose name is this number, however it is spelt.
    fn known_number(&self, value: f64) -> Option<String> {
        let TargetKind::Known { classes } = &self.kind else { return None };
        classes.iter().find(|class| class.parse() == Ok(value)).cloned()
    }

    /// Gives the table its target, now that all cells are known.
    pub(crate) fn finish(
        mut self,
        table: Table,
        column: &str,
        first: Place,
        last_line: u64,
    ) -> Result<Table> {
        let all_numbers = self.first_text.is_none() && !self.values.is_empty();
        let whole = self.values.iter().all(|value| value.fract() == 0.0);
        let as_values = match self.kind {
            TargetKind::Values => true,
            TargetKind::Detect { .. } => all_numbers && (self.codes.is_none() || !whole),
            _ => false,
        };
        if as_values {
            return table.with_values(column, self.values);
        }
        let Some(codes) = self.codes.take() else {
            let limit = self.max_categories as u64;
            let what = "too many distinct classes";
            return Err(self.too_many.unwrap_or(Error::Limit {
                place: first,
                what,
                given: limit + 1,
                limit,
            }));
        };
        let learnt = codes.is_learning();
        let (classes, places) = codes.sorted();
        let (classes, places) =
            if learnt && all_numbers { by_value(classes, places) } else { (classes, places) };
        if let (true, [class]) = (learnt, &classes[..]) {
            let (class, rows) = (class.clone(), self.labels.len());
            return Err(Error::SingleClass {
                place: first.at_column(column),
                class,
                rows,
                last_line,
            });
        }
        table.with_classes(
            column,
            self.labels.iter().map(|&label| places[label]).collect(),
            classes,
        )
    }
}

/// The same classes, sorted as numbers.
fn by_value(classes: Vec<String>, places: Vec<usize>) -> (Vec<String>, Vec<usize>) {
    let value = |class: &String| class.parse::<f64>().unwrap_or(f64::NAN);
    let mut order: Vec<usize> = (0..classes.len()).collect();
    order.sort_by(|&a, &b| value(&classes[a]).total_cmp(&value(&classes[b])));
    let mut rank = vec![0; order.len()];
    for (place, &class) in order.iter().enumerate() {
        rank[class] = place;
    }
    let places = places.into_iter().map(|place| rank[place]).collect();
    (order.iter().map(|&class| classes[class].clone()).collect(), places)
}
