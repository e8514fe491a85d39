//! The file, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::checkpoint::{Checkpointer, Checkpoints};
use crate::error::store;
use crate::gather;
use crate::identity::Identity;
use crate::network;
use crate::readers::Readers;
use crate::room::Room;
use crate::schema;
use crate::session::Session;
use crate::turns::Turns;
use crate::verify::{Report, verify};
use crate::version::check_version;
use crate::writer::{Beside, Writer};

/// What a write that returned has survived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// `kill -9` and a power cut: each group of writes is synced before it is acknowledged.
    #[default]
    Full,
    /// `kill -9` only: the operating system writes when it likes, and a power cut takes the last writes. Never half of one.
    Normal,
}

/// How a database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What a write that returned has survived. Default: everything.
    pub durability: Durability,
    /// How long a write waits for other processes that write, from when it was asked for. Default 10 s: more than any of our own writes
    /// takes, but for what is done to a whole experiment of more than 100,000 evaluations; at most 24 days, which is what SQLite counts to.
    pub busy_timeout: Duration,
    /// Whether a file on a network file system is opened all the same. Default: no, locks cannot be trusted there, and neither can the numbers
    /// of files, so that a file that was replaced is not noticed.
    pub network_files: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            busy_timeout: Duration::from_secs(10),
            network_files: false,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what a write that returned has survived.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Sets how long a write waits for another process that writes.
    #[must_use]
    pub fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Opens files on network file systems all the same.
    #[must_use]
    pub fn with_network_files(mut self) -> Self {
        self.network_files = true;
        self
    }
}

/// An open database file. It is that file for good: if its path leads to another one or to none, reads and writes are errors until it is back.
/// Cloning it shares it; the last clone to be dropped waits for the writes that were asked for and closes the file.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    // In this order: the last connection to close cleans up, and the writer is the one that may.
    readers: Readers,
    writer: Writer,
    checkpoints: Checkpoints,
}

impl Database {
    /// Opens a file, or begins one where none is. Its folder must exist.
    ///
    /// # Errors
    /// `Corrupt` if the file is damaged or belongs to another program, `NewerSchema` if a later version of the library wrote it, `Invalid`
    /// on a network file system, for `:memory:`, or with a SQLite before 3.51.3, `Busy` if another process locks it for longer than the timeout.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path, &Options::default())
    }

    /// Opens a file with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl Into<PathBuf>, options: &Options) -> Result<Self, StoreError> {
        check_version(rusqlite::version_number())?;
        let path = absolute(&path.into())?;
        let place = network::place(&path);
        let is_local = network::refuse(&place);
        let is_trusted = is_local.is_ok();
        if !options.network_files {
            is_local?;
        }
        let mut options = options.clone();
        options.busy_timeout = options.busy_timeout.min(LONGEST_TIMEOUT);
        let first = writing(&path, &options, OpenFlags::SQLITE_OPEN_CREATE)?;
        let file = Identity::of(&path, is_trusted)?;
        let patience = options.busy_timeout;
        let reading = {
            let path = path.clone();
            move || reading(&path, patience)
        };
        let readers = Readers::new(file.clone(), reading);
        let again = {
            let (path, file) = (path.clone(), file.clone());
            move || file.check().and_then(|()| writing(&path, &options, OpenFlags::empty()))
        };
        let checkpoints = Checkpoints::default();
        let checkpointer = Checkpointer::start(again()?, checkpoints.clone())?;
        let beside =
            Beside { checkpointer, turns: Turns::open(&place)?, room: Room::new(&place), file };
        let writer = Writer::start(first, Box::new(again), beside, patience)?;
        Ok(Self { inner: Arc::new(Inner { path, readers, writer, checkpoints }) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Reads every record and compares it with its checksum, every table with its total, and the file with itself (SQLite's
    /// `integrity_check`). Takes time in proportion to the file.
    ///
    /// # Errors
    /// If the file is so damaged that it cannot be read at all.
    pub fn verify(&self) -> Result<Report, StoreError> {
        self.read(verify)
    }

    /// Why the write-ahead log could not be copied into the file last time, if it could not. Nothing is lost, but the log grows until it can.
    #[must_use]
    pub fn checkpoint_error(&self) -> Option<String> {
        self.inner.checkpoints.error()
    }

    /// Brings what the query planner knows up to date; worth it after a large import.
    ///
    /// # Errors
    /// If the storage fails.
    pub fn optimize(&self) -> Result<(), StoreError> {
        self.write(|session| session.connection.execute_batch("PRAGMA optimize").map_err(store))
    }

    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.inner.readers.read(work)
    }

    pub(crate) fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inner.writer.write(work)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.inner.writer.waiting()
    }
}

