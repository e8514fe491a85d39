//! Where notifications go: memory, a channel, a file, and by features the network. Sinks of one's own implement
//! [`AlertSink`](mlp_core::AlertSink).

mod channel;
mod json_lines;
mod memory;
#[cfg(any(feature = "http", feature = "smtp"))]
mod secret;
#[cfg(any(feature = "http", feature = "smtp"))]
mod text;

#[cfg(feature = "http")]
mod alertmanager;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod pagerduty;
#[cfg(feature = "http")]
mod slack;
#[cfg(feature = "http")]
mod webhook;

#[cfg(feature = "smtp")]
mod mail;

#[cfg(feature = "tracing")]
mod tracing;

#[cfg(all(test, feature = "http"))]
mod sample;

pub use channel::ChannelSink;
pub use json_lines::JsonLinesSink;
pub use memory::MemorySink;
#[cfg(any(feature = "http", feature = "smtp"))]
pub use secret::Secret;

#[cfg(feature = "http")]
pub use alertmanager::AlertmanagerSink;
#[cfg(feature = "http")]
pub use http::{Destinations, HttpOptions};
#[cfg(feature = "http")]
pub use pagerduty::PagerDutySink;
#[cfg(feature = "http")]
pub use slack::SlackSink;
#[cfg(feature = "http")]
pub use webhook::WebhookSink;

#[cfg(feature = "smtp")]
pub use mail::{MailEncryption, MailOptions, MailSink};

#[cfg(feature = "tracing")]
pub use self::tracing::TracingSink;
