//! What waits for a version, and which of its replicas are idle.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mlp_core::{ModelError, Servable};

use crate::cost::Cost;
use crate::flight::Flights;
use crate::gate::Pass;
use crate::ledger::Call;
use crate::numbers::Counted;
use crate::request::Priority;
use crate::roster::Roster;
use crate::slot::Slot;
use crate::version::Version;

/// An input that waits, and what is to be done with its output.
pub(crate) struct Job<M: ?Sized + Servable> {
    pub(crate) input: M::Input,
    pub(crate) rows: usize,
    pub(crate) entered: Duration,
    pub(crate) task: Task<M>,
}

pub(crate) enum Task<M: ?Sized + Servable> {
    /// Somebody waits for it.
    Answer(Request<M>),
    /// It is a copy: nobody waits.
    Mirror(Box<Mirror<M>>),
}

pub(crate) struct Request<M: ?Sized + Servable> {
    pub(crate) slot: Arc<Slot<M::Output>>,
    /// Under what to remember the answer.
    pub(crate) key: Option<Box<[u8]>>,
    pub(crate) shadows: Shadows<M>,
}

/// The shadows that are still to see an input, the next one last.
pub(crate) type Shadows<M> = Vec<Arc<Version<M>>>;

pub(crate) struct Mirror<M: ?Sized + Servable> {
    pub(crate) call: Call,
    /// What the primary said; none if it failed.
    pub(crate) primary: Option<M::Output>,
    pub(crate) shadows: Shadows<M>,
    /// Held until no shadow is left.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) pass: Pass,
}

/// A replica that is not at work. Whoever takes it out of the queue is the only one to use it. It lives in a box, since it changes hands twice a
/// request.
pub(crate) struct Replica<M: ?Sized + Servable> {
    pub(crate) index: usize,
    pub(crate) model: Arc<M>,
    pub(crate) served: Arc<AtomicU64>,
    pub(crate) out: Vec<M::Output>,
    pub(crate) results: Vec<Result<M::Output, ModelError>>,
    /// How many batches in a row came to nothing but failures.
    pub(crate) failures: u32,
    /// How long it pauses when it is taken out of service the next time.
    pub(crate) pause: Duration,
    /// Whether it panicked in its last batch.
    pub(crate) has_panicked: bool,
    /// When it was built anew, if it was.
    pub(crate) built: Option<Duration>,
}

impl<M: ?Sized + Servable> Replica<M> {
    pub(crate) fn new(index: usize, model: Arc<M>, served: Arc<AtomicU64>) -> Box<Self> {
        Box::new(Self {
            index,
            model,
            served,
            out: Vec::new(),
            results: Vec::new(),
            failures: 0,
            pause: Duration::ZERO,
            has_panicked: false,
            built: None,
        })
    }
}

/// One lane a priority, the copies for shadows behind them all, and the idle replicas. Bounds are counted in rows.
pub(crate) struct Queue<M: ?Sized + Servable> {
    lanes: [VecDeque<Job<M>>; 3],
    mirrors: VecDeque<Job<M>>,
    rows: usize,
    mirror_rows: usize,
    pub(crate) idle: Vec<Box<Replica<M>>>,
    pub(crate) roster: Roster<M>,
    pub(crate) cost: Cost,
    pub(crate) is_closed: bool,
    /// Requests that were accepted and are not settled yet.
    pub(crate) open: usize,
    /// Requests that wait or run: unlike `open`, those whose caller is being told are not among them.
    pub(crate) active: usize,
    /// The most requests that were active at once of late: whether more callers can arrive.
    peak: usize,
    pub(crate) flights: Flights<M>,
    pub(crate) waits: Counted,
    pub(crate) spans: Counted,
    pub(crate) batches: Counted,
}

impl<M: ?Sized + Servable> Queue<M> {
    pub(crate) fn new(idle: Vec<Box<Replica<M>>>, cost: Cost) -> Self {
        Self {
            lanes: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            mirrors: VecDeque::new(),
            rows: 0,
            mirror_rows: 0,
            roster: Roster::new(&idle),
            idle,
            cost,
            is_closed: false,
            open: 0,
            active: 0,
            peak: 0,
            flights: Flights::new(),
            waits: Counted::new(),
            spans: Counted::new(),
            batches: Counted::new(),
        }
    }

