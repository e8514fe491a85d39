//! What a table must be like, and how far one is from it.

mod check;
mod definition;
mod infer;
mod report;

pub use check::RowChecker;
pub use definition::{
    ColumnKind, ColumnSchema, Comparison, Infinite, Presence, Relation, Schema, Unexpected,
};
pub use infer::InferOptions;
pub use report::{Example, Rule, RuleReport, ValidationReport, Violation};
