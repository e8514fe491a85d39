//! Checks rows and tables against a schema.

use std::collections::{HashMap, HashSet};

use super::definition::{
    ColumnKind, ColumnSchema, Comparison, Infinite, Presence, Schema, Unexpected,
};
use super::report::{Example, Rule, RuleReport, ValidationReport, Violation};
use crate::canonical::canonical_bits;
use crate::error::{Error, Result};
use crate::table::{Table, TargetColumn, code};

/// A schema made ready for rows of known columns: for data that come one by one.
///
/// Rules about the table as a whole (uniqueness, a missing rate above 0) say nothing about one row.
///
/// ```
/// use mlp_data::{ColumnSchema, Schema};
///
/// let schema = Schema::new([ColumnSchema::number("ph").with_range(0.0, 14.0)]);
/// let checker = schema.row_checker(&["alcohol", "ph"])?;
/// assert!(checker.check(&[9.4, 3.5])?.is_empty());
/// let violations = checker.check(&[9.4, 35.0])?;
/// assert_eq!(violations[0].to_string(), "\"ph\": at most 14, it is 35");
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug)]
pub struct RowChecker {
    n_columns: usize,
    columns: Vec<BoundColumn>,
    comparisons: Vec<(usize, usize, Comparison)>,
    /// Violations that each row has, because its columns are wrong.
    of_columns: Vec<Violation>,
}

/// The rules of a column, and where its values are.
#[derive(Debug)]
struct BoundColumn {
    position: usize,
    schema: ColumnSchema,
    /// The text of each code.
    texts: Option<Vec<BoundText>>,
}

#[derive(Debug)]
struct BoundText {
    text: String,
    is_unlisted: bool,
    is_unmatched: bool,
}

/// A rule that a row breaks, by its place in the checker: the rule itself may hold a long list of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Breach {
    Column(usize, Part),
    Comparison(usize),
}

/// The rules of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    NotInfinite,
    Kind,
    Categories,
    Pattern,
    Minimum,
    Maximum,
    Allowed,
    MissingRate,
}

impl Schema {
    /// Checks every value of a table; a target is checked as the column of its name.
    ///
    /// A rule of numbers is broken by a column of categories as a whole, for its codes are no measurements: also by a target that was read as
    /// classes, even where the classes are called 3, 4 and 5. Where the schema lists texts, the table's codes must be those of the list, as far
    /// as both go: a model takes the codes, not the texts. [`Table::recode`] makes them so. A comparison is broken as a whole where it would
    /// set a number against a code, or codes that stand for different texts.
    ///
    /// # Errors
    /// If the schema itself makes no sense. Violations are in the report.
    pub fn validate(&self, table: &Table) -> Result<ValidationReport> {
        let target = table.target().name();
        let names: Vec<&str> = table.names().iter().map(String::as_str).chain(target).collect();
        let checker = RowChecker::new(self, &names, |column| dictionary(table, column))?;
        let mut groups = Groups {
            table,
            rules: Vec::new(),
            index: HashMap::new(),
            bad_rows: vec![false; table.n_rows()],
        };
        for violation in &checker.of_columns {
            groups.add_column(violation);
        }
        let mut values = Vec::with_capacity(names.len());
        let mut missing = Missing::default();
        for row in 0..table.n_rows() {
            fill_row(table, row, &mut values);
            checker.check_into(&values, &mut |breach| {
                groups.add(row, Key::Breach(breach), || checker.violation(breach, &values));
            });
            missing.note(&checker, &values, row);
        }
        missing.report(&checker, table.n_rows(), &mut groups);
        for (position, columns) in self.unique.iter().enumerate() {
            add_repeats(position, columns, &names, &mut groups);
        }
        let bad_rows = groups.bad_rows.iter().filter(|bad| **bad).count();
        Ok(ValidationReport { n_rows: table.n_rows(), bad_rows, rules: groups.rules })
    }

    /// Makes the schema ready for rows of these columns. Codes of categories stand for the texts that the schema lists.
    ///
    /// # Errors
    /// If the schema itself makes no sense.
    pub fn row_checker<S: AsRef<str>>(&self, names: &[S]) -> Result<RowChecker> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        RowChecker::new(self, &names, |column| {
            let schema = self.columns.iter().find(|c| c.name == names[column])?;
            schema.categories.as_deref()
        })
    }
}

