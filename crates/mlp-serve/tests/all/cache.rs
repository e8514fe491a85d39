//! Remembered answers.

use std::sync::Arc;
use std::time::Duration;

use mlp_serve::{CachePolicy, Priority, Request};

use crate::support::{Probe, Script, V1, V2, builder, clock, queued, serve, source};

#[test]
fn an_identical_input_is_answered_without_the_model() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    let (first, second) = (server.predict(1).unwrap(), server.predict(1).unwrap());
    assert!(!first.cached && second.cached);
    assert_eq!((first.output, second.output), (2, 2));
    assert_ne!(first.id, second.id);
    assert_eq!(probe.inputs(), [1]);
}

#[test]
fn without_a_cache_the_model_is_asked_each_time() {
    let probe = Probe::new(1);
    let server = serve(queued(), &probe);
    server.predict(1).unwrap();
    assert!(!server.predict(1).unwrap().cached);
    assert_eq!(probe.inputs(), [1, 1]);
}

#[test]
fn an_answer_expires_after_its_time_to_live() {
    let (probe, clock) = (Probe::new(1), clock());
    let options = queued().with_cache_entries(10).with_cache_ttl(Some(Duration::from_secs(60)));
    let server = builder(options).with_clock(clock.clone()).fixed(V1, source(&probe)).unwrap();
    server.predict(1).unwrap();
    clock.advance(Duration::from_secs(59));
    assert!(server.predict(1).unwrap().cached);
    clock.advance(Duration::from_secs(1));
    assert!(!server.predict(1).unwrap().cached);
}

#[test]
fn an_answer_of_one_version_is_never_given_for_another() {
    let router = Script::new(V1, &[]);
    router.routes.lock().extend([(1, V2), (3, V2)]);
    let server = builder(queued().with_cache_entries(10)).routed(router).unwrap();
    let host = server.host();
    host.prepare(V1, source(&Probe::new(10))).unwrap();
    host.prepare(V2, source(&Probe::new(20))).unwrap();
    let answers: Vec<_> = (0..4).map(|_| server.predict(1).unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer.output).collect::<Vec<_>>(), [11, 21, 11, 21]);
    assert_eq!(
        answers.iter().map(|answer| answer.cached).collect::<Vec<_>>(),
        [false, false, true, true]
    );
}

#[test]
fn an_answer_computed_in_flight_is_never_cached_for_the_version_that_took_over() {
    let (old, new) = (Probe::new(10), Probe::new(20));
    let server = serve(queued().with_cache_entries(10), &old);
    old.hold();
    let in_flight = server.submit(1);
    old.wait_inside(1);
    server.swap(V2, source(&new)).unwrap();
    old.release();
    assert_eq!(in_flight.wait().unwrap().output, 11);
    let answer = server.predict(1).unwrap();
    assert_eq!((answer.output, answer.cached), (21, false));
}

#[test]
fn an_error_is_never_remembered() {
    let probe = Probe::new(0);
    let server = serve(queued().with_cache_entries(10), &probe);
    for _ in 0..2 {
        assert!(server.predict(crate::support::FAIL).is_err());
    }
    assert_eq!(probe.calls().len(), 2);
}

#[test]
fn a_cached_answer_is_reported_as_no_evidence() {
    let router = Script::new(V1, &[]);
    let server = builder(queued().with_cache_entries(10)).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&Probe::new(0))).unwrap();
    server.predict(1).unwrap();
    server.predict(1).unwrap();
    let evidence: Vec<_> = router.heard.lock().iter().map(mlp_core::Outcome::is_evidence).collect();
    assert_eq!(evidence, [true, false]);
}

#[test]
fn a_hundred_identical_misses_run_the_model_once() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    probe.hold();
    let tickets: Vec<_> = (0..100).map(|_| server.submit(1)).collect();
    probe.wait_inside(1);
    probe.release();
    let answers: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.output == 2));
    assert_eq!(answers.iter().filter(|answer| !answer.cached).count(), 1);
    assert_eq!(probe.inputs(), [1]);
    assert_eq!(server.numbers().versions[0].coalesced, 99);
}

