use super::*;
use crate::{AlertConfig, AlertManager, Incident, MemorySink};
use crate::{ChangeDirection, Limit, NoData};
use mlp_core::{ManualClock, Severity, Timestamp};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn rule() -> Rule {
    Rule::new("disk_full", "disk", "https://runbooks/disk").unwrap()
}

/// Judges one value a minute, and says what changed: `+P1` begins or changes, `-` is over, `.` nothing.
fn judge<V: Into<Observation> + Copy>(rule: Rule, values: &[V]) -> String {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let engine = RuleEngine::new(vec![rule], clock.clone()).unwrap();
    let step = |value: &V| {
        clock.advance(MINUTE);
        let value: Observation = (*value).into();
        let changes = engine.observe("disk", &Labels::new(), value).unwrap();
        assert!(changes.len() <= 1);
        match changes.first() {
            None => ".".to_owned(),
            Some(alert) if alert.status == AlertStatus::Resolved => "-".to_owned(),
            Some(alert) => format!("+{}", alert.severity),
        }
    };
    values.iter().map(step).collect()
}

#[test]
fn hysteresis_makes_one_firing_and_one_resolve_of_a_flapping_series() {
    let series = [0.95, 0.85, 0.91, 0.85, 0.79];
    let limit = Limit::above(0.9).with_clear(0.8);
    assert_eq!(judge(rule().with_critical(limit, Severity::P1), &series), "+P1...-");
    // The control: without a clear level it flaps.
    assert_eq!(judge(rule().with_critical(Limit::above(0.9), Severity::P1), &series), "+P1-+P1-.");
}

#[test]
fn a_hold_of_n_minutes_with_n_minus_1_breaches_then_fine_fires_nothing() {
    let held = rule().with_critical(Limit::above(0.9), Severity::P1).with_hold(5 * MINUTE);
    assert_eq!(judge(held.clone(), &[0.95, 0.95, 0.95, 0.95, 0.5, 0.95, 0.95]), ".......");
    assert_eq!(judge(held, &[0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.5]), ".....+P1-");
}

#[test]
fn critical_beats_warning_in_one_incident() {
    let both = rule()
        .with_warning(Limit::above(0.8), Severity::P2)
        .with_critical(Limit::above(0.9), Severity::P0);
    assert_eq!(judge(both, &[0.85, 0.95, 0.96, 0.85, 0.5]), "+P2+P0.+P2-");
}

#[test]
fn no_data_keeps_its_state_over_alternating_presence() {
    let keep = rule().with_critical(Limit::above(0.9), Severity::P1);
    let series = [Some(0.95), None, Some(0.95), Some(f64::NAN), Some(0.5), None, Some(0.5)];
    assert_eq!(judge(keep.clone(), &series), "+P1...-..");
    assert_eq!(judge(keep.clone().with_no_data(NoData::Ok), &series), "+P1-+P1-...");
    let alert = keep.with_no_data(NoData::Alert(Severity::P2));
    // A missing value is a fault of its own beside the one that fires; alone it is a P2.
    assert_eq!(judge(alert.clone(), &[Some(0.95), None, Some(0.5), None, Some(0.5)]), "+P1.-+P2-");
    let patient = alert.with_hold(2 * MINUTE);
    assert_eq!(judge(patient, &[None, Some(0.5), None, None, None, Some(0.5)]), "....+P2-");
}

#[test]
fn too_few_cases_are_no_data() {
    let rule = rule().with_critical(Limit::above(0.1), Severity::P1).with_minimum_count(20);
    let few = Observation::new(1.0).with_count(19);
    let enough = Observation::new(1.0).with_count(20);
    assert_eq!(judge(rule, &[few, few, enough, few]), "..+P1.");
}

#[test]
fn a_change_from_zero_neither_fires_nor_resolves() {
    let rule =
        rule().with_critical(Limit::relative_change(0.1, ChangeDirection::Either), Severity::P1);
    let of = |value, reference| Observation::new(value).with_reference(reference);
    let series =
        [of(5.0, 0.0), of(110.0, 100.0), of(110.01, 100.0), of(5.0, 0.0), of(100.0, 100.0)];
    assert_eq!(judge(rule, &series), "..+P1.-");
}

