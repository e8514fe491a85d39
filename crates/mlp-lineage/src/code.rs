//! The code that made a model, as the `git` command sees it.

use std::path::Path;
use std::process::Command;

use mlp_core::ContentHash;
use serde::{Deserialize, Serialize};

/// The most bytes of a diff that are kept as text; its hash covers all of it.
pub const MAX_DIFF_BYTES: usize = 1 << 20;
/// The most untracked files that are listed; their number is kept whole.
pub const MAX_UNTRACKED: usize = 1_000;

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
    /// Tracked files were changed, or there are untracked ones.
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
    /// The BLAKE3 hash of the diff of all tracked files against the commit; none if nothing differs.
    pub diff_hash: Option<ContentHash>,
    /// The text of that diff, cut to [`MAX_DIFF_BYTES`]; bytes that are no UTF-8 are replaced.
    pub diff: Option<String>,
    /// Files that are neither tracked nor ignored, the first [`MAX_UNTRACKED`] of them.
    pub untracked: Vec<String>,
    /// How many of them there are.
    pub untracked_count: u64,
}

/// Looks at the working tree that a folder belongs to. A missing git or repository is part of the answer, not an error.
pub fn capture_code(folder: impl AsRef<Path>) -> Code {
    match capture(folder.as_ref()) {
        Ok(state) => Code::Git(state),
        Err(reason) => Code::Unknown { reason },
    }
}

fn capture(folder: &Path) -> Result<GitState, String> {
    let status =
        git(folder, &["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"])?;
    let mut state = GitState {
        commit: None,
        branch: None,
        remote: None,
        tree: Tree::Clean,
        diff_hash: None,
        diff: None,
        untracked: Vec::new(),
        untracked_count: 0,
    };
    let mut changed = false;
    for line in status.split(|&byte| byte == 0) {
        let line = String::from_utf8_lossy(line);
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
        }
    }
    if changed {
        let base: &[&str] = if state.commit.is_some() { &["HEAD"] } else { &["--cached"] };
        let plain = ["diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv"];
        let diff = git(folder, &[&plain[..], base].concat())?;
        state.diff_hash = Some(ContentHash::from_bytes(*blake3::hash(&diff).as_bytes()));
        let kept = &diff[..diff.len().min(MAX_DIFF_BYTES)];
        state.diff = Some(String::from_utf8_lossy(kept).into_owned());
    }
    if changed || state.untracked_count > 0 {
        state.tree = Tree::Dirty;
    }
    // No remote is common, and no failure.
    let remote = git(folder, &["remote", "get-url", "origin"]).ok();
    state.remote = remote.map(|url| without_credentials(String::from_utf8_lossy(&url).trim()));
    Ok(state)
}

fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        // A hook that runs us sets these, and they would point somewhere else.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Err(format!("git {}: {}", arguments[0], message.lines().next().unwrap_or("failed")))
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
