use super::*;
use crate::{MonitorError, RuleEngine, RuleTable};
use mlp_core::{ManualClock, Role, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeSet;

const HOUR: Duration = Duration::from_secs(3_600);
const V1: VersionNumber = VersionNumber(1);

fn monitor(config: PerformanceConfig) -> (Arc<ManualClock>, PerformanceMonitor) {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    (clock.clone(), PerformanceMonitor::new(config, clock).unwrap())
}

fn predict(
    monitor: &PerformanceMonitor,
    id: PredictionId,
    version: VersionNumber,
    outputs: &[f64],
) {
    let record = PredictionRecord::new(id, version, Role::Active, Timestamp::UNIX_EPOCH);
    monitor.record(&record.with_data(None, Some(outputs)));
}

#[test]
fn accuracy_is_over_matured_cohorts_only_and_coverage_is_reported() {
    let (clock, monitor) = monitor(PerformanceConfig::default().with_window(2 * HOUR));
    let ids: Vec<PredictionId> = (0..10).map(|_| PredictionId::generate()).collect();
    ids.iter().for_each(|id| predict(&monitor, *id, V1, &[0.3, 0.7]));
    // Bad news travels fast: the only two early outcomes say that the prediction was wrong.
    ids[..2].iter().for_each(|id| monitor.outcome(*id, Truth::Class(0)));
    let early = monitor.performance(V1).unwrap();
    assert_eq!((early.scored.accuracy(), early.pending), (None, 10));
    clock.advance(HOUR);
    ids[2..8].iter().for_each(|id| monitor.outcome(*id, Truth::Class(1)));
    clock.advance(2 * HOUR);
    let matured = monitor.performance(V1).unwrap();
    assert_eq!(matured.scored.accuracy(), Some(0.75));
    assert_eq!(matured.scored.coverage(), Some(0.8));
    assert_eq!((matured.pending, matured.cohorts.len()), (0, 1));
    assert_eq!(monitor.counts().unlabelled, 2);
}

#[test]
fn the_metric_source_tells_wrong_predictions_and_refuses_other_signals() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    let ids = [(); 4].map(|()| PredictionId::generate());
    ids.iter().for_each(|id| predict(&monitor, *id, V1, &[0.3, 0.7]));
    ids.iter().zip([1, 0, 1, 1]).for_each(|(id, class)| monitor.outcome(*id, Truth::Class(class)));
    let reading = monitor.read(V1, &Signal::WrongPredictions).unwrap();
    assert_eq!(reading, Reading::Proportion { events: 1, trials: 4 });
    assert!(matches!(monitor.read(V1, &Signal::Errors), Err(SourceError::UnknownSignal { .. })));
    let unknown = monitor.read(VersionNumber(2), &Signal::WrongPredictions);
    assert!(matches!(unknown, Err(SourceError::UnknownVersion { .. })));
}

#[test]
fn accuracy_is_also_told_by_segment_and_the_worst_is_named() {
    let config = PerformanceConfig::default().with_scoring(Scoring::AtOnce);
    let (_, monitor) = monitor(config);
    let above = |limit: f64| {
        move |record: &PredictionRecord<'_>| record.features.is_some_and(|row| row[0] > limit)
    };
    let monitor = monitor.with_segment("big", above(10.0)).unwrap();
    let monitor = monitor
        .with_segment("huge", above(18.0))
        .unwrap()
        .with_segment("none", above(99.0))
        .unwrap();
    for feature in 0..20 {
        let id = PredictionId::generate();
        let record = PredictionRecord::new(id, V1, Role::Active, Timestamp::UNIX_EPOCH);
        monitor.record(&record.with_data(Some(&[f64::from(feature)]), Some(&[0.3, 0.7])));
        monitor.outcome(id, Truth::Class(usize::from(feature % 2 == 0 || feature < 12)));
    }
    let report = monitor.segments(V1, 2).unwrap();
    assert_eq!((report.whole.count, report.whole.value), (20, Some(0.8)));
    let scores: Vec<_> = report.slices.iter().map(|slice| (slice.count, slice.value)).collect();
    assert_eq!(scores, [(9, Some(5.0 / 9.0)), (1, None), (0, None)]);
    assert_eq!(report.worst().unwrap().name, "big");
    assert_eq!(monitor.segments(VersionNumber(2), 0), None);
    let taken = monitor.with_segment("big", above(1.0)).unwrap_err();
    assert!(matches!(taken, MonitorError::Duplicate { .. }));
}