#[test]
fn the_clock_going_backwards_fires_and_resolves_nothing() {
    let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let held = rule().with_critical(Limit::above(0.9), Severity::P1).with_hold(5 * MINUTE);
    let engine = RuleEngine::new(vec![held], clock.clone()).unwrap();
    let observe = |value: f64| engine.observe("disk", &Labels::new(), value).unwrap().len();
    assert_eq!(observe(0.95), 0);
    clock.set_wall(start.before(Duration::from_secs(86_400)));
    clock.advance(4 * MINUTE);
    assert_eq!(observe(0.95), 0, "four minutes have passed, whatever the wall says");
    clock.set_wall(start.after(Duration::from_secs(86_400)));
    assert_eq!(observe(0.95), 0, "the wall ran ahead, the rule did not");
    clock.advance(MINUTE);
    assert_eq!(observe(0.95), 1);
    clock.set_wall(Timestamp::UNIX_EPOCH);
    assert_eq!(observe(0.95), 0);
}

#[test]
fn subjects_are_followed_by_themselves() {
    let engine = RuleEngine::new(
        vec![rule().with_critical(Limit::above(0.9), Severity::P1).with_label("team", "data")],
        Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)),
    )
    .unwrap();
    let of = |disk: &str| Labels::from([("disk".to_owned(), disk.to_owned())]);
    let first = engine.observe("disk", &of("sda"), 0.95).unwrap();
    assert_eq!(engine.observe("disk", &of("sdb"), 0.5).unwrap(), []);
    assert_eq!(engine.observe("disk", &of("sdb"), 0.95).unwrap().len(), 1);
    let expected = [("alertname", "disk_full"), ("disk", "sda"), ("team", "data")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(first[0].labels, Labels::from(expected));
    assert_eq!(first[0].summary, "disk is 0.95, above 0.9");
    assert_eq!(engine.observe("unknown", &of("sda"), 1.0).unwrap(), []);
}

#[test]
fn an_engine_that_resumes_knows_what_fires() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let limit = Limit::above(0.9).with_clear(0.8);
    let rules = vec![rule().with_critical(limit, Severity::P1).with_label("team", "data")];
    let subject = Labels::from([("disk".to_owned(), "sda".to_owned())]);
    let before = RuleEngine::new(rules.clone(), clock.clone()).unwrap();
    let fired = before.observe("disk", &subject, 0.95).unwrap();
    let after = RuleEngine::new(rules, clock.clone()).unwrap();
    after.resume(&incidents(&fired, &clock));
    assert_eq!(after.observe("disk", &subject, 0.85).unwrap(), []);
    let over = after.observe("disk", &subject, 0.5).unwrap();
    assert_eq!((over[0].status, &over[0].labels), (AlertStatus::Resolved, &fired[0].labels));
}

/// What an alert manager makes of alerts in two hours, in which nobody acknowledges them.
fn incidents(fired: &[Alert], clock: &Arc<ManualClock>) -> Vec<Incident> {
    let sinks = [("log", Arc::new(MemorySink::new()) as _)];
    let manager = AlertManager::new(AlertConfig::new("log"), sinks, clock.clone()).unwrap();
    manager.update_all(fired.to_vec()).unwrap();
    clock.advance(120 * MINUTE);
    manager.tick();
    manager.incidents()
}

#[test]
fn a_warning_that_escalated_resumes_as_a_warning() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rules = vec![
        rule()
            .with_warning(Limit::above(0.8), Severity::P1)
            .with_critical(Limit::above(0.9).with_clear(0.5), Severity::P0),
    ];
    let before = RuleEngine::new(rules.clone(), clock.clone()).unwrap();
    let fired = before.observe("disk", &Labels::new(), 0.85).unwrap();
    let incidents = incidents(&fired, &clock);
    assert_eq!(incidents[0].alert.severity, Severity::P0, "nobody acknowledged it within its hour");
    let after = RuleEngine::new(rules, clock).unwrap();
    after.resume(&incidents);
    let over = after.observe("disk", &Labels::new(), 0.7).unwrap();
    assert_eq!(
        over[0].status,
        AlertStatus::Resolved,
        "it is clear of the warning; it never was critical"
    );
}

