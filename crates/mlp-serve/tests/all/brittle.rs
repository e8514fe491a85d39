//! Foreign code that panics outside of the call of the model: when it is asked for rows, copied, dropped, woken, routed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use mlp_core::{
    Host, HostError, ManualClock, ModelError, Outcome, RequestKey, Role, Route, Router, Servable,
    VersionSource,
};
use mlp_serve::{Request, ServeError, ServeOptions, Server};

use crate::support::{
    Probe, V1, V2, V3, builder, clock, eventually, in_time, queued, serve, source,
};

const BAD: i64 = 13;

/// Panics where it is told to if its value is bad.
#[derive(Debug)]
struct Value {
    value: i64,
    on_clone: bool,
    on_drop: bool,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        assert!(!self.on_clone || self.value != BAD, "copied");
        Self { ..*self }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert!(!self.on_drop || self.value != BAD || std::thread::panicking(), "dropped");
    }
}

fn input(value: i64) -> Value {
    Value { value, on_clone: false, on_drop: false }
}

/// Answers its input; panics where it is told to.
#[derive(Debug, Default)]
struct Brittle {
    outputs: bool,
    rows: bool,
    clones: bool,
}

impl Servable for Brittle {
    type Input = Value;
    type Output = Value;

    fn run(&self, batch: &[Value], out: &mut Vec<Value>) -> Result<(), ModelError> {
        let of = |value| Value { value, on_clone: self.clones, on_drop: false };
        out.extend(batch.iter().map(|input| of(input.value)));
        Ok(())
    }

    fn rows(&self, _: &Value) -> usize {
        assert!(!self.rows, "counted");
        1
    }

    fn cache_key(&self, input: &Value, key: &mut Vec<u8>) -> bool {
        key.extend_from_slice(&input.value.to_le_bytes());
        true
    }

    fn outputs<'a>(&self, _: &'a Value) -> Option<&'a [f64]> {
        assert!(!self.outputs, "shown");
        None
    }
}

/// Through the queue, and by the caller itself.
fn servers(model: fn() -> Brittle) -> [Server<Brittle>; 2] {
    [Duration::ZERO, Duration::from_secs(1)].map(|inline| {
        let options: ServeOptions = queued().with_cache_entries(10).with_inline_below(inline);
        let builder = Server::builder().with_options(options).with_clock(clock());
        let builder = builder.with_warm_up([input(1)]);
        builder.fixed(V1, VersionSource::shared(Arc::new(model()))).unwrap()
    })
}

/// Nothing is left over, and the replica serves.
fn check(server: &Server<Brittle>) {
    eventually("nothing is left over", || server.numbers().versions[0].in_flight == 0);
    let other = server.clone();
    assert_eq!(in_time(move || other.predict(input(7))).unwrap().output.value, 7);
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
}

#[test]
fn an_output_that_cannot_be_shown_is_answered_and_not_remembered() {
    for server in servers(|| Brittle { outputs: true, ..Brittle::default() }) {
        let other = server.clone();
        assert_eq!(in_time(move || other.predict(input(BAD))).unwrap().output.value, BAD);
        assert_eq!(server.numbers().versions[0].cache_entries, 0);
        check(&server);
    }
}

#[test]
fn an_output_that_cannot_be_copied_is_an_error_for_its_caller_and_its_followers() {
    for server in servers(|| Brittle { clones: true, ..Brittle::default() }) {
        let tickets: Vec<_> = (0..5).map(|_| server.submit(input(BAD))).collect();
        let other = server.clone();
        let alone = in_time(move || other.predict(input(BAD)));
        assert!(matches!(alone, Err(ServeError::ModelPanicked { .. })), "{alone:?}");
        for ticket in tickets {
            let reply = in_time(move || ticket.wait());
            assert!(matches!(reply, Err(ServeError::ModelPanicked { .. })), "{reply:?}");
        }
        check(&server);
    }
}

#[test]
fn an_input_that_cannot_be_dropped_harms_no_other_in_its_batch() {
    let [server, _] = servers(Brittle::default);
    let tickets: Vec<_> = (0..20)
        .map(|value| server.submit(Value { value, on_clone: false, on_drop: true }))
        .collect();
    for (value, ticket) in (0..20).zip(tickets) {
        assert_eq!(in_time(move || ticket.wait()).unwrap().output.value, value);
    }
    assert_eq!(server.numbers().versions[0].listener_panics, 1);
    check(&server);
}

/// Cannot be dropped while it is armed.
#[derive(Debug, Clone)]
struct Armed(Arc<AtomicBool>);

impl Drop for Armed {
    fn drop(&mut self) {
        assert!(!self.0.load(Ordering::SeqCst) || std::thread::panicking(), "dropped");
    }
}

/// Answers too late.
#[derive(Debug)]
struct Late(Arc<ManualClock>, Arc<AtomicBool>);