#[test]
fn without_a_cache_identical_requests_are_computed_each() {
    let probe = Probe::new(1);
    let server = serve(queued(), &probe);
    let tickets: Vec<_> = (0..100).map(|_| server.submit(1)).collect();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.inputs().len(), 100);
}

#[test]
fn a_thousand_callers_with_one_input_run_the_model_once() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    probe.hold();
    std::thread::scope(|scope| {
        for _ in 0..1_000 {
            scope.spawn(|| assert_eq!(server.predict(1).unwrap().output, 2));
        }
        probe.wait_inside(1);
        probe.release();
    });
    assert_eq!(probe.inputs(), [1]);
}

#[test]
fn a_failing_leader_wakes_those_who_wait_for_it_with_its_error() {
    let probe = Probe::new(0);
    let server = serve(queued().with_cache_entries(10), &probe);
    probe.hold();
    let tickets: Vec<_> = (0..5).map(|_| server.submit(crate::support::PANIC)).collect();
    probe.wait_inside(1);
    probe.release();
    for ticket in tickets {
        assert!(matches!(ticket.wait(), Err(mlp_serve::ServeError::ModelPanicked { .. })));
    }
    assert_eq!(probe.calls().len(), 1);
    let numbers = &server.numbers().versions[0];
    assert_eq!((numbers.failed, numbers.cache_entries, numbers.in_flight), (5, 0, 0));
}

#[test]
fn those_who_wait_for_a_cancelled_leader_are_answered_all_the_same() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    probe.hold();
    let busy = server.submit(0);
    probe.wait_inside(1);
    let leader = server.submit(7);
    let followers = [server.submit(7), server.submit(7), server.submit(7)];
    drop(leader);
    let [first, second, third] = followers;
    drop(first);
    probe.release();
    assert_eq!(busy.wait().unwrap().output, 1);
    assert_eq!((second.wait().unwrap().output, third.wait().unwrap().output), (8, 8));
    assert_eq!(probe.inputs(), [0, 7]);
    assert_eq!(server.drain(Duration::from_secs(20)).unanswered, 0);
}

/// One replica that is held, and requests one a batch.
fn one_by_one(probe: &Arc<Probe>) -> mlp_serve::Server<Probe> {
    serve(queued().with_cache_entries(10).with_max_batch_rows(1), probe)
}

fn of(priority: Priority) -> Request<'static> {
    Request::new().with_priority(priority)
}

#[test]
fn a_request_becomes_as_urgent_as_the_most_urgent_one_that_waits_for_its_answer() {
    let probe = Probe::new(0);
    let server = one_by_one(&probe);
    probe.hold();
    let mut tickets = vec![server.submit(0)];
    probe.wait_inside(1);
    tickets.push(server.submit_for(&of(Priority::Low), 7));
    tickets.extend((1..4).map(|input| server.submit(input)));
    tickets.push(server.submit_for(&of(Priority::High), 7));
    probe.release();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.inputs(), [0, 7, 1, 2, 3]);
}

#[test]
fn who_takes_the_turn_of_a_cancelled_leader_keeps_its_own_priority() {
    let probe = Probe::new(0);
    let server = one_by_one(&probe);
    probe.hold();
    let mut tickets = vec![server.submit(0)];
    probe.wait_inside(1);
    let urgent = server.submit_for(&of(Priority::High), 7);
    tickets.push(server.submit_for(&of(Priority::Low), 7));
    tickets.extend((1..4).map(|input| server.submit(input)));
    drop(urgent);
    probe.release();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(probe.inputs(), [0, 1, 2, 3, 7]);
}

#[test]
fn a_request_without_time_is_late_though_its_answer_is_remembered() {
    let server = serve(queued().with_cache_entries(10), &Probe::new(0));
    server.predict(1).unwrap();
    let late = Request::new().with_timeout(Duration::ZERO);
    let reply = server.predict_for(&late, 1);
    assert!(matches!(reply, Err(mlp_serve::ServeError::DeadlineExceeded { .. })), "{reply:?}");
}

