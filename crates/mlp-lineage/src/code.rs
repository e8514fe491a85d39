//! The code that made a model, as git sees it.

use std::path::Path;
use std::process::Command;

use mlp_core::ContentHash;
use serde::{Deserialize, Serialize};

/// The code behind a model. Uncommitted work is part of it: its difference from the commit is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Code {
    /// The state of a git repository.
    Git(GitState),
    /// There is no git command, or no repository with a commit; the reason is kept.
    Unknown {
        /// What was missing.
        reason: String,
    },
}

/// The state of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitState {
    /// The full hash of the commit.
    pub commit: String,
    /// The branch; none if no branch is checked out.
    pub branch: Option<String>,
    /// The address of `origin`, without user name and password; none if there is no such remote.
    pub remote: Option<String>,
    /// The hash of the difference between the commit and the files as they are; none if there is none.
    pub uncommitted: Option<ContentHash>,
    /// Files that git neither tracks nor ignores, in alphabetical order; at most 1,000.
    pub untracked: Vec<String>,
}

/// How many untracked files are listed.
const MAX_UNTRACKED: usize = 1_000;

impl GitState {
    /// Whether the files are other than the commit says.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.uncommitted.is_some() || !self.untracked.is_empty()
    }
}

impl Code {
    /// Asks git about the repository that a folder is in. A missing git or repository is recorded as such.
    #[must_use]
    pub fn capture(folder: impl AsRef<Path>) -> Self {
        match git_state(folder.as_ref()) {
            Ok(state) => Self::Git(state),
            Err(reason) => Self::Unknown { reason },
        }
    }
}

fn git_state(folder: &Path) -> Result<GitState, String> {
    let commit = line(folder, &["rev-parse", "--verify", "HEAD"])?;
    let difference = git(folder, &["diff", "--no-ext-diff", "--binary", "HEAD"])?;
    let untracked =
        git(folder, &["ls-files", "--others", "--exclude-standard", "-z", "--full-name", ":/"])?;
    let names = untracked.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut untracked: Vec<String> =
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    untracked.sort();
    untracked.truncate(MAX_UNTRACKED);
    Ok(GitState {
        commit,
        branch: line(folder, &["symbolic-ref", "--short", "-q", "HEAD"]).ok(),
        remote: line(folder, &["remote", "get-url", "origin"])
            .ok()
            .map(|url| without_secrets(&url)),
        uncommitted: (!difference.is_empty())
            .then(|| ContentHash::from_bytes(*blake3::hash(&difference).as_bytes())),
        untracked,
    })
}

fn git(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output();
    let output = output.map_err(|error| format!("git cannot be run: {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(String::from_utf8_lossy(&output.stderr)
            .lines()
            .next()
            .unwrap_or("git failed")
            .to_owned())
    }
}

fn line(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    git(folder, arguments).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The address without what stands between `//` and `@`.
fn without_secrets(url: &str) -> String {
    match url.split_once("//").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
        Some((scheme, (user, host))) if !user.contains('/') => format!("{scheme}//{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run(folder: &Path, arguments: &[&str]) {
        let settings =
            ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let status = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(settings)
            .args(arguments)
            .output()
            .unwrap()
            .status;
        assert!(status.success(), "git {arguments:?}");
    }

    #[test]
    fn a_change_that_is_not_committed_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        run(path, &["init", "-q", "-b", "main"]);
        fs::write(path.join("a.rs"), "1").unwrap();
        run(path, &["add", "."]);
        run(path, &["commit", "-q", "-m", "one"]);
        let state = || match Code::capture(path) {
            Code::Git(state) => state,
            Code::Unknown { reason } => panic!("{reason}"),
        };
        let clean = state();
        assert!(!clean.is_dirty());
        assert_eq!((clean.branch.as_deref(), clean.commit.len()), (Some("main"), 40));
        fs::write(path.join("a.rs"), "2").unwrap();
        let first = state();
        assert!(first.is_dirty() && first.commit == clean.commit);
        fs::write(path.join("a.rs"), "3").unwrap();
        assert_ne!(state().uncommitted, first.uncommitted, "another change has another hash");
        fs::write(path.join("a.rs"), "1").unwrap();
        fs::write(path.join("new.rs"), "").unwrap();
        assert_eq!(state().untracked, ["new.rs"]);
    }

    #[test]
    fn a_folder_without_a_repository_is_recorded_as_such() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Code::capture(folder.path()), Code::Unknown { .. }));
    }

    #[test]
    fn a_password_in_the_address_is_not_kept() {
        assert_eq!(
            without_secrets("https://me:secret@example.org/a.git"),
            "https://example.org/a.git"
        );
        assert_eq!(without_secrets("git@example.org:a.git"), "git@example.org:a.git");
    }
}