#[test]
fn two_rules_of_one_name_are_refused() {
    let rule = rule().with_critical(Limit::above(0.9), Severity::P1);
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let error = RuleEngine::new(vec![rule.clone(), rule], clock).unwrap_err();
    assert_eq!(error.to_string(), r#"there are two rules called "disk_full""#);
}

fn host(name: &str) -> Labels {
    [("host".to_owned(), name.to_owned())].into()
}

#[test]
fn subjects_that_are_fine_take_no_room_and_those_that_are_not_say_when_it_is_full() {
    const ROOM: usize = 1_000;
    let limit = rule().with_critical(Limit::above(0.9), Severity::P1);
    let other = Rule::new("disk_slow", "disk", "https://runbooks/disk").unwrap();
    let other = other.with_critical(Limit::above(0.5), Severity::P2);
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let mut engine = RuleEngine::new(vec![limit, other], clock).unwrap();
    assert_eq!(std::mem::replace(&mut engine.max_series, ROOM), 100_000);
    for k in 0..ROOM + 10 {
        assert_eq!(engine.observe("disk", &host(&k.to_string()), 0.1).unwrap(), []);
    }
    for k in 0..ROOM - 1 {
        assert_eq!(engine.observe("disk", &host(&k.to_string()), 0.6).unwrap().len(), 1);
    }
    // Both rules would fire, and there is room for one: neither does.
    let full = engine.observe("disk", &host("new"), 0.95);
    assert!(matches!(full, Err(MonitorError::LimitExceeded { limit: ROOM, .. })), "{full:?}");
    assert_eq!(engine.firing().len(), ROOM - 1);
    assert_eq!(engine.observe("disk", &host("0"), 0.1).unwrap()[0].status, AlertStatus::Resolved);
    let both = engine.observe("disk", &host("new"), 0.95).unwrap();
    assert_eq!(both.len(), 2, "what was refused is not taken for told");
}

#[test]
fn a_subject_that_is_forgotten_is_over_and_known_no_more() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rules = vec![rule().with_critical(Limit::above(0.9), Severity::P1)];
    let engine = RuleEngine::new(rules, clock.clone()).unwrap();
    let fired = engine.observe("disk", &host("a"), 0.95).unwrap();
    engine.observe("disk", &host("b"), 0.95).unwrap();
    assert_eq!(engine.firing().len(), 2);
    assert_eq!(engine.firing()[0], fired[0]);
    clock.advance(MINUTE);
    let over = engine.forget("disk", &host("a")).unwrap();
    assert_eq!(
        (over.len(), over[0].status, &over[0].labels),
        (1, AlertStatus::Resolved, &fired[0].labels)
    );
    assert_eq!((over[0].starts_at, over[0].ends_at), (fired[0].starts_at, Some(clock.now())));
    assert_eq!(engine.forget("disk", &host("a")).unwrap(), []);
    assert_eq!(engine.firing().len(), 1);
    assert_eq!(engine.observe("disk", &host("a"), 0.95).unwrap().len(), 1, "it begins anew");
}

#[test]
fn a_hold_that_has_begun_does_not_last_over_a_gap_that_is_longer_than_it() {
    let held = rule().with_critical(Limit::above(0.9), Severity::P1).with_hold(5 * MINUTE);
    let mut series = vec![Some(0.95)];
    series.extend([None; 59]);
    series.push(Some(0.95));
    let silence = ".".repeat(61);
    assert_eq!(
        judge(held.clone(), &series),
        silence,
        "two breaches an hour apart are no five minutes"
    );
    let nan: Vec<Option<f64>> = series.iter().map(|value| value.or(Some(f64::NAN))).collect();
    assert_eq!(judge(held.clone(), &nan), silence);
    // A gap that is shorter is not evidence of anything, and what fires goes on through any.
    let short = [
        Some(0.95),
        None,
        None,
        Some(0.95),
        None,
        Some(0.95),
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        Some(0.95),
    ];
    assert_eq!(judge(held, &short), ".....+P1........");
}

#[test]
fn changes_that_threads_hand_on_in_turn_leave_the_alert_manager_with_the_truth() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rule = rule().with_critical(Limit::above(0.9), Severity::P1);
    let rules = RuleEngine::new(vec![rule], clock.clone()).unwrap();
    let sinks = [("log", Arc::new(MemorySink::new()) as _)];
    let alerts = AlertManager::new(AlertConfig::new("log"), sinks, clock).unwrap();
    let judge = |value: f64, before_it_is_told: &dyn Fn()| {
        let judged = rules.in_turn(|rules| {
            let changes = rules.observe("disk", &host("a"), value)?;
            before_it_is_told();
            alerts.update_all(changes)
        });
        judged.unwrap();
    };
    let (done, is_done) = crossbeam_channel::bounded(1);
    std::thread::scope(|scope| {
        judge(0.95, &|| {
            let (judge, done) = (&judge, done.clone());
            scope.spawn(move || {
                judge(0.5, &|| ());
                done.send(()).unwrap();
            });
            let early = is_done.recv_timeout(Duration::from_millis(300));
            assert!(early.is_err(), "it is over before it is known to fire");
        });
    });
    assert!(rules.firing().is_empty());
    assert!(!alerts.incidents().iter().any(Incident::is_firing), "it is over for the manager too");
}

