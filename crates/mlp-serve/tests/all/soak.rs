//! Everything at once: panics, failures, slow and hung calls, deadlines, priorities, swaps, roll-outs, canaries, shadows, scaling, a drain in the middle
//! of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mlp_core::{
    Host, ModelError, Outcome, RequestKey, Role, Route, Router, Servable, VersionNumber,
    VersionSource, random,
};
use mlp_serve::{Answer, Priority, Request, ServeError, ServeOptions, Server};

use parking_lot::Mutex;

use crate::support::{FAIL, PANIC, Stop, eventually};

/// The input that takes two milliseconds, and the one that takes longer than a batch may.
const SLOW: i64 = -20;
const HANG: i64 = -21;
const LIMIT: Duration = Duration::from_millis(60);

/// Adds a thousand times its version, unless the input asks for something else.
#[derive(Debug)]
struct Wild(VersionNumber);

impl Servable for Wild {
    type Input = i64;
    type Output = i64;

    fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), ModelError> {
        if batch.contains(&SLOW) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if batch.contains(&HANG) {
            std::thread::sleep(2 * LIMIT);
        }
        assert!(!batch.contains(&PANIC), "told to panic");
        if batch.contains(&FAIL) {
            return Err(ModelError::failed("told to fail"));
        }
        out.extend(batch.iter().map(|input| input + offset(self.0)));
        Ok(())
    }

    fn cache_key(&self, input: &i64, key: &mut Vec<u8>) -> bool {
        key.extend_from_slice(&input.to_le_bytes());
        true
    }
}

fn offset(version: VersionNumber) -> i64 {
    1_000 * i64::try_from(version.0).unwrap()
}

/// The models that were made, by version.
type Made = Arc<Mutex<Vec<(VersionNumber, Weak<Wild>)>>>;

fn source(version: VersionNumber, made: &Made) -> VersionSource<Wild> {
    let made = Arc::clone(made);
    VersionSource::new(move || {
        let model = Arc::new(Wild(version));
        made.lock().push((version, Arc::downgrade(&model)));
        Ok(model)
    })
}

/// A fifth goes to a canary, which sees copies of the rest.
#[derive(Debug)]
struct Mix {
    active: AtomicU64,
    canary: AtomicU64,
    heard: AtomicU64,
    copies: AtomicU64,
}

impl Mix {
    fn new() -> Arc<Self> {
        let [active, canary] = [1.into(), 1.into()];
        Arc::new(Self { active, canary, heard: 0.into(), copies: 0.into() })
    }
}

impl Router for Mix {
    fn route(&self, request: &RequestKey<'_>) -> Route {
        let canary = VersionNumber(self.canary.load(Ordering::SeqCst));
        if request.sequence.is_multiple_of(5) {
            return Route::new(canary, Role::Canary, 0);
        }
        let active = VersionNumber(self.active.load(Ordering::SeqCst));
        Route::new(active, Role::Active, 0).with_shadow(canary)
    }