impl RowChecker {
    fn new<'a>(
        schema: &Schema,
        names: &[&str],
        dictionary: impl Fn(usize) -> Option<&'a [String]>,
    ) -> Result<Self> {
        schema.check_definition()?;
        let position = |name: &str| names.iter().position(|own| *own == name);
        let of_column = |column: &str, rule| Violation {
            column: column.to_owned(),
            rule,
            value: "absent".to_owned(),
        };
        let mut checker = Self {
            n_columns: names.len(),
            columns: vec![],
            comparisons: vec![],
            of_columns: vec![],
        };
        for column in &schema.columns {
            match position(&column.name) {
                Some(position) => {
                    let texts = dictionary(position);
                    checker.of_columns.extend(of_dictionary(column, texts));
                    if (column.kind == ColumnKind::Category) == texts.is_some() {
                        checker.columns.push(BoundColumn::new(position, column, texts)?);
                    }
                }
                None if column.presence == Presence::Required => {
                    checker.of_columns.push(of_column(&column.name, Rule::Present));
                }
                None => {}
            }
        }
        for rule in &schema.comparisons {
            match (position(&rule.left), position(&rule.right)) {
                (Some(left), Some(right)) => {
                    match of_comparison(rule, dictionary(left), dictionary(right)) {
                        Some(violation) => checker.of_columns.push(violation),
                        None => checker.comparisons.push((left, right, rule.clone())),
                    }
                }
                (left, _) => {
                    let absent = if left.is_none() { &rule.left } else { &rule.right };
                    let rule = Rule::Comparison(rule.clone());
                    checker.of_columns.push(of_column(absent, rule));
                }
            }
        }
        for columns in &schema.unique {
            if let Some(absent) = columns.iter().find(|column| position(column).is_none()) {
                checker.of_columns.push(of_column(absent, Rule::Unique(columns.clone())));
            }
        }
        if schema.unexpected == Unexpected::Refused {
            let known = |name: &str| schema.columns.iter().any(|column| column.name == name);
            for name in names.iter().filter(|name| !known(name)) {
                let (column, value) = ((*name).to_owned(), "unexpected".to_owned());
                checker.of_columns.push(Violation { column, rule: Rule::Expected, value });
            }
        }
        Ok(checker)
    }

    /// All violations of one row.
    ///
    /// # Errors
    /// If the row has not as many values as there are columns.
    pub fn check(&self, row: &[f64]) -> Result<Vec<Violation>> {
        if row.len() != self.n_columns {
            let (given, expected) = (row.len(), self.n_columns);
            return Err(Error::Length { what: "values of the row", given, expected });
        }
        let mut violations = self.of_columns.clone();
        for (at, column) in self.columns.iter().enumerate() {
            if row[column.position].is_nan() && column.schema.missing_rate == 0.0 {
                violations.push(self.violation(Breach::Column(at, Part::MissingRate), row));
            }
        }
        self.check_into(row, &mut |breach| violations.push(self.violation(breach, row)));
        Ok(violations)
    }

    /// Tells which rules the values of a row break.
    fn check_into(&self, row: &[f64], broken: &mut impl FnMut(Breach)) {
        for (at, column) in self.columns.iter().enumerate() {
            column.check(row[column.position], &mut |part| broken(Breach::Column(at, part)));
        }
        for (at, (left, right, rule)) in self.comparisons.iter().enumerate() {
            let (a, b) = (row[*left], row[*right]);
            if !a.is_nan() && !b.is_nan() && !rule.relation.holds(a, b) {
                broken(Breach::Comparison(at));
            }
        }
    }

    /// What a row breaks, in full.
    fn violation(&self, breach: Breach, row: &[f64]) -> Violation {
        match breach {
            Breach::Column(at, part) => {
                let column = &self.columns[at];
                let value = column.shown(row[column.position]);
                Violation { column: column.schema.name.clone(), rule: column.rule(part), value }
            }
            Breach::Comparison(at) => {
                let (left, right, rule) = &self.comparisons[at];
                let value = format!("{} against {}", row[*left], row[*right]);
                let column = rule.left.clone();
                Violation { column, rule: Rule::Comparison(rule.clone()), value }
            }
        }
    }
}

