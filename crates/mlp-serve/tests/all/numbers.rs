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
    assert_eq!((numbers.cache_hits, numbers.coalesced), (1, 0));
    assert_eq!((numbers.panics, numbers.cache_misses, numbers.cache_entries), (1, 4, 2));
    assert_eq!((numbers.queue_rows, numbers.in_flight), (0, 0));
    assert_eq!((numbers.request_seconds.count, numbers.queue_seconds.count), (6, 4));
    assert_eq!((numbers.batch_rows.count, numbers.batch_rows.max), (4, 1.0));
    assert!(numbers.request_seconds.p99 >= numbers.predict_seconds.p50);
}

#[test]
fn numbers_are_exported_under_names_with_their_unit() {
    let server = serve(queued().with_model("scores".to_owned()), &Probe::new(0));
    server.predict(1).unwrap();
    let samples = server.numbers().samples();
    assert!(samples.iter().all(|sample| sample.name.starts_with("mlp_serve_")));
    let answered = samples.iter().find(|sample| sample.name == "mlp_serve_answered_total").unwrap();
    assert_eq!((answered.value, answered.version), (1.0, Some(crate::support::V1)));
    assert_eq!(samples.iter().filter(|it| it.name == "mlp_serve_request_seconds").count(), 4);
    assert!(samples.iter().all(|sample| *sample.model == *"scores"));
    let value = |name| samples.iter().find(|sample| sample.name == name).unwrap().value;
    assert_eq!(value("mlp_serve_request_seconds_count"), 1.0);
    assert_eq!(value("mlp_serve_request_seconds_sum"), value("mlp_serve_request_seconds_mean"));
    assert!(value("mlp_serve_request_seconds_max") >= value("mlp_serve_request_seconds_sum"));
    assert_eq!(value("mlp_serve_batch_rows_sum"), 1.0);
}

#[test]
fn an_input_that_cannot_be_cached_is_no_miss_and_followers_are_in_flight() {
    /// Caches even inputs only.
    #[derive(Debug)]
    struct Even(std::sync::Arc<Probe>);
    impl mlp_core::Servable for Even {
        type Input = i64;
        type Output = i64;
        fn run(&self, batch: &[i64], out: &mut Vec<i64>) -> Result<(), mlp_core::ModelError> {
            self.0.run(batch, out)
        }
        fn cache_key(&self, input: &i64, key: &mut Vec<u8>) -> bool {
            self.0.cache_key(input, key) && input % 2 == 0
        }
    }
    let probe = Probe::new(0);
    let source = mlp_core::VersionSource::shared(std::sync::Arc::new(Even(probe.clone())));
    let options = queued().with_cache_entries(10);
    let builder = mlp_serve::Server::builder().with_options(options);
    let server = builder.fixed(crate::support::V1, source).unwrap();
    server.predict(1).unwrap();
    probe.hold();
    let tickets = [2, 2, 2].map(|input| server.submit(input));
    probe.wait_inside(1);
    let numbers = &server.numbers().versions[0];
    assert_eq!((numbers.cache_misses, numbers.in_flight), (3, 3));
    probe.release();
    tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
    assert_eq!(server.numbers().versions[0].coalesced, 2);
}
