//! The file, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlp_core::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::checkpoint::{Checkpointer, Checkpoints, log_pages};
use crate::error::store;
use crate::gather;
use crate::network;
use crate::readers::Readers;
use crate::room::Room;
use crate::schema;
use crate::session::Session;
use crate::turns::Turns;
use crate::verify::{Report, verify};
use crate::version::check_version;
use crate::writer::Writer;

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
    /// takes.
    pub busy_timeout: Duration,
    /// Whether a file on a network file system is opened all the same. Default: no, locks cannot be trusted there.
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

/// An open database file. Cloning it shares it; the last clone to be dropped waits for the writes that were asked for and closes the file.
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
    /// on a network file system or with a SQLite before 3.51.3, `Busy` if another process locks it for longer than the timeout.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_with(path, &Options::default())
    }

    /// Opens a file with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl Into<PathBuf>, options: &Options) -> Result<Self, StoreError> {
        check_version(rusqlite::version_number())?;
        let path = plain(path.into());
        let place = network::place(&path);
        if !options.network_files {
            network::refuse(&place)?;
        }
        let writing = {
            let (path, options) = (path.clone(), options.clone());
            move || writing(&path, &options)
        };
        let reading = {
            let (path, timeout) = (path.clone(), options.busy_timeout);
            move || reading(&path, timeout)
        };
        let checkpoints = Checkpoints::default();
        let checkpointer = Checkpointer::start(writing()?, &place, checkpoints.clone())?;
        let (turns, room) = (Turns::open(&place)?, Room::new(&place));
        let patience = options.busy_timeout;
        let writer =
            Writer::start(writing()?, Box::new(writing), checkpointer, turns, room, patience)?;
        Ok(Self {
            inner: Arc::new(Inner { path, readers: Readers::new(reading), writer, checkpoints }),
        })
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

/// A path that SQLite does not take for a URI.
fn plain(path: PathBuf) -> PathBuf {
    let is_uri = path.as_os_str().as_encoded_bytes().starts_with(b"file:");
    if is_uri { Path::new(".").join(path) } else { path }
}

/// The bytes of a page in a new file; one that is there keeps its own. Of what an evaluation changes, each short record is in another page,
/// and all of the page is written: half of what SQLite chooses takes 0.9 of the time.
const PAGE_SIZE: i64 = 2_048;

/// The pages that a connection that writes keeps, in KiB as SQLite wants it told: the values of a group belong all over their index.
const CACHE: i64 = -16 * 1_024;

fn writing(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
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
    connection.pragma_update(None, "cache_size", CACHE).map_err(store)?;
    // The writer itself copies what the checkpointer has left for too long.
    let long = log_pages(&connection).map_err(store)?;
    connection.pragma_update(None, "wal_autocheckpoint", long).map_err(store)?;
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
        for (given, taken) in [("file:x.db?psow=0", "./file:x.db?psow=0"), ("x.db", "x.db")] {
            assert_eq!(plain(PathBuf::from(given)), PathBuf::from(taken));
        }
        let folder = tempfile::tempdir().unwrap();
        let absolute = folder.path().join("file:y.db?mode=memory");
        drop(Database::open(&absolute).unwrap());
        assert!(absolute.exists());
    }

    #[test]
    fn a_new_file_has_short_pages_and_one_that_is_there_keeps_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/schema_5.db");
        std::fs::copy(fixture, &old).unwrap();
        for (path, page_size) in [(new, PAGE_SIZE), (old, 4_096)] {
            let database = Database::open(path).unwrap();
            let of_log = database.write(move |session| {
                let read =
                    |name| session.connection.pragma_query_value(None, name, |row| row.get(0));
                let pages: i64 = read("wal_autocheckpoint").map_err(store)?;
                Ok((read("page_size").map_err(store)?, pages))
            });
            assert_eq!(of_log.unwrap(), (page_size, (64 << 20) / page_size));
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
