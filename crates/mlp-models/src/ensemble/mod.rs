//! Several models as one.

mod folds;
mod held_out;
mod members;
mod stacking;
mod voting;

use mlp_core::Complexity;

pub use folds::{Folds, RowFold};
pub(crate) use held_out::{HeldOut, held_out};
pub use stacking::{FittedStacking, Stacking};
pub use voting::{FittedVoting, Voting};

/// The complexity of several models together.
pub(crate) fn sum(parts: impl Iterator<Item = Complexity>) -> Complexity {
    parts.fold(Complexity { parameters: 0, bytes: 0 }, |all, part| Complexity {
        parameters: all.parameters + part.parameters,
        bytes: all.bytes + part.bytes,
    })
}
