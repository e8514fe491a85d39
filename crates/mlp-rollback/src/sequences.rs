//! Evidence about a rate that an old good record cannot hide: a sequence of its own begins at each cohort of trials.

use crate::evidence;

/// So many trials make a cohort.
pub(crate) const COHORT: u64 = 1_000;

/// Where a sequence begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Which sequence it is of all that ever began, from 1.
    number: u64,
    /// The trials before it.
    trials: u64,
    /// The events among those.
    events: u64,
}

/// The first sequence is about all trials, further ones about those since the beginning of a cohort.
///
/// The j-th sequence has the weight 1/(j(j+1)). A mean of e-processes of which each is 1 until it begins is an e-process (Shafer, Shen,
/// Vereshchagin and Vovk 2011; Shin, Ramdas and Rinaldo 2022, *E-detectors*, for restarts): the chance that it ever reaches 1/α is at most
/// α, however many sequences begin. Sequences that are left out count as 0, which only makes it smaller. So a few dozen are kept, whose ages
/// about double, and of the cohorts only those in which something happened.
#[derive(Debug, Clone)]
pub(crate) struct Sequences {
    events: u64,
    trials: u64,
    begun: u64,
    starts: Vec<Start>,
}

/// What all sequences amount to, and what the strongest one counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strongest {
    pub(crate) log_e: f64,
    /// The trials before it.
    pub(crate) since: u64,
    pub(crate) events: u64,
    pub(crate) trials: u64,
}

impl Default for Sequences {
    fn default() -> Self {
        let starts = vec![Start { number: 1, trials: 0, events: 0 }];
        Self { events: 0, trials: 0, begun: 1, starts }
    }
}

impl Sequences {
    /// An event of the trial with this number, from 0. Events may come a little out of order: each counts where its trial belongs.
    pub(crate) fn note(&mut self, trial: u64) {
        let cohort = trial / COHORT;
        if self.starts.last().is_some_and(|last| last.trials / COHORT < cohort) {
            self.begin(Start { number: cohort + 1, trials: cohort * COHORT, events: self.events });
        }
        self.events += 1;
        for start in self.starts.iter_mut().filter(|start| start.trials > trial) {
            start.events += 1;
        }
    }

    /// All events and trials so far, from where they are counted: a cohort ends with the first look at which it is full. Events may be taken
    /// back. Where trials went back, all sequences are over, and one begins anew that gets no weight anew.
    pub(crate) fn look(&mut self, events: u64, trials: u64) {
        if trials < self.trials {
            self.begun += 1;
            self.starts = vec![Start { number: self.begun, trials: 0, events: 0 }];
        }
        (self.events, self.trials) = (events, trials);
        if self.starts.last().is_some_and(|last| trials - last.trials >= COHORT) {
            self.begin(Start { number: self.begun + 1, trials, events });
        }
    }

    fn begin(&mut self, start: Start) {
        self.begun = start.number;
        self.starts.push(start);
        // One that lies between two of which the earlier is at most twice as old says little that these do not.
        let age = |other: Start| start.trials - other.trials;
        let mut at = 2;
        while at < self.starts.len() {
            if age(self.starts[at - 2]) <= 2 * age(self.starts[at]) {
                self.starts.remove(at - 1);
            } else {
                at += 1;
            }
        }
    }

    /// The evidence against "the rate is at most `bound`" after so many trials.
    pub(crate) fn against(&self, trials: u64, bound: f64) -> Strongest {
        let mut terms = vec![self.log_weight_to_come(trials)];
        let mut strongest = (f64::NEG_INFINITY, self.since(self.starts[0], trials));
        for (place, start) in self.starts.iter().enumerate() {
            let sequence = self.since(*start, trials);
            // Where the rate is within the bound the evidence is below 1: all but the first may be left out.
            if place > 0 && sequence.events as f64 <= bound * sequence.trials as f64 {
                continue;
            }
            let log_e = evidence::log_e_above(sequence.events, sequence.trials, bound);
            let term = log_e - log_reciprocal(start.number);
            terms.push(term);
            if term > strongest.0 {
                strongest = (term, sequence);
            }
        }
        Strongest { log_e: log_sum(&terms), ..strongest.1 }
    }

    /// All trials, and those since each start.
    pub(crate) fn windows(&self, trials: u64) -> impl Iterator<Item = Strongest> + '_ {
        self.starts.iter().map(move |start| self.since(*start, trials))
    }

    fn since(&self, start: Start, trials: u64) -> Strongest {
        let trials = trials.saturating_sub(start.trials);
        let events = self.events.saturating_sub(start.events).min(trials);
        Strongest { log_e: 0.0, since: start.trials, events, trials }
    }

    /// The weights of what may have begun are spent; those from the next one on sum to 1/(begun + 1).
    fn log_weight_to_come(&self, trials: u64) -> f64 {
        let begun = self.begun.max(trials / COHORT + 1);
        -((begun + 1) as f64).ln()
    }
}

/// The logarithm of j(j+1).
fn log_reciprocal(number: u64) -> f64 {
    let number = number as f64;
    number.ln() + number.ln_1p()
}

fn log_sum(terms: &[f64]) -> f64 {
    let greatest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if greatest.is_infinite() {
        return greatest;
    }
    greatest + terms.iter().map(|term| (term - greatest).exp()).sum::<f64>().ln()
}

#[cfg(all(test, not(mlp_loom)))]
mod tests {
    use super::*;
    use mlp_core::random::{stream, uniform};

    const BOUND: f64 = 0.01;
    const ALPHA: f64 = 0.01;

