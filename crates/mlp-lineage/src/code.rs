//! The code that made a model, as the `git` command sees it.

mod git;

use std::fs::Metadata;
use std::path::Path;

use mlp_core::ContentHash;
use serde::{Deserialize, Serialize};

use git::Git;

/// The most bytes of a diff that are kept as text; its hash covers all of it.
pub const MAX_DIFF_BYTES: usize = 1 << 20;
/// The most untracked files that are listed; their number is kept whole.
pub const MAX_UNTRACKED: usize = 1_000;

/// The most bytes of untracked files that are read, together.
pub const MAX_UNTRACKED_BYTES: u64 = 64 << 20;

/// The code that made a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// A working tree of git.
    Git(GitState),
    /// It is not known.
    Unknown {
        /// Why not: git is not installed, this is no repository, and so on.
        reason: String,
    },
}

/// Whether the working tree is what was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// It is.
    Clean,
    /// Tracked files were changed, also such as git was told not to look at, or there are untracked ones.
    Dirty,
}

/// The state of a working tree of git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GitState {
    /// The commit; none before the first one.
    pub commit: Option<String>,
    /// The branch; none if a commit is checked out directly.
    pub branch: Option<String>,
    /// The address of `origin`, without user and password.
    pub remote: Option<String>,
    /// Whether the working tree is what was committed.
    pub tree: Tree,
    /// The BLAKE3 hash of the diff of all tracked files against the commit, those of submodules included; none if nothing differs.
    pub diff_hash: Option<ContentHash>,
    /// The text of that diff, cut to [`MAX_DIFF_BYTES`]; bytes that are no UTF-8 are replaced.
    pub diff: Option<String>,
    /// How many bytes the diff has; more than [`MAX_DIFF_BYTES`] says that its text is cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub diff_size: u64,
    /// Files that are neither tracked nor ignored, the first [`MAX_UNTRACKED`] of them.
    pub untracked: Vec<String>,
    /// How many of them there are.
    pub untracked_count: u64,
    /// The BLAKE3 hash of names and contents of the untracked files that were read; none if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untracked_hash: Option<ContentHash>,
    /// How many untracked files were not read, and may differ unseen: beyond the first [`MAX_UNTRACKED`] or [`MAX_UNTRACKED_BYTES`], no
    /// regular files, or repositories of their own. A submodule with untracked files counts as one, and each of its tracked files that git was
    /// told not to look at; where the index cannot be copied, each such file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untracked_unread: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Looks at the working tree that a folder belongs to. A missing git or repository is part of the answer, not an error.
pub fn capture_code(folder: impl AsRef<Path>) -> Code {
    match capture(folder.as_ref()) {
        Ok(state) => Code::Git(state),
        Err(reason) => Code::Unknown { reason },
    }
}

fn capture(folder: &Path) -> Result<GitState, String> {
    let git = Git::at(folder)?;
    let status = git.run(&[
        "status",
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        "--ignore-submodules=none",
    ])?;
    let (mut state, changed) = read_status(&status);
    if changed {
        let base = match &state.commit {
            Some(_) => "HEAD".to_owned(),
            // Before the first commit everything is compared with nothing.
            None => {
                let tree = git.run(&["hash-object", "-t", "tree", "--stdin"])?;
                String::from_utf8_lossy(&tree).trim().to_owned()
            }
        };
        let diff = [
            "diff",
            "--binary",
            "--full-index",
            "--src-prefix=a/",
            "--dst-prefix=b/",
            "--submodule=diff",
            "--ignore-submodules=none",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            &base,
        ];
        let (hash, size, kept) = git.run_hashed(&diff)?;
        (state.diff_hash, state.diff_size) = (Some(hash), size);
        state.diff = Some(String::from_utf8_lossy(&kept).into_owned());
    }
    if changed || state.untracked_count > 0 || git.unread() > 0 {
        state.tree = Tree::Dirty;
    }
    state.untracked_unread += git.unread();
    hash_untracked(git.top(), &mut state);
    // No remote is common, and no failure.
    let remote = git.run(&["remote", "get-url", "origin"]).ok();
    state.remote = remote.map(|url| without_credentials(String::from_utf8_lossy(&url).trim()));
    Ok(state)
}

/// What `git status --porcelain=v2 -z` says, and whether tracked files differ.
fn read_status(status: &[u8]) -> (GitState, bool) {
    let mut state = GitState {
        commit: None,
        branch: None,
        remote: None,
        tree: Tree::Clean,
        diff_hash: None,
        diff: None,
        diff_size: 0,
        untracked: Vec::new(),
        untracked_count: 0,
        untracked_hash: None,
        untracked_unread: 0,
    };
    let mut changed = false;
    let mut tokens = status.split(|&byte| byte == 0);
    while let Some(token) = tokens.next() {
        let line = String::from_utf8_lossy(token);
        if let Some(commit) = line.strip_prefix("# branch.oid ") {
            state.commit = Some(commit.to_owned()).filter(|commit| commit != "(initial)");
        } else if let Some(branch) = line.strip_prefix("# branch.head ") {
            state.branch = Some(branch.to_owned()).filter(|branch| branch != "(detached)");
        } else if let Some(file) = line.strip_prefix("? ") {
            state.untracked_count += 1;
            if state.untracked.len() < MAX_UNTRACKED {
                state.untracked.push(file.to_owned());
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            changed = true;
            // What is untracked in a submodule is neither listed nor read: `S..U`.
            let submodule = line.split(' ').nth(2).filter(|field| field.starts_with('S'));
            state.untracked_unread += u64::from(submodule.is_some_and(|is| is.ends_with('U')));
            if line.starts_with("2 ") {
                // The name before a rename stands by itself, and may look like anything.
                tokens.next();
            }
        }
    }
    (state, changed)
}

/// Hashes the untracked files that were listed, as far as they can be read.
fn hash_untracked(top: &Path, state: &mut GitState) {
    if state.untracked_count == 0 {
        return;
    }
    let mut hasher = blake3::Hasher::new();
    let (mut read, mut left) = (0, MAX_UNTRACKED_BYTES);
    for name in &state.untracked {
        let path = top.join(name);
        let small = |file: &Metadata| file.is_file() && file.len() <= left;
        let small = path.symlink_metadata().is_ok_and(|file| small(&file));
        let Some(content) = small.then(|| std::fs::read(path).ok()).flatten() else { continue };
        left = left.saturating_sub(content.len() as u64);
        for part in [name.as_bytes(), &content] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        read += 1;
    }
    state.untracked_unread += state.untracked_count - read;
    state.untracked_hash = Some(ContentHash::from_bytes(*hasher.finalize().as_bytes()));
}

/// `https://user:token@host/path` holds a secret; `git@host:path` does not.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_file_cannot_pass_for_a_commit() {
        let status = b"# branch.oid abc\0# branch.head main\x002 R. N... 1 1 1 a b R100 new\0# branch.oid forged\0? more\0";
        let (state, changed) = read_status(status);
        assert_eq!((state.commit.as_deref(), changed), (Some("abc"), true));
        assert_eq!(state.untracked, ["more"]);
    }

    #[test]
    fn the_address_of_a_remote_keeps_no_secret() {
        for (given, kept) in [
            ("https://me:token@host.org/a/b.git", "https://host.org/a/b.git"),
            ("https://me:p@ss@host.org/a", "https://host.org/a"),
            ("https://host.org/a@b", "https://host.org/a@b"),
            ("git@host.org:a/b.git", "git@host.org:a/b.git"),
            ("/srv/git/a", "/srv/git/a"),
        ] {
            assert_eq!(without_credentials(given), kept);
        }
    }
}
