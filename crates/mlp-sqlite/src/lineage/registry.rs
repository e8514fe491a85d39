//! Registered models.

use std::collections::BTreeMap;

use mlp_core::{ModelName, RecordId, StoreError, Timestamp, VersionNumber};
use mlp_lineage::{
    Alias, AliasMove, ModelRegistry, ModelVersion, Protection, StageMove, VersionStage,
    check_approver, check_stage, check_tag,
};
use rusqlite::Connection;
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{from_json, text, to_json};
use crate::database::Database;
use crate::error::{corrupt, store};
use crate::records;
use crate::session::Session;

pub(super) const TABLES: &[&str] = &[
    "registered_model",
    "model_version",
    "model_alias",
    "protected_alias",
    "alias_move",
    "stage_move",
];

impl ModelRegistry for Database {
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError> {
        let model = model.clone();
        self.write(move |session| register(session, &model, record, at))
    }

    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError> {
        self.read(|connection| self::version(connection, model, version))
    }

    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let rest = "WHERE model = ?1 ORDER BY version";
        self.read(|connection| {
            records::read(connection, "model_version", rest, vec![name(model)], |row| {
                from_json(row, 2, "a version of a model")
            })
        })
    }

    fn latest(&self, model: &ModelName) -> Result<Option<ModelVersion>, StoreError> {
        let rest = "WHERE model = ?1 ORDER BY version DESC LIMIT 1";
        let found = self.read(|connection| {
            records::read(connection, "model_version", rest, vec![name(model)], |row| {
                from_json(row, 2, "a version of a model")
            })
        })?;
        Ok(found.into_iter().next())
    }

    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        let (model, by) = (model.clone(), by.map(str::to_owned));
        self.write(move |session| delete(session, &model, version, at, by.clone()))
    }

    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        let (model, alias, approver) = (model.clone(), alias.clone(), approver.map(str::to_owned));
        self.write(move |session| {
            match version {
                Some(version) => drop(self::version(session.connection, &model, version)?),
                None => is_registered(session.connection, &model)?,
            }
            if is_protected(session.connection, &model, &alias)? {
                check_approver(&alias, approver.as_deref())?;
            }
            point(session, &model, &alias, version, at, approver.as_deref())
        })
    }

    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        let (model, alias, approver) = (model.clone(), alias.clone(), approver.map(str::to_owned));
        self.write(move |session| {
            is_registered(session.connection, &model)?;
            let was = is_protected(session.connection, &model, &alias)?;
            if was == (protection == Protection::Protected) {
                return Ok(());
            }
            if was {
                check_approver(&alias, approver.as_deref())?;
            }
            let to = pointed_at(session.connection, &model, &alias)?;
            let told = AliasMove::new(alias.clone(), to, to, at, approver.as_deref());
            let told = AliasMove { protection: Some(protection), ..told };
            tell(session, "alias_move", &model, &told)?;
            let key = vec![name(&model), text(alias.to_string())];
            let condition = "model = ?1 AND alias = ?2";
            records::remove(session, "protected_alias", condition, key.clone())?;
            match protection {
                Protection::Protected => records::insert(session, "protected_alias", key),
                Protection::Open => Ok(()),
            }
        })
    }

    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError> {
        self.read(|connection| aliases(connection, model)).map(|all| all.into_iter().collect())
    }

    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError> {
        self.read(|connection| told(connection, "alias_move", model))
    }

    fn models(&self) -> Result<Vec<ModelName>, StoreError> {
        self.read(|connection| {
            records::read(connection, "registered_model", "ORDER BY name", Vec::new(), |row| {
                let text: String = row.get(0).map_err(store)?;
                text.parse().map_err(|_| corrupt(format!("model {text:?}"), "it has no valid name"))
            })
        })
    }

    fn set_stage(
        &self,
        model: &ModelName,
        version: VersionNumber,
        stage: VersionStage,
        at: Timestamp,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        check_stage(stage)?;
        let (model, by) = (model.clone(), by.map(str::to_owned));
        self.write(move |session| {
            let mut entry = self::version(session.connection, &model, version)?;
            let from = std::mem::replace(&mut entry.stage, stage);
            if from == stage {
                return Ok(());
            }
            put(session, &entry)?;
            let told = StageMove { version, from, to: stage, at, by: by.clone() };
            tell(session, "stage_move", &model, &told)
        })
    }

    fn transitions(&self, model: &ModelName) -> Result<Vec<StageMove>, StoreError> {
        self.read(|connection| told(connection, "stage_move", model))
    }

    fn set_tag(
        &self,
        model: &ModelName,
        version: VersionNumber,
        tag: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        check_tag(tag, value)?;
        let (model, tag, value) = (model.clone(), tag.to_owned(), value.map(str::to_owned));
        self.write(move |session| {
            let mut entry = self::version(session.connection, &model, version)?;
            entry.set_tag(&tag, value.as_deref())?;
            put(session, &entry)
        })
    }
}

fn name(model: &ModelName) -> Value {
    text(model.to_string())
}

fn number(version: VersionNumber) -> Value {
    // A number beyond this was never given, and is not found.
    Value::Integer(i64::try_from(version.0).unwrap_or(i64::MAX))
}

fn missing(model: &ModelName, version: VersionNumber) -> StoreError {
    StoreError::not_found("model version", format!("{model}@{version}"))
}

/// The greatest number that was ever given to a version of the model; none if it is not registered.
fn last(connection: &Connection, model: &ModelName) -> Result<Option<i64>, StoreError> {
    let found = records::read(
        connection,
        "registered_model",
        "WHERE name = ?1",
        vec![name(model)],
        |row| row.get(1).map_err(store),
    )?;
    Ok(found.into_iter().next())
}

