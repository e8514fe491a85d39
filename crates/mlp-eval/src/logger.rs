//! Logging that never blocks training.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use mlp_core::{EvaluationId, StoreError, Timestamp, catch_panic};
use parking_lot::{Condvar, Mutex};

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
    /// How many points may wait to be written, gathered ones among them. Default 100,000: some megabytes, a second of the fastest logging.
    pub queue: usize,
    /// What happens when as many wait. Default: the point is refused.
    pub when_full: WhenFull,
    /// How long a point waits for others to be written with. Default 50 ms; it is over when as many wait as may.
    pub gather: Duration,
    /// How long a point that is gathered waits for a store that is busy, from when it was taken. Default 30 s; then it is lost, and with it
    /// all that have waited as long. A store waits itself before it says that it is busy.
    pub patience: Duration,
}

impl Default for LoggerOptions {
    fn default() -> Self {
        Self {
            queue: 100_000,
            when_full: WhenFull::Refuse,
            gather: Duration::from_millis(50),
            patience: Duration::from_secs(30),
        }
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

    /// Sets how long a point waits for a store that is busy.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
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

/// How long a busy store is left alone between tries: it has waited itself before it said so. The last goes on.
const PAUSES_MS: [u64; 4] = [10, 50, 250, 1_000];
/// A store that said that it is busy so lately is not asked again for points that have waited long enough.
const LATELY: Duration = Duration::from_secs(1);

enum Message {
    Point(EvaluationId, SeriesKey, MetricPoint, Instant),
    Flush(Sender<Result<(), StoreError>>),
}

/// The places of points that wait, in the queue or gathered in a batch.
#[derive(Debug)]
struct Places {
    bound: usize,
    /// How many are taken; none once nobody writes any more.
    taken: Mutex<Option<usize>>,
    freed: Condvar,
}

impl Places {
    fn take(&self, when_full: WhenFull) -> Result<(), LogError> {
        let mut taken = self.taken.lock();
        loop {
            match (&mut *taken, when_full) {
                (None, _) => return Err(LogError::Closed),
                (Some(taken), _) if *taken < self.bound => {
                    *taken += 1;
                    return Ok(());
                }
                (Some(taken), WhenFull::Refuse) => return Err(LogError::Full { waiting: *taken }),
                (Some(_), WhenFull::Wait) => self.freed.wait(&mut taken),
            }
        }
    }

    fn give_back(&self, places: usize) {
        if let Some(taken) = &mut *self.taken.lock() {
            *taken -= places;
        }
        self.freed.notify_all();
    }

    fn close(&self) {
        *self.taken.lock() = None;
        self.freed.notify_all();
    }
}

/// Takes points at the cost of a queue, and writes them to a store from a thread of its own, many in one batch.
///
/// [`flush`](Self::flush) returns when everything taken before is written, and tells what could not be; [`close`](Self::close) does so for
/// the last time. Dropping the logger writes everything too, but has nobody to tell what could not be written. A point that the store refuses
/// (the evaluation has ended, say) is counted, and the first reason is kept for the next flush.
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
/// logger.close()?;
/// assert_eq!(store.series(run.id, &"loss".into())?.len(), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EvalLogger {
    queue: Option<Sender<Message>>,
    places: Arc<Places>,
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
        // What bounds the queue are the places.
        let (queue, messages) = unbounded();
        let lost = Arc::new(AtomicU64::new(0));
        let (bound, taken) = (options.queue.max(1), Mutex::new(Some(0)));
        let places = Arc::new(Places { bound, taken, freed: Condvar::new() });
        let writer = Writer {
            store,
            messages,
            places: Arc::clone(&places),
            gather: options.gather,
            patience: options.gather.saturating_add(options.patience),
            lost: Arc::clone(&lost),
            first: None,
            busy_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("mlp-eval-logger".to_owned())
            .spawn(|| writer.run())
            .map_err(StoreError::backend)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { queue: Some(queue), places, when_full: options.when_full, lost, thread })
    }

