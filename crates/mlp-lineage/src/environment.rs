//! The machine and the tools that made a model.

use std::collections::BTreeMap;
use std::process::Command;
use std::{env, fs, thread};

use mlp_core::ContentHash;
use serde::{Deserialize, Serialize};

/// Where a model was made. Only the environment variables asked for are kept: the others may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The operating system, such as `linux`.
    pub os: String,
    /// The processor's architecture, such as `x86_64`.
    pub architecture: String,
    /// The processor's name, where the system tells it.
    pub cpu: Option<String>,
    /// How many threads it runs at once, where the system tells it.
    pub threads: Option<usize>,
    /// What `rustc --version` says, where there is one.
    pub rustc: Option<String>,
    /// The hash of the `Cargo.lock` in the working folder, where there is one: the exact dependencies.
    pub lock_file: Option<ContentHash>,
    /// The environment variables asked for; those that are not set are absent.
    pub variables: BTreeMap<String, String>,
}

impl Environment {
    /// Looks at this machine, and at these environment variables.
    #[must_use]
    pub fn capture(variables: &[&str]) -> Self {
        let set = |name: &&str| Some(((*name).to_owned(), env::var(name).ok()?));
        Self {
            os: env::consts::OS.to_owned(),
            architecture: env::consts::ARCH.to_owned(),
            cpu: cpu(),
            threads: thread::available_parallelism().ok().map(usize::from),
            rustc: rustc(),
            lock_file: fs::read("Cargo.lock")
                .ok()
                .map(|bytes| ContentHash::from_bytes(*blake3::hash(&bytes).as_bytes())),
            variables: variables.iter().filter_map(set).collect(),
        }
    }
}

fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?;
    Some(name.1.trim().to_owned())
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_variables_asked_for_are_kept() {
        let environment = Environment::capture(&["CARGO_PKG_NAME", "NO_SUCH_VARIABLE_HERE"]);
        assert_eq!(
            environment.variables.into_iter().collect::<Vec<_>>(),
            [("CARGO_PKG_NAME".to_owned(), "mlp-lineage".to_owned())]
        );
    }
}
