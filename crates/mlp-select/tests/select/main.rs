//! Behaviours of selection, and agreement with scikit-learn's folds and verdicts.

mod behaviour;
mod data;
mod scripted;
mod vectors;
