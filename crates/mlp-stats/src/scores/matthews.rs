//! Matthews' correlation, to its last digits where classes are rare, too.

use crate::check;
use crate::error::{StatsError, Undefined};
use crate::sum::{Sum, sum};

/// The correlation of truth and prediction in a table of so many classes, row by row of the true ones: with the counts `c` and the totals
/// `t` of the truth and `p` of the prediction `Σ (cₖₖ s − tₖ pₖ) / √(Σ tₖ (s − tₖ) Σ pₖ (s − pₖ))` (Gorodkin 2004).
///
/// A rare class is lost beside a common one in `s`. So what a difference leaves is added up itself: `s − tₖ` is the sum of the other classes'
/// totals, and `cₖₖ s − tₖ pₖ` is the same as `cₖₖ (s − tₖ) − tₖ (pₖ − cₖₖ)`, without what is common to both terms.
pub(super) fn matthews(counts: &[f64], classes: usize) -> Result<f64, StatsError> {
    let quantity = "matthews_correlation";
    let greatest = counts.iter().copied().fold(0.0, f64::max);
    check::not_empty(quantity, usize::from(greatest > 0.0))?;
    // A power of two, which rounds nothing, so that no product overflows.
    let scale = libm::scalbn(1.0, -libm::ilogb(greatest).max(-1_000));
    let count = |truth: usize, predicted: usize| scale * counts[truth * classes + predicted];
    let each = 0..classes;
    let truths: Vec<f64> =
        each.clone().map(|truth| sum(each.clone().map(|other| count(truth, other)))).collect();
    // What was predicted as the class and is none of it.
    let wrong: Vec<f64> = each
        .clone()
        .map(|class| sum(each.clone().filter(|t| *t != class).map(|truth| count(truth, class))))
        .collect();
    let predictions: Vec<f64> =
        each.clone().map(|class| wrong[class] + count(class, class)).collect();
    for totals in [&truths, &predictions] {
        let mut present = each.clone().filter(|class| totals[*class] > 0.0);
        if let (Some(class), None) = (present.next(), present.next()) {
            return Err(StatsError::undefined(quantity, Undefined::SingleClass { class }));
        }
    }
    let others = sums_of_others(&truths);
    let covariance =
        sum_of_products(each.clone().flat_map(|class| {
            [(count(class, class), others[class]), (-truths[class], wrong[class])]
        }));
    let spread = |totals: &[f64], others: &[f64]| {
        sum_of_products(totals.iter().copied().zip(others.iter().copied()))
    };
    let truth = spread(&truths, &others);
    let predicted = spread(&predictions, &sums_of_others(&predictions));
    let correlation = covariance / truth * (truth / predicted).sqrt();
    check::result(quantity, correlation.clamp(-1.0, 1.0))
}

/// For each value the sum of all others.
fn sums_of_others(values: &[f64]) -> Vec<f64> {
    let (mut before, mut after) = (Sum::default(), Sum::default());
    let mut sums = vec![0.0; values.len()];
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = before.value();
        before.add(*value);
    }
    for (sum, value) in sums.iter_mut().zip(values).rev() {
        *sum += after.value();
        after.add(*value);
    }
    sums
}

/// The corrected sum of products and of what each product was rounded by.
fn sum_of_products(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    sum(pairs.flat_map(|(a, b)| {
        let product = a * b;
        [product, a.mul_add(b, -product)]
    }))
}