#[test]
fn segments_are_bounded() {
    let (_, mut monitor) = monitor(PerformanceConfig::default());
    for segment in 0..64 {
        monitor = monitor.with_segment(segment.to_string(), |_| true).unwrap();
    }
    predict(&monitor, PredictionId::generate(), V1, &[0.3, 0.7]);
    assert_eq!(monitor.segments(V1, 0).unwrap().slices.len(), 64);
    let limit = monitor.with_segment("one more", |_| true).unwrap_err();
    assert!(matches!(limit, MonitorError::LimitExceeded { limit: 64, .. }));
}

#[test]
fn rules_hear_of_accuracy_and_coverage() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    let ids = [(); 4].map(|()| PredictionId::generate());
    ids.iter().for_each(|id| predict(&monitor, *id, V1, &[0.3, 0.7]));
    monitor.outcome(ids[0], Truth::Class(1));
    monitor.outcome(ids[1], Truth::Class(0));
    let subject = Labels::from([("model".to_owned(), "wine".to_owned())]);
    let observed = monitor.observations(&subject, Some(&Baseline::new(0.9))).unwrap();
    let [(accuracy, labels, value), (degraded, _, excess), (coverage, _, share)] =
        observed.try_into().unwrap();
    assert_eq!((accuracy, degraded, coverage), ("accuracy", "degraded", "label_coverage"));
    assert_eq!((labels["version"].as_str(), labels["model"].as_str()), ("v1", "wine"));
    assert_eq!(value, Observation::new(0.5).with_count(2).with_reference(0.9));
    assert!(excess.value.unwrap() < 0.0 && excess.count == Some(2), "two are no evidence");
    assert_eq!(share, Observation::new(0.5).with_count(4));
    assert_eq!(monitor.observations(&subject, None).unwrap().len(), 2);
    assert!(monitor.observations(&subject, Some(&Baseline::new(2.0))).is_err());
    let degradation = monitor.degradation(V1, &Baseline::new(0.9)).unwrap().unwrap();
    assert_eq!(degradation.verdict, crate::DegradationVerdict::Undecided);
    assert_eq!(monitor.degradation(VersionNumber(9), &Baseline::new(0.9)).unwrap(), None);
    assert!(monitor.degradation(V1, &Baseline::new(2.0)).is_err());
}

#[test]
fn an_outcome_joins_every_version_that_saw_the_request() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    let id = PredictionId::generate();
    predict(&monitor, id, V1, &[0.9, 0.1]);
    monitor.outcome(id, Truth::Class(0));
    predict(&monitor, id, VersionNumber(2), &[0.1, 0.9]);
    let wrong: Vec<u64> = monitor.performances().iter().map(|p| p.scored.wrong).collect();
    assert_eq!(wrong, [0, 1]);
}

#[test]
fn numbers_are_right_within_the_tolerance() {
    let config = PerformanceConfig::default().with_scoring(Scoring::AtOnce).with_tolerance(0.5);
    let (_, monitor) = monitor(config);
    pair(&monitor, &[1.0], Truth::Value(1.5));
    pair(&monitor, &[1.0], Truth::Value(1.75));
    let scored = monitor.performance(V1).unwrap().scored;
    assert_eq!((scored.judged, scored.wrong), (2, 1));
    assert_eq!(scored.mean_absolute_error(), Some(0.625));
}

