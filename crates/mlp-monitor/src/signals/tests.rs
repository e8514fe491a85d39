use super::*;
use crate::{Exposition, Limit, MonitorError, NoData, Rule, RuleEngine};
use mlp_core::{Labels, ManualClock, Severity, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn signals(config: SignalsConfig) -> (Arc<ManualClock>, Signals) {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    (clock.clone(), Signals::new(config, clock).unwrap())
}

fn none() -> Labels {
    Labels::new()
}

#[test]
fn a_tumbling_window_is_the_last_complete_one_and_a_sliding_one_moves() {
    let (clock, signals) = signals(SignalsConfig::default());
    let requests = signals.counter("requests", &none()).unwrap();
    let events = |summary: Option<WindowSummary>| match summary {
        Some(WindowSummary::Counter { events, per_second }) => Some((events, per_second)),
        _ => None,
    };
    for second in 0..30 {
        requests.add(if second < 10 { 1 } else { 2 });
        clock.advance(SECOND);
        signals.tick();
    }
    assert_eq!(events(signals.tumbling("requests", &none())), Some((20, 2.0)));
    assert_eq!(events(signals.sliding("requests", &none(), 30 * SECOND)), Some((50, 50.0 / 30.0)));
    assert_eq!(events(signals.sliding("requests", &none(), 15 * SECOND)), Some((40, 2.0)));
    requests.add(5);
    clock.advance(5 * SECOND);
    assert_eq!(events(signals.tumbling("requests", &none())), Some((20, 2.0)), "not complete yet");
    assert_eq!(events(signals.sliding("requests", &none(), 10 * SECOND)), Some((25, 25.0 / 15.0)));
    clock.advance(3_600 * SECOND);
    assert_eq!(events(signals.tumbling("requests", &none())), Some((0, 0.0)));
    assert_eq!(requests.total(), 55);
    assert_eq!(signals.tumbling("unknown", &none()), None);
}

#[test]
fn a_clock_that_goes_backwards_changes_no_window() {
    let (clock, signals) = signals(SignalsConfig::default());
    let requests = signals.counter("requests", &none()).unwrap();
    requests.add(7);
    clock.set_wall(Timestamp::from_micros(-1_000_000_000));
    clock.advance(10 * SECOND);
    let summary = signals.tumbling("requests", &none());
    assert_eq!(summary, Some(WindowSummary::Counter { events: 7, per_second: 0.7 }));
}

#[test]
fn quantiles_of_merged_windows_are_within_a_hundredth() {
    let (clock, signals) = signals(SignalsConfig::default());
    let latency = signals.latency("latency", &none()).unwrap();
    for window in 0..4_u64 {
        for k in 1..=10_000_u64 {
            latency.record(Duration::from_nanos((k * 4 + window) * 1_000));
        }
        clock.advance(10 * SECOND);
        signals.tick();
    }
    let Some(WindowSummary::Latency(took)) = signals.sliding("latency", &none(), 40 * SECOND)
    else {
        panic!("nothing was recorded");
    };
    assert_eq!(took.count, 40_000);
    for (found, exact) in
        [(took.p50, 20_000), (took.p90, 36_000), (took.p99, 39_600), (took.max, 40_003)]
    {
        let off = found.as_secs_f64() / (f64::from(exact) * 1e-6) - 1.0;
        assert!(off.abs() < 0.01, "{found:?}, expected {exact} µs");
    }
    assert!((took.mean.as_secs_f64() - 20_003.5e-6).abs() < 1e-9, "{:?}", took.mean);
    latency.record(Duration::ZERO);
    latency.record(Duration::MAX);
    clock.advance(10 * SECOND);
    let Some(WindowSummary::Latency(took)) = signals.tumbling("latency", &none()) else { panic!() };
    assert_eq!((took.count, took.max.as_secs() / 36), (2, 100), "an hour, within a hundredth");
}

#[test]
fn threads_lose_nothing() {
    let (clock, signals) = signals(SignalsConfig::default());
    let (requests, latency) = (
        signals.counter("requests", &none()).unwrap(),
        signals.latency("latency", &none()).unwrap(),
    );
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    requests.add(1);
                    latency.record(Duration::from_micros(10));
                }
            });
        }
        (0..100).for_each(|_| signals.tick());
    });
    clock.advance(10 * SECOND);
    assert_eq!(requests.total(), 100_000);
    let Some(WindowSummary::Latency(took)) = signals.tumbling("latency", &none()) else { panic!() };
    assert_eq!(took.count, 100_000);
}

