//! All signals of a process, by name and labels.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mlp_core::{Clock, Labels};
use parking_lot::Mutex;

use super::config::SignalsConfig;
use super::name;
use super::recorder::{Counter, Gauge, Latency};
use super::series::{SeriesPoint, TimeSeries};
use super::window::{Latencies, WindowSummary};
use crate::error::{MonitorError, Result};
use crate::export::{Exposition, MetricKind};
use crate::rules::Observation;
use crate::ticker::Ticker;

/// The bounds of the histograms that Prometheus sees, in seconds.
const BOUNDS: [f64; 14] =
    [1e-5, 5e-5, 1e-4, 5e-4, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The signals of a process: recorded by any thread for some ten nanoseconds, and read in windows of time.
///
/// A tumbling window is the last complete one of [`SignalsConfig::window`]; a sliding one is made of the latest of those and of what has come
/// since. Time passes whenever something is read, and by [`tick`](Self::tick) or a [`ticker`](Self::ticker); what was recorded since the time
/// before belongs to the window that was open then, so tick several times a window. Windows are measured in monotonic time.
///
/// ```
/// use mlp_core::{Labels, ManualClock, Timestamp};
/// use mlp_monitor::{Signals, SignalsConfig, WindowSummary};
/// use std::{sync::Arc, time::Duration};
///
/// let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
/// let signals = Signals::new(SignalsConfig::default(), clock.clone())?;
/// let model: Labels = [("model".to_owned(), "wine".to_owned())].into();
/// let (requests, errors) = (signals.counter("requests", &model)?, signals.counter("errors", &model)?);
/// let latency = signals.latency("latency", &model)?;
/// signals.share("error_rate", &model, &errors, &requests)?;
///
/// requests.add(200); // in the serving threads
/// errors.add(1);
/// latency.record(Duration::from_micros(300));
///
/// clock.advance(Duration::from_secs(10));
/// assert_eq!(signals.tumbling("error_rate", &model), Some(WindowSummary::Share { events: 1, trials: 200 }));
/// let Some(WindowSummary::Latency(took)) = signals.sliding("latency", &model, Duration::from_secs(60)) else { panic!() };
/// assert!(took.p99 >= Duration::from_micros(300) && took.p99 < Duration::from_micros(304));
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    config: SignalsConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    series: BTreeMap<(String, Labels), Series>,
    /// The number of the open window.
    open: u128,
    overflowed: u64,
}

#[derive(Debug)]
struct Series {
    source: Source,
    /// When it began, in monotonic time.
    born: Duration,
    /// The closed windows, the latest last, and the open one behind them.
    windows: VecDeque<Window>,
    history: TimeSeries,
}

#[derive(Debug)]
enum Source {
    Counter { counter: Counter, seen: u64 },
    Gauge(Gauge),
    Latency { latency: Latency, total: Total },
    Share { events: Counter, trials: Counter, seen: (u64, u64) },
}

/// What Prometheus sees of latencies since the start.
#[derive(Debug, Default)]
struct Total {
    counts: [u64; BOUNDS.len() + 1],
    sum: u128,
}

#[derive(Debug, Clone)]
enum Window {
    Counter(u64),
    Gauge(f64),
    Latency(Latencies),
    Share(u64, u64),
}

impl Signals {
    /// No signals yet.
    ///
    /// # Errors
    /// If the window is zero, or nothing is to be kept.
    pub fn new(config: SignalsConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        let state = State { open: window_at(&config, clock.monotonic()), ..State::default() };
        Ok(Self { config, clock, state: Mutex::new(state) })
    }

    /// The counter of this name and these labels: a new one, or the one that is there.
    ///
    /// Keep it where it is used: recording into it takes no lock, looking it up takes one that all share; making it looks at every series. Labels
    /// without a value are none, as to Prometheus.
    ///
    /// # Errors
    /// If a name is not one of Prometheus, or another kind of signal has it; if Prometheus would see one name twice
    /// ([`expose`](Self::expose) tells the names); if there are more than 30 labels, or a name is longer than 200 bytes or a label's value than
    /// 1,000.
    pub fn counter(&self, name: &str, labels: &Labels) -> Result<Counter> {
        let new = || Source::Counter { counter: Counter::default(), seen: 0 };
        self.signal(name, labels, new, |source| match source {
            Source::Counter { counter, .. } => Some(counter.clone()),
            _ => None,
        })
    }