/// A prediction and its outcome.
fn pair(monitor: &PerformanceMonitor, outputs: &[f64], truth: Truth) {
    let id = PredictionId::generate();
    predict(monitor, id, V1, outputs);
    monitor.outcome(id, truth);
}

#[test]
fn what_is_no_number_is_counted_and_spoils_no_mean() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        pair(&monitor, &[1.0], Truth::Value(bad));
        predict(&monitor, PredictionId::generate(), V1, &[bad]);
    }
    predict(&monitor, PredictionId::generate(), V1, &[f64::NAN, 0.5]);
    (0..1_000).for_each(|_| pair(&monitor, &[1.0], Truth::Value(1.25)));
    pair(&monitor, &[1e140], Truth::Value(-1e140));
    let counts = monitor.counts();
    assert_eq!((counts.invalid_outcomes, counts.dropped_predictions, counts.joined), (4, 5, 1_001));
    let performance = monitor.performance(V1).unwrap();
    assert!(performance.scored.mean_absolute_error().unwrap().is_finite());
    let text = serde_json::to_string(&performance).unwrap();
    assert_eq!(serde_json::from_str::<VersionPerformance>(&text).unwrap(), performance);
    for value in [f64::NAN, f64::INFINITY, -0.0] {
        let text = serde_json::to_string(&Truth::Value(value)).unwrap();
        let Truth::Value(read) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        assert_eq!(read.is_nan(), value.is_nan());
        assert!(value.is_nan() || read == value, "{text}");
    }
}

#[test]
fn an_outcome_that_is_invalid_may_be_followed_by_the_true_one() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    let id = PredictionId::generate();
    predict(&monitor, id, V1, &[2.0]);
    monitor.outcome(id, Truth::Value(f64::NAN));
    monitor.outcome(id, Truth::Value(2.5));
    assert_eq!(monitor.performance(V1).unwrap().scored.mean_absolute_error(), Some(0.5));
}

#[test]
fn a_number_as_the_outcome_of_a_class_is_counted_and_not_scored() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    pair(&monitor, &[0.3, 0.7], Truth::Value(1.0));
    pair(&monitor, &[0.3], Truth::Class(1));
    pair(&monitor, &[0.3, 0.7], Truth::Class(1));
    let scored = monitor.performance(V1).unwrap().scored;
    assert_eq!((scored.labelled, scored.accuracy()), (1, Some(1.0)));
    assert_eq!(monitor.counts().mismatched_outcomes, 2);
}

#[test]
fn numbers_without_a_tolerance_are_neither_right_nor_wrong() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_scoring(Scoring::AtOnce));
    let monitor = monitor.with_segment("all", |_| true).unwrap();
    (0..400).for_each(|k| pair(&monitor, &[1.0], Truth::Value(1.0 + f64::from(k % 5))));
    let scored = monitor.performance(V1).unwrap().scored;
    assert_eq!((scored.accuracy(), scored.mean_absolute_error()), (None, Some(2.0)));
    let wrong = monitor.read(V1, &Signal::WrongPredictions);
    assert!(matches!(wrong, Err(SourceError::UnknownSignal { .. })), "not 100 % wrong");
    let error = monitor.read(V1, &Signal::Custom("mean_absolute_error".to_owned())).unwrap();
    let expected = Reading::Mean { count: 400, mean: 2.0, squared_deviations: 800.0 };
    assert_eq!(error, expected);
    let report = monitor.segments(V1, 1).unwrap();
    assert_eq!(
        (report.metric.as_str(), report.slices[0].value),
        ("mean_absolute_error", Some(2.0))
    );
    let observe = |baseline: Baseline| {
        let observed = monitor.observations(&Labels::new(), Some(&baseline)).unwrap();
        let names: Vec<_> = observed.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names, ["mean_absolute_error", "degraded", "label_coverage"]);
        assert_eq!(observed[0].2.reference, Some(baseline.value));
        observed[1].2.value.unwrap()
    };
    assert!(observe(Baseline::of_error(1.0)) > 0.0);
    assert!(observe(Baseline::of_error(1.95)) < 0.0);
    let found = monitor.degradation(V1, &Baseline::of_error(1.0)).unwrap().unwrap();
    assert_eq!(found.verdict, crate::DegradationVerdict::Degraded);
}

