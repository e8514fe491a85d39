//! Random commands with crashes and outages, against an oracle that is as plain as possible: several routes and sinks, groups that alerts share,
//! escalation, silences, inhibition, acknowledgement.

use super::oracle::{ALERTS, ESCALATION, INTERVAL, Oracle, REPEAT, Said, WAIT, name};
use super::tests::{HOUR, MINUTE, alert};
use super::*;
use crate::{AlertRoute, Inhibition, MemoryAlertStore};
use mlp_core::{AlertStatus, ManualClock, Notification, Severity, SinkError};
use parking_lot::RwLock;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Clone)]
enum Command {
    Raise(usize, Severity),
    Clear(usize),
    Silence(usize, Duration),
    EndSilence,
    /// A silence ends, and another one is set before the next tick.
    ChangeSilence(usize),
    Acknowledge(usize),
    Tick(Duration),
    /// The wall clock is turned, which changes nothing.
    TurnClock(i64),
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
        1 => which().prop_map(Command::ChangeSilence),
        2 => which().prop_map(Command::Acknowledge),
        9 => (1_u64..900).prop_map(|seconds| Command::Tick(Duration::from_secs(seconds))),
        1 => Just(Command::Tick(HOUR)),
        1 => Just(Command::Crash),
        1 => Just(Command::CrashWhileTelling),
        1 => Just(Command::SinkDown),
        1 => Just(Command::SinkUp),
    ]
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
    heard: [crate::MemorySink; 2],
    down: AtomicBool,
    /// Shut while a command is carried out: a sink's thread that wakes on its own, as when time passes, delivers after it.
    gate: RwLock<()>,
}

/// A receiver as a life of the process reaches it.
#[derive(Debug)]
struct Receiver(Arc<Life>, usize);

impl AlertSink for Receiver {
    fn deliver(&self, notification: &Notification) -> std::result::Result<(), SinkError> {
        let Self(life, which) = self;
        let _open = life.world.gate.read();
        if !life.alive.load(Ordering::SeqCst) || life.world.down.load(Ordering::SeqCst) {
            return Err(SinkError::Retry { after: None, source: "down".into() });
        }
        if life.fatal.load(Ordering::SeqCst) {
            life.alive.store(false, Ordering::SeqCst);
        }
        life.world.heard[*which].deliver(notification)
    }
}

impl AlertStore for Life {
    fn load(&self) -> std::result::Result<AlertRows, StoreError> {
        self.world.store.load()
    }

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
    oracle: Oracle,
    crashes: usize,
    outages: usize,
}

