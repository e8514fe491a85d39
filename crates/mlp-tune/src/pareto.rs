//! Fronts of points of which none dominates another. All objectives here are losses: the smaller, the better.

use std::cmp::Ordering;

use mlp_core::Direction;

/// The values of several objectives as losses.
pub(crate) fn losses(directions: &[Direction], values: &[f64]) -> Vec<f64> {
    let loss = |(direction, value): (&Direction, &f64)| match direction {
        // Zero has one sign only, so that orders agree with comparisons.
        Direction::Minimize => value + 0.0,
        Direction::Maximize => 0.0 - value,
    };
    directions.iter().zip(values).map(loss).collect()
}

/// Whether `one` is at least as good as `other` everywhere, and better somewhere.
pub(crate) fn dominates(one: &[f64], other: &[f64]) -> bool {
    let mut better = false;
    for (one, other) in one.iter().zip(other) {
        if one > other {
            return false;
        }
        better |= one < other;
    }
    better
}

/// The front of each point: 0 for those that nothing dominates, 1 for those that only these dominate, and so on. Efficient non-dominated
/// sorting (Zhang et al. 2015), with the shortcut that two objectives allow.
pub(crate) fn front_numbers(losses: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..losses.len()).collect();
    order.sort_by(|&one, &other| compare(&losses[one], &losses[other]));
    let mut numbers = vec![0; losses.len()];
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    for place in order {
        let point = &losses[place];
        // Nothing later in this order dominates an earlier point. A front that does not dominate the point is followed by none that does.
        let dominated = |front: &Vec<usize>| match point.len() {
            // With two objectives the last member is the best in the second one.
            0..=2 => front.last().is_some_and(|&last| dominates(&losses[last], point)),
            _ => front.iter().rev().any(|&member| dominates(&losses[member], point)),
        };
        let number = fronts.partition_point(dominated);
        numbers[place] = number;
        match fronts.get_mut(number) {
            Some(front) => front.push(place),
            None => fronts.push(vec![place]),
        }
    }
    numbers
}

fn compare(one: &[f64], other: &[f64]) -> Ordering {
    let differences = one.iter().zip(other).map(|(one, other)| one.total_cmp(other));
    differences.fold(Ordering::Equal, Ordering::then)
}

/// How alone each point of a front stands (Deb et al. 2002): the sum over the objectives of the distance between its two neighbours, as a
/// share of the front's width; infinite at the ends. An objective in which all are equal, or the neighbours are equally infinite, adds nothing.
pub(crate) fn crowding_distances(losses: &[Vec<f64>]) -> Vec<f64> {
    let mut distances = vec![0.0; losses.len()];
    let mut order: Vec<usize> = (0..losses.len()).collect();
    let objectives = losses.first().map_or(0, Vec::len);
    for values in (0..objectives).map(|k| losses.iter().map(|loss| loss[k]).collect::<Vec<f64>>()) {
        let value = |place: usize| values[place];
        order.sort_by(|&one, &other| value(one).total_cmp(&value(other)));
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else { break };
        if value(first) == value(last) {
            continue;
        }
        let finite = || order.iter().map(|&place| value(place)).filter(|v| v.is_finite());
        let width = finite().next_back().zip(finite().next()).map_or(0.0, |(high, low)| high - low);
        let width = if width > 0.0 { width } else { 1.0 };
        for (position, &place) in order.iter().enumerate() {
            let below = position.checked_sub(1).map_or(f64::NEG_INFINITY, |p| value(order[p]));
            let above = order.get(position + 1).map_or(f64::INFINITY, |&p| value(p));
            distances[place] += if below == above { 0.0 } else { (above - below) / width };
        }
    }
    distances
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::random;

    fn slow_front_numbers(losses: &[Vec<f64>]) -> Vec<usize> {
        let mut numbers = vec![usize::MAX; losses.len()];
        for number in 0..losses.len() {
            let left: Vec<usize> = (0..losses.len()).filter(|&k| numbers[k] >= number).collect();
            for &k in &left {
                if !left.iter().any(|&other| dominates(&losses[other], &losses[k])) {
                    numbers[k] = number;
                }
            }
        }
        numbers
    }

    #[test]
    fn fronts_are_those_of_the_definition_with_ties_and_infinities() {
        let mut stream = random::stream(1, 0);
        for objectives in 1..=4 {
            // Few values, so that many are equal.
            let value = |stream: &mut random::ChaCha8Rng| match random::below(stream, 8) {
                0 => f64::INFINITY,
                1 => f64::NEG_INFINITY,
                value => value as f64,
            };
            let losses: Vec<Vec<f64>> =
                (0..120).map(|_| (0..objectives).map(|_| value(&mut stream)).collect()).collect();
            assert_eq!(front_numbers(&losses), slow_front_numbers(&losses), "{objectives}");
        }
    }

    #[test]
    fn losses_turn_what_is_maximised_and_zeros_of_either_sign_are_equal() {
        let directions = [Direction::Minimize, Direction::Maximize];
        let results = [[-0.0, 1.0], [0.0, 3.0], [2.0, 2.0], [2.0, 2.0], [3.0, 1.0]];
        let losses = results.map(|values| losses(&directions, &values));
        assert_eq!(losses[2], [2.0, -2.0]);
        assert_eq!(front_numbers(&losses), [1, 0, 1, 1, 2]);
        assert!(dominates(&losses[1], &losses[0]) && !dominates(&losses[2], &losses[3]));
    }

    #[test]
    fn the_ends_of_a_front_are_infinitely_far_from_the_others() {
        let losses = [[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]].map(Vec::from);
        let distances = crowding_distances(&losses);
        assert_eq!(distances, [f64::INFINITY, 0.5 + 0.75, 0.75 + 0.5, f64::INFINITY]);
        assert_eq!(crowding_distances(&[vec![1.0, 1.0], vec![1.0, 1.0]]), [0.0, 0.0]);
    }
}
