//! What the children do that are killed, starved and cut off, and what must be there afterwards.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mlp_core::{EvaluationId, ModelName, RecordId, StoreError, Timestamp};
use mlp_eval::{Batch, EvalStore, Evaluation, Filter, NewEvaluation, Query, Stage, Status};
use mlp_lineage::{LineageStore, ModelRegistry, Record};
use mlp_sqlite::{Database, Durability, Options};

/// Where a child finds its database.
pub(crate) const PLACE: &str = "MLP_SQLITE_CHILD";
/// Which durability a child asks for.
pub(crate) const NORMAL: &str = "MLP_SQLITE_NORMAL";

/// A process that is being started holds the locks of open files for a moment: children and their parents take turns.
pub(crate) static TURNS: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

pub(crate) fn place() -> Option<PathBuf> {
    std::env::var(PLACE).ok().map(PathBuf::from)
}

/// Opens a file whose writes wait for other processes for as long as a busy machine may need.
pub(crate) fn open(path: &Path) -> Result<Database, StoreError> {
    let mut options = Options::new().with_busy_timeout(Duration::from_secs(120));
    if std::env::var(NORMAL).is_ok() {
        options = options.with_durability(Durability::Normal);
    }
    Database::open_with(path, &options)
}

pub(crate) fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(second as i64 * 1_000_000)
}

/// The id of the k-th evaluation of a script.
pub(crate) fn id(k: u64) -> EvaluationId {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&k.to_be_bytes());
    EvaluationId::from_bytes(bytes)
}

/// The model of which each step records a version.
pub(crate) fn model() -> ModelName {
    "wine".parse().unwrap()
}

/// The longest tag there can be, whose commit takes several writes.
pub(crate) const LARGE: usize = 1 << 20;
/// One whose commit takes one.
const SMALL: usize = 300;

/// The k-th step of a script: an evaluation, then a record and its version; each whole or not there.
pub(crate) fn step(database: &Database, k: u64) -> Result<(), StoreError> {
    step_with(database, k, SMALL)
}

/// As [`step`], with a tag of this length.
pub(crate) fn step_with(database: &Database, k: u64, length: usize) -> Result<(), StoreError> {
    evaluate_with(database, k, length)?;
    let mut record = Record::new(model(), at(k)).with_parameter("k", k as i64);
    record.id = RecordId::from_bytes(*id(k).as_bytes());
    database.record_version(record, at(k)).map(|_| ())
}

/// An evaluation with three parameters, two tags and 20 points, in one write.
pub(crate) fn evaluate(database: &Database, k: u64) -> Result<(), StoreError> {
    evaluate_with(database, k, SMALL)
}

/// As [`evaluate`], with a tag of this length.
pub(crate) fn evaluate_with(database: &Database, k: u64, length: usize) -> Result<(), StoreError> {
    let mut run = NewEvaluation::new(format!("e{}", k % 3), Stage::Test, at(k))
        .with_id(id(k))
        .with_tag("k", k.to_string())
        .with_tag("long", "x".repeat(length))
        .with_metric("acc", k as f64);
    for name in ["a", "b", "c"] {
        run = run.with_param(name, k as i64);
    }
    let mut batch = Batch::new().finished(Status::Finished, at(k + 1));
    for point in 0..20 {
        batch = batch.with_point("loss", point, at(k), k as f64 + point as f64);
    }
    database.create_with(&run, &batch)
}

/// As [`check`], for a script that records what it evaluates.
pub(crate) fn check_with_records(path: &Path, acknowledged: &[u64]) -> u64 {
    let found = check(path, acknowledged);
    let database = Database::open(path).unwrap();
    for k in acknowledged {
        let record = RecordId::from_bytes(*id(*k).as_bytes());
        assert!(LineageStore::get(&database, record).is_ok(), "record {k} is lost");
    }
    found
}

/// Whether an evaluation has everything that its step wrote.
pub(crate) fn check_whole(database: &Database, evaluation: &Evaluation) {
    let k: u64 = evaluation.tags["k"].parse().unwrap();
    assert_eq!(evaluation.id, id(k));
    assert_eq!((evaluation.params.len(), evaluation.tags.len()), (3, 2), "half of {k}");
    assert_eq!(
        (evaluation.status, evaluation.metrics.get("acc")),
        (Status::Finished, Some(k as f64))
    );
    let points = database.series(evaluation.id, &"loss".into()).unwrap();
    assert_eq!(points.len(), 20, "half of {k}");
    assert!(points.iter().enumerate().all(|(i, point)| point.value == k as f64 + i as f64));
}

