//! Evidence that may be looked at after every observation.

mod canary;
mod confidence;
mod mean;
mod rate;
mod sprt;

pub use canary::CanaryEvidence;
pub use confidence::ConfidenceSequence;
pub use mean::{MeanDifferenceEvidence, log_mixture_ratio, mean_confidence_radius};
pub use rate::{RateEvidence, RateHypothesis, RatePrior};
pub use sprt::{SprtDecision, SprtPlan, SprtState};
