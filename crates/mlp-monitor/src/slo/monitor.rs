//! A service-level objective followed over all its windows, from counters.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Clock, Labels};
use parking_lot::Mutex;

use super::{BurnRateTier, EventCounts, Slo};
use crate::error::{MonitorError, Result};
use crate::rules::{Limit, Observation, Rule};
use crate::signals::Counter;

/// A window is held in so many parts: it is longer than it should be by at most one of them.
const PARTS: u32 = 60;

/// Holds an objective's windows (of the workbook's tiers 5 minutes to 3 days, and the period of the budget) and tells rules how fast the
/// budget burns.
///
/// Windows are measured in monotonic time, each in sixty parts: memory does not depend on traffic. What was counted since the time before belongs
/// to the part that is open, so tick at least as often as a sixtieth of the shortest window (every 5 s for 5 minutes). After a restart it
/// knows what has been counted since; longer windows then hold no more than that.
///
/// ```
/// use mlp_core::{Labels, ManualClock, Timestamp};
/// use mlp_monitor::{RuleEngine, Signals, SignalsConfig, Slo, SloMonitor};
/// use std::{sync::Arc, time::Duration};
///
/// let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
/// let signals = Signals::new(SignalsConfig::default(), clock.clone())?;
/// let (errors, requests) = (signals.counter("errors", &Labels::new())?, signals.counter("requests", &Labels::new())?);
/// let slo = Slo::new(0.999, Duration::from_secs(30 * 86_400))?;
/// let watched = SloMonitor::new("availability", slo, errors.clone(), requests.clone(), clock.clone())?;
/// let rules = RuleEngine::new(watched.rules("https://runbooks.example/availability")?, clock.clone())?;
///
/// let mut alerts = Vec::new();
/// for _ in 0..60 {
///     requests.add(1_000);
///     errors.add(20); // twenty times what the budget allows
///     clock.advance(Duration::from_secs(60));
///     for (signal, subject, observation) in watched.observations(&Labels::new()) {
///         alerts.extend(rules.observe(signal, &subject, observation)?);
///     }
/// }
/// assert_eq!(alerts[0].labels["window"], "1h");
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct SloMonitor {
    name: String,
    slo: Slo,
    tiers: Vec<BurnRateTier>,
    bad: Counter,
    total: Counter,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: EventCounts,
    windows: Vec<Window>,
}

/// The events of the latest span of some length.
#[derive(Debug)]
struct Window {
    length: Duration,
    /// The number of the open part.
    open: u128,
    /// The parts, the open one last: one more than make the length.
    parts: VecDeque<EventCounts>,
}

impl Window {
    fn new(length: Duration, now: Duration) -> Self {
        let mut window = Self { length, open: 0, parts: VecDeque::from([EventCounts::default()]) };
        window.open = window.part_at(now);
        window
    }

    fn part_at(&self, now: Duration) -> u128 {
        now.as_nanos() / (self.length.as_nanos() / u128::from(PARTS)).max(1)
    }

    fn add(&mut self, events: EventCounts, now: Duration) {
        if let Some(open) = self.parts.back_mut() {
            open.bad += events.bad;
            open.total += events.total;
        }
        let at = self.part_at(now).max(self.open);
        for _ in 0..(at - self.open).min(u128::from(PARTS) + 1) {
            self.parts.push_back(EventCounts::default());
        }
        while self.parts.len() > PARTS as usize + 1 {
            self.parts.pop_front();
        }
        self.open = at;
    }

    fn sum(&self) -> EventCounts {
        let add = |sum: EventCounts, part: &EventCounts| EventCounts {
            bad: sum.bad + part.bad,
            total: sum.total + part.total,
        };
        self.parts.iter().fold(EventCounts::default(), add)
    }
}

impl SloMonitor {
    /// Follows `bad` of `total` events by the tiers of the SRE workbook, from now on.
    ///
    /// # Errors
    /// If the name is empty.
    pub fn new(
        name: impl Into<String>,
        slo: Slo,
        bad: Counter,
        total: Counter,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let name = name.into();
        if name.is_empty() {
            return Err(MonitorError::setting("name of an objective", "empty", "not empty"));
        }
        let seen = EventCounts { bad: bad.total(), total: total.total() };
        let state = Mutex::new(State { seen, windows: Vec::new() });
        let tiers = BurnRateTier::workbook().to_vec();
        Self { name, slo, tiers: Vec::new(), bad, total, clock, state }.with_tiers(tiers)
    }

