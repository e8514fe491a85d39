//! Successive halving with promotion: trials that pause and are taken up again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use mlp_core::{Direction, SearchSpace};
use mlp_tune::{
    Budget, GpSampler, PromotionPruner, PruneRequest, Pruner, RandomSampler, ResumeRequest,
    StopReason, Study, TpeSampler, TpeSettings, Trial, TrialError, TrialState, TuneError, Verdict,
};
use parking_lot::Mutex;

use crate::{line, states};

fn study() -> Study {
    line().with_pruner(PromotionPruner::new(1, 9, 3).unwrap()).with_seed(1)
}

/// Nine epochs that are counted, from the checkpoint on if there is one.
fn train(
    trial: &mut Trial<'_>,
    epochs: &Mutex<BTreeMap<(u64, i64), u32>>,
) -> Result<f64, TrialError> {
    let kept = trial.load_checkpoint("epoch")?;
    let done: i64 = kept.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse().unwrap());
    assert_eq!(done > 0, trial.is_resumed());
    let loss = trial.float("x")?;
    for epoch in done + 1..=9 {
        *epochs.lock().entry((trial.number(), epoch)).or_default() += 1;
        trial.save_checkpoint("epoch", epoch.to_string().as_bytes())?;
        trial.report(epoch, loss + 1.0 / epoch as f64)?;
        if trial.should_prune()? {
            return Err(TrialError::Pruned);
        }
    }
    Ok(loss)
}

fn check(study: &Study, trials: u64) {
    let records = study.trials().unwrap();
    assert_eq!(records.len() as u64, trials);
    let reached = |step: i64| records.iter().filter(|t| t.reports.contains_key(&step)).count();
    // A third of the trials at each rung goes on, rounded down.
    let (first, second) = (reached(1), reached(2));
    assert_eq!(first as u64, trials);
    assert!(second >= first / 3, "{second} of {first}");
    assert!(reached(4) >= reached(3) / 3);
    // Those with the best values came the furthest: none that stayed behind is better than all that went on.
    let x = |t: &mlp_tune::TrialRecord| t.params.get("x").unwrap().as_float().unwrap();
    let stayed =
        records.iter().filter(|t| t.is_paused() && !t.reports.contains_key(&2)).map(|t| x(t));
    let went = records.iter().filter(|t| t.reports.contains_key(&2)).map(|t| x(t));
    assert!(went.fold(1.0, f64::min) < stayed.fold(1.0, f64::min));
    assert!(records.iter().any(|trial| trial.state == TrialState::Complete));
}

#[test]
fn a_paused_trial_goes_on_from_its_checkpoint_when_it_is_worth_it() {
    for threads in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let study = study().with_checkpoints(folder.path()).with_threads(threads);
        let epochs = Mutex::default();
        let summary = study.optimize(|trial| train(trial, &epochs), Budget::trials(27)).unwrap();
        assert_eq!(summary.trials, 27);
        check(&study, 27);
        assert!(epochs.lock().values().all(|count| *count == 1), "an epoch was trained twice");
    }
}

/// Counts how often it was asked for a paused trial.
#[derive(Debug)]
struct Counting(PromotionPruner, Arc<AtomicU64>);

impl Pruner for Counting {
    fn judge(&mut self, request: &PruneRequest<'_>) -> Verdict {
        self.0.judge(request)
    }

    fn pauses(&self) -> bool {
        self.0.pauses()
    }

    fn resume(&mut self, request: &ResumeRequest<'_>) -> Option<u64> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.resume(request)
    }
}

#[test]
fn a_thread_without_a_trial_waits_for_those_whose_reports_may_promote_a_paused_one() {
    let asked = Arc::new(AtomicU64::new(0));
    let pruner = Counting(PromotionPruner::new(1, 2, 2).unwrap(), asked.clone());
    let study = line().with_pruner(pruner).with_threads(2);
    let both = Barrier::new(2);
    let objective = |trial: &mut Trial<'_>| {
        if !trial.is_resumed() {
            both.wait();
        }
        // The second trial reports when the thread of the first one has looked for another, in vain.
        while trial.number() == 1 && asked.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let value = trial.number() as f64;
        trial.report(1, value)?;
        if trial.should_prune()? { Err(TrialError::Pruned) } else { Ok(value) }
    };
    let summary = study.optimize(objective, Budget::trials(2)).unwrap();
    assert_eq!((summary.trials, summary.reason), (2, StopReason::Trials));
    // As on one thread: 0.0 is the better half of the two.
    assert_eq!(states(&study), [TrialState::Complete, TrialState::Running]);
    assert!(study.trials().unwrap()[1].is_paused());
}

