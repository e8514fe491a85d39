//! Versions and their states: blue-green, canary, shadow, rollback with history.
