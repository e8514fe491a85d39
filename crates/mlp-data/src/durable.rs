//! Files that appear complete or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a file beside its final place, flushes it to the disk, and moves it there. Of those who write one file at once, each writes its own;
/// the last one to move it wins.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let (temporary, file) = create_beside(folder, name)?;
    let written = write_and_move(file, &temporary, path, bytes);
    if written.is_err() {
        // What is left of a failed write is in nobody's way; that it could not be removed either changes nothing.
        drop(fs::remove_file(&temporary));
    }
    written?;
    File::open(folder)?.sync_all()
}

/// A new file in the folder. Process and call make its name; where another one has it all the same (two containers may both be process 1, or
/// a crash has left it), the next call's name is tried.
fn create_beside(folder: &Path, name: &OsStr) -> io::Result<(PathBuf, File)> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    loop {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let mut temporary_name = OsString::from(".");
        temporary_name.push(name);
        temporary_name.push(format!(".{}.{call}.part", std::process::id()));
        let temporary = folder.join(temporary_name);
        match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return Ok((temporary, created?)),
        }
    }
}

fn write_and_move(mut file: File, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_another_has_taken_is_left_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = create_beside(folder.path(), OsStr::new("x")).unwrap();
        let call: u64 = first.to_str().unwrap().rsplit('.').nth(1).unwrap().parse().unwrap();
        let next = |offset: u64| {
            let name = format!(".x.{}.{}.part", std::process::id(), call + offset);
            folder.path().join(name)
        };
        // Far enough ahead of what the other tests of this process write meanwhile.
        (1..200).for_each(|offset| fs::write(next(offset), "theirs").unwrap());
        write_durably(&folder.path().join("x"), b"ours").unwrap();
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"ours");
        assert!((1..200).all(|offset| fs::read(next(offset)).unwrap() == b"theirs"));
    }
}
