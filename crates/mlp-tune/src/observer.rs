//! Who hears about every trial of a study.

use std::fmt::Debug;

use crate::trial::TrialRecord;

/// Hears about every trial when it has ended, such as to log it to an evaluation store.
///
/// Called by the thread that ran the trial, after its result is durable. A panic of an observer is caught and counted
/// ([`Study::observer_panics`](crate::Study::observer_panics)); the study goes on.
pub trait TrialObserver: Debug + Send + Sync {
    /// A trial has ended: complete, pruned or failed.
    fn trial_finished(&self, study: &str, trial: &TrialRecord);
}
