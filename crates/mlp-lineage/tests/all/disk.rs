//! The folder of artifacts under system calls that kill the process or fail, and under power cuts played back from a trace, by `strace`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use mlp_core::{StoreError, Timestamp};
use mlp_lineage::{ArtifactStore, ArtifactStoreExt, FileArtifactStore, InMemoryArtifactStore};

/// Where a child keeps its artifacts; what it acknowledges stands in the file of the same name with `.acknowledged` behind it.
const CHILD: &str = "MLP_LINEAGE_CHILD";

/// Calls are counted by thread, and the test's own main thread writes what it prints: the script begins with so many writes to nowhere, beyond
/// which no other thread comes.
const PRELUDE: usize = 16;

/// The artifacts of the script: of no bytes, of a few, of several writes, and one that is put twice.
fn contents() -> Vec<Vec<u8>> {
    let large = |seed: u64| (0..200_000_u64).map(|i| (i * i + seed * i / 7) as u8).collect();
    vec![Vec::new(), b"weights".to_vec(), large(1), b"signature".to_vec(), large(2), large(1)]
}

fn acknowledgements(folder: &Path) -> PathBuf {
    folder.with_extension("acknowledged")
}

fn acknowledged(folder: &Path) -> BTreeSet<usize> {
    let text = fs::read_to_string(acknowledgements(folder)).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Puts each artifact, and again what failed; an error must be the one that the disk gave, and come from no more than one put.
#[test]
#[ignore = "run by the sweeps, in a process of its own"]
fn child_that_puts() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let folder = Path::new(&folder);
    let mut nowhere = OpenOptions::new().write(true).open("/dev/null").unwrap();
    (0..PRELUDE).for_each(|_| nowhere.write_all(b".").unwrap());
    let Ok(store) = FileArtifactStore::open(folder) else {
        println!("refused to open");
        return;
    };
    let mut told =
        OpenOptions::new().create(true).append(true).open(acknowledgements(folder)).unwrap();
    let mut failures = 0;
    for (k, content) in contents().into_iter().enumerate() {
        let mut tries = 0;
        while let Err(error) = store.put_bytes(&content) {
            println!("failed: {error:?}");
            let full = std::env::var("MLP_LINEAGE_FULL").is_ok();
            assert_eq!(matches!(error, StoreError::StorageFull), full, "{error:?}");
            failures += 1;
            tries += 1;
            assert!(tries < 2, "it did not recover");
        }
        told.write_all(format!("{k}\n").as_bytes()).unwrap();
    }
    assert!(failures < 2, "one fault, {failures} errors");
}

struct Ended {
    status: ExitStatus,
    printed: String,
}

/// Runs the child in this folder under `strace` with these arguments.
fn traced(folder: &Path, arguments: &[&str]) -> Ended {
    let full = arguments.iter().any(|argument| argument.contains("ENOSPC"));
    let output = Command::new("strace")
        .args(["-f", "-qq"])
        .args(arguments)
        .arg(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--nocapture", "--exact", "disk::child_that_puts"])
        .env(CHILD, folder)
        .envs(full.then_some(("MLP_LINEAGE_FULL", "1")))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { status: output.status, printed: text(&output.stdout) + &text(&output.stderr) }
}

fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        assert!(std::env::var("CI").is_err(), "strace is not there or may not trace");
        eprintln!("skipped: strace is not there or may not trace");
    }
    works
}

/// How many of these artifacts are missing or not what they were; whatever is listed must be whole.
fn lost(folder: &Path, acknowledged: &BTreeSet<usize>) -> Result<usize, StoreError> {
    let store = FileArtifactStore::open(folder)?;
    store.sweep(Timestamp::from_micros(i64::MAX))?;
    assert_eq!(fs::read_dir(folder.join("temporary")).unwrap().count(), 0, "it was swept");
    let contents = contents();
    let is_whole = |k: &&usize| {
        let hash = InMemoryArtifactStore::new().put_bytes(&contents[**k]).unwrap().hash;
        store.read(hash).is_ok_and(|bytes| bytes == contents[**k])
    };
    Ok(acknowledged.len() - acknowledged.iter().filter(is_whole).count())
}

