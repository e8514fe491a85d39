//! Evaluations as JSON Lines, out and in again, and as CSV for spreadsheets.

use std::collections::BTreeSet;
use std::io::{BufRead, Read, Write};

use mlp_core::StoreError;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, MAX_METRICS, MAX_PARAMS, MAX_TAGS};
use crate::evaluation::{Evaluation, Lifecycle, NewEvaluation, Status};
use crate::query::{Projection, Query};
use crate::series::{MetricPoint, SeriesKey};
use crate::store::{EvalStore, for_each};

/// The tag of an evaluation that is imported in several batches, until the last of them.
pub const IMPORTING: &str = "mlp.importing";

/// The longest line that is written and read: an evaluation with ten million points.
const MAX_LINE: u64 = 1 << 30;

/// One line of an export: an evaluation with everything it has.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    evaluation: Evaluation,
    points: Vec<(SeriesKey, Vec<MetricPoint>)>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Evaluations that are new, were completed, or were put into the bin.
    pub added: u64,
    /// Evaluations that were there already, and were left as they are.
    pub skipped: u64,
}

/// Writes every evaluation that a query finds as one line of JSON, with all its points: a copy that [`import_json_lines`] reads back exactly
/// but for the last digits of a sum, which depend on the order in which points were written. The projection and the limit of the query are
/// not used; experiments without evaluations, and whether an experiment is in the bin, are not part of it. A NaN is written as `NaN`, whatever its
/// sign and payload are. Returns how many there are.
///
/// # Errors
/// If the storage or the output fails; [`StoreError::LimitExceeded`] for an evaluation whose line would have more than 1 GiB, which could not
/// be read back: what came before it is written, and nothing of it.
pub fn export_json_lines(
    store: &dyn EvalStore,
    query: &Query,
    out: impl Write,
) -> Result<u64, StoreError> {
    export_within(store, query, out, MAX_LINE)
}

/// One line, which is refused as a whole if it is too long.
struct LineBuffer {
    bytes: Vec<u8>,
    limit: u64,
}

impl Write for LineBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 >= self.limit {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn export_within(
    store: &dyn EvalStore,
    query: &Query,
    mut out: impl Write,
    limit: u64,
) -> Result<u64, StoreError> {
    let mut buffer = LineBuffer { bytes: Vec::new(), limit };
    let mut count = 0;
    let query = query.clone().with_projection(Projection::default());
    for_each(store, &query, &mut |evaluation| {
        let points: Result<Vec<_>, StoreError> = evaluation
            .series
            .iter()
            .map(|summary| Ok((summary.key.clone(), store.series(evaluation.id, &summary.key)?)))
            .collect();
        let points = match points {
            // It was purged meanwhile.
            Err(StoreError::NotFound { .. }) => return Ok(()),
            points => points?,
        };
        let line = Line { evaluation, points };
        buffer.bytes.clear();
        let written = serde_json::to_writer(&mut buffer, &line);
        let written = written.map_err(std::io::Error::from).and_then(|()| buffer.write_all(b"\n"));
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => {
                // It was not written to its end: it has so many at least.
                StoreError::limit_exceeded("bytes of a line", limit, limit - 1)
            }
            _ => StoreError::backend(error),
        })?;
        out.write_all(&buffer.bytes).map_err(StoreError::backend)?;
        count += 1;
        Ok(())
    })?;
    out.flush().map_err(StoreError::backend)?;
    Ok(count)
}

/// Reads what [`export_json_lines`] wrote. An evaluation that is there already is left as it is, with three exceptions: what an interrupted import
/// left in part, which has the tag [`IMPORTING`], is completed, so that an import can be begun anew; one that still runs and has ended in the copy
/// is brought up to it; and what the copy has in the bin is put there.
///
/// # Errors
/// [`StoreError::Invalid`] naming the line that cannot be read; what came before it is there.
pub fn import_json_lines(store: &dyn EvalStore, input: impl Read) -> Result<Imported, StoreError> {
    import_within(store, input, MAX_LINE)
}

