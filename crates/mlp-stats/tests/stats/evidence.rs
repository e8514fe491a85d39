//! The e-process judged by both its errors: what it stops that is healthy, and how soon it stops what is not.

use mlp_stats::RateEvidence;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

const SEEDS: u64 = 400;

/// After how many requests each of the streams is stopped that have this error rate, looked at after every request; in ascending order.
fn stops(rate: f64, requests: u64) -> Vec<u64> {
    let stop = |seed: u64| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut evidence = RateEvidence::new(0.01).unwrap();
        (1..=requests).find(|_| {
            evidence.record((generator.next_u64() as f64) < rate * u64::MAX as f64);
            evidence.is_enough(0.01).unwrap()
        })
    };
    let mut stops: Vec<u64> = (0..SEEDS).map(|seed| stop(seed).unwrap_or(u64::MAX)).collect();
    stops.sort_unstable();
    stops
}

/// At an error rate of a half of the bound, looked at after each of 5,000 requests.
///
/// If 1 % were stopped, 400 streams would have 4 stops on average, and more than 9 with a chance of 0.8 % (binomial); so up to 9 would
/// be no proof that 1 % is exceeded. Ville's inequality promises much less than 1 % here, and 4 are not exceeded.
#[test]
fn at_half_the_bound_at_most_one_percent_of_healthy_versions_are_stopped() {
    let stopped = stops(0.005, 5_000).iter().filter(|requests| **requests < u64::MAX).count();
    super::support::tell(&format!("stopped at 0.5 %: {stopped} of {SEEDS}"));
    assert!(stopped <= 4, "{stopped} of {SEEDS}");
    // At the bound itself the promise is 1 %: again 9 of 400 with the margin above.
    let stopped = stops(0.01, 5_000).iter().filter(|requests| **requests < u64::MAX).count();
    super::support::tell(&format!("stopped at 1 %: {stopped} of {SEEDS}"));
    assert!(stopped <= 9, "{stopped} of {SEEDS}");
}

#[test]
fn a_bad_version_is_stopped_as_soon_as_with_a_uniform_prior_or_sooner() {
    let wanted = [(0.02, 2_104, 4_054), (0.05, 164, 367), (0.1, 42, 102), (0.5, 4, 8)];
    for (rate, median, late) in wanted {
        let stops = stops(rate, 20_000);
        let (middle, tenth) = (stops[SEEDS as usize / 2], stops[SEEDS as usize * 9 / 10]);
        super::support::tell(&format!("stopped at {rate}: median {middle}, 90 % by {tenth}"));
        assert!(middle <= median && tenth <= late, "{rate}: {middle}/{tenth} for {median}/{late}");
    }
}
