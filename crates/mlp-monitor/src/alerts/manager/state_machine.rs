//! Random commands with crashes and outages, against a model of one alert that is as plain as possible.

use super::tests::{HOUR, MINUTE, alert};
use super::*;
use crate::MemoryAlertStore;
use mlp_core::{AlertStatus, ManualClock, Notification, Severity, SinkError};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

const WAIT: Duration = MINUTE;
const INTERVAL: Duration = Duration::from_secs(5 * 60);
const REPEAT: Duration = HOUR;
const ESCALATION: Duration = Duration::from_secs(30 * 60);
const ALERTS: usize = 3;

#[derive(Debug, Clone)]
enum Command {
    Raise(usize, Severity),
    Clear(usize),
    Silence(usize, Duration),
    EndSilence,
    Acknowledge(usize),
    Tick(Duration),
    /// The process ends here; another one goes on.
    Crash,
    /// The process ends within the next delivery, after the receiver has heard it.
    CrashWhileTelling,
    SinkDown,
    SinkUp,
}

fn command() -> impl Strategy<Value = Command> {
    let which = || 0..ALERTS;
    let severity = prop_oneof![Just(Severity::P0), Just(Severity::P1), Just(Severity::P2)];
    prop_oneof![
        6 => (which(), severity).prop_map(|(which, severity)| Command::Raise(which, severity)),
        4 => which().prop_map(Command::Clear),
        1 => (which(), 1_u64..40).prop_map(|(which, minutes)| Command::Silence(which, Duration::from_secs(60 * minutes))),
        1 => Just(Command::EndSilence),
        2 => which().prop_map(Command::Acknowledge),
        9 => (1_u64..900).prop_map(|seconds| Command::Tick(Duration::from_secs(seconds))),
        1 => Just(Command::Tick(HOUR)),
        1 => Just(Command::Crash),
        1 => Just(Command::CrashWhileTelling),
        1 => Just(Command::SinkDown),
        1 => Just(Command::SinkUp),
    ]
}

/// What the manager should do with one alert that is a group of its own: no maps, no queue, no store.
#[derive(Debug, Default)]
struct Model {
    open: bool,
    firing: bool,
    severity: Option<Severity>,
    raised_as: Option<Severity>,
    urgent_since: Duration,
    acknowledged: bool,
    muted: bool,
    /// What receivers believe.
    told: Option<Severity>,
    known: bool,
    /// Since when there is a group, when it last told, whether it must tell at once.
    group: Option<(Duration, Option<Duration>, bool)>,
    said: Vec<(AlertStatus, Severity)>,
}

impl Model {
    fn raise(&mut self, severity: Severity, now: Duration, muted: bool) {
        if !self.open {
            let group = self.group;
            *self = Self { said: std::mem::take(&mut self.said), group, ..Self::default() };
            (self.open, self.urgent_since) = (true, now);
            (self.severity, self.raised_as) = (Some(severity), Some(severity));
        } else {
            if self.firing && Some(severity) >= self.raised_as {
                return;
            }
            if !self.firing || Some(severity) < self.severity {
                (self.urgent_since, self.acknowledged) = (now, false);
            }
            self.severity = self.severity.min(Some(severity));
            self.raised_as = self.raised_as.min(Some(severity));
        }
        self.firing = true;
        self.arrive(now, muted);
    }

    fn clear(&mut self, now: Duration, muted: bool) {
        if self.open && self.firing {
            self.firing = false;
            self.arrive(now, muted);
        }
    }

    fn arrive(&mut self, now: Duration, muted: bool) {
        self.place(now);
        self.mute(muted, now);
        self.flush(now);
    }

    fn place(&mut self, now: Duration) {
        let group = self.group.get_or_insert((now, None, false));
        self.known = true;
        group.2 |= self.told.is_some() && self.severity < self.told;
    }

    fn mute(&mut self, muted: bool, now: Duration) {
        if self.muted && !muted && self.firing {
            (self.urgent_since, self.told) = (now, None);
            if let Some(group) = &mut self.group {
                group.2 = true;
            }
        }
        self.muted = muted;
    }

    fn flush(&mut self, now: Duration) {
        let Some((since, last, urgent)) = self.group else { return };
        if !self.known {
            return;
        }
        let audible = self.firing && !self.muted;
        let (mut changed, mut unheard) = (false, false);
        match self.told {
            None if !self.firing => self.known = false,
            None => changed = audible,
            Some(told) => {
                changed = !self.firing || audible && self.severity < Some(told);
                unheard = audible && !self.acknowledged;
            }
        }
        let due =
            if urgent { Duration::ZERO } else { last.map_or(since + WAIT, |last| last + INTERVAL) };
        let repeat = unheard && last.is_some_and(|last| last + REPEAT <= now);
        if changed && due <= now || repeat {
            let status = if self.firing { AlertStatus::Firing } else { AlertStatus::Resolved };
            self.said.extend(self.severity.map(|severity| (status, severity)));
            self.told = self.severity.filter(|_| self.firing);
            self.known = self.firing;
            self.group = Some((since, Some(now), false));
        }
    }