/// Everything that was acknowledged is there, and whatever is there is whole. Gives how many evaluations there are.
pub(crate) fn check(path: &Path, acknowledged: &[u64]) -> u64 {
    let database = Database::open(path).unwrap();
    let report = database.verify().unwrap();
    assert!(report.is_sound(), "{report}");
    let page = database.query(&Query::default().with_limit(50_000)).unwrap();
    page.evaluations.iter().for_each(|evaluation| check_whole(&database, evaluation));
    for k in acknowledged {
        assert!(EvalStore::get(&database, id(*k)).is_ok(), "{k} was acknowledged and is lost");
    }
    assert_eq!(database.verify_chain(None).unwrap(), None);
    let records = database.records_of(&model()).unwrap().len();
    assert_eq!(database.versions(&model()).unwrap().len(), records, "a record without its version");
    database.count(&Filter::everything()).unwrap()
}

/// Where a child writes down what was acknowledged.
pub(crate) fn acknowledgements(path: &Path) -> PathBuf {
    path.with_extension("acknowledged")
}

pub(crate) fn acknowledgement_file(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(acknowledgements(path)).unwrap()
}

pub(crate) fn acknowledge(file: &File, k: u64) {
    let mut file = file;
    file.write_all(format!("{k}\n").as_bytes()).unwrap();
}

pub(crate) fn acknowledged(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(acknowledgements(path)).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

/// One of three that read for 60 ms at a time and take turns in beginning, so that one of them reads at any moment.
pub(crate) fn read_in_turn(path: &Path, number: u64, is_over: impl Fn() -> bool) {
    let connection = rusqlite::Connection::open(path).unwrap();
    std::thread::sleep(Duration::from_millis(number * 20));
    while !is_over() {
        connection.execute_batch("BEGIN; SELECT count(*) FROM evaluation").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        connection.execute_batch("COMMIT").unwrap();
    }
}

/// This test binary, told to be one of the children.
pub(crate) fn child(mut command: Command, name: &str, path: &Path) -> Command {
    command
        .args(["--include-ignored", "--nocapture", "--test-threads=1", "--exact", name])
        .env(PLACE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A child that is killed at the latest when this is dropped, by a test that fails too.
pub(crate) struct Killed(Child);

impl Killed {
    pub(crate) fn spawn(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills it now; it must not have ended by itself.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        let signal = self.0.wait().unwrap().signal();
        assert_eq!(signal, Some(9), "it ended by itself");
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended, or been killed before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long this thread has had a processor, which nobody else on the machine makes longer; where the system does not tell, how long it is
/// since then.
pub(crate) fn worked(since: Instant) -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    nanoseconds.map_or_else(|| since.elapsed(), Duration::from_nanos)
}

/// The suffixes of the files of a database.
pub(crate) const DATABASE_AND_LOG: [&str; 2] = ["", "-wal"];

/// The child under `strace` with these arguments, which concern the files with these suffixes only.
pub(crate) fn traced(suffixes: &[&str], name: &str, path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]);
    for suffix in suffixes {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        command.arg("-P").arg(file);
    }
    command.args(arguments).arg(std::env::current_exe().unwrap());
    child(command, name, path)
}

/// What came of a child into whose calls `strace` put a signal or an error.
pub(crate) struct Injected {
    pub(crate) output: std::process::Output,
    /// Which threads met it, by what they do.
    pub(crate) threads: Vec<&'static str>,
}

/// Runs a child with something injected into the calls named, such as `error=EIO:when=3`. Calls are counted in each thread by itself.
pub(crate) fn inject(name: &str, path: &Path, calls: &str, what: &str) -> Injected {
    inject_into(&DATABASE_AND_LOG, name, path, calls, what)
}

/// As [`inject`], into the calls that concern the files with these suffixes.
pub(crate) fn inject_into(
    suffixes: &[&str],
    name: &str,
    path: &Path,
    calls: &str,
    what: &str,
) -> Injected {
    let trace = path.with_extension("trace");
    let (watched, injected) = (format!("trace={calls}"), format!("inject={calls}:{what}"));
    // Names of threads, and only the beginning of what is written.
    let arguments =
        ["-Y", "-s", "1", "-o", trace.to_str().unwrap(), "-e", &watched, "-e", &injected];
    let output = traced(suffixes, name, path, &arguments).output().unwrap();
    let text = std::fs::read_to_string(trace).unwrap();
    // A call that never returned is the one that was killed, another's that was under way stands on a line of its own kind.
    let met = text.lines().filter(|line| line.ends_with("(INJECTED)") || line.ends_with("= ?"));
    Injected { threads: met.map(thread_of).collect(), output }
}

/// The name of a thread, of which the kernel keeps 15 bytes, stands between angle brackets in front.
fn thread_of(line: &str) -> &'static str {
    let name = line.split_once('<').unwrap().1.split_once('>').unwrap().0;
    match name {
        "mlp-sqlite-writ" => "writer",
        "mlp-sqlite-chec" => "checkpointer",
        _ => "opener",
    }
}

/// Whether `strace` is there and may trace; where it must be, that it is not is a failure.
pub(crate) fn can_trace() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        assert!(std::env::var("CI").is_err(), "strace is not there or may not trace");
        eprintln!("skipped: strace is not there or may not trace");
    }
    works
}
