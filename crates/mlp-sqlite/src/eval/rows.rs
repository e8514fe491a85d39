//! Evaluations, parameters and tags as records.

use mlp_core::{
    ContentHash, DatasetRef, EvaluationId, ParamValue, StoreError, Timestamp, VersionNumber,
};
use mlp_eval::{Keys, Lifecycle, NewEvaluation, Stage, Status};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};

use super::{count_record, missing, optional};
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
}

const COLUMNS: &str = "n, id, experiment, bin, stage, status, started_at, ended_at, model, model_version, \
                       dataset_name, dataset_version, dataset_fingerprint, checksum";

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
        }
    }

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

    pub(super) fn insert(&self, session: &Session<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO evaluation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        let checksum = self.checksum();
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
                checksum
            ])
            .map_err(store)?;
        session.added("evaluation", checksum);
        Ok(())
    }

    /// Changes what can change: bin, status and end.
    pub(super) fn update(
        &mut self,
        session: &Session<'_>,
        change: impl FnOnce(&mut Self),
    ) -> Result<(), StoreError> {
        session.removed("evaluation", self.checksum());
        change(self);
        let checksum = self.checksum();
        session.added("evaluation", checksum);
        let sql = "UPDATE evaluation SET bin = ?2, status = ?3, ended_at = ?4, checksum = ?5 WHERE n = ?1";
        let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
        statement
            .execute((self.n, self.bin, &self.status, self.ended_at, checksum))
            .map_err(store)?;
        Ok(())
    }

    pub(super) fn delete(&self, session: &Session<'_>) -> Result<(), StoreError> {
        let mut statement = session
            .connection
            .prepare_cached("DELETE FROM evaluation WHERE n = ?1")
            .map_err(store)?;
        statement.execute([self.n]).map_err(store)?;
        session.removed("evaluation", self.checksum());
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

pub(super) fn by_number(connection: &Connection, n: i64) -> Result<EvaluationRow, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM evaluation WHERE n = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(store)?;
    let row = optional(statement.query_row([n], EvaluationRow::read))?;
    let row = row.ok_or_else(|| {
        corrupt(format!("evaluation {n}"), "an index names it, but it is not there")
    })?;
    EvaluationRow::checked(row)
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

/// A parameter or a tag: a name and a value of one evaluation.
pub(super) struct ParamRow<'a> {
    evaluation: i64,
    name: &'a str,
    value: &'a str,
    text: &'a str,
    is_number: bool,
    number: Option<f64>,
}

impl ParamRow<'_> {
    fn checksum(&self) -> i64 {
        Checksum::of("param")
            .int(self.evaluation)
            .text(self.name)
            .text(self.value)
            .text(self.text)
            .int(i64::from(self.is_number))
            .number(self.number)
            .finish()
    }
}

pub(super) fn insert_param(
    session: &Session<'_>,
    evaluation: i64,
    name: &str,
    value: &ParamValue,
) -> Result<(), StoreError> {
    let json = serde_json::to_string(value).map_err(StoreError::backend)?;
    let (text, number) = (value.to_string(), value.as_float());
    let is_number = number.is_some();
    let row = ParamRow { evaluation, name, value: &json, text: &text, is_number, number };
    let checksum = row.checksum();
    let sql = "INSERT INTO param VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    statement
        .execute((evaluation, name, &json, &text, is_number, number, checksum))
        .map_err(store)?;
    session.added("param", checksum);
    Ok(())
}

fn param_of(row: &Row<'_>) -> Sql<(String, String, i64, i64)> {
    count_record();
    let (name, value, text): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let read = ParamRow {
        evaluation: row.get(0)?,
        name: &name,
        value: &value,
        text: &text,
        is_number: row.get(4)?,
        number: row.get(5)?,
    };
    let sum = read.checksum();
    Ok((name, value, sum, row.get(6)?))
}

/// The exact value of a parameter, as JSON.
pub(super) fn param(
    connection: &Connection,
    evaluation: i64,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT * FROM param WHERE evaluation = ?1 AND name = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let row = optional(statement.query_row((evaluation, name), param_of))?;
    row.map(|(name, value, sum, stored)| checked("parameter", &name, value, sum == stored))
        .transpose()
}

/// The parameters that are asked for: by name those that are named.
pub(super) fn params(
    connection: &Connection,
    evaluation: i64,
    keys: &Keys,
) -> Result<Vec<(String, String)>, StoreError> {
    if let Keys::Only(names) = keys {
        let mut found = Vec::new();
        for name in names {
            found.extend(param(connection, evaluation, name)?.map(|value| (name.clone(), value)));
        }
        return Ok(found);
    }
    let sql = "SELECT * FROM param WHERE evaluation = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let rows = statement.query_map([evaluation], param_of).map_err(store)?;
    rows.map(|row| {
        let (name, value, sum, stored) = row.map_err(store)?;
        let value = checked("parameter", &name, value, sum == stored)?;
        Ok((name, value))
    })
    .collect()
}