    fn tick(&mut self, now: Duration, muted: bool) {
        if self.open {
            if self.firing {
                self.mute(muted, now);
            }
            let escalates = matches!(self.severity, Some(Severity::P1 | Severity::P2));
            let idle = self.firing && !self.acknowledged && !self.muted;
            if escalates && idle && now - self.urgent_since >= ESCALATION {
                self.severity = if self.severity == Some(Severity::P2) {
                    Some(Severity::P1)
                } else {
                    Some(Severity::P0)
                };
                self.urgent_since = now;
                self.place(now);
            }
            self.flush(now);
        }
        let over = |last: Option<Duration>| last.is_none_or(|last| last + INTERVAL <= now);
        if !self.known && self.group.is_some_and(|(_, last, _)| over(last)) {
            self.group = None;
        }
        if !self.firing && !self.known {
            self.open = false;
        }
    }
}

/// One life of the process, as its surroundings see it.
#[derive(Debug)]
struct Life {
    alive: AtomicBool,
    fatal: AtomicBool,
    world: Arc<World>,
}

/// What outlives a process.
#[derive(Debug, Default)]
struct World {
    store: MemoryAlertStore,
    heard: crate::MemorySink,
    down: AtomicBool,
}

impl AlertSink for Life {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        if !self.alive.load(Ordering::SeqCst) || self.world.down.load(Ordering::SeqCst) {
            return Err(SinkError::Retry { after: None, source: "down".into() });
        }
        if self.fatal.load(Ordering::SeqCst) {
            self.alive.store(false, Ordering::SeqCst);
        }
        self.world.heard.deliver(notification)
    }
}

impl AlertStore for Life {
    fn take_over(&self) -> std::result::Result<(u64, AlertRows), StoreError> {
        self.world.store.take_over()
    }

    fn apply(
        &self,
        epoch: u64,
        changes: &[crate::AlertChange],
    ) -> std::result::Result<(), StoreError> {
        match self.alive.load(Ordering::SeqCst) {
            true => self.world.store.apply(epoch, changes),
            // The dead write nothing, and hear nothing of it.
            false => Ok(()),
        }
    }

    fn replace(&self, epoch: u64, rows: &AlertRows) -> std::result::Result<(), StoreError> {
        self.world.store.replace(epoch, rows)
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    world: Arc<World>,
    life: Arc<Life>,
    manager: AlertManager,
    models: [Model; ALERTS],
    /// Silences: of which alert, until when.
    silences: Vec<(SilenceId, usize, Duration)>,
    crashes: usize,
    outages: usize,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
        let world = Arc::new(World::default());
        let (life, manager) = Self::live(&world, &clock);
        Self {
            clock,
            world,
            life,
            manager,
            models: Default::default(),
            silences: Vec::new(),
            crashes: 0,
            outages: 0,
        }
    }

