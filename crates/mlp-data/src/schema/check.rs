//! Checks rows and tables against a schema.

use std::collections::HashMap;

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
    /// For each code: its text and the rules it breaks.
    texts: Option<Vec<(String, Vec<Rule>)>>,
}

impl Schema {
    /// Checks every value of a table; a target is checked as the column of its name.
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
        let mut row_values = Vec::with_capacity(names.len());
        let mut violations = Vec::new();
        let mut missing = Missing::default();
        for row in 0..table.n_rows() {
            fill_row(table, row, &mut row_values);
            violations.clear();
            checker.check_into(&row_values, &mut violations);
            missing.note(&checker, &row_values, row);
            groups.add_row(row, &violations);
        }
        missing.report(&checker, table.n_rows(), &mut groups);
        for columns in &self.unique {
            add_repeats(columns, &names, &mut groups);
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
                    let bound = BoundColumn::new(position, column, dictionary(position))?;
                    if column.kind == ColumnKind::Category && bound.texts.is_none() {
                        let rule = Rule::Kind(ColumnKind::Category);
                        let value = "a column of numbers".to_owned();
                        let column = column.name.clone();
                        checker.of_columns.push(Violation { column, rule, value });
                    } else {
                        checker.columns.push(bound);
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
                (Some(left), Some(right)) => checker.comparisons.push((left, right, rule.clone())),
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
        for column in &self.columns {
            if row[column.position].is_nan() && column.schema.missing_rate == 0.0 {
                violations.push(column.violation(Rule::MissingRate(0.0), f64::NAN));
            }
        }
        self.check_into(row, &mut violations);
        Ok(violations)
    }

    /// Adds the violations of a row's values to a list.
    fn check_into(&self, row: &[f64], violations: &mut Vec<Violation>) {
        for column in &self.columns {
            column.check(row[column.position], violations);
        }
        for (left, right, rule) in &self.comparisons {
            let (a, b) = (row[*left], row[*right]);
            if !a.is_nan() && !b.is_nan() && !rule.relation.holds(a, b) {
                violations.push(Violation {
                    column: rule.left.clone(),
                    rule: Rule::Comparison(rule.clone()),
                    value: format!("{a} against {b}"),
                });
            }
        }
    }
}

impl BoundColumn {
    fn new(position: usize, schema: &ColumnSchema, dictionary: Option<&[String]>) -> Result<Self> {
        let regex = schema.regex()?;
        let broken = |text: &String| {
            let mut rules = Vec::new();
            if let Some(known) = schema.categories.as_ref().filter(|known| !known.contains(text)) {
                rules.push(Rule::Categories(known.clone()));
            }
            if regex.as_ref().is_some_and(|regex| !regex.is_match(text)) {
                rules.push(Rule::Pattern(schema.pattern.clone().unwrap_or_default()));
            }
            rules
        };
        let texts =
            dictionary.map(|texts| texts.iter().map(|text| (text.clone(), broken(text))).collect());
        Ok(Self { position, schema: schema.clone(), texts })
    }

    fn violation(&self, rule: Rule, value: f64) -> Violation {
        let text = self.texts.as_ref().and_then(|texts| Some(&texts[code(value, texts.len())?].0));
        Violation {
            column: self.schema.name.clone(),
            rule,
            value: text.map_or_else(|| value.to_string(), |text| format!("{text:?}")),
        }
    }

    fn check(&self, value: f64, violations: &mut Vec<Violation>) {
        if value.is_nan() {
            return;
        }
        let schema = &self.schema;
        let mut broken = |rule| violations.push(self.violation(rule, value));
        if value.is_infinite() && schema.infinite == Infinite::Refused {
            broken(Rule::NotInfinite);
        }
        match (schema.kind, &self.texts) {
            (ColumnKind::Integer, _) if value.is_finite() && value.fract() != 0.0 => {
                broken(Rule::Kind(ColumnKind::Integer));
            }
            (ColumnKind::Category, Some(texts)) => match code(value, texts.len()) {
                Some(code) => texts[code].1.iter().for_each(|rule| broken(rule.clone())),
                None => broken(Rule::Kind(ColumnKind::Category)),
            },
            _ => {}
        }
        if let Some(minimum) = schema.minimum.filter(|minimum| value < *minimum) {
            broken(Rule::Minimum(minimum));
        }
        if let Some(maximum) = schema.maximum.filter(|maximum| value > *maximum) {
            broken(Rule::Maximum(maximum));
        }
        if let Some(allowed) = schema.allowed.as_ref().filter(|allowed| !allowed.contains(&value)) {
            broken(Rule::Allowed(allowed.clone()));
        }
    }
}

/// Collects violations by column and rule.
struct Groups<'a> {
    table: &'a Table,
    rules: Vec<RuleReport>,
    index: HashMap<(String, String), usize>,
    bad_rows: Vec<bool>,
}

impl Groups<'_> {
    fn group(&mut self, column: &str, rule: &Rule) -> &mut RuleReport {
        let key = (column.to_owned(), format!("{rule:?}"));
        let index = *self.index.entry(key).or_insert(self.rules.len());
        if index == self.rules.len() {
            let (column, rule) = (column.to_owned(), rule.clone());
            self.rules.push(RuleReport { column, rule, count: 0, examples: Vec::new() });
        }
        &mut self.rules[index]
    }

    fn add_column(&mut self, violation: &Violation) {
        self.group(&violation.column, &violation.rule);
    }

    fn add_row(&mut self, row: usize, violations: &[Violation]) {
        for violation in violations {
            self.add(row, &violation.column, &violation.rule, &violation.value);
        }
    }

    fn add(&mut self, row: usize, column: &str, rule: &Rule, value: &str) {
        let source = self.table.source(row).map(|(file, line)| (file.to_owned(), line));
        self.bad_rows[row] = true;
        let group = self.group(column, rule);
        group.count += 1;
        if group.examples.len() < ValidationReport::EXAMPLES {
            group.examples.push(Example { row, source, value: value.to_owned() });
        }
    }
}

/// The rows in which each column is missing.
#[derive(Default)]
struct Missing {
    rows: HashMap<usize, Vec<usize>>,
}

impl Missing {
    fn note(&mut self, checker: &RowChecker, values: &[f64], row: usize) {
        for column in checker.columns.iter().filter(|column| values[column.position].is_nan()) {
            self.rows.entry(column.position).or_default().push(row);
        }
    }

    fn report(&self, checker: &RowChecker, n_rows: usize, groups: &mut Groups<'_>) {
        for column in &checker.columns {
            let Some(rows) = self.rows.get(&column.position) else { continue };
            if rows.len() as f64 <= column.schema.missing_rate * n_rows as f64 {
                continue;
            }
            let rule = Rule::MissingRate(column.schema.missing_rate);
            for &row in rows {
                groups.add(row, &column.schema.name, &rule, "NaN");
            }
        }
    }
}

/// Reports each row whose values in these columns stand in an earlier row.
fn add_repeats(columns: &[String], names: &[&str], groups: &mut Groups<'_>) {
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
            let shown: Vec<String> =
                positions.iter().map(|&position| show(table, position, values[position])).collect();
            let value = format!("{} as in row {earlier}", shown.join(", "));
            groups.add(row, &columns.join(", "), &Rule::Unique(columns.to_vec()), &value);
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