    /// The trials with an event, one of 1/rate in the mean, up to a number of trials.
    fn events_at(rate: f64, trials: u64, seed: u64) -> impl Iterator<Item = u64> {
        let mut generator = stream(2026, seed);
        let mut next = 0;
        std::iter::from_fn(move || {
            // The gaps between events are geometric.
            next += ((1.0 - uniform(&mut generator)).ln() / (-rate).ln_1p()).floor() as u64 + 1;
            Some(next - 1)
        })
        .take_while(move |trial| *trial < trials)
    }

    fn fires(sequences: &Sequences, trials: u64) -> bool {
        sequences.against(trials, BOUND).log_e >= -ALPHA.ln()
    }

    #[test]
    fn before_anything_happened_the_e_value_is_1() {
        assert!(Sequences::default().against(0, BOUND).log_e.abs() < 1e-12);
        let good = Sequences::default().against(10_000, BOUND).log_e;
        assert!(good < 0.0, "{good}");
    }

    #[test]
    fn over_a_hundred_cohorts_at_the_bound_at_most_one_run_in_a_hundred_is_a_false_alarm() {
        let (runs, trials) = (200, 100 * COHORT);
        let mut alarms = (0, 0);
        for seed in 0..runs {
            let mut sequences = Sequences::default();
            let (mut found, mut found_by_restarts) = (false, false);
            let mut cohort = (0, 0);
            for trial in events_at(BOUND, trials, seed) {
                sequences.note(trial);
                found = found || fires(&sequences, trial + 1);
                // The control: a test with the whole α that simply begins anew at each cohort.
                let number = trial / COHORT;
                cohort = if cohort.0 == number { (number, cohort.1 + 1) } else { (number, 1) };
                let log_e = evidence::log_e_above(cohort.1, trial + 1 - number * COHORT, BOUND);
                found_by_restarts = found_by_restarts || log_e >= -ALPHA.ln();
            }
            alarms.0 += u32::from(found);
            alarms.1 += u32::from(found_by_restarts);
        }
        // 2 are expected at most; 6 are 2 + 3 σ.
        assert!(alarms.0 <= 6, "{} of {runs}", alarms.0);
        assert!(alarms.1 > 20, "the control found {} of {runs}", alarms.1);
    }

    /// How many trials with events at `rate` it takes to fire after so many good ones, with one event in a thousand.
    fn trials_until_it_fires(good: u64, rate: f64, seed: u64) -> u64 {
        let mut sequences = Sequences::default();
        events_at(0.001, good, seed).for_each(|trial| sequences.note(trial));
        for trial in events_at(rate, 1_000_000, seed + 1) {
            sequences.note(good + trial);
            if fires(&sequences, good + trial + 1) {
                return trial + 1;
            }
        }
        1_000_000
    }

    #[test]
    fn a_late_fall_is_found_as_soon_as_its_cohort_allows_and_a_small_one_is_found_too() {
        for good in [1_000_000, 1_000_001, 1_000_300, 1_000_600, 1_000_900, 1_000_999] {
            let broken = trials_until_it_fires(good, 1.0 - 1e-12, 1);
            let bad = trials_until_it_fires(good, 0.1, 1);
            let worse = trials_until_it_fires(good, 0.02, 1);
            assert!(broken <= 40, "{good}: {broken} trials of which all are events");
            assert!(bad <= 500, "{good}: {bad} trials of which a tenth are events");
            assert!(worse <= 20_000, "{good}: {worse} trials with twice the bound");
        }
    }

    #[test]
    fn few_sequences_are_kept_whose_ages_about_double() {
        let mut sequences = Sequences::default();
        (0..20_000).for_each(|cohort| sequences.note(cohort * COHORT + cohort % COHORT));
        let now = 20_000 * COHORT;
        assert!(sequences.starts.len() <= 40, "{}", sequences.starts.len());
        let ages: Vec<_> = sequences.starts.iter().map(|start| now - start.trials).collect();
        assert!(ages.windows(2).all(|ages| ages[0] <= 3 * ages[1]), "{ages:?}");
        let counted: Vec<_> = sequences.windows(now).map(|window| window.events).collect();
        let expected: Vec<_> = ages.iter().map(|age| age / COHORT).collect();
        assert_eq!(counted, expected, "each counts what came since");
    }

    #[test]
    fn an_event_that_comes_late_counts_where_its_trial_belongs() {
        let mut sequences = Sequences::default();
        for trial in [10, 5_002, 4_999, 5_001] {
            sequences.note(trial);
        }
        assert_eq!(counted(&sequences, 5_003), [(4, 5_003), (2, 3)]);
    }

    fn counted(sequences: &Sequences, trials: u64) -> Vec<(u64, u64)> {
        sequences.windows(trials).map(|window| (window.events, window.trials)).collect()
    }

    #[test]
    fn events_that_are_taken_back_leave_the_cohorts() {
        let mut sequences = Sequences::default();
        sequences.look(100, 10_000);
        sequences.look(150, 12_000);
        sequences.look(140, 12_000);
        assert_eq!(counted(&sequences, 12_000), [(140, 12_000), (40, 2_000), (0, 0)]);
        assert_eq!(sequences.begun, 3);
    }

    #[test]
    fn trials_that_go_back_begin_anew_and_get_no_weight_anew() {
        let mut sequences = Sequences::default();
        sequences.look(100, 10_000);
        sequences.look(150, 12_000);
        sequences.look(5, 500);
        assert_eq!(counted(&sequences, 500), [(5, 500)]);
        sequences.look(20, 1_500);
        assert_eq!(counted(&sequences, 1_500), [(20, 1_500), (0, 0)]);
        let numbers: Vec<_> = sequences.starts.iter().map(|start| start.number).collect();
        assert_eq!((numbers, sequences.begun), (vec![4, 5], 5));
    }
}
