//! How a trial stands among others at the same step, with one objective or several.

use mlp_core::Direction;

use crate::pareto::{front_numbers, losses};

/// How many of the rivals are better: by their value, or with several objectives by the front they belong to, as in multi-objective asynchronous
/// successive halving (Schmucker et al. 2021). A rival that has not as many values does not compete.
pub(super) fn better(directions: &[Direction], rivals: &[Vec<f64>], own: &[f64]) -> usize {
    if let ([direction], [own]) = (directions, own) {
        let values = rivals.iter().filter_map(|rival| rival.first());
        return values.filter(|value| direction.is_better(**value, *own)).count();
    }
    let (own, rivals) = fronts(directions, rivals, own);
    rivals.iter().filter(|front| **front < own).count()
}

/// The front of a trial, and those of its rivals.
pub(super) fn fronts(
    directions: &[Direction],
    rivals: &[Vec<f64>],
    own: &[f64],
) -> (usize, Vec<usize>) {
    let rivals = rivals.iter().map(Vec::as_slice).filter(|rival| rival.len() == own.len());
    let all: Vec<_> = rivals.chain([own]).map(|values| losses(directions, values)).collect();
    let mut fronts = front_numbers(&all);
    let own = fronts.pop().unwrap_or_default();
    (own, fronts)
}