/// What is wrong with a column as a whole, by what its codes stand for.
fn of_dictionary(column: &ColumnSchema, dictionary: Option<&[String]>) -> Option<Violation> {
    let violation = |rule, value: String| {
        let column = column.name.clone();
        Some(Violation { column, rule, value })
    };
    match (column.kind, dictionary) {
        (ColumnKind::Category, None) => {
            violation(Rule::Kind(column.kind), "a column of numbers".to_owned())
        }
        (ColumnKind::Category, Some(texts)) => {
            let listed = column.categories.iter().flatten();
            let (code, (expected, found)) =
                listed.zip(texts).enumerate().find(|(_, (listed, text))| listed != text)?;
            let (expected, found) = (expected.clone(), found.clone());
            let value = format!("{found:?}");
            violation(Rule::Codes { code, expected, found }, value)
        }
        (_, Some(_)) => violation(Rule::Kind(column.kind), "a column of categories".to_owned()),
        (_, None) => None,
    }
}

/// Why two columns cannot be compared: a number and a code, or codes that stand for different texts as far as both go.
fn of_comparison(
    rule: &Comparison,
    left: Option<&[String]>,
    right: Option<&[String]>,
) -> Option<Violation> {
    let value = match (left, right) {
        (None, Some(_)) => "numbers against categories",
        (Some(_), None) => "categories against numbers",
        (Some(left), Some(right)) if left.iter().zip(right).any(|(one, other)| one != other) => {
            "codes of different texts"
        }
        _ => return None,
    };
    let (column, value) = (rule.left.clone(), value.to_owned());
    Some(Violation { column, rule: Rule::Comparison(rule.clone()), value })
}

impl BoundColumn {
    fn new(position: usize, schema: &ColumnSchema, dictionary: Option<&[String]>) -> Result<Self> {
        let regex = schema.regex()?;
        let listed: Option<HashSet<&String>> =
            schema.categories.as_ref().map(|texts| texts.iter().collect());
        let bound = |text: &String| BoundText {
            text: text.clone(),
            is_unlisted: listed.as_ref().is_some_and(|listed| !listed.contains(text)),
            is_unmatched: regex.as_ref().is_some_and(|regex| !regex.is_match(text)),
        };
        let texts = dictionary.map(|texts| texts.iter().map(bound).collect());
        Ok(Self { position, schema: schema.clone(), texts })
    }

    fn text(&self, value: f64) -> Option<&BoundText> {
        let texts = self.texts.as_ref()?;
        Some(&texts[code(value, texts.len())?])
    }

    fn shown(&self, value: f64) -> String {
        self.text(value).map_or_else(|| value.to_string(), |text| format!("{:?}", text.text))
    }

    fn check(&self, value: f64, broken: &mut impl FnMut(Part)) {
        if value.is_nan() {
            return;
        }
        let schema = &self.schema;
        if value.is_infinite() && schema.infinite == Infinite::Refused {
            broken(Part::NotInfinite);
        }
        match (schema.kind, self.text(value)) {
            (ColumnKind::Integer, _) if value.is_finite() && value.fract() != 0.0 => {
                broken(Part::Kind);
            }
            (ColumnKind::Category, None) => broken(Part::Kind),
            (ColumnKind::Category, Some(text)) => {
                if text.is_unlisted {
                    broken(Part::Categories);
                }
                if text.is_unmatched {
                    broken(Part::Pattern);
                }
            }
            _ => {}
        }
        if schema.minimum.is_some_and(|minimum| value < minimum) {
            broken(Part::Minimum);
        }
        if schema.maximum.is_some_and(|maximum| value > maximum) {
            broken(Part::Maximum);
        }
        if schema.allowed.as_ref().is_some_and(|allowed| !allowed.contains(&value)) {
            broken(Part::Allowed);
        }
    }

    /// A rule that was found broken, so the schema has what it needs.
    fn rule(&self, part: Part) -> Rule {
        let schema = &self.schema;
        match part {
            Part::NotInfinite => Rule::NotInfinite,
            Part::Kind => Rule::Kind(schema.kind),
            Part::Categories => Rule::Categories(schema.categories.clone().unwrap_or_default()),
            Part::Pattern => Rule::Pattern(schema.pattern.clone().unwrap_or_default()),
            Part::Minimum => Rule::Minimum(schema.minimum.unwrap_or(f64::NAN)),
            Part::Maximum => Rule::Maximum(schema.maximum.unwrap_or(f64::NAN)),
            Part::Allowed => Rule::Allowed(schema.allowed.clone().unwrap_or_default()),
            Part::MissingRate => Rule::MissingRate(schema.missing_rate),
        }
    }
}

/// What violations are collected by.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Breach(Breach),
    /// The position among the schema's sets of columns that are unique together.
    Unique(usize),
}

