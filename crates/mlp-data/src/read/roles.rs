//! The header: which column is what.

use std::collections::HashMap;

use super::ReadOptions;
use super::cell::text;
use crate::error::{Error, Place, Result, name_some};

/// What becomes of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Number,
    /// The position among the columns of categories.
    Category(usize),
    Target,
    Weight,
    Group,
    RowId,
    Ignored,
}

/// The columns of a file: their names and roles.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) names: Vec<String>,
    pub(crate) roles: Vec<Role>,
    /// The names of the columns of categories, in the order of the file.
    pub(crate) categories: Vec<String>,
}

impl Header {
    pub(crate) fn new(names: Vec<String>, line: &Place, options: &ReadOptions) -> Result<Self> {
        let mut roles = vec![Role::Number; names.len()];
        let mut assign = |column: &str, what: &'static str, role: Role| {
            let index = names.iter().position(|name| name == column).ok_or_else(|| {
                Error::MissingColumn {
                    place: line.clone().at_column(column),
                    role: what,
                    known: name_some(&names),
                }
            })?;
            if roles[index] != Role::Number {
                return Err(Error::Invalid {
                    what: format!("the use of column {column:?}"),
                    reason: "it has two roles".to_owned(),
                });
            }
            roles[index] = role;
            Ok(())
        };
        let single = [
            (&options.target, "the target", Role::Target),
            (&options.weights, "the weights", Role::Weight),
            (&options.groups, "the groups", Role::Group),
            (&options.row_ids, "the row ids", Role::RowId),
        ];
        for (column, what, role) in single {
            if let Some(column) = column {
                assign(column, what, role)?;
            }
        }
        for column in &options.ignored {
            assign(column, "the ignored columns", Role::Ignored)?;
        }
        for column in options.categories.keys() {
            assign(column, "the categories", Role::Category(0))?;
        }
        let mut categories = Vec::new();
        for (role, name) in roles.iter_mut().zip(&names) {
            if let Role::Category(position) = role {
                *position = categories.len();
                categories.push(name.clone());
            }
        }
        Ok(Self { names, roles, categories })
    }

    /// The names of the feature columns.
    pub(crate) fn features(&self) -> Vec<String> {
        let is_feature = |role: &Role| matches!(role, Role::Number | Role::Category(_));
        self.names
            .iter()
            .zip(&self.roles)
            .filter(|(_, role)| is_feature(role))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// The names of the columns, each given and none twice.
pub(crate) fn names<'a>(
    cells: impl IntoIterator<Item = &'a [u8]>,
    line: &Place,
) -> Result<Vec<String>> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut names = Vec::new();
    for (index, cell) in cells.into_iter().enumerate() {
        let place = line.clone().at_column(format!("#{}", index + 1));
        let name = text(cell, &place)?.trim();
        if name.is_empty() {
            return Err(Error::UnnamedColumn { place });
        }
        if let Some(first) = seen.insert(name, index + 1) {
            let place = line.clone().at_column(name);
            return Err(Error::DuplicateColumn { place, first, second: index + 1 });
        }
        names.push(name.to_owned());
    }
    Ok(names)
}