#[test]
fn as_many_may_wait_for_an_identical_request_as_may_wait_in_the_queue() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10).with_queue_rows(2), &probe);
    probe.hold();
    let leader = server.submit(1);
    probe.wait_inside(1);
    let followers = [server.submit(1), server.submit(1)];
    assert!(matches!(server.predict(1), Err(mlp_serve::ServeError::Overloaded { limit: 2, .. })));
    probe.release();
    assert!(leader.wait().is_ok());
    followers.into_iter().for_each(|ticket| assert!(ticket.wait().unwrap().cached));
}

#[test]
fn a_least_recently_used_cache_forgets_what_was_asked_for_the_longest_ago() {
    let probe = Probe::new(1);
    let options = queued().with_cache_entries(2).with_cache_policy(CachePolicy::LeastRecentlyUsed);
    let server = serve(options, &probe);
    for input in [1, 2, 1, 3] {
        server.predict(input).unwrap();
    }
    assert!(server.predict(1).unwrap().cached && server.predict(3).unwrap().cached);
    assert!(!server.predict(2).unwrap().cached, "it was asked for the longest ago");
}

#[test]
fn a_forgotten_answer_is_computed_anew() {
    let probe = Probe::new(1);
    let server = serve(queued().with_cache_entries(10), &probe);
    let ask = |input| server.predict(input).unwrap();
    assert!(!ask(1).cached && !ask(2).cached);
    server.forget(&1);
    assert!(!ask(1).cached && ask(2).cached);
    server.forget_all();
    assert!(!ask(1).cached && !ask(2).cached && ask(2).cached);
    assert_eq!(probe.inputs(), [1, 2, 1, 1, 2]);
}

#[test]
fn an_answer_larger_than_the_cache_is_served_and_not_remembered() {
    let probe = Probe::new(1);
    let options = queued().with_cache_entries(100).with_cache_bytes(Some(10));
    for policy in [CachePolicy::Quick, CachePolicy::LeastRecentlyUsed] {
        let server = serve(options.clone().with_cache_policy(policy), &probe);
        for _ in 0..3 {
            let answer = server.predict(1).unwrap();
            assert!(answer.output == 2 && !answer.cached);
        }
        assert_eq!(server.numbers().versions[0].cache_entries, 0);
    }
}

#[test]
fn remembered_answers_are_bounded_in_bytes_and_what_makes_room_is_counted() {
    let probe = Probe::new(1);
    let options = queued().with_cache_entries(10_000).with_cache_bytes(Some(20_000));
    let server = serve(options, &probe);
    for input in 0..1_000 {
        server.predict(input).unwrap();
    }
    let numbers = &server.numbers().versions[0];
    assert!((50..500).contains(&numbers.cache_entries), "{}", numbers.cache_entries);
    assert_eq!(numbers.cache_evictions, 1_000 - numbers.cache_entries);
}

#[test]
fn a_bound_in_bytes_counts_what_an_output_says_it_takes() {
    /// Its answers take a kilobyte each.
    #[derive(Debug)]
    struct Large;
    impl mlp_core::Servable for Large {
        type Input = i64;
        type Output = Arc<[u8; 1_000]>;
        fn run(
            &self,
            batch: &[i64],
            out: &mut Vec<Self::Output>,
        ) -> Result<(), mlp_core::ModelError> {
            out.extend(batch.iter().map(|_| Arc::new([0; 1_000])));
            Ok(())
        }
        fn cache_key(&self, input: &i64, key: &mut Vec<u8>) -> bool {
            key.extend_from_slice(&input.to_le_bytes());
            true
        }
        fn output_bytes(&self, output: &Self::Output) -> usize {
            output.len()
        }
    }
    let options = queued()
        .with_cache_entries(1_000)
        .with_cache_bytes(Some(50_000))
        .with_cache_policy(CachePolicy::LeastRecentlyUsed);
    let source = mlp_core::VersionSource::shared(Arc::new(Large));
    let server = mlp_serve::Server::builder().with_options(options).fixed(V1, source).unwrap();
    for input in 0..200 {
        server.predict(input).unwrap();
    }
    let entries = server.numbers().versions[0].cache_entries;
    assert!((30..50).contains(&entries), "{entries}");
}
