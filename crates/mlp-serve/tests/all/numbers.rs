//! What a server tells of itself.

use crate::support::{FAIL, INVALID, PANIC, Probe, queued, serve};

#[test]
fn the_numbers_count_each_request_once_and_return_to_zero_after_errors_and_panics() {
    let probe = Probe::new(0);
    let server = serve(queued().with_cache_entries(10), &probe);
    for input in [1, 1, 2, FAIL, PANIC, INVALID] {
        let _ = server.predict(input);
    }
    let numbers = &server.numbers().versions[0];
    let outcomes =
        [numbers.answered, numbers.cached, numbers.failed, numbers.timed_out, numbers.refused];
    assert_eq!(outcomes, [2, 1, 2, 0, 1]);
    assert_eq!((numbers.panics, numbers.cache_misses, numbers.cache_entries), (1, 4, 2));
    assert_eq!((numbers.queue_rows, numbers.in_flight), (0, 0));
    assert_eq!((numbers.request_seconds.count, numbers.queue_seconds.count), (6, 4));
    assert_eq!((numbers.batch_rows.count, numbers.batch_rows.max), (4, 1.0));
    assert!(numbers.request_seconds.p99 >= numbers.predict_seconds.p50);
}

#[test]
fn numbers_are_exported_under_names_with_their_unit() {
    let server = serve(queued(), &Probe::new(0));
    server.predict(1).unwrap();
    let samples = server.numbers().samples();
    assert!(samples.iter().all(|sample| sample.name.starts_with("mlp_serve_")));
    let answered = samples.iter().find(|sample| sample.name == "mlp_serve_answered_total").unwrap();
    assert_eq!((answered.value, answered.version), (1.0, crate::support::V1));
    assert_eq!(samples.iter().filter(|it| it.name == "mlp_serve_request_seconds").count(), 4);
}
