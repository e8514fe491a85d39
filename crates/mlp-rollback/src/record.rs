//! What is written down about a change.

use std::fmt;

use mlp_core::{Timestamp, VersionNumber};
use serde::{Deserialize, Serialize};

use crate::bundle::VersionBundle;
use crate::flags::Flag;
use crate::plan::CanaryPlan;
use crate::share::Share;

/// One change of the deployment's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// A version becomes known.
    Register {
        /// Its number.
        version: VersionNumber,
        /// What it consists of.
        bundle: Box<VersionBundle>,
    },
    /// The host begins to build and warm a version.
    Warm {
        /// The version.
        version: VersionNumber,
    },
    /// The host could not build or warm a version, a predecessor after a restart for example, or the change it was warmed for was refused
    /// meanwhile.
    GiveUp {
        /// The version.
        version: VersionNumber,
        /// Why.
        error: String,
    },
    /// A version takes all traffic at once (blue-green).
    Deploy {
        /// The version.
        version: VersionNumber,
    },
    /// A version begins to answer a growing share.
    StartCanary {
        /// The version.
        version: VersionNumber,
        /// How its share grows.
        plan: CanaryPlan,
    },
    /// The canary goes to another step of its plan.
    StepCanary {
        /// The canary.
        version: VersionNumber,
        /// The step, from 0.
        step: usize,
    },
    /// The canary stays at its step.
    PauseCanary {
        /// The canary.
        version: VersionNumber,
    },
    /// The canary goes on.
    ResumeCanary {
        /// The canary.
        version: VersionNumber,
    },
    /// A version begins to see copies of requests.
    StartShadow {
        /// The version.
        version: VersionNumber,
        /// The share of requests it sees.
        share: Share,
    },
    /// A version begins to answer a fixed share.
    StartChallenger {
        /// The version.
        version: VersionNumber,
        /// The share.
        share: Share,
    },
    /// A version begins to answer the units that a flag chooses.
    StartFlag {
        /// The version.
        version: VersionNumber,
        /// Who gets it.
        flag: Box<Flag>,
    },
    /// A flag chooses by another percentage or other rules.
    SetFlag {
        /// The version.
        version: VersionNumber,
        /// Who gets it from now on.
        flag: Box<Flag>,
    },
    /// A canary, challenger or shadow becomes the active version.
    Promote {
        /// The version.
        version: VersionNumber,
    },
    /// A canary, challenger or shadow is taken out by somebody.
    Abort {
        /// The version.
        version: VersionNumber,
    },
    /// A version is taken out because of what it did, or the active one is replaced by an older one.
    RollBack {
        /// The version taken out.
        from: VersionNumber,
        /// The version that serves instead.
        to: VersionNumber,
    },
    /// The active version keeps this share only; an older one takes the rest.
    Retreat {
        /// The active version.
        from: VersionNumber,
        /// The version that takes the rest.
        to: VersionNumber,
        /// What the active version keeps.
        keeps: Share,
    },
    /// A retreat ends and the active version serves all again: the older one was not fit to take over.
    CancelRetreat {
        /// The active version.
        from: VersionNumber,
        /// The version that had taken a part.
        to: VersionNumber,
        /// Whether it failed, and is no target any more; otherwise it stays warm.
        failed: bool,
    },
    /// A rollback that waited for approval was dropped.
    Dismiss {
        /// The version that stays.
        version: VersionNumber,
    },
    /// A canary or challenger becomes a shadow.
    Demote {
        /// The version.
        version: VersionNumber,
        /// The share of requests it sees.
        share: Share,
    },
    /// A version must not serve any more. If it was active, another one takes over.
    Block {
        /// The version.
        version: VersionNumber,
        /// The version that takes over; none: it was not active, or there is none and it serves on.
        to: Option<VersionNumber>,
    },
    /// A blocked version may serve again.
    Unblock {
        /// The version.
        version: VersionNumber,
    },
    /// Requests of one unit always get this version.
    Pin {
        /// The unit.
        unit: String,
        /// The version.
        version: VersionNumber,
    },
    /// A unit's pin is taken away.
    Unpin {
        /// The unit.
        unit: String,
    },
    /// The host has let go of a version.
    Archive {
        /// The version.
        version: VersionNumber,
    },
    /// Automatic changes and new roll-outs stop.
    Freeze,
    /// They may go on.
    Unfreeze,
    /// People were told, and nothing else was done.
    Alert {
        /// The version it is about.
        version: VersionNumber,
    },
    /// A rollback was rehearsed.
    Drill {
        /// The version that would have been taken out.
        from: VersionNumber,
        /// The version that would have taken over.
        to: VersionNumber,
        /// How long the switch took, in nanoseconds.
        nanoseconds: u64,
    },
}

