//! The schema, version by version.

use mlp_core::StoreError;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::{corrupt, store};
use crate::pack;

/// "mlp1" in the header of the file: whose it is.
const APPLICATION_ID: i64 = 0x6d6c_7031;

/// The k-th entry leads from version k to version k + 1. A released entry never changes; `tests/fixtures` holds a file of each version.
const VERSIONS: &[Step] = &[
    Step::Sql(include_str!("schema_1.sql")),
    Step::Sql(include_str!("schema_2.sql")),
    Step::Sql(include_str!("schema_3.sql")),
    Step::Sql(include_str!("schema_4.sql")),
    Step::Sql(include_str!("schema_5.sql")),
    Step::Code(pack::run),
];

/// What leads from one version to the next.
enum Step {
    Sql(&'static str),
    Code(fn(&Connection) -> Result<(), StoreError>),
}

impl Step {
    fn take(&self, connection: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Sql(sql) => connection.execute_batch(sql).map_err(store),
            Self::Code(code) => code(connection),
        }
    }
}

/// The version that this library writes.
pub(crate) const LATEST: i64 = VERSIONS.len() as i64;

/// Brings a file to the latest version; refuses one that is not ours or newer.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    if version(connection)? == LATEST {
        return Ok(());
    }
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(store)?;
    // Somebody else may have been faster.
    let from = version(&transaction)?;
    for step in VERSIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        step.take(&transaction).map_err(of_tables)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(store)?;
    transaction.pragma_update(None, "user_version", LATEST).map_err(store)?;
    transaction.commit().map_err(store)
}

/// What a step has met: a table that it would have is missing, or one that it would not is there.
fn of_tables(error: StoreError) -> StoreError {
    use rusqlite::Error::{SqlInputError, SqliteFailure};

    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref());
    match source {
        Some(SqlInputError { error: code, msg, .. } | SqliteFailure(code, Some(msg)))
            if code.code == ErrorCode::Unknown =>
        {
            let reason = format!("it has not the tables of its schema: {msg}");
            corrupt("the database file", reason)
        }
        _ => error,
    }
}

/// The version of a file, 0 for one that holds nothing yet; refuses one that is not ours or newer.
pub(crate) fn version(connection: &Connection) -> Result<i64, StoreError> {
    let read = |name: &str| -> Result<i64, StoreError> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(store)
    };
    let (application, version) = (read("application_id")?, read("user_version")?);
    if application != APPLICATION_ID {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(store)?;
        if application != 0 || version != 0 || tables > 0 {
            return Err(corrupt("the database file", "it belongs to another program"));
        }
        return Ok(0);
    }
    if version <= 0 {
        return Err(corrupt("the database file", "its schema has no number"));
    }
    if version > LATEST {
        let (found, supported) = (version.unsigned_abs(), LATEST.unsigned_abs());
        return Err(StoreError::NewerSchema { found, supported });
    }
    Ok(version)
}

/// Tables and indexes as SQLite lists them, for comparison.
pub(crate) fn listing(
    connection: &Connection,
) -> Result<Vec<(String, Option<String>)>, StoreError> {
    // What `ANALYZE` counted is nobody's.
    let sql =
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY name";
    let mut statement = connection.prepare(sql).map_err(store)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(store)?;
    rows.collect::<Result<_, _>>().map_err(store)
}

/// The listing of an empty file of the latest version.
pub(crate) fn expected() -> Result<Vec<(String, Option<String>)>, StoreError> {
    let mut fresh = Connection::open_in_memory().map_err(store)?;
    migrate(&mut fresh)?;
    listing(&fresh)
}