#[test]
fn a_fall_after_500_good_hours_is_told_within_hours_and_forgiven_once_it_is_over() {
    let config = PerformanceConfig::default().with_window(HOUR).with_recent(24);
    let (clock, monitor) = monitor(config);
    let table = RuleTable::usual("https://runbooks", Duration::from_millis(50)).unwrap();
    let rules = RuleEngine::new(table.into_rules(), clock.clone()).unwrap();
    let mut generator = mlp_core::random::stream(3, 3);
    let (mut told, mut over) = (None, None);
    for hour in 0..600 {
        let accuracy = if (500..520).contains(&hour) { 0.7 } else { 0.9 };
        for _ in 0..100 {
            let is_right = mlp_core::random::uniform(&mut generator) < accuracy;
            pair(&monitor, &[0.2, 0.8], Truth::Class(usize::from(is_right)));
        }
        clock.advance(HOUR);
        let observed = monitor.observations(&Labels::new(), Some(&Baseline::new(0.9))).unwrap();
        for (signal, labels, value) in observed {
            for alert in rules.observe(signal, &labels, value).unwrap() {
                assert_eq!(alert.labels["alertname"], "accuracy_fell");
                match alert.status {
                    mlp_core::AlertStatus::Firing => assert_eq!(told.replace(hour), None),
                    _ => assert_eq!(over.replace(hour), None),
                }
            }
        }
    }
    let (told, over) = (told.unwrap(), over.unwrap());
    assert!((501..508).contains(&told) && (520..550).contains(&over), "{told} {over}");
    // The control: the accuracy of its whole life hides the fall.
    let whole = monitor.performance(V1).unwrap().scored.accuracy().unwrap();
    assert!(whole > 0.88, "{whole}");
}

/// What the usual rules say of a version that was bad for a day and is not used any more, hour by hour.
fn retired(scoring: Scoring) -> (Arc<ManualClock>, PerformanceMonitor, RuleEngine) {
    let config = PerformanceConfig::default().with_window(HOUR).with_recent(24);
    let (clock, monitor) = monitor(config.with_scoring(scoring));
    let table = RuleTable::usual("https://runbooks", Duration::from_millis(50)).unwrap();
    let rules = RuleEngine::new(table.into_rules(), clock.clone()).unwrap();
    for _ in 0..24 {
        (0..1_000).for_each(|k| pair(&monitor, &[0.2, 0.8], Truth::Class(usize::from(k % 3 > 0))));
        clock.advance(HOUR);
        observe(&monitor, &rules);
    }
    (clock, monitor, rules)
}

/// Lets the rules judge everything, and gives the names of the alerts that fire then.
fn observe(monitor: &PerformanceMonitor, rules: &RuleEngine) -> Vec<String> {
    for (signal, labels, value) in
        monitor.observations(&Labels::new(), Some(&Baseline::new(0.9))).unwrap()
    {
        rules.observe(signal, &labels, value).unwrap();
    }
    rules.firing().into_iter().map(|alert| alert.labels["alertname"].clone()).collect()
}

#[test]
fn a_version_that_another_one_has_replaced_is_forgiven_once_its_last_cohort_is_not_recent() {
    for scoring in [Scoring::Matured, Scoring::AtOnce] {
        let (clock, monitor, rules) = retired(scoring);
        let still = (0..100).take_while(|_| {
            let fires = observe(&monitor, &rules) == ["accuracy_fell"];
            let id = PredictionId::generate();
            predict(&monitor, id, VersionNumber(2), &[0.2, 0.8]);
            monitor.outcome(id, Truth::Class(1));
            clock.advance(HOUR);
            fires
        });
        let still = still.count();
        assert!((23..=25).contains(&still), "{scoring:?}: {still} hours");
        assert_eq!(observe(&monitor, &rules), [""; 0]);
    }
}