/// Collects violations by rule.
struct Groups<'a> {
    table: &'a Table,
    rules: Vec<RuleReport>,
    index: HashMap<Key, usize>,
    bad_rows: Vec<bool>,
}

impl Groups<'_> {
    fn add_column(&mut self, violation: &Violation) {
        let (column, rule) = (&violation.column, &violation.rule);
        if !self.rules.iter().any(|known| known.column == *column && known.rule == *rule) {
            let (column, rule) = (column.clone(), rule.clone());
            self.rules.push(RuleReport { column, rule, count: 0, examples: Vec::new() });
        }
    }

    /// Counts a violation, and looks at it closely as long as examples are wanted.
    fn add(&mut self, row: usize, key: Key, violation: impl FnOnce() -> Violation) {
        self.bad_rows[row] = true;
        let next = self.rules.len();
        let index = *self.index.entry(key).or_insert(next);
        let is_full = |group: &RuleReport| group.examples.len() == ValidationReport::EXAMPLES;
        if !self.rules.get(index).is_some_and(is_full) {
            let Violation { column, rule, value } = violation();
            if index == next {
                self.rules.push(RuleReport { column, rule, count: 0, examples: Vec::new() });
            }
            let source = self.table.source(row).map(|(file, line)| (file.to_owned(), line));
            self.rules[index].examples.push(Example { row, source, value });
        }
        self.rules[index].count += 1;
    }
}

/// The rows in which each column is missing.
#[derive(Default)]
struct Missing {
    rows: HashMap<usize, Vec<usize>>,
}

impl Missing {
    fn note(&mut self, checker: &RowChecker, values: &[f64], row: usize) {
        for (at, column) in checker.columns.iter().enumerate() {
            if values[column.position].is_nan() {
                self.rows.entry(at).or_default().push(row);
            }
        }
    }

    fn report(&self, checker: &RowChecker, n_rows: usize, groups: &mut Groups<'_>) {
        for (at, column) in checker.columns.iter().enumerate() {
            let Some(rows) = self.rows.get(&at) else { continue };
            if rows.len() as f64 <= column.schema.missing_rate * n_rows as f64 {
                continue;
            }
            for &row in rows {
                let key = Key::Breach(Breach::Column(at, Part::MissingRate));
                groups.add(row, key, || Violation {
                    column: column.schema.name.clone(),
                    rule: column.rule(Part::MissingRate),
                    value: "NaN".to_owned(),
                });
            }
        }
    }
}

/// Reports each row whose values in these columns stand in an earlier row.
fn add_repeats(unique: usize, columns: &[String], names: &[&str], groups: &mut Groups<'_>) {
    let positions: Option<Vec<usize>> =
        columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
    let Some(positions) = positions else { return };
    let table = groups.table;
    let mut first: HashMap<Vec<u64>, usize> = HashMap::with_capacity(table.n_rows());
    let mut values = Vec::with_capacity(names.len());
    for row in 0..table.n_rows() {
        fill_row(table, row, &mut values);
        let key = positions.iter().map(|&position| canonical_bits(values[position])).collect();
        let earlier = *first.entry(key).or_insert(row);
        if earlier != row {
            let shown = |&position: &usize| show(table, position, values[position]);
            groups.add(row, Key::Unique(unique), || {
                let shown: Vec<String> = positions.iter().map(shown).collect();
                let value = format!("{} as in row {earlier}", shown.join(", "));
                let rule = Rule::Unique(columns.to_vec());
                Violation { column: columns.join(", "), rule, value }
            });
        }
    }
}

fn show(table: &Table, column: usize, value: f64) -> String {
    let texts = dictionary(table, column).unwrap_or_default();
    code(value, texts.len()).map_or_else(|| value.to_string(), |code| format!("{:?}", texts[code]))
}

/// The dictionary of a column, where the target stands behind the features.
fn dictionary(table: &Table, column: usize) -> Option<&[String]> {
    if column < table.n_features() {
        return table.dictionary_at(column);
    }
    match table.target() {
        TargetColumn::Classes { classes, .. } => Some(classes),
        _ => None,
    }
}

/// The features of a row, and the target behind them.
fn fill_row(table: &Table, row: usize, values: &mut Vec<f64>) {
    values.clear();
    values.extend(table.features().row(row));
    match table.target() {
        TargetColumn::Absent => {}
        TargetColumn::Classes { labels, .. } => values.push(labels[row] as f64),
        TargetColumn::Values { values: target, .. } => values.push(target[row]),
    }
}
