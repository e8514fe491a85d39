//! Filters and orders as text: what MLflow's users write, and more.

mod tokens;
mod words;

use mlp_core::Labels;

use crate::filter::{Field, Filter, MAX_FILTER_DEPTH, MAX_FILTER_TERMS, Operator, Value};
use crate::query::{MAX_ORDER, Order};
use crate::series::SeriesKey;
use tokens::{Token, tokens};
use words::{
    ATTRIBUTES, STATISTICS, attribute, dataset, is_no_text, is_pattern, metric, name, number,
    operator_orders, statistic, time, word,
};

/// The most bytes of a text that is parsed: 64 KiB.
pub const MAX_FILTER_TEXT: usize = 64 << 10;

/// A filter or an order that cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}")]
pub struct ParseFilterError {
    /// The column of the text, from 1, counted in characters.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Filter {
    /// Reads a filter from text.
    ///
    /// The grammar is a superset of MLflow's: conditions joined by `AND`, `OR` and parentheses; `=`, `!=`, `<`, `<=`, `>`, `>=`, `LIKE`, `ILIKE`,
    /// `[NOT] IN (…)`, `[NOT] BETWEEN … AND …`, `IS [NOT] NULL`; keys of letters, digits and `_ - . /` stand alone, others in double quotes or
    /// backticks; texts stand in single or double quotes, a quote within is doubled. Words are read in capitals or not.
    ///
    /// | what | meaning |
    /// | --- | --- |
    /// | `metrics.acc`, `metric.acc` | the latest value of a metric; compared with numbers, `NaN` and `±Infinity` among them |
    /// | `metrics.loss.min` | a statistic of its series: `last`, `min`, `max`, `mean`, `count`, `step_of_min`, `step_of_max`; not where the key is quoted |
    /// | `metrics.loss[subset=train].min` | of the series with this context; labels are joined by commas, and quoted where they hold other characters |
    /// | `params.lr`, `param.`, `parameter.` | a parameter; as text (`= '0.1'`), or by order as a number (`< 0.2`) |
    /// | `tags.team`, `tag.` | a tag |
    /// | `status`, `attributes.status`, `attribute.`, `attr.`, `run.` | also `run_id`, `experiment`, `model`, `model_version`, `stage`, `start_time`, `end_time` |
    /// | `run_name`, `` `run name` ``, `attributes.run_name`, `user_id` | the tags `mlflow.runName` and `mlflow.user`, where MLflow keeps them |
    /// | `dataset.name`, `datasets.`, also `.version`, `.digest`, `.context` | what it was measured on; the context is the stage, and any other text is nobody's |
    ///
    /// What stands before the dot may be quoted, too, as in `` `metrics`.acc ``. A status is also `'SCHEDULED'`, which MLflow has and no evaluation
    /// here. `artifact_uri` is refused: an evaluation has no folder. Whatever is read passes [`Filter::check`].
    ///
    /// Times are milliseconds since 1970, or a text such as `'2026-01-31T12:00:00Z'`.
    ///
    /// # Errors
    /// Naming the column and what was expected there.
    ///
    /// ```
    /// use mlp_eval::{Filter, Operator};
    ///
    /// let filter = Filter::parse("metrics.acc > 0.9 AND (params.lr = '0.1' OR tags.team IN ('a', 'b')) AND metrics.loss.min < 0.2")?;
    /// assert_eq!(Filter::parse("metrics.acc > 0.9")?, Filter::metric("acc", Operator::Greater, 0.9));
    /// let error = Filter::parse("metrics.acc > '0.9'").unwrap_err();
    /// assert_eq!(error.to_string(), "column 15: a metric is compared with a number, without quotes");
    /// # Ok::<(), mlp_eval::ParseFilterError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseFilterError> {
        let mut parser = Parser::new(text)?;
        if parser.is_at_end() {
            return Ok(Self::everything());
        }
        let filter = parser.any(0)?;
        parser.end()?;
        Ok(filter)
    }
}

impl std::str::FromStr for Filter {
    type Err = ParseFilterError;

    fn from_str(text: &str) -> Result<Self, ParseFilterError> {
        Self::parse(text)
    }
}

impl Order {
    /// Reads keys to sort by from text, such as `metrics.acc DESC, start_time`. Each key is one of those of [`Filter::parse`].
    ///
    /// # Errors
    /// Naming the column and what was expected there.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ParseFilterError> {
        let mut parser = Parser::new(text)?;
        let mut orders = Vec::new();
        if parser.is_at_end() {
            return Ok(orders);
        }
        loop {
            if orders.len() == MAX_ORDER {
                return fail(parser.column(), format!("an order has at most {MAX_ORDER} keys"));
            }
            let field = parser.field()?;
            let descending = parser.word("DESC");
            if !descending {
                parser.word("ASC");
            }
            orders.push(if descending { Self::descending(field) } else { Self::ascending(field) });
            if !parser.symbol(",") {
                break;
            }
        }
        parser.end()?;
        Ok(orders)
    }
}

