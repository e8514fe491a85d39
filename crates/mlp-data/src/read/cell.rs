//! One cell: a number, or what is wrong with it.

use crate::error::{Error, Place, cut};

/// What the bytes of a cell spell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Finite(f64),
    /// NaN or an infinity, spelt out.
    NonFinite(f64),
    /// A number that no double comes near.
    OutOfRange,
    Not,
}

/// Reads a number: decimal digits with optional sign, point and exponent; spaces around it do not count.
pub(crate) fn number(cell: &[u8]) -> Number {
    if let Some(value) = short_decimal(cell) {
        return Number::Finite(value);
    }
    let cell = cell.trim_ascii();
    let Some(value) = std::str::from_utf8(cell).ok().and_then(|text| text.parse::<f64>().ok())
    else {
        return Number::Not;
    };
    if value.is_finite() {
        Number::Finite(value)
    } else if cell.iter().any(u8::is_ascii_digit) {
        Number::OutOfRange
    } else {
        Number::NonFinite(value)
    }
}

/// Digits with an optional minus and point, fifteen digits at most: both the digits as a whole number and the power of ten are exact as
/// doubles, so their quotient is the nearest double (Clinger 1990). Most cells of most files are such.
fn short_decimal(cell: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (is_negative, digits) = match cell {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 16 {
        return None;
    }
    // Without branches on the bytes: where the point stands is different in every cell, and a guess that fails costs more than all of this.
    let (mut whole, mut points, mut decimals, mut is_other) = (0_u64, 0_usize, 0_usize, false);
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        let (is_digit, is_point) = (digit < 10, byte == b'.');
        whole = if is_digit { whole * 10 + u64::from(digit) } else { whole };
        decimals += usize::from(is_digit) & points;
        points += usize::from(is_point);
        is_other |= !(is_digit || is_point);
    }
    let count = digits.len() - points.min(digits.len());
    if is_other || points > 1 || count == 0 || count > 15 {
        return None;
    }
    let value = whole as f64 / POWERS[decimals];
    Some(if is_negative { -value } else { value })
}

/// The error for a cell that should have been a number.
pub(crate) fn number_error(cell: &[u8], place: Place) -> Error {
    let text = match text(cell, &place) {
        Ok(text) => text,
        Err(error) => return error,
    };
    if text.trim().is_empty() {
        return Error::EmptyCell { place };
    }
    let value = cut(text.trim());
    match number(cell) {
        Number::OutOfRange => Error::NumberOutOfRange { place, value },
        Number::Finite(_) | Number::NonFinite(_) => Error::NotFinite { place, value },
        Number::Not => Error::NotANumber { place, value },
    }
}

/// The text of a cell.
pub(crate) fn text<'a>(cell: &'a [u8], place: &Place) -> Result<&'a str, Error> {
    let text = std::str::from_utf8(cell).map_err(|_| Error::NotUtf8 {
        place: place.clone(),
        value: cut(&String::from_utf8_lossy(&cell[..cell.len().min(400)])),
    })?;
    if text.contains('\0') { Err(Error::Nul { place: place.clone() }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_decimals_are_the_doubles_that_the_standard_library_reads() {
        let mut state = 1_u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let digits = (state >> 40) as usize % 16;
            let whole = (state >> 8) % 10_u64.pow(digits as u32);
            let text = format!("{}{whole}", if state & 1 == 1 { "-" } else { "" });
            let at = text.len() - (state as usize >> 1) % text.trim_start_matches('-').len();
            let text = format!("{}.{}", &text[..at], &text[at..]);
            for text in [text.as_str(), text.trim_end_matches('.')] {
                let theirs: f64 = text.parse().unwrap();
                assert!(
                    matches!(number(text.as_bytes()), Number::Finite(v) if v.to_bits() == theirs.to_bits()),
                    "{text}"
                );
            }
        }
        assert_eq!(short_decimal(b"1234567890123456"), None);
        for text in ["", "-", ".", "-.", "1.2.3", "1e5", "+1"] {
            assert_eq!(short_decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_cell_is_a_number_only_if_all_of_it_is() {
        let check = |cell: &str, expected| assert_eq!(number(cell.as_bytes()), expected, "{cell}");
        check("1.5", Number::Finite(1.5));
        check(" +.5e1\t", Number::Finite(5.0));
        check("-0", Number::Finite(0.0));
        check("4.9e-324", Number::Finite(5e-324));
        check("1e999", Number::OutOfRange);
        check("-1e999", Number::OutOfRange);
        assert!(matches!(number(b"NaN"), Number::NonFinite(value) if value.is_nan()));
        check("-inf", Number::NonFinite(f64::NEG_INFINITY));
        for bad in ["", " ", "abc", "1,5", "1 2", "0x10", "1_000", "--1", "1e", "٣", "1\0"] {
            check(bad, Number::Not);
        }
    }
}
