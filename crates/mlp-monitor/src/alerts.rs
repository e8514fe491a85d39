//! The alert manager: from many alerts to few notifications.

mod admit;
mod book;
mod config;
mod expose;
mod fingerprint;
mod group;
mod incident;
mod manager;
mod outbox;
mod queue;
mod state;
pub(crate) mod store;
mod timeline;
mod tracked;

pub use config::{AlertConfig, AlertRoute, Inhibition, Matcher, RateLimit, SinkSettings};
pub use fingerprint::Fingerprint;
pub use incident::{Acknowledgement, Incident, Silence, SilenceId, Suppression};
pub use manager::AlertManager;
pub use queue::{Circuit, SinkStatus, Undelivered};
pub use store::{AlertChange, AlertRows, AlertStore, MemoryAlertStore, check_epoch};
