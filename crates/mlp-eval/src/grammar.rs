//! Filters and orders as text: what MLflow's users write, and more.

use std::fmt;

use mlp_core::{Labels, Timestamp};

use crate::evaluation::{ParseStageError, Stage};
use crate::filter::{
    Field, Filter, MAX_FILTER_DEPTH, MAX_FILTER_TERMS, Operator, Statistic, Value,
};
use crate::query::{MAX_ORDER, Order};
use crate::series::SeriesKey;

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
    /// | `run_name`, `attributes.run_name`, `user_id` | the tags `mlflow.runName` and `mlflow.user`, where MLflow keeps them |
    /// | `dataset.name`, `datasets.`, also `.version`, `.digest`, `.context` | what it was measured on; the context is the stage, and any other text is nobody's |
    ///
    /// A status is also `'SCHEDULED'`, which MLflow has and no evaluation here. `artifact_uri` is refused: an evaluation has no folder. Whatever
    /// is read passes [`Filter::check`].
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

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Letters, digits, `_`, `-`, `.`, `/`: keys, words and numbers.
    Plain(String),
    /// A key in double quotes or backticks.
    QuotedKey(String),
    /// In single quotes.
    Text(String),
    Symbol(&'static str),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => write!(f, "{text:?}"),
            Self::QuotedKey(text) => write!(f, "the key {text:?}"),
            Self::Text(text) => write!(f, "the text {text:?}"),
            Self::Symbol(symbol) => write!(f, "{symbol:?}"),
        }
    }
}

const SYMBOLS: [&str; 12] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "[", "]"];

fn fail<T>(column: usize, message: impl Into<String>) -> Result<T, ParseFilterError> {
    Err(ParseFilterError { column, message: message.into() })
}

/// Cuts the text into tokens, each with its column.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ParseFilterError> {
    if text.len() > MAX_FILTER_TEXT {
        return fail(
            1,
            format!("a filter has at most {MAX_FILTER_TEXT} bytes, this one {}", text.len()),
        );
    }
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&character) = characters.get(at) {
        let column = at + 1;
        if character.is_whitespace() {
            at += 1;
        } else if matches!(character, '\'' | '"' | '`') {
            let (content, next) = quoted(&characters, at)?;
            at = next;
            let token =
                if character == '\'' { Token::Text(content) } else { Token::QuotedKey(content) };
            tokens.push((column, token));
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| starts(&characters[at..], symbol))
        {
            at += symbol.len();
            tokens.push((column, Token::Symbol(symbol)));
        } else if is_plain(character) {
            let length = characters[at..].iter().take_while(|&&c| is_plain(c)).count();
            tokens.push((column, Token::Plain(characters[at..at + length].iter().collect())));
            at += length;
        } else {
            return fail(column, format!("{character:?} is not expected here"));
        }
    }
    Ok(tokens)
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '/' | '+')
}

fn starts(characters: &[char], symbol: &str) -> bool {
    symbol.chars().eq(characters.iter().copied().take(symbol.len()))
}