fn import_within(
    store: &dyn EvalStore,
    input: impl Read,
    limit: u64,
) -> Result<Imported, StoreError> {
    let mut imported = Imported::default();
    let mut reader = std::io::BufReader::new(input);
    let mut text = String::new();
    for number in 1_u64.. {
        text.clear();
        let invalid = |reason: String| StoreError::invalid(format!("line {number}"), reason);
        let read = reader.by_ref().take(limit).read_line(&mut text);
        if read.map_err(|error| invalid(error.to_string()))? == 0 {
            break;
        }
        if text.len() as u64 >= limit {
            return Err(invalid(format!("it has {limit} bytes or more")));
        }
        if text.trim().is_empty() {
            continue;
        }
        let line: Line = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if add(store, line)? {
            imported.added += 1;
        } else {
            imported.skipped += 1;
        }
    }
    Ok(imported)
}

fn add(store: &dyn EvalStore, line: Line) -> Result<bool, StoreError> {
    let Line { mut evaluation, points } = line;
    // The copy may have been made while it was imported itself.
    evaluation.tags.remove(IMPORTING);
    let known = match store.get(evaluation.id) {
        Ok(known) => Some(known),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let mut changed = false;
    if known.as_ref().is_none_or(|known| is_part(known, &evaluation)) {
        changed = true;
        let mut batches = batches(&evaluation, points, known.as_ref().is_some_and(is_marked));
        if known.is_none() {
            store.create_with(&start_of(&evaluation), &batches.next().unwrap_or_default())?;
        }
        batches.try_for_each(|batch| store.write(evaluation.id, &batch))?;
    }
    let was_active = known.is_none_or(|known| known.lifecycle == Lifecycle::Active);
    if evaluation.lifecycle == Lifecycle::Deleted && was_active {
        store.delete(evaluation.id)?;
        changed = true;
    }
    Ok(changed)
}

fn is_marked(known: &Evaluation) -> bool {
    known.tags.contains_key(IMPORTING)
}

/// Whether what is there is what an interrupted import left, or older than the copy: an evaluation that has ended does not run again.
fn is_part(known: &Evaluation, copy: &Evaluation) -> bool {
    let has_ended = known.status == Status::Running && copy.status != Status::Running;
    known.lifecycle == Lifecycle::Active && (is_marked(known) || has_ended)
}

/// Everything that an evaluation has, in batches that are small enough; the last one ends it. If there are several, the first marks it as not whole
/// yet. The last takes the mark away.
fn batches(
    evaluation: &Evaluation,
    points: Vec<(SeriesKey, Vec<MetricPoint>)>,
    is_marked: bool,
) -> impl Iterator<Item = Batch> {
    let end = match (evaluation.status, evaluation.ended_at) {
        (Status::Running, _) | (_, None) => None,
        (status, Some(at)) => Some((status, at)),
    };
    let params: Vec<_> =
        evaluation.params.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let mut params = params.into_iter().peekable();
    let mut tags = evaluation.tags.clone().into_iter().peekable();
    let mut points = points
        .into_iter()
        .flat_map(|(key, points)| points.into_iter().map(move |point| (key.clone(), point)))
        .peekable();
    let (mut is_marked, mut is_over) = (is_marked, false);
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut batch = Batch::new();
        batch.params = params.by_ref().take(MAX_PARAMS).collect();
        // One place is the mark's.
        batch.tags = tags.by_ref().take(MAX_TAGS - 1).collect();
        batch.points = points.by_ref().take(MAX_METRICS).collect();
        is_over = params.peek().is_none() && tags.peek().is_none() && points.peek().is_none();
        batch.finish = end.filter(|_| is_over);
        match (is_marked, is_over) {
            (false, false) => batch.tags.push((IMPORTING.to_owned(), String::new())),
            (true, true) => batch.removed_tags.push(IMPORTING.to_owned()),
            _ => {}
        }
        is_marked = true;
        Some(batch)
    })
}

/// The evaluation as it was created, what it has left to batches.
fn start_of(evaluation: &Evaluation) -> NewEvaluation {
    let mut new = NewEvaluation::new(
        evaluation.experiment.clone(),
        evaluation.stage.clone(),
        evaluation.started_at,
    )
    .with_id(evaluation.id);
    new.model = evaluation.model.clone();
    new.model_version = evaluation.model_version;
    new.dataset = evaluation.dataset.clone();
    new
}

