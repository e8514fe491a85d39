//! A journal in a file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::{ContentHash, StoreError};
use parking_lot::Mutex;

use super::{Journal, JournalContents, JournalLine, verify};

const HEADER: &str = "mlp-rollback journal 1\n";
const MAGIC: &str = "mlp-rollback journal ";
/// The most bytes of a line: longer ones are refused before they are written.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A journal in a file of its own: one line a record, number, hash and JSON, made durable one by one.
///
/// An append writes the line and then waits until file data and length are on the disk (`fdatasync`). One process at a time may have it
/// open. A last line that was never finished is cut off when the file is opened, and reported; a damaged line anywhere is an error that
/// names it.
#[derive(Debug)]
pub struct FileJournal {
    path: PathBuf,
    torn_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    length: u64,
    next: u64,
    condition: Condition,
}

/// Whether a line may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    /// The disk was full: what came after the last line is unknown, and is cut off before another line.
    Full,
    /// The disk fails: nothing more may follow.
    Closed,
}

impl FileJournal {
    /// Opens a journal, or begins one where no file is.
    ///
    /// # Errors
    /// `Busy` if another process has it open, `Corrupt` naming the line if it is damaged or no journal, `NewerSchema` if a later version
    /// of the library wrote it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        if !path.try_exists().map_err(StoreError::backend)? {
            create(&path)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).open(&path).map_err(StoreError::backend)?;
        lock(&file, &path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(StoreError::backend)?;
        let parsed = parse(&bytes)?;
        verify(&parsed.lines)?;
        let mut length = parsed.length as u64;
        if length < bytes.len() as u64 {
            file.set_len(length).map_err(StoreError::backend)?;
        }
        if parsed.lacks_line_break {
            file.seek(SeekFrom::Start(length)).map_err(StoreError::backend)?;
            file.write_all(b"\n").map_err(StoreError::backend)?;
            length += 1;
        }
        if length != bytes.len() as u64 {
            file.sync_all().map_err(StoreError::backend)?;
        }
        let next = parsed.lines.len() as u64;
        let state = Mutex::new(State { file, length, next, condition: Condition::Open });
        Ok(Self { path, torn_bytes: (bytes.len() - parsed.length) as u64, state })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Journal for FileJournal {
    fn append(&self, line: &JournalLine) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        match state.condition {
            Condition::Open => {}
            Condition::Full => state.cut_off()?,
            Condition::Closed => return Err(StoreError::Closed),
        }
        if line.sequence != state.next {
            let reason = format!("the next line is {}", state.next);
            return Err(StoreError::conflict("journal line", line.sequence, reason));
        }
        let text = format!("{} {} {}\n", line.sequence, line.hash, line.text);
        if text.len() > MAX_LINE_BYTES {
            let (given, limit) = (text.len() as u64, MAX_LINE_BYTES as u64);
            return Err(StoreError::limit_exceeded("bytes of a journal line", given, limit));
        }
        if text[..text.len() - 1].contains('\n') {
            return Err(StoreError::invalid("journal line", "it holds a line break"));
        }
        state.write(text.as_bytes())?;
        state.next += 1;
        Ok(())
    }

    fn read(&self) -> Result<JournalContents, StoreError> {
        let mut state = self.state.lock();
        let (mut bytes, length) = (Vec::new(), state.length);
        state.file.seek(SeekFrom::Start(0)).map_err(StoreError::backend)?;
        // What a failed append left is no line.
        (&mut state.file).take(length).read_to_end(&mut bytes).map_err(StoreError::backend)?;
        let parsed = parse(&bytes)?;
        Ok(JournalContents { lines: parsed.lines, torn_bytes: self.torn_bytes })
    }
}

impl State {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(bytes))
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // The line may be there, or half of it. A disk that fails is not trusted again.
            self.condition = if is_full(&error) { Condition::Full } else { Condition::Closed };
            return Err(failed(error));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Goes on behind the last line that was synced; what an earlier sync made durable is there whatever a later one said. The handle stays
    /// the same: with it goes the lock, and nobody else may append meanwhile.
    fn cut_off(&mut self) -> Result<(), StoreError> {
        let cut = self.file.set_len(self.length).and_then(|()| self.file.sync_all());
        self.condition = match &cut {
            Ok(()) => Condition::Open,
            Err(error) if is_full(error) => Condition::Full,
            Err(_) => Condition::Closed,
        };
        cut.map_err(failed)
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

fn failed(error: std::io::Error) -> StoreError {
    if is_full(&error) { StoreError::StorageFull } else { StoreError::backend(error) }
}

fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let reason = format!("{} is open in another process", path.display());
            Err(StoreError::Busy { reason })
        }
        Err(TryLockError::Error(error)) => Err(StoreError::backend(error)),
    }
}