#[test]
fn a_signal_that_is_observed_less_often_than_the_hold_fires_at_its_second_breach() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let held = rule().with_critical(Limit::above(0.9), Severity::P1).with_hold(15 * MINUTE);
    let engine = RuleEngine::new(vec![held], clock.clone()).unwrap();
    let mut daily = |value: f64| {
        clock.advance(24 * 60 * MINUTE);
        engine.observe("disk", &host("a"), value).unwrap().len()
    };
    assert_eq!([0.95, 0.5, 0.95, 0.95].map(&mut daily), [0, 0, 0, 1]);
}

/// What an engine makes of these values after it resumed what another one said.
fn judge_resumed(rule: Rule, before: Option<f64>, after: &[Option<f64>]) -> String {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let engine = RuleEngine::new(vec![rule.clone()], clock.clone()).unwrap();
    let mut fired = engine.observe("disk", &host("a"), before).unwrap();
    clock.advance(rule.hold);
    fired.extend(engine.observe("disk", &host("a"), before).unwrap());
    assert_eq!(fired.len(), 1);
    let known = incidents(&fired, &clock);
    let engine = RuleEngine::new(vec![rule], clock.clone()).unwrap();
    engine.resume(&known);
    let step = |value: &Option<f64>| {
        clock.advance(MINUTE);
        let changes = engine.observe("disk", &host("a"), *value).unwrap();
        changes.first().map_or(".".to_owned(), |alert| match alert.status {
            AlertStatus::Resolved => "-".to_owned(),
            AlertStatus::Firing => format!("+{}", alert.severity),
        })
    };
    after.iter().map(step).collect()
}

#[test]
fn an_alert_about_missing_data_resumes_and_ends_when_there_is_data() {
    let critical = rule().with_critical(Limit::above(0.9), Severity::P0);
    for severity in [Severity::P0, Severity::P1, Severity::P3] {
        let rule = critical.clone().with_no_data(NoData::Alert(severity));
        assert_eq!(judge_resumed(rule, None, &[None, Some(0.5), Some(0.5)]), ".-.");
    }
    let rule = critical.with_no_data(NoData::Alert(Severity::P2));
    // What was critical stays so while there is no data, and ends with it.
    assert_eq!(judge_resumed(rule.clone(), Some(0.95), &[None, Some(0.95), Some(0.5)]), "..-");
    assert_eq!(judge_resumed(rule, Some(0.95), &[Some(0.5), None]), "-+P2");
}

#[test]
fn what_was_critical_and_is_at_the_level_of_a_warning_goes_on_as_a_warning() {
    let both = rule()
        .with_warning(Limit::above(0.8), Severity::P2)
        .with_critical(Limit::above(0.9), Severity::P1)
        .with_hold(5 * MINUTE);
    let after = [Some(0.85), Some(0.85), Some(0.5), Some(0.85)];
    assert_eq!(judge_resumed(both, Some(0.95), &after), "+P2.-.");
}

#[test]
fn an_incident_that_fits_no_level_of_its_rule_any_more_ends_when_all_are_clear() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let before = rule().with_critical(Limit::above(0.9), Severity::P3);
    let fired = RuleEngine::new(vec![before], clock.clone()).unwrap();
    let fired = fired.observe("disk", &host("a"), 0.95).unwrap();
    let now = rule().with_critical(Limit::above(0.9).with_clear(0.5), Severity::P1);
    let engine = RuleEngine::new(vec![now], clock.clone()).unwrap();
    engine.resume(&incidents(&fired, &clock));
    let louder = engine.observe("disk", &host("a"), 0.7).unwrap();
    assert_eq!((louder[0].status, louder[0].severity), (AlertStatus::Firing, Severity::P1));
    let over = engine.observe("disk", &host("a"), 0.4).unwrap();
    assert_eq!(over[0].status, AlertStatus::Resolved);
}

