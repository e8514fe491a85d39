//! Points that fill a space evenly.

use mlp_core::random;
use mlp_core::{Domain, Params};

use super::{Proposal, Request, Sampler};
use crate::axis;
use crate::error::TuneError;

/// How many points and dimensions one scrambled sequence has.
const POINTS: u64 = 1 << 16;
const DIMENSIONS: usize = sobol_burley::NUM_DIMENSIONS as usize;

/// The Sobol sequence with Owen's scrambling (Burley 2020): fills the space more evenly than random search and needs no past either. The k-th
/// trial depends on the seed and on k alone; trials 0 to 2^m − 1 together are a net of points.
///
/// The sequence goes by the declared dimensions; those that are not active are passed over. Beyond 65,536 trials or 256 dimensions further,
/// independently scrambled sequences follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct SobolSampler;

impl SobolSampler {
    /// Search along Sobol's sequence.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Sampler for SobolSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        Ok(point(request).into())
    }
}

/// The point of a trial.
pub(crate) fn point(request: &Request<'_>) -> Params {
    let mut stream = request.stream();
    let mut params = Params::new();
    for (place, dimension) in request.space.dimensions().iter().enumerate() {
        let share = share(request.seed, request.number(), place, random::uniform(&mut stream));
        if dimension.is_active(&params) {
            let value = match &dimension.domain {
                Domain::Categorical { choices } => choices
                    [((share * choices.len() as f64) as usize).min(choices.len() - 1)]
                .clone(),
                domain => axis::at_share(domain, share),
            };
            params.insert(dimension.name.as_str(), value);
        }
    }
    params
}

/// A coordinate in [0, 1). The sequence has 24 bits; `fine` fills the ones below, as further scrambled bits would.
fn share(seed: u64, number: u64, dimension: usize, fine: f64) -> f64 {
    let sequence = (number / POINTS) << 32 | (dimension / DIMENSIONS) as u64;
    let scramble = rand_core::Rng::next_u32(&mut random::stream(seed, sequence));
    let (index, dimension) = ((number % POINTS) as u32, (dimension % DIMENSIONS) as u32);
    let coarse = f64::from(sobol_burley::sample(index, dimension, scramble));
    const CELLS: f64 = 16_777_216.0;
    ((coarse * CELLS).floor() + fine) / CELLS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dyadic_interval_of_a_net_has_one_point() {
        for (seed, dimension) in [(0, 0), (1, 1), (1, 7), (2, 300)] {
            let mut seen = [false; 64];
            for number in 0..64 {
                seen[(share(seed, number, dimension, 0.5) * 64.0) as usize] = true;
            }
            assert!(seen.iter().all(|seen| *seen), "dimension {dimension}");
        }
    }

    #[test]
    fn pairs_of_dimensions_are_a_net_too() {
        let mut seen = [false; 64];
        for number in 0..64 {
            let [x, y] = [0, 1].map(|dimension| (share(5, number, dimension, 0.5) * 8.0) as usize);
            seen[x * 8 + y] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
        // The control: random points leave cells empty.
        let mut stream = random::stream(5, 0);
        let cells: std::collections::HashSet<u64> =
            (0..64).map(|_| random::below(&mut stream, 64)).collect();
        assert!(cells.len() < 64);
    }

    #[test]
    fn seeds_scramble_and_long_runs_go_on() {
        assert_ne!(share(1, 3, 0, 0.5), share(2, 3, 0, 0.5));
        assert_ne!(share(1, 3, 0, 0.5), share(1, 3 + POINTS, 0, 0.5));
        assert_ne!(share(1, 3, 0, 0.5), share(1, 3, DIMENSIONS, 0.5));
    }
}
