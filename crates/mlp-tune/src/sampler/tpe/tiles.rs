//! The kernels of a mixture, some at a time: few enough that the nearest cache keeps them.

use std::ops::Range;

use super::log_sum::TILE;

/// The kernels of a mixture with their weights, some at a time.
pub(super) struct Tiles {
    /// By kernel: what its term has at every point.
    pub(super) base: Vec<f64>,
    /// The logarithm of the prior's weight.
    pub(super) prior: f64,
    /// How many kernels there are, the prior among them.
    pub(super) kernels: f64,
}

/// Some kernels that stand together.
pub(super) struct Tile<'a> {
    pub(super) start: usize,
    pub(super) base: &'a [f64],
    pub(super) kernels: f64,
}

impl Tile<'_> {
    pub(super) fn slots(&self) -> Range<usize> {
        self.start..self.start + self.base.len()
    }
}

impl Tiles {
    /// The newest trials first: they lie nearest to where the next ones are sought, so that a contest is decided early.
    pub(super) fn iter(&self) -> impl Iterator<Item = Tile<'_>> + Clone {
        let tile = |(tile, base)| Tile { start: tile * TILE, base, kernels: self.kernels };
        self.base.chunks(TILE).enumerate().rev().map(tile)
    }
}
