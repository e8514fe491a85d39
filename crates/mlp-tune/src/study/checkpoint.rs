//! The folder in which the objective of a trial keeps its own state.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mlp_core::StoreError;

use super::Trial;
use crate::error::TuneError;

impl Trial<'_> {
    /// The folder in which the objective may keep what it needs to go on where it stopped: after a crash, an interruption or a pause the trial runs
    /// again and finds it there. It is made at the first call, and removed when the trial has ended.
    ///
    /// # Errors
    /// If the study has [no folder for checkpoints](crate::Study::with_checkpoints), or it cannot be made.
    pub fn checkpoint_folder(&self) -> Result<PathBuf, TuneError> {
        let folder = self.study().checkpoint_folder(self.number()).ok_or_else(|| {
            TuneError::setting("the folder for checkpoints", "not set", "one that can be written")
        })?;
        create_durably(&folder).map_err(StoreError::backend)?;
        Ok(folder)
    }

    /// Keeps bytes under a name in the trial's [folder](Self::checkpoint_folder). When the call returns they are on the disk, whole; whatever happens before leaves
    /// the earlier ones.
    ///
    /// # Errors
    /// If there is no folder, the name is no file name, or the file cannot be written.
    pub fn save_checkpoint(&self, name: &str, bytes: &[u8]) -> Result<(), TuneError> {
        check_name(name)?;
        let folder = self.checkpoint_folder()?;
        write_whole(&folder, name, bytes).map_err(|error| StoreError::backend(error).into())
    }

    /// What was kept under a name; none if nothing was.
    ///
    /// # Errors
    /// If there is no folder, the name is no file name, or the file cannot be read.
    pub fn load_checkpoint(&self, name: &str) -> Result<Option<Vec<u8>>, TuneError> {
        check_name(name)?;
        match fs::read(self.checkpoint_folder()?.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::backend(error).into()),
        }
    }
}

impl crate::Study {
    fn checkpoint_folder(&self, number: u64) -> Option<PathBuf> {
        let root = self.checkpoints.as_ref()?;
        Some(root.join(file_name(&self.name)).join(number.to_string()))
    }

    /// Removes what a trial of this number kept.
    pub(super) fn forget_checkpoint(&self, number: u64) -> std::io::Result<()> {
        let Some(folder) = self.checkpoint_folder(number) else { return Ok(()) };
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), TuneError> {
    let is_plain =
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    if is_plain {
        Ok(())
    } else {
        Err(TuneError::setting("the name of a checkpoint", name, "a file name"))
    }
}

/// A name of a study as that of a folder: one by one, never a way out of the folder.
fn file_name(study: &str) -> String {
    let mut name = String::from("study-");
    for byte in study.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

/// Creates a folder, and those above it, so that they are there after the power has gone.
fn create_durably(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        create_durably(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        created => created?,
    }
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let draft = folder.join(format!("{name}.draft"));
    let mut file = File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(name))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_way_out_of_the_folder() {
        assert_eq!(file_name("../a b"), "study-%2e%2e%2fa%20b");
        for name in ["", ".", "..", "a/b", "a\\b", "a\0"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("model.json").is_ok());
    }
}
