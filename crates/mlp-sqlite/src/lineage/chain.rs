//! The chain of records, and the graph that it makes.

use mlp_core::{ContentHash, ModelName, RecordId, StoreError};
use mlp_lineage::{
    ChainEntry, ChainFault, Deployment, Event, Head, LineageStore, MAX_ENTRIES_READ, Node, Record,
    links,
};
use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::{from_json, text, to_json};
use crate::database::Database;
use crate::error::{corrupt, store};
use crate::records;
use crate::session::Session;

use super::proof::walk;

pub(super) const TABLES: &[&str] = &["lineage_entry", "lineage_node", "lineage_edge"];
const KIND: &str = "record";

impl LineageStore for Database {
    fn append(&self, event: Event) -> Result<Head, StoreError> {
        self.write(move |session| append(session, &event))
    }

    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.read(head)
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<ChainEntry>, StoreError> {
        let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
        let limit = limit.min(MAX_ENTRIES_READ) as i64;
        let bound = vec![Value::Integer(from), Value::Integer(limit)];
        let rest = "WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2";
        self.read(|connection| records::read(connection, "lineage_entry", rest, bound, entry))
    }

    fn get(&self, id: RecordId) -> Result<Record, StoreError> {
        self.read(|connection| {
            let entry = record_entry(connection, id)?.ok_or_else(|| missing(id))?;
            match whole(entry)?.event {
                Event::Recorded(record) if record.id == id => Ok(*record),
                _ => Err(elsewhere(&format!("record {id}"))),
            }
        })
    }

    /// Row by row: one that cannot be read is an altered entry, not the end of the walk.
    fn verify_chain(&self, anchor: Option<Head>) -> Result<Option<ChainFault>, StoreError> {
        self.read(|connection| walk(connection, anchor, |_| Ok(())))
    }

    fn records_of(&self, model: &ModelName) -> Result<Vec<Record>, StoreError> {
        let bound = vec![text(model.to_string())];
        let rest = "WHERE model = ?1 AND is_record = 1 ORDER BY sequence";
        let entries =
            self.read(|connection| records::read(connection, "lineage_entry", rest, bound, entry))?;
        let mut of_model = Vec::with_capacity(entries.len());
        for entry in entries {
            match whole(entry)?.event {
                Event::Recorded(record) if record.model == *model => of_model.push(*record),
                _ => return Err(elsewhere(&format!("a record of {model}"))),
            }
        }
        Ok(of_model)
    }

    fn deployments_of(&self, record: RecordId) -> Result<Vec<Deployment>, StoreError> {
        let rest = "WHERE record = ?1 AND is_record = 0 ORDER BY sequence";
        let entries = self.read(|connection| {
            if record_entry(connection, record)?.is_none() {
                return Err(missing(record));
            }
            records::read(connection, "lineage_entry", rest, vec![blob(record.as_bytes())], entry)
        })?;
        let mut deployments = Vec::with_capacity(entries.len());
        for entry in entries {
            match whole(entry)?.event {
                Event::Deployed(it) if it.record == record => deployments.push(it),
                _ => return Err(elsewhere(&format!("a deployment of {record}"))),
            }
        }
        Ok(deployments)
    }

    fn ancestors(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        self.read(|connection| reachable(connection, node, "child", "parent"))
    }

    fn descendants(&self, node: &Node) -> Result<Vec<Node>, StoreError> {
        self.read(|connection| reachable(connection, node, "parent", "child"))
    }
}

fn blob(bytes: &[u8]) -> Value {
    Value::Blob(bytes.to_vec())
}

/// A row that stands under another name than its entry.
fn elsewhere(what: &str) -> StoreError {
    corrupt(what, "the entry that is kept for it is about something else")
}

fn missing(id: RecordId) -> StoreError {
    StoreError::not_found(KIND, id)
}

pub(super) fn append(session: &Session<'_>, event: &Event) -> Result<Head, StoreError> {
    check(session.connection, event)?;
    let entry = ChainEntry::follow(head(session.connection)?, event.clone())?;
    let (record, model) = match event {
        Event::Recorded(record) => (record.id, text(record.model.to_string())),
        Event::Deployed(deployment) => (deployment.record, Value::Null),
        _ => return Err(StoreError::invalid("event", "this adapter does not know its kind")),
    };
    let is_record = matches!(event, Event::Recorded(_));
    let values = vec![
        Value::Integer(i64::try_from(entry.sequence).map_err(StoreError::backend)?),
        entry.previous.map_or(Value::Null, |hash| blob(hash.as_bytes())),
        blob(entry.hash.as_bytes()),
        blob(record.as_bytes()),
        Value::Integer(i64::from(is_record)),
        model,
        text(to_json(event)?),
    ];
    records::insert(session, "lineage_entry", values)?;
    connect(session, event)?;
    Ok(entry.head())
}

