//! Randomness as an argument: the stream of the k-th unit of work is a function of (seed, k) alone.
//!
//! A fold, a trial or a tree takes the stream of its own number, so results do not depend on the number of threads, on the order in
//! which units are done, or on a restart. Streams are ChaCha8 with `set_stream(k)`; the functions here are fixed, so a seed means the
//! same on every platform and in every later version.

pub use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The random stream of unit `k` under `seed`.
#[must_use]
pub fn stream(seed: u64, k: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(k);
    generator
}

/// A double uniform in `[0, 1)`, from the 53 upper bits of one draw.
pub fn uniform(generator: &mut impl Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// An integer uniform in `0..bound`, without bias (Lemire 2019, *Fast random integer generation in an interval*).
///
/// # Panics
/// If `bound` is 0: there is no such integer.
pub fn below(generator: &mut impl Rng, bound: u64) -> u64 {
    assert!(bound > 0, "below(0): the range is empty");
    let mut product = u128::from(generator.next_u64()) * u128::from(bound);
    if (product as u64) < bound {
        let threshold = bound.wrapping_neg() % bound;
        while (product as u64) < threshold {
            product = u128::from(generator.next_u64()) * u128::from(bound);
        }
    }
    (product >> 64) as u64
}

/// A double from the standard normal distribution (Box and Muller 1958).
pub fn normal(generator: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(generator)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(generator)).cos()
}

/// Puts the items into a random order (Fisher and Yates).
pub fn shuffle<T>(generator: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(generator, last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_number_alone() {
        let draw = |seed, k| stream(seed, k).next_u64();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn uniform_draws_stay_in_their_range_and_have_their_moments() {
        let mut generator = stream(7, 0);
        let draws: Vec<f64> = (0..100_000).map(|_| uniform(&mut generator)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12.0_f64 / 1e5).sqrt(), "mean {mean}");
    }

    #[test]
    fn normal_draws_have_mean_0_and_variance_1() {
        let mut generator = stream(7, 1);
        let draws: Vec<f64> = (0..100_000).map(|_| normal(&mut generator)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 1e5;
        assert!(mean.abs() < 4.0 / 1e5_f64.sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 4.0 * (2.0 / 1e5_f64).sqrt(), "variance {variance}");
    }

    #[test]
    fn integers_below_a_bound_are_uniform() {
        let mut generator = stream(3, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[below(&mut generator, 7) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (9_600..10_400).contains(&count)), "{counts:?}");
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..100).collect();
        shuffle(&mut stream(5, 0), &mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
