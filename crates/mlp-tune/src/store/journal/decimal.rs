//! Doubles as the decimals that they are written as: on these Optuna finds the last value of a grid.

/// A decimal: digits times a power of ten.
#[derive(Debug, Clone, Copy)]
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    /// The shortest decimal that reads back as the double.
    fn shortest(value: f64) -> Option<Self> {
        let text = format!("{value:e}");
        let (front, exponent) = text.split_once('e')?;
        let places = front.split_once('.').map_or(0, |(_, fraction)| fraction.len()) as i32;
        let digits = front.replace('.', "").parse().ok()?;
        Some(Self { digits, exponent: exponent.parse::<i32>().ok()? - places })
    }

    /// The digits at an exponent that is not above its own.
    fn at(self, exponent: i32) -> Option<i128> {
        let factor = 10_i128.checked_pow(u32::try_from(self.exponent - exponent).ok()?)?;
        self.digits.checked_mul(factor)
    }

    fn value(self) -> Option<f64> {
        format!("{}e{}", self.digits, self.exponent).parse().ok()
    }
}

/// The last of `low`, `low + step`, … up to `high`, as if the three were the decimals that they are written as: 0.9 of 0 to 1 by 0.3.
pub(super) fn last_of_grid(low: f64, high: f64, step: f64) -> f64 {
    exact(low, high, step).unwrap_or_else(|| {
        // Decimals that are too far apart for 128 bits.
        (low + ((high - low) / step * (1.0 + 1e-12)).floor() * step).min(high)
    })
}

fn exact(low: f64, high: f64, step: f64) -> Option<f64> {
    let decimals = [low, high, step].map(Decimal::shortest);
    let [low, last, step] = [decimals[0]?, decimals[1]?, decimals[2]?];
    let exponent = low.exponent.min(last.exponent).min(step.exponent);
    let (low, last, step) = (low.at(exponent)?, last.at(exponent)?, step.at(exponent)?);
    let rest = last.checked_sub(low)?.checked_rem(step)?;
    if rest == 0 {
        return Some(high);
    }
    Decimal { digits: last - rest, exponent }.value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_grid_is_the_decimal_one() {
        let cases = [
            ((0.0, 1.0, 0.3), 0.9),
            ((0.0, 0.9, 0.3), 0.9),
            ((0.0, 0.6, 0.2), 0.6),
            ((-0.7, 1.0, 0.1), 1.0),
            ((0.1, 1.0, 0.25), 0.85),
            ((1.0, 10.0, 4.0), 9.0),
            ((1e-3, 1.0, 0.1), 0.901),
            ((-1e15, 1e15, 0.3), 999_999_999_999_999.8),
            ((0.0, 1e300, 2e299), 1e300),
        ];
        for ((low, high, step), last) in cases {
            assert_eq!(last_of_grid(low, high, step), last, "{low} to {high} by {step}");
        }
        // The control: in binary the last value of the second one is another.
        assert_ne!(0.3_f64 * (0.9_f64 / 0.3).floor(), 0.9);
        assert!(last_of_grid(0.0, 1e300, 1e-9) <= 1e300);
    }
}
