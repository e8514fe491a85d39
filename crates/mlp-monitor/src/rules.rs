//! Rules: when a signal is a matter for a person.

mod engine;
mod limit;
mod rule;
mod series;
mod table;

pub use engine::{Observation, RuleEngine};
pub use limit::{ChangeDirection, ChangeMeasure, Limit};
pub use rule::{Level, NoData, Rule};
pub use table::RuleTable;