/// Writes a table of the evaluations that a query finds: what identifies each, then its parameters, metrics and tags, a column for each key
/// that occurs, and for each context of a metric. A missing value is an empty cell, NaN is `NaN`. Fields are quoted as in RFC 4180. Returns how many
/// rows there are. All pages of the query are written, whatever its limit is.
///
/// The evaluations are read twice, first for their keys, so memory does not grow with their number.
///
/// # Errors
/// If the storage or the output fails.
pub fn export_csv(
    store: &dyn EvalStore,
    query: &Query,
    mut out: impl Write,
) -> Result<u64, StoreError> {
    let [mut params, mut tags] = [const { BTreeSet::<String>::new() }; 2];
    let mut metrics = BTreeSet::<SeriesKey>::new();
    for_each(store, query, &mut |evaluation| {
        params.extend(evaluation.params.iter().map(|(name, _)| name.to_owned()));
        metrics.extend(evaluation.series.into_iter().map(|series| series.key));
        tags.extend(evaluation.tags.into_keys());
        Ok(())
    })?;
    let fixed = [
        "id",
        "experiment",
        "stage",
        "status",
        "started_at",
        "ended_at",
        "model",
        "model_version",
        "dataset",
    ];
    let header = fixed
        .iter()
        .map(ToString::to_string)
        .chain(params.iter().map(|name| format!("params.{name}")))
        .chain(metrics.iter().map(|key| format!("metrics.{}", key.column())))
        .chain(tags.iter().map(|name| format!("tags.{name}")));
    write_row(&mut out, header)?;
    let mut count = 0;
    for_each(store, query, &mut |evaluation| {
        let text =
            |value: Option<&dyn ToString>| value.map(ToString::to_string).unwrap_or_default();
        let fixed = [
            evaluation.id.to_string(),
            evaluation.experiment.clone(),
            evaluation.stage.to_string(),
            evaluation.status.to_string(),
            evaluation.started_at.to_string(),
            text(evaluation.ended_at.as_ref().map(|at| at as _)),
            text(evaluation.model.as_ref().map(|model| model as _)),
            text(evaluation.model_version.as_ref().map(|version| &version.0 as _)),
            text(evaluation.dataset.as_ref().map(|dataset| dataset as _)),
        ];
        let params =
            params.iter().map(|name| text(evaluation.params.get(name).map(|value| value as _)));
        let metrics = metrics
            .iter()
            .map(|key| evaluation.value(key).map(|value| value.to_string()).unwrap_or_default());
        let tags = tags.iter().map(|name| evaluation.tags.get(name).cloned().unwrap_or_default());
        count += 1;
        write_row(&mut out, fixed.into_iter().chain(params).chain(metrics).chain(tags))
    })?;
    out.flush().map_err(StoreError::backend)?;
    Ok(count)
}

fn write_row(out: &mut impl Write, cells: impl Iterator<Item = String>) -> Result<(), StoreError> {
    let cells: Vec<String> = cells
        .map(|cell| {
            if cell.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell
            }
        })
        .collect();
    writeln!(out, "{}", cells.join(",")).map_err(StoreError::backend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::Stage;
    use crate::memory::InMemoryEvalStore;
    use mlp_core::Timestamp;

    #[test]
    fn what_is_exported_can_be_imported_and_what_could_not_is_not_exported() {
        let store = InMemoryEvalStore::new();
        let new = |second: i64, length: usize| {
            let at = Timestamp::from_micros(second * 1_000_000);
            NewEvaluation::new("wine", Stage::Test, at).with_tag("t", "x".repeat(length))
        };
        // The latest comes first.
        store.create(&new(2, 10)).unwrap();
        let mut text = Vec::new();
        export_json_lines(&store, &Query::default(), &mut text).unwrap();
        let limit = text.len() as u64 + 1;
        store.create(&new(1, 11)).unwrap();

        let mut out = Vec::new();
        let refused = export_within(&store, &Query::default(), &mut out, limit);
        assert!(matches!(refused, Err(StoreError::LimitExceeded { .. })), "{refused:?}");
        assert_eq!(out, text, "the line before, and nothing of the one that is too long");
        assert_eq!(import_within(&InMemoryEvalStore::new(), &out[..], limit).unwrap().added, 1);

        let mut out = Vec::new();
        assert_eq!(export_within(&store, &Query::default(), &mut out, limit + 1).unwrap(), 2);
        let copy = InMemoryEvalStore::new();
        assert_eq!(import_within(&copy, &out[..], limit + 1).unwrap().added, 2);
        assert!(import_within(&copy, &out[..], limit).is_err(), "the import keeps the bound too");
    }
}