#[test]
fn a_better_trial_is_promoted_before_a_new_one_starts() {
    let study = study();
    let mut numbers = Vec::new();
    for (value, pauses) in [(3.0, true), (2.0, true), (1.0, false)] {
        let mut trial = study.ask().unwrap();
        numbers.push(trial.number());
        trial.report(1, value).unwrap();
        assert_eq!(
            trial.should_prune().unwrap(),
            pauses,
            "one of three goes on, the first of three"
        );
        if pauses {
            trial.prune().unwrap();
        } else {
            trial.tell(value).unwrap();
        }
    }
    assert_eq!(numbers, [0, 1, 2]);
    // Three more, all worse: then there is room for a second one at the next rung.
    for value in [4.0, 5.0, 6.0] {
        let mut trial = study.ask().unwrap();
        assert!(trial.number() > 2);
        trial.report(1, value).unwrap();
        assert!(trial.should_prune().unwrap());
        trial.prune().unwrap();
    }
    let again = study.ask().unwrap();
    assert_eq!((again.number(), again.is_resumed()), (1, true), "2.0 is the second best of six");
    again.tell(0.0).unwrap();
    assert_eq!(study.ask().unwrap().number(), 6, "nothing else is worth it");
}

#[test]
fn what_is_paused_stays_so_through_a_restart_and_can_be_ended() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let study = study().with_checkpoints(folder.path().join(name));
        study.with_journal(folder.path().join(name).with_extension("log")).unwrap()
    };
    let run = |study: &Study, total: u64| {
        let epochs = Mutex::default();
        study.optimize(|trial| train(trial, &epochs), Budget::total_trials(total)).unwrap();
        let line = |t: &mlp_tune::TrialRecord| {
            format!("{} {} {:?} {:?}", t.number, t.state, t.values, t.reports)
        };
        study.trials().unwrap().iter().map(|t| line(t)).collect::<Vec<_>>()
    };
    let whole = run(&open("whole"), 30);
    run(&open("halves"), 15);
    let resumed = open("halves");
    assert_eq!(run(&resumed, 30), whole);
    let paused = resumed.trials().unwrap().iter().filter(|trial| trial.is_paused()).count() as u64;
    assert!(paused > 10, "{paused}");
    assert_eq!(resumed.prune_paused().unwrap(), paused);
    let trials = resumed.trials().unwrap();
    assert!(trials.iter().all(|trial| trial.state.is_finished()));
    let pruned = trials.iter().find(|trial| trial.state == TrialState::Pruned).unwrap();
    assert_eq!(pruned.values[0], *pruned.reports.last_key_value().unwrap().1);
    let left = |name: &str| {
        std::fs::read_dir(Path::new(&folder.path().join(name).join("study-study"))).unwrap().count()
    };
    assert_eq!(left("halves"), 0, "a trial that has ended keeps no checkpoint");
    assert_eq!(left("whole"), paused as usize);
}

#[test]
fn trials_that_choose_every_parameter_while_they_run_are_paused_and_promoted() {
    let space = SearchSpace::default();
    let study = Study::new(space, Direction::Minimize)
        .with_pruner(PromotionPruner::new(1, 9, 3).unwrap())
        .with_seed(1);
    let objective = |trial: &mut Trial<'_>| {
        let distance = (trial.suggest_float("x", 0.0, 1.0)? - 0.3).abs();
        for step in 1..=9 {
            trial.report(step, distance)?;
            if trial.should_prune()? {
                return Err(TrialError::Pruned);
            }
        }
        Ok(distance)
    };
    study.optimize(objective, Budget::trials(60)).unwrap();
    assert!(states(&study).contains(&TrialState::Complete));
}

/// A study over one number whose trials report how far it is from 0.3, and learn from it.
fn distances(sampler: impl mlp_tune::Sampler + 'static, reduction: i64) -> Study {
    let pruner = PromotionPruner::new(1, 9, reduction).unwrap();
    line().with_sampler(sampler).with_pruner(pruner).with_seed(1)
}

