//! Agreement with scikit-learn, and what the estimators promise.

mod behaviour;
mod composed;
mod data;
mod edges;
mod linfa;
mod preprocess;
mod same_bits;
mod saved;
mod shap;
mod sklearn;
mod trees;
mod vectors;
