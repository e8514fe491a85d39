//! Coordinate descent for quadratic functions with an L1 penalty.

use std::cmp::Ordering;

use mlp_core::choose_columns;
use ndarray::{Array2, Axis};

use crate::solve::{Factor, dot};

/// The fewest sweeps between two attempts to settle.
const PATIENCE: usize = 64;

/// Minimises `½ xᵀ A x − bᵀ x + Σ lⱼ |xⱼ|` from `x`, for a symmetric positive semi-definite `A` (Friedman, Hastie and Tibshirani 2010, *Regularization paths
/// for generalized linear models via coordinate descent*, with the products of `A` kept up to date).
///
/// Sweeps over the coordinates that are not 0 until they rest, then over all; it ends when a sweep over all moves nothing by more than `tolerance`, each
/// move measured in `√Aⱼⱼ` of its coordinate, or by more than rounding. Where that takes long, as it does with coordinates that are nearly the same, it
/// goes straight to the minimum of those that are not 0 now and then. Gives the number of sweeps, or none if `max_sweeps` were not enough.
pub(crate) fn minimise(
    a: &Array2<f64>,
    b: &[f64],
    l1: &[f64],
    x: &mut [f64],
    tolerance: f64,
    max_sweeps: usize,
) -> Option<usize> {
    let n = b.len();
    // What is left of b − A x.
    let mut left: Vec<f64> = b.to_vec();
    for (j, value) in x.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        subtract(&mut left, a, j, *value);
    }
    let all: Vec<usize> = (0..n).collect();
    let mut some: Vec<usize> = Vec::with_capacity(n);
    let (mut is_full, mut since) = (true, 0);
    for sweep in 1..=max_sweeps {
        let mut moved = 0.0_f64;
        for &j in if is_full { &all } else { &some } {
            let curvature = a[[j, j]];
            if curvature <= 0.0 {
                continue;
            }
            let pull = left[j] + curvature * x[j];
            let new = soft(pull, l1[j]) / curvature;
            let change = new - x[j];
            if change != 0.0 {
                subtract(&mut left, a, j, change);
                x[j] = new;
                // The last digits of a coordinate never rest.
                if change.abs() > 8.0 * f64::EPSILON * new.abs() {
                    moved = moved.max(change.abs() * curvature.sqrt());
                }
            }
        }
        let rests = moved <= tolerance;
        if rests && is_full {
            return Some(sweep);
        }
        if is_full {
            some.clear();
            some.extend((0..n).filter(|&j| x[j] != 0.0 || l1[j] == 0.0));
        }
        is_full = rests;
        since += 1;
        // An attempt is to take no longer than the sweeps before it.
        if since >= PATIENCE && since >= some.len() * some.len() / (6 * n) {
            settle(a, l1, x, &mut left);
            (since, is_full) = (0, true);
        }
    }
    None
}

/// Goes to the minimum over the coordinates that are not 0, or as far towards it as none of them changes its sign: one that would is 0 then. `left` is
/// what is left of b − A x.
fn settle(a: &Array2<f64>, l1: &[f64], x: &mut [f64], left: &mut [f64]) {
    let is_free = |j: &usize| (x[*j] != 0.0 || l1[*j] == 0.0) && a[[*j, *j]] > 0.0;
    let free: Vec<usize> = (0..x.len()).filter(is_free).collect();
    let factor = Factor::of(&choose_columns(a.select(Axis(0), &free).view(), &free));
    let held: Vec<f64> =
        free.iter().map(|&j| if l1[j] == 0.0 { 0.0 } else { l1[j] * x[j].signum() }).collect();
    let slopes = |left: &[f64]| -> Vec<f64> {
        free.iter().zip(&held).map(|(&j, held)| left[j] - held).collect()
    };
    let slope = slopes(left);
    let step = factor.solve(slope.clone());
    let is_descent = dot(&step, &slope) > 0.0 && step.iter().all(|part| part.is_finite());
    if is_descent && go(a, l1, x, left, &free, &step, 1.0).is_some() {
        return;
    }
    // Where coordinates depend on each other the equations leave a slope, on which coordinate descent would walk for ever: the penalty's, for one.
    let mut directions = factor.null_directions();
    while let Some(mut direction) = directions.pop() {
        let slope = dot(&direction, &slopes(left));
        let size = |(&j, part): (&usize, &f64)| {
            part.abs() * (left[j].abs() + l1[j] + a[[j, j]] * x[j].abs())
        };
        let rounding = 8.0 * f64::EPSILON * free.iter().zip(&direction).map(size).sum::<f64>();
        // Also where it is no number.
        if slope.abs().partial_cmp(&rounding) != Some(Ordering::Greater) {
            continue;
        }
        direction.iter_mut().for_each(|part| *part *= slope.signum());
        let length = slope.abs() / curvature(a, &free, &direction);
        let Some(zero) = go(a, l1, x, left, &free, &direction, length) else { continue };
        // The others are to let the coordinate that is 0 now be.
        for other in &mut directions {
            let times = other[zero] / direction[zero];
            other.iter_mut().zip(&direction).for_each(|(part, gone)| *part -= times * gone);
            other[zero] = 0.0;
        }
    }
}

