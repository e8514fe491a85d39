//! Agreement with scikit-learn, and what the estimators promise.

mod behaviour;
mod composed;
mod data;
mod edges;
mod linear;
mod linfa;
mod preprocess;
mod same_bits;
mod saved;
mod shap;
mod sklearn;
mod trees;
mod units;
mod vectors;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by tests that measure the memory of the whole process: only one of them at a time may ask for much.
pub(crate) fn memory() -> MutexGuard<'static, ()> {
    static MEMORY: Mutex<()> = Mutex::new(());
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most memory that the process ever had mapped, in GiB; none where the system does not tell.
pub(crate) fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmPeak:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / (1 << 20) as f64)
}
