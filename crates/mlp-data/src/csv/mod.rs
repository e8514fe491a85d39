//! Tables from and to CSV files.

mod bounded;
mod read;
mod write;

pub use read::{read_csv, read_csv_from};
pub use write::{write_csv, write_csv_to};
