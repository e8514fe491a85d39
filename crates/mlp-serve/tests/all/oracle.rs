//! The whole server against what a single thread would do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::{OutcomeStatus, VersionNumber};
use mlp_serve::{Priority, Request, ServeError, Server, Ticket};
use proptest::prelude::*;

use crate::support::{FAIL, INVALID, PANIC, Probe, Script, TWICE, V1, V2, builder, queued, source};

#[derive(Debug, Clone)]
enum Step {
    Predict(i64),
    Submit(i64, Priority),
    Wait(usize),
    Cancel(usize),
    RouteTo(VersionNumber),
}

fn input() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => 0..6_i64,
        1 => prop::sample::select(vec![FAIL, PANIC, INVALID, TWICE]),
        1 => prop::sample::select(vec![2_000_000, 3_000_000, 9_000_000]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let priority = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    prop_oneof![
        2 => input().prop_map(Step::Predict),
        5 => (input(), priority).prop_map(|(input, priority)| Step::Submit(input, priority)),
        2 => (0..50_usize).prop_map(Step::Wait),
        1 => (0..50_usize).prop_map(Step::Cancel),
        1 => prop::sample::select(vec![V1, V2]).prop_map(Step::RouteTo),
    ]
}

/// What one thread would answer: the input plus a thousand times the version, or the error that belongs to the input.
fn is_right(
    version: VersionNumber,
    input: i64,
    reply: &Result<mlp_serve::Answer<i64>, ServeError>,
) -> bool {
    match reply {
        Ok(answer) => {
            let expected = input + 1_000 * i64::try_from(version.0).unwrap();
            (0..9_000_000).contains(&input)
                && answer.version == version
                && answer.output == expected
        }
        Err(ServeError::ModelPanicked { version: it, .. }) => input == PANIC && *it == version,
        Err(ServeError::ModelFailed { .. }) => input == FAIL || input == TWICE,
        Err(ServeError::InvalidInput { .. }) => input == INVALID,
        Err(ServeError::TooManyRows { .. }) => input == 9_000_000,
        Err(_) => false,
    }
}

fn start(router: &Arc<Script>, replicas: usize, cache: usize, inline: Duration) -> Server<Probe> {
    let options = queued()
        .with_replicas(replicas)
        .with_cache_entries(cache)
        .with_inline_below(inline)
        .with_max_batch_rows(4);
    let server = builder(options).routed(Arc::clone(router) as _).unwrap();
    for version in [V1, V2] {
        let offset = 1_000 * i64::try_from(version.0).unwrap();
        server.host().prepare(version, source(&Probe::new(offset))).unwrap();
    }
    server
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_request_gets_what_one_thread_would_answer_and_is_reported_once(
        steps in prop::collection::vec(step(), 1..60),
        replicas in 1..4_usize,
        cache in prop::sample::select(vec![0, 3, 100]),
        inline in prop::sample::select(vec![0, 1_000_000]),
    ) {
        let router = Script::new(V1, &[]);
        let server = start(&router, replicas, cache, Duration::from_micros(inline));
        let mut open: Vec<(VersionNumber, i64, Ticket<i64>)> = Vec::new();
        let (mut asked, mut sent) = (V1, 0_u64);
        for step in steps {
            let request = Request::new().with_sequence(sent).with_pin(asked);
            match step {
                Step::Predict(input) => {
                    let reply = server.predict_for(&request, input);
                    prop_assert!(is_right(asked, input, &reply), "{input}: {reply:?}");
                    sent += 1;
                }
                Step::Submit(input, priority) => {
                    open.push((asked, input, server.submit_for(&request.with_priority(priority), input)));
                    sent += 1;
                }
                Step::Wait(place) if place < open.len() => {
                    let (version, input, ticket) = open.swap_remove(place);
                    let reply = ticket.wait();
                    prop_assert!(is_right(version, input, &reply), "{input}: {reply:?}");
                }
                Step::Cancel(place) if place < open.len() => {
                    drop(open.swap_remove(place));
                }
                Step::RouteTo(version) => asked = version,
                Step::Wait(_) | Step::Cancel(_) => {}
            }
        }
        for (version, input, ticket) in open {
            let reply = ticket.wait();
            prop_assert!(is_right(version, input, &reply), "{input}: {reply:?}");
        }
        prop_assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
        let statuses = router.statuses();
        prop_assert_eq!(statuses.len() as u64, sent);
        let numbers = server.numbers();
        prop_assert!(numbers.versions.iter().all(|it| it.in_flight == 0 && it.queue_rows == 0));
    }
}

/// Shuts servers down at random moments of their traffic: a thousand times, and for as many seconds as `MLP_SERVE_SOAK` says.
#[test]
fn whenever_a_server_shuts_down_each_request_is_answered_once_right_or_with_a_typed_error() {
    let seconds =
        std::env::var("MLP_SERVE_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut random = mlp_core::random::stream(1, 0);
    let mut draw = |bound| mlp_core::random::below(&mut random, bound);
    let mut rounds = 0;
    while rounds < 1_000 || Instant::now() < until {
        rounds += 1;
        let router = Script::new(V1, &[]);
        let server = start(&router, 2, 10, Duration::ZERO);
        let (requests, retired_at, drained_at) = (8, draw(40), draw(40));
        let patience = Duration::from_micros(draw(200));
        let refused: u64 = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|caller| {
                    let server = &server;
                    scope.spawn(move || {
                        let mut refused = 0;
                        for n in 0..requests {
                            let version = if n % 2 == 0 { V1 } else { V2 };
                            let input = [caller, 7, PANIC, FAIL][n as usize % 4];
                            let reply =
                                server.predict_for(&Request::new().with_pin(version), input);
                            match reply {
                                Err(ServeError::Draining | ServeError::NotReady { .. }) => {
                                    refused += 1
                                }
                                reply => {
                                    assert!(is_right(version, input, &reply), "{input}: {reply:?}")
                                }
                            }
                        }
                        refused
                    })
                })
                .collect();
            for moment in 0..40 {
                if moment == retired_at {
                    server.host().retire(V2);
                }
                if moment == drained_at {
                    server.drain(patience);
                }
                std::thread::yield_now();
            }
            callers.into_iter().map(|caller| caller.join().unwrap()).sum()
        });
        assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
        // Each request that was not refused is reported once as what it came to; of the refused ones those that had reached a version are.
        let statuses = router.statuses();
        let is_refused =
            |(_, status): &&(VersionNumber, OutcomeStatus)| *status == OutcomeStatus::Refused;
        let reported_refused = statuses.iter().filter(is_refused).count() as u64;
        assert_eq!(statuses.len() as u64 - reported_refused, 3 * requests as u64 - refused);
        assert!(reported_refused <= refused, "{reported_refused} of {refused}");
    }
}