fn report_distance(trial: &mut Trial<'_>) -> Result<f64, TrialError> {
    let distance = (trial.float("x")? - 0.3).abs();
    for step in 1..=9 {
        trial.report(step, distance + 1.0 / step as f64)?;
        if trial.should_prune()? {
            return Err(TrialError::Pruned);
        }
    }
    Ok(distance)
}

#[test]
fn tpe_learns_from_paused_trials_and_counts_them_for_its_startup() {
    let proposals = |study: Study, startup: usize| {
        // No trial ever goes on: all that was ever reported are values at the first rung.
        study.optimize(report_distance, Budget::trials(60)).unwrap();
        let trials = study.trials().unwrap();
        assert!(trials.iter().all(|trial| trial.is_paused()));
        let x = |t: &mlp_tune::TrialRecord| t.params.get("x").unwrap().as_float().unwrap();
        let x: Vec<f64> = trials.iter().map(|trial| x(trial)).collect();
        let late = &x[startup..];
        (x.clone(), late.iter().map(|x| (x - 0.3).abs()).sum::<f64>() / late.len() as f64)
    };
    let startup = TpeSettings::default().startup_trials;
    let (learnt, near) = proposals(distances(TpeSampler::default(), 100), startup);
    let (random, far) = proposals(distances(RandomSampler::new(), 100), startup);
    assert_eq!(learnt[..startup], random[..startup]);
    assert_ne!(learnt[startup], random[startup], "the first after the startup is from the model");
    assert!(near < 0.6 * far, "{near} and, at random, {far}");
}

#[test]
fn tpe_proposes_the_same_after_a_restart_with_paused_and_promoted_trials() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        let study = distances(TpeSampler::default(), 3);
        study.with_journal(folder.path().join(name)).unwrap()
    };
    let run = |study: &Study, total: u64| {
        study.optimize(report_distance, Budget::total_trials(total)).unwrap();
        crate::essence(study)
    };
    let whole = run(&open("whole"), 60);
    for total in [15, 30, 45] {
        run(&open("parts"), total);
    }
    assert_eq!(run(&open("parts"), 60), whole);
    assert!(whole.iter().any(|line| line.contains("complete")));
}

#[test]
fn a_gaussian_process_spreads_trials_out_from_those_that_run_and_not_from_paused_ones() {
    let next = |end: fn(Trial<'_>) -> Option<Trial<'_>>| {
        let pruner = PromotionPruner::new(1, 2, 1_000).unwrap();
        let study = line().with_sampler(GpSampler::default()).with_pruner(pruner);
        for _ in 0..8 {
            let trial = study.ask().unwrap();
            let x = trial.float("x").unwrap();
            trial.tell((x - 0.3) * (x - 0.3)).unwrap();
        }
        let mut trial = study.ask().unwrap();
        trial.report(1, 5.0).unwrap();
        assert!(trial.should_prune().unwrap());
        let _running = end(trial);
        let next = study.ask().unwrap();
        assert_eq!(next.number(), 9);
        next.float("x").unwrap()
    };
    let paused = next(|trial| {
        trial.prune().unwrap();
        None
    });
    let failed = next(|trial| {
        trial.fail("as it may").unwrap();
        None
    });
    assert_eq!(paused, failed);
    fn keep(trial: Trial<'_>) -> Option<Trial<'_>> {
        Some(trial)
    }
    assert_ne!(paused, next(keep));
}

#[test]
fn a_paused_trial_is_nobodys_orphan() {
    let study = study();
    let mut trial = study.ask().unwrap();
    trial.report(1, 1.0).unwrap();
    assert!(trial.should_prune().unwrap());
    trial.prune().unwrap();
    assert_eq!(states(&study), [TrialState::Running]);
    assert!(study.trials().unwrap()[0].is_paused());
    assert_eq!(study.ask().unwrap().number(), 1);
}

#[test]
fn nan_at_a_rung_ends_a_trial_and_an_ordered_study_cannot_pause() {
    let study_ = study();
    let mut trial = study_.ask().unwrap();
    trial.report(1, f64::NAN).unwrap();
    assert!(trial.should_prune().unwrap());
    trial.prune().unwrap();
    assert_eq!(states(&study_), [TrialState::Pruned]);
    assert!(matches!(study().with_order(2).ask(), Err(TuneError::Setting { .. })));
}
