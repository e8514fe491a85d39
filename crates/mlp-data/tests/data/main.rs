//! What the data layer promises, from outside.

mod bad_files;
mod csv;
mod features;
mod fingerprints;
mod generated;
mod online;
#[cfg(feature = "parquet")]
mod parquet;
mod rows;
mod schemas;
mod versions;