    fn observe(&self, outcome: &Outcome) {
        let counter = if outcome.role == Role::Shadow { &self.copies } else { &self.heard };
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

/// Replaces the active version by way of a canary.
fn promote(server: &Server<Wild>, router: &Mix, version: VersionNumber, made: &Made) {
    let prepared = server.prepare(version, source(version, made));
    assert!(prepared.is_ok(), "{prepared:?}");
    router.canary.store(version.0, Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(5));
    let before = router.active.swap(version.0, Ordering::SeqCst);
    server.retire(VersionNumber(before));
}

fn is_right(input: i64, has_deadline: bool, reply: &Result<Answer<i64>, ServeError>) -> bool {
    match reply {
        Ok(answer) => {
            !matches!(input, PANIC | FAIL) && answer.output == input + offset(answer.version)
        }
        Err(ServeError::ModelPanicked { .. }) => input == PANIC,
        Err(ServeError::ModelFailed { .. }) => input == FAIL,
        Err(ServeError::DeadlineExceeded { .. }) => has_deadline,
        Err(
            ServeError::ReplicaStuck { .. }
            | ServeError::NotReady { .. }
            | ServeError::Overloaded { .. }
            | ServeError::Draining,
        ) => true,
        Err(_) => false,
    }
}

/// How the requests of a round ended: answered, with an error.
fn round(seed: u64, length: Duration) -> [u64; 2] {
    let options = ServeOptions::default()
        .with_replicas(3)
        .with_queue_rows(64)
        .with_max_batch_rows(8)
        .with_cache_entries(if seed.is_multiple_of(2) { 20 } else { 0 })
        .with_restart_after(4)
        .with_stuck_after(Some(LIMIT))
        .with_latency_target(Some(Duration::from_millis(5)));
    let (first, made) = (VersionNumber(1), Made::default());
    let builder = Server::builder().with_options(options).with_warm_up([1]);
    let router = (seed % 3 == 1).then(Mix::new);
    let server = match &router {
        None => builder.fixed(first, source(first, &made)).unwrap(),
        Some(router) => {
            let server = builder.routed(Arc::clone(router) as _).unwrap();
            server.prepare(first, source(first, &made)).unwrap();
            server
        }
    };
    let unheard = AtomicU64::new(0);
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let ended = std::thread::scope(|scope| {
        let stopping = Stop(&stop);
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (server, stop, sent, unheard) = (&server, &stop, &sent, &unheard);
                scope.spawn(move || {
                    let mut random = random::stream(seed, caller);
                    let mut draw = |bound| random::below(&mut random, bound);
                    let mut ended = [0; 2];
                    while !stop.load(Ordering::Relaxed) {
                        let input = match draw(2_000) {
                            0 => HANG,
                            1..20 => SLOW,
                            20..40 => PANIC,
                            40..60 => FAIL,
                            other => i64::try_from(other % 100).unwrap(),
                        };
                        let has_deadline = draw(4) == 0;
                        let priority =
                            [Priority::Low, Priority::Normal, Priority::High][draw(3) as usize];
                        let mut request = Request::new().with_priority(priority);
                        if has_deadline {
                            request = request.with_timeout(Duration::from_micros(draw(3_000)));
                        }
                        sent.fetch_add(1, Ordering::Relaxed);
                        let reply = match draw(8) {
                            0 => {
                                // Nobody hears of this one, and it may come when all is over.
                                drop(server.submit_for(&request, input));
                                unheard.fetch_add(1, Ordering::Relaxed);
                                ended[1] += 1;
                                continue;
                            }
                            1..4 => server.submit_for(&request, input).wait(),
                            _ => server.predict_for(&request, input),
                        };
                        assert!(is_right(input, has_deadline, &reply), "{input}: {reply:?}");
                        ended[usize::from(reply.is_err())] += 1;
                        if matches!(reply, Err(ServeError::Draining | ServeError::NotReady { .. }))
                        {
                            // It may not have reached a version.
                            unheard.fetch_add(1, Ordering::Relaxed);
                        }
                        if matches!(reply, Err(ServeError::Draining)) {
                            break;
                        }
                    }
                    ended
                })
            })
            .collect();
        let mut random = random::stream(seed, 99);
        let mut next = 2;
        let is_unseen = || router.as_ref().is_some_and(|it| it.copies.load(Ordering::SeqCst) == 0);
        // Longer where no copy was seen yet.
        while started.elapsed() < length
            || is_unseen() && started.elapsed() < Duration::from_secs(20)
        {
            let version = VersionNumber(next);
            if let Some(router) = &router {
                promote(&server, router, version, &made);
            }
            let changed = match random::below(&mut random, 4) {
                0 if router.is_none() => server.swap(version, source(version, &made)),
                1 if router.is_none() => {
                    server.roll(version, source(version, &made), Duration::from_millis(3))
                }
                _ => server.scale_to(1 + random::below(&mut random, 4) as usize),
            };
            // A version that meets too many bad inputs while it takes over is taken for ill.
            assert!(matches!(changed, Ok(()) | Err(ServeError::Host(_))), "{changed:?}");
            next += 1;
            std::thread::sleep(Duration::from_millis(random::below(&mut random, 20)));
        }
        let drained = server.drain(Duration::from_secs(20));
        assert_eq!(drained.unanswered, 0);
        drop(stopping);
        let ended = callers.into_iter().map(|caller| caller.join().unwrap());
        ended.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]])
    });
    assert_eq!(ended[0] + ended[1], sent.load(Ordering::Relaxed));
    assert!(matches!(server.predict(1), Err(ServeError::Draining)));
    let _ = server.settle_shadows(Duration::from_secs(20));
    assert!(server.numbers().versions.iter().all(|it| it.in_flight == 0 && it.queue_rows == 0));
    if let Some(router) = router {
        let (heard, sent) = (router.heard.load(Ordering::SeqCst), sent.load(Ordering::Relaxed));
        assert!(heard <= sent && heard + unheard.into_inner() >= sent, "{heard} of {sent} heard");
        assert!(router.copies.load(Ordering::SeqCst) > 0, "no copy was seen");
    }
    // Threads that hang come back after a while.
    eventually("the retired versions are gone", || {
        let held: Vec<_> = server.health().versions.iter().map(|it| it.version).collect();
        made.lock().iter().all(|(it, model)| held.contains(it) || model.strong_count() == 0)
    });
    drop(server);
    eventually("all models are gone", || {
        made.lock().iter().all(|(_, model)| model.strong_count() == 0)
    });
    ended
}

/// For as many seconds as `MLP_SERVE_SOAK` says, one without it.
#[test]
fn whatever_happens_each_request_is_answered_once_right_or_with_a_typed_error() {
    let seconds =
        std::env::var("MLP_SERVE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let (mut seed, mut ended) = (0, [0, 0]);
    // Longer where the machine does other things as well.
    while Instant::now() < until || ended[0] <= 100 || ended[1] <= 10 {
        assert!(Instant::now() < until + Duration::from_secs(300), "{ended:?}");
        let one = round(seed, Duration::from_millis(450));
        ended = [ended[0] + one[0], ended[1] + one[1]];
        seed += 1;
    }
    println!("{seed} rounds: {} answered, {} errors", ended[0], ended[1]);
}
