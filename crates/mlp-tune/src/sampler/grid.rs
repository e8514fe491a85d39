//! Every cell of a grid, once.

use std::collections::HashMap;

use mlp_core::{Domain, ParamValue, Params, SearchSpace};
use serde_json::json;

use super::{Proposal, Request, Sampler};
use crate::axis;
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};

/// The mark that says which cell a trial has.
const CELL: &str = "mlp:cell";
/// The most cells a grid may have: beyond that its list alone takes hundreds of megabytes.
const MAX_CELLS: usize = 1_000_000;

/// Tries each cell of a grid once, in the order of the space with the last parameter running fastest; then the study is exhausted.
///
/// A cell belongs to one trial while that runs, and for good once it is complete or pruned. A cell whose trials failed is tried again, up to
/// [`with_attempts`](Self::with_attempts) times in all. Cells of conditional spaces hold the active parameters only.
#[derive(Debug, Clone)]
pub struct GridSampler {
    resolution: usize,
    attempts: usize,
    cells: Option<(SearchSpace, Vec<Params>)>,
}

impl Default for GridSampler {
    fn default() -> Self {
        Self { resolution: 5, attempts: 3, cells: None }
    }
}

impl GridSampler {
    /// A grid of 5 values for each range that is continuous or logarithmic, all values of the others.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many values, ends included, a continuous or logarithmic range contributes; at least 1.
    #[must_use]
    pub fn with_resolution(mut self, values: usize) -> Self {
        self.resolution = values.max(1);
        self.cells = None;
        self
    }

    /// Sets how often a cell is tried before it is given up as failing; at least 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    fn cells(&mut self, space: &SearchSpace) -> Result<&[Params], TuneError> {
        if !self.cells.as_ref().is_some_and(|(of, _)| of == space) {
            self.cells = Some((space.clone(), self.build(space)?));
        }
        Ok(self.cells.as_ref().map_or(&[], |(_, cells)| cells.as_slice()))
    }

    fn build(&self, space: &SearchSpace) -> Result<Vec<Params>, TuneError> {
        let mut cells = vec![Params::new()];
        for dimension in space.dimensions() {
            let values = self.values(&dimension.domain);
            let mut longer = Vec::new();
            for cell in cells {
                if !dimension.is_active(&cell) {
                    longer.push(cell);
                    continue;
                }
                if longer.len() + values.len() > MAX_CELLS {
                    let reason = format!("the grid has more than {MAX_CELLS} cells");
                    return Err(TuneError::parameter(&dimension.name, reason));
                }
                longer.extend(
                    values.iter().map(|v| cell.clone().with(dimension.name.as_str(), v.clone())),
                );
            }
            cells = longer;
        }
        Ok(cells)
    }

    fn values(&self, domain: &Domain) -> Vec<ParamValue> {
        match domain {
            Domain::Categorical { choices } => choices.clone(),
            Domain::Int { low, high, scale: mlp_core::Scale::Linear, step } => {
                (*low..=*high).step_by(*step as usize).take(MAX_CELLS + 1).map(Into::into).collect()
            }
            Domain::Float { low, step: Some(step), .. } => {
                let count = domain.cardinality().unwrap_or(1).min(MAX_CELLS as u64 + 1);
                (0..count).map(|i| (low + i as f64 * step).into()).collect()
            }
            _ => {
                let last = (self.resolution - 1).max(1) as f64;
                let share = |i: usize| if self.resolution == 1 { 0.5 } else { i as f64 / last };
                let mut values: Vec<_> =
                    (0..self.resolution).map(|i| axis::at_share(domain, share(i))).collect();
                values.dedup();
                values
            }
        }
    }
}

fn cell_of(trial: &TrialRecord) -> Option<u64> {
    trial.system.get(CELL)?.as_u64()
}

impl Sampler for GridSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        let attempts = self.attempts;
        let cells = self.cells(request.space)?;
        // What is claimed is seen as it is now, also in an ordered study: a cell must never run twice.
        let mut failures: HashMap<u64, usize> = HashMap::new();
        let mut taken = vec![false; cells.len()];
        for trial in request.history.trials {
            let Some(cell) = cell_of(trial) else { continue };
            let failed = trial.state == TrialState::Failed;
            let gone = !failed || {
                let count = failures.entry(cell).or_default();
                *count += 1;
                *count >= attempts
            };
            if let Some(taken) = taken.get_mut(cell as usize).filter(|_| gone) {
                *taken = true;
            }
        }
        let free = (0..cells.len()).filter(|&cell| !taken[cell]);
        // Fresh cells before failed ones.
        let cell = free
            .min_by_key(|&cell| (failures.get(&(cell as u64)).copied().unwrap_or(0), cell))
            .ok_or(TuneError::Exhausted)?;
        let marks = [(CELL.to_owned(), json!(cell))].into();
        Ok(Proposal { params: cells[cell].clone(), marks })
    }
}
