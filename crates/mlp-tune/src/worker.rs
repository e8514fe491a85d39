//! Who runs a trial or holds a lock, and whether that process still lives.

use std::fs;
use std::sync::LazyLock;

/// What this process is called, everywhere and for good: boot, process namespace, process id, start time. On systems without `/proc` only
/// the process id is known, and no process is ever taken for dead.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let id = std::process::id();
    let start = start_time(id).unwrap_or_default();
    format!("mlp/{}/{id}/{start}", machine().unwrap_or_default())
});

pub(crate) fn process() -> &'static str {
    &PROCESS
}

/// What can be said of a process that runs trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Liveness {
    Alive,
    Dead,
    /// It runs on another machine, or is none of ours.
    Unknown,
}

/// Whether a process called so still runs.
pub(crate) fn liveness(process: &str) -> Liveness {
    let mut parts = process.split('/');
    let (Some("mlp"), Some(where_), Some(id), Some(start), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Liveness::Unknown;
    };
    let (Ok(id), Some(here)) = (id.parse(), machine()) else { return Liveness::Unknown };
    if where_ != here {
        return Liveness::Unknown;
    }
    match start_time(id).is_some_and(|now| now == start) {
        true => Liveness::Alive,
        false => Liveness::Dead,
    }
}

/// Whether a process called so is certain not to run any more.
pub(crate) fn is_dead(process: &str) -> bool {
    liveness(process) == Liveness::Dead
}

/// The boot and the process namespace: a process id means something within them only.
fn machine() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}-{}", boot.trim(), namespace.display()))
}

/// When a process started, in clock ticks since boot: field 22 of its `stat`, counted behind the name, which may hold blanks. None if it does
/// not run, or only waits to be reaped.
fn start_time(id: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a process of this machine was called that runs no more.
    pub(crate) fn dead_process() -> String {
        let (front, _) = process().rsplit_once('/').unwrap();
        format!("{front}/1")
    }

    #[test]
    fn a_process_is_dead_when_its_id_belongs_to_nobody_or_to_a_later_one() {
        assert!(!is_dead(process()));
        assert!(is_dead(&dead_process()));
        assert!(!is_dead("mlp/another-machine/1/1"));
        assert!(!is_dead("4711-python"));
        assert_eq!(liveness(process()), Liveness::Alive);
        assert_eq!(liveness("4711-python"), Liveness::Unknown);
    }
}
