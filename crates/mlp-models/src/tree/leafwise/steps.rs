//! What the threads of a crew do together, one step after another.

use std::sync::Arc;

use super::Field;
use super::cut::{Cut, Sum};
use crate::tree::trend::Bounds;

/// A leaf that may still be split, and what its rows come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) depth: usize,
    pub(super) bounds: Bounds,
    pub(super) sum: Sum,
}

impl Place {
    pub(super) fn n_rows(&self) -> usize {
        self.sum.rows as usize
    }
}

/// Which rows of a leaf that was split are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// Those of the left side, which is the smaller one; the other is the rest.
    Left,
    Right,
    /// Of both sides, feature by feature: they fill so few bins that histograms of all of them would cost more.
    Few,
}

/// What is to be done next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Takes the slopes at the rows' scores.
    Slope,
    /// Begins a tree for one of the scores: one leaf with all rows that it learns from, which are summed up.
    Gather { score: usize },
    /// Looks for the cut of that leaf.
    Begin { root: Place, features: Arc<[usize]> },
    /// Parts the rows of the leaf with this number, which the left side keeps; the right side gets the next free one.
    Part { number: usize, cut: Cut, sides: [Place; 2] },
    /// The same, and looks for the cuts of both sides. `right` is the number of the right one.
    Split { number: usize, right: usize, cut: Cut, sides: [Place; 2], count: Count },
    /// Adds the value of each leaf to the scores of its rows.
    Answer { values: Vec<f64> },
}

impl Step {
    /// How much there is to do, about: in slopes added to bins.
    pub(super) fn work(&self, field: &Field<'_>) -> usize {
        let rows = |sides: &[Place; 2]| sides.iter().map(Place::n_rows).sum::<usize>();
        match self {
            Self::Begin { .. } => field.weights.len() * field.table.n_features(),
            Self::Split { sides, .. } => rows(sides) * field.table.n_features(),
            Self::Part { sides, .. } => rows(sides) * WITHOUT_BINS,
            Self::Slope | Self::Gather { .. } | Self::Answer { .. } => {
                field.weights.len() * WITHOUT_BINS
            }
        }
    }
}

/// How many slopes added to bins take as long as one row in a step without bins.
const WITHOUT_BINS: usize = 4;

/// The best cuts of the leaves that a step made.
pub(super) type Cuts = [Option<Cut>; 2];
