//! The hypervolume of a set of results: how much of the space of objectives they dominate.

use mlp_core::Direction;

use crate::error::TuneError;
use crate::pareto::dominates;

/// The volume of what these points dominate, up to a reference point, exactly. Points that are not better than the reference in every
/// objective add nothing. Twice as many points take about four times as long with two objectives, and more with every further one.
///
/// With two objectives by a sweep, with more by the algorithm of While, Bradstreet and Barone (2012).
///
/// ```
/// use mlp_core::Direction::{Maximize, Minimize};
/// use mlp_tune::hypervolume;
///
/// // The error is to be small, the speed large.
/// let volume = hypervolume(&[[0.25, 1.0], [0.5, 2.0]], &[1.0, 0.0], &[Minimize, Maximize])?;
/// assert_eq!(volume, 0.75 * 1.0 + 0.5 * 1.0);
/// # Ok::<(), mlp_tune::TuneError>(())
/// ```
///
/// # Errors
/// If the number of values of a point or of the reference is not that of the directions, or a value is not a number, or the reference is
/// not finite.
pub fn hypervolume<P: AsRef<[f64]>>(
    points: &[P],
    reference: &[f64],
    directions: &[Direction],
) -> Result<f64, TuneError> {
    let losses = |values: &[f64]| -> Result<Vec<f64>, TuneError> {
        if values.len() != directions.len() {
            let (given, expected) = (values.len(), directions.len());
            return Err(TuneError::WrongNumberOfValues { given, expected });
        }
        if values.iter().any(|value| value.is_nan()) {
            return Err(TuneError::setting("a value of a point", f64::NAN, "a number"));
        }
        let sign =
            |direction: &Direction| if *direction == Direction::Minimize { 1.0 } else { -1.0 };
        Ok(directions
            .iter()
            .zip(values)
            .map(|(direction, value)| sign(direction) * value)
            .collect())
    };
    let reference = losses(reference)?;
    if let Some(value) = reference.iter().find(|value| !value.is_finite()) {
        return Err(TuneError::setting("a value of the reference point", value, "a finite number"));
    }
    let points: Result<Vec<_>, _> = points.iter().map(|point| losses(point.as_ref())).collect();
    Ok(volume(&points?, &reference))
}

/// The volume that losses dominate.
pub(crate) fn volume(losses: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside = |point: &&Vec<f64>| point.iter().zip(reference).all(|(value, edge)| value < edge);
    let points = losses.iter().filter(inside).cloned().collect();
    inside_volume(front(points), reference)
}

fn inside_volume(mut points: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    if points.len() <= 1 || reference.len() <= 1 {
        return points.first().map_or(0.0, |point| box_volume(point, reference));
    }
    if reference.len() == 2 {
        // By rising first and so falling second objective.
        points.sort_by(|one, other| one[0].total_cmp(&other[0]));
        let mut edge = reference[1];
        let mut area = 0.0;
        for point in &points {
            area += (reference[0] - point[0]) * (edge - point[1]);
            edge = point[1];
        }
        return area;
    }
    // The worst in the last objective first: what is left of the others, held within it, then has few points.
    let last = reference.len() - 1;
    points.sort_by(|one, other| other[last].total_cmp(&one[last]));
    let mut sum = 0.0;
    while let Some(point) = points.pop() {
        sum += box_volume(&point, reference);
        let held = points
            .iter()
            .map(|other| other.iter().zip(&point).map(|(other, own)| other.max(*own)).collect());
        sum -= inside_volume(front(held.collect()), reference);
    }
    sum
}

fn box_volume(point: &[f64], reference: &[f64]) -> f64 {
    point.iter().zip(reference).map(|(value, edge)| edge - value).product()
}

/// The points that no other one dominates, each once.
fn front(points: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let mut front: Vec<Vec<f64>> = Vec::with_capacity(points.len());
    for point in points {
        if front.iter().any(|other| *other == point || dominates(other, &point)) {
            continue;
        }
        front.retain(|other| !dominates(&point, other));
        front.push(point);
    }
    front
}