    fn live(world: &Arc<World>, clock: &Arc<ManualClock>) -> (Arc<Life>, AlertManager) {
        let [alive, fatal] = [true, false].map(AtomicBool::new);
        let life = Arc::new(Life { alive, fatal, world: Arc::clone(world) });
        let mut config = AlertConfig::new("pager").without_escalation();
        for severity in [Severity::P1, Severity::P2] {
            config = config.with_escalation(severity, ESCALATION);
        }
        config.default_route =
            config.default_route.clone().with_group_by(["alertname", "host"]).with_group_wait(WAIT);
        config.default_route =
            config.default_route.clone().with_group_interval(INTERVAL).with_repeat_interval(REPEAT);
        let sinks: [(&str, Arc<dyn AlertSink>); 1] = [("pager", life.clone())];
        let manager = AlertManager::open(config, sinks, clock.clone(), life.clone()).unwrap();
        (life, manager)
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn muted(&self, which: usize) -> bool {
        self.silences.iter().any(|(_, of, until)| *of == which && self.now() < *until)
    }

    fn restart(&mut self) {
        let before = self.manager.state.lock().rows(self.manager.timeline.moment());
        let died_telling = !self.life.alive.swap(false, Ordering::SeqCst);
        let kept = self.world.store.take_over().unwrap().1;
        let (loaded, _) = State::load(&kept).unwrap();
        if !died_telling {
            // Nothing that is kept has been forgotten; counts and the time of writing are not kept.
            let strip = |rows: AlertRows| -> AlertRows {
                rows.into_iter()
                    .filter(|(key, _)| key != "meta")
                    .map(|(key, text)| (key, without_counts(&text)))
                    .collect()
            };
            assert_eq!(strip(loaded.rows(self.manager.timeline.moment())), strip(before));
        }
        let (life, manager) = Self::live(&self.world, &self.clock);
        (self.life, self.manager) = (life, manager);
        self.crashes += 1;
    }

    fn run(&mut self, command: &Command) {
        let now = self.now();
        let host = |which: usize| which.to_string();
        match *command {
            Command::Raise(which, severity) => {
                self.manager
                    .update(alert("slow", &host(which), severity, AlertStatus::Firing))
                    .unwrap();
                let muted = self.muted(which);
                self.models[which].raise(severity, now, muted);
            }
            Command::Clear(which) => {
                self.manager
                    .update(alert("slow", &host(which), Severity::P1, AlertStatus::Resolved))
                    .unwrap();
                let muted = self.muted(which);
                self.models[which].clear(now, muted);
            }
            Command::Silence(which, span) => {
                let matcher = Matcher::all().with_label("host", host(which));
                let id = self.manager.silence(matcher, span, "kim", "").unwrap();
                self.silences.push((id, which, now + span));
                // A silence looks at everything that fires.
                for which in 0..ALERTS {
                    let muted = self.muted(which);
                    if self.models[which].open && self.models[which].firing {
                        self.models[which].mute(muted, now);
                    }
                }
            }
            Command::EndSilence => {
                if let Some((id, _, until)) = self.silences.pop() {
                    let ended = self.manager.end_silence(id);
                    assert!(ended.is_ok() || until <= now, "{ended:?}");
                }
            }
            Command::Acknowledge(which) => {
                let labels = alert("slow", &host(which), Severity::P1, AlertStatus::Firing).labels;
                let model = &mut self.models[which];
                let taken = self.manager.acknowledge(Fingerprint::of(&labels), "kim");
                assert_eq!(taken.is_ok(), model.open && model.firing);
                model.acknowledged |= model.open && model.firing;
            }
            Command::Tick(span) => {
                self.clock.advance(span);
                self.manager.tick();
                self.tick_models();
            }
            Command::Crash => self.settle_and_restart(),
            Command::CrashWhileTelling => self.life.fatal.store(true, Ordering::SeqCst),
            Command::SinkDown => {
                self.outages += usize::from(!self.world.down.swap(true, Ordering::SeqCst));
            }
            Command::SinkUp => self.world.down.store(false, Ordering::SeqCst),
        }
        self.manager.flush(MINUTE);
        if !self.life.alive.load(Ordering::SeqCst) {
            self.settle_and_restart();
        }
    }

    fn settle_and_restart(&mut self) {
        self.restart();
        self.tick_models();
        self.manager.flush(MINUTE);
    }

    fn tick_models(&mut self) {
        let now = self.now();
        for which in 0..ALERTS {
            let muted = self.muted(which);
            self.models[which].tick(now, muted);
        }
        self.silences.retain(|(_, _, until)| now < *until);
    }

    /// What was heard of each alert, in order.
    fn heard(&self) -> [Vec<(AlertStatus, Severity)>; ALERTS] {
        let mut heard: [Vec<_>; ALERTS] = Default::default();
        for notification in self.world.heard.notifications() {
            for alert in &notification.alerts {
                let which: usize = alert.labels["host"].parse().unwrap();
                heard[which].push((alert.status, alert.severity));
            }
        }
        heard
    }
}

fn without_counts(text: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    if let Some(incident) = value.get_mut("raised") {
        *incident = 0.into();
        value["alert"]["summary"] = "".into();
    }
    value.to_string()
}

fn without_repeats(told: &[(AlertStatus, Severity)]) -> Vec<AlertStatus> {
    let mut statuses: Vec<AlertStatus> = told.iter().map(|(status, _)| *status).collect();
    statuses.dedup();
    statuses
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_first_firing_and_the_resolve_of_each_alert_are_never_lost_and_never_doubled_but_by_a_crash(
        commands in proptest::collection::vec(command(), 1..60),
    ) {
        let mut bench = Bench::new();
        for command in &commands {
            bench.run(command);
        }
        bench.life.fatal.store(false, Ordering::SeqCst);
        bench.world.down.store(false, Ordering::SeqCst);
        for _ in 0..10 {
            bench.run(&Command::Tick(MINUTE));
        }
        let heard = bench.heard();
        for (model, heard) in bench.models.iter().zip(&heard) {
            let said = &model.said;
            if bench.outages == 0 && bench.crashes == 0 {
                prop_assert_eq!(heard, said);
            } else if bench.outages == 0 {
                // Nothing is missing, the order is kept, and at most one more is heard for each crash.
                let mut extra = heard.iter();
                prop_assert!(said.iter().all(|told| extra.any(|heard| heard == told)), "{:?} of {:?}", heard, said);
                prop_assert!(heard.len() <= said.len() + bench.crashes, "{:?} of {:?}", heard, said);
            } else {
                // What was said during an outage is merged: the first firing and how it ended remain.
                let (heard, said) = (without_repeats(heard), without_repeats(said));
                prop_assert_eq!(heard.first(), said.first());
                prop_assert_eq!(heard.last(), said.last());
                prop_assert!(heard.len() <= said.len());
            }
        }
        let undelivered = bench.manager.undelivered("pager");
        prop_assert!(undelivered.is_empty(), "{:?}", undelivered);
    }
}

#[test]
fn the_model_itself_says_something() {
    let mut model = Model::default();
    model.raise(Severity::P1, Duration::ZERO, false);
    model.tick(WAIT, false);
    model.clear(2 * WAIT, false);
    model.tick(WAIT + INTERVAL, false);
    assert_eq!(
        model.said,
        [(AlertStatus::Firing, Severity::P1), (AlertStatus::Resolved, Severity::P1)]
    );
    assert!(!model.open);
}
