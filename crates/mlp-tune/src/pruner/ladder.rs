//! What has reached each rung, kept from trial to trial: with thousands of paused trials a look at all of them would cost more than to start one.

use std::collections::BTreeSet;
use std::sync::Arc;

use mlp_core::Direction;

use super::rung;
use crate::history::History;
use crate::trial::TrialRecord;

/// The trials of a free study of one objective by the rungs they have reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Ladder {
    /// As each was when it was last looked at, and where it stands. A trial that changes is another one in memory.
    seen: Vec<(Arc<TrialRecord>, Standing)>,
    rungs: Vec<Rung>,
}

/// The losses of a trial at the rungs it has reached, from the first on, and whether it is paused there.
#[derive(Debug, Clone, Default)]
struct Standing {
    losses: Vec<f64>,
    is_paused: bool,
}

/// Losses, the smallest first; those that are no numbers come last and are better than none.
#[derive(Debug, Clone, Default)]
struct Rung {
    losses: Vec<f64>,
    /// The trials that are paused here: their losses in an order of integers, and their numbers.
    paused: BTreeSet<(i64, u64)>,
}

impl Ladder {
    /// Takes in what has changed.
    pub(super) fn learn(&mut self, history: &History<'_>) {
        let direction = history.directions()[0];
        if self.seen.len() > history.trials.len() {
            *self = Self::default();
        }
        for (place, trial) in history.trials.iter().enumerate() {
            match self.seen.get(place) {
                Some((known, _)) if Arc::ptr_eq(known, trial) => continue,
                Some((_, standing)) => {
                    let standing = standing.clone();
                    self.mark(trial.number, &standing, false);
                }
                None => self.seen.push((Arc::clone(trial), Standing::default())),
            }
            let standing = Standing::of(trial, direction);
            self.mark(trial.number, &standing, true);
            self.seen[place] = (Arc::clone(trial), standing);
        }
    }

    /// Puts a trial onto its rungs, or takes it off.
    fn mark(&mut self, number: u64, standing: &Standing, is_there: bool) {
        if self.rungs.len() < standing.losses.len() {
            self.rungs.resize_with(standing.losses.len(), Rung::default);
        }
        for (rung, loss) in self.rungs.iter_mut().zip(&standing.losses) {
            let place = rung.losses.partition_point(|other| other.total_cmp(loss).is_lt());
            if is_there {
                rung.losses.insert(place, *loss);
            } else {
                rung.losses.remove(place);
            }
        }
        let Some((last, rung)) =
            standing.losses.last().zip(self.rungs.get_mut(standing.losses.len().wrapping_sub(1)))
        else {
            return;
        };
        match is_there && standing.is_paused {
            true => rung.paused.insert((order(*last), number)),
            false => rung.paused.remove(&(order(*last), number)),
        };
    }

    /// How many have reached a rung.
    pub(super) fn reached(&self, rung: u32) -> usize {
        self.rungs.get(rung as usize).map_or(0, |rung| rung.losses.len())
    }

    /// How many of those are better than this value.
    pub(super) fn better(&self, rung: u32, direction: Direction, value: f64) -> usize {
        let loss = loss(direction, value);
        let better = |rung: &Rung| rung.losses.partition_point(|other| *other < loss);
        self.rungs.get(rung as usize).map_or(0, better)
    }

    /// The best of the trials that are paused at a rung, the earliest of equal ones, and how many that have reached it are better.
    pub(super) fn best_paused(&self, rung: u32) -> Option<(u64, usize)> {
        let rung = self.rungs.get(rung as usize)?;
        let (order_of_best, number) = *rung.paused.first()?;
        let better = rung.losses.partition_point(|other| order(*other) < order_of_best);
        Some((number, better))
    }
}

impl Standing {
    fn of(trial: &TrialRecord, direction: Direction) -> Self {
        let value = |rung| rung::reached(trial, &rung::mark(rung));
        let values = (0..rung::next(trial)).map_while(value);
        let first = |values: Vec<f64>| values.first().copied().unwrap_or(f64::NAN);
        let losses = values.map(|values| loss(direction, first(values))).collect();
        Self { losses, is_paused: trial.is_paused() }
    }
}

/// Something to minimise, with one zero and one NaN.
fn loss(direction: Direction, value: f64) -> f64 {
    let loss = if direction == Direction::Minimize { value } else { -value };
    if loss.is_nan() { f64::NAN } else { loss + 0.0 }
}

/// Integers in the order of `f64::total_cmp`.
fn order(loss: f64) -> i64 {
    let bits = loss.to_bits().cast_signed();
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}
