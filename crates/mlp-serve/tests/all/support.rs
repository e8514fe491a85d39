//! A model that does what a test tells it to, and listeners that keep what they hear.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mlp_core::{
    ManualClock, ModelError, Outcome, PredictionLog, PredictionRecord, RequestKey, Role, Route,
    Router, Servable, Timestamp, VersionNumber, VersionSource,
};
use mlp_serve::{ServeOptions, Server, ServerBuilder};
use parking_lot::{Condvar, Mutex};

/// The input on which a probe panics.
pub(crate) const PANIC: i64 = -13;
/// The input on which a probe fails.
pub(crate) const FAIL: i64 = -14;
/// The input that a probe refuses before the queue.
pub(crate) const INVALID: i64 = -15;
/// The input whose answer comes twice.
pub(crate) const TWICE: i64 = -16;

pub(crate) const V1: VersionNumber = VersionNumber(1);
pub(crate) const V2: VersionNumber = VersionNumber(2);
pub(crate) const V3: VersionNumber = VersionNumber(3);

/// Answers `input + offset`, can be held inside a call, and notes each call.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    pub(crate) offset: i64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: bool,
    inside: usize,
    calls: Vec<Vec<i64>>,
}

impl Probe {
    pub(crate) fn new(offset: i64) -> Arc<Self> {
        Arc::new(Self { offset, ..Self::default() })
    }

    /// Lets calls begin but not end, until [`release`](Self::release).
    pub(crate) fn hold(&self) {
        self.state.lock().held = true;
    }

    pub(crate) fn release(&self) {
        self.state.lock().held = false;
        self.changed.notify_all();
    }

    /// Waits until so many calls are held inside.
    pub(crate) fn wait_inside(&self, calls: usize) {
        let mut state = self.state.lock();
        while state.inside < calls {
            assert!(
                !self.changed.wait_for(&mut state, Duration::from_secs(120)).timed_out(),
                "no call came"
            );
        }
    }

    pub(crate) fn calls(&self) -> Vec<Vec<i64>> {
        self.state.lock().calls.clone()
    }

    pub(crate) fn inputs(&self) -> Vec<i64> {
        self.calls().concat()
    }
}

impl Servable for Probe {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> {
        let mut state = self.state.lock();
        state.calls.push(batch.to_vec());
        state.inside += 1;
        self.changed.notify_all();
        while state.held {
            self.changed.wait(&mut state);
        }
        state.inside -= 1;
        drop(state);
        assert!(!batch.contains(&PANIC), "told to panic");
        if batch.contains(&FAIL) {
            return Err(ModelError::failed("told to fail"));
        }
        out.extend(batch.iter().map(|input| input + self.offset));
        if batch.contains(&TWICE) {
            out.push(0);
        }
        Ok(())
    }

    /// An input beyond a million stands for a millionth of itself in rows.
    fn rows(&self, input: &i64) -> usize {
        usize::try_from(input / 1_000_000).unwrap_or(0).max(1)
    }

    fn check(&self, input: &i64) -> Result<(), ModelError> {
        if *input == INVALID {
            return Err(ModelError::InvalidInput { reason: "told to refuse".to_owned() });
        }
        Ok(())
    }

    fn cache_key(&self, input: &i64, key: &mut Vec<u8>) -> bool {
        key.extend_from_slice(&input.to_le_bytes());
        true
    }

    fn agreement(&self, primary: &i64, shadow: &i64) -> Option<f64> {
        Some(if primary == shadow { 1.0 } else { 0.0 })
    }
}

/// Tells threads to stop when it is dropped: when the test falls over as well, which would wait for them for ever.
pub(crate) struct Stop<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What work comes to that must not hang.
pub(crate) fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(20)).expect("it hangs")
}

pub(crate) fn source(probe: &Arc<Probe>) -> VersionSource<Probe> {
    VersionSource::shared(Arc::clone(probe))
}

pub(crate) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))
}

/// One replica, everything through the queue.
pub(crate) fn queued() -> ServeOptions {
    ServeOptions::default().with_replicas(1).with_inline_below(Duration::ZERO)
}

pub(crate) fn builder(options: ServeOptions) -> ServerBuilder<Probe> {
    Server::builder().with_options(options)
}

pub(crate) fn serve(options: ServeOptions, probe: &Arc<Probe>) -> Server<Probe> {
    builder(options).fixed(V1, source(probe)).unwrap()
}

/// Routes by a table (sequence to version), with shadows for all, and keeps what it hears.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) default: VersionNumber,
    pub(crate) routes: Mutex<HashMap<u64, VersionNumber>>,
    pub(crate) shadows: Vec<VersionNumber>,
    pub(crate) asked: Mutex<Vec<u64>>,
    pub(crate) heard: Mutex<Vec<Outcome>>,
}

impl Script {
    pub(crate) fn new(default: VersionNumber, shadows: &[VersionNumber]) -> Arc<Self> {
        Arc::new(Self {
            default,
            routes: Mutex::default(),
            shadows: shadows.to_vec(),
            asked: Mutex::default(),
            heard: Mutex::default(),
        })
    }

    pub(crate) fn statuses(&self) -> Vec<(VersionNumber, mlp_core::OutcomeStatus)> {
        self.heard.lock().iter().map(|outcome| (outcome.version, outcome.status)).collect()
    }
}

impl Router for Script {
    fn route(&self, request: &RequestKey<'_>) -> Route {
        self.asked.lock().push(request.sequence);
        let version = self.routes.lock().get(&request.sequence).copied().unwrap_or(self.default);
        let route = Route::new(request.pin.unwrap_or(version), Role::Active, 1);
        self.shadows.iter().fold(route, |route, shadow| route.with_shadow(*shadow))
    }

    fn observe(&self, outcome: &Outcome) {
        self.heard.lock().push(*outcome);
    }
}

/// Keeps the identity and version of each prediction.
#[derive(Debug, Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<(mlp_core::PredictionId, VersionNumber, Role)>>);

impl PredictionLog for Notes {
    fn record(&self, prediction: &PredictionRecord<'_>) {
        self.0.lock().push((prediction.id, prediction.version, prediction.role));
    }
}

/// A source that makes the k-th replica by `make`, and how many it has made.
pub(crate) fn made_by(
    make: impl Fn(usize) -> Arc<Probe> + Send + Sync + 'static,
) -> (VersionSource<Probe>, Arc<AtomicUsize>) {
    let built = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&built);
    (VersionSource::new(move || Ok(make(count.fetch_add(1, Ordering::SeqCst)))), built)
}

/// Fails or panics as long as it is told to.
#[derive(Debug)]
pub(crate) struct Moody {
    pub(crate) is_ill: Arc<AtomicBool>,
    pub(crate) panics: bool,
}

impl Servable for Moody {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> {
        if self.is_ill.load(Ordering::SeqCst) {
            assert!(!self.panics, "in a bad mood");
            return Err(ModelError::failed("in a bad mood"));
        }
        out.extend(batch);
        Ok(())
    }
}
