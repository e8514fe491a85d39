//! Tables from and to Apache Parquet files.

mod assemble;
mod column;
mod read;
mod write;

pub use read::read_parquet;
pub use write::write_parquet;
