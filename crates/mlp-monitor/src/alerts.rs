//! The alert manager: from many alerts to few notifications.

pub(crate) mod admit;
mod book;
mod config;
mod expose;
mod fingerprint;
mod group;
mod incident;
mod kept;
mod manager;
mod message;
mod mute;
mod outbox;
mod queue;
mod route;
mod rows;
mod state;
mod status;
pub(crate) mod store;
mod timeline;
mod tracked;

pub use config::{AlertConfig, Inhibition, Matcher, RateLimit, SinkSettings};
pub use fingerprint::Fingerprint;
pub use incident::{Acknowledgement, Incident, Silence, SilenceId, Suppression};
pub use manager::AlertManager;
pub use route::AlertRoute;
pub use status::{Circuit, SinkStatus, Undelivered};
pub use store::{AlertChange, AlertRows, AlertStore, MemoryAlertStore, check_epoch};
