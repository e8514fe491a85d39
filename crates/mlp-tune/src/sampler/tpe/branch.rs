//! Which branch of a space is tried next.
//!
//! A choice that other parameters depend on opens a branch: a model with its own settings. Densities of good trials lock onto the branch that
//! is good soonest, since the others never get the trials that they would need. So every second trial goes to the branch that has been tried
//! least, the others to the one that leads, and a branch is left out when it is unlikely to win: when its best result is farther behind than
//! its recent results scatter. The idea is the elimination of Li et al. 2020 (*Efficient Automatic CASH via Rising Bandits*), for a budget
//! that is not known.

/// How many trials a branch has at least before it may be left out: half of them drawn at random, half with what these taught.
const MIN_TRIALS: usize = 20;

/// The trials of one branch so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Branch {
    /// In the order of the trials; infinite for those without a feasible result.
    losses: Vec<f64>,
    running: usize,
}

impl Branch {
    /// Adds a trial that has ended.
    pub(super) fn push(&mut self, loss: f64) {
        self.losses.push(loss);
    }

    /// Counts a trial that runs.
    pub(super) fn start(&mut self) {
        self.running += 1;
    }

    fn best(losses: &[f64]) -> f64 {
        losses.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// What it may still come to: as far below its best result as the median of its recent half lies above that.
    fn promise(&self) -> f64 {
        let mut recent = self.losses[self.losses.len() / 2..].to_vec();
        recent.sort_unstable_by(f64::total_cmp);
        let best = Self::best(&self.losses);
        let median = recent.get(recent.len() / 2).copied().unwrap_or(f64::INFINITY);
        if median.is_finite() { best - (median - best) } else { best }
    }

    fn tried(&self) -> usize {
        self.losses.len() + self.running
    }
}

/// The branch of trial `number`: the leading one, or the least tried of those that may win; the first of equal ones.
pub(super) fn next(branches: &[Branch], number: u64) -> usize {
    let bests: Vec<f64> = branches.iter().map(|branch| Branch::best(&branch.losses)).collect();
    let leader = (0..bests.len()).min_by(|&one, &other| bests[one].total_cmp(&bests[other]));
    let leader = leader.unwrap_or(0);
    if number % 2 == 1 && bests[leader] < f64::INFINITY {
        return leader;
    }
    let may_win =
        |branch: &Branch| branch.losses.len() < MIN_TRIALS || branch.promise() <= bests[leader];
    let candidates = branches.iter().enumerate().filter(|(_, branch)| may_win(branch));
    candidates.min_by_key(|(_, branch)| branch.tried()).map_or(leader, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(losses: &[f64], running: usize) -> Branch {
        Branch { losses: losses.to_vec(), running }
    }

    #[test]
    fn the_leader_has_every_second_trial_and_the_others_take_turns() {
        let branches = [branch(&[1.0, 1.0], 0), branch(&[2.0], 0), branch(&[], 0)];
        assert_eq!([1, 2, 3].map(|number| next(&branches, number)), [0, 2, 0]);
        // Trials that run count as tried.
        assert_eq!(next(&[branch(&[1.0, 1.0], 0), branch(&[2.0], 0), branch(&[], 2)], 2), 1);
        assert_eq!(next(&[branch(&[], 1), branch(&[], 0)], 1), 1);
    }

    #[test]
    fn a_branch_is_left_out_when_it_is_farther_behind_than_it_scatters() {
        let leader = branch(&[1.0; 50], 0);
        assert_eq!(next(&[leader.clone(), branch(&[2.0; 19], 0)], 0), 1);
        assert_eq!(next(&[leader.clone(), branch(&[2.0; 20], 0)], 0), 0);
        // One whose recent trials scatter as much as it lacks is not.
        let rising: Vec<f64> = (0..20).map(|k| if k == 10 { 2.0 } else { 3.5 }).collect();
        assert_eq!(next(&[leader.clone(), branch(&rising, 0)], 0), 1);
        // Nor is one without any result, until it has had its trials.
        assert_eq!(next(&[leader.clone(), branch(&[f64::INFINITY; 19], 0)], 0), 1);
        assert_eq!(next(&[leader, branch(&[f64::INFINITY; 20], 0)], 0), 0);
    }
}