fn fail<T>(column: usize, message: impl Into<String>) -> Result<T, ParseFilterError> {
    Err(ParseFilterError { column, message: message.into() })
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    /// The column behind the last character.
    end: usize,
    /// How many conditions and values there are so far, as the check of a filter counts them.
    terms: usize,
    /// The field that was read last is MLflow's word for the stage, whose texts are free there.
    is_context: bool,
}

impl Parser {
    fn new(text: &str) -> Result<Self, ParseFilterError> {
        let end = text.chars().count() + 1;
        Ok(Self { tokens: tokens(text)?, at: 0, end, terms: 0, is_context: false })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn column(&self) -> usize {
        self.tokens.get(self.at).map_or(self.end, |(column, _)| *column)
    }

    fn next(&mut self) -> Option<(usize, Token)> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn is_at_end(&self) -> bool {
        self.peek().is_none()
    }

    fn end(&self) -> Result<(), ParseFilterError> {
        match self.peek() {
            None => Ok(()),
            Some(token) => fail(self.column(), format!("the end is expected here, not {token}")),
        }
    }

    fn unexpected<T>(&self, expected: &str) -> Result<T, ParseFilterError> {
        match self.peek() {
            Some(token) => fail(self.column(), format!("{expected} is expected here, not {token}")),
            None => fail(self.end, format!("{expected} is expected here, but the text ends")),
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Plain(text)) if text.eq_ignore_ascii_case(word))
    }

