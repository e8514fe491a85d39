//! Studies in one file, in the format of Optuna's `JournalStorage`.

mod checksum;
mod decimal;
mod distribution;
mod line;
mod lock;
mod number;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use mlp_core::{Direction, StoreError};
use parking_lot::Mutex;
use serde_json::Value;

use super::ledger::Ledger;
use super::{Changes, StudyId, StudyStore, TrialDraft, TrialEvent};
use distribution::Distributions;
use lock::FileLock;

/// How every line of ours begins, the first one among them.
const FIRST: &[u8] = br#"{"op_code":"#;
/// How much of the file is read at a time, in bytes.
const BUFFER: usize = 1 << 16;
/// How many damaged lines a journal remembers.
const MAX_DAMAGE: usize = 1_000;

/// Keeps studies in a file that Optuna, its dashboard and its Python workers read and write too (`JournalStorage(JournalFileBackend(path))`,
/// Optuna 5.0).
///
/// Creating and finishing a trial write one line each, synced to the disk before the call returns. Every write takes the same lock file as
/// Optuna's, and looks at the end of the file first: a line that a dying process left unfinished is moved to `<path>.torn`, so that the
/// next line does not glue to it. Each line of ours carries a checksum, in a key that Optuna passes over. Damaged lines in the middle are passed over and listed
/// by [`damage`](Self::damage); where one created a trial, a failed one stands in for it, so that the results of later trials stay theirs. Optuna itself refuses a file
/// that has some.
///
/// When the disk is full the line is taken back ([`StoreError::StorageFull`]), and writing goes on when there is room. After any other failed write or
/// sync the journal is closed ([`StoreError::Closed`]): open it again.
///
/// Choices that are lists are written as JSON lists, which Optuna reads with a warning; Optuna's `None` is read as the text `None`.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// A handle of its own, for the system's lock.
    lock: File,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    ledger: Ledger,
    distributions: Distributions,
    /// Up to where the file was read.
    offset: u64,
    lines: u64,
    damage: Vec<Damage>,
    damaged: u64,
    closed: bool,
}

/// A line of a journal that could not be read, or not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The number of the line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

impl Journal {
    /// Opens a journal, or creates it. The folder must exist.
    ///
    /// # Errors
    /// If the file cannot be opened or read; or [`StoreError::Corrupt`] if there is something in it and no line of that is one of a journal: it is another
    /// file, and stays as it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = std::path::absolute(path.as_ref()).map_err(StoreError::backend)?;
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(StoreError::backend)?;
        let lock = file.try_clone().map_err(StoreError::backend)?;
        let mut inner = Inner {
            file,
            ledger: Ledger::default(),
            distributions: Distributions::default(),
            offset: 0,
            lines: 0,
            damage: Vec::new(),
            damaged: 0,
            closed: false,
        };
        inner.catch_up()?;
        inner.refuse_other_files(&path)?;
        if inner.offset == 0 {
            // It may be new: what is synced to it must be found under its name.
            sync_parent(&path)?;
        }
        Ok(Self { path, lock, inner: Mutex::new(inner) })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lines that were passed over so far, the first 1,000 of them.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.inner.lock().damage.clone()
    }

    /// How many lines were passed over so far.
    #[must_use]
    pub fn damaged_lines(&self) -> u64 {
        self.inner.lock().damaged
    }

    /// Under the lock, on what is newest: checks, then appends the lines that `compose` returns, then applies them.
    fn write<T>(
        &self,
        durability: Durability,
        compose: impl FnOnce(&mut Inner) -> Result<(Option<String>, T), StoreError>,
    ) -> Result<T, StoreError> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(StoreError::Closed);
        }
        let lock = FileLock::take(&self.lock, &self.path)?;
        inner.repair(&self.path)?;
        inner.catch_up()?;
        let (line, answer) = compose(&mut inner)?;
        if let Some(line) = line {
            inner.append(&checksum::sign(line), durability)?;
            inner.catch_up()?;
        }
        drop(lock);
        Ok(answer)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// Synced to the disk before the call returns.
    Synced,
    /// In the file; synced with the next creation or finish.
    Written,
}

