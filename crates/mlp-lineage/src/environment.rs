//! The machine that made a model, and its tools.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mlp_core::{ContentHash, StoreError};
use serde::{Deserialize, Serialize};

/// The machine that made a model, and its tools. What could not be found out is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Environment {
    /// The operating system, such as `linux`.
    pub operating_system: String,
    /// The architecture, such as `x86_64`.
    pub architecture: String,
    /// The name of the processor.
    pub cpu: Option<String>,
    /// The graphics processors, each by its name or else its driver and PCI number, in the order of the bus; empty where there is none.
    // Left out while empty, so that records from before this field keep their hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// How many threads run at once.
    pub cpu_count: Option<u64>,
    /// What `rustc --version` says.
    pub rustc: Option<String>,
    /// The BLAKE3 hash of `Cargo.lock`.
    pub lock_hash: Option<ContentHash>,
    /// The packages of `Cargo.lock` with their versions.
    pub packages: BTreeMap<String, Vec<String>>,
    /// The container image, if told.
    pub container_image: Option<String>,
    /// The variables that were asked for; none where one is not set.
    pub variables: BTreeMap<String, Option<String>>,
}

/// What to find out about the environment. By default nothing that could hold a secret: no variable is read unless it is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnvironmentCapture {
    /// Where `Cargo.lock` is.
    pub lock_file: Option<PathBuf>,
    /// The variables to read.
    pub variables: Vec<String>,
    /// The container image.
    pub container_image: Option<String>,
}

impl EnvironmentCapture {
    /// Asks for the machine and its tools alone.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where `Cargo.lock` is.
    #[must_use]
    pub fn with_lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock_file = Some(path.into());
        self
    }

    /// Adds a variable to read.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>) -> Self {
        self.variables.push(name.into());
        self
    }

    /// Sets the container image.
    #[must_use]
    pub fn with_container_image(mut self, image: impl Into<String>) -> Self {
        self.container_image = Some(image.into());
        self
    }

    /// Finds it out.
    ///
    /// # Errors
    /// [`StoreError::Backend`] if a lock file was named and cannot be read.
    pub fn capture(&self) -> Result<Environment, StoreError> {
        let lock = self.lock_file.as_ref().map(fs::read_to_string).transpose();
        let lock = lock.map_err(StoreError::backend)?;
        let read = |name: &String| {
            (name.clone(), std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
        };
        Ok(Environment {
            operating_system: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpu: cpu(),
            gpus: gpus(Path::new("/")),
            cpu_count: std::thread::available_parallelism().ok().map(|n| n.get() as u64),
            rustc: rustc(),
            lock_hash: lock
                .as_ref()
                .map(|text| ContentHash::from_bytes(*blake3::hash(text.as_bytes()).as_bytes())),
            packages: lock.as_deref().map(packages).unwrap_or_default(),
            container_image: self.container_image.clone(),
            variables: self.variables.iter().map(read).collect(),
        })
    }
}

/// Linux tells; elsewhere the name stays unknown.
fn cpu() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Linux tells: NVIDIA's driver the names, the kernel of others the driver and the PCI number.
fn gpus(root: &Path) -> Vec<String> {
    let named: Vec<String> = files(&root.join("proc/driver/nvidia/gpus"), "information")
        .iter()
        .filter_map(|text| {
            Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().to_owned())
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let value = |text: &str, key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
    };
    files(&root.join("sys/class/drm"), "device/uevent")
        .iter()
        .filter_map(|text| {
            let driver = value(text, "DRIVER=").filter(|driver| {
                matches!(
                    driver.as_str(),
                    "nvidia" | "nouveau" | "amdgpu" | "radeon" | "i915" | "xe"
                )
            })?;
            Some(format!("{driver} {}", value(text, "PCI_ID=").unwrap_or_default()))
        })
        .collect()
}

/// The contents of one file in each folder of a folder, in the order of their names; outputs of a card are no folders of their own.
fn files(folder: &Path, name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().contains('-')))
        .collect();
    folders.sort();
    folders.iter().filter_map(|folder| fs::read_to_string(folder.join(name)).ok()).collect()
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Cargo writes the name of a package on the line before its version.
fn packages(lock: &str) -> BTreeMap<String, Vec<String>> {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let quoted = |line: &str, key: &str| -> Option<String> {
        Some(line.strip_prefix(key)?.trim().strip_prefix('"')?.strip_suffix('"')?.to_owned())
    };
    let mut name = None;
    for line in lock.lines() {
        if let Some(found) = quoted(line, "name = ") {
            name = Some(found);
        } else if let Some(version) = quoted(line, "version = ")
            && let Some(name) = name.take()
        {
            packages.entry(name).or_default().push(version);
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_gives_its_packages_with_every_version() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\ndependencies = [\n \"b\",\n]\n";
        assert_eq!(packages(lock)["a"], ["1.0.0", "2.0.0"]);
        assert_eq!(packages(lock).len(), 1);
    }

    #[test]
    fn graphics_processors_are_named_where_there_are_some() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(gpus(root.path()), Vec::<String>::new());
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("sys/class/drm/card0/device/uevent", "DRIVER=amdgpu\nPCI_ID=1002:744C\n");
        write("sys/class/drm/card0-DP-1/device/uevent", "DRIVER=amdgpu\n");
        write("sys/class/drm/card1/device/uevent", "DRIVER=virtio-pci\n");
        assert_eq!(gpus(root.path()), ["amdgpu 1002:744C"]);
        write("proc/driver/nvidia/gpus/0000.01/information", "Model: \t NVIDIA L4\nIRQ: 1\n");
        assert_eq!(gpus(root.path()), ["NVIDIA L4"]);
        let empty = serde_json::to_string(&Environment::default()).unwrap();
        assert!(!empty.contains("gpus"), "records without one keep their hashes");
    }

    #[test]
    fn only_variables_that_are_named_are_read() {
        let unasked = EnvironmentCapture::new().capture().unwrap();
        assert!(unasked.variables.is_empty());
        let capture = EnvironmentCapture::new().with_variable("PATH").with_variable("MLP_NOT_SET");
        let asked = capture.capture().unwrap();
        assert!(asked.variables["PATH"].is_some());
        assert_eq!(asked.variables["MLP_NOT_SET"], None);
        let missing = EnvironmentCapture::new().with_lock_file("/no/such/Cargo.lock");
        assert!(missing.capture().is_err());
    }
}
