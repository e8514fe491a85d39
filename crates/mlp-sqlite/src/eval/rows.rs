//! Evaluations as records.

use mlp_core::{ContentHash, DatasetRef, EvaluationId, StoreError, Timestamp, VersionNumber};
use mlp_eval::{Lifecycle, NewEvaluation, Stage, Status};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{missing, optional};
use crate::cards;
use crate::checksum::Checksum;
use crate::error::{Sql, corrupt, store};
use crate::session::Session;
use crate::verify::Checked;

/// Whether an evaluation is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bin {
    InUse = 0,
    Deleted = 1,
    /// It went to the bin with its experiment, and comes back with it.
    WithExperiment = 2,
}

impl Bin {
    pub(super) fn lifecycle(self) -> Lifecycle {
        if self == Self::InUse { Lifecycle::Active } else { Lifecycle::Deleted }
    }
}

impl ToSql for Bin {
    fn to_sql(&self) -> Sql<ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for Bin {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::InUse),
            1 => Ok(Self::Deleted),
            2 => Ok(Self::WithExperiment),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

pub(super) fn id_from(bytes: &[u8]) -> Result<EvaluationId, FromSqlError> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| FromSqlError::InvalidBlobSize { expected_size: 16, blob_size: bytes.len() })?;
    Ok(EvaluationId::from_bytes(bytes))
}

/// An evaluation without its parameters, tags and series.
#[derive(Debug, Clone)]
pub(super) struct EvaluationRow {
    pub(super) n: i64,
    pub(super) id: EvaluationId,
    pub(super) experiment: i64,
    pub(super) bin: Bin,
    pub(super) stage: String,
    pub(super) status: String,
    pub(super) started_at: i64,
    pub(super) ended_at: Option<i64>,
    pub(super) model: Option<String>,
    pub(super) model_version: Option<i64>,
    pub(super) dataset: [Option<String>; 3],
    /// Of the card beside it, which is read only when it is asked for.
    pub(super) about_checksum: i64,
}

const COLUMNS: &str = "n, id, experiment, bin, stage, status, started_at, ended_at, model, model_version, \
                       dataset_name, dataset_version, dataset_fingerprint, checksum, about_checksum";

impl EvaluationRow {
    pub(super) fn new(
        n: i64,
        experiment: i64,
        new: &NewEvaluation,
        finish: Option<(Status, Timestamp)>,
    ) -> Self {
        let status = finish.map_or(Status::Running, |(status, _)| status);
        let dataset = new.dataset.as_ref();
        Self {
            n,
            id: new.id,
            experiment,
            bin: Bin::InUse,
            stage: new.stage.to_string(),
            status: status.to_string(),
            started_at: new.started_at.as_micros(),
            ended_at: finish.map(|(_, at)| at.as_micros()),
            model: new.model.as_ref().map(ToString::to_string),
            model_version: new.model_version.map(|version| version.0 as i64),
            dataset: [
                dataset.map(|dataset| dataset.name.clone()),
                dataset.map(|dataset| dataset.version.clone()),
                dataset.map(|dataset| dataset.fingerprint.to_string()),
            ],
            about_checksum: 0,
        }
    }

    /// Of all but the card.
    fn checksum(&self) -> i64 {
        let sum = Checksum::of("evaluation")
            .int(self.n)
            .bytes(self.id.as_bytes())
            .int(self.experiment)
            .int(self.bin as i64)
            .text(&self.stage)
            .text(&self.status)
            .int(self.started_at)
            .maybe(self.ended_at, Checksum::int)
            .maybe(self.model.as_deref(), Checksum::text)
            .maybe(self.model_version, Checksum::int);
        self.dataset
            .iter()
            .fold(sum, |sum, part| sum.maybe(part.as_deref(), Checksum::text))
            .finish()
    }

    fn read(row: &Row<'_>) -> Sql<(Self, i64)> {
        let id: Vec<u8> = row.get(1)?;
        let read = Self {
            n: row.get(0)?,
            id: id_from(&id)?,
            experiment: row.get(2)?,
            bin: row.get(3)?,
            stage: row.get(4)?,
            status: row.get(5)?,
            started_at: row.get(6)?,
            ended_at: row.get(7)?,
            model: row.get(8)?,
            model_version: row.get(9)?,
            dataset: [row.get(10)?, row.get(11)?, row.get(12)?],
            about_checksum: row.get(14)?,
        };
        Ok((read, row.get(13)?))
    }

    fn checked((row, stored): (Self, i64)) -> Result<Self, StoreError> {
        if row.checksum() == stored {
            Ok(row)
        } else {
            Err(corrupt(format!("evaluation {}", row.id), "its checksum does not fit"))
        }
    }

    /// What the record and its card are counted with.
    fn sum(&self) -> i64 {
        self.checksum() ^ self.about_checksum
    }

    pub(super) fn insert(&mut self, session: &Session<'_>, about: &[u8]) -> Result<(), StoreError> {
        self.about_checksum = cards::about_checksum(self.n, about);
        let sql = "INSERT INTO evaluation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement
            .execute(rusqlite::params![
                self.n,
                self.id.as_bytes(),
                self.experiment,
                self.bin,
                self.stage,
                self.status,
                self.started_at,
                self.ended_at,
                self.model,
                self.model_version,
                self.dataset[0],
                self.dataset[1],
                self.dataset[2],
                self.checksum(),
                self.about_checksum,
                about
            ])
            .map_err(store)?;
        session.added("evaluation", self.sum());
        Ok(())
    }

