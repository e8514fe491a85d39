//! The `git` command on one working tree.

use std::io::{Read, Write};
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
    hidden_in_submodules: u64,
}

impl Git {
    /// The working tree that a folder belongs to.
    pub(super) fn at(folder: &Path) -> Result<Self, String> {
        let mut git = Self { top: folder.to_owned(), index: None, hidden_in_submodules: 0 };
        let top = git.run(&["rev-parse", "--show-toplevel"])?;
        git.top = PathBuf::from(String::from_utf8_lossy(&top).trim_end_matches('\n'));
        let hidden = git.hidden(&["ls-files", "-v", "-z"])?;
        if git.top.join(".gitmodules").exists() {
            let with_submodules = git.hidden(&["ls-files", "-v", "-z", "--recurse-submodules"])?;
            git.hidden_in_submodules = with_submodules.len().saturating_sub(hidden.len()) as u64;
        }
        if !hidden.is_empty() {
            git.index = Some(git.index_that_hides_nothing(&hidden)?);
        }
        Ok(git)
    }

    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// How many files of submodules git was told not to look at. They are in indexes of their own, and are not compared.
    pub(super) fn hidden_in_submodules(&self) -> u64 {
        self.hidden_in_submodules
    }

    /// The files that git was told to take for unchanged (`git update-index --assume-unchanged`), and those left out of the working tree
    /// (`--skip-worktree`) that are there all the same.
    fn hidden(&self, list: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let listed = self.run(list)?;
        let hidden = listed.split(|byte| *byte == 0).filter_map(|entry| {
            let (tag, name) = (entry.first()?, entry.get(2..)?);
            let is_there =
                || self.top.join(&*String::from_utf8_lossy(name)).symlink_metadata().is_ok();
            (tag.is_ascii_lowercase() || *tag == b'S' && is_there()).then(|| name.to_vec())
        });
        Ok(hidden.collect())
    }

    fn index_that_hides_nothing(&self, hidden: &[Vec<u8>]) -> Result<Scratch, String> {
        let index = self.run(&["rev-parse", "--git-path", "index"])?;
        let index = self.top.join(String::from_utf8_lossy(&index).trim_end_matches('\n'));
        let scratch = Scratch::copy_of(&index)
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

fn cannot(error: std::io::Error) -> String {
    format!("git cannot be run: {error}")
}

fn failure(arguments: &[&str], said: &[u8]) -> String {
    let message = String::from_utf8_lossy(said);
    format!("git {}: {}", arguments[0], message.lines().next().unwrap_or("failed"))
}

/// A copy of a file in a folder of its own, for as long as it is needed.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn copy_of(file: &Path) -> std::io::Result<Self> {
        static COPIES: AtomicU64 = AtomicU64::new(0);
        let copy = COPIES.fetch_add(1, Ordering::Relaxed);
        let name = format!("mlp-lineage-{}-{copy}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // A folder that is there already is somebody else's.
        std::fs::create_dir(&folder)?;
        let scratch = Self(folder);
        std::fs::copy(file, scratch.file())?;
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
