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
use crate::slot::Promise;
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
    pub(crate) promise: Promise<M::Output>,
    pub(crate) priority: Priority,
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
    /// Whether there are warm-up inputs to check a replica on.
    pub(crate) can_check: bool,
    /// Requests that were accepted and are not settled yet.
    pub(crate) open: usize,
    /// Requests that wait or run: unlike `open`, those whose caller is being told are not among them.
    pub(crate) active: usize,
    peak: Peak,
    /// How many requests had been given up when the queue was last swept, and the earliest deadline that was not past then.
    swept: u64,
    earliest: Option<Duration>,
    pub(crate) flights: Flights<M>,
    pub(crate) waits: Counted,
    pub(crate) spans: Counted,
    pub(crate) batches: Counted,
    /// How long the answered requests of one row took that their callers ran by themselves. Each is a request, a call of the model of the same
    /// length, and a batch, and is counted nowhere else: one place to write instead of three, and no other lock.
    pub(crate) alone: Counted,
}

impl<M: ?Sized + Servable> Queue<M> {
    pub(crate) fn new(idle: Vec<Box<Replica<M>>>, cost: Cost, can_check: bool) -> Self {
        Self {
            can_check,
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
            peak: Peak::default(),
            swept: 0,
            earliest: None,
            flights: Flights::new(),
            waits: Counted::new(),
            spans: Counted::new(),
            batches: Counted::new(),
            alone: Counted::new(),
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
        // Each that waits stands for a row at least.
        self.rows == 0 && self.mirror_rows == 0
    }

    /// Whether nothing will ever wait again: who waits for work can leave.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed && self.is_empty()
    }

