//! What the manager should do, as plainly as it can be said: arrays, loops, no queue, no store, nothing remembered that can be computed.

use super::tests::{HOUR, MINUTE};
use super::*;
use mlp_core::{AlertStatus, Severity};

pub(super) const ALERTS: usize = 4;
pub(super) const WAIT: Duration = MINUTE;
pub(super) const INTERVAL: Duration = Duration::from_secs(5 * 60);
pub(super) const REPEAT: Duration = HOUR;
pub(super) const ESCALATION: Duration = Duration::from_secs(30 * 60);

/// Alerts 0 and 1 are one group of a route, 2 and 3 another one.
pub(super) fn name(which: usize) -> &'static str {
    if which < 2 { "slow" } else { "down" }
}

/// The route of a severity, and the sink of the same number: 0 for pages.
fn route(severity: Severity) -> usize {
    usize::from(severity != Severity::P0)
}

fn wait(route: usize) -> Duration {
    if route == 0 { Duration::ZERO } else { WAIT }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Muted {
    Silenced,
    Inhibited,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    firing: bool,
    severity: Severity,
    raised_as: Severity,
    urgent_since: Duration,
    acknowledged: bool,
    muted: Option<Muted>,
    hushed: bool,
    at: [Option<At>; 2],
}

/// What a route believes of an alert: whether it belongs there now, the severity that was told, and whether it is to be told again.
#[derive(Debug, Clone, Copy, PartialEq)]
struct At {
    here: bool,
    told: Option<Severity>,
    again: bool,
}

#[derive(Debug, Clone, Copy)]
struct Circle {
    since: Duration,
    last: Option<Duration>,
    urgent: bool,
}

/// What is heard of an alert at a route.
pub(super) type Said = Vec<(AlertStatus, Severity)>;

#[derive(Debug, Default)]
pub(super) struct Oracle {
    known: [Option<Known>; ALERTS],
    /// By route and group.
    circles: [[Option<Circle>; 2]; 2],
    /// Until when each alert is silenced, by silence.
    pub(super) silences: Vec<(SilenceId, usize, Duration)>,
    pub(super) said: [[Said; ALERTS]; 2],
}

impl Oracle {
    pub(super) fn fires(&self, which: usize) -> bool {
        self.known[which].is_some_and(|known| known.firing)
    }

    pub(super) fn raise(&mut self, which: usize, severity: Severity, now: Duration) {
        let mut known = match self.known[which] {
            None => Known {
                firing: true,
                severity,
                raised_as: severity,
                urgent_since: now,
                acknowledged: false,
                muted: None,
                hushed: false,
                at: [None; 2],
            },
            Some(known) if known.firing && severity >= known.raised_as => return,
            Some(known) => known,
        };
        if !known.firing || severity < known.severity {
            (known.urgent_since, known.acknowledged) = (now, false);
        }
        known.severity = known.severity.min(severity);
        known.raised_as = known.raised_as.min(severity);
        known.firing = true;
        self.known[which] = Some(known);
        self.arrive(which, now);
    }

    pub(super) fn clear(&mut self, which: usize, now: Duration) {
        if self.fires(which) {
            self.of(which).firing = false;
            self.arrive(which, now);
        }
    }

    pub(super) fn acknowledge(&mut self, which: usize) -> bool {
        let fires = self.fires(which);
        if fires {
            self.of(which).acknowledged = true;
        }
        fires
    }

    fn of(&mut self, which: usize) -> &mut Known {
        self.known[which].as_mut().unwrap()
    }

    fn arrive(&mut self, which: usize, now: Duration) {
        self.place(which, now);
        self.mute(which, now);
        let known = *self.of(which);
        for route in 0..2 {
            match known.at[route] {
                Some(At { told: None, .. }) if !known.firing => self.of(which).at[route] = None,
                Some(at) if Self::is_news(&known, at) => self.flush(route, which / 2, now),
                _ => {}
            }
        }
    }

    fn place(&mut self, which: usize, now: Duration) {
        let known = self.of(which);
        let (here, severity) = (route(known.severity), known.severity);
        let other = &mut known.at[1 - here];
        *other = other.filter(|at| at.told.is_some()).map(|at| At { here: false, ..at });
        let own = known.at[here].get_or_insert(At { here: true, told: None, again: false });
        own.here = true;
        let told = own.told;
        let group = &mut self.circles[here][which / 2];
        let circle = group.get_or_insert(Circle { since: now, last: None, urgent: false });
        circle.urgent |= told.is_some_and(|told| severity < told);
    }

    fn muted(&self, which: usize, now: Duration) -> Option<Muted> {
        if self.silences.iter().any(|(_, of, until)| *of == which && now < *until) {
            return Some(Muted::Silenced);
        }
        // A page about the first alert speaks for all others.
        let page = self.known[0].is_some_and(|k| k.firing && k.severity == Severity::P0);
        (which != 0 && page).then_some(Muted::Inhibited)
    }

    fn mute(&mut self, which: usize, now: Duration) {
        let after = self.muted(which, now);
        let known = self.of(which);
        let before = std::mem::replace(&mut known.muted, after);
        known.hushed |= after == Some(Muted::Silenced);
        if before.is_none() || after.is_some() {
            return;
        }
        let hushed = std::mem::take(&mut known.hushed);
        if !known.firing {
            return;
        }
        known.urgent_since = now;
        if hushed {
            for route in 0..2 {
                if let Some(at @ At { here: true, .. }) = &mut self.of(which).at[route] {
                    at.again = true;
                    self.circles[route][which / 2].as_mut().unwrap().urgent = true;
                }
            }
        }
    }

    /// A silence looks at everything that fires.
    pub(super) fn mute_all(&mut self, now: Duration) {
        for which in 0..ALERTS {
            if self.fires(which) {
                self.mute(which, now);
            }
        }
    }

    fn is_news(known: &Known, at: At) -> bool {
        let audible = at.here && known.firing && known.muted.is_none();
        match at.told {
            None => audible,
            Some(told) => !known.firing || audible && (at.again || known.severity < told),
        }
    }

    fn has_something(&self, route: usize, group: usize, now: Duration) -> bool {
        let Some(Circle { since, last, urgent }) = self.circles[route][group] else { return false };
        let due = last.map_or(since + wait(route), |last| last + INTERVAL);
        let (changes, again) =
            (urgent || due <= now, last.is_some_and(|last| last + REPEAT <= now));
        self.known[2 * group..2 * group + 2].iter().flatten().any(|known| {
            let Some(at) = known.at[route] else { return false };
            let audible = at.here && known.firing && known.muted.is_none();
            let repeated = at.told.is_some() && audible && !known.acknowledged;
            changes && Self::is_news(known, at) || again && repeated
        })
    }

    fn flush(&mut self, route: usize, group: usize, now: Duration) {
        if !self.has_something(route, group, now) {
            return;
        }
        let members = [2 * group, 2 * group + 1];
        for which in members {
            if self.known[which].is_some_and(|known| known.at[route].is_some()) {
                self.mute(which, now);
            }
        }
        if !self.has_something(route, group, now) {
            return;
        }
        for which in members {
            let Some(known) = &mut self.known[which] else { continue };
            let Some(At { here, told, .. }) = known.at[route] else { continue };
            if !known.firing {
                known.at[route] = None;
                if told.is_some() {
                    self.said[route][which].push((AlertStatus::Resolved, known.severity));
                }
            } else if here && known.muted.is_none() {
                let told = Some(known.severity);
                known.at[route] = Some(At { here: true, told, again: false });
                self.said[route][which].push((AlertStatus::Firing, known.severity));
            }
        }
        let circle = self.circles[route][group].as_mut().unwrap();
        (circle.last, circle.urgent) = (Some(now), false);
    }

    pub(super) fn tick(&mut self, now: Duration) {
        self.mute_all(now);
        self.silences.retain(|(_, _, until)| now < *until);
        for which in 0..ALERTS {
            let Some(known) = &mut self.known[which] else { continue };
            let idle = known.firing && !known.acknowledged && known.muted.is_none();
            if idle && known.severity > Severity::P0 && now - known.urgent_since >= ESCALATION {
                let louder = [Severity::P0, Severity::P1];
                known.severity = louder[usize::from(known.severity == Severity::P2)];
                known.urgent_since = now;
                self.place(which, now);
            }
        }
        for (route, group) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            self.flush(route, group, now);
            let mut members = self.known[2 * group..2 * group + 2].iter().flatten();
            let empty = members.all(|known| known.at[route].is_none());
            let rested = |circle: &Circle| circle.last.is_none_or(|last| last + INTERVAL <= now);
            let circle = &mut self.circles[route][group];
            *circle = circle.filter(|circle| !(empty && rested(circle)));
        }
        for known in &mut self.known {
            *known = known.filter(|known| known.firing || known.at != [None; 2]);
        }
    }

    /// Another process goes on: nothing escalates within its first five minutes.
    pub(super) fn restart(&mut self, now: Duration) {
        for known in self.known.iter_mut().flatten() {
            if known.severity > Severity::P0 {
                let earliest = (now + RESPITE).saturating_sub(ESCALATION);
                known.urgent_since = known.urgent_since.max(earliest);
            }
        }
    }
}

#[test]
fn the_oracle_itself_says_something() {
    let mut oracle = Oracle::default();
    oracle.raise(1, Severity::P1, Duration::ZERO);
    oracle.tick(WAIT);
    oracle.raise(0, Severity::P0, WAIT);
    oracle.tick(2 * HOUR);
    oracle.clear(0, 2 * HOUR);
    oracle.tick(2 * HOUR + INTERVAL);
    oracle.tick(2 * HOUR + INTERVAL + ESCALATION);
    oracle.clear(1, 3 * HOUR);
    oracle.tick(3 * HOUR + INTERVAL);
    let [fires, over] = [AlertStatus::Firing, AlertStatus::Resolved];
    assert_eq!(
        oracle.said[0][0],
        [(fires, Severity::P0), (fires, Severity::P0), (over, Severity::P0)]
    );
    assert_eq!(
        oracle.said[1][1],
        [(fires, Severity::P1), (fires, Severity::P1), (over, Severity::P0)]
    );
    assert_eq!(oracle.said[0][1], [(fires, Severity::P0), (over, Severity::P0)]);
    assert!(oracle.known.iter().flatten().count() == 0);
}