impl Action {
    /// The version that the action is about.
    #[must_use]
    pub fn version(&self) -> Option<VersionNumber> {
        match *self {
            Self::Register { version, .. }
            | Self::Warm { version }
            | Self::GiveUp { version, .. }
            | Self::Deploy { version }
            | Self::StartCanary { version, .. }
            | Self::StepCanary { version, .. }
            | Self::PauseCanary { version }
            | Self::ResumeCanary { version }
            | Self::StartShadow { version, .. }
            | Self::StartChallenger { version, .. }
            | Self::StartFlag { version, .. }
            | Self::SetFlag { version, .. }
            | Self::Promote { version }
            | Self::Abort { version }
            | Self::Demote { version, .. }
            | Self::Block { version, .. }
            | Self::Unblock { version }
            | Self::Pin { version, .. }
            | Self::Archive { version }
            | Self::Dismiss { version }
            | Self::Alert { version } => Some(version),
            Self::RollBack { from, .. }
            | Self::Retreat { from, .. }
            | Self::CancelRetreat { from, .. }
            | Self::Drill { from, .. } => Some(from),
            Self::Unpin { .. } | Self::Freeze | Self::Unfreeze => None,
        }
    }

    /// Whether the action takes traffic away from a suspect version: then it is made before it is written down,
    /// even if it cannot be, and an interrupted one is finished after a restart.
    #[must_use]
    pub fn is_protective(&self) -> bool {
        matches!(
            self,
            Self::Abort { .. }
                | Self::RollBack { .. }
                | Self::Retreat { .. }
                | Self::CancelRetreat { .. }
                | Self::Demote { .. }
                | Self::Block { .. }
                | Self::Freeze
                | Self::PauseCanary { .. }
        )
    }
}

/// Why an automatic change was made: the trigger, and the numbers that fired it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cause {
    /// The trigger's name.
    pub trigger: String,
    /// What was measured.
    pub signal: String,
    /// The value measured.
    #[serde(with = "mlp_core::exact")]
    pub value: f64,
    /// The bound it broke.
    #[serde(with = "mlp_core::exact")]
    pub threshold: f64,
    /// The events counted (errors, slow requests), where the signal counts any.
    pub events: u64,
    /// How many requests, values or labels it rests on.
    pub samples: u64,
    /// The natural logarithm of the e-value; none for a naive threshold or a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_e: Option<f64>,
    /// What a person or a monitor said; of numbers that are about the last requests only, since when: `since the first 4000`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Cause {
    /// What somebody reported, without numbers.
    pub(crate) fn reported(trigger: &str, detail: String) -> Self {
        Self {
            trigger: trigger.to_owned(),
            signal: "report".to_owned(),
            value: f64::NAN,
            threshold: f64::NAN,
            events: 0,
            samples: 0,
            log_e: None,
            detail,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.trigger)?;
        if self.samples > 0 {
            write!(f, "{} {:.4} over {:.4}", self.signal, self.value, self.threshold)?;
            if self.events > 0 {
                write!(f, ", {} of {}", self.events, self.samples)?;
            } else {
                write!(f, ", {} samples", self.samples)?;
            }
            if let Some(log_e) = self.log_e {
                write!(f, ", e-value {:.3e}", log_e.exp())?;
            }
        }
        if !self.detail.is_empty() {
            write!(f, "{}{}", if self.samples > 0 { "; " } else { "" }, self.detail)?;
        }
        Ok(())
    }
}

/// A change as it is written down: before it is made, or right after if it is [protective](Action::is_protective).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The generation that the change makes.
    pub generation: u64,
    /// When it was decided. For people only: records are ordered by their sequence, since wall clocks do run backwards.
    pub at: Timestamp,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The key that makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// What fired, if it was automatic.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// The version that was active before.
    pub active_before: Option<VersionNumber>,
    /// How many predecessors stayed warm then: which one a change let go depends on it.
    #[serde(default = "two")]
    pub keep_warm: usize,
    /// The change.
    #[serde(rename = "change")]
    pub action: Action,
}

fn two() -> usize {
    2
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A change is about to be made.
    Intent(Box<Intent>),
    /// The change of this generation was made.
    Commit {
        /// The generation.
        generation: u64,
    },
    /// The change of this generation was not made, and never will be.
    Void {
        /// The generation.
        generation: u64,
        /// Why not.
        reason: String,
    },
}
