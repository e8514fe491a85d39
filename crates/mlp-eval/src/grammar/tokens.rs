//! What a text consists of.

use std::fmt;

use super::{MAX_FILTER_TEXT, ParseFilterError, fail};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
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

/// Cuts the text into tokens, each with its column.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, ParseFilterError> {
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