/// The places of `count` points that together dominate much, the largest gain first: the greedy choice, at least 1 − 1/e of the largest
/// volume (Nemhauser et al. 1978). The reference lies a tenth beyond the worst. Points with infinite losses come last.
pub(crate) fn select_by_volume(losses: &[Vec<f64>], count: usize) -> Vec<usize> {
    let is_finite = |place: &usize| losses[*place].iter().all(|value| value.is_finite());
    let (finite, infinite): (Vec<usize>, Vec<usize>) = (0..losses.len()).partition(is_finite);
    let objectives = losses.first().map_or(0, Vec::len);
    let worst = |objective: usize| {
        let values = finite.iter().map(|&place| losses[place][objective]);
        let worst = values.fold(f64::NEG_INFINITY, f64::max);
        let beyond = (1.1 * worst).max(0.9 * worst);
        if beyond == 0.0 { 1e-12 } else { beyond }
    };
    let reference: Vec<f64> = (0..objectives).map(worst).collect();
    // A gain never grows as the set does, so what was computed for a smaller set bounds it from above.
    let gain_alone = |&place: &usize| (box_volume(&losses[place], &reference), place);
    let mut bounds: Vec<(f64, usize)> = finite.iter().map(gain_alone).collect();
    let mut chosen: Vec<usize> = Vec::new();
    let mut points: Vec<Vec<f64>> = Vec::new();
    let mut total = 0.0;
    while chosen.len() < count && !bounds.is_empty() {
        bounds.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut best = (f64::NEG_INFINITY, 0);
        for (position, (bound, place)) in bounds.iter_mut().enumerate() {
            if *bound <= best.0 {
                break;
            }
            points.push(losses[*place].clone());
            *bound = volume(&points, &reference) - total;
            points.pop();
            if *bound > best.0 {
                best = (*bound, position);
            }
        }
        let (gain, place) = bounds.remove(best.1);
        total += gain;
        points.push(losses[place].clone());
        chosen.push(place);
    }
    chosen.extend(infinite.into_iter().take(count - chosen.len()));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;

    fn random_points(count: usize, objectives: usize, seed: u64) -> Vec<Vec<f64>> {
        let mut stream = random::stream(seed, 0);
        (0..count)
            .map(|_| (0..objectives).map(|_| random::uniform(&mut stream)).collect())
            .collect()
    }

    /// By inclusion and exclusion over all subsets.
    fn slow_volume(points: &[Vec<f64>], reference: &[f64]) -> f64 {
        let subsets = 1_u32..1 << points.len();
        let signed = subsets.map(|subset| {
            let members = points.iter().enumerate().filter(|(k, _)| subset >> k & 1 == 1);
            let corner: Vec<f64> = members
                .fold(vec![f64::NEG_INFINITY; reference.len()], |c, (_, p)| {
                    c.iter().zip(p).map(|(one, other)| one.max(*other)).collect()
                });
            let sign = if subset.count_ones() % 2 == 1 { 1.0 } else { -1.0 };
            sign * box_volume(&corner, reference)
        });
        signed.sum()
    }

    #[test]
    fn volumes_are_those_of_inclusion_and_exclusion() {
        for objectives in 1..=5 {
            for seed in 0..10 {
                let points = random_points(10, objectives, seed);
                let reference = vec![1.1; objectives];
                let (own, known) = (volume(&points, &reference), slow_volume(&points, &reference));
                assert!((own - known).abs() < 1e-9, "{objectives} objectives: {own} {known}");
            }
        }
    }

    #[test]
    fn what_is_not_inside_the_reference_adds_nothing() {
        use Direction::Minimize;
        let points = [[1.0, 1.0], [2.0, 0.5], [0.5, 3.0], [3.0, 3.0]];
        let volume = hypervolume(&points, &[2.0, 2.0], &[Minimize; 2]).unwrap();
        assert_eq!(volume, 1.0);
        let none: [[f64; 2]; 0] = [];
        assert_eq!(hypervolume(&none, &[2.0, 2.0], &[Minimize; 2]).unwrap(), 0.0);
        assert!(hypervolume(&points, &[2.0], &[Minimize; 2]).is_err());
        assert!(hypervolume(&points, &[2.0, f64::NAN], &[Minimize; 2]).is_err());
        assert!(hypervolume(&[[f64::NAN, 0.0]], &[2.0, 1.0], &[Minimize; 2]).is_err());
    }

    #[test]
    fn the_greedy_choice_is_that_of_trying_all() {
        for objectives in 2..=3 {
            let points = random_points(12, objectives, 3);
            let chosen = select_by_volume(&points, 5);
            let mut slow: Vec<usize> = Vec::new();
            let worst = |k: usize| points.iter().map(|p| p[k]).fold(0.0, f64::max) * 1.1;
            let reference: Vec<f64> = (0..objectives).map(worst).collect();
            while slow.len() < 5 {
                let gain = |&place: &usize| {
                    let set = slow.iter().chain([&place]).map(|&k| points[k].clone());
                    volume(&set.collect::<Vec<_>>(), &reference)
                };
                let left = (0..12).filter(|place| !slow.contains(place));
                slow.push(left.max_by(|a, b| gain(a).total_cmp(&gain(b))).unwrap());
            }
            let set =
                |chosen: &[usize]| chosen.iter().map(|&k| points[k].clone()).collect::<Vec<_>>();
            let gained = |chosen: &[usize]| volume(&set(chosen), &reference);
            // What adds nothing is a tie, so the volumes are compared.
            for count in 1..=5 {
                assert!((gained(&chosen[..count]) - gained(&slow[..count])).abs() < 1e-12);
            }
        }
    }
}
