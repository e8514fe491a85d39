//! Every cell of a grid, once.

use std::collections::HashMap;
use std::sync::OnceLock;

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
///
/// A cell is known by its values of the parameters that the space declares: when the space or the resolution changes, trials count for the cells of the new grid
/// that have their values.
#[derive(Debug, Clone)]
pub struct GridSampler {
    resolution: usize,
    attempts: usize,
    grid: Option<Grid>,
}

#[derive(Debug, Clone)]
struct Grid {
    space: SearchSpace,
    cells: Vec<Params>,
    /// The places of the cells by their values; made when first needed.
    places: OnceLock<HashMap<String, usize>>,
}

impl Grid {
    /// The cell that a trial was to try, if it is one of this grid: the one of its mark, unless that was of another grid.
    fn cell_of(&self, trial: &TrialRecord) -> Option<usize> {
        let mark = usize::try_from(trial.system.get(CELL)?.as_u64()?).ok()?;
        if self.cells.get(mark).is_some_and(|cell| self.has(trial, cell)) {
            return Some(mark);
        }
        let cells = self.cells.iter().enumerate();
        let places = || cells.map(|(place, cell)| (self.key(cell), place)).collect();
        self.places.get_or_init(places).get(&self.key(&trial.params)).copied()
    }

    fn has(&self, trial: &TrialRecord, cell: &Params) -> bool {
        let mut names = self.space.dimensions().iter().map(|dimension| &dimension.name);
        names.all(|name| trial.params.get(name) == cell.get(name))
    }

    /// The declared ones among some parameters, as text.
    fn key(&self, params: &Params) -> String {
        let declared = self.space.dimensions().iter().filter_map(|dimension| {
            let value = axis::settled(&dimension.domain, params.get(&dimension.name)?);
            Some(format!("{:?}={value:?};", dimension.name))
        });
        declared.collect()
    }
}

impl Default for GridSampler {
    fn default() -> Self {
        Self { resolution: 5, attempts: 3, grid: None }
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
        self.grid = None;
        self
    }

    /// Sets how often a cell is tried before it is given up as failing; at least 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    fn grid(&mut self, space: &SearchSpace) -> Result<&Grid, TuneError> {
        let grid = match self.grid.take().filter(|grid| grid.space == *space) {
            Some(grid) => grid,
            None => {
                let (space, cells) = (space.clone(), self.build(space)?);
                Grid { space, cells, places: OnceLock::new() }
            }
        };
        Ok(self.grid.insert(grid))
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

impl Sampler for GridSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        let attempts = self.attempts;
        let grid = self.grid(request.space)?;
        let cells = &grid.cells;
        // What is claimed is seen as it is now, also in an ordered study: a cell must never run twice.
        let mut failures: HashMap<usize, usize> = HashMap::new();
        let mut taken = vec![false; cells.len()];
        for trial in request.history.trials {
            let Some(cell) = grid.cell_of(trial) else { continue };
            let failed = trial.state == TrialState::Failed;
            let gone = !failed || {
                let count = failures.entry(cell).or_default();
                *count += 1;
                *count >= attempts
            };
            taken[cell] |= gone;
        }
        let free = (0..cells.len()).filter(|&cell| !taken[cell]);
        // Fresh cells before failed ones.
        let cell = free
            .min_by_key(|&cell| (failures.get(&cell).copied().unwrap_or(0), cell))
            .ok_or(TuneError::Exhausted)?;
        let marks = [(CELL.to_owned(), json!(cell))].into();
        Ok(Proposal { params: cells[cell].clone(), marks })
    }
}
