//! Notifications handed to another part of the program.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mlp_core::{AlertSink, Notification, SinkError};

/// Sends notifications into a bounded channel. A full channel is tried again later; a receiver that is gone refuses for good.
#[derive(Debug)]
pub struct ChannelSink(Sender<Notification>);

impl ChannelSink {
    /// A sink, and the end that receives its notifications; `capacity` of them (at least 1) can wait.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Receiver<Notification>) {
        let (sender, receiver) = bounded(capacity.max(1));
        (Self(sender), receiver)
    }
}

impl AlertSink for ChannelSink {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        self.0.try_send(notification.clone()).map_err(|error| match error {
            TrySendError::Full(_) => {
                SinkError::Retry { after: None, source: "the channel is full".into() }
            }
            TrySendError::Disconnected(_) => {
                SinkError::Refused { reason: "nobody receives from the channel".to_owned() }
            }
        })
    }
}