/// Nothing acknowledged is lost, what is listed is whole, and everything can be put.
fn is_well(folder: &Path) {
    assert_eq!(lost(folder, &acknowledged(folder)).unwrap(), 0);
    let store = FileArtifactStore::open(folder).unwrap();
    for info in store.list().unwrap() {
        let bytes = store.read(info.artifact.hash).unwrap();
        assert_eq!(bytes.len() as u64, info.artifact.size, "a name is given to whole content only");
    }
    for content in contents() {
        let artifact = store.put_bytes(&content).unwrap();
        assert_eq!(store.read(artifact.hash).unwrap(), content);
    }
}

/// The calls by which the store changes the disk.
const CALLS: [&str; 6] = ["write", "fsync", "mkdirat", "renameat,renameat2", "unlinkat", "flock"];

/// The first of these calls that can be the store's.
fn first(call: &str) -> usize {
    if call == "write" { PRELUDE + 1 } else { 1 }
}

#[test]
fn after_a_kill_at_any_call_every_acknowledged_artifact_is_whole() {
    if !can_trace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for call in CALLS {
        for number in first(call).. {
            let folder = parent.path().join(format!("{call}-{number}"));
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let Ended { status, printed } = traced(&folder, &["-o", "/dev/null", "-e", &inject]);
            if folder.exists() {
                is_well(&folder);
            }
            if status.success() {
                assert_eq!(acknowledged(&folder).len(), contents().len(), "{printed}");
                break;
            }
            assert_eq!(status.signal(), Some(9), "{inject}: {printed}");
            kills += 1;
        }
    }
    assert!(kills >= 40, "{kills} kills");
}

#[test]
fn after_an_error_of_any_call_the_put_says_so_and_the_next_succeeds() {
    if !can_trace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    for (call, error) in [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("fsync", "EIO"),
        ("fsync", "ENOSPC"),
        ("mkdirat", "ENOSPC"),
        ("renameat,renameat2", "EIO"),
    ] {
        let mut faults = 0;
        for number in first(call).. {
            let folder = parent.path().join(format!("{call}-{error}-{number}"));
            let output = folder.with_extension("trace");
            let inject = format!("inject={call}:error={error}:when={number}");
            let output_name = output.display().to_string();
            let Ended { status, printed } =
                traced(&folder, &["-y", "-o", &output_name, "-e", &inject]);
            let calls = fs::read_to_string(output).unwrap();
            let mut calls = whole_calls(&calls).into_iter().map(|(_, call)| call);
            let Some(failed) = calls.find(|call| call.contains("(INJECTED)")) else {
                break;
            };
            // What the test prints and acknowledges goes through the same call.
            if !failed.contains(&format!("<{}/", folder.display())) {
                continue;
            }
            assert!(status.success(), "{inject}: {printed}");
            let told = printed.contains("failed: ") || printed.contains("refused to open");
            assert!(told, "{failed} went unnoticed");
            is_well(&folder);
            faults += 1;
        }
        // Each artifact is written, synced, and named once at least.
        assert!(faults >= 4, "{faults} faults of {call} by {error}");
    }
}

/// What happened, in order. A file is named by the path at which it was made.
#[derive(Debug)]
enum Event {
    Folder(PathBuf),
    Made(PathBuf),
    Written(PathBuf, Vec<u8>),
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    Acknowledged(usize),
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|hex| u8::from_str_radix(hex, 16).unwrap()).collect()
}

fn text(escaped: &str) -> String {
    String::from_utf8(unescape(escaped)).unwrap()
}

/// The paths that a call names: `4</folder>, "name"` is `/folder/name`, and a bare `4</file>` is `/file`.
fn paths(call: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut rest = call;
    while let Some(start) = rest.find(['<', '"']) {
        let end = if rest[start..].starts_with('<') { '>' } else { '"' };
        let Some(length) = rest[start + 1..].find(end) else { break };
        let named = text(&rest[start + 1..start + 1 + length]);
        match found.last_mut() {
            Some(folder) if end == '"' => folder.push(named),
            _ => found.push(named.into()),
        }
        rest = &rest[start + length + 2..];
    }
    found
}

/// The calls of a trace with the threads that made them, in the order in which they returned. One that was interrupted by another thread's
/// stands on two lines.
fn whole_calls(trace: &str) -> Vec<(&str, String)> {
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, beginning);
        } else if let Some(end) = call.strip_prefix("<... ") {
            let end = end.split_once("resumed>").unwrap().1;
            calls.push((thread, format!("{}{end}", begun.remove(thread).unwrap())));
        } else {
            calls.push((thread, call.to_owned()));
        }
    }
    calls
}

