//! Tables from and to CSV files.

mod bounded;
mod cell;
mod options;
mod read;
mod roles;
mod target;
mod write;

pub use options::{CsvOptions, NonFinite, TargetKind};
pub use read::{read_csv, read_csv_from};
pub use write::{write_csv, write_csv_to};