/// The id of a record is taken once, and what an entry refers to is there.
fn check(connection: &Connection, event: &Event) -> Result<(), StoreError> {
    let known = |id: &RecordId| match is_known(connection, *id)? {
        true => Ok(()),
        false => Err(missing(*id)),
    };
    match event {
        Event::Recorded(record) => {
            if is_known(connection, record.id)? {
                return Err(StoreError::conflict(KIND, record.id, "the id is taken"));
            }
            record.parents.iter().chain(&record.corrects).try_for_each(known)
        }
        Event::Deployed(deployment) => known(&deployment.record),
        _ => Ok(()),
    }
}

fn head(connection: &Connection) -> Result<Option<Head>, StoreError> {
    let rest = "ORDER BY sequence DESC LIMIT 1";
    let last = records::read(connection, "lineage_entry", rest, Vec::new(), |row| {
        Ok(Head { sequence: sequence(row)?, hash: hash(row, 2)? })
    })?;
    Ok(last.into_iter().next())
}

fn is_known(connection: &Connection, id: RecordId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM lineage_entry WHERE record = ?1 AND is_record = 1";
    let mut statement = connection.prepare_cached(sql).map_err(store)?;
    statement.exists([blob(id.as_bytes())]).map_err(store)
}

fn record_entry(connection: &Connection, id: RecordId) -> Result<Option<ChainEntry>, StoreError> {
    let rest = "WHERE record = ?1 AND is_record = 1";
    let found = records::read(connection, "lineage_entry", rest, vec![blob(id.as_bytes())], entry)?;
    Ok(found.into_iter().next())
}

/// The entry, if its content has the hash that it carries.
fn whole(entry: ChainEntry) -> Result<ChainEntry, StoreError> {
    if entry.is_whole()? {
        return Ok(entry);
    }
    Err(corrupt(format!("lineage entry {}", entry.sequence), "its hash is not that of its content"))
}

fn sequence(row: &Row<'_>) -> Result<u64, StoreError> {
    let sequence: i64 = row.get(0).map_err(store)?;
    u64::try_from(sequence).map_err(|_| corrupt(format!("lineage entry {sequence}"), "its number"))
}

fn hash(row: &Row<'_>, column: usize) -> Result<ContentHash, StoreError> {
    let bytes: [u8; 32] = row.get(column).map_err(store)?;
    Ok(ContentHash::from_bytes(bytes))
}

pub(super) fn entry(row: &Row<'_>) -> Result<ChainEntry, StoreError> {
    let sequence = sequence(row)?;
    let previous: Option<[u8; 32]> = row.get(1).map_err(store)?;
    Ok(ChainEntry {
        sequence,
        previous: previous.map(ContentHash::from_bytes),
        hash: hash(row, 2)?,
        event: from_json(row, 6, &format!("lineage entry {sequence}"))?,
    })
}

/// Adds the node of an entry and its edges.
fn connect(session: &Session<'_>, event: &Event) -> Result<(), StoreError> {
    let (node, _, parents) = links(event);
    let child = number_for_writing(session, &node)?;
    for (parent, _) in parents {
        let parent = number_for_writing(session, &parent)?;
        let edge = vec![Value::Integer(child), Value::Integer(parent)];
        let rest = "WHERE child = ?1 AND parent = ?2";
        let known =
            records::read(session.connection, "lineage_edge", rest, edge.clone(), |_| Ok(()))?;
        if known.is_empty() {
            records::insert(session, "lineage_edge", edge)?;
        }
    }
    Ok(())
}

fn number(connection: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let found =
        records::read(connection, "lineage_node", "WHERE name = ?1", vec![text(name)], |row| {
            row.get(0).map_err(store)
        })?;
    Ok(found.into_iter().next())
}

fn number_for_writing(session: &Session<'_>, node: &Node) -> Result<i64, StoreError> {
    let name = to_json(node)?;
    if let Some(number) = number(session.connection, &name)? {
        return Ok(number);
    }
    let next = "SELECT coalesce(max(n), 0) + 1 FROM lineage_node";
    let mut statement = session.connection.prepare_cached(next).map_err(store)?;
    let number: i64 = statement.query_row([], |row| row.get(0)).map_err(store)?;
    records::insert(session, "lineage_node", vec![Value::Integer(number), text(name)])?;
    Ok(number)
}

/// Everything that edges lead to, from one end to the other; SQLite walks over numbers.
fn reachable(
    connection: &Connection,
    node: &Node,
    from: &str,
    to: &str,
) -> Result<Vec<Node>, StoreError> {
    let Some(start) = number(connection, &to_json(node)?)? else { return Ok(Vec::new()) };
    let rest = format!(
        "WHERE n IN (WITH RECURSIVE reached (n) AS (\
         SELECT {to} FROM lineage_edge WHERE {from} = ?1 \
         UNION SELECT edge.{to} FROM reached CROSS JOIN lineage_edge AS edge ON edge.{from} = reached.n) \
         SELECT n FROM reached) ORDER BY n"
    );
    records::read(connection, "lineage_node", &rest, vec![Value::Integer(start)], |row| {
        from_json(row, 1, "a node of the lineage graph")
    })
}
