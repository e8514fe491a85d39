//! Where a request falls between 0 and the whole of the traffic.

/// One whole in the unit of [`crate::Share`].
pub(crate) const WHOLE: u64 = 1_000_000;

/// A number that depends on seed and unit alone, spread evenly over all 64 bits.
pub(crate) fn of_unit(seed: u64, unit: &str) -> u64 {
    let mut state = mix(seed ^ 0x9e37_79b9_7f4a_7c15 ^ unit.len() as u64);
    let mut chunks = unit.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = mix(state ^ u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    mix(state ^ u64::from_le_bytes(word))
}

/// A number that depends on seed and request number alone, spread evenly over all 64 bits.
pub(crate) fn of_sequence(seed: u64, sequence: u64) -> u64 {
    mix(mix(seed).wrapping_add(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A second number from a first, as good as independent of it: whether a shadow sees a request says nothing about who answers it.
pub(crate) fn again(draw: u64, purpose: u64) -> u64 {
    mix(draw ^ mix(purpose ^ 0xd1b5_4a32_d192_ed03))
}

/// The place of a draw in `0..1_000_000`.
pub(crate) fn place(draw: u64) -> u32 {
    (((draw >> 32) * WHOLE) >> 32) as u32
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014, with Stafford's 13th set of constants).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chi-square statistic of 100 cells has 99 degrees of freedom: above 180 with probability 1e-6.
    fn unevenness(places: impl Iterator<Item = u32>) -> f64 {
        let mut cells = [0_f64; 100];
        let mut count = 0.0;
        for place in places {
            cells[(place / 10_000) as usize] += 1.0;
            count += 1.0;
        }
        cells.iter().map(|seen| (seen - count / 100.0).powi(2) / (count / 100.0)).sum()
    }

    #[test]
    fn requests_and_units_are_spread_evenly_under_any_seed() {
        for seed in [0, 1, 42, u64::MAX] {
            let requests = unevenness((0..50_000).map(|k| place(of_sequence(seed, k))));
            let units = unevenness((0..50_000).map(|k| place(of_unit(seed, &format!("user-{k}")))));
            let shadows = unevenness((0..50_000).map(|k| place(again(of_sequence(seed, k), 1))));
            assert!(requests < 180.0 && units < 180.0 && shadows < 180.0);
        }
        assert!(unevenness((0..50_000).map(|k| k % 1000)) > 180.0, "the control must fail");
    }

    #[test]
    fn units_that_differ_only_in_padding_are_drawn_apart() {
        let draws: std::collections::BTreeSet<_> =
            ["", "\0", "\0\0", "a", "a\0", "\0a", "aaaaaaaa", "aaaaaaaa\0"]
                .map(|unit| of_unit(7, unit))
                .into();
        assert_eq!(draws.len(), 8);
    }
}
