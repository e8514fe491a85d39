//! What made a model: records, artifacts by content hash, diff and verification.