#[test]
fn a_version_that_predicts_once_a_week_is_judged_by_its_last_predictions_until_the_next_are_known()
{
    for scoring in [Scoring::Matured, Scoring::AtOnce] {
        let (clock, monitor) = monitor(PerformanceConfig::default().with_scoring(scoring));
        let table = RuleTable::usual("https://runbooks", Duration::from_millis(50)).unwrap();
        let rules = RuleEngine::new(table.into_rules(), clock.clone()).unwrap();
        let week = |wrong_one_in: usize| {
            for k in 0..3_000 {
                pair(&monitor, &[0.2, 0.8], Truth::Class(usize::from(k % wrong_one_in > 0)));
            }
            let hours = (0..7 * 24).map(|_| {
                clock.advance(HOUR);
                observe(&monitor, &rules) == ["accuracy_fell"]
            });
            hours.collect::<Vec<_>>()
        };
        let after_a_day = |fires: Vec<bool>| fires[26..].to_vec();
        assert!(after_a_day(week(3)).iter().all(|fires| *fires), "{scoring:?}: the first week");
        assert!(week(3).iter().all(|fires| *fires), "{scoring:?}: another bad week");
        assert!(!after_a_day(week(1_000)).contains(&true), "{scoring:?}: a good week");
    }
}

#[test]
fn a_version_whose_outcomes_stopped_is_not_forgiven_while_it_is_used() {
    let (clock, monitor, rules) = retired(Scoring::Matured);
    for _ in 0..60 {
        predict(&monitor, PredictionId::generate(), V1, &[0.2, 0.8]);
        clock.advance(HOUR);
        assert_eq!(
            observe(&monitor, &rules)[..1],
            ["accuracy_fell"],
            "no outcome says that it is over"
        );
    }
}

#[test]
fn a_forgotten_version_is_observed_no_more_and_its_late_outcomes_find_nothing() {
    let (clock, monitor, rules) = retired(Scoring::Matured);
    let monitor = monitor.with_segment("all", |_| true).unwrap();
    let [own, shared, lonely] = [(); 3].map(|()| PredictionId::generate());
    let v2 = VersionNumber(2);
    predict(&monitor, own, V1, &[0.2, 0.8]);
    [V1, v2].into_iter().for_each(|version| predict(&monitor, shared, version, &[0.2, 0.8]));
    monitor.outcome(lonely, Truth::Class(1));
    let before = monitor.counts();
    assert!(monitor.forget(V1));
    assert!(!monitor.forget(V1), "it is not known any more");
    assert_eq!((monitor.performance(V1), monitor.segments(V1, 0)), (None, None));
    // What fires is over once the rules have forgotten it as well, and stays so.
    assert_eq!(observe(&monitor, &rules), ["accuracy_fell"]);
    let subject = Labels::from([("version".to_owned(), "v1".to_owned())]);
    assert_eq!(rules.forget("degraded", &subject).unwrap().len(), 1);
    assert_eq!(observe(&monitor, &rules), [""; 0]);
    [own, shared].into_iter().for_each(|id| monitor.outcome(id, Truth::Class(1)));
    predict(&monitor, lonely, v2, &[0.2, 0.8]);
    clock.advance(3 * HOUR);
    let after = monitor.counts();
    assert_eq!(after.joined, before.joined + 2, "those of the other version");
    assert_eq!((after.unknown_outcomes, after.unlabelled, after.open), (1, 0, 0));
    assert_eq!(monitor.performance(v2).unwrap().scored.accuracy(), Some(1.0));
    // The same version may come again, with nothing held against it.
    pair(&monitor, &[0.2, 0.8], Truth::Class(1));
    clock.advance(3 * HOUR);
    assert_eq!(monitor.performance(V1).unwrap().scored.coverage(), Some(1.0));
}