/// Makes an empty journal appear whole or not at all.
fn create(path: &Path) -> Result<(), StoreError> {
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    let draft = DRAFTS.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{draft}.new", std::process::id()));
    let draft = path.with_file_name(name);
    let made = File::create(&draft)
        .and_then(|mut file| file.write_all(HEADER.as_bytes()).and_then(|()| file.sync_all()))
        // A link does not replace a journal that somebody else has begun meanwhile.
        .and_then(|()| match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    let removed = std::fs::remove_file(&draft);
    made.and(removed).map_err(StoreError::backend)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::backend)
}

struct Parsed {
    lines: Vec<JournalLine>,
    /// How many bytes belong to the lines.
    length: usize,
    /// The last line is whole but for its line break.
    lacks_line_break: bool,
}

fn parse(bytes: &[u8]) -> Result<Parsed, StoreError> {
    let corrupt = |line: usize, reason: &str| StoreError::Corrupt {
        what: format!("journal line {line}"),
        reason: reason.to_owned(),
    };
    if !bytes.starts_with(HEADER.as_bytes()) {
        return Err(header_fault(bytes));
    }
    let mut lines: Vec<JournalLine> = Vec::new();
    let mut at = HEADER.len();
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let line = &rest[..end.unwrap_or(rest.len())];
        let parsed = parse_line(line).filter(|line| follows(&lines, line));
        match (parsed, end) {
            (Some(line), Some(end)) => {
                lines.push(line);
                at += end + 1;
            }
            (Some(line), None) => {
                lines.push(line);
                return Ok(Parsed { lines, length: bytes.len(), lacks_line_break: true });
            }
            // Whole but for its last byte: that was the line break, and is another byte now.
            (None, None)
                if parse_line(&line[..line.len() - 1])
                    .is_some_and(|line| follows(&lines, &line)) =>
            {
                return Err(corrupt(lines.len(), "its line break is another byte"));
            }
            // Unfinished: the end is missing, or blocks of it were never written and read as zeros, and nothing follows.
            (None, None) => break,
            (None, Some(_)) if is_unwritten(rest, at) => break,
            (None, Some(_)) => {
                return Err(corrupt(lines.len(), "it cannot be read, or its hash does not fit"));
            }
        }
    }
    Ok(Parsed { lines, length: at, lacks_line_break: false })
}

fn header_fault(bytes: &[u8]) -> StoreError {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(&first[..first.len().min(100)]).into_owned();
    match first.strip_prefix(MAGIC).and_then(|version| version.parse().ok()) {
        Some(found) if found > 1 => StoreError::NewerSchema { found, supported: 1 },
        _ => StoreError::Corrupt {
            what: "journal".to_owned(),
            reason: format!("the file does not begin with {:?}", HEADER.trim_end()),
        },
    }
}

/// A disk writes sectors of this many bytes as a whole.
const SECTOR: usize = 512;

/// A last line of which sectors were never written: they read as zeros, which JSON never holds. Zeros that are not whole sectors, or before a
/// further line, are damage. `at` is where the line stands in the file.
fn is_unwritten(rest: &[u8], at: usize) -> bool {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    if end + 1 < rest.len() {
        return false;
    }
    let mut is_any = false;
    let mut from = 0;
    while let Some(start) = rest[from..].iter().position(|byte| *byte == 0).map(|zero| from + zero)
    {
        let stop =
            rest[start..].iter().position(|byte| *byte != 0).map_or(rest.len(), |end| start + end);
        let begins = start == 0 || (at + start).is_multiple_of(SECTOR);
        let ends = stop == rest.len() || (at + stop).is_multiple_of(SECTOR);
        if !(begins && ends) {
            return false;
        }
        is_any = true;
        from = stop;
    }
    is_any
}

fn parse_line(line: &[u8]) -> Option<JournalLine> {
    let text = std::str::from_utf8(line).ok()?;
    let mut parts = text.splitn(3, ' ');
    let sequence = parts.next()?.parse().ok()?;
    let hash: ContentHash = parts.next()?.parse().ok()?;
    Some(JournalLine { sequence, hash, text: parts.next()?.to_owned() })
}

fn follows(lines: &[JournalLine], line: &JournalLine) -> bool {
    let before = lines.last().map_or(super::GENESIS, |last| last.hash);
    line.sequence == lines.len() as u64
        && super::link(&before, line.sequence, &line.text) == line.hash
}
