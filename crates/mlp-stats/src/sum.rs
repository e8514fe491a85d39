//! Sums whose rounding does not depend on the order of the terms beyond the last digits.

/// A running sum with Neumaier's correction (Neumaier 1974).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    total: f64,
    correction: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.total + value;
        self.correction += if self.total.abs() >= value.abs() {
            (self.total - total) + value
        } else {
            (value - total) + self.total
        };
        self.total = total;
    }

    pub(crate) fn value(self) -> f64 {
        // Infinite totals make the correction NaN; the total alone is then the answer.
        if self.correction.is_nan() { self.total } else { self.total + self.correction }
    }
}

/// The corrected sum of some terms.
pub(crate) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    for value in values {
        sum.add(value);
    }
    sum.value()
}

/// The arithmetic mean; NaN of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    sum(values.iter().copied()) / values.len() as f64
}

/// The sum of squared deviations from `mean`.
pub(crate) fn squared_deviations(values: &[f64], mean: f64) -> f64 {
    sum(values.iter().map(|value| (value - mean) * (value - mean)))
}
