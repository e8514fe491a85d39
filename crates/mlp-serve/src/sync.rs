//! The locks that the rest of the crate uses, in one place so that a model checker can put its own in their stead.

pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
