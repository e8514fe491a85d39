//! Whether a path still leads to the file that was opened. Each connection opens its path anew, and another file may have come in its place.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use mlp_core::StoreError;

/// A file that was opened, and the path that led to it.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    path: PathBuf,
    /// None where numbers of files cannot be trusted, on network file systems.
    number: Option<Number>,
}

/// Device and inode.
type Number = (u64, u64);

impl Identity {
    /// Of the file at a path, which is not looked at again unless its number can be trusted.
    pub(crate) fn of(path: &Path, is_trusted: bool) -> Result<Self, StoreError> {
        let number = is_trusted.then(|| number(path)).transpose().map_err(StoreError::backend)?;
        Ok(Self { path: path.to_owned(), number })
    }

    /// An error if the path leads to another file by now, or to none. Whether it does may be out of sight: then it is taken for the same.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let Some(opened) = self.number else { return Ok(()) };
        let reason = match number(&self.path) {
            Ok(found) if found != opened => {
                "is not the file that was opened: another is in its place".to_owned()
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                format!("cannot be found any more: {error}")
            }
            _ => return Ok(()),
        };
        let path = self.path.display();
        Err(StoreError::backend(io::Error::other(format!("{path} {reason}"))))
    }
}

fn number(path: &Path) -> io::Result<Number> {
    use std::os::unix::fs::MetadataExt;

    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}