/// The content of a quotation that begins here, a doubled quote being one, and where the text goes on.
fn quoted(characters: &[char], start: usize) -> Result<(String, usize), ParseFilterError> {
    let quote = characters[start];
    let mut content = String::new();
    let mut at = start + 1;
    while let Some(&character) = characters.get(at) {
        at += 1;
        if character != quote {
            content.push(character);
        } else if characters.get(at) == Some(&quote) {
            content.push(quote);
            at += 1;
        } else {
            return Ok((content, at));
        }
    }
    fail(start + 1, format!("the quotation that begins here has no closing {quote}"))
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
                // Patterns are matched with the words as they are written.
                if is_pattern(operator) {
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
        let Some(Token::Plain(path)) = self.peek().cloned() else {
            return self.unexpected("a key such as metrics.acc");
        };
        self.at += 1;
        self.is_context = false;
        let Some((entity, rest)) = path.split_once('.') else {
            return attribute(column, &path)?.map_or_else(
                || fail(column, format!("{path:?} is unknown: metrics., params., tags., dataset. or an attribute such as status is expected")),
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
        let bracket = self.column();
        let context = if self.symbol("[") { self.context()? } else { Labels::new() };
        // Behind quotes or a context the key is whole, and the statistic follows them.
        let is_whole = is_quoted || !context.is_empty();
        let behind = match self.peek() {
            Some(Token::Plain(text)) if is_whole => text.strip_prefix('.').map(str::to_owned),
            _ => None,
        };
        self.at += usize::from(behind.is_some());
        let entity = entity.to_ascii_lowercase();
        if !context.is_empty() && !entity.starts_with("metric") {
            return fail(bracket, "only the series of a metric have a context");
        }
        let field = match entity.as_str() {
            "metric" | "metrics" => {
                metric(SeriesKey { metric: key, context }, is_whole, behind.as_deref())
            }
            "param" | "params" | "parameter" | "parameters" => Some(Field::Param(key)),
            "tag" | "tags" => Some(Field::Tag(key)),
            "attribute" | "attributes" | "attr" | "run" => attribute(column, &key)?,
            "dataset" | "datasets" => {
                self.is_context = key.eq_ignore_ascii_case("context");
                dataset(&key)
            }
            _ => None,
        };
        field.map_or_else(|| fail(column, format!("{path:?} is unknown")), Ok)
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

fn operator_orders(operator: Operator) -> bool {
    matches!(operator, Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast)
}

fn is_pattern(operator: Operator) -> bool {
    matches!(operator, Operator::Like | Operator::LikeIgnoringCase)
}

/// Whether it is a number or a time; a parameter is a text that may be a number.
fn is_no_text(field: &Field) -> bool {
    matches!(field, Field::Metric(..) | Field::ModelVersion | Field::StartedAt | Field::EndedAt)
}

fn metric(key: SeriesKey, is_whole: bool, behind: Option<&str>) -> Option<Field> {
    if let Some(word) = behind {
        return Some(Field::Metric(key, statistic(word)?));
    }
    let split = key.metric.rsplit_once('.').filter(|(metric, _)| !is_whole && !metric.is_empty());
    match split.and_then(|(metric, word)| Some((metric, statistic(word)?))) {
        Some((metric, statistic)) => Some(Field::Metric(metric.into(), statistic)),
        None => Some(Field::metric(key)),
    }
}

const TOO_DEEP: &str = "the parentheses are nested too deeply";

/// A filter that is not too deep; `column` is that of its deepest part.
fn bounded(filter: Filter, column: usize) -> Result<Filter, ParseFilterError> {
    if filter.height() > MAX_FILTER_DEPTH { fail(column, TOO_DEEP) } else { Ok(filter) }
}

/// A status or a stage, which MLflow writes in capitals, as this library writes it; any other text as it is.
fn word(
    column: usize,
    field: &Field,
    text: String,
    is_context: bool,
) -> Result<Value, ParseFilterError> {
    let lower = text.to_ascii_lowercase();
    if is_context {
        // What MLflow's own integrations write for what this library calls training, validation and test.
        return Ok(Value::Text(match lower.as_str() {
            "train" => "training".to_owned(),
            "eval" | "val" | "evaluation" => "validation".to_owned(),
            "testing" => "test".to_owned(),
            _ if lower.parse::<Stage>().is_ok() && !lower.starts_with("ab:") => lower,
            _ => text,
        }));
    }
    let known = match field {
        Field::Status => {
            ["running", "finished", "failed", "killed", "scheduled"].contains(&lower.as_str())
        }
        Field::Stage if lower.starts_with("ab:") => return Ok(Value::Text(text)),
        Field::Stage => lower.parse::<Stage>().is_ok(),
        _ => return Ok(Value::Text(text)),
    };
    if known {
        return Ok(Value::Text(lower));
    }
    match field {
        Field::Status => fail(
            column,
            format!(
                "{text:?} is no status: running, finished, failed or killed (scheduled is nobody's)"
            ),
        ),
        _ => fail(column, ParseStageError { given: text.chars().take(80).collect() }.to_string()),
    }
}

fn statistic(word: &str) -> Option<Statistic> {
    Some(match word.to_ascii_lowercase().as_str() {
        "last" => Statistic::Last,
        "min" => Statistic::Min,
        "max" => Statistic::Max,
        "mean" => Statistic::Mean,
        "count" => Statistic::Count,
        "step_of_min" => Statistic::StepOfMin,
        "step_of_max" => Statistic::StepOfMax,
        _ => return None,
    })
}

fn attribute(column: usize, word: &str) -> Result<Option<Field>, ParseFilterError> {
    Ok(Some(match word.to_ascii_lowercase().as_str() {
        "run_id" | "id" => Field::Id,
        "experiment" => Field::Experiment,
        "model" => Field::Model,
        "model_version" => Field::ModelVersion,
        "stage" => Field::Stage,
        "status" => Field::Status,
        "start_time" | "started_at" | "created" => Field::StartedAt,
        "end_time" | "ended_at" => Field::EndedAt,
        // Attributes of a run in MLflow, which keeps them as tags.
        "run_name" => Field::Tag("mlflow.runName".to_owned()),
        "user_id" => Field::Tag("mlflow.user".to_owned()),
        "artifact_uri" => {
            return fail(
                column,
                "an evaluation has no artifact_uri: artifacts lie in the store of lineage",
            );
        }
        _ => return Ok(None),
    }))
}

fn dataset(word: &str) -> Option<Field> {
    Some(match word.to_ascii_lowercase().as_str() {
        "name" => Field::DatasetName,
        "version" => Field::DatasetVersion,
        "digest" | "fingerprint" => Field::DatasetFingerprint,
        "context" => Field::Stage,
        _ => return None,
    })
}

fn name(field: &Field) -> &'static str {
    match field {
        Field::Metric(..) => "a metric",
        Field::Param(_) => "a parameter",
        Field::Tag(_) => "a tag",
        Field::ModelVersion => "the version of a model",
        Field::StartedAt | Field::EndedAt => "a time",
        _ => "this attribute",
    }
}

fn number(column: usize, word: &str) -> Result<Value, ParseFilterError> {
    word.parse::<f64>()
        .map(Value::Number)
        .or_else(|_| fail(column, format!("{word:?} is no number")))
}

fn time(column: usize, token: Token) -> Result<Value, ParseFilterError> {
    let read = match &token {
        Token::Text(text) => text.parse::<Timestamp>().ok(),
        Token::Plain(word) => {
            let micros = word.parse::<i64>().ok().and_then(|millis| millis.checked_mul(1_000));
            micros.map(Timestamp::from_micros)
        }
        _ => None,
    };
    read.map(Value::Time).map_or_else(
        || {
            fail(
                column,
                format!("{token} is no time: milliseconds since 1970 or '2026-01-31T12:00:00Z'"),
            )
        },
        Ok,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column_of(text: &str) -> usize {
        Filter::parse(text).unwrap_err().column
    }

    #[test]
    fn what_mlflow_takes_is_taken_and_means_the_same() {
        let last = |name: &str| Field::metric(name);
        let param = |name: &str| Field::Param(name.to_owned());
        for (text, expected) in [
            ("metrics.acc > 0.72", Filter::metric("acc", Operator::Greater, 0.72)),
            ("metric.\"val acc\" <= -1e-3", Filter::metric("val acc", Operator::AtMost, -1e-3)),
            ("metrics.`a b` != NaN", Filter::compare(last("a b"), Operator::NotEqual, f64::NAN)),
            (
                "params.\"cat dog\" = 'it''s'",
                Filter::compare(param("cat dog"), Operator::Equal, "it's"),
            ),
            ("parameter.lr like '0.%'", Filter::compare(param("lr"), Operator::Like, "0.%")),
            ("params.depth >= 4", Filter::compare(param("depth"), Operator::AtLeast, 4.0)),
            (
                "tag.mlflow.source ILIKE '%PY'",
                Filter::compare(
                    Field::Tag("mlflow.source".into()),
                    Operator::LikeIgnoringCase,
                    "%PY",
                ),
            ),
            (
                "attributes.status = 'finished'",
                Filter::compare(Field::Status, Operator::Equal, "finished"),
            ),
            ("params.model = \"tree\"", Filter::compare(param("model"), Operator::Equal, "tree")),
            ("run_id IN ('a', 'b')", Filter::In(Field::Id, vec!["a".into(), "b".into()])),
            (
                "start_time >= 1700000000000",
                Filter::compare(
                    Field::StartedAt,
                    Operator::AtLeast,
                    Timestamp::from_micros(1_700_000_000_000_000),
                ),
            ),
            (
                "dataset.digest != 'x'",
                Filter::compare(Field::DatasetFingerprint, Operator::NotEqual, "x"),
            ),
            ("status != 'KILLED'", Filter::compare(Field::Status, Operator::NotEqual, "killed")),
            (
                "attributes.run_name = 'a'",
                Filter::compare(Field::Tag("mlflow.runName".into()), Operator::Equal, "a"),
            ),
            (
                "user_id != 'b'",
                Filter::compare(Field::Tag("mlflow.user".into()), Operator::NotEqual, "b"),
            ),
            ("dataset.context = 'train'", Filter::stage(&crate::Stage::Training)),
            (
                "dataset.context IN ('eval', 'Mine')",
                Filter::In(Field::Stage, vec!["validation".into(), "Mine".into()]),
            ),
            ("status = 'SCHEDULED'", Filter::compare(Field::Status, Operator::Equal, "scheduled")),
            ("status LIKE 'F%'", Filter::compare(Field::Status, Operator::Like, "F%")),
            (
                "metrics.loss.MIN < 0.2",
                Filter::compare(Field::Metric("loss".into(), Statistic::Min), Operator::Less, 0.2),
            ),
            ("datasets.context = 'Training'", Filter::stage(&crate::Stage::Training)),
            ("stage = 'ab:B'", Filter::stage(&crate::Stage::AbArm("B".into()))),
            ("datasets.context = 'training'", Filter::stage(&crate::Stage::Training)),
            (
                "metrics.loss.min < 0.2",
                Filter::compare(Field::Metric("loss".into(), Statistic::Min), Operator::Less, 0.2),
            ),
            ("metrics.\"loss.min\" < 0.2", Filter::metric("loss.min", Operator::Less, 0.2)),
            (
                "metrics.\"loss.min\".max < 0.2",
                Filter::compare(
                    Field::Metric("loss.min".into(), Statistic::Max),
                    Operator::Less,
                    0.2,
                ),
            ),
            ("params.p IS NULL", Filter::Absent(param("p"))),
            ("params.p is not null", Filter::Present(param("p"))),
            ("", Filter::everything()),
        ] {
            let parsed = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(format!("{parsed:?}"), format!("{expected:?}"), "{text}");
            parsed.check().unwrap();
        }
    }

    #[test]
    fn and_binds_more_than_or_and_parentheses_more_than_both() {
        let m = |name: &str| Filter::metric(name, Operator::Greater, 0.0);
        let parse = |text: &str| Filter::parse(text).unwrap();
        assert_eq!(
            parse("metrics.a > 0 OR metrics.b > 0 AND metrics.c > 0"),
            m("a").or(m("b").and(m("c")))
        );
        assert_eq!(
            parse("(metrics.a > 0 OR metrics.b > 0) AND metrics.c > 0"),
            Filter::All(vec![m("a").or(m("b")), m("c")])
        );
        let between = parse("metrics.a BETWEEN 1 AND 2 AND metrics.c > 0");
        let expected = Filter::metric("a", Operator::AtLeast, 1.0).and(Filter::metric(
            "a",
            Operator::AtMost,
            2.0,
        ));
        assert_eq!(between, Filter::All(vec![expected, m("c")]));
        let not = parse("tags.t NOT IN ('a', 'b')");
        assert!(matches!(not, Filter::All(parts) if parts.len() == 2));
    }

    #[test]
    fn a_context_names_one_series_of_a_metric() {
        let train = SeriesKey::new("loss").with_context("subset", "train");
        let both = train.clone().with_context("a fold", "it's 1]");
        let min = |key: SeriesKey| Filter::Present(Field::Metric(key, Statistic::Min));
        let whole = SeriesKey { metric: "loss.min".into(), ..train.clone() };
        for (text, expected) in [
            ("metrics.loss[subset=train] < 1", Filter::metric(&train, Operator::Less, 1.0)),
            ("metric.loss [ subset = 'train' ].min IS NOT NULL", min(train)),
            ("metrics.\"loss\"[subset=train, `a fold`='it''s 1]'].MIN is not null", min(both)),
            ("metrics.loss.min[subset=train] < 1", Filter::metric(whole, Operator::Less, 1.0)),
        ] {
            let parsed = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed, expected, "{text}");
        }
        for (text, column) in [
            ("metrics.loss[] < 1", 14),
            ("metrics.loss[subset] < 1", 20),
            ("metrics.loss[subset=train < 1", 27),
            ("metrics.loss[a=1, a=2] < 1", 19),
            ("params.loss[a=1] = '1'", 12),
            ("status[a=1] = '1'", 7),
            ("metrics.loss[a=1].median < 1", 1),
        ] {
            assert_eq!(column_of(text), column, "{text}");
        }
    }

    #[test]
    fn an_error_points_at_its_column() {
        for (text, column) in [
            ("params.lr = 0.1", 13),
            ("metrics.acc > '0.9'", 15),
            ("metric.acc > 0.9 trash", 18),
            ("metrics.acc > 0.9 AND", 22),
            ("metrics.acc >", 14),
            ("metrics.acc = 'a", 15),
            ("tags.\"a = 'b'", 6),
            ("unknown.x = 1", 1),
            ("params.lr > 'a'", 13),
            ("tags.t > 'a'", 8),
            ("(metrics.a > 1", 15),
            ("metrics.a > 1)", 14),
            ("metrics. > 1", 1),
            ("metrics.a ? 1", 11),
            ("metrics.a BETWEEN 1 OR 2", 21),
            ("tags.t IN ()", 12),
            ("start_time > 'yesterday'", 14),
            ("metrics.a > 1e", 13),
            ("naïve = 1", 1),
            ("status = 'LATE'", 10),
            ("metrics.a > 1 AND attributes.artifact_uri = 'x'", 19),
            ("stage IN ('test', 'tests')", 19),
        ] {
            assert_eq!(column_of(text), column, "{text}: {:?}", Filter::parse(text));
        }
        let deep = format!("{}metrics.a > 1{}", "(".repeat(40), ")".repeat(40));
        assert!(Filter::parse(&deep).is_err());
        assert!(Filter::parse(&" ".repeat(MAX_FILTER_TEXT)).is_ok());
        assert!(Filter::parse(&" ".repeat(MAX_FILTER_TEXT + 1)).is_err());
    }

    #[test]
    fn a_pattern_for_what_is_no_text_is_refused_with_its_column() {
        for (text, column) in [
            ("metrics.a LIKE 5", 16),
            ("metrics.a LIKE '5%'", 16),
            ("model_version ILIKE 5", 21),
            ("start_time LIKE 5", 17),
            ("end_time LIKE '2026-01-31T12:00:00Z'", 15),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.message.starts_with("a pattern is a text in single quotes"), "{error}");
        }
        assert_eq!(column_of("tags.t LIKE 5"), 13);
        assert_eq!(column_of("params.p ILIKE 5"), 16);
        assert!(Filter::parse("params.p LIKE '5%'").unwrap().check().is_ok());
    }

    #[test]
    fn whatever_key_meets_whatever_comparison_and_value_is_refused_or_passes_the_check() {
        let keys = "metrics.a metrics.a.min params.p tags.t run_id experiment model model_version \
                    stage status start_time end_time run_name dataset.name dataset.version \
                    dataset.digest dataset.context";
        let values = ["5", "'5'", "\"5\"", "nan", "word", "'test'", "'2026-01-31T12:00:00Z'"];
        let (mut taken, mut refused) = (0, 0);
        for key in keys.split_whitespace() {
            for value in values {
                let alone = ["=", "!=", "<", ">=", "LIKE", "ILIKE"]
                    .map(|operator| format!("{key} {operator} {value}"));
                let more = [
                    format!("{key} IN ({value})"),
                    format!("{key} NOT IN ({value}, {value})"),
                    format!("{key} BETWEEN {value} AND {value}"),
                    format!("{key} NOT BETWEEN {value} AND {value}"),
                ];
                for text in alone.into_iter().chain(more) {
                    match Filter::parse(&text) {
                        Ok(filter) => {
                            filter.check().unwrap_or_else(|error| panic!("{text}: {error}"));
                            taken += 1;
                        }
                        Err(_) => refused += 1,
                    }
                }
            }
        }
        assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
    }

    #[test]
    fn what_is_too_deep_or_too_long_for_the_check_is_refused_with_its_column() {
        // Each parenthesis adds two levels: an OR within an AND.
        let nested = |levels: usize| {
            let open = "params.p = 'x' AND (params.q = 'y' OR ".repeat(levels);
            format!("params.r IS NULL AND ({open}metrics.a > 1{})", ")".repeat(levels))
        };
        let deepest = (0..MAX_FILTER_DEPTH).filter(|n| Filter::parse(&nested(*n)).is_ok()).max();
        let deepest = deepest.expect("some depth is fine");
        assert!(Filter::parse(&nested(deepest)).unwrap().check().is_ok());
        assert_eq!(deepest, 15, "two levels each");
        assert!(column_of(&nested(deepest + 1)) > 20);

        let long = |values: usize| {
            format!("tags.t = 'a' OR tags.u IN ({})", vec!["'b'"; values].join(", "))
        };
        let most = MAX_FILTER_TERMS - 2;
        assert!(Filter::parse(&long(most)).unwrap().check().is_ok());
        assert_eq!(column_of(&long(most + 1)), 17);
        let many = |count: usize| vec!["tags.t = 'a'"; count].join(" AND ");
        assert!(Filter::parse(&many(MAX_FILTER_TERMS - 1)).unwrap().check().is_ok());
        assert_eq!(column_of(&many(MAX_FILTER_TERMS)), 17 * (MAX_FILTER_TERMS - 1) + 1);
        assert_eq!(Order::parse_list(&vec!["start_time"; 17].join(",")).unwrap_err().column, 177);
    }

    #[test]
    fn orders_are_read_with_both_directions_and_nothing_else() {
        let orders = Order::parse_list("metrics.acc DESC, params.\"a b\" asc, start_time").unwrap();
        let expected = [
            Order::descending(Field::metric("acc")),
            Order::ascending(Field::Param("a b".into())),
            Order::ascending(Field::StartedAt),
        ];
        assert_eq!(orders, expected);
        assert_eq!(Order::parse_list("metrics.acc UP").unwrap_err().column, 13);
        assert!(Order::parse_list("metrics.acc,").is_err());
        assert_eq!(Order::parse_list("").unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_what_it_takes_passes_the_check(text in "[ a-z.'\"`()<>=!0-9,%A-Z]{0,60}") {
            if let Ok(filter) = Filter::parse(&text) {
                prop_assert!(filter.check().is_ok());
            }
            let _ = Order::parse_list(&text);
        }

        #[test]
        fn any_text_in_quotes_is_only_a_text(text in "\\PC{0,40}") {
            let quoted = format!("tags.t = '{}'", text.replace('\'', "''"));
            prop_assert_eq!(Filter::parse(&quoted).unwrap(), Filter::tag("t", text));
        }
    }
}
