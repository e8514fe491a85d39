//! Who chooses what is tried next.

mod generations;
mod learned;

pub(crate) mod brute;
pub(crate) mod cma;
pub(crate) mod gp;
pub(crate) mod grid;
pub(crate) mod nsga;
pub(crate) mod random;
pub(crate) mod sobol;
pub(crate) mod tpe;

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlp_core::random::ChaCha8Rng;
use mlp_core::{Domain, ParamValue, Params, SearchSpace};
use serde_json::Value;

use crate::axis;
use crate::error::TuneError;
use crate::history::History;

/// What a sampler is asked for: the parameters of one trial.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where to look.
    pub space: &'a SearchSpace,
    /// What of it the study declares: it comes first, and what trials [chose while they ran](Sampler::joins_suggestions) after it.
    pub(crate) declared: &'a SearchSpace,
    /// What is known so far.
    pub history: History<'a>,
    pub(crate) seed: u64,
}

impl Request<'_> {
    /// The number of the trial.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.history.current
    }

    /// The random stream of this trial: a function of the study's seed and the trial's number alone.
    #[must_use]
    pub fn stream(&self) -> ChaCha8Rng {
        mlp_core::random::stream(self.seed, self.history.current)
    }

    /// The random stream of one parameter of this trial, apart from the trial's own.
    #[must_use]
    pub fn stream_of(&self, parameter: &str) -> ChaCha8Rng {
        // FNV-1a: any fixed function of the name serves.
        let hash = parameter.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
        });
        mlp_core::random::stream(self.seed ^ hash, self.history.current)
    }
}

/// What a sampler proposes.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Proposal {
    /// The parameters, each active one of the space.
    pub params: Params,
    /// What the sampler wants to find with the trial later.
    pub marks: BTreeMap<String, Value>,
}

impl From<Params> for Proposal {
    fn from(params: Params) -> Self {
        Self { params, marks: BTreeMap::new() }
    }
}

/// Chooses the parameters of the next trial.
///
/// # Contract
///
/// * The proposal is a function of the request alone: of the space, the visible history, the seed and the number. What a sampler keeps
///   between calls only saves time, so that a study goes on after a restart as if nothing had happened.
pub trait Sampler: Debug + Send {
    /// The parameters of the next trial.
    ///
    /// # Errors
    /// [`TuneError::Exhausted`] if nothing is left to try; or if the space does not suit the sampler.
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError>;

    /// A parameter that the space does not declare, chosen while the trial runs. Even over the domain unless the sampler knows better.
    fn suggest(&mut self, request: &Request<'_>, name: &str, domain: &Domain) -> ParamValue {
        axis::uniform(domain, &mut request.stream_of(name))
    }

    /// Whether parameters that the space does not declare, but every complete trial has chosen while it ran, are part of the request's space
    /// from then on. What is proposed for them waits until the trial asks.
    fn joins_suggestions(&self) -> bool {
        false
    }
}

impl Sampler for Box<dyn Sampler> {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        (**self).propose(request)
    }

    fn suggest(&mut self, request: &Request<'_>, name: &str, domain: &Domain) -> ParamValue {
        (**self).suggest(request, name, domain)
    }

    fn joins_suggestions(&self) -> bool {
        (**self).joins_suggestions()
    }
}
