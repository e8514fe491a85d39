//! Whether the chain is whole, and what is kept beside it says the same.

use std::collections::HashSet;

use mlp_core::StoreError;
use mlp_lineage::{ChainEntry, ChainFault, ChainWalk, Event, Head, links};
use rusqlite::Connection;
use rusqlite::types::Value;

use super::chain::entry;
use super::to_json;
use crate::error::{corrupt, store};
use crate::records;
use crate::verify::Report;

/// An entry with the columns by which it is found.
pub(super) struct Row {
    entry: ChainEntry,
    record: Vec<u8>,
    is_record: bool,
    model: Option<String>,
}

/// Follows the chain to its first fault, or to its end; `look` sees the entries before that.
pub(super) fn walk(
    connection: &Connection,
    anchor: Option<Head>,
    mut look: impl FnMut(Row) -> Result<(), StoreError>,
) -> Result<Option<ChainFault>, StoreError> {
    let mut walk = ChainWalk::new(anchor);
    let mut from = 0;
    loop {
        let rest = "WHERE sequence >= ?1 ORDER BY sequence LIMIT 1000";
        let bound = vec![Value::Integer(from)];
        let rows = records::read_each(connection, "lineage_entry", rest, bound, row)?;
        let Some((last, _)) = rows.last() else { return Ok(walk.end()) };
        let unnumbered = || corrupt("lineage entry", "it has no number");
        let last = last.ok_or_else(unnumbered)?;
        for (number, row) in rows {
            let number = number.ok_or_else(unnumbered)?.unsigned_abs();
            match row {
                Ok(row) => {
                    if let Some(fault) = walk.step(&row.entry)? {
                        return Ok(Some(fault));
                    }
                    look(row)?;
                }
                Err(StoreError::Corrupt { .. }) => return Ok(Some(walk.unreadable(number))),
                Err(error) => return Err(error),
            }
        }
        let Some(next) = last.checked_add(1) else { return Ok(walk.end()) };
        from = next;
    }
}

fn row(row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    Ok(Row {
        entry: entry(row)?,
        record: row.get(3).map_err(store)?,
        is_record: row.get(4).map_err(store)?,
        model: row.get(5).map_err(store)?,
    })
}

/// Compares the chain with itself, and all that is derived from it with the chain.
pub(crate) fn verify(connection: &Connection, report: &mut Report) -> Result<(), StoreError> {
    let (mut nodes, mut edges) = (HashSet::new(), HashSet::new());
    let fault = walk(connection, None, |row| {
        let (record, model) = match &row.entry.event {
            Event::Recorded(record) => (record.id, Some(record.model.to_string())),
            Event::Deployed(deployment) => (deployment.record, None),
            _ => return Ok(()),
        };
        let found = (row.record.as_slice(), row.is_record, &row.model);
        if found != (record.as_bytes().as_slice(), model.is_some(), &model) {
            let what = format!("lineage entry {}", row.entry.sequence);
            report.add(what, "it is kept under the name of another");
        }
        let (child, _, parents) = links(&row.entry.event);
        let child = to_json(&child)?;
        for (parent, _) in parents {
            let parent = to_json(&parent)?;
            nodes.insert(parent.clone());
            edges.insert((child.clone(), parent));
        }
        nodes.insert(child);
        Ok(())
    })?;
    if let Some(fault) = fault {
        report.add("lineage chain", fault.to_string());
        // What comes after the fault is not known, and neither is what should be derived from it.
        return Ok(());
    }
    let mut statement = connection.prepare("SELECT name FROM lineage_node").map_err(store)?;
    for name in statement.query_map([], |row| row.get::<_, String>(0)).map_err(store)? {
        if !nodes.remove(&name.map_err(store)?) {
            report.add("lineage graph", "it has a node that no entry tells of");
        }
    }
    if !nodes.is_empty() {
        report.add("lineage graph", format!("it lacks {} nodes that entries tell of", nodes.len()));
    }
    let sql = "SELECT child.name, parent.name FROM lineage_edge AS edge \
               LEFT JOIN lineage_node AS child ON child.n = edge.child \
               LEFT JOIN lineage_node AS parent ON parent.n = edge.parent";
    let mut statement = connection.prepare(sql).map_err(store)?;
    let pair = |row: &rusqlite::Row<'_>| -> rusqlite::Result<(Option<String>, Option<String>)> {
        Ok((row.get(0)?, row.get(1)?))
    };
    for found in statement.query_map([], pair).map_err(store)? {
        let known = match found.map_err(store)? {
            (Some(child), Some(parent)) => edges.remove(&(child, parent)),
            _ => false,
        };
        if !known {
            report.add("lineage graph", "it has an edge that no entry tells of");
        }
    }
    if !edges.is_empty() {
        report.add("lineage graph", format!("it lacks {} edges that entries tell of", edges.len()));
    }
    Ok(())
}