/// As long as SQLite waits at most, but for a day: it counts milliseconds in 32 bits.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 24 * 60 * 60);

/// A path that stays the same when the folder of the process changes, and that SQLite does not take for a URI.
fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    // SQLite's names for what is in memory, and for what is deleted when it is closed.
    if path == Path::new(":memory:") || path.as_os_str().is_empty() {
        let reason = format!("{path:?} names none; `mlp_eval::InMemoryEvalStore` is in memory");
        return Err(StoreError::invalid("the database file", reason));
    }
    std::path::absolute(path).map_err(StoreError::backend)
}

/// The bytes of a page in a new file; one that is there keeps its own. Of what an evaluation changes, each short record is in another page,
/// and all of the page is written: half of what SQLite chooses takes 0.9 of the time.
const PAGE_SIZE: i64 = 2_048;

/// The pages that a connection that writes keeps, in KiB as SQLite wants it told: the values of a group belong all over their index.
const CACHE: i64 = -16 * 1_024;

/// Opens a file to write to; one that is not there comes to be only if `create` says so.
fn writing(path: &Path, options: &Options, create: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    // What is gathered is written when a commit is synced, so that each has to be.
    let gather = match options.durability {
        Durability::Full => gather::vfs(),
        Durability::Normal => None,
    };
    let opened = match gather {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs),
        None => Connection::open_with_flags(path, flags),
    };
    let mut connection = opened.map_err(store)?;
    prepare(&connection, options.busy_timeout)?;
    // Before anything is changed: it may be somebody else's, and so may its log, which the last to close a file copies into it.
    let keep_log = |keep| {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map_err(store)
    };
    keep_log(true)?;
    schema::version(&connection)?;
    keep_log(false)?;
    connection.pragma_update(None, "page_size", PAGE_SIZE).map_err(store)?;
    become_wal(&connection, options.busy_timeout)?;
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous).map_err(store)?;
    // On Apple's systems a sync that leaves the cache of the drive alone is none; elsewhere these change nothing.
    let is_full = options.durability == Durability::Full;
    connection.pragma_update(None, "fullfsync", is_full).map_err(store)?;
    connection.pragma_update(None, "checkpoint_fullfsync", is_full).map_err(store)?;
    connection.pragma_update(None, "cache_size", CACHE).map_err(store)?;
    // Not within a commit, for which somebody waits.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(store)?;
    schema::migrate(&mut connection)?;
    Ok(connection)
}

/// Turns the write-ahead log on. SQLite does not wait for other processes here, so we do.
fn become_wal(connection: &Connection, timeout: Duration) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        let mode = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match mode {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                let reason = format!("its journal mode stays {mode}");
                return Err(StoreError::invalid("the database file", reason));
            }
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < timeout =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(store(error)),
        }
    }
}

fn reading(path: &Path, timeout: Duration) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(store)?;
    prepare(&connection, timeout)?;
    connection.pragma_update(None, "query_only", true).map_err(store)?;
    Ok(connection)
}