#[test]
fn labels_are_bounded_and_the_rest_is_counted_together() {
    let (clock, signals) = signals(SignalsConfig::default().with_max_series(3));
    for user in 0..1_000 {
        let labels = [("user".to_owned(), user.to_string())].into();
        signals.counter("requests", &labels).unwrap().add(1);
    }
    clock.advance(10 * SECOND);
    assert_eq!(signals.overflowed(), 997);
    let rest: Labels = [("overflow".to_owned(), "true".to_owned())].into();
    let summary = signals.tumbling("requests", &rest);
    assert_eq!(summary, Some(WindowSummary::Counter { events: 997, per_second: 99.7 }));
    assert!(signals.gauge("requests", &rest).is_err(), "another kind");
    for name in ["", "a-b", "1a", "__a", "le"] {
        assert!(signals.counter(name, &none()).is_err(), "{name:?}");
        let labels = [(name.to_owned(), String::new())].into();
        assert!(signals.gauge("a", &labels).is_err(), "{name:?}");
    }
}

#[test]
fn names_labels_and_values_are_bounded_in_length() {
    let (_clock, signals) = signals(SignalsConfig::default());
    let label = |name: &str, value: &str| Labels::from([(name.to_owned(), value.to_owned())]);
    assert!(signals.counter("a", &label("user", &"x".repeat(1_000))).is_ok());
    let long = signals.counter("a", &label("user", &"x".repeat(1 << 20))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
    assert!(signals.counter("a", &label(&"n".repeat(201), "")).is_err());
    assert!(signals.counter(&"n".repeat(201), &none()).is_err());
    let many = (0..31).map(|k| (format!("l{k}"), String::new())).collect();
    assert!(signals.counter("a", &many).is_err());
    for wrong in [
        SignalsConfig::default().with_windows(usize::MAX),
        SignalsConfig::default().with_max_series(usize::MAX),
        SignalsConfig::default().with_history(usize::MAX),
    ] {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        assert!(Signals::new(wrong, clock).is_err());
    }
}

#[test]
fn extreme_values_survive_being_written_and_read() {
    let (clock, signals) = signals(SignalsConfig::default());
    let gauge = signals.gauge("g", &none()).unwrap();
    let mut series = TimeSeries::new(10);
    for value in [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, -0.0] {
        gauge.set(value);
        clock.advance(10 * SECOND);
        let summary = signals.tumbling("g", &none());
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Option<WindowSummary>>(&text).unwrap(), summary);
        series.push(Timestamp::UNIX_EPOCH, value);
    }
    let text = serde_json::to_string(&series).unwrap();
    assert_eq!(serde_json::from_str::<TimeSeries>(&text).unwrap(), series);
    for (part, instead) in [
        ("\"capacity\":10", "\"capacity\":18446744073709551615"),
        ("\"capacity\":10", "\"capacity\":4"),
        ("\"count\":1", "\"count\":0"),
        ("{\"capacity\"", "{\"more\":1,\"capacity\""),
    ] {
        let wrong = text.replacen(part, instead, 1);
        assert!(wrong != text && serde_json::from_str::<TimeSeries>(&wrong).is_err(), "{instead}");
    }
}

