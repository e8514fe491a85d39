//! Artifacts as files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use mlp_core::{ContentHash, RecordId, StoreError, Timestamp};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::artifact::{ArtifactInfo, ArtifactStore, altered, copy_hashed, storage_error};
use crate::record::Artifact;

/// Keeps artifacts as files of a folder: `objects/ab/` followed by the 64 digits of a hash that begins with `ab`.
///
/// A name on disk is a hash or made here, and every step goes through an open folder that is no symbolic link: nothing is read or written
/// outside, whatever is planted inside. A file is written under `temporary/`, synced, renamed, and its folder synced, so a put that returned
/// `Ok` survives a power loss, and one that did not leaves at most a temporary file. Folders have mode 0700, files 0400.
#[derive(Debug)]
pub struct FileArtifactStore {
    objects: OwnedFd,
    temporary: OwnedFd,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl FileArtifactStore {
    /// Opens the store in a folder, and makes what is missing. The folder itself may be reached through symbolic links.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if it cannot be made or opened, or one of its two folders is a symbolic link.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        std::fs::create_dir_all(folder).map_err(storage_error)?;
        let root: OwnedFd = File::open(folder).map_err(storage_error)?.into();
        let store = Self {
            objects: make_folder(&root, "objects")?,
            temporary: make_folder(&root, "temporary")?,
        };
        fsync(&root).map_err(failed)?;
        Ok(store)
    }

    /// Removes what puts that never ended left behind, if it was last written before this moment, and returns how many files that was.
    ///
    /// # Errors
    /// [`StoreError::Backend`].
    pub fn sweep(&self, written_before: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        for name in names(&self.temporary)? {
            let written = written_at(&self.temporary, &name)?;
            if written.is_some_and(|(_, written_at)| written_at < written_before) {
                unlinkat(&self.temporary, &name, AtFlags::empty()).map_err(failed)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    fn shard(&self, name: &str) -> Result<OwnedFd, Errno> {
        openat(&self.objects, &name[..2], FOLDER, Mode::empty())
    }

    fn write_temporary(
        &self,
        temporary: &str,
        content: &mut dyn Read,
    ) -> Result<Artifact, StoreError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.temporary, temporary, flags, Mode::RUSR).map_err(failed)?;
        let mut file = File::from(file);
        let artifact = copy_hashed(content, &mut file)?;
        file.flush().and_then(|()| file.sync_all()).map_err(storage_error)?;
        Ok(artifact)
    }

    fn publish(&self, temporary: &str, artifact: Artifact) -> Result<(), StoreError> {
        let name = artifact.hash.to_string();
        let shard = make_folder(&self.objects, &name[..2])?;
        fsync(&self.objects).map_err(failed)?;
        renameat(&self.temporary, temporary, &shard, &name).map_err(failed)?;
        fsync(&shard).map_err(failed)
    }
}

impl ArtifactStore for FileArtifactStore {
    fn put(&self, content: &mut dyn Read) -> Result<Artifact, StoreError> {
        let temporary = RecordId::generate().to_string();
        let result = self.write_temporary(&temporary, content).and_then(|artifact| {
            self.publish(&temporary, artifact)?;
            Ok(artifact)
        });
        if result.is_err() {
            // The error that matters is the first; what stays behind is swept later.
            let _ = unlinkat(&self.temporary, &temporary, AtFlags::empty());
        }
        result
    }

    fn copy_to(&self, hash: ContentHash, out: &mut dyn Write) -> Result<u64, StoreError> {
        let name = hash.to_string();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            self.shard(&name).and_then(|shard| openat(&shard, &name, flags, Mode::empty()));
        let mut file = match opened {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Err(StoreError::not_found("artifact", name)),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::MLINK) => {
                let what = format!("artifact {name}");
                let reason = "a symbolic link or a file stands where it should be".to_owned();
                return Err(StoreError::Corrupt { what, reason });
            }
            Err(error) => return Err(failed(error)),
        };
        if !file.metadata().map_err(storage_error)?.is_file() {
            let reason = "it is no regular file".to_owned();
            return Err(StoreError::Corrupt { what: format!("artifact {name}"), reason });
        }
        let copied = copy_hashed(&mut file, out)?;
        if copied.hash != hash {
            return Err(altered(hash, copied.hash));
        }
        Ok(copied.size)
    }

    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError> {
        let mut found = Vec::new();
        for shard_name in names(&self.objects)? {
            let Ok(shard) = openat(&self.objects, &shard_name, FOLDER, Mode::empty()) else {
                continue;
            };
            for name in names(&shard)? {
                let Ok(hash) = name.parse::<ContentHash>() else { continue };
                if !name.starts_with(&shard_name) {
                    continue;
                }
                if let Some((size, stored_at)) = written_at(&shard, &name)? {
                    found.push(ArtifactInfo { artifact: Artifact { hash, size }, stored_at });
                }
            }
        }
        found.sort_by_key(|info| info.artifact.hash);
        Ok(found)
    }

    fn remove(&self, hash: ContentHash) -> Result<(), StoreError> {
        let name = hash.to_string();
        let removed = self.shard(&name).and_then(|shard| {
            unlinkat(&shard, &name, AtFlags::empty())?;
            fsync(&shard)
        });
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

fn make_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, StoreError> {
    match mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    openat(parent, name, FOLDER, Mode::empty()).map_err(failed)
}

fn names(folder: &OwnedFd) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(failed)? {
        // No name of ours is anything but text; others are none of ours.
        if let Ok(name) = entry.map_err(failed)?.file_name().to_str()
            && !matches!(name, "." | "..")
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The size and time of a regular file; none if it is none, or went meanwhile.
fn written_at(folder: &OwnedFd, name: &str) -> Result<Option<(u64, Timestamp)>, StoreError> {
    let opened = openat(
        folder,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let file = match opened {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::LOOP | Errno::MLINK) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(storage_error)?;
    let modified = metadata.modified().map_err(storage_error)?;
    Ok(metadata.is_file().then(|| (metadata.len(), modified.into())))
}

fn failed(error: Errno) -> StoreError {
    storage_error(error.into())
}