#[test]
fn cohorts_mature_also_when_nobody_reads() {
    let config = PerformanceConfig::default().with_window(HOUR).with_cohort(HOUR / 4);
    let (clock, monitor) = monitor(config);
    for _ in 0..5_000 {
        predict(&monitor, PredictionId::generate(), V1, &[0.3, 0.7]);
        clock.advance(HOUR / 4);
    }
    for shard in &monitor.shards {
        let shard = shard.lock();
        let Some(scored) = shard.versions.get(&V1) else { continue };
        // Between two ids of a shard some sixteen cohorts pass.
        assert!(scored.whole.n_open() <= 6, "{}", scored.whole.n_open());
        assert!(scored.whole.held(true).len() < 200);
    }
    assert!(monitor.performance(V1).unwrap().cohorts.len() <= 1_001);
    let many = PerformanceConfig::default().with_cohort(Duration::from_millis(1));
    assert!(PerformanceMonitor::new(many, clock).is_err(), "86 million open cohorts");
}

#[test]
fn threads_and_readers_lose_nothing_and_no_cohort_is_closed_twice() {
    let config = PerformanceConfig::default().with_window(HOUR).with_cohort(HOUR / 4);
    let (clock, monitor) = monitor(config);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for k in 0..2_000 {
                    pair(&monitor, &[0.3, 0.7], Truth::Class(k % 2));
                }
            });
        }
        for _ in 0..50 {
            clock.advance(HOUR / 8);
            let cohorts = monitor.performance(V1).map(|p| p.cohorts).unwrap_or_default();
            assert!(cohorts.is_sorted_by(|a, b| a.number < b.number));
            assert!(monitor.counts().joined <= 8_000);
        }
    });
    clock.advance(3 * HOUR);
    let performance = monitor.performance(V1).unwrap();
    assert!(performance.cohorts.is_sorted_by(|a, b| a.number < b.number));
    let sum: u64 = performance.cohorts.iter().map(|cohort| cohort.counts.predictions).sum();
    let counts = monitor.counts();
    assert_eq!((sum, performance.pending, counts.predictions), (8_000, 0, 8_000));
    // An outcome whose thread slept for longer than the window came too late.
    assert_eq!(counts.joined + counts.unlabelled, 8_000);
    assert_eq!(
        (performance.scored.labelled, counts.unknown_outcomes),
        (counts.joined, counts.unlabelled)
    );
    assert!(counts.joined > 4_000, "{counts:?}");
}

#[test]
fn memory_is_bounded_by_the_open_window() {
    let (_, monitor) = monitor(PerformanceConfig::default().with_max_open(160));
    for _ in 0..10_000 {
        predict(&monitor, PredictionId::generate(), V1, &[0.3, 0.7]);
    }
    let counts = monitor.counts();
    assert!(counts.open <= 160, "{}", counts.open);
    assert_eq!((counts.unlabelled, counts.evicted + counts.open as u64), (0, 10_000));
}

#[test]
fn the_clock_going_backwards_changes_no_score() {
    let (clock, monitor) = monitor(PerformanceConfig::default());
    let id = PredictionId::generate();
    predict(&monitor, id, V1, &[0.3, 0.7]);
    clock.set_wall("2200-01-01T00:00:00Z".parse().unwrap());
    monitor.outcome(id, Truth::Class(1));
    clock.set_wall(Timestamp::UNIX_EPOCH);
    assert_eq!(monitor.counts().joined, 1);
    assert_eq!(monitor.performance(V1).unwrap().scored.accuracy(), None);
}

/// What happens in a random history: time passes, or an id is predicted (by one of two versions) or gets an outcome.
#[derive(Debug, Clone, Copy)]
enum Event {
    Pass(u64),
    Predict { id: usize, version: u64, class: usize },
    Outcome { id: usize, class: usize },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_u64..7).prop_map(Event::Pass),
        (0_usize..12, 1_u64..3, 0_usize..2).prop_map(|(id, version, class)| Event::Predict {
            id,
            version,
            class
        }),
        (0_usize..12, 0_usize..2).prop_map(|(id, class)| Event::Outcome { id, class }),
    ]
}