    /// Takes a point.
    ///
    /// # Errors
    /// [`LogError::Full`] if as many points wait as may and the logger does not wait; [`LogError::Closed`].
    pub fn log(
        &self,
        id: EvaluationId,
        key: impl Into<SeriesKey>,
        step: i64,
        at: Timestamp,
        value: f64,
    ) -> Result<(), LogError> {
        let queue = self.queue.as_ref().ok_or(LogError::Closed)?;
        self.places.take(self.when_full)?;
        let point = MetricPoint::new(step, at, value);
        let message = Message::Point(id, key.into(), point, Instant::now());
        queue.send(message).map_err(|_| LogError::Closed)
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

    /// Writes everything that was taken, and ends.
    ///
    /// # Errors
    /// As [`flush`](Self::flush). Whatever the store refused before the last flush was told then; [`lost`](Self::lost) counts all.
    pub fn close(self) -> Result<(), StoreError> {
        self.flush()
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

/// Points of one evaluation that are written together.
struct Gathered {
    points: Vec<(SeriesKey, MetricPoint)>,
    /// When the first of them was taken.
    since: Instant,
}

struct Writer {
    store: Arc<dyn EvalStore>,
    messages: Receiver<Message>,
    places: Arc<Places>,
    gather: Duration,
    patience: Duration,
    lost: Arc<AtomicU64>,
    /// The first reason for which points were refused since the last flush.
    first: Option<StoreError>,
    /// When the store said last that it is busy.
    busy_at: Option<Instant>,
}

type Batches = BTreeMap<EvaluationId, Gathered>;

impl Writer {
    fn run(mut self) {
        let (mut batches, mut gathered) = (Batches::new(), 0);
        let mut oldest = Instant::now();
        loop {
            let message = if batches.is_empty() {
                let message = self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected);
                oldest = Instant::now();
                message
            } else if gathered >= self.places.bound {
                // Nobody can log anything before something is written.
                Err(RecvTimeoutError::Timeout)
            } else {
                match self.gather.saturating_sub(oldest.elapsed()) {
                    Duration::ZERO => Err(RecvTimeoutError::Timeout),
                    left => self.messages.recv_timeout(left),
                }
            };
            let (flushed, is_over) = match message {
                Ok(Message::Point(id, key, point, since)) => {
                    let batch = batches.entry(id);
                    let batch = batch.or_insert_with(|| Gathered { points: Vec::new(), since });
                    batch.points.push((key, point));
                    gathered += 1;
                    if batch.points.len() >= MAX_METRICS
                        && let Some(full) = batches.remove(&id)
                    {
                        gathered -= full.points.len();
                        self.write(id, full);
                    }
                    continue;
                }
                Ok(Message::Flush(answer)) => (Some(answer), false),
                Err(error) => (None, error == RecvTimeoutError::Disconnected),
            };
            gathered = 0;
            for (id, batch) in std::mem::take(&mut batches) {
                self.write(id, batch);
            }
            if let Some(answer) = flushed {
                // Whoever asked may have gone.
                let _ = answer.send(self.first.take().map_or(Ok(()), Err));
            }
            if is_over {
                return;
            }
        }
    }

    fn write(&mut self, id: EvaluationId, batch: Gathered) {
        let places = batch.points.len();
        self.write_points(id, batch);
        self.places.give_back(places);
    }

    /// Writes points of one evaluation. One that the store refuses must not take the others with it: they are halved until it is alone.
    fn write_points(&mut self, id: EvaluationId, gathered: Gathered) {
        let (mut batch, since) = (Batch::new(), gathered.since);
        batch.points = gathered.points;
        let Err(error) = self.patiently(id, &batch, since) else { return };
        // An evaluation that is gone or has ended takes none of them, and a disk that fails does not fail for one point.
        let is_about_points =
            matches!(error, StoreError::Invalid { .. } | StoreError::LimitExceeded { .. });
        if batch.points.len() > 1 && is_about_points {
            let second = batch.points.split_off(batch.points.len() / 2);
            self.write_points(id, Gathered { points: batch.points, since });
            self.write_points(id, Gathered { points: second, since });
            return;
        }
        self.lost.fetch_add(batch.points.len() as u64, Ordering::Relaxed);
        self.first.get_or_insert(error);
    }

    /// Writes a batch, again and again while the store is only busy and the points have not waited long enough.
    fn patiently(
        &mut self,
        id: EvaluationId,
        batch: &Batch,
        since: Instant,
    ) -> Result<(), StoreError> {
        let mut pauses = PAUSES_MS.map(Duration::from_millis).into_iter();
        let mut pause = Duration::ZERO;
        loop {
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() && self.busy_at.is_some_and(|at| at.elapsed() < LATELY) {
                let reason = "it was busy for as long as points wait".to_owned();
                return Err(StoreError::Busy { reason });
            }
            let result = catch_panic(|| self.store.write(id, batch)).unwrap_or_else(|panicked| {
                Err(StoreError::backend(std::io::Error::other(panicked.message)))
            });
            if !matches!(result, Err(StoreError::Busy { .. })) {
                self.busy_at = None;
                return result;
            }
            self.busy_at = Some(Instant::now());
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() {
                return result;
            }
            pause = pauses.next().unwrap_or(pause);
            std::thread::sleep(pause.min(left));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.places.close();
    }
}
