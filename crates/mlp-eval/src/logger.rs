//! Logging that never blocks training.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use mlp_core::{EvaluationId, StoreError, Timestamp, catch_panic};
use parking_lot::Mutex;

use crate::batch::{Batch, MAX_METRICS};
use crate::series::{MetricPoint, SeriesKey};
use crate::store::EvalStore;

/// What a logger does when its queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses the point with [`LogError::Full`]: training goes on, and knows that a point is missing.
    #[default]
    Refuse,
    /// Waits for a place: no point is lost, and training goes at the pace of the store.
    Wait,
}

/// How a logger works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggerOptions {
    /// How many points may wait. Default 100,000: some megabytes, a second of the fastest logging.
    pub queue: usize,
    /// What happens when as many wait. Default: the point is refused.
    pub when_full: WhenFull,
    /// How long a point waits for others to be written with. Default 50 ms.
    pub gather: Duration,
}

impl Default for LoggerOptions {
    fn default() -> Self {
        Self { queue: 100_000, when_full: WhenFull::Refuse, gather: Duration::from_millis(50) }
    }
}

impl LoggerOptions {
    /// Sets how many points may wait, at least 1.
    #[must_use]
    pub fn with_queue(mut self, points: usize) -> Self {
        self.queue = points.max(1);
        self
    }

    /// Sets what happens when the queue is full.
    #[must_use]
    pub fn with_when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Sets how long a point waits for others to be written with.
    #[must_use]
    pub fn with_gather(mut self, gather: Duration) -> Self {
        self.gather = gather;
        self
    }
}

/// Why a point was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// As many points wait as may.
    #[error("{waiting} points wait to be written, more are not taken")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// The logger was closed, or its thread is gone.
    #[error("the logger is closed")]
    Closed,
}

/// How long a busy store is waited for between tries: it has waited itself before it said so.
const PAUSES_MS: [u64; 4] = [10, 50, 250, 1_000];

enum Message {
    Point(EvaluationId, SeriesKey, MetricPoint),
    Flush(Sender<Result<(), StoreError>>),
}

/// Takes points at the cost of a queue, and writes them to a store from a thread of its own, many in one batch.
///
/// [`flush`](Self::flush) returns when everything taken before is written, and tells what could not be; dropping the logger flushes too. A
/// point that the store refuses (the evaluation has ended, say) is counted, and the first reason is kept for the next flush.
///
/// ```
/// use mlp_core::{Clock, SystemClock};
/// use mlp_eval::{EvalLogger, EvalStore, InMemoryEvalStore, NewEvaluation, Stage};
/// use std::sync::Arc;
///
/// let (store, clock) = (Arc::new(InMemoryEvalStore::new()), SystemClock::new());
/// let run = NewEvaluation::new("wine", Stage::Training, clock.now());
/// store.create(&run)?;
/// let logger = EvalLogger::start(store.clone(), Default::default())?;
/// for epoch in 0..100 {
///     logger.log(run.id, "loss", epoch, clock.now(), 1.0 / (epoch + 1) as f64)?; // does not wait for the store
/// }
/// logger.flush()?;
/// assert_eq!(store.series(run.id, &"loss".into())?.len(), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EvalLogger {
    queue: Option<Sender<Message>>,
    when_full: WhenFull,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EvalLogger {
    /// Starts a logger with its thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(store: Arc<dyn EvalStore>, options: LoggerOptions) -> Result<Self, StoreError> {
        let (queue, messages) = bounded(options.queue.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            store,
            messages,
            gather: options.gather,
            lost: Arc::clone(&lost),
            first: None,
        };
        let thread = std::thread::Builder::new()
            .name("mlp-eval-logger".to_owned())
            .spawn(|| writer.run())
            .map_err(StoreError::backend)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { queue: Some(queue), when_full: options.when_full, lost, thread })
    }

    /// Takes a point.
    ///
    /// # Errors
    /// [`LogError::Full`] if the queue is full and the logger does not wait; [`LogError::Closed`].
    pub fn log(
        &self,
        id: EvaluationId,
        key: impl Into<SeriesKey>,
        step: i64,
        at: Timestamp,
        value: f64,
    ) -> Result<(), LogError> {
        let queue = self.queue.as_ref().ok_or(LogError::Closed)?;
        let message = Message::Point(id, key.into(), MetricPoint::new(step, at, value));
        match self.when_full {
            WhenFull::Wait => queue.send(message).map_err(|_| LogError::Closed),
            WhenFull::Refuse => queue.try_send(message).map_err(|error| match error {
                TrySendError::Full(_) => LogError::Full { waiting: queue.len() },
                TrySendError::Disconnected(_) => LogError::Closed,
            }),
        }
    }

    /// How many points the store refused so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything taken before is written.
    ///
    /// # Errors
    /// The first reason for which the store refused a point since the last flush.
    pub fn flush(&self) -> Result<(), StoreError> {
        let (answer, answered) = bounded(1);
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Message::Flush(answer)).map_err(|_| StoreError::Closed)?;
        answered.recv().map_err(|_| StoreError::Closed)?
    }
}

