//! The JSON that hashes are taken of: the same bytes whatever writes the JSON that is kept.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

/// Compact JSON in which an exponent always has a sign, such as `1e+16` and `1.5e-6`: `serde_json` wrote `1e16` before its version 1.0.147, and what
/// was hashed then must have the same hash now.
pub(crate) fn write(writer: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(writer, Canonical))
}

pub(crate) fn text(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    write(&mut bytes, value)?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct Canonical;

impl Formatter for Canonical {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let mut text = Vec::with_capacity(24);
        CompactFormatter.write_f64(&mut text, value)?;
        writer.write_all(&signed(text))
    }
}

/// The text of a double with the sign of its exponent.
fn signed(mut text: Vec<u8>) -> Vec<u8> {
    let exponent = text.iter().position(|byte| *byte == b'e').map(|at| at + 1);
    if let Some(at) = exponent.filter(|at| text.get(*at).is_some_and(u8::is_ascii_digit)) {
        text.insert(at, b'+');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_in_one_way_and_read_back() {
        let written = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (-2.0, "-2.0"),
            (1_234.5, "1234.5"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
            (1e16, "1e+16"),
            (-1.5e20, "-1.5e+20"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e-5, "0.00001"),
            (1.25e-5, "0.0000125"),
            (9.5e-6, "9.5e-6"),
            (5e-324, "5e-324"),
        ];
        for (value, expected) in written {
            assert_eq!(text(&value).unwrap(), expected);
            let read: f64 = serde_json::from_str(expected).unwrap();
            assert_eq!(read.to_bits(), value.to_bits(), "{expected}");
        }
        assert_eq!(text(&f64::NAN).unwrap(), "null");
        assert_eq!(signed(b"-1.5e20".to_vec()), b"-1.5e+20", "as older versions write it");
    }
}
