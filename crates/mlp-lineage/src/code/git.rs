//! The `git` command on one working tree.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use mlp_core::ContentHash;

use super::MAX_DIFF_BYTES;

/// Runs whose output depends on the tree alone, not on how somebody likes their diffs.
const SETTINGS: [&str; 14] = [
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "diff.context=3",
    "diff.interHunkContext=0",
    "diff.relative=false",
    "diff.renames=false",
    "diff.algorithm=myers",
    "diff.orderFile=/dev/null",
    "diff.suppressBlankEmpty=false",
    "diff.indentHeuristic=true",
    "core.quotePath=true",
    "status.relativePaths=false",
    "core.fsmonitor=false",
    "core.ignoreStat=false",
];

/// Looks at a working tree, and does not change it.
#[derive(Debug)]
pub(super) struct Git {
    top: PathBuf,
    /// A copy of the index in which no file is hidden; none if none is.
    index: Option<Scratch>,
    unread: u64,
}

impl Git {
    /// The working tree that a folder belongs to.
    pub(super) fn at(folder: &Path) -> Result<Self, String> {
        Self::at_with(folder, &std::env::temp_dir())
    }

    fn at_with(folder: &Path, scratch: &Path) -> Result<Self, String> {
        let mut git = Self { top: folder.to_owned(), index: None, unread: 0 };
        git.top = path(line(&git.run(&["rev-parse", "--show-toplevel"])?));
        let hidden = git.hidden(&["ls-files", "-v", "-z"])?;
        if git.top.join(".gitmodules").exists() {
            let with_submodules = git.hidden(&["ls-files", "-v", "-z", "--recurse-submodules"])?;
            git.unread = with_submodules.len().saturating_sub(hidden.len()) as u64;
        }
        if !hidden.is_empty() {
            match git.index_that_hides_nothing(&hidden, scratch) {
                Ok(index) => git.index = Some(index),
                Err(_) => git.unread += hidden.len() as u64,
            }
        }
        Ok(git)
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// How many files that git was told not to look at are not compared: those of submodules, which are in indexes of their own, and all
    /// where the index cannot be copied.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// The files that git was told to take for unchanged (`git update-index --assume-unchanged`), and those left out of the working tree
    /// (`--skip-worktree`) that are there all the same.
    fn hidden(&self, list: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let listed = self.run(list)?;
        let hidden = listed.split(|byte| *byte == 0).filter_map(|entry| {
            let (tag, name) = (entry.first()?, entry.get(2..)?);
            let is_there = || self.top.join(path(name)).symlink_metadata().is_ok();
            (tag.is_ascii_lowercase() || *tag == b'S' && is_there()).then(|| name.to_vec())
        });
        Ok(hidden.collect())
    }

    fn index_that_hides_nothing(
        &self,
        hidden: &[Vec<u8>],
        within: &Path,
    ) -> Result<Scratch, String> {
        let index = self.run(&["rev-parse", "--git-path", "index"])?;
        let index = self.top.join(path(line(&index)));
        let scratch = Scratch::copy_of(&index, within)
            .map_err(|error| format!("the index cannot be copied: {error}"))?;
        let names = hidden.join(&0);
        for flag in ["--no-assume-unchanged", "--no-skip-worktree"] {
            let arguments = ["update-index", "-z", flag, "--stdin"];
            let mut child = self
                .command(&arguments)
                .env("GIT_INDEX_FILE", scratch.file())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(cannot)?;
            let written = child.stdin.take().map(|mut input| input.write_all(&names));
            let ended = child.wait().map_err(cannot)?;
            if !ended.success() || !matches!(written, Some(Ok(()))) {
                return Err(failure(&arguments, b""));
            }
        }
        Ok(scratch)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.top);
        SETTINGS.iter().for_each(|setting| {
            command.args(["-c", setting]);
        });
        command.args(arguments).stdin(Stdio::null());
        // A hook that runs us sets these, and they would point somewhere else or change what a diff looks like.
        for name in [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_DIFF_OPTS",
            "GIT_EXTERNAL_DIFF",
            "GIT_PREFIX",
        ] {
            command.env_remove(name);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index.file());
        }
        command.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
        command
    }

    /// What git says.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.command(arguments).output().map_err(cannot)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failure(arguments, &output.stderr))
    }

    /// The hash and size of what git says, and its beginning; memory stays flat.
    pub(super) fn run_hashed(
        &self,
        arguments: &[&str],
    ) -> Result<(ContentHash, u64, Vec<u8>), String> {
        let mut child: Child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        let (mut hasher, mut size, mut kept) = (blake3::Hasher::new(), 0, Vec::new());
        if let Some(mut output) = child.stdout.take() {
            let mut piece = vec![0; 1 << 16];
            loop {
                let count = output.read(&mut piece).map_err(cannot)?;
                if count == 0 {
                    break;
                }
                hasher.update(&piece[..count]);
                size += count as u64;
                let room = MAX_DIFF_BYTES - kept.len();
                kept.extend_from_slice(&piece[..count.min(room)]);
            }
        }
        if !child.wait().map_err(cannot)?.success() {
            return Err(failure(arguments, b""));
        }
        Ok((ContentHash::from_bytes(*hasher.finalize().as_bytes()), size, kept))
    }
}