#[test]
fn subjects_with_an_empty_or_a_very_long_label_resume() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let rules = vec![rule().with_critical(Limit::above(0.9), Severity::P1)];
    for value in [String::new(), "x".repeat(5_000), "é".repeat(1_025)] {
        let mut subject = host(&value);
        subject.insert("disk".to_owned(), "sda".to_owned());
        let engine = RuleEngine::new(rules.clone(), clock.clone()).unwrap();
        let fired = engine.observe("disk", &subject, 0.95).unwrap();
        let known = incidents(&fired, &clock);
        assert_eq!(fired[0].labels, known[0].alert.labels, "engine and manager agree who it is");
        let engine = RuleEngine::new(rules.clone(), clock.clone()).unwrap();
        engine.resume(&known);
        assert_eq!(engine.observe("disk", &subject, 0.95).unwrap(), []);
        let over = engine.observe("disk", &subject, 0.5).unwrap();
        assert_eq!((over.len(), &over[0].labels), (1, &fired[0].labels));
    }
    let many: Labels = (0..70).map(|k| (k.to_string(), "x".to_owned())).collect();
    let engine = RuleEngine::new(rules, clock).unwrap();
    assert!(engine.observe("disk", &many, 0.95).is_err(), "a manager would refuse it");
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn limit() -> impl Strategy<Value = Limit> {
        prop_oneof![
            (-2.0..2.0_f64).prop_map(Limit::above),
            (-2.0..2.0_f64, 0.0..1.0_f64)
                .prop_map(|(fire, by)| Limit::below(fire).with_clear(fire + by)),
            (-2.0..0.0_f64, 0.1..2.0_f64).prop_map(|(low, high)| Limit::outside(low, high)),
            (0.01..1.0_f64).prop_map(|by| Limit::relative_change(by, ChangeDirection::Either)),
            (0.01..1.0_f64).prop_map(|by| Limit::absolute_change(by, ChangeDirection::Fall)),
        ]
    }

    fn engine(limit: Limit, no_data: NoData) -> RuleEngine {
        let rule = rule().with_critical(limit, Severity::P1).with_no_data(no_data);
        RuleEngine::new(vec![rule], Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))).unwrap()
    }

    proptest! {
        #[test]
        fn nan_and_missing_values_fire_no_limit_whatever_it_is(
            limit in limit(),
            values in proptest::collection::vec(prop_oneof![Just(None), Just(Some(f64::NAN)), Just(Some(-f64::NAN))], 0..20),
            reference in prop_oneof![Just(None), Just(Some(0.0)), Just(Some(f64::NAN)), Just(Some(f64::INFINITY)), Just(Some(1.0))],
        ) {
            for no_data in [NoData::KeepLast, NoData::Ok] {
                let engine = engine(limit, no_data);
                for value in &values {
                    let observation = Observation { value: *value, count: None, reference };
                    prop_assert_eq!(engine.observe("disk", &Labels::new(), observation).unwrap(), []);
                }
                prop_assert_eq!(engine.firing(), []);
            }
        }

        #[test]
        fn any_value_at_all_is_judged_without_a_panic_and_a_constant_one_changes_at_most_once(
            limit in limit(),
            bits in any::<u64>(),
            reference in prop_oneof![Just(None), any::<f64>().prop_map(Some), Just(Some(0.0))],
            count in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
        ) {
            for no_data in [NoData::KeepLast, NoData::Ok, NoData::Alert(Severity::P3)] {
                let engine = engine(limit, no_data);
                let observation = Observation { value: Some(f64::from_bits(bits)), count, reference };
                let observe = || engine.observe("disk", &Labels::new(), observation).unwrap().len();
                let changes: usize = (0..5).map(|_| observe()).sum();
                prop_assert!(changes <= 1, "{} changes", changes);
            }
        }

        #[test]
        fn what_is_said_to_fire_and_to_be_over_takes_turns(
            limit in limit(),
            values in proptest::collection::vec(prop_oneof![4 => (-3.0..3.0_f64).prop_map(Some), 1 => Just(None), 1 => Just(Some(f64::NAN))], 0..60),
        ) {
            let engine = engine(limit, NoData::KeepLast);
            let mut fires = false;
            for value in values {
                let observation = Observation { value, count: None, reference: Some(1.0) };
                for alert in engine.observe("disk", &Labels::new(), observation).unwrap() {
                    prop_assert_eq!(alert.status == AlertStatus::Firing, !fires);
                    fires = !fires;
                }
                prop_assert_eq!(engine.firing().len(), usize::from(fires));
            }
        }
    }
}
