//! Minimising a smooth function of a few variables.

use crate::linalg::{Matrix, dot};

/// Where the descent of a function from `start` ends: Broyden, Fletcher, Goldfarb and Shanno's method, with steps halved until they descend
/// enough. The function returns its value, infinite where it has none, and its gradient.
pub(super) fn minimise(
    function: impl Fn(&[f64]) -> (f64, Vec<f64>),
    start: Vec<f64>,
    steps: usize,
) -> (f64, Vec<f64>) {
    let n = start.len();
    let mut inverse = Matrix::identity(n);
    let mut place = start;
    let (mut value, mut gradient) = function(&place);
    for _ in 0..steps {
        let mut direction: Vec<f64> = inverse.times(&gradient).iter().map(|x| -x).collect();
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 || slope.is_nan() {
            inverse = Matrix::identity(n);
            direction = gradient.iter().map(|x| -x).collect();
            slope = -dot(&gradient, &gradient);
        }
        // No step is longer than a factor e² in a variable that is a logarithm.
        let longest = direction.iter().fold(0.0, |longest: f64, x| longest.max(x.abs()));
        let mut length = if longest > 2.0 { 2.0 / longest } else { 1.0 };
        let mut next = None;
        for _ in 0..20 {
            let there: Vec<f64> =
                place.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
            let (there_value, there_gradient) = function(&there);
            if there_value <= value + 1e-4 * length * slope {
                next = Some((there, there_value, there_gradient));
                break;
            }
            length *= 0.5;
        }
        let Some((there, there_value, there_gradient)) = next else { break };
        let step: Vec<f64> = there.iter().zip(&place).map(|(one, other)| one - other).collect();
        let bend: Vec<f64> =
            there_gradient.iter().zip(&gradient).map(|(one, other)| one - other).collect();
        let gained = value - there_value;
        (place, value, gradient) = (there, there_value, there_gradient);
        if gained < 1e-7 * value.abs().max(1.0) {
            break;
        }
        let curvature = dot(&step, &bend);
        if curvature > 1e-12 {
            inverse = updated(&inverse, &step, &bend, curvature);
        }
    }
    (value, place)
}

fn updated(inverse: &Matrix, step: &[f64], bend: &[f64], curvature: f64) -> Matrix {
    let moved = inverse.times(bend);
    let factor = (1.0 + dot(bend, &moved) / curvature) / curvature;
    Matrix::from_fn(step.len(), |row, column| {
        inverse.at(row, column) + factor * step[row] * step[column]
            - (moved[row] * step[column] + step[row] * moved[column]) / curvature
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosenbrocks_valley_is_descended_to_its_end() {
        let valley = |x: &[f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])
        };
        let (value, place) = minimise(valley, vec![-1.2, 1.0], 200);
        assert!(value < 1e-6 && (place[0] - 1.0).abs() < 1e-2, "{value} at {place:?}");
    }
}
