//! A thread that lets time pass for something.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::error::{MonitorError, Result};

/// Ticks something until it is dropped; made by [`AlertManager::ticker`](crate::AlertManager::ticker) and
/// [`Signals::ticker`](crate::Signals::ticker).
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(
        name: &str,
        interval: Duration,
        mut tick: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        if interval.is_zero() {
            return Err(MonitorError::setting("interval of a ticker", "0 s", "above 0"));
        }
        let (stop, stopped) = bounded::<()>(0);
        let run = move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                tick();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| MonitorError::Thread { source: error })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            debug_assert!(false, "a tick does not panic");
        }
    }
}
