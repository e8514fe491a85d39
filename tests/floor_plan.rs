//! The floor plan: a crate imports only from floors below its own.
//!
//! Reads the manifests, so that an edge is found even where no code uses it. Development dependencies are free: they do not reach a user.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every crate and its floor. A crate may depend on crates of lower floors; siblings are strangers.
const FLOORS: &[(&str, u8)] = &[
    ("mlp-core", 0),
    ("mlp-stats", 0),
    ("mlp-data", 1),
    ("mlp-models", 1),
    ("mlp-eval", 2),
    ("mlp-lineage", 2),
    ("mlp-select", 2),
    ("mlp-tune", 2),
    ("mlp-serve", 2),
    ("mlp-monitor", 2),
    ("mlp-rollback", 2),
    ("mlp-sqlite", 3),
    ("mlp", 4),
];

/// Edges inside a floor that the plan allows, each with its reason in `ARCHITECTURE.md`: none.
const ALLOWED: &[(&str, &str)] = &[];

fn floors() -> BTreeMap<&'static str, u8> {
    FLOORS.iter().copied().collect()
}

/// The `mlp-*` crates that a manifest depends on, in any of its dependency tables but the one for development.
fn edges(manifest: &str) -> Vec<String> {
    let mut in_dependencies = false;
    let mut edges = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']');
            let last = table.rsplit('.').next().unwrap_or_default();
            in_dependencies = table == "dependencies"
                || table == "build-dependencies"
                || table.ends_with(".dependencies") && !table.starts_with("workspace");
            if table.contains("dependencies.")
                && !table.contains("dev-dependencies.")
                && last.starts_with("mlp")
            {
                edges.push(last.trim_matches('"').to_owned());
            }
        } else if in_dependencies && line.starts_with("mlp") {
            edges.push(line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    edges
}

/// The edges of one crate that the plan forbids, in words.
fn broken(name: &str, manifest: &str) -> Vec<String> {
    let floors = floors();
    let Some(&floor) = floors.get(name) else {
        return vec![format!("{name} stands on no floor: add it to FLOORS")];
    };
    let is_broken = |to: &String| match floors.get(to.as_str()) {
        Some(&below) => below >= floor && !ALLOWED.contains(&(name, to.as_str())),
        None => true,
    };
    edges(manifest)
        .into_iter()
        .filter(is_broken)
        .map(|to| format!("{name} must not depend on {to}"))
        .collect()
}

fn manifests() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut all = vec![("mlp".to_owned(), read(&root.join("Cargo.toml")))];
    for entry in fs::read_dir(root.join("crates")).expect("the folder of the crates") {
        let folder = entry.expect("an entry of the folder of the crates").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        all.push((name, read(&folder.join("Cargo.toml"))));
    }
    all
}

#[test]
fn every_edge_points_to_a_lower_floor() {
    let manifests = manifests();
    assert_eq!(
        manifests.len(),
        FLOORS.len(),
        "every crate stands on a floor, and every floor's crate exists"
    );
    let broken: Vec<_> =
        manifests.iter().flat_map(|(name, manifest)| broken(name, manifest)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_plan_sees_the_edges_that_are_there() {
    let manifests: BTreeMap<_, _> = manifests().into_iter().collect();
    assert!(edges(&manifests["mlp-monitor"]).contains(&"mlp-stats".to_owned()));
    assert!(edges(&manifests["mlp"]).contains(&"mlp-rollback".to_owned()));
}

#[test]
fn a_forbidden_edge_is_named_however_it_is_written() {
    let forbidden = [
        "[dependencies]\nmlp-serve.workspace = true",
        "[dependencies]\nmlp-serve = { workspace = true, optional = true }",
        "[dependencies.mlp-serve]\nworkspace = true",
        "[target.'cfg(unix)'.dependencies]\nmlp-serve.workspace = true",
        "[build-dependencies]\nmlp-serve = \"0.1\"",
    ];
    for manifest in forbidden {
        assert_eq!(
            broken("mlp-rollback", manifest),
            ["mlp-rollback must not depend on mlp-serve"],
            "{manifest}"
        );
    }
    assert_eq!(
        broken("mlp-data", "[dependencies]\nmlp-models.workspace = true"),
        ["mlp-data must not depend on mlp-models"]
    );
    assert_eq!(
        broken("mlp-core", "[dependencies]\nmlp.workspace = true"),
        ["mlp-core must not depend on mlp"]
    );
    assert_eq!(broken("mlp-new", ""), ["mlp-new stands on no floor: add it to FLOORS"]);
}

#[test]
fn a_development_dependency_is_free() {
    for manifest in [
        "[dev-dependencies]\nmlp-models.workspace = true",
        "[dev-dependencies.mlp-models]\nworkspace = true",
    ] {
        assert!(broken("mlp-select", manifest).is_empty(), "{manifest}");
    }
}