#[test]
fn a_call_of_a_trace_that_another_thread_interrupted_is_one_call() {
    let trace = "7  write(1, \"a\", 1 <unfinished ...>\n\
                 8  fsync(4</f> <unfinished ...>\n\
                 7  <... write resumed>)                 = 1\n\
                 7  openat(AT_FDCWD, \"b\", O_RDONLY) = 3\n\
                 8  <... fsync resumed>) = -1 EIO (Input/output error) (INJECTED)\n";
    let calls = whole_calls(trace);
    let calls: Vec<(&str, &str)> = calls.iter().map(|(thread, call)| (*thread, &**call)).collect();
    let expected = [
        ("7", "write(1, \"a\", 1)                 = 1"),
        ("7", "openat(AT_FDCWD, \"b\", O_RDONLY) = 3"),
        ("8", "fsync(4</f>) = -1 EIO (Input/output error) (INJECTED)"),
    ];
    assert_eq!(calls, expected);
}

/// What the child did to its folder, in which one thread puts; others of its process have calls of their own.
fn trace(folder: &Path) -> Vec<Event> {
    let output = folder.with_extension("trace");
    let output_name = output.display().to_string();
    let calls =
        "trace=openat,write,fsync,fdatasync,mkdir,mkdirat,renameat,renameat2,unlinkat,ftruncate";
    let arguments = ["-xx", "-y", "-s", "1000000", "-e", calls, "-o", &output_name];
    let Ended { status, printed } = traced(folder, &arguments);
    assert!(status.success(), "{printed}");
    let (told, mut names) = (acknowledgements(folder), BTreeMap::new());
    let (mut events, mut threads) = (Vec::new(), BTreeSet::new());
    for (thread, call) in whole_calls(&fs::read_to_string(output).unwrap()) {
        let Some((call, result)) = call.rsplit_once(" = ") else { continue };
        let (name, arguments) = call.split_once('(').unwrap();
        let named =
            paths(if name == "write" { arguments.split_once('"').unwrap().0 } else { arguments });
        let Some(path) = named.first().filter(|_| !result.starts_with('-')) else { continue };
        if !path.starts_with(folder) && *path != told {
            continue;
        }
        threads.insert(thread.to_owned());
        // A file keeps the name under which it was made.
        let made_as = |path: &PathBuf| names.get(path).unwrap_or(path).clone();
        match name {
            "write" if *path == told => {
                let number = text(arguments.split('"').nth(1).unwrap());
                events.push(Event::Acknowledged(number.trim().parse().unwrap()));
            }
            "write" => {
                let data = unescape(arguments.split('"').nth(1).unwrap());
                events.push(Event::Written(made_as(path), data));
            }
            "openat" if arguments.contains("O_CREAT") && *path != told => {
                events.push(Event::Made(path.clone()));
            }
            "openat" => {}
            "fsync" | "fdatasync" => events.push(Event::Synced(made_as(path))),
            "mkdir" | "mkdirat" => events.push(Event::Folder(path.clone())),
            "renameat" | "renameat2" => {
                let from = made_as(path);
                names.insert(named[1].clone(), from.clone());
                events.push(Event::Renamed(path.clone(), named[1].clone()));
            }
            "unlinkat" => events.push(Event::Removed(path.clone())),
            _ => panic!("{call} is not played back"),
        }
    }
    assert_eq!(threads.len(), 1, "calls of one thread are in the order in which they were made");
    events
}

struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Folder,
    /// The file that was made under this path.
    File(PathBuf),
}

/// A disk that forgets what was not synced: names of a folder until the folder is, bytes of a file until the file is.
#[derive(Debug, Default)]
struct Disk {
    entries: BTreeMap<PathBuf, Entry>,
    bytes: BTreeMap<PathBuf, Vec<u8>>,
    /// Changes of names that no sync has covered: the name, and what stands there after it.
    pending_entries: Vec<(PathBuf, Option<Entry>)>,
    pending_bytes: Vec<(PathBuf, Vec<u8>)>,
}

impl Disk {
    fn change(&mut self, path: PathBuf, entry: Option<Entry>) {
        match entry {
            Some(entry) => self.entries.insert(path, entry),
            None => self.entries.remove(&path),
        };
    }

    /// What a name stands for now, synced or not.
    fn now(&self, path: &Path) -> Option<Entry> {
        let pending = self.pending_entries.iter().rev().find(|(changed, _)| changed == path);
        pending.map_or_else(|| self.entries.get(path).cloned(), |(_, entry)| entry.clone())
    }

