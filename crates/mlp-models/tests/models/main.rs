//! Agreement with scikit-learn, and what the estimators promise.

mod behaviour;
mod data;
mod linfa;
mod vectors;