impl Servable for Late {
    type Input = i64;
    type Output = Armed;

    fn run(&self, batch: &[i64], out: &mut Vec<Armed>) -> Result<(), ModelError> {
        self.0.advance(Duration::from_secs(10));
        out.extend(batch.iter().map(|_| Armed(Arc::clone(&self.1))));
        Ok(())
    }

    fn cache_key(&self, input: &i64, key: &mut Vec<u8>) -> bool {
        key.extend_from_slice(&input.to_le_bytes());
        true
    }
}

#[test]
fn a_late_output_that_cannot_be_dropped_leaves_nothing_undone() {
    let (clock, armed) = (clock(), Arc::new(AtomicBool::new(true)));
    let options = queued().with_cache_entries(10);
    let builder = Server::builder().with_options(options).with_clock(Arc::clone(&clock) as _);
    let model = Arc::new(Late(clock, Arc::clone(&armed)));
    let server = builder.fixed(V1, VersionSource::shared(model)).unwrap();
    let request = Request::new().with_timeout(Duration::from_secs(1));
    // Nobody waits meanwhile, so that it is the replica that finds it late.
    let ticket = server.submit_for(&request, 1);
    eventually("nothing is left over", || {
        let numbers = &server.numbers().versions[0];
        numbers.in_flight == 0 && numbers.listener_panics == 2
    });
    armed.store(false, Ordering::SeqCst);
    let reply = in_time(move || ticket.wait());
    assert!(matches!(reply, Err(ServeError::DeadlineExceeded { .. })), "{reply:?}");
    let numbers = &server.numbers().versions[0];
    // Two panics, since it was copied for whoever else might want it.
    assert_eq!((numbers.timed_out, numbers.listener_panics), (1, 2));
    // The next one would wait for the first, if that were still said to be under way.
    let other = server.clone();
    assert!(in_time(move || other.predict(1)).is_ok());
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
}

#[test]
fn a_caller_whose_input_cannot_be_dropped_gives_its_replica_back() {
    let [_, server] = servers(Brittle::default);
    let bad = Value { value: BAD, on_clone: false, on_drop: true };
    let predicted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.predict(bad)));
    assert!(predicted.is_err(), "its own panic comes back to it");
    check(&server);
}

#[test]
fn a_model_that_cannot_count_the_rows_of_the_warm_up_is_not_served() {
    let source = VersionSource::shared(Arc::new(Brittle { rows: true, ..Brittle::default() }));
    let server = Server::builder().with_warm_up([input(1), input(2)]).fixed(V1, source);
    assert!(matches!(server, Err(ServeError::Host(HostError::WarmUp { .. }))), "{server:?}");
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let probe = Probe::new(1);
    let server = serve(queued(), &probe);
    probe.hold();
    let first = server.submit(0);
    probe.wait_inside(1);
    let mut polled = Box::pin(server.submit(1));
    let waker = Waker::from(Arc::new(Bomb));
    assert!(Future::poll(polled.as_mut(), &mut Context::from_waker(&waker)).is_pending());
    let other = server.submit(2);
    probe.release();
    assert!(first.wait().is_ok());
    assert_eq!(in_time(move || other.wait()).unwrap().output, 3);
    assert_eq!(server.numbers().versions[0].listener_panics, 1);
    assert_eq!(server.predict(3).unwrap().output, 4);
}

#[test]
fn a_router_that_panics_is_an_error_of_its_request() {
    #[derive(Debug)]
    struct Lost;
    impl Router for Lost {
        fn route(&self, request: &RequestKey<'_>) -> Route {
            assert!(request.unit.is_none(), "who is that?");
            Route::new(V1, Role::Active, 0)
        }
        fn observe(&self, _: &Outcome) {}
    }
    let server = builder(queued()).routed(Arc::new(Lost)).unwrap();
    server.host().prepare(V1, source(&Probe::new(1))).unwrap();
    let reply = server.predict_for(&mlp_serve::Request::new().with_unit("bob"), 1);
    assert!(
        matches!(&reply, Err(ServeError::RouterPanicked { message }) if message == "who is that?"),
        "{reply:?}"
    );
    assert_eq!(server.predict(1).unwrap().output, 2);
}

/// Remembers one answer, and panics when it is asked for another.
#[derive(Debug, Default)]
struct OwnCache(parking_lot::Mutex<Option<Entry>>);

type Entry = (Box<[u8]>, mlp_serve::Remembered<i64>);

impl mlp_serve::PredictionCache<i64> for OwnCache {
    fn get(&self, key: &[u8]) -> Option<mlp_serve::Remembered<i64>> {
        let held = self.0.lock();
        let (kept, remembered) = held.as_ref()?;
        assert!(**kept == *key, "no such answer");
        Some(remembered.clone())
    }

