//! The alert manager: from many alerts to few notifications.

mod config;
mod fingerprint;
mod group;
mod incident;
mod manager;
mod outbox;
mod state;
mod timeline;

pub use config::{AlertConfig, AlertRoute, Inhibition, Matcher};
pub use fingerprint::Fingerprint;
pub use incident::{Acknowledgement, Incident, Silence, SilenceId, Suppression};
pub use manager::AlertManager;
pub use outbox::{SinkStatus, Undelivered};