impl Drop for EvalLogger {
    fn drop(&mut self) {
        // The thread writes what waits, and ends when the queue is empty and closed.
        self.queue = None;
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    store: Arc<dyn EvalStore>,
    messages: Receiver<Message>,
    gather: Duration,
    lost: Arc<AtomicU64>,
    /// The first reason for which points were refused since the last flush.
    first: Option<StoreError>,
}

impl Writer {
    fn run(mut self) {
        let mut batches: Vec<(EvaluationId, Batch)> = Vec::new();
        let mut oldest = Instant::now();
        loop {
            let message = if batches.is_empty() {
                let message = self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected);
                oldest = Instant::now();
                message
            } else {
                match self.gather.saturating_sub(oldest.elapsed()) {
                    Duration::ZERO => Err(RecvTimeoutError::Timeout),
                    left => self.messages.recv_timeout(left),
                }
            };
            match message {
                Ok(Message::Point(id, key, point)) => {
                    let at = batches.iter().position(|(other, _)| *other == id);
                    let at = at.unwrap_or_else(|| {
                        batches.push((id, Batch::new()));
                        batches.len() - 1
                    });
                    batches[at].1.points.push((key, point));
                    if batches[at].1.points.len() >= MAX_METRICS {
                        let full = batches.swap_remove(at);
                        self.write(vec![full]);
                    }
                }
                Ok(Message::Flush(answer)) => {
                    self.write(std::mem::take(&mut batches));
                    // Whoever asked may have gone.
                    let _ = answer.send(self.first.take().map_or(Ok(()), Err));
                }
                Err(RecvTimeoutError::Timeout) => self.write(std::mem::take(&mut batches)),
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(batches);
                    return;
                }
            }
        }
    }

    fn write(&mut self, batches: Vec<(EvaluationId, Batch)>) {
        for (id, batch) in batches {
            self.write_points(id, batch.points);
        }
    }

    /// Writes points of one evaluation. One that the store refuses must not take the others with it: they are halved until it is alone.
    fn write_points(&mut self, id: EvaluationId, points: Vec<(SeriesKey, MetricPoint)>) {
        let mut batch = Batch::new();
        batch.points = points;
        let Err(error) = self.patiently(id, &batch) else { return };
        // An evaluation that is gone or has ended takes none of them, and a disk that fails does not fail for one point.
        let is_about_points =
            matches!(error, StoreError::Invalid { .. } | StoreError::LimitExceeded { .. });
        if batch.points.len() > 1 && is_about_points {
            let second = batch.points.split_off(batch.points.len() / 2);
            self.write_points(id, batch.points);
            self.write_points(id, second);
            return;
        }
        self.lost.fetch_add(batch.points.len() as u64, Ordering::Relaxed);
        self.first.get_or_insert(error);
    }

    /// Writes a batch, again and again while the store is only busy.
    fn patiently(&self, id: EvaluationId, batch: &Batch) -> Result<(), StoreError> {
        let mut pauses = PAUSES_MS.map(Duration::from_millis).into_iter();
        loop {
            let result = catch_panic(|| self.store.write(id, batch)).unwrap_or_else(|panicked| {
                Err(StoreError::backend(std::io::Error::other(panicked.message)))
            });
            match (result, pauses.next()) {
                (Err(StoreError::Busy { .. }), Some(pause)) => std::thread::sleep(pause),
                (result, _) => return result,
            }
        }
    }
}
