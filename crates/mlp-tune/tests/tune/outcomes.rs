//! Whatever objectives do, in any order: panic, return NaN, hang, give up, die in the middle.

use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Direction, ManualClock, Timestamp};
use mlp_tune::{Budget, Study, Trial, TrialError, TrialState, TuneError};
use proptest::prelude::*;

use crate::{essence, plane};

/// How long a trial may run.
const LIMIT: Duration = Duration::from_secs(10);

/// What an objective does.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Score(f64),
    NaN,
    Infinite,
    Fails,
    Panics,
    /// It takes longer than it may, and then reports.
    HangsAndReports,
    /// It takes longer than it may, and then returns a score.
    HangsAndReturns,
    /// Pruned after two reports, the later of which is the score.
    Pruned(f64),
    /// Pruned with nothing reported.
    PrunedAtOnce,
    /// Two scores for one objective.
    TwoScores,
    /// A report whose step is negative, passed on as an error.
    BadReport,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Outcome::{
        BadReport, Fails, HangsAndReports, HangsAndReturns, Infinite, NaN, Panics, Pruned,
        PrunedAtOnce, Score, TwoScores,
    };
    let rare = prop::sample::select(vec![
        NaN,
        Infinite,
        Fails,
        Panics,
        HangsAndReports,
        HangsAndReturns,
        PrunedAtOnce,
        TwoScores,
        BadReport,
    ]);
    prop_oneof![4 => (-9.0..9.0).prop_map(Score), 1 => (-9.0..9.0).prop_map(Pruned), 6 => rare]
}

impl Outcome {
    fn act(self, trial: &mut Trial<'_>, clock: &ManualClock) -> Result<Vec<f64>, TrialError> {
        match self {
            Self::Score(score) => return Ok(vec![score]),
            Self::NaN => return Ok(vec![f64::NAN]),
            Self::Infinite => return Ok(vec![f64::INFINITY]),
            Self::Fails => return Err(TrialError::failed("as it may")),
            Self::Panics => std::panic::panic_any("as it may"),
            Self::HangsAndReports => {
                clock.advance(LIMIT + Duration::from_secs(1));
                let late = trial.report(0, 1.0);
                assert!(matches!(late, Err(TuneError::Overdue { .. })), "{late:?}");
                late?;
            }
            Self::HangsAndReturns => clock.advance(LIMIT + Duration::from_secs(1)),
            Self::Pruned(score) => {
                trial.report(0, 100.0)?;
                trial.report(1, score)?;
                return Err(TrialError::Pruned);
            }
            Self::PrunedAtOnce => return Err(TrialError::Pruned),
            Self::TwoScores => return Ok(vec![1.0, 2.0]),
            Self::BadReport => trial.report(-1, 0.0)?,
        }
        Ok(vec![0.0])
    }

    /// The state and the score that such a trial ends with.
    fn end(self) -> (TrialState, Option<f64>) {
        match self {
            Self::Score(score) => (TrialState::Complete, Some(score)),
            Self::Infinite => (TrialState::Complete, Some(f64::INFINITY)),
            // Nobody looked at the clock while it hung.
            Self::HangsAndReturns => (TrialState::Complete, Some(0.0)),
            Self::Pruned(score) => (TrialState::Pruned, Some(score)),
            Self::PrunedAtOnce => (TrialState::Pruned, None),
            _ => (TrialState::Failed, None),
        }
    }
}

fn study(clock: &Arc<ManualClock>) -> Study {
    Study::new(plane(), Direction::Minimize)
        .with_seed(5)
        .with_clock(clock.clone())
        .with_trial_limit(LIMIT)
}

fn run(study: &Study, clock: &ManualClock, outcomes: &[Outcome], total: usize) {
    let objective = |trial: &mut Trial<'_>| outcomes[trial.number() as usize].act(trial, clock);
    let summary = study.optimize(objective, Budget::total_trials(total as u64)).unwrap();
    assert!(summary.trials <= total as u64);
}

/// Every trial has its own outcome, and the best is the best of them.
fn check(study: &Study, outcomes: &[Outcome]) {
    let trials = study.trials().unwrap();
    assert_eq!(trials.len(), outcomes.len());
    for ((number, trial), outcome) in (0..).zip(&trials).zip(outcomes) {
        let ended = (trial.state, trial.value());
        assert_eq!((trial.number, ended), (number, outcome.end()), "{outcome:?}");
        assert_eq!(trial.failure().is_some(), trial.state == TrialState::Failed, "{outcome:?}");
        assert!(study.space().contains(&trial.params));
    }
    let scores = outcomes.iter().map(|outcome| outcome.end());
    let complete = scores.filter(|(state, _)| *state == TrialState::Complete);
    let best = complete.filter_map(|(_, score)| score).min_by(f64::total_cmp);
    assert_eq!(study.best().ok().and_then(|trial| trial.value()), best);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_objectives_do_each_trial_ends_as_its_own_did_and_the_study_goes_on(
        outcomes in prop::collection::vec(outcome(), 1..40),
    ) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let study = study(&clock);
        run(&study, &clock, &outcomes, outcomes.len());
        check(&study, &outcomes);
    }

    #[test]
    fn a_study_of_failing_objectives_that_stops_anywhere_goes_on_from_its_journal_as_if_it_had_not(
        outcomes in prop::collection::vec(outcome(), 2..30),
        stops in prop::collection::vec(0_usize..30, 0..3),
    ) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let whole = study(&clock);
        run(&whole, &clock, &outcomes, outcomes.len());
        let folder = tempfile::tempdir().unwrap();
        let open = || study(&clock).with_journal(folder.path().join("study.log")).unwrap();
        let mut stops: Vec<usize> = stops.into_iter().map(|k| k.min(outcomes.len())).collect();
        stops.sort_unstable();
        for stop in stops {
            run(&open(), &clock, &outcomes, stop);
        }
        run(&open(), &clock, &outcomes, outcomes.len());
        check(&open(), &outcomes);
        assert_eq!(essence(&open()), essence(&whole));
    }
}
