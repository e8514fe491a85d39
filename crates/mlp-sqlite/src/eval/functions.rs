//! What filters and orders need and SQL does not have: patterns that mean what `mlp-eval` says, ids as text, and what is on the cards.

use mlp_core::{EvaluationId, ParamValue};
use mlp_eval::{Operator, SeriesKey, Statistic};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ToSql;

use super::{rows, summary};
use crate::cards::{self, Broken, Scores};
use crate::error::Sql;

/// A value that sorts among numbers, as its kind is told.
pub(super) const NUMBER: i64 = 0;
/// A value that sorts among texts.
pub(super) const TEXT: i64 = 1;
/// A NaN: after every other value in both directions.
pub(super) const NAN: i64 = 2;

pub(crate) fn add_functions(connection: &Connection) -> Sql<()> {
    for (name, operator) in
        [("mlp_like", Operator::Like), ("mlp_ilike", Operator::LikeIgnoringCase)]
    {
        add(connection, name, 2, move |context| {
            let text = context.get_raw(0).as_str_or_null()?;
            let pattern = context.get_raw(1).as_str_or_null()?;
            Ok(text
                .zip(pattern)
                .is_some_and(|(text, pattern)| operator.matches_pattern(text, pattern)))
        })?;
    }
    add(connection, "mlp_id", 1, |context| {
        let id: EvaluationId = rows::id_from(context.get_raw(0).as_blob()?)?;
        Ok(id.to_string())
    })?;
    add(connection, "mlp_tag", 2, |context| {
        let tags = cards::tags(context.get_raw(0).as_blob()?)?;
        Ok(tags.find(context.get_raw(1).as_str()?)?.map(ToOwned::to_owned))
    })?;
    add(connection, "mlp_param_kind", 2, |context| {
        Ok(param(context)?.map(|value| value.as_float().map_or(TEXT, kind)))
    })?;
    // SQLite has no NaN: it becomes NULL.
    add(connection, "mlp_param_number", 2, |context| {
        Ok(param(context)?.and_then(|value| value.as_float()))
    })?;
    add(connection, "mlp_param_text", 2, |context| {
        Ok(param(context)?.map(|value| value.to_string()))
    })?;
    add(connection, "mlp_series_kind", 3, |context| Ok(statistic(context)?.map(kind)))?;
    add(connection, "mlp_series_number", 3, statistic)
}

fn add<T: ToSql>(
    connection: &Connection,
    name: &str,
    arguments: i32,
    function: impl Fn(&Context<'_>) -> Sql<T> + Send + 'static,
) -> Sql<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // Whatever goes wrong is a value or a card that nobody wrote. An error with a text loses its code on the way through SQLite.
    connection.create_scalar_function(name, arguments, flags, move |context| {
        function(context).map_err(|_| rusqlite::Error::from(Broken))
    })
}

fn kind(number: f64) -> i64 {
    if number.is_nan() { NAN } else { NUMBER }
}

/// The parameter of a name on a card.
fn param(context: &Context<'_>) -> Sql<Option<ParamValue>> {
    let params = cards::params(context.get_raw(0).as_blob()?)?;
    let found = params.find(context.get_raw(1).as_str()?)?;
    found.map(|json| serde_json::from_str(json).map_err(|_| Broken.into())).transpose()
}

/// A number of the series of a key on a card; the key is NULL if no series ever had it.
fn statistic(context: &Context<'_>) -> Sql<Option<f64>> {
    let Some(key) = context.get_raw(1).as_i64_or_null()? else { return Ok(None) };
    let Some(words) = Scores::read(context.get_raw(0).as_blob()?).find(key)? else {
        return Ok(None);
    };
    let which = usize::try_from(context.get_raw(2).as_i64()?).ok();
    let which = which.and_then(|which| Statistic::ALL.get(which));
    Ok(which.and_then(|which| which.of(&summary::decode(SeriesKey::new(""), &words))))
}
