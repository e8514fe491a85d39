//! Artifacts as files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mlp_core::{ContentHash, RecordId, StoreError, Timestamp};
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT, flock, fstat, fsync, mkdirat, openat, renameat, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::artifact::{ArtifactInfo, ArtifactStore, altered, copy_hashed, storage_error};
use crate::record::Artifact;

/// Keeps artifacts as files of a folder: `objects/ab/` followed by the 64 digits of a hash that begins with `ab`.
///
/// A name on disk is a hash or made here, and every step goes through an open folder that is no symbolic link: nothing is read or written
/// outside, whatever is planted inside. A file is written under `temporary/`, synced, renamed, and its folder synced, so a put that returned
/// `Ok` survives a power loss, and one that did not leaves at most a temporary file, which [`open`](Self::open) removes when nothing was
/// written to it for a day (a put whose reader stalls for so long fails).
/// Folders have mode 0700, files 0400. Bytes that do not have their hash are moved to `quarantine/` by the read that finds it, and stay
/// [`StoreError::Corrupt`] until the content is put again.
#[derive(Debug)]
pub struct FileArtifactStore {
    root: OwnedFd,
    objects: OwnedFd,
    temporary: OwnedFd,
    quarantine: OwnedFd,
    max_size: u64,
}

/// What puts that never ended left behind is removed after this time.
const GRACE: Duration = Duration::from_secs(24 * 3_600);
/// Taken shared to publish a file, and alone to look at the age of one and remove it.
const LOCK: &str = "lock";

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl FileArtifactStore {
    /// Opens the store in a folder, and makes what is missing. The folder itself may be reached through symbolic links.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if it cannot be made or opened, or one of its two folders is a symbolic link.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref();
        make_durable(folder).map_err(storage_error)?;
        let root: OwnedFd = File::open(folder).map_err(storage_error)?.into();
        let store = Self {
            objects: make_folder(&root, "objects")?,
            temporary: make_folder(&root, "temporary")?,
            quarantine: make_folder(&root, "quarantine")?,
            root,
            max_size: u64::MAX,
        };
        fsync(&store.root).map_err(failed)?;
        store.sweep(Timestamp::from(SystemTime::now()).before(GRACE))?;
        Ok(store)
    }

    /// Refuses artifacts of more bytes than this, before they fill the disk.
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Holds the lock until the file that is returned is dropped.
    fn lock(&self, operation: FlockOperation) -> Result<File, StoreError> {
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // A file description of its own: the lock is between threads, too.
        let file = openat(&self.root, LOCK, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        flock(&file, operation).map_err(failed)?;
        Ok(file.into())
    }

    fn is_quarantined(&self, name: &str) -> bool {
        statat(&self.quarantine, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
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
                match unlinkat(&self.temporary, &name, AtFlags::empty()) {
                    Ok(()) => swept += 1,
                    // Its put has ended meanwhile.
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(failed(error)),
                }
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
        let mut limited = content.take(self.max_size.saturating_add(1));
        let artifact = copy_hashed(&mut limited, &mut file)?;
        if artifact.size > self.max_size {
            let (given, limit) = (artifact.size, self.max_size);
            return Err(StoreError::limit_exceeded("bytes of an artifact", given, limit));
        }
        file.flush().and_then(|()| file.sync_all()).map_err(storage_error)?;
        Ok(artifact)
    }

    fn publish(&self, temporary: &str, artifact: Artifact) -> Result<(), StoreError> {
        let name = artifact.hash.to_string();
        let shard = make_folder(&self.objects, &name[..2])?;
        fsync(&self.objects).map_err(failed)?;
        let lock = self.lock(FlockOperation::LockShared)?;
        // Its age counts from here, however long its bytes took to come.
        let now = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        };
        utimensat(&self.temporary, temporary, &now, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        renameat(&self.temporary, temporary, &shard, &name).map_err(failed)?;
        drop(lock);
        fsync(&shard).map_err(failed)?;
        match unlinkat(&self.quarantine, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Takes a file whose bytes do not have their hash out of the way, unless another stands under its name by now; the error that matters is
    /// that they do not. Where it cannot be moved it stays, and the next read finds it again.
    fn set_aside(&self, name: &str, read: &File) {
        let Ok(_alone) = self.lock(FlockOperation::LockExclusive) else { return };
        let _ = self.shard(name).and_then(|shard| {
            let (read, now) = (fstat(read)?, statat(&shard, name, AtFlags::SYMLINK_NOFOLLOW)?);
            if (read.st_dev, read.st_ino) != (now.st_dev, now.st_ino) {
                return Ok(());
            }
            renameat(&shard, name, &self.quarantine, name)?;
            fsync(&self.quarantine)?;
            fsync(&shard)
        });
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
            Err(Errno::NOENT) if self.is_quarantined(&name) => {
                let reason = "its bytes did not have its hash, and are in quarantine".to_owned();
                return Err(StoreError::Corrupt { what: format!("artifact {name}"), reason });
            }
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
            self.set_aside(&name, &file);
            return Err(altered(hash, copied.hash));
        }
        Ok(copied.size)
    }

    fn list(&self) -> Result<Vec<ArtifactInfo>, StoreError> {
        let mut found = Vec::new();
        for shard_name in names(&self.objects)? {
            let shard = match openat(&self.objects, &shard_name, FOLDER, Mode::empty()) {
                Ok(shard) => shard,
                // Nothing of ours.
                Err(Errno::LOOP | Errno::MLINK | Errno::NOTDIR | Errno::NOENT) => continue,
                Err(error) => return Err(failed(error)),
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
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed(error)),
        }
        match unlinkat(&self.quarantine, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn remove_stored_before(
        &self,
        hash: ContentHash,
        moment: Timestamp,
    ) -> Result<bool, StoreError> {
        let name = hash.to_string();
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let shard = match self.shard(&name) {
            Ok(shard) => shard,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let written = written_at(&shard, &name)?;
        let old = written.is_some_and(|(_, written_at)| written_at < moment);
        if old {
            self.remove(hash)?;
        }
        Ok(old)
    }
}

/// Makes a folder and those above it; each new name survives a power loss.
fn make_durable(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_durable(above)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    File::open(above)?.sync_all()
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
    let found = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let micros = found
        .st_mtime
        .saturating_mul(1_000_000)
        .saturating_add((found.st_mtime_nsec / 1_000) as i64);
    let is_file = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| (found.st_size.unsigned_abs(), Timestamp::from_micros(micros))))
}

fn failed(error: Errno) -> StoreError {
    storage_error(error.into())
}