    /// Changes what can change: bin, status and end.
    pub(super) fn update(
        &mut self,
        session: &Session<'_>,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), StoreError> {
        session.removed("evaluation", self.sum());
        change(self);
        session.added("evaluation", self.sum());
        let sql = "UPDATE evaluation SET bin = ?2, status = ?3, ended_at = ?4, checksum = ?5 WHERE n = ?1";
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement
            .execute((self.n, self.bin, &self.status, self.ended_at, self.checksum()))
            .map_err(store)?;
        Ok(())
    }

    /// Changes the card, unless it is the same.
    pub(super) fn set_about(
        &mut self,
        session: &Session<'_>,
        about: &[u8],
    ) -> Result<(), StoreError> {
        let checksum = cards::about_checksum(self.n, about);
        if checksum == self.about_checksum {
            return Ok(());
        }
        session.removed("evaluation", self.sum());
        self.about_checksum = checksum;
        session.added("evaluation", self.sum());
        let sql = "UPDATE evaluation SET about_checksum = ?2, about = ?3 WHERE n = ?1";
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement.execute((self.n, self.about_checksum, about)).map_err(store)?;
        Ok(())
    }

    pub(super) fn delete(&self, session: &Session<'_>) -> Result<(), StoreError> {
        let mut statement = session
            .connection
            .prepare_cached("DELETE FROM evaluation WHERE n = ?1")
            .map_err(store)?;
        statement.execute([self.n]).map_err(store)?;
        session.removed("evaluation", self.sum());
        Ok(())
    }

    pub(super) fn stage(&self) -> Result<Stage, StoreError> {
        self.stage.parse().map_err(|error: mlp_eval::ParseStageError| self.broken(&error))
    }

    pub(super) fn status(&self) -> Result<Status, StoreError> {
        [Status::Running, Status::Finished, Status::Failed, Status::Killed]
            .into_iter()
            .find(|status| status.to_string() == self.status)
            .ok_or_else(|| self.broken(&"its status is unknown"))
    }

    pub(super) fn dataset(&self) -> Result<Option<DatasetRef>, StoreError> {
        let [Some(name), Some(version), Some(fingerprint)] = &self.dataset else { return Ok(None) };
        let fingerprint: ContentHash =
            fingerprint.parse().map_err(|_| self.broken(&"its dataset has no hash"))?;
        Ok(Some(DatasetRef { name: name.clone(), version: version.clone(), fingerprint }))
    }

    pub(super) fn model_version(&self) -> Option<VersionNumber> {
        self.model_version.map(|version| VersionNumber(version as u64))
    }

    pub(super) fn broken(&self, reason: &dyn ToString) -> StoreError {
        corrupt(format!("evaluation {}", self.id), reason.to_string())
    }
}

pub(super) fn by_id(
    connection: &Connection,
    id: EvaluationId,
) -> Result<EvaluationRow, StoreError> {
    find(connection, id)?.ok_or_else(|| missing(id))
}

pub(super) fn find(
    connection: &Connection,
    id: EvaluationId,
) -> Result<Option<EvaluationRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM evaluation WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let row = optional(statement.query_row([id.as_bytes()], EvaluationRow::read))?;
    row.map(EvaluationRow::checked).transpose()
}

pub(super) fn by_number(
    connection: &Connection,
    n: i64,
) -> Result<Option<EvaluationRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM evaluation WHERE n = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let row = optional(statement.query_row([n], EvaluationRow::read))?;
    row.map(EvaluationRow::checked).transpose()
}

/// What a report calls the evaluation of a number: its id, unless it has none any more.
pub(super) fn name(connection: &Connection, n: i64) -> Sql<String> {
    let sql = "SELECT id FROM evaluation WHERE n = ?1";
    let id = connection.query_row(sql, [n], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    let id = id.and_then(|id| id_from(&id).ok());
    Ok(id.map_or_else(|| format!("number {n}, which is not there"), |id| id.to_string()))
}

pub(super) fn of_experiment(
    connection: &Connection,
    experiment: i64,
    bin: Option<Bin>,
) -> Result<Vec<EvaluationRow>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM evaluation WHERE experiment = ?1 AND bin BETWEEN ?2 AND ?3");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let (low, high) = bin.map_or((0, 2), |bin| (bin as i64, bin as i64));
    let rows = statement.query_map((experiment, low, high), EvaluationRow::read).map_err(store)?;
    rows.map(|row| EvaluationRow::checked(row.map_err(store)?)).collect()
}

pub(super) fn table() -> Checked {
    Checked {
        table: "evaluation",
        // The exclusive or of both checksums, which SQLite does not have.
        sql: format!(
            "SELECT {COLUMNS}, about, (checksum | about_checksum) - (checksum & about_checksum) FROM evaluation"
        ),
        sum: |_, row| {
            let (read, stored) = EvaluationRow::read(row)?;
            let about = cards::about_checksum(read.n, row.get_ref(15)?.as_blob()?);
            let is_whole = read.checksum() == stored && about == read.about_checksum;
            // Where both are changed alike, their exclusive or does not tell.
            let written = stored ^ read.about_checksum;
            Ok(if is_whole { written } else { !written })
        },
        name: |_, row| EvaluationRow::read(row).map(|(read, _)| read.id.to_string()),
    }
}
