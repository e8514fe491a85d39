//! Evaluations and their store: log, query, best model, comparison.
