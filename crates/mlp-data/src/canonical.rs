//! One form for values that mean the same.

const NAN: u64 = 0x7ff8_0000_0000_0000;

/// The bits of a double, the same for 0 and -0, and for every NaN.
pub(crate) fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() { NAN } else { (value + 0.0).to_bits() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_mean_the_same_have_the_same_bits() {
        assert_eq!(canonical_bits(-0.0), canonical_bits(0.0));
        assert_eq!(canonical_bits(-f64::NAN), canonical_bits(f64::NAN));
        assert_eq!(canonical_bits(f64::from_bits(0x7ff0_0000_0000_0001)), NAN);
        assert_ne!(canonical_bits(1.0), canonical_bits(1.0 + f64::EPSILON));
        assert_ne!(canonical_bits(f64::INFINITY), canonical_bits(f64::NEG_INFINITY));
    }
}
