//! Data that models can trust: tables that are validated, versioned and fingerprinted, and features computed by the same code offline and
//! online.
//!
//! # Examples
//!
//! ```
//! use mlp_core::Timestamp;
//! use mlp_data::{ReadOptions, DatasetVersion, InferOptions, RowOrder, Schema, TargetKind, read_csv_from};
//!
//! let file = "alcohol,ph,good\n9.4,3.5,0\n9.8,3.2,1\n9.4,3.5,0\n";
//! let options = ReadOptions::new().with_target("good", TargetKind::Classes);
//! let wine = read_csv_from(file.as_bytes(), "wine.csv", &options)?.drop_duplicates().table;
//! let schema = Schema::infer(&wine, &InferOptions::new())?;
//! schema.validate(&wine)?.into_result()?;
//! let version = DatasetVersion::of(&wine, "wine", "1", RowOrder::Matters, Timestamp::UNIX_EPOCH);
//! assert_eq!(version.n_rows, 2);
//!
//! let bad = "alcohol,ph,good\n9.4,3.5,0\n9.8,acid,1\n";
//! let error = read_csv_from(bad.as_bytes(), "wine.csv", &options).unwrap_err();
//! assert_eq!(error.to_string(), "wine.csv, line 3, column \"ph\": \"acid\" is not a number");
//! # Ok::<(), mlp_data::Error>(())
//! ```
//!
//! # The main types
//!
//! | for | types |
//! | --- | --- |
//! | rows with names, target, weights, groups, ids | [`Table`], [`TargetColumn`] |
//! | files | [`read_csv`], [`write_csv`], [`ReadOptions`], [`TargetKind`]; `read_parquet` and `write_parquet` with the feature `parquet` |
//! | what a table must be like | [`Schema`], [`ColumnSchema`], [`ValidationReport`], [`RowChecker`] for data that come one by one |
//! | what a table is | [`Fingerprinter`], [`DatasetVersion`], [`DatasetCatalog`], [`ColumnSummary`] |
//! | features | [`FeatureStore`], [`FeatureSet`], [`FeatureSetSpec`], [`DerivedFeatures`], [`FillMissing`] |
//! | feature values by entity and time | [`online::OnlineStore`], [`online::MemoryOnlineStore`], [`online::testing`] for backends |
//! | structs and JSON as rows | [`RowCodec`] |
//! | data made to order, with planted faults | [`generate`] |
//!
//! # What it does not do
//!
//! It trains nothing, and keeps no rows: a dataset version is a fingerprint and a summary. Scalers and encoders are in `mlp-models`; the
//! feature store takes them, as it takes anything that is a `FittedTransformer`.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

mod canonical;
mod durable;
mod error;

mod csv;
#[cfg(feature = "parquet")]
mod parquet;
mod read;
mod table;

mod recode;

mod schema;

mod fingerprint;
mod summary;
mod version;

mod feature;
pub mod online;
mod row;

pub mod generate;

pub use csv::{read_csv, read_csv_from, write_csv, write_csv_to};
pub use error::{Error, Place, Result};
pub use feature::{
    DerivedFeatures, FeatureSet, FeatureSetSpec, FeatureStore, Fill, FillMissing, FilledMissing,
    Formula, VersionedName, load_transform,
};
pub use fingerprint::{Fingerprinter, RowOrder};
#[cfg(feature = "parquet")]
pub use parquet::{read_parquet, write_parquet};
pub use read::{NonFinite, ReadOptions, TargetKind};
pub use row::{Nulls, RowCodec, RowProblem};
pub use schema::{
    ColumnKind, ColumnSchema, Comparison, Example, InferOptions, Infinite, Presence, Relation,
    RowChecker, Rule, RuleReport, Schema, Unexpected, ValidationReport, Violation,
};
pub use summary::ColumnSummary;
pub use table::{Deduplicated, Table, TargetColumn};
pub use version::{DatasetCatalog, DatasetVersion, Derivation};
