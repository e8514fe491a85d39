//! When alerts that were muted are audible again.

use super::tests::{Desk, HOUR, MINUTE, alert, config, told};
use super::*;
use crate::{Inhibition, Suppression};
use mlp_core::{AlertStatus, Severity};

/// A page about a host speaks for what is less urgent about it.
fn inhibiting() -> AlertConfig {
    config().with_inhibition(Inhibition {
        source: Matcher::all().with_severity(Severity::P0),
        target: Matcher::all().with_severity(Severity::P1),
        equal: vec!["host".to_owned()],
    })
}

#[test]
fn what_was_inhibited_for_hours_has_its_whole_hour_before_it_pages() {
    let desk = Desk::new(inhibiting());
    desk.raise("down", "a", Severity::P0);
    desk.raise("slow", "a", Severity::P1);
    desk.pass(3 * HOUR);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"]);
    desk.clear("down", "a", Severity::P0);
    desk.pass(59 * MINUTE);
    assert_eq!(told(&desk.pager), ["resolved P0: a resolved"], "no page yet");
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    desk.pass(2 * MINUTE);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"], "now nobody has looked for an hour");
}

#[test]
fn what_was_silenced_and_then_inhibited_is_told_at_once_when_it_is_free() {
    let desk = Desk::new(inhibiting());
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    let slow = Matcher::all().with_label("alertname", "slow");
    desk.manager.silence(slow, 10 * MINUTE, "kim", "").unwrap();
    desk.pass(5 * MINUTE);
    desk.raise("down", "a", Severity::P0);
    desk.pass(10 * MINUTE);
    let suppressed: Vec<_> = desk.manager.incidents().iter().filter_map(|i| i.suppressed).collect();
    assert!(matches!(suppressed[..], [Suppression::Inhibited(_)]), "{suppressed:?}");
    assert_eq!(told(&desk.chat), [""; 0]);
    desk.clear("down", "a", Severity::P0);
    desk.tick();
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
}

#[test]
fn what_was_told_and_clears_between_the_end_of_a_silence_and_the_next_tick_is_resolved() {
    let desk = Desk::new(config());
    let host = |host| Matcher::all().with_label("host", host);
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    let first = desk.manager.silence(host("a"), HOUR, "kim", "").unwrap();
    desk.tick();
    desk.manager.end_silence(first).unwrap();
    // A silence looks at everything that fires: the alert is free, and waits for the tick.
    desk.manager.silence(host("b"), HOUR, "kim", "").unwrap();
    desk.clear("slow", "a", Severity::P1);
    desk.pass(10 * MINUTE);
    assert_eq!(told(&desk.chat), ["resolved P1: a resolved"]);
    assert_eq!(desk.manager.incidents(), []);
}

#[test]
fn what_is_free_again_and_silenced_once_more_before_the_tick_is_told_when_it_is_audible() {
    let desk = Desk::new(config());
    let host = |host| Matcher::all().with_label("host", host);
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"]);
    let first = desk.manager.silence(host("a"), HOUR, "kim", "").unwrap();
    desk.manager.end_silence(first).unwrap();
    desk.manager.silence(host("b"), HOUR, "kim", "").unwrap();
    desk.manager.silence(host("a"), 10 * MINUTE, "kim", "").unwrap();
    desk.pass(9 * MINUTE);
    assert_eq!(told(&desk.chat), [""; 0]);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing"], "at once");
    desk.pass(HOUR / 2);
    assert_eq!(told(&desk.chat), [""; 0], "and once");
}

#[test]
fn in_a_batch_the_order_does_not_decide_who_speaks_for_whom() {
    for reversed in [false, true] {
        let mut config = inhibiting();
        config.routes[1].group_wait = Duration::ZERO;
        let desk = Desk::new(config);
        let mut batch = vec![
            alert("slow", "a", Severity::P1, AlertStatus::Firing),
            alert("slow", "b", Severity::P1, AlertStatus::Firing),
            alert("down", "a", Severity::P0, AlertStatus::Firing),
        ];
        if reversed {
            batch.reverse();
        }
        desk.manager.update_all(batch).unwrap();
        desk.tick();
        assert_eq!(told(&desk.chat), ["firing P1: b firing"], "reversed: {reversed}");
        assert_eq!(told(&desk.pager), ["firing P0: a firing"]);
    }
}

#[test]
fn a_group_that_tells_looks_first_who_is_muted_by_now() {
    let desk = Desk::new(inhibiting());
    desk.raise("slow", "a", Severity::P1);
    desk.clock.advance(MINUTE);
    // The page comes between two ticks, and then another member of the group, which is due.
    desk.raise("down", "a", Severity::P0);
    desk.raise("slow", "b", Severity::P1);
    desk.tick();
    assert_eq!(told(&desk.chat), ["firing P1: b firing"]);
}

#[test]
fn an_alert_that_is_over_needs_no_runbook() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.pass(MINUTE);
    let mut over = alert("slow", "a", Severity::P1, AlertStatus::Resolved);
    over.runbook_url.clear();
    desk.manager.update(over).unwrap();
    desk.pass(10 * MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing", "resolved P1: a resolved"]);
}

#[test]
fn when_the_wall_clock_goes_backwards_resolves_repeats_silences_and_escalations_keep_their_time() {
    let desk = Desk::new(config());
    desk.raise("slow", "a", Severity::P1);
    desk.raise("slow", "b", Severity::P1);
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing, b firing"]);
    let back = |years: u64| {
        let wall = desk.clock.now().before(Duration::from_secs(years * 31_557_600));
        desk.clock.set_wall(wall);
        desk.tick();
    };
    back(10);
    let b = alert("slow", "b", Severity::P1, AlertStatus::Firing);
    desk.manager.silence(Matcher::all().with_label("host", "b"), 30 * MINUTE, "kim", "").unwrap();
    desk.pass(29 * MINUTE);
    back(20);
    assert_eq!(told(&desk.chat), [""; 0], "the silence has a minute left");
    desk.pass(MINUTE);
    assert_eq!(told(&desk.chat), ["firing P1: a firing, b firing"], "its half hour has passed");
    desk.manager.acknowledge(Fingerprint::of(&b.labels), "kim").unwrap();
    back(1);
    desk.pass(28 * MINUTE);
    assert_eq!(told(&desk.pager), [""; 0]);
    desk.pass(2 * MINUTE);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"], "an hour after it was raised");
    desk.clear("slow", "b", Severity::P1);
    back(1);
    desk.pass(6 * MINUTE);
    assert_eq!(told(&desk.chat), ["resolved P1: b resolved"]);
    back(1);
    desk.pass(4 * HOUR - 8 * MINUTE);
    assert_eq!(told(&desk.pager), [""; 0]);
    desk.pass(2 * MINUTE);
    assert_eq!(told(&desk.pager), ["firing P0: a firing"], "repeated four hours after it was told");
}