#[test]
fn a_rate_counts_from_when_its_series_began() {
    let (clock, signals) = signals(SignalsConfig::default());
    clock.advance(8 * SECOND);
    signals.counter("requests", &none()).unwrap().add(6);
    clock.advance(SECOND);
    let rate = |summary| match summary {
        Some(WindowSummary::Counter { per_second, .. }) => per_second,
        other => panic!("{other:?}"),
    };
    assert_eq!(rate(signals.sliding("requests", &none(), 10 * SECOND)), 6.0);
    clock.advance(SECOND);
    assert_eq!(rate(signals.tumbling("requests", &none())), 3.0);
    assert_eq!(signals.history("requests", &none())[0].mean, 3.0);
}

#[test]
fn a_name_is_of_one_kind_and_prometheus_sees_it_once() {
    let (_clock, signals) = signals(SignalsConfig::default().with_max_series(10));
    let labels = [("a".to_owned(), "b".to_owned())].into();
    let requests = signals.counter("requests", &none()).unwrap();
    assert!(signals.gauge("requests", &labels).is_err());
    assert!(signals.share("requests", &labels, &requests, &requests).is_err());
    assert!(matches!(
        signals.counter("requests_total", &none()),
        Err(MonitorError::Duplicate { name, .. }) if name == "requests_total"
    ));
    assert!(signals.gauge("requests_total", &none()).is_err());
    signals.counter("requests", &labels).unwrap();
    signals.expose(&mut Exposition::new()).unwrap();
    let made = (0..100).take_while(|k| signals.gauge(&format!("g{k}"), &none()).is_ok());
    assert_eq!(made.count(), 18, "names are bounded too");
}

#[test]
fn a_label_without_a_value_is_none() {
    let (clock, signals) = signals(SignalsConfig::default());
    let empty = Labels::from([("tenant".to_owned(), String::new())]);
    signals.counter("requests", &empty).unwrap().add(3);
    signals.counter("requests", &none()).unwrap().add(4);
    signals.gauge("queue", &none()).unwrap().set(2.0);
    clock.advance(10 * SECOND);
    for labels in [&none(), &empty] {
        let summary = signals.tumbling("requests", labels);
        assert_eq!(summary, Some(WindowSummary::Counter { events: 7, per_second: 0.7 }));
        assert!(signals.sliding("requests", labels, 10 * SECOND).is_some());
        assert_eq!(signals.history("requests", labels).len(), 1);
        assert_eq!(signals.gauge("queue", labels).unwrap().get(), 2.0);
    }
    let [events, trials] = ["e", "t"].map(|name| signals.counter(name, &none()).unwrap());
    signals.share("share", &empty, &events, &trials).unwrap();
    assert!(signals.share("share", &none(), &events, &trials).is_err(), "it is there already");
    let mut metrics = Exposition::new();
    signals.expose(&mut metrics).unwrap();
    assert!(metrics.into_text().contains("requests_total 7\n"));
}

#[test]
fn what_could_not_be_exposed_is_refused_when_it_is_made_and_the_rest_is_exposed() {
    let (_clock, signals) = signals(SignalsConfig::default());
    assert!(signals.gauge("gpu_memory_total", &none()).is_err(), "it ends as a counter does");
    signals.latency("fetch", &none()).unwrap();
    for name in
        ["fetch_seconds", "fetch_seconds_count", "fetch_seconds_sum", "fetch_seconds_bucket"]
    {
        let refused = signals.gauge(name, &none());
        assert!(matches!(refused, Err(MonitorError::Duplicate { .. })), "{name}: {refused:?}");
    }
    signals.gauge("load_seconds_count", &none()).unwrap();
    assert!(matches!(signals.latency("load", &none()), Err(MonitorError::Duplicate { .. })));
    signals.gauge("fetch_seconds_most", &none()).unwrap();
    signals.counter("fetch_seconds", &none()).unwrap();
    signals.expose(&mut Exposition::new()).unwrap();
}