/// The slow truth: each id has a life that starts at its first event and lasts for the window; in one life the first prediction of each
/// version and the first outcome make pairs.
#[derive(Default)]
struct Oracle {
    lives: Vec<Life>,
    duplicate_predictions: u64,
    duplicate_outcomes: u64,
}

struct Life {
    id: usize,
    born: u64,
    predictions: Vec<(u64, usize)>,
    outcome: Option<usize>,
}

impl Oracle {
    fn life(&mut self, id: usize, now: u64, window: u64) -> &mut Life {
        let alive = |life: &Life| life.id == id && life.born + window >= now;
        if !self.lives.iter().any(alive) {
            self.lives.push(Life { id, born: now, predictions: Vec::new(), outcome: None });
        }
        self.lives.iter_mut().find(|life| alive(life)).unwrap()
    }

    fn scored(&self, version: u64) -> (u64, u64, u64) {
        let mut sums = (0, 0, 0);
        for life in &self.lives {
            for (_, class) in life.predictions.iter().filter(|(v, _)| *v == version) {
                sums.0 += 1;
                sums.1 += u64::from(life.outcome.is_some());
                sums.2 += u64::from(life.outcome.is_some_and(|outcome| outcome != *class));
            }
        }
        sums
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn joins_equal_a_brute_force_oracle(events in prop::collection::vec(event(), 0..200)) {
        let window = 10;
        let config = PerformanceConfig::default()
            .with_window(Duration::from_secs(window))
            .with_cohort(Duration::from_secs(3));
        let (clock, monitor) = monitor(config);
        let ids: Vec<PredictionId> = (0..12).map(|_| PredictionId::generate()).collect();
        let (mut oracle, mut now) = (Oracle::default(), 0);
        for event in events {
            match event {
                Event::Pass(seconds) => {
                    now += seconds;
                    clock.advance(Duration::from_secs(seconds));
                }
                Event::Predict { id, version, class } => {
                    let outputs = if class == 0 { [0.9, 0.1] } else { [0.1, 0.9] };
                    predict(&monitor, ids[id], VersionNumber(version), &outputs);
                    let life = oracle.life(id, now, window);
                    if life.predictions.iter().any(|(v, _)| *v == version) {
                        oracle.duplicate_predictions += 1;
                    } else {
                        life.predictions.push((version, class));
                    }
                }
                Event::Outcome { id, class } => {
                    monitor.outcome(ids[id], Truth::Class(class));
                    let life = oracle.life(id, now, window);
                    if life.outcome.is_some() {
                        oracle.duplicate_outcomes += 1;
                    } else {
                        life.outcome = Some(class);
                    }
                }
            }
        }
        clock.advance(Duration::from_secs(2 * window));
        for version in [1, 2] {
            let expected = oracle.scored(version);
            let scored = monitor.performance(VersionNumber(version)).map(|p| p.scored).unwrap_or_default();
            prop_assert_eq!((scored.predictions, scored.labelled, scored.wrong), expected);
        }
        let counts = monitor.counts();
        prop_assert_eq!(counts.open, 0);
        prop_assert_eq!(counts.duplicate_predictions, oracle.duplicate_predictions);
        prop_assert_eq!(counts.duplicate_outcomes, oracle.duplicate_outcomes);
        let lonely = oracle.lives.iter().filter(|l| l.predictions.is_empty() && l.outcome.is_some()).count();
        prop_assert_eq!(counts.unknown_outcomes, lonely as u64);
        let pairs: BTreeSet<_> = oracle.lives.iter().filter(|l| l.outcome.is_some())
            .flat_map(|l| l.predictions.iter().map(|p| (l.id, l.born, p.0))).collect();
        prop_assert_eq!(counts.joined, pairs.len() as u64);
    }
}
