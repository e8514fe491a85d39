//! Dataset versions and their catalog.

use mlp_core::Timestamp;
use mlp_data::{DatasetCatalog, DatasetVersion, RowOrder, Table};
use ndarray::array;

fn table(last: f64) -> Table {
    Table::new(["a"], array![[1.0], [2.0], [last]])
        .and_then(|t| t.with_classes("y", vec![0, 1, 1], ["n", "y"]))
        .unwrap()
}

fn version(last: f64, version: &str) -> DatasetVersion {
    DatasetVersion::of(&table(last), "d", version, RowOrder::Matters, Timestamp::UNIX_EPOCH)
}

#[test]
fn a_version_never_changes_its_content() {
    let catalog = DatasetCatalog::new();
    let reference = catalog.register(version(3.0, "1")).unwrap();
    assert_eq!(catalog.register(version(3.0, "1")).unwrap(), reference);
    let error = catalog.register(version(4.0, "1")).unwrap_err();
    assert!(error.to_string().starts_with("dataset version \"d@1\" conflicts"), "{error}");
    assert_eq!(catalog.get("d", "1").unwrap(), version(3.0, "1"));
    assert!(catalog.get("d", "2").is_err());
    catalog.register(version(3.0, "same")).unwrap();
    assert_eq!(catalog.find(reference.fingerprint).len(), 2);
    assert_eq!(catalog.versions().len(), 2);
}

#[test]
fn a_version_knows_what_it_was_made_of() {
    let catalog = DatasetCatalog::new();
    let child = version(4.0, "2").derived_from(&version(3.0, "1"), "last row corrected");
    assert!(catalog.register(child.clone()).is_err(), "the parent is not known yet");
    catalog.register(version(3.0, "1")).unwrap();
    catalog.register(child).unwrap();
    let line: Vec<String> =
        catalog.ancestry("d", "2").unwrap().into_iter().map(|version| version.version).collect();
    assert_eq!(line, ["2", "1"]);
}

#[test]
fn a_catalog_is_restored_from_its_own_list() {
    let catalog = DatasetCatalog::new();
    // By name, each child stands before its parent: "1" before "raw", "10" before "9".
    catalog.register(version(3.0, "raw")).unwrap();
    catalog.register(version(4.0, "1").derived_from(&version(3.0, "raw"), "cleaned")).unwrap();
    catalog.register(version(5.0, "9")).unwrap();
    catalog.register(version(6.0, "10").derived_from(&version(5.0, "9"), "cleaned")).unwrap();
    catalog.register(version(3.0, "raw")).unwrap();
    let restored = DatasetCatalog::new();
    for version in catalog.versions() {
        restored.register(version).unwrap();
    }
    assert_eq!(restored.versions(), catalog.versions());
    let names: Vec<String> = restored.versions().into_iter().map(|v| v.version).collect();
    assert_eq!(names, ["raw", "1", "9", "10"]);
    assert_eq!(restored.get("d", "10").unwrap(), catalog.get("d", "10").unwrap());
    assert_eq!(restored.find(version(5.0, "9").fingerprint).len(), 1);
}

#[test]
fn a_table_is_verified_against_its_version() {
    version(3.0, "1").verify(&table(3.0)).unwrap();
    let error = version(3.0, "1").verify(&table(4.0)).unwrap_err().to_string();
    assert!(error.starts_with("d@1 has the fingerprint "), "{error}");
}

#[test]
fn a_summary_counts_what_is_there() {
    let table = Table::new(["a"], array![[1.0], [f64::NAN], [4.0], [f64::INFINITY]])
        .and_then(|t| t.with_classes("y", vec![0, 1, 1, 1], ["n", "y"]))
        .unwrap();
    let version = DatasetVersion::of(&table, "d", "1", RowOrder::Ignored, Timestamp::UNIX_EPOCH);
    let a = &version.columns[0];
    assert_eq!((a.missing, a.infinite, a.mean, a.minimum, a.maximum), (1, 1, 2.5, 1.0, 4.0));
    assert_eq!(a.standard_deviation, 4.5_f64.sqrt());
    assert_eq!(
        version.columns[1].counts.as_deref(),
        Some(&[("n".to_owned(), 1), ("y".to_owned(), 3)][..])
    );
    let json = serde_json::to_string(&version).unwrap();
    assert_eq!(serde_json::from_str::<DatasetVersion>(&json).unwrap(), version);
}
