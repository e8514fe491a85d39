//! What the process takes of the machine.

use std::time::Duration;

use mlp_core::Labels;
use parking_lot::Mutex;
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, RefreshKind,
    System,
};

use super::recorder::Gauge;
use super::registry::Signals;
use crate::error::{MonitorError, Result};
use crate::ticker::Ticker;

/// Gauges of this process and of the machine it runs on, read by `sysinfo`.
///
/// | gauge | unit |
/// | --- | --- |
/// | `process_cpu` | processors in use by the process since the last refresh: 1.5 is one and a half |
/// | `process_memory_bytes` | resident bytes of the process |
/// | `machine_cpu` | share of all processors in use, 0 to 1 |
/// | `machine_memory` | share of the memory in use, 0 to 1 |
///
/// The first refresh sets the memory only: use of a processor is a difference of two.
///
/// ```
/// use mlp_core::{Labels, SystemClock};
/// use mlp_monitor::{Signals, SignalsConfig, SystemSignals};
/// use std::{sync::Arc, time::Duration};
///
/// let signals = Signals::new(SignalsConfig::default(), Arc::new(SystemClock::new()))?;
/// let system = SystemSignals::new(&signals)?;
/// let _ticker = system.ticker(Duration::from_secs(5))?; // or refresh it from a thread that you have
/// assert!(signals.gauge("process_memory_bytes", &Labels::new())?.get() > 1e5);
/// # Ok::<(), mlp_monitor::MonitorError>(())
/// ```
#[derive(Debug)]
pub struct SystemSignals {
    system: Mutex<Readings>,
    process: Pid,
    process_cpu: Gauge,
    process_memory: Gauge,
    machine_cpu: Gauge,
    machine_memory: Gauge,
}

#[derive(Debug)]
struct Readings {
    system: System,
    /// Whether there is an earlier reading to compare with.
    compared: bool,
}

impl SystemSignals {
    /// Makes the gauges in `signals` and refreshes them once.
    ///
    /// # Errors
    /// If another kind of signal has one of their names, or `sysinfo` does not know this platform.
    pub fn new(signals: &Signals) -> Result<Self> {
        let process = sysinfo::get_current_pid().map_err(|reason| {
            MonitorError::setting("platform", reason, "one that sysinfo knows")
        })?;
        let gauge = |name| signals.gauge(name, &Labels::new());
        let made = Self {
            system: Mutex::new(Readings { system: System::new(), compared: false }),
            process,
            process_cpu: gauge("process_cpu")?,
            process_memory: gauge("process_memory_bytes")?,
            machine_cpu: gauge("machine_cpu")?,
            machine_memory: gauge("machine_memory")?,
        };
        made.refresh();
        Ok(made)
    }

    /// Reads everything anew; closer together than 200 ms, the readings of processors are rough.
    pub fn refresh(&self) {
        let mut readings = self.system.lock();
        let Readings { system, compared } = &mut *readings;
        let kinds = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_cpu_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        system.refresh_specifics(kinds);
        let process = ProcessRefreshKind::nothing().with_cpu().with_memory();
        let only = ProcessesToUpdate::Some(&[self.process]);
        system.refresh_processes_specifics(only, true, process);

        let since_before = |value: f32| if *compared { f64::from(value) / 100.0 } else { f64::NAN };
        let found = system.process(self.process);
        self.process_cpu.set(found.map_or(f64::NAN, |found| since_before(found.cpu_usage())));
        self.process_memory.set(found.map_or(f64::NAN, |found| found.memory() as f64));
        self.machine_cpu.set(since_before(system.global_cpu_usage()));
        self.machine_memory.set(system.used_memory() as f64 / system.total_memory() as f64);
        *compared = true;
    }

    /// Starts a thread that refreshes every so often.
    ///
    /// # Errors
    /// If the interval is zero or no thread can be started.
    pub fn ticker(self, interval: Duration) -> Result<Ticker> {
        Ticker::start("mlp-system-signals", interval, move || self.refresh())
    }
}