    /// The gauge of this name and these labels.
    ///
    /// # Errors
    /// As [`counter`](Self::counter), or if the name ends in `_total`, as counters do.
    pub fn gauge(&self, name: &str, labels: &Labels) -> Result<Gauge> {
        self.signal(
            name,
            labels,
            || Source::Gauge(Gauge::default()),
            |source| match source {
                Source::Gauge(gauge) => Some(gauge.clone()),
                _ => None,
            },
        )
    }

    /// The latencies of this name and these labels. Each thread that records into them takes some 18 kB, of up to sixteen; a window takes 16 bytes for
    /// each value that differs by a hundredth, which are some hundreds.
    ///
    /// # Errors
    /// As [`counter`](Self::counter).
    pub fn latency(&self, name: &str, labels: &Labels) -> Result<Latency> {
        let new = || Source::Latency { latency: Latency::default(), total: Total::default() };
        self.signal(name, labels, new, |source| match source {
            Source::Latency { latency, .. } => Some(latency.clone()),
            _ => None,
        })
    }

    /// A share of this name, such as an error rate: events by trials, both counted elsewhere.
    ///
    /// # Errors
    /// As [`counter`](Self::counter), and [`MonitorError::LimitExceeded`] if there are too many series: shares of several are not one share.
    pub fn share(
        &self,
        name: &str,
        labels: &Labels,
        events: &Counter,
        trials: &Counter,
    ) -> Result<()> {
        name::check(name, labels)?;
        self.tick();
        let mut state = self.state.lock();
        let key = name::key(name, labels);
        if state.series.contains_key(&key) {
            return Err(MonitorError::Duplicate { what: "signals", name: name.to_owned() });
        }
        if state.series.len() >= self.config.max_series {
            return Err(MonitorError::LimitExceeded {
                what: "series",
                limit: self.config.max_series,
            });
        }
        let seen = (events.total(), trials.total());
        let source = Source::Share { events: events.clone(), trials: trials.clone(), seen };
        state.check_kind(name, &source)?;
        state.series.insert(key, Series::new(source, &self.config, self.clock.monotonic()));
        Ok(())
    }

    fn signal<T>(
        &self,
        name: &str,
        labels: &Labels,
        new: impl FnOnce() -> Source,
        part: impl Fn(&Source) -> Option<T>,
    ) -> Result<T> {
        name::check(name, labels)?;
        let mut key = name::key(name, labels);
        if let Some(known) = self.state.lock().series.get(&key) {
            return part(&known.source).ok_or_else(|| other_kind(name));
        }
        self.tick();
        let source = new();
        let mut state = self.state.lock();
        state.check_kind(name, &source)?;
        let limit = self.config.max_series;
        // One place is kept for the rest of each name.
        if !state.series.contains_key(&key) && state.series.len() >= limit {
            state.overflowed += 1;
            key.1 = [("overflow".to_owned(), "true".to_owned())].into();
        }
        if !state.series.contains_key(&key) && state.series.len() >= 2 * limit {
            return Err(MonitorError::LimitExceeded { what: "names of signals", limit: 2 * limit });
        }
        let born = self.clock.monotonic();
        let series = state.series.entry(key);
        let series = series.or_insert_with(|| Series::new(source, &self.config, born));
        part(&series.source).ok_or_else(|| other_kind(name))
    }

