//! Bytes by the hash of their content, on the file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use mlp_core::{ContentHash, StoreError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Names some bytes by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRef {
    /// The BLAKE3 hash of the bytes.
    pub hash: ContentHash,
    /// How many bytes.
    pub size: u64,
}

/// A folder of artifacts, each in a file named by the hash of its content.
///
/// A file gets its name only when all of it is on disk (temporary file, fsync, rename, fsync of the folder), so a crash leaves no half
/// artifact; the same content is kept once. Names on disk are hashes, so no name can leave the folder, and links in their place are not
/// followed. What is read is hashed again.
#[derive(Debug, Clone)]
pub struct Artifacts {
    folder: PathBuf,
}

impl Artifacts {
    /// Opens a folder, making it if need be.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        fs::create_dir_all(folder.join("tmp")).map_err(failed)?;
        Ok(Self { folder })
    }

    /// Keeps some bytes.
    ///
    /// # Errors
    /// If they cannot be written durably; then nothing is kept.
    pub fn put(&self, bytes: &[u8]) -> Result<ArtifactRef, StoreError> {
        self.put_from(bytes)
    }

    /// Keeps what a reader gives, without holding it in memory.
    ///
    /// # Errors
    /// If the reader fails, or the bytes cannot be written durably; then nothing is kept.
    pub fn put_from(&self, reader: impl Read) -> Result<ArtifactRef, StoreError> {
        let temporary = self.folder.join("tmp").join(Uuid::now_v7().to_string());
        let kept = copy_hashed(reader, &temporary).and_then(|artifact| {
            let path = self.path(&artifact.hash);
            let parent = path.parent().unwrap_or(&self.folder);
            fs::create_dir_all(parent)?;
            fs::rename(&temporary, &path)?;
            File::open(parent)?.sync_all()?;
            File::open(&self.folder)?.sync_all()?;
            Ok(artifact)
        });
        if kept.is_err() {
            // What is left of a failed write is of no use; that it cannot be removed changes nothing for the caller.
            let _ = fs::remove_file(&temporary);
        }
        kept.map_err(failed)
    }

    /// The bytes with this hash, hashed again.
    ///
    /// # Errors
    /// If they are not there, are not a plain file, or are not what their name says.
    pub fn get(&self, hash: &ContentHash) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let metadata = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::not_found("artifact", hash),
            _ => failed(error),
        })?;
        let corrupt = |reason: &str| StoreError::Corrupt {
            what: format!("artifact {hash}"),
            reason: reason.to_owned(),
        };
        if !metadata.is_file() {
            return Err(corrupt("it is not a plain file"));
        }
        let bytes = fs::read(&path).map_err(failed)?;
        if blake3::hash(&bytes).as_bytes() == hash.as_bytes() {
            Ok(bytes)
        } else {
            Err(corrupt("its content has another hash"))
        }
    }

    /// Where the bytes with this hash are kept: spread over folders by the first two digits.
    fn path(&self, hash: &ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.folder.join(&name[..2]).join(name)
    }
}

fn copy_hashed(mut reader: impl Read, path: &Path) -> io::Result<ArtifactRef> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..n]);
        file.write_all(&buffer[..n])?;
        size += n as u64;
    }
    file.sync_all()?;
    Ok(ArtifactRef { hash: ContentHash::from_bytes(*hasher.finalize().as_bytes()), size })
}

fn failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::StorageFull,
        _ => StoreError::backend(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn the_same_content_is_kept_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let first = artifacts.put(b"model").unwrap();
        assert_eq!(artifacts.put(b"model").unwrap(), first);
        assert_eq!((first.size, files(folder.path()).len()), (5, 1));
        assert_eq!(artifacts.get(&first.hash).unwrap(), b"model");
        let empty = artifacts.put(b"").unwrap();
        assert_eq!(artifacts.get(&empty.hash).unwrap(), b"");
    }

    #[test]
    fn a_flipped_bit_and_a_missing_file_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let artifact = artifacts.put(b"model").unwrap();
        fs::write(artifacts.path(&artifact.hash), b"mocel").unwrap();
        assert!(matches!(artifacts.get(&artifact.hash), Err(StoreError::Corrupt { .. })));
        fs::remove_file(artifacts.path(&artifact.hash)).unwrap();
        assert!(matches!(artifacts.get(&artifact.hash), Err(StoreError::NotFound { .. })));
    }

    #[test]
    fn a_reader_that_fails_leaves_nothing_behind() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        assert!(artifacts.put_from(io::Cursor::new(b"half").chain(Broken)).is_err());
        assert!(files(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let artifact = artifacts.put(b"model").unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, b"model").unwrap();
        let path = artifacts.path(&artifact.hash);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&secret, &path).unwrap();
        assert!(matches!(artifacts.get(&artifact.hash), Err(StoreError::Corrupt { .. })));
        // A write replaces the link itself, and not what it points to.
        artifacts.put(b"model").unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert!(artifacts.get(&artifact.hash).is_ok());
    }
}