fn is_registered(connection: &Connection, model: &ModelName) -> Result<(), StoreError> {
    match last(connection, model)? {
        Some(_) => Ok(()),
        None => Err(StoreError::not_found("model", model)),
    }
}

pub(super) fn register(
    session: &Session<'_>,
    model: &ModelName,
    record: RecordId,
    at: Timestamp,
) -> Result<VersionNumber, StoreError> {
    let next = last(session.connection, model)?.unwrap_or(0) + 1;
    records::remove(session, "registered_model", "name = ?1", vec![name(model)])?;
    records::insert(session, "registered_model", vec![name(model), Value::Integer(next)])?;
    let version = VersionNumber(next.unsigned_abs());
    put(session, &ModelVersion::new(model.clone(), version, record, at))?;
    Ok(version)
}

fn version(
    connection: &Connection,
    model: &ModelName,
    version: VersionNumber,
) -> Result<ModelVersion, StoreError> {
    let rest = "WHERE model = ?1 AND version = ?2";
    let bound = vec![name(model), number(version)];
    let found = records::read(connection, "model_version", rest, bound, |row| {
        from_json(row, 2, "a version of a model")
    })?;
    found.into_iter().next().ok_or_else(|| missing(model, version))
}

/// Writes a version, whatever it was before.
fn put(session: &Session<'_>, entry: &ModelVersion) -> Result<(), StoreError> {
    let key = vec![name(&entry.model), number(entry.version)];
    records::remove(session, "model_version", "model = ?1 AND version = ?2", key.clone())?;
    let mut values = key;
    values.push(text(to_json(entry)?));
    records::insert(session, "model_version", values)
}

fn aliases(
    connection: &Connection,
    model: &ModelName,
) -> Result<Vec<(Alias, VersionNumber)>, StoreError> {
    let rest = "WHERE model = ?1 ORDER BY alias";
    records::read(connection, "model_alias", rest, vec![name(model)], |row| {
        let (alias, version): (String, i64) =
            (row.get(1).map_err(store)?, row.get(2).map_err(store)?);
        Ok((alias.parse()?, VersionNumber(version.unsigned_abs())))
    })
}

fn is_protected(
    connection: &Connection,
    model: &ModelName,
    alias: &Alias,
) -> Result<bool, StoreError> {
    let bound = vec![name(model), text(alias.to_string())];
    let rest = "WHERE model = ?1 AND alias = ?2";
    let found = records::read(connection, "protected_alias", rest, bound, |_| Ok(()))?;
    Ok(!found.is_empty())
}

/// Points an alias somewhere or nowhere, and tells of it if that is a change.
fn point(
    session: &Session<'_>,
    model: &ModelName,
    alias: &Alias,
    to: Option<VersionNumber>,
    at: Timestamp,
    approver: Option<&str>,
) -> Result<(), StoreError> {
    let from = pointed_at(session.connection, model, alias)?;
    if from == to {
        return Ok(());
    }
    let key = vec![name(model), text(alias.to_string())];
    records::remove(session, "model_alias", "model = ?1 AND alias = ?2", key.clone())?;
    if let Some(version) = to {
        let mut values = key;
        values.push(number(version));
        records::insert(session, "model_alias", values)?;
    }
    tell(session, "alias_move", model, &AliasMove::new(alias.clone(), from, to, at, approver))
}

fn pointed_at(
    connection: &Connection,
    model: &ModelName,
    alias: &Alias,
) -> Result<Option<VersionNumber>, StoreError> {
    let all = aliases(connection, model)?;
    Ok(all.into_iter().find(|(other, _)| other == alias).map(|(_, version)| version))
}

fn delete(
    session: &Session<'_>,
    model: &ModelName,
    version: VersionNumber,
    at: Timestamp,
    by: Option<String>,
) -> Result<(), StoreError> {
    let gone = self::version(session.connection, model, version)?;
    let all = aliases(session.connection, model)?;
    let pointing: Vec<Alias> =
        all.into_iter().filter(|(_, to)| *to == version).map(|(alias, _)| alias).collect();
    for alias in &pointing {
        if is_protected(session.connection, model, alias)? {
            let id = format!("{model}@{version}");
            let reason = format!("the protected alias {alias} points at it");
            return Err(StoreError::conflict("model version", id, reason));
        }
    }
    for alias in &pointing {
        point(session, model, alias, None, at, None)?;
    }
    let key = vec![name(model), number(version)];
    records::remove(session, "model_version", "model = ?1 AND version = ?2", key)?;
    let told = StageMove { version, from: gone.stage, to: VersionStage::Deleted, at, by };
    tell(session, "stage_move", model, &told)
}

/// Adds to what is told of a model, in order.
fn tell<T: Serialize>(
    session: &Session<'_>,
    table: &'static str,
    model: &ModelName,
    told: &T,
) -> Result<(), StoreError> {
    let next = format!("SELECT coalesce(max(n), 0) + 1 FROM {table}");
    let mut statement = session.connection.prepare_cached(&next).map_err(store)?;
    let n: i64 = statement.query_row([], |row| row.get(0)).map_err(store)?;
    records::insert(session, table, vec![Value::Integer(n), name(model), text(to_json(told)?)])
}

fn told<T: DeserializeOwned>(
    connection: &Connection,
    table: &'static str,
    model: &ModelName,
) -> Result<Vec<T>, StoreError> {
    let rest = "WHERE model = ?1 ORDER BY n";
    records::read(connection, table, rest, vec![name(model)], |row| from_json(row, 2, table))
}
