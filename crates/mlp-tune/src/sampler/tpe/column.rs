//! What a mixture keeps of one parameter.

use mlp_core::Domain;

use super::numeric::{Bell, Numeric};
use super::tiles::Tile;
use super::width::Width;
use crate::axis::Axis;

/// The kernels along one parameter.
#[derive(Debug, Clone)]
pub(super) enum Column {
    Numeric(Numeric),
    Categorical { choices: usize, chosen: Vec<usize> },
}

impl Column {
    /// An empty column for a domain.
    pub(super) fn new(domain: &Domain, width: Width) -> Self {
        match (Axis::of(domain), domain) {
            (Some(axis), _) => Self::Numeric(Numeric::new(axis, width)),
            (None, Domain::Categorical { choices }) => {
                Self::Categorical { choices: choices.len(), chosen: Vec::new() }
            }
            _ => unreachable!("a domain without an axis is categorical"),
        }
    }

    /// Whether it is a range without steps.
    pub(super) fn is_range(&self) -> bool {
        matches!(self, Self::Numeric(numeric) if numeric.is_range())
    }

    /// The kernels of a tile along a range.
    pub(super) fn bell(&self, place: f64, tile: &Tile<'_>) -> Bell<'_> {
        match self {
            Self::Numeric(numeric) => numeric.bell(place, tile.slots()),
            Self::Categorical { .. } => unreachable!("choices are no range"),
        }
    }

    /// Adds to each term the logarithm of its kernel at a place of a grid, which must be prepared, or at a choice.
    pub(super) fn add_kernels(&self, place: f64, tile: &Tile<'_>, terms: &mut [f64]) {
        let (start, kernels) = (tile.start, tile.kernels);
        match self {
            Self::Numeric(numeric) => numeric.add_masses(place, start, terms),
            Self::Categorical { choices, chosen } => {
                let place = place as usize;
                let log = |chosen| share(*choices, Some(chosen), place, kernels).ln();
                let (other, same) = (log(usize::MAX), log(place));
                for (term, chosen) in terms.iter_mut().zip(&chosen[start..]) {
                    *term += if *chosen == place { same } else { other };
                }
            }
        }
    }

    pub(super) fn log_prior(&self, place: f64) -> f64 {
        match self {
            Self::Numeric(numeric) => numeric.log_prior(place),
            Self::Categorical { choices, .. } => -(*choices as f64).ln(),
        }
    }
}

/// What a categorical kernel gives to a choice: Optuna's smoothing, one prior weight shared by the kernels. The prior is even.
pub(super) fn share(choices: usize, chosen: Option<usize>, choice: usize, kernels: f64) -> f64 {
    let smoothing = 1.0 / kernels;
    match chosen {
        None => 1.0 / choices as f64,
        Some(chosen) => {
            let hit = if chosen == choice { 1.0 } else { 0.0 };
            (smoothing + hit) / (smoothing * choices as f64 + 1.0)
        }
    }
}