/// Goes so far along a direction, or until the first coordinate would change its sign: that one is 0 then, and its place in `free` is given.
fn go(
    a: &Array2<f64>,
    l1: &[f64],
    x: &mut [f64],
    left: &mut [f64],
    free: &[usize],
    direction: &[f64],
    length: f64,
) -> Option<usize> {
    let crossing = |(place, (&j, part)): (usize, (&usize, &f64))| {
        let crosses = l1[j] != 0.0 && *part != 0.0 && (x[j] + length * part) * x[j] <= 0.0;
        crosses.then_some((-x[j] / part, place))
    };
    let crossings = free.iter().zip(direction).enumerate().filter_map(crossing);
    let first = crossings.min_by(|one, other| one.0.total_cmp(&other.0));
    let length = first.map_or(length, |(length, _)| length);
    let zero = first.map(|(_, place)| place);
    for (place, (&j, part)) in free.iter().zip(direction).enumerate() {
        let new = if zero == Some(place) { 0.0 } else { x[j] + length * part };
        subtract(left, a, j, new - x[j]);
        x[j] = new;
    }
    zero
}

/// The curvature along a direction, or what its rounding may be if that is more.
fn curvature(a: &Array2<f64>, free: &[usize], direction: &[f64]) -> f64 {
    let (mut sum, mut rounding) = (0.0, 0.0);
    for (&i, left) in free.iter().zip(direction) {
        let row = a.row(i);
        let along: f64 = free.iter().zip(direction).map(|(&j, part)| row[j] * part).sum();
        sum += left * along;
        rounding += left * left * a[[i, i]];
    }
    sum.max(f64::EPSILON * rounding)
}

/// Towards 0 by an amount, and not beyond.
fn soft(value: f64, by: f64) -> f64 {
    value.signum() * (value.abs() - by).max(0.0)
}

fn subtract(left: &mut [f64], a: &Array2<f64>, j: usize, times: f64) {
    if let Some(row) = a.row(j).to_slice() {
        left.iter_mut().zip(row).for_each(|(left, cell)| *left -= times * cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn without_a_penalty_it_solves_the_equations() {
        let (a, b) = (array![[4.0, 2.0], [2.0, 3.0]], [10.0, 8.0]);
        let mut x = [0.0; 2];
        assert!(minimise(&a, &b, &[0.0; 2], &mut x, 1e-14, 10_000).is_some());
        assert!((x[0] - 1.75).abs() < 1e-12 && (x[1] - 1.5).abs() < 1e-12, "{x:?}");
    }

    #[test]
    fn coordinates_that_are_nearly_the_same_take_few_sweeps() {
        // Two coordinates that differ by one part in ten thousand million, and the same twice.
        for apart in [1e-10, 0.0] {
            let near = 1.0 - apart;
            let a = array![[1.0, near, 0.2], [near, 1.0, 0.2], [0.2, 0.2, 1.0]];
            for b in [[3.0, 3.0, 1.0], [3.0, 2.5, 1.0], [3.0, 3.0 + 1e-10, 1.0]] {
                let (l1, mut x) = ([0.5; 3], [-1.0, 3.0, 0.0]);
                assert!(minimise(&a, &b, &l1, &mut x, 1e-14, 1_000).is_some(), "{apart}, {b:?}");
                let slopes = a.dot(&ndarray::arr1(&x)) - ndarray::arr1(&b);
                for j in 0..3 {
                    match x[j] {
                        0.0 => assert!(slopes[j].abs() <= 0.5 + 1e-13, "{x:?}, {slopes}"),
                        _ => assert!((slopes[j] + 0.5 * x[j].signum()).abs() < 1e-13, "{slopes}"),
                    }
                }
            }
        }
    }

    #[test]
    fn the_slopes_at_the_minimum_are_held_by_the_penalty() {
        let a = array![[4.0, 2.0, 0.5], [2.0, 3.0, 1.0], [0.5, 1.0, 5.0]];
        let (b, l1) = ([10.0, 1.0, -3.0], [2.0, 3.0, 0.5]);
        let mut x = [0.0; 3];
        assert!(minimise(&a, &b, &l1, &mut x, 1e-14, 10_000).is_some());
        let slopes = a.dot(&ndarray::arr1(&x)) - ndarray::arr1(&b);
        for j in 0..3 {
            match x[j] {
                0.0 => assert!(slopes[j].abs() <= l1[j]),
                _ => assert!((slopes[j] + l1[j] * x[j].signum()).abs() < 1e-12),
            }
        }
        assert!(x.contains(&0.0), "{x:?}");
        assert_eq!(minimise(&a, &b, &l1, &mut [0.0; 3], 1e-14, 1), None);
    }
}
