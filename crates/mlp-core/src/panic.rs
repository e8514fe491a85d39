//! Panics of foreign code (a model, a sink, an objective, a callback) as errors of that one call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Foreign code panicked; this is what it said, cut to 1,000 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {message}")]
pub struct Panicked {
    /// The message of the panic.
    pub message: String,
}

/// Runs foreign code and turns its panic into an error.
///
/// The closure must leave what it shares with others valid at every point where it can panic; parking_lot's locks do not poison.
/// A stack overflow, or a build with `panic = "abort"`, ends the process all the same.
///
/// # Errors
/// If the code panics.
///
/// ```
/// let error = mlp_core::catch_panic(|| -> u8 { panic!("row {} is poisonous", 7) }).unwrap_err();
/// assert_eq!(error.message, "row 7 is poisonous");
/// ```
pub fn catch_panic<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(code))
        .map_err(|payload| Panicked { message: message(payload.as_ref()) })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "a value that is not text",
    };
    text.chars().take(1_000).collect()
}
