//! Random search.

use mlp_core::{Params, SearchSpace};

use super::{Proposal, Request, Sampler};
use crate::axis;
use crate::error::TuneError;

/// Draws each parameter evenly from its domain. The k-th trial depends on the seed and on k alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomSampler;

impl RandomSampler {
    /// Random search.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Sampler for RandomSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        Ok(draw(request.space, &mut request.stream()).into())
    }
}

/// One point spread evenly over a space.
pub(crate) fn draw(space: &SearchSpace, stream: &mut mlp_core::random::ChaCha8Rng) -> Params {
    let mut params = Params::new();
    for dimension in space.dimensions() {
        if dimension.is_active(&params) {
            params.insert(dimension.name.as_str(), axis::uniform(&dimension.domain, stream));
        }
    }
    params
}
