use super::*;
use crate::{AlertConfig, AlertManager, Incident, MemorySink};
use crate::{ChangeDirection, Limit};
use mlp_core::ManualClock;

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