fn checked(what: &str, name: &str, value: String, fits: bool) -> Result<String, StoreError> {
    if fits {
        Ok(value)
    } else {
        Err(corrupt(format!("{what} {name:?}"), "its checksum does not fit"))
    }
}

fn tag_checksum(evaluation: i64, name: &str, value: &str) -> i64 {
    Checksum::of("tag").int(evaluation).text(name).text(value).finish()
}

fn tag_of(row: &Row<'_>) -> Sql<(i64, String, String, i64)> {
    count_record();
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

/// Sets a tag, whatever it was before.
pub(super) fn set_tag(
    session: &Session<'_>,
    evaluation: i64,
    name: &str,
    value: &str,
) -> Result<(), StoreError> {
    remove_tag(session, evaluation, name)?;
    insert_tag(session, evaluation, name, value)
}

/// Sets a tag that is not there.
pub(super) fn insert_tag(
    session: &Session<'_>,
    evaluation: i64,
    name: &str,
    value: &str,
) -> Result<(), StoreError> {
    let checksum = tag_checksum(evaluation, name, value);
    let mut statement = session
        .connection
        .prepare_cached("INSERT INTO tag VALUES (?1, ?2, ?3, ?4)")
        .map_err(store)?;
    statement.execute((evaluation, name, value, checksum)).map_err(store)?;
    session.added("tag", checksum);
    Ok(())
}

/// Whether an evaluation has a tag.
pub(super) fn has_tag(
    connection: &Connection,
    evaluation: i64,
    name: &str,
) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM tag WHERE evaluation = ?1 AND name = ?2";
    connection.prepare_cached(sql).and_then(|mut it| it.exists((evaluation, name))).map_err(store)
}

/// Removes a tag, if it is there.
pub(super) fn remove_tag(
    session: &Session<'_>,
    evaluation: i64,
    name: &str,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM tag WHERE evaluation = ?1 AND name = ?2 RETURNING checksum";
    let mut statement = session.connection.prepare_cached(sql).map_err(store)?;
    let gone: Option<i64> = optional(statement.query_row((evaluation, name), |row| row.get(0)))?;
    if let Some(checksum) = gone {
        session.removed("tag", checksum);
    }
    Ok(())
}

/// The tags that are asked for: by name those that are named.
pub(super) fn tags(
    connection: &Connection,
    evaluation: i64,
    keys: &Keys,
) -> Result<Vec<(String, String)>, StoreError> {
    let checked = |(evaluation, name, value, stored): (i64, String, String, i64)| {
        let fits = tag_checksum(evaluation, &name, &value) == stored;
        let value = checked("tag", &name, value, fits)?;
        Ok((name, value))
    };
    if let Keys::Only(names) = keys {
        let sql = "SELECT * FROM tag WHERE evaluation = ?1 AND name = ?2";
        let mut statement = connection.prepare_cached(sql).map_err(store)?;
        let mut found = Vec::new();
        for name in names {
            let row = optional(statement.query_row((evaluation, name), tag_of))?;
            found.extend(row.map(checked).transpose()?);
        }
        return Ok(found);
    }
    let sql = "SELECT * FROM tag WHERE evaluation = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    let rows = statement.query_map([evaluation], tag_of).map_err(store)?;
    rows.map(|row| checked(row.map_err(store)?)).collect()
}

/// Removes everything that a table holds of an evaluation.
pub(super) fn remove_all(
    session: &Session<'_>,
    table: &'static str,
    evaluation: i64,
) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM {table} WHERE evaluation = ?1 RETURNING checksum");
    let mut statement = session.connection.prepare_cached(&sql).map_err(store)?;
    let mut gone = statement.query([evaluation]).map_err(store)?;
    while let Some(row) = gone.next().map_err(store)? {
        session.removed(table, row.get(0).map_err(store)?);
    }
    Ok(())
}

pub(super) fn tables() -> [Checked; 3] {
    [
    Checked {
        table: "evaluation",
        sql: "SELECT n, id, experiment, bin, stage, status, started_at, ended_at, model, model_version, \
              dataset_name, dataset_version, dataset_fingerprint, checksum FROM evaluation".to_owned(),
        sum: |_, row| EvaluationRow::read(row).map(|(row, _)| (row.id.to_string(), row.checksum())),
    },
    Checked {
        table: "param",
        sql: "SELECT * FROM param".to_owned(),
        sum: |_, row| param_of(row).map(|(name, _, sum, _)| (name, sum)),
    },
    Checked {
        table: "tag",
        sql: "SELECT * FROM tag".to_owned(),
        sum: |_, row| {
            let (evaluation, name, value, _) = tag_of(row)?;
            let sum = tag_checksum(evaluation, &name, &value);
            Ok((name, sum))
        },
    },
    ]
}
