//! What every online store must pass: one check for each promise of [`OnlineStore`]. A backend's test calls [`check`].

use std::time::Duration;

use mlp_core::Timestamp;

use super::store::{Event, Found, Knowledge, OnlineOptions, OnlineStore, OnlineStoreExt};

type Check = fn(&dyn OnlineStore);

const CHECKS: &[(&str, Check)] = &[
    ("no_value_of_after_the_moment_is_found", no_value_of_after_the_moment_is_found),
    ("a_late_arrival_is_not_seen_before_it_arrived", a_late_arrival_is_not_seen_before_it_arrived),
    ("ties_in_time_go_to_what_arrived_last", ties_in_time_go_to_what_arrived_last),
    ("a_value_is_fresh_up_to_its_bound", a_value_is_fresh_up_to_its_bound),
    ("a_dropped_event_is_forgotten_and_not_absent", a_dropped_event_is_forgotten_and_not_absent),
    ("bad_events_and_places_are_refused", bad_events_and_places_are_refused),
];

/// Runs every check, each on a fresh store of two features from `open`, which is to keep the given bounds.
///
/// # Panics
/// If the store breaks a promise; the message names it.
pub fn check<S: OnlineStore>(open: impl Fn([&'static str; 2], OnlineOptions) -> S) {
    for (name, check) in CHECKS {
        let options =
            OnlineOptions::new().with_freshness(Duration::from_secs(100)).with_max_events(4);
        let store = open(["a", "b"], options);
        assert_eq!(store.features(), ["a", "b"], "{name}");
        check(&store);
    }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn put(store: &dyn OnlineStore, at: i64, arrived: i64, value: f64) {
    let event =
        Event { entity: "e", at: second(at), arrived: second(arrived), values: &[value, -value] };
    let done = store.put(event);
    assert!(done.is_ok(), "an event was refused: {done:?}");
}

fn expect(store: &dyn OnlineStore, moment: i64, knowledge: Knowledge, found: Found, value: f64) {
    let rows = store.training_rows(&[("e", second(moment))], knowledge);
    let Ok(rows) = rows else { panic!("a look-up failed: {rows:?}") };
    assert_eq!(rows.found, [found], "as of {moment}");
    let same = |given: f64, value: f64| given == value || (given.is_nan() && value.is_nan());
    let given = (rows.features[[0, 0]], rows.features[[0, 1]]);
    assert!(same(given.0, value) && same(given.1, -value), "as of {moment}: {given:?}");
}

fn no_value_of_after_the_moment_is_found(store: &dyn OnlineStore) {
    expect(store, 10, Knowledge::Now, Found::Absent, f64::NAN);
    put(store, 20, 20, 2.0);
    put(store, 10, 10, 1.0);
    for knowledge in [Knowledge::Now, Knowledge::AtTheTime] {
        expect(store, 9, knowledge, Found::Absent, f64::NAN);
        expect(store, 10, knowledge, Found::Fresh(second(10)), 1.0);
        expect(store, 19, knowledge, Found::Fresh(second(10)), 1.0);
        expect(store, 20, knowledge, Found::Fresh(second(20)), 2.0);
    }
}

fn a_late_arrival_is_not_seen_before_it_arrived(store: &dyn OnlineStore) {
    put(store, 10, 10, 1.0);
    put(store, 20, 50, 2.0);
    expect(store, 30, Knowledge::AtTheTime, Found::Fresh(second(10)), 1.0);
    expect(store, 30, Knowledge::Now, Found::Fresh(second(20)), 2.0);
    expect(store, 50, Knowledge::AtTheTime, Found::Fresh(second(20)), 2.0);
}

fn ties_in_time_go_to_what_arrived_last(store: &dyn OnlineStore) {
    put(store, 10, 30, 3.0);
    put(store, 10, 20, 2.0);
    expect(store, 40, Knowledge::Now, Found::Fresh(second(10)), 3.0);
    expect(store, 25, Knowledge::AtTheTime, Found::Fresh(second(10)), 2.0);
    put(store, 10, 30, 4.0);
    expect(store, 40, Knowledge::Now, Found::Fresh(second(10)), 4.0);
}

fn a_value_is_fresh_up_to_its_bound(store: &dyn OnlineStore) {
    put(store, 10, 10, 1.0);
    expect(store, 110, Knowledge::Now, Found::Fresh(second(10)), 1.0);
    expect(store, 111, Knowledge::Now, Found::Stale(second(10)), f64::NAN);
}

fn a_dropped_event_is_forgotten_and_not_absent(store: &dyn OnlineStore) {
    for at in [10, 20, 30, 40] {
        put(store, at, at, at as f64);
    }
    expect(store, 15, Knowledge::Now, Found::Fresh(second(10)), 10.0);
    put(store, 50, 50, 50.0);
    expect(store, 15, Knowledge::Now, Found::Forgotten, f64::NAN);
    expect(store, 25, Knowledge::Now, Found::Fresh(second(20)), 20.0);
    put(store, 5, 60, 5.0);
    expect(store, 25, Knowledge::Now, Found::Fresh(second(20)), 20.0);
}

fn bad_events_and_places_are_refused(store: &dyn OnlineStore) {
    let event = |entity, values| Event { entity, at: second(1), arrived: second(1), values };
    assert!(store.put(event("", &[1.0, 2.0])).is_err(), "an empty key was taken");
    let long = "k".repeat(251);
    assert!(store.put(event(&long, &[1.0, 2.0])).is_err(), "a long key was taken");
    assert!(store.put(event("e", &[1.0])).is_err(), "too few values were taken");
    let found = store.look_up("e", second(1), Knowledge::Now, &mut [0.0; 3]);
    assert!(found.is_err(), "too large a place was taken");
    expect(store, 1, Knowledge::Now, Found::Absent, f64::NAN);
}
