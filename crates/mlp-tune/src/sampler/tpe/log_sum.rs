//! The logarithm of a sum of many exponentials, with a vectorised exponential.

/// How many terms are added at a time.
pub(super) const TILE: usize = 64;

/// e to this, times [`TILE`], is less than half of the last digit of 1, and a sum is at least 1: it would stay the same to the bit.
const NEGLIGIBLE: f64 = -41.0;

/// ln Σ exp(term), over terms that come in tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogSum {
    top: f64,
    /// Σ exp(term − top).
    sum: f64,
}

impl LogSum {
    pub(super) fn new() -> Self {
        Self { top: f64::NEG_INFINITY, sum: 0.0 }
    }

    /// Adds some terms, at most [`TILE`] of them; overwrites them.
    pub(super) fn add(&mut self, terms: &mut [f64]) {
        let top =
            terms.iter().fold(f64::NEG_INFINITY, |top, &term| if term > top { term } else { top });
        if top - self.top < NEGLIGIBLE || top == f64::NEG_INFINITY {
            return;
        }
        if top > self.top {
            self.sum *= (self.top - top).exp();
            self.top = top;
        }
        for term in terms.iter_mut() {
            *term = exp(*term - self.top);
        }
        self.sum += terms.iter().sum::<f64>();
    }

    pub(super) fn ln(self) -> f64 {
        self.top + self.sum.ln()
    }
}

/// e^x for x ≤ 0, within 1e-15 of its size; 0 below −708. Without a branch or a table, so that the compiler makes vectors of it.
#[inline(always)]
fn exp(x: f64) -> f64 {
    // x = n ln 2 + r with |r| ≤ ln 2 / 2; adding 1.5 × 2^52 rounds n and leaves it in the lowest bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const COEFFICIENTS: [f64; 12] = [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let held = if x > -708.0 { x } else { -708.0 };
    let shifted = held * std::f64::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = held - n * LN2_HIGH - n * LN2_LOW;
    let mut power = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        power = power * r + coefficient;
    }
    power = power * r + 1.0;
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    let value = power * scale;
    if x > -708.0 { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_that_of_the_standard_library_to_fourteen_digits() {
        for step in 0..70_800 {
            let x = f64::from(step) * -0.01 - 1e-4;
            let (own, known) = (exp(x), x.exp());
            assert!(((own - known) / known).abs() < 1e-15 || x < -707.9, "{own} {known} at {x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!([exp(-800.0), exp(f64::NEG_INFINITY)], [0.0, 0.0]);
    }

    #[test]
    fn tiles_add_up_to_the_sum_whatever_their_order() {
        let terms: Vec<f64> = (0..200).map(|k| f64::from((k * 7919) % 1_000) - 500.0).collect();
        let sum = |terms: &[f64]| {
            let mut sum = LogSum::new();
            terms.chunks(TILE).for_each(|tile| sum.add(&mut tile.to_vec()));
            sum.ln()
        };
        let known = 498.0 + terms.iter().map(|term| (term - 498.0).exp()).sum::<f64>().ln();
        assert!((sum(&terms) - known).abs() < 1e-12);
        let turned: Vec<f64> = terms.iter().rev().copied().collect();
        assert!((sum(&turned) - known).abs() < 1e-12);
        assert_eq!(sum(&[f64::NEG_INFINITY]), f64::NEG_INFINITY);
    }

    #[test]
    fn a_tile_that_is_passed_over_would_have_added_nothing() {
        assert_eq!(1.0 + TILE as f64 * NEGLIGIBLE.exp(), 1.0);
        let mut sum = LogSum::new();
        sum.add(&mut [3.0]);
        sum.add(&mut [3.0 + NEGLIGIBLE - 1e-9; TILE]);
        assert_eq!(sum.ln(), 3.0);
    }
}
