//! The folder in which the objective of a trial keeps its own state.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use mlp_core::StoreError;
use serde_json::Value;

use super::Trial;
use crate::error::TuneError;
use crate::trial::{CHECKPOINTS, TrialRecord};

impl Trial<'_> {
    /// The folder in which the objective may keep what it needs to go on where it stopped: after a crash, an interruption or a pause the trial runs
    /// again and finds it there. It is made at the first call, and removed when the trial has ended.
    ///
    /// # Errors
    /// If the study has [no folder for checkpoints](crate::Study::with_checkpoints), or it cannot be made.
    pub fn checkpoint_folder(&self) -> Result<PathBuf, TuneError> {
        let folder = self.study().checkpoint_folder(self.number(), self.mark).ok_or_else(|| {
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
    /// What a trial is marked with when it starts, so that its folder is its own: studies of one name, whose store is gone, had trials of its
    /// number. Chance makes it, and every reader of JSON keeps its digits.
    pub(super) fn checkpoint_mark(&self) -> Option<Value> {
        self.checkpoints.as_ref().map(|_| (RandomState::new().hash_one(0) >> 11).into())
    }

    /// The folder of all trials of a number.
    fn folder_of_number(&self, number: u64) -> Option<PathBuf> {
        let root = self.checkpoints.as_ref()?;
        Some(root.join(file_name(&self.name)).join(number.to_string()))
    }

    /// The folder of a trial. One without a mark started in an earlier version of this library, or in a study without checkpoints.
    fn checkpoint_folder(&self, number: u64, mark: Option<u64>) -> Option<PathBuf> {
        let folder = self.folder_of_number(number)?;
        Some(match mark {
            Some(mark) => folder.join(format!("{mark:x}")),
            None => folder,
        })
    }

    /// Removes what trials of this number kept. What stays costs space, and is in nobody's way.
    pub(super) fn forget_checkpoints(&self, number: u64) {
        if let Some(folder) = self.folder_of_number(number) {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// Removes what others of its number kept, in studies of this name that are gone.
    pub(super) fn forget_others(&self, trial: &TrialRecord) {
        let Some(mark) = mark(trial) else { return };
        let Some(own) = self.checkpoint_folder(trial.number, Some(mark)) else { return };
        let entries = own.parent().and_then(|folder| fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            if path != own {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }
}

pub(super) fn mark(trial: &TrialRecord) -> Option<u64> {
    trial.system.get(CHECKPOINTS)?.as_u64()
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