    /// How many times a series was asked for beyond the most there may be.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.state.lock().overflowed
    }

    /// Collects what was recorded, and closes the windows whose time is over.
    pub fn tick(&self) {
        let (monotonic, now) = (self.clock.monotonic(), self.clock.now());
        let mut state = self.state.lock();
        let State { series, open, .. } = &mut *state;
        let at = window_at(&self.config, monotonic).max(*open);
        let closed = usize::try_from(at - *open).unwrap_or(usize::MAX);
        for series in series.values_mut() {
            series.collect();
            if closed > 0 {
                series.close(closed, &self.config, *open, now);
            }
        }
        *open = at;
    }

    /// Starts a thread that ticks; ten times a window is a good interval.
    ///
    /// # Errors
    /// If the interval is zero or no thread can be started.
    pub fn ticker(self: &Arc<Self>, interval: Duration) -> Result<Ticker> {
        let signals = Arc::clone(self);
        Ticker::start("mlp-signals-ticker", interval, move || signals.tick())
    }

    /// The last complete window; none for an unknown series, and if nothing was recorded in it.
    #[must_use]
    pub fn tumbling(&self, name: &str, labels: &Labels) -> Option<WindowSummary> {
        self.tick();
        let state = self.state.lock();
        let series = state.series.get(&name::key(name, labels))?;
        let closed = series.windows.len().checked_sub(2)?;
        let lasted = series.lasted(state.open.saturating_sub(1), &self.config);
        series.summary(closed..closed + 1, lasted)
    }

    /// The latest windows of so long a span together, as many as are kept at most, and what has come since; none as
    /// [`tumbling`](Self::tumbling).
    #[must_use]
    pub fn sliding(&self, name: &str, labels: &Labels, span: Duration) -> Option<WindowSummary> {
        self.tick();
        let state = self.state.lock();
        let series = state.series.get(&name::key(name, labels))?;
        series.sliding(&self.config, state.open, self.clock.monotonic(), span)
    }

    /// Every series in a sliding window as observations for rules: a counter as `NAME_per_second`, a gauge and a share by their names,
    /// latencies as `NAME_p50_ms` and `NAME_p99_ms`. What was not recorded is no data. A counter that is younger than a tumbling window is not among
    /// them: a few events within milliseconds are not thousands a second, and it is not silent either.
    #[must_use]
    pub fn observations(&self, span: Duration) -> Vec<(String, Labels, Observation)> {
        self.tick();
        let state = self.state.lock();
        let monotonic = self.clock.monotonic();
        let mut found = Vec::new();
        for ((name, labels), series) in &state.series {
            let is_young = monotonic.saturating_sub(series.born) < self.config.window;
            if is_young && matches!(series.source, Source::Counter { .. }) {
                continue;
            }
            let mut tell = |name: String, value: Option<f64>, count: Option<u64>| {
                let mut observation = Observation::from(value);
                observation.count = count;
                found.push((name, labels.clone(), observation));
            };
            let summary = series.sliding(&self.config, state.open, monotonic, span);
            match (&series.source, summary) {
                (_, Some(WindowSummary::Counter { per_second, .. })) => {
                    tell(format!("{name}_per_second"), Some(per_second), None);
                }
                (_, Some(WindowSummary::Gauge { last, .. })) => {
                    tell(name.clone(), Some(last), None);
                }
                (_, Some(WindowSummary::Share { events, trials })) => {
                    tell(name.clone(), Some(events as f64 / trials as f64), Some(trials));
                }
                (_, Some(WindowSummary::Latency(took))) => {
                    for (quantile, value) in [("p50", took.p50), ("p99", took.p99)] {
                        let millis = value.as_secs_f64() * 1e3;
                        tell(format!("{name}_{quantile}_ms"), Some(millis), Some(took.count));
                    }
                }
                (Source::Latency { .. }, None) => {
                    for at in ["p50", "p99"] {
                        tell(format!("{name}_{at}_ms"), None, Some(0));
                    }
                }
                (Source::Counter { .. }, None) => tell(format!("{name}_per_second"), None, None),
                (Source::Gauge(_), None) => tell(name.clone(), None, None),
                (Source::Share { .. }, None) => tell(name.clone(), None, Some(0)),
            }
        }
        found
    }

    /// The closed windows of a series over time, the oldest first: events a second, the gauge, the share, the 99th percentile in
    /// milliseconds. Windows without a value leave no point.
    #[must_use]
    pub fn history(&self, name: &str, labels: &Labels) -> Vec<SeriesPoint> {
        self.tick();
        let state = self.state.lock();
        let series = state.series.get(&name::key(name, labels));
        series.map(|series| series.history.points().copied().collect()).unwrap_or_default()
    }

    /// Writes all signals as Prometheus reads them: counters with `_total` behind their names, latencies as histograms in seconds with
    /// `_seconds` behind. Shares are left out: Prometheus computes them from the counters.
    ///
    /// # Errors
    /// If `metrics` has one of the names already.
    pub fn expose(&self, metrics: &mut Exposition) -> Result<()> {
        self.tick();
        let state = self.state.lock();
        let mut names: Vec<&String> = state.series.keys().map(|(name, _)| name).collect();
        names.dedup();
        for name in names {
            let of_name = state.series.iter().filter(|((other, _), _)| other == name);
            let mut of_name =
                of_name.map(|((_, labels), series)| (labels, &series.source)).peekable();
            let Some((_, first)) = of_name.peek() else { continue };
            let help = format!("The signal {name}.");
            let Some((name, kind)) = first.exposed(name) else { continue };
            let mut family = metrics.family(&name, kind, &help)?;
            for (labels, source) in of_name {
                match source {
                    Source::Counter { counter, .. } => {
                        family.sample(labels, counter.total() as f64)?
                    }
                    Source::Gauge(gauge) => family.sample(labels, gauge.get())?,
                    Source::Latency { total, .. } => {
                        let (buckets, count) = total.cumulated();
                        family.histogram(labels, &buckets, count, total.sum as f64 / 1e9)?;
                    }
                    Source::Share { .. } => {}
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// Refuses a kind that another series of the name does not have, and what [`Signals::expose`] could not write beside the others.
    fn check_kind(&self, name: &str, source: &Source) -> Result<()> {
        if matches!(source, Source::Gauge(_)) && name.ends_with("_total") {
            return Err(MonitorError::setting("name of a gauge", name, "not ending in _total"));
        }
        let written = source.written(name);
        let mut before = None;
        for ((other, _), series) in &self.series {
            // All series of a name are of one kind.
            if before.replace(other) == Some(other) {
                continue;
            }
            if other == name {
                if std::mem::discriminant(&series.source) != std::mem::discriminant(source) {
                    return Err(other_kind(name));
                }
                continue;
            }
            let mut theirs = series.source.written(other).into_iter();
            if let Some(name) = theirs.find(|theirs| written.contains(theirs)) {
                return Err(MonitorError::Duplicate { what: "exposed signals", name });
            }
        }
        Ok(())
    }
}

fn other_kind(name: &str) -> MonitorError {
    MonitorError::setting(format!("signal {name}"), "another kind", "of the kind it was made as")
}

impl Total {
    fn add(&mut self, nanos: u64, count: u64) {
        let seconds = nanos as f64 / 1e9;
        self.counts[BOUNDS.partition_point(|bound| *bound < seconds)] += count;
    }

    fn cumulated(&self) -> (Vec<(f64, u64)>, u64) {
        let mut below = 0;
        let mut add = |(bound, count): (&f64, &u64)| {
            below += count;
            (*bound, below)
        };
        let buckets = BOUNDS.iter().zip(&self.counts).map(&mut add).collect();
        (buckets, self.counts.iter().sum())
    }
}

impl Series {
    fn new(source: Source, config: &SignalsConfig, born: Duration) -> Self {
        let windows = VecDeque::from([source.window()]);
        Self { source, born, windows, history: TimeSeries::new(config.history) }
    }

    /// Takes what was recorded into the open window.
    fn collect(&mut self) {
        let Some(open) = self.windows.back_mut() else { return };
        match (&mut self.source, open) {
            (Source::Counter { counter, seen }, Window::Counter(events)) => {
                let total = counter.total();
                *events += total.wrapping_sub(std::mem::replace(seen, total));
            }
            (Source::Gauge(gauge), Window::Gauge(value)) => *value = gauge.get(),
            (Source::Latency { latency, total }, Window::Latency(latencies)) => {
                let sum = latency.collect(|least, greatest, count| {
                    latencies.add(greatest, count);
                    // What is exactly a bound belongs below it.
                    total.add(least, count);
                });
                latencies.add_sum(sum);
                total.sum += sum;
            }
            (Source::Share { events, trials, seen }, Window::Share(of, all)) => {
                // Trials are read last: an event is never without its trial.
                let now = (events.total(), trials.total());
                *of += now.0.wrapping_sub(seen.0);
                *all += now.1.wrapping_sub(seen.1);
                *seen = now;
            }
            _ => debug_assert!(false, "a series has windows of its own kind"),
        }
    }

    /// Closes the open window and so many less one after it, in which nothing was recorded.
    fn close(
        &mut self,
        closed: usize,
        config: &SignalsConfig,
        open: u128,
        now: mlp_core::Timestamp,
    ) {
        let last = self.windows.len() - 1;
        let lasted = self.lasted(open, config);
        if let Some(value) = self.summary(last..last + 1, lasted).and_then(|s| primary(&s)) {
            self.history.push(now, value);
        }
        for _ in 0..closed.min(config.windows + 1) {
            self.windows.push_back(self.source.window());
        }
        while self.windows.len() > config.windows + 1 {
            self.windows.pop_front();
        }
    }

    /// How long a window lasted for this series, which may have begun within it.
    fn lasted(&self, window: u128, config: &SignalsConfig) -> Duration {
        let end = nanos((window + 1).saturating_mul(config.window.as_nanos()));
        config.window.min(end.saturating_sub(self.born))
    }

    fn sliding(
        &self,
        config: &SignalsConfig,
        open: u128,
        monotonic: Duration,
        span: Duration,
    ) -> Option<WindowSummary> {
        let began = nanos(open.saturating_mul(config.window.as_nanos()));
        let since_open = monotonic.saturating_sub(began);
        let wanted = span.as_nanos().div_ceil(config.window.as_nanos());
        let closed = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.windows.len() - 1);
        let whole =
            u32::try_from(closed).map_or(Duration::MAX, |n| config.window.saturating_mul(n));
        self.summary(
            self.windows.len() - 1 - closed..self.windows.len(),
            whole.saturating_add(since_open).min(monotonic.saturating_sub(self.born)),
        )
    }

    fn summary(&self, which: std::ops::Range<usize>, lasted: Duration) -> Option<WindowSummary> {
        let windows = self.windows.range(which);
        match &self.source {
            Source::Counter { .. } => {
                let counts = windows.map(|w| if let Window::Counter(n) = w { *n } else { 0 });
                let events = counts.sum();
                Some(WindowSummary::Counter {
                    events,
                    per_second: events as f64 / lasted.as_secs_f64(),
                })
                .filter(|_| !lasted.is_zero())
            }
            Source::Gauge(_) => {
                let values = windows.map(|w| if let Window::Gauge(v) = w { *v } else { f64::NAN });
                let values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
                Some(WindowSummary::Gauge {
                    last: *values.last()?,
                    min: values.iter().copied().fold(f64::INFINITY, f64::min),
                    max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    mean: values.iter().sum::<f64>() / values.len() as f64,
                })
            }
            Source::Latency { .. } => {
                let mut all = Latencies::default();
                windows.for_each(|w| {
                    if let Window::Latency(some) = w {
                        all.merge(some)
                    }
                });
                all.summary().map(WindowSummary::Latency)
            }
            Source::Share { .. } => {
                let counts =
                    windows.map(|w| if let Window::Share(e, t) = w { (*e, *t) } else { (0, 0) });
                let (events, trials) = counts.fold((0, 0), |sum, w| (sum.0 + w.0, sum.1 + w.1));
                (trials > 0).then_some(WindowSummary::Share { events, trials })
            }
        }
    }
}

impl Source {
    /// Under which name and as what Prometheus sees a signal, if it does.
    fn exposed(&self, name: &str) -> Option<(String, MetricKind)> {
        match self {
            Self::Counter { .. } => {
                Some((format!("{}_total", name.trim_end_matches("_total")), MetricKind::Counter))
            }
            Self::Gauge(_) => Some((name.to_owned(), MetricKind::Gauge)),
            Self::Latency { .. } => Some((format!("{name}_seconds"), MetricKind::Histogram)),
            Self::Share { .. } => None,
        }
    }

    /// All names that are written for a signal.
    fn written(&self, name: &str) -> Vec<String> {
        self.exposed(name).map(|(name, kind)| kind.written(&name)).unwrap_or_default()
    }

    /// An empty window.
    fn window(&self) -> Window {
        match self {
            Self::Counter { .. } => Window::Counter(0),
            Self::Gauge(_) => Window::Gauge(f64::NAN),
            Self::Latency { .. } => Window::Latency(Latencies::default()),
            Self::Share { .. } => Window::Share(0, 0),
        }
    }
}

/// The number that stands for a window in a history.
fn primary(summary: &WindowSummary) -> Option<f64> {
    Some(match summary {
        WindowSummary::Counter { per_second, .. } => *per_second,
        WindowSummary::Gauge { last, .. } => *last,
        WindowSummary::Share { events, trials } => *events as f64 / *trials as f64,
        WindowSummary::Latency(took) => took.p99.as_secs_f64() * 1e3,
    })
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn window_at(config: &SignalsConfig, monotonic: Duration) -> u128 {
    monotonic.as_nanos() / config.window.as_nanos()
}
