//! What the data layer promises, from outside.

mod bad_files;
mod csv;
mod features;
mod fingerprints;
mod generated;
mod online;
mod rows;
mod schemas;
mod versions;
