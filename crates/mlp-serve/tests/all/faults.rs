//! Models, listeners and callers that misbehave.

use std::sync::Arc;

use mlp_core::{ModelError, OutcomeStatus, PredictionLog, PredictionRecord};
use mlp_serve::ServeError;

use crate::support::{
    FAIL, INVALID, PANIC, Probe, Script, TWICE, V1, V2, builder, queued, serve, source,
};

#[test]
fn a_panic_on_one_input_reaches_its_caller_alone() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    probe.hold();
    let first = server.submit(1_000);
    probe.wait_inside(1);
    let inputs: Vec<i64> = (0..20).chain([PANIC]).chain(20..31).collect();
    let tickets: Vec<_> = inputs.iter().map(|&input| server.submit(input)).collect();
    probe.release();
    first.wait().unwrap();
    for (input, ticket) in inputs.iter().zip(tickets) {
        match ticket.wait() {
            Ok(answer) => assert_eq!(answer.output, *input),
            Err(ServeError::ModelPanicked { version: V1, message }) => {
                assert_eq!((*input, &*message), (PANIC, "told to panic"));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(probe.calls().len(), 1 + 11);
}

#[test]
fn a_model_that_fails_or_gives_too_many_answers_is_never_mispaired() {
    let probe = Probe::new(0);
    let server = serve(queued(), &probe);
    probe.hold();
    let first = server.submit(1_000);
    probe.wait_inside(1);
    let tickets = [1, FAIL, 2, TWICE, 3].map(|input| server.submit(input));
    probe.release();
    first.wait().unwrap();
    let replies = tickets.map(|ticket| ticket.wait().map(|answer| answer.output));
    assert!(matches!(
        &replies,
        [Ok(1), Err(ServeError::ModelFailed { .. }), Ok(2), Err(ServeError::ModelFailed { source, .. }), Ok(3)]
            if matches!(source, ModelError::OutputCount { expected: 1, given: 2 })
    ));
}

#[test]
fn a_panic_in_the_callers_own_thread_is_an_error_too() {
    let probe = Probe::new(0);
    let options = queued().with_inline_below(std::time::Duration::from_secs(1));
    let server = builder(options).with_warm_up([1]).fixed(V1, source(&probe)).unwrap();
    assert!(matches!(server.predict(PANIC), Err(ServeError::ModelPanicked { .. })));
    assert_eq!(server.predict(5).unwrap().output, 5);
}

#[test]
fn an_invalid_input_is_refused_before_the_queue() {
    let (probe, router) = (Probe::new(0), Script::new(V1, &[]));
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&probe)).unwrap();
    assert!(matches!(server.predict(INVALID), Err(ServeError::InvalidInput { version: V1, .. })));
    assert!(probe.calls().is_empty());
    assert_eq!(router.statuses(), [(V1, OutcomeStatus::Refused)]);
}

#[test]
fn a_panicking_listener_harms_nobody() {
    #[derive(Debug)]
    struct Grumpy;
    impl PredictionLog for Grumpy {
        fn record(&self, _: &PredictionRecord<'_>) {
            panic!("not today");
        }
    }
    let server =
        builder(queued()).with_log(Arc::new(Grumpy)).fixed(V1, source(&Probe::new(1))).unwrap();
    assert_eq!(server.predict(1).unwrap().output, 2);
    assert_eq!(server.predict(2).unwrap().output, 3);
    assert_eq!(server.numbers().versions[0].listener_panics, 2);
}

#[test]
fn a_shadows_panics_and_slowness_never_reach_a_caller() {
    let (primary, broken, slow) = (Probe::new(0), Probe::new(0), Probe::new(0));
    let router = Script::new(V1, &[V2, crate::support::V3]);
    let server = builder(queued()).routed(Arc::clone(&router) as _).unwrap();
    server.host().prepare(V1, source(&primary)).unwrap();
    server.host().prepare(V2, mlp_core::VersionSource::shared(Arc::clone(&broken))).unwrap();
    server.host().prepare(crate::support::V3, source(&slow)).unwrap();
    slow.hold();
    for input in 0..10 {
        assert_eq!(server.predict(input).unwrap().output, input);
    }
    assert!(matches!(server.predict(PANIC), Err(ServeError::ModelPanicked { version: V1, .. })));
    slow.wait_inside(1);
    slow.release();
    assert_eq!(server.settle_shadows(std::time::Duration::from_secs(20)).left, 0);
    let heard = router.statuses();
    let count = |version, status| heard.iter().filter(|it| **it == (version, status)).count();
    for version in [V1, V2, crate::support::V3] {
        assert_eq!(
            (count(version, OutcomeStatus::Answered), count(version, OutcomeStatus::Failed)),
            (10, 1)
        );
    }
}

/// The other half of `a_panic_that_aborts_ends_the_process`: does nothing unless that has started it.
#[test]
fn panic_as_if_built_to_abort_when_asked_to() {
    if std::env::var_os("MLP_SERVE_ABORT").is_some() {
        // What `panic = "abort"` does: the hook is the last that is heard.
        std::panic::set_hook(Box::new(|_| std::process::abort()));
        let server = serve(queued(), &Probe::new(0));
        println!("survived: {:?}", server.predict(PANIC));
    }
}

#[test]
#[cfg(unix)]
fn a_panic_that_aborts_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["panic_as_if_built_to_abort_when_asked_to", "--nocapture"])
        .env("MLP_SERVE_ABORT", "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(6), "{child:?}");
    assert!(!String::from_utf8_lossy(&child.stdout).contains("survived"));
}

/// The other half of `a_stack_overflow_ends_the_process`: does nothing unless that has started it.
#[test]
fn overflow_the_stack_when_asked_to() {
    #[derive(Debug)]
    struct Deep;
    impl mlp_core::Servable for Deep {
        type Input = u64;
        type Output = u64;
        fn run(&self, batch: &[u64], out: &mut Vec<u64>) -> Result<(), ModelError> {
            fn descend(depth: u64) -> u64 {
                let here = std::hint::black_box([depth; 512]);
                if depth == 0 { 0 } else { descend(depth - 1) + here[0] }
            }
            out.extend(batch.iter().map(|depth| descend(*depth)));
            Ok(())
        }
    }
    if std::env::var_os("MLP_SERVE_OVERFLOW").is_some() {
        let source = mlp_core::VersionSource::shared(Arc::new(Deep));
        let server = mlp_serve::Server::fixed(V1, source).unwrap();
        let answer = server.predict(u64::MAX);
        println!("survived: {answer:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_stack_overflow_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["overflow_the_stack_when_asked_to", "--nocapture"])
        .env("MLP_SERVE_OVERFLOW", "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(6), "{child:?}");
    assert!(String::from_utf8_lossy(&child.stderr).contains("overflowed its stack"));
}