#[test]
fn rules_hear_nothing_of_a_counter_before_it_is_a_window_old() {
    let (clock, signals) = signals(SignalsConfig::default());
    let rule = Rule::new("no_requests", "requests_per_second", "https://runbooks/silence").unwrap();
    let rule = rule.with_critical(Limit::below(0.1), Severity::P1);
    let rule = rule.with_no_data(NoData::Alert(Severity::P1));
    let rules = RuleEngine::new(vec![rule], clock.clone()).unwrap();
    clock.advance(8 * SECOND);
    let requests = signals.counter("requests", &none()).unwrap();
    let rate = || {
        let observed = signals.observations(60 * SECOND);
        let rate = observed.first().and_then(|(_, _, observation)| observation.value);
        for (name, labels, observation) in observed {
            assert_eq!(name, "requests_per_second");
            assert_eq!(rules.observe(&name, &labels, observation).unwrap(), []);
        }
        rate
    };
    requests.add(10);
    for millis in [2, 2_000, 7_997] {
        clock.advance(Duration::from_millis(millis));
        assert_eq!(rate(), None, "ten requests within milliseconds are no 5,000 a second");
    }
    clock.advance(SECOND / 1_000);
    assert_eq!(rate(), Some(1.0));
}

#[test]
fn a_share_without_trials_is_no_data_and_rules_judge_the_others() {
    let (clock, signals) = signals(SignalsConfig::default());
    let [errors, requests] =
        ["errors", "requests"].map(|name| signals.counter(name, &none()).unwrap());
    signals.share("error_rate", &none(), &errors, &requests).unwrap();
    signals.gauge("queue", &none()).unwrap().set(3.0);
    let rule = Rule::new("errors", "error_rate", "https://runbooks/errors").unwrap();
    let rule = rule.with_critical(Limit::above(0.01), Severity::P1).with_minimum_count(100);
    let rules = RuleEngine::new(vec![rule], clock.clone()).unwrap();
    let alerts = |events, trials| {
        errors.add(events);
        requests.add(trials);
        clock.advance(10 * SECOND);
        let observed = signals.observations(10 * SECOND).into_iter();
        observed
            .flat_map(|(signal, labels, value)| rules.observe(&signal, &labels, value).unwrap())
            .count()
    };
    let named = |name: &str| {
        let found = signals.observations(10 * SECOND);
        found.into_iter().find(|(signal, ..)| signal == name).unwrap().2.value
    };
    assert_eq!(named("error_rate"), None);
    assert_eq!(alerts(10, 1_000), 0, "equal to the limit");
    assert_eq!(named("error_rate"), Some(0.01));
    assert_eq!((named("requests_per_second"), named("queue")), (Some(100.0), Some(3.0)));
    clock.advance(100 * SECOND);
    signals.tick();
    assert_eq!(alerts(5, 50), 0, "too few");
    clock.advance(100 * SECOND);
    signals.tick();
    assert_eq!(alerts(11, 1_000), 1);
}

#[test]
fn a_history_is_bounded_and_old_peaks_are_still_seen() {
    let mut series = TimeSeries::new(20);
    for second in 0..100_000_i64 {
        let value = if second == 98_500 { 1e6 } else { (second % 7) as f64 };
        series.push(Timestamp::from_micros(second * 1_000_000), value);
    }
    series.push(Timestamp::from_micros(0), f64::NAN);
    let points: Vec<_> = series.points().copied().collect();
    assert!(points.len() <= 61, "{}", points.len());
    assert!(points.iter().any(|point| point.max == 1e6), "the peak is gone");
    let covered: u64 = points.iter().map(|point| point.count).sum();
    assert!((2_000..=2_320).contains(&covered), "{covered}");
    assert!(points.is_sorted_by_key(|point| point.at));
    assert_eq!(points.last().unwrap().at, Timestamp::from_micros(99_999_000_000));
}