/// What git says in one line.
fn line(said: &[u8]) -> &[u8] {
    said.strip_suffix(b"\n").unwrap_or(said)
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes.to_vec()).into()
}

/// Git writes paths as UTF-8 here.
#[cfg(not(unix))]
fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(&*String::from_utf8_lossy(bytes))
}

fn cannot(error: std::io::Error) -> String {
    format!("git cannot be run: {error}")
}

fn failure(arguments: &[&str], said: &[u8]) -> String {
    let message = String::from_utf8_lossy(said);
    format!("git {}: {}", arguments[0], message.lines().next().unwrap_or("failed"))
}

/// Makes a folder that nobody else has: one that is there already belongs to another process, or was left behind.
fn own_folder(within: &Path) -> std::io::Result<PathBuf> {
    static FOLDERS: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = within.join(format!("mlp-lineage-{}-{number}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
}

/// A copy of a file in a folder of its own, for as long as it is needed.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn copy_of(file: &Path, within: &Path) -> std::io::Result<Self> {
        let scratch = Self(own_folder(within)?);
        std::fs::copy(file, scratch.file())?;
        // Git compares the content of files that are not older than the index: a younger copy would hide their changes.
        let modified = file.metadata()?.modified()?;
        File::options().write(true).open(scratch.file())?.set_modified(modified)?;
        Ok(scratch)
    }

    fn file(&self) -> PathBuf {
        self.0.join("index")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is a copy that nobody needs.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_others_left_are_passed_over() {
        let within = tempfile::tempdir().unwrap();
        let file = within.path().join("file");
        std::fs::write(&file, "one").unwrap();
        for number in 0..100 {
            let name = format!("mlp-lineage-{}-{number}", std::process::id());
            std::fs::create_dir(within.path().join(name)).unwrap();
        }
        let copy = Scratch::copy_of(&file, within.path()).unwrap();
        assert_eq!(std::fs::read_to_string(copy.file()).unwrap(), "one");
    }

    #[test]
    fn hidden_files_are_unread_where_the_index_cannot_be_copied() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join("a.rs"), "one").unwrap();
        let git = |arguments: &[&str]| {
            let git = Git { top: folder.to_owned(), index: None, unread: 0 };
            git.run(arguments).unwrap();
        };
        git(&["init", "-q"]);
        git(&["add", "a.rs"]);
        git(&["update-index", "--assume-unchanged", "a.rs"]);
        assert_eq!(Git::at(folder).unwrap().unread(), 0);
        assert_eq!(Git::at_with(folder, &folder.join("absent")).unwrap().unread(), 1);
    }
}
