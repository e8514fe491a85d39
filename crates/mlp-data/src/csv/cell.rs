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
