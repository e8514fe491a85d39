//! The crate against published values, misbehaving servers and real programs.

#[path = "all/exposition.rs"]
mod exposition;
#[cfg(feature = "http")]
#[path = "all/http.rs"]
mod http;
#[cfg(feature = "smtp")]
#[path = "all/mail.rs"]
mod mail;
#[cfg(feature = "http")]
#[path = "all/scripted.rs"]
mod scripted;
#[cfg(feature = "http")]
#[path = "all/servers.rs"]
mod servers;
#[path = "all/sinks.rs"]
mod sinks;
#[path = "all/storm.rs"]
mod storm;
#[path = "all/vectors.rs"]
mod vectors;
