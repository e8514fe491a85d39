//! Dataset versions: what a name and a version meant, for good.

use std::collections::BTreeMap;

use mlp_core::{ContentHash, DatasetRef, StoreError, Timestamp};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fingerprint::RowOrder;
use crate::summary::ColumnSummary;
use crate::table::Table;

/// Where a dataset version came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derivation {
    /// The version it was made of.
    pub parent: DatasetRef,
    /// What was done to it: "240 duplicate rows dropped".
    pub transform: String,
}

/// One version of a dataset: its fingerprint, where it came from, and what it looks like. The rows themselves are not kept.
///
/// ```
/// use mlp_core::Timestamp;
/// use mlp_data::{DatasetVersion, RowOrder, Table};
/// use ndarray::array;
///
/// let table = Table::new(["ph"], array![[3.2], [3.2], [3.5]])?;
/// let raw = DatasetVersion::of(&table, "wine", "raw", RowOrder::Matters, Timestamp::UNIX_EPOCH);
/// let distinct = table.drop_duplicates();
/// let clean = DatasetVersion::of(&distinct.table, "wine", "1", RowOrder::Matters, Timestamp::UNIX_EPOCH)
///     .derived_from(&raw, format!("{} duplicate rows dropped", distinct.dropped));
/// assert_eq!(clean.reference().to_string().split(' ').next(), Some("wine@1"));
/// clean.verify(&distinct.table)?;
/// assert!(clean.verify(&table).is_err());
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DatasetVersion {
    /// What the dataset is called.
    pub name: String,
    /// The name of the version.
    pub version: String,
    /// The hash of the content.
    pub fingerprint: ContentHash,
    /// Whether the order of rows is part of the fingerprint.
    pub row_order: RowOrder,
    /// How many rows there are.
    pub n_rows: usize,
    /// Where it came from, if from another version.
    pub derivation: Option<Derivation>,
    /// When the version was made.
    pub created_at: Timestamp,
    /// What each column looks like, the target last.
    pub columns: Vec<ColumnSummary>,
}

impl DatasetVersion {
    /// The version that a table is.
    pub fn of(
        table: &Table,
        name: impl Into<String>,
        version: impl Into<String>,
        row_order: RowOrder,
        created_at: Timestamp,
    ) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            fingerprint: table.fingerprint(row_order),
            row_order,
            n_rows: table.n_rows(),
            derivation: None,
            created_at,
            columns: ColumnSummary::of_table(table),
        }
    }

    /// Says what it was made of, and how.
    #[must_use]
    pub fn derived_from(mut self, parent: &Self, transform: impl Into<String>) -> Self {
        let (parent, transform) = (parent.reference(), transform.into());
        self.derivation = Some(Derivation { parent, transform });
        self
    }

    /// The reference that evaluations and lineage records carry.
    #[must_use]
    pub fn reference(&self) -> DatasetRef {
        DatasetRef {
            name: self.name.clone(),
            version: self.version.clone(),
            fingerprint: self.fingerprint,
        }
    }

    /// Checks that a table is this version.
    ///
    /// # Errors
    /// If its fingerprint differs.
    pub fn verify(&self, table: &Table) -> Result<()> {
        let found = table.fingerprint(self.row_order);
        if found == self.fingerprint {
            return Ok(());
        }
        let dataset = format!("{}@{}", self.name, self.version);
        Err(Error::Fingerprint { dataset, expected: self.fingerprint, found })
    }
}

/// The dataset versions that are known, by name and version. A version once registered never changes; nothing is ever dropped.
#[derive(Debug, Default)]
pub struct DatasetCatalog {
    /// Each with its number in the order of registration.
    versions: RwLock<BTreeMap<(String, String), (usize, DatasetVersion)>>,
}

impl DatasetCatalog {
    /// An empty catalog.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a version. The same content under the same name again changes nothing.
    ///
    /// # Errors
    /// If the name and version stand for other content, or the version it was made of is not known.
    pub fn register(&self, version: DatasetVersion) -> Result<DatasetRef> {
        let reference = version.reference();
        let mut versions = self.versions.write();
        if let Some(derivation) = &version.derivation {
            let parent = &derivation.parent;
            let known = versions.get(&(parent.name.clone(), parent.version.clone()));
            if known.is_none_or(|(_, known)| known.fingerprint != parent.fingerprint) {
                return Err(StoreError::not_found("parent dataset version", parent).into());
            }
        }
        let key = (version.name.clone(), version.version.clone());
        match versions.get(&key) {
            Some((_, known)) if known.fingerprint != version.fingerprint => {
                let reason = format!(
                    "it has the fingerprint {}, not {}",
                    known.fingerprint.short(),
                    version.fingerprint.short()
                );
                let id = format!("{}@{}", version.name, version.version);
                Err(StoreError::conflict("dataset version", id, reason).into())
            }
            Some(_) => Ok(reference),
            None => {
                let number = versions.len();
                versions.insert(key, (number, version));
                Ok(reference)
            }
        }
    }

    /// A version by its name.
    ///
    /// # Errors
    /// If it is not known.
    pub fn get(&self, name: &str, version: &str) -> Result<DatasetVersion> {
        let key = (name.to_owned(), version.to_owned());
        let known = self.versions.read().get(&key).map(|(_, version)| version.clone());
        known.ok_or_else(|| {
            StoreError::not_found("dataset version", format!("{name}@{version}")).into()
        })
    }

    /// The versions with this content, under whatever name.
    #[must_use]
    pub fn find(&self, fingerprint: ContentHash) -> Vec<DatasetRef> {
        let versions = self.versions.read();
        versions
            .values()
            .filter(|(_, version)| version.fingerprint == fingerprint)
            .map(|(_, version)| version.reference())
            .collect()
    }

    /// A version and what it was made of, back to the first.
    ///
    /// # Errors
    /// If it is not known.
    pub fn ancestry(&self, name: &str, version: &str) -> Result<Vec<DatasetVersion>> {
        let mut line = vec![self.get(name, version)?];
        // A parent was registered before its child, so this ends.
        while let Some(derivation) = line.last().and_then(|last| last.derivation.clone()) {
            line.push(self.get(&derivation.parent.name, &derivation.parent.version)?);
        }
        Ok(line)
    }

    /// All versions, in the order in which they were registered, so each behind the one it was made of: what is to be saved. Registered again in
    /// this order they make the same catalog.
    #[must_use]
    pub fn versions(&self) -> Vec<DatasetVersion> {
        let mut versions: Vec<_> = self.versions.read().values().cloned().collect();
        versions.sort_unstable_by_key(|(number, _)| *number);
        versions.into_iter().map(|(_, version)| version).collect()
    }
}