    fn insert(&self, key: Box<[u8]>, answer: mlp_serve::Remembered<i64>) {
        self.0.lock().get_or_insert((key, answer));
    }

    fn remove(&self, _: &[u8]) {}

    fn clear(&self) {}

    fn evictions(&self) -> u64 {
        0
    }

    fn len(&self) -> usize {
        1
    }
}

#[test]
fn a_cache_of_the_users_own_is_used_and_may_panic() {
    let builder = builder(queued()).with_cache(OwnCache::default);
    let server = builder.fixed(V1, source(&Probe::new(1))).unwrap();
    let asked = [1, 1, 2, 2].map(|input| server.predict(input).unwrap());
    assert_eq!(
        asked.map(|answer| (answer.output, answer.cached)),
        [(2, false), (2, true), (3, false), (3, false)]
    );
}

#[test]
fn a_version_whose_cache_cannot_be_made_is_not_served_and_keeps_no_number() {
    let may_make = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&may_make);
    let builder = builder(queued()).with_cache(move || {
        assert!(flag.load(Ordering::SeqCst), "no memory");
        OwnCache::default()
    });
    let server = builder.fixed(V1, source(&Probe::new(0))).unwrap();
    may_make.store(false, Ordering::SeqCst);
    let prepared = server.prepare(V2, source(&Probe::new(1)));
    assert!(matches!(prepared, Err(HostError::Build { version: V2, .. })), "{prepared:?}");
    let rolled = server.roll(V2, source(&Probe::new(1)), Duration::ZERO);
    assert!(matches!(rolled, Err(ServeError::Host(HostError::Build { .. }))), "{rolled:?}");
    assert_eq!(server.health().versions.len(), 1);
    may_make.store(true, Ordering::SeqCst);
    server.roll(V2, source(&Probe::new(1)), Duration::ZERO).unwrap();
    assert_eq!(server.predict(1).unwrap().output, 2);
}

/// Adds its second part to its input, and panics when it is dropped while it is armed.
#[derive(Debug)]
struct Tenacious(Arc<AtomicBool>, i64);

impl Servable for Tenacious {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> {
        out.extend(batch.iter().map(|input| input + self.1));
        Ok(())
    }

    fn agreement(&self, primary: &i64, shadow: &i64) -> Option<f64> {
        Some(if primary == shadow { 1.0 } else { 0.0 })
    }
}

impl Drop for Tenacious {
    fn drop(&mut self) {
        let is_armed = self.0.swap(false, Ordering::SeqCst);
        assert!(!is_armed || std::thread::panicking(), "dropped");
    }
}

/// A server of three replicas, whose models are armed with this.
fn tenacious(armed: &Arc<AtomicBool>) -> (Server<Tenacious>, VersionSource<Tenacious>) {
    let own = Arc::clone(armed);
    let each = VersionSource::new(move || Ok(Arc::new(Tenacious(Arc::clone(&own), 0))));
    let builder = Server::builder().with_options(queued().with_replicas(3)).with_warm_up([1]);
    (builder.fixed(V1, each.clone()).unwrap(), each)
}

#[test]
fn a_model_that_cannot_be_dropped_stops_no_roll_out() {
    let armed = Arc::new(AtomicBool::new(false));
    // The model of the first replica is kept for as long as its version, that of the second one goes while the third serves.
    let (server, each) = tenacious(&armed);
    armed.store(true, Ordering::SeqCst);
    server.roll(V2, each.clone(), Duration::ZERO).unwrap();
    assert!(!armed.load(Ordering::SeqCst), "one was dropped");
    server.roll(V3, each, Duration::ZERO).unwrap();
    assert_eq!(server.predict(1).unwrap().version, V3);
}

#[test]
fn a_version_whose_further_replica_can_neither_be_taken_nor_dropped_is_rolled_back() {
    let armed = Arc::new(AtomicBool::new(false));
    let (server, each) = tenacious(&armed);
    let built = AtomicUsize::new(0);
    let uneven = VersionSource::new(move || {
        let is_first = built.fetch_add(1, Ordering::SeqCst) == 0;
        armed.store(!is_first, Ordering::SeqCst);
        Ok(Arc::new(Tenacious(Arc::clone(&armed), i64::from(!is_first))))
    });
    let rolled = server.roll(V2, uneven, Duration::ZERO);
    let is_build = |it: &ServeError| matches!(it, ServeError::Host(HostError::Build { .. }));
    assert!(rolled.as_ref().is_err_and(is_build), "{rolled:?}");
    assert_eq!(server.predict(1).unwrap().version, V1);
    assert_eq!(Host::health(&server, V1).replicas, 3);
    server.roll(V3, each, Duration::ZERO).unwrap();
    assert_eq!(server.predict(1).unwrap().version, V3);
}