    /// Sets the tiers; what was counted in windows before is forgotten.
    ///
    /// # Errors
    /// If there are none or more than 20, two have the same long window, a short window is longer than its long one, or a threshold is not above 0.
    pub fn with_tiers(mut self, tiers: Vec<BurnRateTier>) -> Result<Self> {
        if !(1..=20).contains(&tiers.len()) {
            return Err(MonitorError::setting("tiers", tiers.len(), "1 to 20"));
        }
        tiers.iter().try_for_each(BurnRateTier::check)?;
        for (at, tier) in tiers.iter().enumerate() {
            if tiers[..at].iter().any(|other| other.long == tier.long) {
                let name = text(tier.long);
                return Err(MonitorError::Duplicate { what: "tiers", name });
            }
        }
        let now = self.clock.monotonic();
        let spans = tiers.iter().flat_map(|tier| [tier.long, tier.short]);
        let mut lengths: Vec<Duration> = spans.chain([self.slo.period()]).collect();
        lengths.sort();
        lengths.dedup();
        self.state.get_mut().windows =
            lengths.into_iter().map(|length| Window::new(length, now)).collect();
        self.tiers = tiers;
        Ok(self)
    }

    /// Collects what was counted since the last time.
    pub fn tick(&self) {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        // Bad ones are read first: there are never more of them than of all.
        let counted = EventCounts { bad: self.bad.total(), total: self.total.total() };
        let total = counted.total.wrapping_sub(state.seen.total);
        let fresh = EventCounts { bad: counted.bad.wrapping_sub(state.seen.bad), total };
        state.seen = counted;
        state.windows.iter_mut().for_each(|window| window.add(fresh, now));
    }

    /// The events of the latest span of this length, which must be a window of a tier or the period; none for another.
    #[must_use]
    pub fn events(&self, length: Duration) -> Option<EventCounts> {
        self.tick();
        let state = self.state.lock();
        state.windows.iter().find(|window| window.length == length).map(Window::sum)
    }

    /// Observations for rules on `subject`, with the name of the objective as label `slo` added: `error_budget_left`, the share of the period's
    /// budget, and for each tier, with its long window as label `window`, `burn_rate_excess`: how many times faster than the tier's threshold
    /// the budget burns, in the slower of its two windows; 0 with too few bad events, no data without events.
    #[must_use]
    pub fn observations(&self, subject: &Labels) -> Vec<(&'static str, Labels, Observation)> {
        let of = |length| self.events(length).unwrap_or_default();
        let mut labels = subject.clone();
        labels.insert("slo".to_owned(), self.name.clone());
        let all = of(self.slo.period());
        let left = (all.total > 0).then(|| self.slo.budget_left(all));
        let left = Observation::from(left).with_count(all.total);
        let mut observed = vec![("error_budget_left", labels.clone(), left)];
        for tier in &self.tiers {
            let (long, short) = (of(tier.long), of(tier.short));
            let excess = tier.excess(&self.slo, long).min(tier.excess(&self.slo, short));
            let excess = if long.bad < tier.minimum_bad { 0.0 } else { excess };
            let value = (long.total > 0).then_some(excess);
            let mut labels = labels.clone();
            labels.insert("window".to_owned(), text(tier.long));
            let observation = Observation::from(value).with_count(long.total);
            observed.push(("burn_rate_excess", labels, observation));
        }
        observed
    }

    /// A rule for each tier, which fires as the workbook has it ([`BurnRateTier::fires`]).
    ///
    /// # Errors
    /// If there is no URL of a runbook.
    pub fn rules(&self, runbook_url: &str) -> Result<Vec<Rule>> {
        let rule = |tier: &BurnRateTier| {
            let window = text(tier.long);
            let name = format!("{}_burns_over_{window}", self.name);
            Ok(Rule::new(name, "burn_rate_excess", runbook_url)?
                .with_subject("slo", &self.name)
                .with_subject("window", &window)
                .with_summary(format!("The error budget of {} burns too fast.", self.name))
                .with_critical(Limit::above(1.0), tier.severity))
        };
        self.tiers.iter().map(rule).collect()
    }
}