impl Inner {
    /// Reads and applies what was appended since the last time, complete lines only.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let length = self.file.metadata().map_err(StoreError::backend)?.len();
        if length < self.offset {
            return Err(StoreError::Corrupt {
                what: "the journal".into(),
                reason: format!("it shrank from {} to {length} bytes", self.offset),
            });
        }
        if length == self.offset {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(self.offset)).map_err(StoreError::backend)?;
        let file = self.file.try_clone().map_err(StoreError::backend)?;
        let mut unread = BufReader::with_capacity(BUFFER, file.take(length - self.offset));
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            unread.read_until(b'\n', &mut buffer).map_err(StoreError::backend)?;
            let line = buffer.as_slice();
            if !line.ends_with(b"\n") {
                return Ok(()); // The end, or a line that is being written.
            }
            self.offset += line.len() as u64;
            self.lines += 1;
            let outcome = match checksum::is_whole(line) {
                true => line::apply(line, &mut self.ledger, &mut self.distributions),
                false => Err("its checksum does not match".to_owned()),
            };
            if let Err(reason) = outcome {
                line::stand_in(line, self.lines, &mut self.ledger);
                self.damaged += 1;
                if self.damage.len() < MAX_DAMAGE {
                    self.damage.push(Damage { line: self.lines, reason });
                }
            }
        }
    }

    /// Whether what is there belongs to a journal: one good line, or the beginning of a first one.
    fn refuse_other_files(&mut self, path: &Path) -> Result<(), StoreError> {
        let length = self.file.metadata().map_err(StoreError::backend)?.len();
        if length == 0 || self.lines > self.damaged {
            return Ok(());
        }
        let mut start = [0; FIRST.len()];
        let seen = start.len().min(length as usize);
        self.file.seek(SeekFrom::Start(0)).map_err(StoreError::backend)?;
        self.file.read_exact(&mut start[..seen]).map_err(StoreError::backend)?;
        if self.lines == 0 && start[..seen] == FIRST[..seen] {
            return Ok(()); // The process that created it died over its first line.
        }
        let reason =
            format!("{length} bytes, and none of {} lines is one of a journal", self.lines);
        Err(StoreError::Corrupt { what: format!("the journal {}", path.display()), reason })
    }

    /// Moves an unfinished last line out of the way. The caller holds the lock.
    fn repair(&mut self, path: &Path) -> Result<(), StoreError> {
        self.catch_up()?;
        let length = self.file.metadata().map_err(StoreError::backend)?.len();
        if length == self.offset {
            return Ok(());
        }
        let mut torn = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset)).map_err(StoreError::backend)?;
        self.file.read_to_end(&mut torn).map_err(StoreError::backend)?;
        torn.push(b'\n');
        let mut kept = path.as_os_str().to_owned();
        kept.push(".torn");
        let mut kept =
            OpenOptions::new().append(true).create(true).open(kept).map_err(StoreError::backend)?;
        kept.write_all(&torn).map_err(StoreError::backend)?;
        self.file.set_len(self.offset).map_err(StoreError::backend)
    }

    /// Appends a line whole or not at all; if that cannot be said, the journal is closed.
    fn append(&mut self, line: &str, durability: Durability) -> Result<(), StoreError> {
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            let error = storage_error(error);
            // A full disk may have taken half of the line: without it the journal is as it was, and goes on when there is room.
            let undone = self.file.set_len(self.offset);
            self.closed = undone.is_err() || !matches!(error, StoreError::StorageFull);
            return Err(error);
        }
        if durability == Durability::Synced
            && let Err(error) = self.file.sync_data()
        {
            // What the disk has now is unknown, and syncing again would not tell.
            self.closed = true;
            return Err(storage_error(error));
        }
        Ok(())
    }
}

/// Makes the name of a file durable.
fn sync_parent(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some systems and file systems cannot sync folders.
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::InvalidInput | ErrorKind::PermissionDenied
            ) =>
        {
            Err(storage_error(error))
        }
        _ => Ok(()),
    }
}

fn storage_error(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::StorageFull
        }
        _ => StoreError::backend(error),
    }
}

impl StudyStore for Journal {
    fn open_study(&self, name: &str, directions: &[Direction]) -> Result<StudyId, StoreError> {
        self.write(Durability::Synced, |inner| {
            if let Some(id) = inner.ledger.open(name, directions)? {
                return Ok((None, id));
            }
            let next = inner.ledger.study_count();
            Ok((Some(line::create_study(name, directions)), StudyId(next)))
        })
    }

    fn studies(&self) -> Result<Vec<(StudyId, String, Vec<Direction>)>, StoreError> {
        let mut inner = self.inner.lock();
        inner.catch_up()?;
        Ok(inner.ledger.studies())
    }

    fn set_attribute(&self, study: StudyId, name: &str, value: &Value) -> Result<(), StoreError> {
        self.write(Durability::Synced, |inner| {
            inner.ledger.attributes(study)?;
            Ok((Some(line::study_attribute(study, name, value)), ()))
        })
    }

    fn attributes(&self, study: StudyId) -> Result<BTreeMap<String, Value>, StoreError> {
        let mut inner = self.inner.lock();
        inner.catch_up()?;
        inner.ledger.attributes(study).cloned()
    }

    fn create_trial(
        &self,
        study: StudyId,
        number: u64,
        draft: &TrialDraft,
    ) -> Result<(), StoreError> {
        self.write(Durability::Synced, |inner| {
            inner.ledger.check_next(study, number)?;
            let id = inner.ledger.next_global_id();
            Ok((Some(line::create_trial(study, id, draft, &mut inner.distributions)?), ()))
        })
    }

    fn record(&self, study: StudyId, number: u64, event: &TrialEvent) -> Result<(), StoreError> {
        let durability = match event {
            TrialEvent::Claim { .. } | TrialEvent::Finish { .. } => Durability::Synced,
            _ => Durability::Written,
        };
        self.write(durability, |inner| {
            inner.ledger.check_event(study, number, event)?;
            if let TrialEvent::Report { step, .. } = event
                && inner.ledger.trial(study, number)?.reports.contains_key(step)
            {
                return Ok((None, ())); // Optuna would let the later report win.
            }
            let id = inner.ledger.global_id(study, number)?;
            Ok((Some(line::event(id, event)?), ()))
        })
    }

    fn changes(&self, study: StudyId, since: u64) -> Result<Changes, StoreError> {
        let mut inner = self.inner.lock();
        inner.catch_up()?;
        inner.ledger.changes(study, since)
    }
}

#[cfg(test)]
mod tests;