    /// How many rows wait for an answer.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn mirror_rows(&self) -> usize {
        self.mirror_rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty) && self.mirrors.is_empty()
    }

    pub(crate) fn has_requests(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// Notes that a request was accepted.
    pub(crate) fn open(&mut self) {
        self.open += 1;
        self.active += 1;
        self.peak = self.peak.max(self.active);
    }

    pub(crate) fn push(&mut self, priority: Priority, job: Job<M>) {
        self.rows += job.rows;
        self.lanes[2 - priority as usize].push_back(job);
    }

    pub(crate) fn push_mirror(&mut self, job: Job<M>) {
        self.mirror_rows += job.rows;
        self.mirrors.push_back(job);
    }

    /// Takes the next batch: at most `cap` rows, never requests and copies together. What nobody wants any more goes to `dead`.
    pub(crate) fn take(
        &mut self,
        cap: usize,
        now: Duration,
        batch: &mut Vec<Job<M>>,
        dead: &mut Vec<Job<M>>,
    ) {
        // An input with more rows than the cap that the cost suggests goes by itself.
        let first = self.lanes.iter().find_map(VecDeque::front).map_or(0, |job| job.rows);
        let mut room = cap.max(first);
        for lane in &mut self.lanes {
            while let Some(job) = lane.pop_front_if(|job| job.rows <= room || !job.is_wanted(now)) {
                self.rows -= job.rows;
                if job.is_wanted(now) {
                    room -= job.rows;
                    self.waits.add_span(now.saturating_sub(job.entered));
                    batch.push(job);
                } else {
                    self.active -= 1;
                    dead.push(job);
                }
            }
            if !lane.is_empty() {
                return;
            }
        }
        if !batch.is_empty() || !dead.is_empty() {
            return;
        }
        while let Some(job) = self.mirrors.pop_front_if(|job| job.rows <= room) {
            self.mirror_rows -= job.rows;
            room -= job.rows;
            batch.push(job);
        }
    }

    /// Takes all requests out.
    pub(crate) fn take_requests(&mut self) -> Vec<Job<M>> {
        self.rows = 0;
        let jobs: Vec<_> = self.lanes.iter_mut().flat_map(std::mem::take).collect();
        self.active -= jobs.len();
        jobs
    }

    /// Takes all copies out.
    pub(crate) fn take_mirrors(&mut self) -> VecDeque<Job<M>> {
        self.mirror_rows = 0;
        std::mem::take(&mut self.mirrors)
    }

    /// Until when a batch waits for more rows: never for a request that waits alone while no others are about.
    pub(crate) fn waits_until(&mut self, delay: Duration, cap: usize) -> Option<Duration> {
        if delay.is_zero() || self.is_complete(cap) {
            return None;
        }
        let jobs = || self.lanes.iter().flatten();
        let oldest = jobs().map(|job| job.entered).min()?;
        let until = oldest.saturating_add(delay);
        // Half of the time that the most pressing request has left belongs to the model.
        let half =
            |entered: Duration, deadline: Duration| entered + deadline.saturating_sub(entered) / 2;
        let pressing = jobs().filter_map(|job| Some(half(job.entered, job.deadline()?))).min();
        Some(pressing.map_or(until, |pressing| pressing.min(until)))
    }

    /// Whether no more rows are expected: the batch is full, or as many requests are active as were of late.
    pub(crate) fn is_complete(&self, cap: usize) -> bool {
        self.rows >= cap || self.is_closed || self.active >= self.peak
    }

    /// Lets the memory of busy times fade, one batch at a time.
    pub(crate) fn fade(&mut self) {
        self.peak -= (self.peak - self.active.min(self.peak)).div_ceil(8);
    }
}

impl<M: ?Sized + Servable> Job<M> {
    fn deadline(&self) -> Option<Duration> {
        match &self.task {
            Task::Answer(request) => request.slot.call.deadline,
            Task::Mirror(_) => None,
        }
    }

    pub(crate) fn is_wanted(&self, now: Duration) -> bool {
        match &self.task {
            Task::Answer(request) => !request.slot.call.is_late(now) && request.slot.is_wanted(),
            Task::Mirror(_) => true,
        }
    }
}