/// A span as people write it, such as 72h.
fn text(span: Duration) -> String {
    match span.as_secs() {
        hours if hours >= 3_600 && hours % 3_600 == 0 => format!("{}h", hours / 3_600),
        minutes if minutes >= 60 && minutes % 60 == 0 => format!("{}m", minutes / 60),
        _ => format!("{span:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RuleEngine;
    use mlp_core::{AlertStatus, ManualClock, Severity, Timestamp};

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);

    struct Service {
        clock: Arc<ManualClock>,
        monitor: SloMonitor,
        rules: RuleEngine,
        told: Vec<(u64, String, AlertStatus, Severity)>,
        minute: u64,
    }

    impl Service {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
            let slo = Slo::new(0.999, 30 * 24 * HOUR).unwrap();
            let (bad, total) = (Counter::default(), Counter::default());
            let monitor = SloMonitor::new("availability", slo, bad, total, clock.clone()).unwrap();
            let rules = monitor.rules("https://runbooks/slo").unwrap();
            let rules = RuleEngine::new(rules, clock.clone()).unwrap();
            Self { clock, monitor, rules, told: Vec::new(), minute: 0 }
        }

        /// So many minutes of a thousand requests, of which some are bad.
        fn run(&mut self, minutes: u64, bad: u64) {
            for _ in 0..minutes {
                self.monitor.bad.add(bad);
                self.monitor.total.add(1_000);
                self.clock.advance(MINUTE);
                self.minute += 1;
                for (signal, labels, value) in self.monitor.observations(&Labels::new()) {
                    for alert in self.rules.observe(signal, &labels, value).unwrap() {
                        let window = alert.labels["window"].clone();
                        self.told.push((self.minute, window, alert.status, alert.severity));
                    }
                }
            }
        }

        fn firing(&self, window: &str) -> Option<(u64, Severity)> {
            let fired = self
                .told
                .iter()
                .find(|(_, of, status, _)| of == window && *status == AlertStatus::Firing);
            fired.map(|(minute, .., severity)| (*minute, *severity))
        }
    }

    #[test]
    fn a_slow_burn_is_a_ticket_and_a_fast_one_a_page_that_ends_soon_after_it() {
        let mut slow = Service::new();
        slow.run(24 * 60, 0);
        // Twice what the budget allows: a ticket within three days, no page.
        slow.run(72 * 60, 2);
        assert_eq!(slow.firing("72h").map(|(_, severity)| severity), Some(Severity::P2));
        assert_eq!((slow.firing("1h"), slow.firing("6h")), (None, None));

        let mut fast = Service::new();
        fast.run(24 * 60, 0);
        fast.run(60, 30);
        let (minute, severity) = fast.firing("1h").unwrap();
        // Thirty times: half an hour of it is 14.4 times over an hour.
        assert!((1_440 + 27..=1_440 + 32).contains(&minute), "{minute}");
        assert_eq!(severity, Severity::P0);
        fast.run(10, 0);
        let over = fast
            .told
            .iter()
            .find(|(_, of, status, _)| of == "1h" && *status == AlertStatus::Resolved);
        assert!(over.unwrap().0 <= 1_440 + 60 + 6, "the short window is over: {over:?}");
    }

    #[test]
    fn within_the_budget_nothing_is_told_and_the_budget_left_is() {
        let mut service = Service::new();
        service.run(4 * 24 * 60, 1);
        assert_eq!(service.told, []);
        let observed = service.monitor.observations(&Labels::new());
        let (signal, labels, left) = &observed[0];
        assert_eq!((*signal, labels["slo"].as_str()), ("error_budget_left", "availability"));
        assert!(left.value.unwrap().abs() < 1e-9, "{left:?}");
        assert_eq!(left.count, Some(4 * 24 * 60 * 1_000));
    }

    #[test]
    fn windows_forget_what_is_older_within_a_sixtieth() {
        let mut service = Service::new();
        service.run(5, 100);
        let five = service.monitor.events(5 * MINUTE).unwrap();
        assert_eq!(five, EventCounts { bad: 500, total: 5_000 });
        service.run(60, 0);
        assert_eq!(service.monitor.events(5 * MINUTE).unwrap().bad, 0);
        assert_eq!(service.monitor.events(6 * HOUR).unwrap().bad, 500);
        assert_eq!(service.monitor.events(7 * HOUR), None);
        service.clock.advance(40 * 24 * HOUR);
        assert_eq!(service.monitor.events(30 * 24 * HOUR), Some(EventCounts::default()));
        let observed = service.monitor.observations(&Labels::new());
        assert!(observed.iter().all(|(.., observation)| observation.value.is_none()));
    }

    #[test]
    fn tiers_that_make_no_sense_are_refused() {
        let tier = |long, short, threshold| BurnRateTier::new(long, short, threshold, Severity::P0);
        for tiers in [
            vec![],
            vec![tier(MINUTE, HOUR, 1.0)],
            vec![tier(HOUR, Duration::ZERO, 1.0)],
            vec![tier(HOUR, MINUTE, 0.0)],
            vec![tier(HOUR, MINUTE, 1.0), tier(HOUR, 2 * MINUTE, 2.0)],
        ] {
            assert!(Service::new().monitor.with_tiers(tiers.clone()).is_err(), "{tiers:?}");
        }
        let few = vec![tier(2 * HOUR, 10 * MINUTE, 3.0)];
        assert_eq!(Service::new().monitor.with_tiers(few).unwrap().rules("u").unwrap().len(), 1);
    }
}
