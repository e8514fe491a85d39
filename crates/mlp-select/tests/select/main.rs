//! Behaviours of selection, and agreement with scikit-learn's folds and verdicts.

mod behaviour;
mod data;
mod faults;
mod honesty;
mod scripted;
mod vectors;