    /// Whether all that was accepted is settled, and nothing more will be.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_closed && self.open == 0
    }

    pub(crate) fn has_requests(&self) -> bool {
        self.rows > 0
    }

    /// How many requests wait or run, those among them that wait for an identical one.
    pub(crate) fn in_flight(&self) -> usize {
        self.active + self.flights.followers()
    }

    /// Notes that a request was accepted.
    pub(crate) fn open(&mut self, now: Duration, delay: Duration) {
        self.open += 1;
        self.active += 1;
        self.note_active(now, delay);
    }

    /// Notes how many requests are active; only who waits for more to come needs to know.
    pub(crate) fn note_active(&mut self, now: Duration, delay: Duration) {
        if !delay.is_zero() {
            self.peak.note(self.active, now, delay);
        }
    }

    pub(crate) fn push(&mut self, priority: Priority, job: Job<M>) {
        self.expect(&job);
        self.rows += job.rows;
        self.lanes[lane(priority)].push_back(job);
    }

    /// Lets a request wait for an identical one, which becomes as urgent as the most urgent of those that wait for it.
    pub(crate) fn follow(&mut self, key: &[u8], priority: Priority, job: Job<M>) {
        self.expect(&job);
        if !self.flights.follow(key, priority, job) {
            return;
        }
        let is_leader = |job: &Job<M>| job.key() == Some(key);
        let found = self.lanes.iter_mut().find_map(|lane| {
            let at = lane.iter().position(is_leader)?;
            lane.remove(at)
        });
        found.into_iter().for_each(|leader| self.lanes[lane(priority)].push_back(leader));
    }

    fn expect(&mut self, job: &Job<M>) {
        self.earliest = [self.earliest, job.deadline()].into_iter().flatten().min();
    }

    pub(crate) fn push_mirror(&mut self, job: Job<M>) {
        self.mirror_rows += job.rows;
        self.mirrors.push_back(job);
    }

    /// Takes the next batch: at most `cap` rows, or a single input that has more; never requests and copies together. What nobody wants
    /// any more goes to `dead`.
    pub(crate) fn take(
        &mut self,
        cap: usize,
        now: Duration,
        batch: &mut Vec<Job<M>>,
        dead: &mut Vec<Job<M>>,
    ) {
        let mut room = cap;
        for lane in 0..self.lanes.len() {
            while let Some(job) = self.lanes[lane].front() {
                let is_wanted = job.is_wanted(now);
                if is_wanted && job.rows > room && !batch.is_empty() {
                    return;
                }
                let Some(job) = self.lanes[lane].pop_front() else { break };
                self.rows -= job.rows;
                if is_wanted {
                    room = room.saturating_sub(job.rows);
                    self.waits.add_span(now.saturating_sub(job.entered));
                    batch.push(job);
                } else {
                    self.bury(job, now, dead);
                }
            }
        }
        if !batch.is_empty() {
            return;
        }
        let fits = |job: &Job<M>, room: usize, is_first: bool| job.rows <= room || is_first;
        while let Some(job) = self.mirrors.pop_front_if(|job| fits(job, room, batch.is_empty())) {
            self.mirror_rows -= job.rows;
            room = room.saturating_sub(job.rows);
            batch.push(job);
        }
    }

    /// Puts a request that nobody wants among the dead. If others wait for the same answer, the first of them takes its turn.
    fn bury(&mut self, job: Job<M>, now: Duration, dead: &mut Vec<Job<M>>) {
        self.active -= 1;
        let heir = job.key().and_then(|key| self.flights.inherit(key, now, dead));
        if let Some((priority, heir)) = heir {
            self.active += 1;
            self.rows += heir.rows;
            self.lanes[lane(priority)].push_front(heir);
        }
        dead.push(job);
    }

    /// Takes all requests out that nobody wants any more, so that they take nobody's place; `gone` is how many have been given up so far.
    pub(crate) fn sweep(&mut self, gone: u64, now: Duration) -> Vec<Job<M>> {
        let mut dead = Vec::new();
        if self.swept == gone && self.earliest.is_none_or(|earliest| now < earliest) {
            return dead;
        }
        self.swept = gone;
        for lane in 0..self.lanes.len() {
            let mut kept = VecDeque::new();
            for job in std::mem::take(&mut self.lanes[lane]) {
                if job.is_wanted(now) {
                    kept.push_back(job);
                } else {
                    self.rows -= job.rows;
                    self.bury(job, now, &mut dead);
                }
            }
            self.lanes[lane].append(&mut kept);
        }
        self.flights.sweep(now, &mut dead);
        let waiting = self.lanes.iter().flatten().chain(self.flights.jobs());
        self.earliest = waiting.filter_map(Job::deadline).min();
        dead
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
        self.rows >= cap || self.is_closed || self.active >= self.peak.most()
    }
}

/// The place of a priority: the most urgent first.
fn lane(priority: Priority) -> usize {
    2 - priority as usize
}

/// The most requests that were active at once within the last two batch delays: as many callers may come again.
#[derive(Debug, Default)]
struct Peak {
    /// In the present delay, and in the one before.
    most: [usize; 2],
    since: Duration,
}

impl Peak {
    fn note(&mut self, active: usize, now: Duration, delay: Duration) {
        let passed = now.saturating_sub(self.since);
        if passed >= delay {
            let before = if passed < 2 * delay { self.most[0] } else { 0 };
            (self.most, self.since) = ([0, before], now);
        }
        self.most[0] = self.most[0].max(active);
    }

    fn most(&self) -> usize {
        self.most[0].max(self.most[1])
    }
}

impl<M: ?Sized + Servable> Job<M> {
    fn request(&self) -> Option<&Request<M>> {
        match &self.task {
            Task::Answer(request) => Some(request),
            Task::Mirror(_) => None,
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.request()?.promise.call().deadline
    }

    fn key(&self) -> Option<&[u8]> {
        self.request()?.key.as_deref()
    }

    pub(crate) fn priority(&self) -> Priority {
        self.request().map_or(Priority::Low, |request| request.priority)
    }

    pub(crate) fn is_wanted(&self, now: Duration) -> bool {
        self.request().is_none_or(|it| !it.promise.call().is_late(now) && it.promise.is_wanted())
    }
}