fn prepare(connection: &Connection, timeout: Duration) -> Result<(), StoreError> {
    connection.busy_timeout(timeout).map_err(store)?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "trusted_schema", false).map_err(store)?;
    connection.pragma_update(None, "cell_size_check", true).map_err(store)?;
    #[cfg(feature = "eval")]
    crate::eval::add_functions(connection).map_err(store)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_begins_like_a_uri_is_a_path() {
        let here = std::env::current_dir().unwrap();
        for given in ["file:x.db?psow=0", "x.db"] {
            assert_eq!(absolute(Path::new(given)).unwrap(), here.join(given));
        }
        for none in ["", ":memory:"] {
            assert!(matches!(Database::open(none), Err(StoreError::Invalid { .. })), "{none:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let absolute = folder.path().join("file:y.db?mode=memory");
        drop(Database::open(&absolute).unwrap());
        assert!(absolute.exists());
    }

    #[test]
    fn a_timeout_without_end_is_as_long_as_sqlite_counts() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new().with_busy_timeout(Duration::MAX);
        let database = Database::open_with(folder.path().join("mlp.db"), &options).unwrap();
        assert_eq!(database.write(|_| Ok(7)).unwrap(), 7);
    }

    #[test]
    fn a_file_that_was_analysed_is_sound() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let analyse =
            |session: &Session<'_>| session.connection.execute_batch("ANALYZE").map_err(store);
        database.write(analyse).unwrap();
        database.optimize().unwrap();
        let report = database.verify().unwrap();
        assert!(report.is_sound(), "{report}");
    }

    /// What an error says.
    fn said<T>(result: Result<T, StoreError>) -> String {
        let error = result.err().expect("an error");
        format!("{error} {:?}", std::error::Error::source(&error))
    }

    #[test]
    fn a_file_that_is_gone_takes_no_writes_and_none_comes_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlp.db");
        let database = Database::open(&path).unwrap();
        database.write(|_| Ok(())).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            std::fs::remove_file(format!("{}{suffix}", path.display())).unwrap();
        }
        for _ in 0..2 {
            let change = |session: &Session<'_>| {
                session.connection.execute_batch("CREATE TABLE mark (a)").map_err(store)
            };
            let told = said(database.write(change));
            assert!(told.contains("cannot be found any more"), "{told}");
        }
        assert!(!path.exists(), "another file was begun");
    }

    #[test]
    fn a_file_in_the_place_of_the_one_that_was_opened_is_neither_read_nor_written() {
        let folder = tempfile::tempdir().unwrap();
        let [path, one, other] =
            ["mlp.db", "one.db", "other.db"].map(|name| folder.path().join(name));
        drop((Database::open(&one).unwrap(), Database::open(&other).unwrap()));
        std::os::unix::fs::symlink(&one, &path).unwrap();
        let database = Database::open(&path).unwrap();
        let count = |connection: &Connection| {
            let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'mark'";
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(store)
        };
        let mark = |session: &Session<'_>| {
            session.connection.execute_batch("CREATE TABLE mark (a)").map_err(store)
        };
        assert_eq!(database.read(count).unwrap(), 0);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        for _ in 0..2 {
            let told = [said(database.read(count)), said(database.write(mark))];
            assert!(told.iter().all(|told| told.contains("another is in its place")), "{told:?}");
        }
        // The first is itself again, and what failed has changed nothing.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&one, &path).unwrap();
        assert_eq!(database.read(count).unwrap(), 0);
        database.write(mark).unwrap();
        assert_eq!(database.read(count).unwrap(), 1);
    }

    #[test]
    fn a_new_file_has_short_pages_and_one_that_is_there_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schema_5.db");
        std::fs::copy(fixture, &old).unwrap();
        for (path, page_size) in [(new, PAGE_SIZE), (old, 4_096)] {
            let database = Database::open(path).unwrap();
            let read = database.write(|session| {
                session
                    .connection
                    .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
                    .map_err(store)
            });
            assert_eq!(read.unwrap(), page_size);
        }
    }

    #[test]
    fn a_write_that_meets_a_fault_of_the_disk_gets_a_new_connection() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let mark = |session: &Session<'_>| {
            session.connection.execute_batch("CREATE TEMP TABLE mark (a)").map_err(store)
        };
        let is_marked = |session: &Session<'_>| {
            Ok(session.connection.prepare("SELECT a FROM temp.mark").is_ok())
        };
        database.write(mark).unwrap();
        assert!(
            database.write(is_marked).unwrap(),
            "a temporary table lasts as long as its connection"
        );
        let other: Result<(), _> = database.write(|_| Err(StoreError::StorageFull));
        assert!(other.is_err() && database.write(is_marked).unwrap());
        let fault = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        let failed: Result<(), _> =
            database.write(move |_| Err(store(rusqlite::Error::SqliteFailure(fault, None))));
        assert!(failed.is_err());
        assert!(!database.write(is_marked).unwrap(), "the connection was used again");
    }

    #[test]
    fn a_write_that_fails_before_it_changes_anything_leaves_the_totals_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path().join("mlp.db")).unwrap();
        let refused: Result<(), _> = database.write(|session| {
            session.removed("scores", 5);
            Err(StoreError::Closed)
        });
        assert!(refused.is_err());
        database.write(|_| Ok(())).unwrap();
        let report = database.verify().unwrap();
        assert!(report.is_sound(), "{report}");
        // The control: a count without its record is found.
        let miscounting = database.write(|session| {
            session.removed("scores", 5);
            Ok(())
        });
        miscounting.unwrap();
        assert!(!database.verify().unwrap().is_sound());
    }
}
