#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout))]

pub use mlp_core as core;

#[cfg(feature = "stats")]
pub use mlp_stats as stats;

#[cfg(feature = "data")]
pub use mlp_data as data;
#[cfg(feature = "models")]
pub use mlp_models as models;

#[cfg(feature = "eval")]
pub use mlp_eval as eval;
#[cfg(feature = "lineage")]
pub use mlp_lineage as lineage;
#[cfg(feature = "monitor")]
pub use mlp_monitor as monitor;
#[cfg(feature = "rollback")]
pub use mlp_rollback as rollback;
#[cfg(feature = "select")]
pub use mlp_select as select;
#[cfg(feature = "serve")]
pub use mlp_serve as serve;
#[cfg(feature = "tune")]
pub use mlp_tune as tune;

#[cfg(feature = "sqlite")]
pub use mlp_sqlite as sqlite;
