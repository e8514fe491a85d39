//! Numbers as Python writes them: NaN and the infinities as bare words, which JSON does not know.

use serde_json::Value;

/// Writes a double so that Python's `json` reads the same bits.
pub(super) fn write(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value == f64::INFINITY {
        "Infinity".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Infinity".to_owned()
    } else {
        format!("{value:?}")
    }
}

/// Writes numbers of JSON, or a list of them, so that infinite ones, which stand as texts, are numbers to Python as well.
pub(super) fn write_json(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(write_json).collect();
            format!("[{}]", values.join(","))
        }
        Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => {
            text.clone()
        }
        value => value.to_string(),
    }
}

/// Puts bare words, and numbers beyond the largest double, into quotes, so that a JSON parser takes the line.
pub(super) fn quote_nonfinite(line: &str) -> String {
    let mut quoted = String::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_alphanumeric()) {
        quoted.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = if rest.starts_with('"') { end_of_text(rest) } else { end_of_word(rest) };
        let token = &rest[..end];
        let overflowing = || token.parse::<f64>().is_ok_and(f64::is_infinite);
        if matches!(token, "NaN" | "Infinity" | "-Infinity") {
            quoted.push_str(&format!("{token:?}"));
        } else if token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && overflowing() {
            quoted.push_str(if token.starts_with('-') { "\"-Infinity\"" } else { "\"Infinity\"" });
        } else {
            quoted.push_str(token);
        }
        rest = &rest[end..];
    }
    quoted.push_str(rest);
    quoted
}

fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

fn end_of_word(text: &str) -> usize {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.');
    text.find(|c: char| !part(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_are_quoted() {
        let line = r#"{"NaN":[NaN,-Infinity,1e999,-1e999,1e9],"a":"NaN \" Infinity","b":true}"#;
        let expected = r#"{"NaN":["NaN","-Infinity","Infinity","-Infinity",1e9],"a":"NaN \" Infinity","b":true}"#;
        assert_eq!(quote_nonfinite(line), expected);
        assert_eq!(quote_nonfinite("\"é"), "\"é");
    }
}
