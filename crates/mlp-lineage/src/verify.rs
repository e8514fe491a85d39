//! Whether records and artifacts are what they were.

use std::fmt;

use mlp_core::{RecordId, StoreError};

use crate::artifact::Artifacts;
use crate::record::Record;

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A record's content does not have the hash it carries.
    Altered {
        /// The record.
        record: RecordId,
    },
    /// A record does not follow the one before it: one was removed, inserted or moved.
    BrokenChain {
        /// The record that does not fit.
        record: RecordId,
    },
    /// An artifact is gone.
    MissingArtifact {
        /// The record that names it.
        record: RecordId,
        /// Its name there.
        name: String,
    },
    /// An artifact has other bytes.
    AlteredArtifact {
        /// The record that names it.
        record: RecordId,
        /// Its name there.
        name: String,
        /// How that was seen.
        reason: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { record } => write!(f, "record {record} was altered"),
            Self::BrokenChain { record } => {
                write!(f, "record {record} does not follow the one before it")
            }
            Self::MissingArtifact { record, name } => {
                write!(f, "artifact {name:?} of record {record} is gone")
            }
            Self::AlteredArtifact { record, name, reason } => {
                write!(f, "artifact {name:?} of record {record}: {reason}")
            }
        }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many records were looked at.
    pub records: usize,
    /// How many artifacts were hashed.
    pub artifacts: usize,
    /// What is wrong, in the order of the records.
    pub faults: Vec<Fault>,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Hashes records and artifacts again, and follows the chain. A missing last record is seen only by who kept its hash elsewhere.
#[must_use]
pub fn verify(records: &[Record], artifacts: &Artifacts) -> Verification {
    let mut found = Verification { records: records.len(), artifacts: 0, faults: Vec::new() };
    for (place, record) in records.iter().enumerate() {
        if record.content_hash().ok() != Some(record.hash) {
            found.faults.push(Fault::Altered { record: record.id });
        }
        let previous = place.checked_sub(1).map(|before| records[before].hash);
        if record.previous != previous || record.sequence != place as u64 {
            found.faults.push(Fault::BrokenChain { record: record.id });
        }
        for (name, artifact) in &record.description.artifacts {
            found.artifacts += 1;
            let (record, name) = (record.id, name.clone());
            match artifacts.get(&artifact.hash) {
                Ok(bytes) if bytes.len() as u64 == artifact.size => {}
                Ok(_) => found.faults.push(Fault::AlteredArtifact {
                    record,
                    name,
                    reason: "its size is another".to_owned(),
                }),
                Err(StoreError::NotFound { .. }) => {
                    found.faults.push(Fault::MissingArtifact { record, name })
                }
                Err(error) => found.faults.push(Fault::AlteredArtifact {
                    record,
                    name,
                    reason: error.to_string(),
                }),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Description, InMemoryLineageStore, LineageStore};
    use mlp_core::{ManualClock, Metrics, Timestamp, VersionNumber};
    use std::fs;

    fn chain(artifacts: &Artifacts) -> Vec<Record> {
        let store = InMemoryLineageStore::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        for version in 1..=4 {
            let artifact = artifacts.put(format!("model {version}").as_bytes()).unwrap();
            store
                .append(Description::new("wine", version).unwrap().with_artifact("model", artifact))
                .unwrap();
        }
        store.records().unwrap()
    }

    #[test]
    fn every_way_of_tampering_names_the_first_bad_record() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let sound = chain(&artifacts);
        assert!(verify(&sound, &artifacts).is_sound(), "the control");
        type Tamper = fn(&mut Vec<Record>);
        let ways: [(&str, Tamper, usize); 7] = [
            (
                "a field is edited",
                |r| r[1].description.metrics = Metrics::new().with("accuracy", 1.0),
                1,
            ),
            (
                "a field and its hash are edited",
                |r| {
                    r[1].description.version = VersionNumber(9);
                    r[1].hash = r[1].content_hash().unwrap();
                },
                2,
            ),
            ("a record is deleted", |r| drop(r.remove(1)), 1),
            ("records are swapped", |r| r.swap(1, 2), 1),
            ("a record is doubled", |r| r.insert(1, r[1].clone()), 2),
            ("the first record is cut off", |r| drop(r.remove(0)), 0),
            ("the time is edited", |r| r[3].at = Timestamp::from_micros(1), 3),
        ];
        for (name, tamper, first_bad) in ways {
            let mut records = sound.clone();
            tamper(&mut records);
            let faults = verify(&records, &artifacts).faults;
            let expected = records[first_bad].id;
            let is_named = matches!(&faults.first(), Some(Fault::Altered { record } | Fault::BrokenChain { record }) if *record == expected);
            assert!(is_named, "{name}: {faults:?}");
        }
    }

    #[test]
    fn a_missing_artifact_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let records = chain(&artifacts);
        let name = records[2].description.artifacts["model"].hash.to_string();
        fs::remove_file(folder.path().join(&name[..2]).join(&name)).unwrap();
        let found = verify(&records, &artifacts);
        assert_eq!(
            found.faults,
            [Fault::MissingArtifact { record: records[2].id, name: "model".to_owned() }]
        );
        assert_eq!(found.artifacts, 4);
    }
}
