//! The tree-structured Parzen estimator.

mod branch;
mod column;
mod group;
mod log_sum;
mod numeric;
mod parzen;
mod rank;
mod settings;
mod side;
mod tiles;
mod weights;
mod width;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mlp_core::{Dimension, Domain, ParamValue, Params};

pub use settings::{Bandwidth, Branching, TpeSettings, Weighting};

use super::learned::{Learned, News};
use super::random::draw;
use super::{Proposal, Request, Sampler};
use crate::axis;
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};
use group::{Group, divide, groups, parts};

/// The tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, with the settings of Watanabe 2023 and
/// kernels whose widths [take turns](Bandwidth::Turns).
///
/// Proposes where good trials are dense and the others are not. Parameters that are active in the same trials are drawn together; such a group
/// has good trials of its own, so each branch of a space learns from its own past, and branches take turns as long as they may win. Trials that run count as not good, so parallel ones spread
/// out. Those that a pruner has paused count as pruned where they are. Densities are kept between trials and updated, not rebuilt.
///
/// Once a complete trial has some parameters of a group and lacks others, as when the space has grown since, the two parts are drawn apart, so that it counts for
/// those that it has.
///
/// With several objectives trials rank by their front, and within the front where good ones end by their share of its hypervolume, as in
/// Ozaki et al. 2022.
#[derive(Debug)]
pub struct TpeSampler {
    settings: TpeSettings,
    joint: Observed,
    /// Parameters that the space does not declare, each for itself.
    suggested: HashMap<String, Observed>,
}

/// What was made of a history.
#[derive(Debug, Default)]
struct Observed {
    dimensions: Vec<Dimension>,
    learned: Learned,
    /// Whether there are groups: a space without parameters has none ever.
    has_begun: bool,
    /// The dimensions of each group, by their places.
    parts: Vec<Vec<usize>>,
    groups: Vec<Group>,
    /// How many trials were taken in.
    trials: usize,
    /// With several objectives: all of them, since any new one may change the ranks of the others.
    ranked: BTreeMap<u64, Arc<TrialRecord>>,
}

impl Default for TpeSampler {
    fn default() -> Self {
        Self::new(TpeSettings::default())
    }
}

impl TpeSampler {
    /// A sampler with settings of one's own.
    #[must_use]
    pub fn new(settings: TpeSettings) -> Self {
        Self { settings, joint: Observed::default(), suggested: HashMap::new() }
    }
}

impl Observed {
    /// Takes in what has ended, or was paused, since the last time.
    fn learn(&mut self, dimensions: &[Dimension], request: &Request<'_>, settings: &TpeSettings) {
        let objectives = request.history.directions().len();
        if self.dimensions != dimensions {
            *self = Self::default();
            self.dimensions = dimensions.to_vec();
        }
        let mut news = self.learned.news(&request.history);
        let begins = news.afresh || !self.has_begun;
        if begins {
            self.parts = parts(dimensions);
        }
        let divides = self.divide(&news.ended);
        if divides && !begins {
            // What was made of the whole past is of other groups.
            self.learned = Learned::default();
            news = self.learned.news(&request.history);
        }
        if begins || divides {
            self.has_begun = true;
            self.trials = 0;
            self.ranked.clear();
            self.groups = groups(&self.parts, dimensions, objectives, settings);
        }
        let News { ended, withdrawn, paused, .. } = news;
        for number in &withdrawn {
            self.forget(*number, settings);
        }
        let has_result =
            |trial: &&TrialRecord| matches!(trial.state, TrialState::Complete | TrialState::Pruned);
        let mut changed = !withdrawn.is_empty();
        for trial in ended.into_iter().filter(has_result).chain(paused) {
            self.take(trial, request, settings);
            changed = true;
        }
        if objectives > 1 && changed {
            self.rerank(request, settings);
        }
    }

    /// Divides the groups of which complete trials, of a smaller space, have some parameters only; whether there were any.
    fn divide(&mut self, ended: &[&TrialRecord]) -> bool {
        let mut any = false;
        for trial in ended.iter().filter(|trial| trial.state == TrialState::Complete) {
            any |= divide(&mut self.parts, &self.dimensions, &trial.params);
        }
        any
    }

    fn take(&mut self, trial: &TrialRecord, request: &Request<'_>, settings: &TpeSettings) {
        let rank = rank::rank(trial, request.history.directions()[0]);
        for group in &mut self.groups {
            group.learn(trial.number, &trial.params, rank, settings);
        }
        self.trials += 1;
        if request.history.directions().len() > 1 {
            let kept = Arc::clone(&request.history.trials[trial.number as usize]);
            self.ranked.insert(trial.number, kept);
        }
    }

    fn forget(&mut self, number: u64, settings: &TpeSettings) {
        self.groups.iter_mut().for_each(|group| group.forget(number, settings));
        self.ranked.remove(&number);
        self.trials -= 1;
    }

    fn rerank(&mut self, request: &Request<'_>, settings: &TpeSettings) {
        let directions = request.history.directions();
        let trials: Vec<&TrialRecord> = self.ranked.values().map(AsRef::as_ref).collect();
        let good = settings.good(trials.len(), directions.len());
        let ranks = rank::ranks(&trials, directions, good);
        let ranks: HashMap<_, _> = self.ranked.keys().copied().zip(ranks).collect();
        self.groups.iter_mut().for_each(|group| group.rerank(&ranks));
    }

    fn propose(&mut self, request: &Request<'_>, settings: &TpeSettings) -> Params {
        let mut stream = request.stream();
        let running: Vec<_> = self.learned.beside(request).collect();
        let mut params = Params::new();
        for group in &mut self.groups {
            if !group.dimensions[0].is_active(&params) {
                continue;
            }
            let places = running.iter().map(|(number, params)| (*number, group.places(params)));
            let beside: Vec<_> = places.filter_map(|(n, places)| Some((n, places?))).collect();
            let best = group.propose(request.number(), &beside, settings, &mut stream);
            for (dimension, place) in group.dimensions.iter().zip(best) {
                params.insert(dimension.name.as_str(), axis::decode(&dimension.domain, place));
            }
        }
        params
    }
}

impl Sampler for TpeSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        self.settings.check()?;
        self.joint.learn(request.space.dimensions(), request, &self.settings);
        if self.joint.trials < self.settings.startup_trials {
            return Ok(draw(request.space, &mut request.stream()).into());
        }
        Ok(self.joint.propose(request, &self.settings).into())
    }

    fn joins_suggestions(&self) -> bool {
        true
    }

    /// A parameter for itself, learnt from the trials that have it.
    fn suggest(&mut self, request: &Request<'_>, name: &str, domain: &Domain) -> ParamValue {
        let mut stream = request.stream_of(name);
        if self.settings.check().is_err() {
            return axis::uniform(domain, &mut stream);
        }
        let observed = self.suggested.entry(name.to_owned()).or_default();
        let dimension =
            Dimension { name: name.to_owned(), domain: domain.clone(), condition: None };
        observed.learn(&[dimension], request, &self.settings);
        let group = &mut observed.groups[0];
        if group.len() < self.settings.startup_trials {
            return axis::uniform(domain, &mut stream);
        }
        let running = observed.learned.beside(request);
        let beside: Vec<_> =
            running.filter_map(|(number, params)| Some((number, group.places(&params)?))).collect();
        let best = group.propose(request.number(), &beside, &self.settings, &mut stream);
        axis::decode(domain, best[0])
    }
}
