//! Notifications appended to a file, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use mlp_core::{AlertSink, Notification, SinkError};
use parking_lot::Mutex;

/// Appends each notification to a file as one line of JSON, on disk (fsynced) when `deliver` returns.
///
/// A line that a crash or a full disk cut off is closed by the next start or delivery, so that it spoils no other line.
#[derive(Debug)]
pub struct JsonLinesSink(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    file: File,
    /// Whether the file may end within a line.
    torn: Torn,
}

#[derive(Debug, PartialEq)]
enum Torn {
    No,
    Maybe,
}

impl JsonLinesSink {
    /// Opens a file for appending, and makes it if there is none.
    ///
    /// # Errors
    /// If the file cannot be opened, or its folder not be synced.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        // A new file is found after a power cut only if its folder is on disk too.
        sync_folder(path)?;
        let torn = if file.metadata()?.len() == 0 { Torn::No } else { Torn::Maybe };
        Ok(Self(Mutex::new(Lines { file, torn })))
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Other systems open no folders, and keep their entries by themselves.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Lines {
    fn append(&mut self, mut line: Vec<u8>) -> io::Result<()> {
        line.push(b'\n');
        if self.torn == Torn::Maybe {
            // An empty line is skipped by readers of JSON lines; half a line before ours would spoil both.
            line.insert(0, b'\n');
        }
        self.torn = Torn::Maybe;
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.torn = Torn::No;
        Ok(())
    }
}

impl AlertSink for JsonLinesSink {
    fn deliver(&self, notification: &Notification) -> Result<(), SinkError> {
        let line = serde_json::to_vec(notification)
            .map_err(|error| SinkError::Refused { reason: error.to_string() })?;
        self.0
            .lock()
            .append(line)
            .map_err(|error| SinkError::Retry { after: None, source: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::{AlertStatus, Labels, Severity};

    fn notification(key: &str) -> Notification {
        Notification {
            dedupe_key: key.to_owned(),
            group_labels: Labels::new(),
            status: AlertStatus::Firing,
            severity: Severity::P1,
            alerts: Vec::new(),
        }
    }

    #[test]
    fn a_line_cut_off_by_a_crash_spoils_no_other_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alerts.jsonl");
        JsonLinesSink::open(&path).unwrap().deliver(&notification("first")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"dedupe_key\": \"cut o").unwrap();
        let sink = JsonLinesSink::open(&path).unwrap();
        sink.deliver(&notification("second")).unwrap();
        sink.deliver(&notification("third")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Notification> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(read, ["first", "second", "third"].map(notification));
    }
}
