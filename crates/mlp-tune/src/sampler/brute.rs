//! Every point of a space of finite domains, conditional or grown while running.

use std::collections::{BTreeMap, HashMap};

use mlp_core::{Domain, ParamValue, Params};

use super::{Proposal, Request, Sampler};
use crate::axis;
use crate::error::TuneError;
use crate::trial::{TrialRecord, TrialState};

/// Tries every point of a space once, in random order; then the study is exhausted.
///
/// The space may be conditional, and its parameters may be chosen while trials run: the tree of choices is read from the trials, so only
/// points that the objective asks for count. Every domain must have an end of values. A point belongs to one trial while that runs, and for
/// good once it is complete or pruned; one whose trials failed is tried again, up to [`with_attempts`](Self::with_attempts) times in all.
///
/// Which points are taken is seen as it is at that moment, in an [ordered](crate::Study::with_order) study too, so that none runs twice: where trials fail, or
/// choose parameters while they run, it may depend on the threads which trial gets which point.
///
/// A grid over declared parameters in a fixed order is [`GridSampler`](crate::GridSampler)'s.
#[derive(Debug, Clone, Copy)]
pub struct BruteForceSampler {
    attempts: usize,
}

impl Default for BruteForceSampler {
    fn default() -> Self {
        Self { attempts: 3 }
    }
}

impl BruteForceSampler {
    /// A sampler that tries a failing point 3 times.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how often a point is tried before it is given up as failing; at least 1.
    #[must_use]
    pub fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// What is explored or claimed. It is seen as it is now, also in an ordered study: a point must never run twice.
    fn leaves<'a>(&self, request: &Request<'a>) -> Vec<Leaf<'a>> {
        let mut failures: HashMap<String, usize> = HashMap::new();
        let mut leaves = Vec::new();
        for trial in request.history.trials {
            let trial: &TrialRecord = trial;
            if trial.number == request.number() || trial.state == TrialState::Waiting {
                continue;
            }
            let leaf = Leaf { params: &trial.params, domains: &trial.domains, state: trial.state };
            if trial.state != TrialState::Failed {
                leaves.push(leaf);
                continue;
            }
            let count = failures.entry(trial.params.to_string()).or_default();
            *count += 1;
            if *count == self.attempts {
                leaves.push(leaf);
            }
        }
        leaves
    }
}

/// The path of one trial through the tree of choices.
#[derive(Debug, Clone, Copy)]
struct Leaf<'a> {
    params: &'a Params,
    domains: &'a BTreeMap<String, Domain>,
    state: TrialState,
}

impl<'a> Leaf<'a> {
    /// The parameters that were not decided on the way here.
    fn left(&self, decided: &[String]) -> impl Iterator<Item = &'a str> {
        self.params.iter().map(|(name, _)| name).filter(|name| !decided.iter().any(|d| d == name))
    }

    fn has(&self, name: &str, value: &ParamValue) -> bool {
        let Some(own) = self.params.get(name) else { return false };
        let settled = |domain| axis::settled(domain, own) == axis::settled(domain, value);
        own == value || self.domains.get(name).is_some_and(settled)
    }
}

/// Whether nothing is left below a place of the tree, of which `leaves` are the paths and `decided` the parameters on the way there.
///
/// The order in which parameters were chosen is not recorded, and need not be: one that every path has, with one domain, can stand first.
fn is_exhausted(leaves: &[Leaf<'_>], decided: &mut Vec<String>) -> bool {
    if leaves.is_empty() {
        return false;
    }
    let ended: Vec<_> = leaves.iter().filter(|leaf| leaf.state.is_finished()).collect();
    // A trial that failed halfway says nothing about what follows.
    let is_open = |leaf: &&&Leaf<'_>| leaf.left(decided).next().is_some();
    let Some(first) = ended.iter().find(is_open) else { return true };
    let open: Vec<_> = ended.iter().filter(is_open).collect();
    let is_common = |name: &&str| {
        open.iter().all(|leaf| {
            leaf.params.get(name).is_some() && leaf.domains.get(*name) == first.domains.get(*name)
        })
    };
    let common = first.left(decided).find(is_common);
    // Paths without a common choice come from an objective that does not repeat itself: there is no tree.
    let Some((name, domain)) = common.and_then(|name| Some((name, first.domains.get(name)?)))
    else {
        return true;
    };
    let Some(values) = axis::values(domain) else { return false };
    let name = name.to_owned();
    decided.push(name.clone());
    let done = values.iter().all(|value| {
        let below: Vec<_> = leaves.iter().filter(|leaf| leaf.has(&name, value)).copied().collect();
        is_exhausted(&below, decided)
    });
    decided.pop();
    done
}

/// The values of a parameter below which something is left.
fn open_values(
    leaves: &[Leaf<'_>],
    decided: &mut Vec<String>,
    name: &str,
    values: Vec<ParamValue>,
) -> Vec<ParamValue> {
    decided.push(name.to_owned());
    let open = values.into_iter().filter(|value| {
        let below: Vec<_> = leaves.iter().filter(|leaf| leaf.has(name, value)).copied().collect();
        !is_exhausted(&below, decided)
    });
    let open = open.collect();
    decided.pop();
    open
}

impl Sampler for BruteForceSampler {
    fn propose(&mut self, request: &Request<'_>) -> Result<Proposal, TuneError> {
        let mut leaves = self.leaves(request);
        let mut decided = Vec::new();
        let mut params = Params::new();
        let mut stream = request.stream();
        for dimension in request.space.dimensions() {
            if !dimension.is_active(&params) {
                continue;
            }
            let name = &dimension.name;
            let endless =
                || TuneError::parameter(name, "its values have no end, or are too many to list");
            let values = axis::values(&dimension.domain).ok_or_else(endless)?;
            let mut open = open_values(&leaves, &mut decided, name, values);
            if open.is_empty() {
                return Err(TuneError::Exhausted);
            }
            let value =
                open.swap_remove(mlp_core::random::below(&mut stream, open.len() as u64) as usize);
            leaves.retain(|leaf| leaf.has(name, &value));
            decided.push(name.clone());
            params.insert(name.as_str(), value);
        }
        // What trials choose while they run comes after what is declared.
        if is_exhausted(&leaves, &mut decided) {
            return Err(TuneError::Exhausted);
        }
        Ok(params.into())
    }

    fn suggest(&mut self, request: &Request<'_>, name: &str, domain: &Domain) -> ParamValue {
        let mut stream = request.stream_of(name);
        let (Some(values), Some(current)) =
            (axis::values(domain), request.history.trials.get(request.number() as usize))
        else {
            return axis::uniform(domain, &mut stream);
        };
        let mut leaves = self.leaves(request);
        leaves.retain(|leaf| current.params.iter().all(|(name, value)| leaf.has(name, value)));
        let mut decided = current.params.iter().map(|(name, _)| name.to_owned()).collect();
        let mut open = open_values(&leaves, &mut decided, name, values);
        if open.is_empty() {
            return axis::uniform(domain, &mut stream);
        }
        open.swap_remove(mlp_core::random::below(&mut stream, open.len() as u64) as usize)
    }
}