    fn word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.at += usize::from(is);
        is
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), ParseFilterError> {
        if self.symbol(symbol) { Ok(()) } else { self.unexpected(&format!("{symbol:?}")) }
    }

    fn any(&mut self, depth: usize) -> Result<Filter, ParseFilterError> {
        let mut column = self.column();
        let mut filter = self.all(depth)?;
        if self.is_word("OR") {
            self.count(column, 1)?;
        }
        while self.word("OR") {
            let next = self.column();
            let part = self.all(depth)?;
            if part.height() > filter.height() {
                column = next;
            }
            filter = filter.or(part);
        }
        bounded(filter, column)
    }

    /// Counts conditions and values that begin at a column.
    fn count(&mut self, column: usize, terms: usize) -> Result<(), ParseFilterError> {
        self.terms += terms;
        if self.terms > MAX_FILTER_TERMS {
            let limit = format!("a filter has at most {MAX_FILTER_TERMS} conditions and values");
            return fail(column, limit);
        }
        Ok(())
    }

    fn all(&mut self, depth: usize) -> Result<Filter, ParseFilterError> {
        let mut column = self.column();
        let mut parts = vec![self.one(depth)?];
        if self.is_word("AND") {
            self.count(column, 1)?;
        }
        let mut height = parts[0].height();
        while self.word("AND") {
            let next = self.column();
            let part = self.one(depth)?;
            if part.height() > height {
                (column, height) = (next, part.height());
            }
            parts.push(part);
        }
        let filter = if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) };
        bounded(filter, column)
    }

    fn one(&mut self, depth: usize) -> Result<Filter, ParseFilterError> {
        if depth >= MAX_FILTER_DEPTH {
            return fail(self.column(), TOO_DEEP);
        }
        if self.symbol("(") {
            let filter = self.any(depth + 1)?;
            self.expect_symbol(")")?;
            return Ok(filter);
        }
        let column = self.column();
        let condition = self.condition()?;
        self.count(column, condition.terms())?;
        Ok(condition)
    }

    fn condition(&mut self) -> Result<Filter, ParseFilterError> {
        let field = self.field()?;
        if self.word("IS") {
            let not = self.word("NOT");
            if !self.word("NULL") {
                return self.unexpected("NULL");
            }
            return Ok(if not { Filter::Present(field) } else { Filter::Absent(field) });
        }
        if self.word("NOT") {
            return self.negated(field);
        }
        if self.word("IN") {
            return Ok(Filter::In(field.clone(), self.values(&field)?));
        }
        if self.word("BETWEEN") {
            let (low, high) = self.bounds(&field)?;
            return Ok(Filter::compare(field.clone(), Operator::AtLeast, low)
                .and(Filter::compare(field, Operator::AtMost, high)));
        }
        let column = self.column();
        let Some(operator) = self.operator() else {
            return self.unexpected("a comparison such as =, <, LIKE, IN, BETWEEN or IS NULL");
        };
        let value_column = self.column();
        if is_pattern(operator) && is_no_text(&field) {
            let message =
                format!("a pattern is a text in single quotes, and {} is no text", name(&field));
            return fail(value_column, message);
        }
        let value = self.value(&field, operator)?;
        if let (true, Value::Text(_)) = (operator_orders(operator), &value) {
            let message =
                format!("{} is compared with a number here, without quotes", name(&field));
            return match field {
                Field::Param(_) => fail(value_column, message),
                _ => fail(column, format!("{} is a text: it has no order", name(&field))),
            };
        }
        Ok(Filter::Compare(field, operator, value))
    }

    /// What follows `NOT`: the key must be there, as in every comparison.
    fn negated(&mut self, field: Field) -> Result<Filter, ParseFilterError> {
        if self.word("IN") {
            let values = self.values(&field)?;
            let unequal = |value| Filter::Compare(field.clone(), Operator::NotEqual, value);
            return Ok(Filter::All(values.into_iter().map(unequal).collect()));
        }
        if self.word("BETWEEN") {
            let (low, high) = self.bounds(&field)?;
            return Ok(Filter::compare(field.clone(), Operator::Less, low).or(Filter::compare(
                field,
                Operator::Greater,
                high,
            )));
        }
        self.unexpected("IN or BETWEEN")
    }

    fn bounds(&mut self, field: &Field) -> Result<(Value, Value), ParseFilterError> {
        let column = self.column();
        let low = self.value(field, Operator::AtLeast)?;
        if !self.word("AND") {
            return self.unexpected("AND");
        }
        let high = self.value(field, Operator::AtMost)?;
        if matches!(low, Value::Text(_)) || matches!(high, Value::Text(_)) {
            return fail(column, "BETWEEN takes numbers or times");
        }
        Ok((low, high))
    }

    fn values(&mut self, field: &Field) -> Result<Vec<Value>, ParseFilterError> {
        self.expect_symbol("(")?;
        let mut values = vec![self.value(field, Operator::Equal)?];
        while self.symbol(",") {
            values.push(self.value(field, Operator::Equal)?);
        }
        self.expect_symbol(")")?;
        Ok(values)
    }

    fn operator(&mut self) -> Option<Operator> {
        let operator = match self.peek()? {
            Token::Symbol("=") => Operator::Equal,
            Token::Symbol("!=" | "<>") => Operator::NotEqual,
            Token::Symbol("<") => Operator::Less,
            Token::Symbol("<=") => Operator::AtMost,
            Token::Symbol(">") => Operator::Greater,
            Token::Symbol(">=") => Operator::AtLeast,
            Token::Plain(word) if word.eq_ignore_ascii_case("LIKE") => Operator::Like,
            Token::Plain(word) if word.eq_ignore_ascii_case("ILIKE") => Operator::LikeIgnoringCase,
            _ => return None,
        };
        self.at += 1;
        Some(operator)
    }

    fn value(&mut self, field: &Field, operator: Operator) -> Result<Value, ParseFilterError> {
        let column = self.column();
        let Some((_, token)) = self.next() else {
            self.at -= 1;
            return self.unexpected("a value");
        };
        // MLflow takes texts in double quotes too; where a value stands they are no key.
        let token = match token {
            Token::QuotedKey(text) => Token::Text(text),
            token => token,
        };
        match (field, token) {
            (Field::Metric(..) | Field::ModelVersion, Token::Text(_)) => {
                let message = format!("{} is compared with a number, without quotes", name(field));
                fail(column, message)
            }
            (Field::StartedAt | Field::EndedAt, token) => time(column, token),
            (Field::Param(_), Token::Plain(_)) if !operator_orders(operator) => fail(
                column,
                "the value of a parameter stands in single quotes; numbers are for <, <=, >, >= and BETWEEN",
            ),
            (Field::Metric(..) | Field::ModelVersion | Field::Param(_), Token::Plain(word)) => {
                number(column, &word)
            }
            (field, Token::Text(text)) => {
                // Patterns are matched with the words as they are written, and a status is written small.
                if is_pattern(operator) && matches!(field, Field::Status) {
                    Ok(Value::Text(text.to_ascii_lowercase()))
                } else if is_pattern(operator) {
                    Ok(Value::Text(text))
                } else {
                    word(column, field, text, self.is_context)
                }
            }
            (field, token) => {
                let message = format!(
                    "{} is compared with a text in single quotes, not {token}",
                    name(field)
                );
                fail(column, message)
            }
        }
    }

    fn field(&mut self) -> Result<Field, ParseFilterError> {
        let column = self.column();
        let path = self.path()?;
        self.is_context = false;
        let Some((entity, rest)) = path.split_once('.') else {
            return attribute(column, &path)?.map_or_else(
                || fail(column, format!("{path:?} is unknown: metrics., params., tags., dataset. or one of {ATTRIBUTES} is expected")),
                Ok,
            );
        };
        // A key in quotes follows the dot.
        let (key, is_quoted) = match self.peek() {
            Some(Token::QuotedKey(key)) if rest.is_empty() => (key.clone(), true),
            _ => (rest.to_owned(), false),
        };
        self.at += usize::from(is_quoted);
        if key.is_empty() {
            return fail(column, format!("{entity:?} is followed by no key"));
        }
        let entity = entity.to_ascii_lowercase();
        let unknown = |expected: &str| {
            fail(column, format!("{entity}.{key:?} is unknown: {expected} is expected"))
        };
        match entity.as_str() {
            "metric" | "metrics" => self.metric(key, is_quoted),
            _ if matches!(self.peek(), Some(Token::Symbol("["))) => {
                fail(self.column(), "only the series of a metric have a context")
            }
            "param" | "params" | "parameter" | "parameters" => Ok(Field::Param(key)),
            "tag" | "tags" => Ok(Field::Tag(key)),
            "attribute" | "attributes" | "attr" | "run" => attribute(column, &key)?
                .map_or_else(|| unknown(&format!("one of {ATTRIBUTES}")), Ok),
            "dataset" | "datasets" => {
                self.is_context = key.eq_ignore_ascii_case("context");
                dataset(&key).map_or_else(|| unknown("name, version, digest or context"), Ok)
            }
            _ => unknown("metrics., params., tags., attributes. or dataset."),
        }
    }

    /// A word, which MLflow lets stand in quotes up to the dot, or whole if it is an attribute.
    fn path(&mut self) -> Result<String, ParseFilterError> {
        let path = match self.peek() {
            Some(Token::Plain(path)) => path.clone(),
            Some(Token::QuotedKey(path)) if path.contains('.') => {
                return fail(
                    self.column(),
                    "quotes stand around the key alone, as in params.\"a b\"",
                );
            }
            Some(Token::QuotedKey(entity)) => match self.tokens.get(self.at + 1) {
                Some((_, Token::Plain(rest))) if rest.starts_with('.') => {
                    let path = format!("{entity}{rest}");
                    self.at += 1;
                    path
                }
                _ => entity.clone(),
            },
            _ => return self.unexpected("a key such as metrics.acc"),
        };
        self.at += 1;
        Ok(path)
    }

    /// What follows the key of a metric: a context, and a statistic where the key is whole, in quotes or before a context.
    fn metric(&mut self, key: String, is_quoted: bool) -> Result<Field, ParseFilterError> {
        let context = if self.symbol("[") { self.context()? } else { Labels::new() };
        let is_whole = is_quoted || !context.is_empty();
        let key = SeriesKey { metric: key, context };
        if !is_whole {
            return Ok(metric(key));
        }
        let behind = match self.peek() {
            Some(Token::Plain(text)) => text.strip_prefix('.').map(str::to_owned),
            _ => None,
        };
        let Some(word) = behind else { return Ok(Field::metric(key)) };
        let Some(statistic) = statistic(&word) else {
            return fail(
                self.column(),
                format!("{word:?} is no statistic: {STATISTICS} is expected"),
            );
        };
        self.at += 1;
        Ok(Field::Metric(key, statistic))
    }

    /// What follows the bracket that opens a context: labels, and the bracket that closes it.
    fn context(&mut self) -> Result<Labels, ParseFilterError> {
        let mut context = Labels::new();
        loop {
            let column = self.column();
            let name = self.label("a label such as subset=train")?;
            self.expect_symbol("=")?;
            let value = self.label("the value of the label")?;
            if context.insert(name.clone(), value).is_some() {
                return fail(column, format!("the label {name:?} stands there twice"));
            }
            if !self.symbol(",") {
                break;
            }
        }
        self.expect_symbol("]")?;
        Ok(context)
    }

    fn label(&mut self, expected: &str) -> Result<String, ParseFilterError> {
        match self.peek().cloned() {
            Some(Token::Plain(text) | Token::QuotedKey(text) | Token::Text(text)) => {
                self.at += 1;
                Ok(text)
            }
            _ => self.unexpected(expected),
        }
    }
}

const TOO_DEEP: &str = "the parentheses are nested too deeply";

/// A filter that is not too deep; `column` is that of its deepest part.
fn bounded(filter: Filter, column: usize) -> Result<Filter, ParseFilterError> {
    if filter.height() > MAX_FILTER_DEPTH { fail(column, TOO_DEEP) } else { Ok(filter) }
}

#[cfg(test)]
mod tests;
