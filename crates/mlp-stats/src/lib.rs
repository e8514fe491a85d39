//! Scores, two-sample tests, sequential evidence, streaming detectors and sketches, exact and fast.