fn config() -> AlertConfig {
    let timed =
        |route: AlertRoute| route.with_group_interval(INTERVAL).with_repeat_interval(REPEAT);
    let pages = timed(AlertRoute::of(Severity::P0, ["pager"]));
    let mut config = AlertConfig::new("chat")
        .with_route(pages)
        .without_escalation()
        .with_escalation(Severity::P1, ESCALATION)
        .with_escalation(Severity::P2, ESCALATION)
        .with_inhibition(Inhibition {
            source: Matcher::all().with_severity(Severity::P0).with_label("host", "0"),
            target: Matcher::all(),
            equal: Vec::new(),
        });
    config.default_route = timed(config.default_route).with_group_wait(WAIT);
    config
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-03-01T12:00:00Z".parse().unwrap()));
        let world = Arc::new(World::default());
        let (life, manager) = Self::live(&world, &clock);
        let oracle = Oracle::default();
        Self { clock, world, life, manager, oracle, crashes: 0, outages: 0 }
    }

    fn live(world: &Arc<World>, clock: &Arc<ManualClock>) -> (Arc<Life>, AlertManager) {
        let [alive, fatal] = [true, false].map(AtomicBool::new);
        let life = Arc::new(Life { alive, fatal, world: Arc::clone(world) });
        let receiver = |which| Arc::new(Receiver(Arc::clone(&life), which)) as Arc<dyn AlertSink>;
        let sinks = [("pager", receiver(0)), ("chat", receiver(1))];
        let manager = AlertManager::open(config(), sinks, clock.clone(), life.clone()).unwrap();
        (life, manager)
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn rows(&self, state: &mut State) -> AlertRows {
        let rows = state.take_rows(Scope::All, self.manager.timeline.moment());
        rows.into_iter()
            .filter(|(key, _)| key != "meta")
            .map(|(key, text)| (key, without_counts(&text.unwrap())))
            .collect()
    }

    fn restart(&mut self) {
        let before = self.rows(&mut self.manager.state.lock());
        let died_telling = !self.life.alive.swap(false, Ordering::SeqCst);
        let (mut loaded, _) = State::load(&config(), &self.world.store.load().unwrap()).unwrap();
        if !died_telling {
            // Nothing that is kept has been forgotten; counts and the time of writing are not kept.
            assert_eq!(self.rows(&mut loaded), before);
        }
        let (life, manager) = Self::live(&self.world, &self.clock);
        (self.life, self.manager) = (life, manager);
        self.crashes += 1;
        self.oracle.restart(self.now());
        // What was on its way is told before anything new.
        self.manager.flush(MINUTE);
        self.run(&Command::Tick(Duration::ZERO));
    }

    fn tick(&mut self) {
        self.manager.tick();
        self.oracle.tick(self.now());
    }

    fn run(&mut self, command: &Command) {
        if let Command::Crash = command {
            return self.restart();
        }
        let world = Arc::clone(&self.world);
        let shut = world.gate.write();
        self.carry_out(command);
        drop(shut);
        self.manager.flush(MINUTE);
        if !self.life.alive.load(Ordering::SeqCst) {
            self.restart();
        }
    }

    fn carry_out(&mut self, command: &Command) {
        let now = self.now();
        let of = |which: usize, severity, status| {
            alert(name(which), &which.to_string(), severity, status)
        };
        match *command {
            Command::Raise(which, severity) => {
                self.manager.update(of(which, severity, AlertStatus::Firing)).unwrap();
                self.oracle.raise(which, severity, now);
            }
            Command::Clear(which) => {
                self.manager.update(of(which, Severity::P1, AlertStatus::Resolved)).unwrap();
                self.oracle.clear(which, now);
            }
            Command::Silence(which, span) => {
                let matcher = Matcher::all().with_label("host", which.to_string());
                let id = self.manager.silence(matcher, span, "kim", "").unwrap();
                self.oracle.silences.push((id, which, now + span));
                self.oracle.mute_all(now);
            }
            Command::EndSilence => {
                if let Some((id, _, until)) = self.oracle.silences.pop() {
                    let ended = self.manager.end_silence(id);
                    assert!(ended.is_ok() || until <= now, "{ended:?}");
                }
            }
            Command::ChangeSilence(which) => {
                self.carry_out(&Command::EndSilence);
                self.carry_out(&Command::Silence(which, HOUR));
            }
            Command::Acknowledge(which) => {
                let labels = of(which, Severity::P1, AlertStatus::Firing).labels;
                let taken = self.manager.acknowledge(Fingerprint::of(&labels), "kim");
                assert_eq!(taken.is_ok(), self.oracle.acknowledge(which));
            }
            Command::Tick(span) => {
                self.clock.advance(span);
                self.tick();
            }
            Command::TurnClock(seconds) => {
                let span = Duration::from_secs(seconds.unsigned_abs());
                let wall = self.clock.now();
                self.clock.set_wall(if seconds < 0 { wall.before(span) } else { wall.after(span) });
                self.tick();
            }
            Command::Crash => unreachable!("a process does not carry out its own end"),
            Command::CrashWhileTelling => self.life.fatal.store(true, Ordering::SeqCst),
            Command::SinkDown => {
                self.outages += usize::from(!self.world.down.swap(true, Ordering::SeqCst));
            }
            Command::SinkUp => self.world.down.store(false, Ordering::SeqCst),
        }
    }

    /// Whatever waits is told.
    fn finish(&mut self) {
        self.life.fatal.store(false, Ordering::SeqCst);
        self.world.down.store(false, Ordering::SeqCst);
        for _ in 0..10 {
            self.run(&Command::Tick(MINUTE));
        }
    }

    /// What a receiver heard of an alert, in order.
    fn heard(&self, route: usize, which: usize) -> Said {
        let told = self.world.heard[route].notifications();
        let alerts = told.iter().flat_map(|notification| &notification.alerts);
        let own = alerts.filter(|alert| alert.labels["host"] == which.to_string());
        own.map(|alert| (alert.status, alert.severity)).collect()
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
        bench.finish();
        for (route, which) in (0..2).flat_map(|route| (0..ALERTS).map(move |which| (route, which))) {
            let (heard, said) = (bench.heard(route, which), &bench.oracle.said[route][which]);
            if bench.outages == 0 && bench.crashes == 0 {
                prop_assert_eq!(&heard, said, "alert {} at route {}", which, route);
            } else if bench.outages == 0 {
                // Nothing is missing, the order is kept, and at most one more is heard for each crash.
                let mut extra = heard.iter();
                prop_assert!(said.iter().all(|told| extra.any(|heard| heard == told)), "{:?} of {:?}", heard, said);
                prop_assert!(heard.len() <= said.len() + bench.crashes, "{:?} of {:?}", heard, said);
            } else {
                // What was said during an outage is merged: the first firing and how it ended remain.
                let (heard, said) = (without_repeats(&heard), without_repeats(said));
                prop_assert_eq!(heard.first(), said.first());
                prop_assert_eq!(heard.last(), said.last());
                prop_assert!(heard.len() <= said.len());
            }
        }
        // Whatever the oracle says: who heard that an alert fires hears that it is over.
        (0..ALERTS).for_each(|which| bench.run(&Command::Clear(which)));
        bench.finish();
        for (route, which) in (0..2).flat_map(|route| (0..ALERTS).map(move |which| (route, which))) {
            let heard = bench.heard(route, which);
            let last = heard.last().map(|(status, _)| *status);
            prop_assert!(last != Some(AlertStatus::Firing), "alert {} at route {}: {:?}", which, route, heard);
        }
        for sink in ["pager", "chat"] {
            let undelivered = bench.manager.undelivered(sink);
            prop_assert!(undelivered.is_empty(), "{:?}", undelivered);
        }
    }

    #[test]
    fn a_wall_clock_that_is_turned_changes_nothing_that_is_told(
        commands in proptest::collection::vec(
            prop_oneof![3 => command(), 1 => (-1_000_000_i64..1_000_000).prop_map(Command::TurnClock)],
            1..40,
        ),
    ) {
        let mut bench = Bench::new();
        // Over a restart there is only the wall clock; within a life it decides nothing.
        let within_a_life = |command: &&Command| {
            !matches!(command, Command::Crash | Command::CrashWhileTelling | Command::SinkDown)
        };
        for command in commands.iter().filter(within_a_life) {
            bench.run(command);
        }
        bench.finish();
        for (route, which) in (0..2).flat_map(|route| (0..ALERTS).map(move |which| (route, which))) {
            prop_assert_eq!(&bench.heard(route, which), &bench.oracle.said[route][which]);
        }
    }
}