#[test]
fn a_window_leaves_a_point_in_the_history() {
    let (clock, signals) = signals(SignalsConfig::default());
    let gauge = signals.gauge("queue", &none()).unwrap();
    for value in [1.0, 2.0, f64::NAN, 4.0] {
        gauge.set(value);
        clock.advance(5 * SECOND);
        signals.tick();
        clock.advance(5 * SECOND);
        signals.tick();
    }
    let history = signals.history("queue", &none());
    assert_eq!(history.iter().map(|point| point.mean).collect::<Vec<_>>(), [1.0, 2.0, 4.0]);
    assert_eq!(history[0].at, Timestamp::from_micros(10_000_000));
}

#[test]
fn prometheus_sees_totals_and_histograms() {
    let (_clock, signals) = signals(SignalsConfig::default());
    let model: Labels = [("model".to_owned(), "wine".to_owned())].into();
    signals.counter("requests", &model).unwrap().add(3);
    signals.gauge("queue", &none()).unwrap().set(2.0);
    let latency = signals.latency("latency", &model).unwrap();
    for millis in [1, 2, 60] {
        latency.record(Duration::from_millis(millis));
    }
    let mut metrics = Exposition::new();
    signals.expose(&mut metrics).unwrap();
    let text = metrics.into_text();
    for line in [
        "requests_total{model=\"wine\"} 3\n",
        "queue 2\n",
        "latency_seconds_bucket{model=\"wine\",le=\"0.0005\"} 0\n",
        "latency_seconds_bucket{model=\"wine\",le=\"0.001\"} 1\n",
        "latency_seconds_bucket{model=\"wine\",le=\"0.0025\"} 2\n",
        "latency_seconds_bucket{model=\"wine\",le=\"0.05\"} 2\n",
        "latency_seconds_bucket{model=\"wine\",le=\"+Inf\"} 3\n",
        "latency_seconds_sum{model=\"wine\"} 0.063\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[test]
fn a_ticker_lets_time_pass_until_it_is_dropped() {
    let points_within = |span: Duration| {
        let config = SignalsConfig::default().with_window(Duration::from_millis(20));
        let clock = Arc::new(mlp_core::SystemClock::new());
        let signals = Arc::new(Signals::new(config, clock).unwrap());
        let gauge = signals.gauge("queue", &none()).unwrap();
        gauge.set(1.0);
        assert!(signals.ticker(Duration::ZERO).is_err());
        let ticker = signals.ticker(Duration::from_millis(5)).unwrap();
        std::thread::sleep(span);
        drop(ticker);
        signals.history("queue", &none()).len()
    };
    // Reading closes windows too, but a single reading leaves a single point. On a busy machine the thread may hardly get a turn.
    let lets_pass = [500, 5_000, 50_000].map(Duration::from_millis);
    assert!(lets_pass.into_iter().any(|span| points_within(span) >= 3));
}

#[cfg(feature = "sysinfo")]
#[test]
fn the_process_and_the_machine_are_measured() {
    let signals =
        Signals::new(SignalsConfig::default(), Arc::new(mlp_core::SystemClock::new())).unwrap();
    let system = SystemSignals::new(&signals).unwrap();
    let read = |name| signals.gauge(name, &none()).unwrap().get();
    assert!(read("process_cpu").is_nan(), "nothing to compare with yet");
    let work = || {
        let started = std::time::Instant::now();
        let mut sum = 0.0_f64;
        while started.elapsed() < Duration::from_millis(400) {
            sum += std::hint::black_box(sum).sin();
        }
    };
    // How much of a processor it gets is for the machine to say, and may be next to nothing for a while; what it gets is used.
    let started = std::time::Instant::now();
    loop {
        work();
        system.refresh();
        if read("process_cpu") > 0.01 || started.elapsed() > Duration::from_secs(60) {
            break;
        }
    }
    assert!(read("process_cpu") > 0.01, "{}", read("process_cpu"));
    assert!((1e6..1e12).contains(&read("process_memory_bytes")));
    for share in ["machine_cpu", "machine_memory"] {
        assert!(read(share) > 0.0 && read(share) <= 1.0, "{share} {}", read(share));
    }
}
