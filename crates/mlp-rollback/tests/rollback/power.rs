//! A power cut: the writes and syncs of a roll-out are traced, and played back into files in which what was not synced is dropped or torn.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mlp_rollback::{CanaryPlan, FileJournal};

use crate::journal::{TURNS, on};
use crate::support::{World, me, percent};
use crate::system_calls::can_trace;

const CHILD: &str = "MLP_ROLLBACK_TRACED";
const STEPS: u64 = 30;

/// The k-th change of the script; gives the generation after it, which the child writes down as acknowledged.
fn step(world: &World, k: u64) -> u64 {
    let deployment = &world.deployment;
    match k % 4 {
        0 => {
            world.register();
        }
        1 => {
            deployment.deploy(mlp_core::VersionNumber(k / 4 + 1), &me()).unwrap();
        }
        2 if k > 6 => {
            deployment.rollback(&me()).unwrap();
        }
        3 if k > 4 => {
            deployment.freeze(&me()).unwrap();
            deployment.unfreeze(&me()).unwrap();
        }
        _ => {
            let version = world.register();
            let plan = CanaryPlan::fixed(percent(5.0)).unwrap();
            if deployment.active().is_some() {
                deployment.start_canary(version, plan, &me()).unwrap();
                deployment.abort(version, &me()).unwrap();
            }
        }
    }
    deployment.generation()
}

#[test]
#[ignore = "run by the power cuts, in a process of its own"]
fn child_that_is_traced() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let world = on(Arc::new(FileJournal::open(&path).unwrap()));
    let acknowledged = Path::new(&path).with_extension("acknowledged");
    let mut file = OpenOptions::new().create(true).append(true).open(acknowledged).unwrap();
    for k in 0..STEPS {
        let generation = step(&world, k);
        file.write_all(format!("{generation}\n").as_bytes()).unwrap();
    }
}

#[derive(Debug)]
enum Event {
    Write { offset: usize, data: Vec<u8> },
    Sync,
    Acknowledged(u64),
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}

/// What happened to the journal and to the list of acknowledgements, in order. One thread writes, so no call is interrupted by another.
fn trace(folder: &Path) -> (Vec<u8>, Vec<Event>) {
    let (path, output) = (folder.join("journal"), folder.join("trace"));
    drop(FileJournal::open(&path).unwrap());
    let header = std::fs::read(&path).unwrap();
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-xx",
            "-s",
            "100000",
            "-e",
            "trace=write,lseek,fdatasync,fsync,ftruncate",
            "-o",
        ])
        .arg(&output)
        .arg("-P")
        .arg(&path)
        .arg("-P")
        .arg(path.with_extension("acknowledged"))
        .arg(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--exact", "power::child_that_is_traced"])
        .env(CHILD, &path)
        .output()
        .unwrap();
    assert!(status.status.success());
    let mut offset = 0;
    let mut events = Vec::new();
    for line in std::fs::read_to_string(output).unwrap().lines() {
        let call = line.split_once(' ').unwrap().1.trim_start();
        assert!(!call.contains("unfinished"), "another thread wrote: {call}");
        let result = call.rsplit_once("= ").map(|(_, result)| result.trim().to_owned());
        if call.starts_with("lseek(") {
            offset = result.unwrap().parse().unwrap();
        } else if call.starts_with("write(") {
            let data = unescape(call.split_once('"').unwrap().1.split_once('"').unwrap().0);
            let text = String::from_utf8(data.clone()).unwrap();
            match text.trim().parse() {
                Ok(generation) => events.push(Event::Acknowledged(generation)),
                Err(_) => {
                    let length = data.len();
                    events.push(Event::Write { offset, data });
                    offset += length;
                }
            }
        } else if call.starts_with("fdatasync(") || call.starts_with("fsync(") {
            events.push(Event::Sync);
        } else {
            panic!("{call} is not played back");
        }
    }
    (header, events)
}

struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

/// The file after a power cut behind these events, and the last acknowledged generation. Without syncs nothing is ever certain.
fn image(header: &[u8], events: &[Event], syncs: bool, choices: &mut Choices) -> (Vec<u8>, u64) {
    let mut durable = header.to_vec();
    let mut pending: Vec<(usize, &[u8])> = Vec::new();
    let mut acknowledged = 0;
    let put = |image: &mut Vec<u8>, offset: usize, data: &[u8]| {
        if image.len() < offset + data.len() {
            image.resize(offset + data.len(), 0);
        }
        image[offset..offset + data.len()].copy_from_slice(data);
    };
    for event in events {
        match event {
            Event::Write { offset, data } => pending.push((*offset, data)),
            Event::Sync if syncs => {
                pending.drain(..).for_each(|(offset, data)| put(&mut durable, offset, data));
            }
            Event::Sync => {}
            Event::Acknowledged(generation) => acknowledged = *generation,
        }
    }
    for (offset, data) in pending {
        // The length may have reached the disk without some of the sectors.
        let sectors: Vec<(usize, usize)> = {
            let mut cuts = vec![offset];
            cuts.extend(
                (offset / 512 + 1..)
                    .map(|sector| sector * 512)
                    .take_while(|cut| *cut < offset + data.len()),
            );
            cuts.push(offset + data.len());
            cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
        };
        if choices.below(3) == 0 {
            continue;
        }
        for (from, to) in sectors {
            if choices.below(2) == 0 {
                put(&mut durable, from, &data[from - offset..to - offset]);
            }
        }
    }
    (durable, acknowledged)
}

#[test]
fn after_a_power_cut_at_any_moment_every_acknowledged_generation_is_there() {
    let _turn = TURNS.lock();
    if !can_trace() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (header, events) = trace(folder.path());
    let count = events.iter().filter(|event| matches!(event, Event::Acknowledged(_))).count();
    assert_eq!(count as u64, STEPS);
    let mut choices = Choices(13);
    let path = folder.path().join("image");
    let mut lost_without_syncs = 0;
    for round in 0..600 {
        let moment = choices.below(events.len() + 1);
        let syncs = round < 500;
        let (bytes, acknowledged) = image(&header, &events[..moment], syncs, &mut choices);
        std::fs::write(&path, bytes).unwrap();
        let reached = FileJournal::open(&path).map(|journal| {
            let world = on(Arc::new(journal));
            let status = world.deployment.status();
            let active =
                status.versions.iter().filter(|v| v.state == mlp_rollback::VersionState::Active);
            assert_eq!(active.count(), usize::from(status.active.is_some()));
            status.generation
        });
        if syncs {
            let reached = reached.unwrap();
            assert!(reached >= acknowledged, "{acknowledged} was acknowledged, {reached} is there");
        } else {
            lost_without_syncs +=
                usize::from(!reached.is_ok_and(|reached| reached >= acknowledged));
        }
    }
    // The control: a journal that never syncs must lose something, or the model finds nothing.
    assert!(lost_without_syncs >= 50, "{lost_without_syncs} of 100 lost something without syncs");
}
