//! Cross-validation, the start-simple ladder, recursive feature elimination.