    fn hear(&mut self, event: &Event, syncs: bool) {
        match event {
            Event::Folder(path) => self.pending_entries.push((path.clone(), Some(Entry::Folder))),
            Event::Made(path) if self.now(path).is_none() => {
                self.pending_entries.push((path.clone(), Some(Entry::File(path.clone()))));
            }
            Event::Written(file, data) => self.pending_bytes.push((file.clone(), data.clone())),
            Event::Renamed(from, to) => {
                let entry = self.now(from);
                self.pending_entries.push((to.clone(), entry));
                self.pending_entries.push((from.clone(), None));
            }
            Event::Removed(path) => self.pending_entries.push((path.clone(), None)),
            Event::Synced(path) if syncs => self.sync(path),
            Event::Made(_) | Event::Synced(_) | Event::Acknowledged(_) => {}
        }
    }

    fn sync(&mut self, path: &Path) {
        let (mine, others) =
            std::mem::take(&mut self.pending_bytes).into_iter().partition(|(file, _)| file == path);
        self.pending_bytes = others;
        let mine: Vec<(PathBuf, Vec<u8>)> = mine;
        mine.into_iter().for_each(|(file, data)| self.bytes.entry(file).or_default().extend(data));
        let (mine, others) = std::mem::take(&mut self.pending_entries)
            .into_iter()
            .partition(|(name, _)| name.parent() == Some(path));
        self.pending_entries = others;
        let mine: Vec<(PathBuf, Option<Entry>)> = mine;
        mine.into_iter().for_each(|(name, entry)| self.change(name, entry));
    }

    /// The power goes: each change that was not synced may or may not have reached the disk, and of bytes any part.
    fn cut(mut self, choices: &mut Choices) -> Self {
        for (name, entry) in std::mem::take(&mut self.pending_entries) {
            if choices.below(2) == 0 {
                self.change(name, entry);
            }
        }
        for (file, data) in std::mem::take(&mut self.pending_bytes) {
            let reached = choices.below(data.len() + 1);
            let bytes = self.bytes.entry(file).or_default();
            bytes.extend_from_slice(&data[..reached]);
            // The length may be there without the bytes.
            bytes.resize(bytes.len() + choices.below(2) * (data.len() - reached), 0);
        }
        self
    }

    /// Lays the disk out as files; what hangs below a folder that is not there is not there either.
    fn lay_out(&self, from: &Path, to: &Path) {
        for (name, entry) in &self.entries {
            let place = to.join(name.strip_prefix(from).unwrap());
            if !place.parent().unwrap().is_dir() {
                continue;
            }
            match entry {
                Entry::Folder => fs::create_dir(place).unwrap(),
                Entry::File(file) => {
                    fs::write(place, self.bytes.get(file).map_or(&[][..], Vec::as_slice)).unwrap();
                }
            }
        }
    }
}

#[test]
fn after_a_power_cut_at_any_moment_every_acknowledged_artifact_is_whole() {
    if !can_trace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("store");
    fs::create_dir(&folder).unwrap();
    let events = trace(&folder);
    let told = events.iter().filter(|event| matches!(event, Event::Acknowledged(_))).count();
    assert_eq!(told, contents().len());
    let mut choices = Choices(9);
    let mut lost_without_syncs = 0;
    for round in 0..360 {
        let moment = choices.below(events.len() + 1);
        let syncs = round < 300;
        let mut disk = Disk::default();
        events[..moment].iter().for_each(|event| disk.hear(event, syncs));
        let acknowledged: BTreeSet<usize> = events[..moment]
            .iter()
            .filter_map(|event| match event {
                Event::Acknowledged(k) => Some(*k),
                _ => None,
            })
            .collect();
        let image = parent.path().join(format!("image-{round}"));
        fs::create_dir(&image).unwrap();
        disk.cut(&mut choices).lay_out(&folder, &image);
        let lost = lost(&image, &acknowledged);
        if syncs {
            assert_eq!(
                lost.unwrap(),
                0,
                "cut behind {:?}",
                &events[moment.saturating_sub(8)..moment]
            );
            if round % 4 == 0 {
                is_well(&image);
            }
        } else {
            lost_without_syncs += usize::from(lost.is_ok_and(|lost| lost > 0));
        }
        fs::remove_dir_all(image).unwrap();
    }
    // The control: a store that never syncs must lose something, or the model finds nothing.
    assert!(lost_without_syncs >= 20, "{lost_without_syncs} of 60 lost something without syncs");
}
