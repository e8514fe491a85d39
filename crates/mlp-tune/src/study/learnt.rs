//! The parameters that trials chose while they ran, as dimensions that a sampler can propose together.

use std::collections::BTreeMap;

use mlp_core::{Dimension, Domain, SearchSpace};

use crate::history::History;
use crate::trial::{TrialRecord, TrialState};

/// The parameters beyond the declared ones that every complete trial so far has chosen, with the domain of the latest (Optuna's
/// intersection of search spaces).
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// The trials below were looked at; those in `late` had not ended then.
    next: usize,
    late: Vec<usize>,
    /// Name by name: the number of the trial that the domain is from.
    common: Option<BTreeMap<String, (u64, Domain)>>,
    /// The declared space with these parameters, as long as it stands.
    space: Option<SearchSpace>,
}

impl Learnt {
    /// Takes in what is complete since the last time.
    pub(super) fn learn(&mut self, declared: &SearchSpace, history: &History<'_>) {
        if self.common.as_ref().is_some_and(BTreeMap::is_empty) {
            return; // Nothing is common to all, and that stays so.
        }
        let visible = history.trials.len();
        let visible = history.horizon.map_or(visible, |horizon| visible.min(horizon as usize));
        let late = std::mem::take(&mut self.late);
        for number in late.into_iter().chain(self.next..visible) {
            let trial = &history.trials[number];
            match trial.state {
                TrialState::Complete => self.learn_one(declared, trial),
                state if state.is_finished() => {}
                _ => self.late.push(number),
            }
        }
        self.next = self.next.max(visible);
    }

    fn learn_one(&mut self, declared: &SearchSpace, trial: &TrialRecord) {
        let is_declared = |name: &str| declared.dimensions().iter().any(|d| d.name == name);
        let chosen = |name: &str| {
            trial.params.get(name).and(trial.domains.get(name)).filter(|_| !is_declared(name))
        };
        let before = self.common.take();
        let common: BTreeMap<_, _> = match &before {
            None => trial
                .params
                .iter()
                .filter_map(|(name, _)| {
                    Some((name.to_owned(), (trial.number, chosen(name)?.clone())))
                })
                .collect(),
            Some(common) => common
                .iter()
                .filter_map(|(name, (number, domain))| {
                    let new = chosen(name).filter(|new| same_kind(domain, new))?;
                    let latest = if trial.number > *number {
                        (trial.number, new.clone())
                    } else {
                        (*number, domain.clone())
                    };
                    Some((name.clone(), latest))
                })
                .collect(),
        };
        let domains = |common: &BTreeMap<String, (u64, Domain)>| {
            common.iter().map(|(n, (_, d))| (n.clone(), d.clone())).collect::<Vec<_>>()
        };
        if before.as_ref().map(domains).as_ref() != Some(&domains(&common)) {
            let more = common.iter().map(|(name, (_, domain))| Dimension {
                name: name.clone(),
                domain: domain.clone(),
                condition: None,
            });
            self.space = match common.is_empty() {
                true => None,
                false => SearchSpace::new(declared.dimensions().iter().cloned().chain(more)).ok(),
            };
        }
        self.common = Some(common);
    }

    /// The declared space and what was learnt; none if nothing was.
    pub(super) fn space(&self) -> Option<&SearchSpace> {
        self.space.as_ref()
    }
}

/// Whether values of the two domains can be compared: the same kind on the same scale.
pub(super) fn same_kind(one: &Domain, other: &Domain) -> bool {
    match (one, other) {
        (Domain::Categorical { .. }, Domain::Categorical { .. }) => true,
        (Domain::Float { scale: one, .. }, Domain::Float { scale: other, .. })
        | (Domain::Int { scale: one, .. }, Domain::Int { scale: other, .. }) => one == other,
        _ => false,
    }
}
