//! What a running system tells of itself: counters, gauges and latencies, recorded by many threads and read in windows of time.

mod config;
mod name;
mod recorder;
mod registry;
mod series;
#[cfg(feature = "sysinfo")]
mod system;
mod window;

pub use config::SignalsConfig;
pub(crate) use recorder::{Apart, PLACES, place};
pub use recorder::{Counter, Gauge, Latency};
pub use registry::Signals;
pub use series::{SeriesPoint, TimeSeries};
#[cfg(feature = "sysinfo")]
pub use system::SystemSignals;
pub use window::{LatencySummary, WindowSummary};

#[cfg(test)]
mod tests;
