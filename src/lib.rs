//! The facade of the `mlp` libraries.
