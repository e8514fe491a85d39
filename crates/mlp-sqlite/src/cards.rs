//! Cards: what an evaluation has, packed into one value each, so that a write changes few pages.
//!
//! The card `about` holds the parameters, each by its name with its exact JSON, and then the tags. The card of `scores` holds the summaries of the
//! series by the number of their key. Numbers are LEB128, texts have their length before them, and both cards are in order.

use std::collections::BTreeMap;

use mlp_core::StoreError;
use rusqlite::ffi;

use crate::checksum::Checksum;

/// A card that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

impl From<Broken> for rusqlite::Error {
    fn from(_: Broken) -> Self {
        Self::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None)
    }
}

impl From<Broken> for StoreError {
    fn from(broken: Broken) -> Self {
        crate::error::store(broken.into())
    }
}

/// The words of eight bytes that a summary has: a point; with sum and counts; with extremes as well.
const LENGTHS: [u8; 3] = [3, 6, 12];

fn put_number(card: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        card.push(number as u8 | 0x80);
        number >>= 7;
    }
    card.push(number as u8);
}

fn put_bytes(card: &mut Vec<u8>, bytes: &[u8]) {
    put_number(card, bytes.len() as u64);
    card.extend_from_slice(bytes);
}

/// What is left to be read of a card.
#[derive(Debug, Clone, Copy)]
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Broken)
    }

    fn text(&mut self) -> Result<&'a str, Broken> {
        let length = usize::try_from(self.number()?).map_err(|_| Broken)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Broken)
    }
}

/// Names and values, in the order of the names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pairs<'a> {
    rest: Rest<'a>,
    left: u64,
}

impl<'a> Pairs<'a> {
    fn begin(mut rest: Rest<'a>) -> Result<Self, Broken> {
        let left = rest.number()?;
        Ok(Self { rest, left })
    }

    /// The value of a name.
    pub(crate) fn find(self, name: &str) -> Result<Option<&'a str>, Broken> {
        for pair in self {
            let (found, value) = pair?;
            if found == name {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a str, &'a str), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.rest.text();
        Some(name.and_then(|name| Ok((name, self.rest.text()?))))
    }
}

/// The card of parameters and tags.
pub(crate) fn about<'a>(
    params: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    tags: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
) -> Vec<u8> {
    let mut card = Vec::new();
    let mut put = |pairs: &mut dyn ExactSizeIterator<Item = (&'a str, &'a str)>| {
        put_number(&mut card, pairs.len() as u64);
        for (name, value) in pairs {
            put_bytes(&mut card, name.as_bytes());
            put_bytes(&mut card, value.as_bytes());
        }
    };
    let (mut params, mut tags) = (params, tags);
    put(&mut params);
    put(&mut tags);
    card
}

/// The pairs of a map, for a card.
pub(crate) fn each(
    texts: &BTreeMap<String, String>,
) -> impl ExactSizeIterator<Item = (&str, &str)> {
    texts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The checksum of a card `about` the n-th evaluation.
pub(crate) fn about_checksum(n: i64, card: &[u8]) -> i64 {
    Checksum::of("about").int(n).bytes(card).finish()
}

/// The checksum of a card of the n-th evaluation's summaries.
pub(crate) fn scores_checksum(n: i64, card: &[u8]) -> i64 {
    Checksum::of("scores").int(n).bytes(card).finish()
}

/// The parameters of a card.
pub(crate) fn params(card: &[u8]) -> Result<Pairs<'_>, Broken> {
    Pairs::begin(Rest(card))
}

/// The tags of a card, which come after its parameters.
pub(crate) fn tags(card: &[u8]) -> Result<Pairs<'_>, Broken> {
    let mut params = params(card)?;
    params.by_ref().try_for_each(|pair| pair.map(|_| ()))?;
    Pairs::begin(params.rest)
}

/// The summary of a series: three words, six, or twelve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    words: [i64; 12],
    length: u8,
}

impl Words {
    /// One, two or four times three words.
    pub(crate) fn of<const N: usize>(parts: [[i64; 3]; N]) -> Self {
        const { assert!(N == 1 || N == 2 || N == 4) };
        let mut words = [0; 12];
        words[..3 * N].copy_from_slice(parts.as_flattened());
        Self { words, length: 3 * N as u8 }
    }

    /// None if no summary has so many.
    pub(crate) fn new(given: &[i64]) -> Option<Self> {
        let length = LENGTHS.into_iter().find(|length| usize::from(*length) == given.len())?;
        let mut words = [0; 12];
        words[..given.len()].copy_from_slice(given);
        Some(Self { words, length })
    }

    pub(crate) fn as_slice(&self) -> &[i64] {
        &self.words[..usize::from(self.length)]
    }
}

/// Summaries by the number of their key, in its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scores<'a>(Rest<'a>);

impl<'a> Scores<'a> {
    pub(crate) fn read(card: &'a [u8]) -> Self {
        Self(Rest(card))
    }

    /// The summary of a key.
    pub(crate) fn find(self, key: i64) -> Result<Option<Words>, Broken> {
        let mut rest = self.0;
        while !rest.0.is_empty() {
            let (found, words) = Self::entry(&mut rest)?;
            if found >= key {
                return Ok((found == key).then(|| words_of(words)));
            }
        }
        Ok(None)
    }

    fn entry(rest: &mut Rest<'a>) -> Result<(i64, &'a [u8]), Broken> {
        let key = i64::try_from(rest.number()?).map_err(|_| Broken)?;
        let length = rest.take(1)?[0];
        if !LENGTHS.contains(&length) {
            return Err(Broken);
        }
        Ok((key, rest.take(8 * usize::from(length))?))
    }
}

fn words_of(bytes: &[u8]) -> Words {
    let (chunks, _) = bytes.as_chunks::<8>();
    let mut words = [0; 12];
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = i64::from_le_bytes(*chunk);
    }
    Words { words, length: chunks.len() as u8 }
}

impl Iterator for Scores<'_> {
    type Item = Result<(i64, Words), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        Some(Self::entry(&mut self.0).map(|(key, bytes)| (key, words_of(bytes))))
    }
}

/// The card of summaries, which are given in the order of their keys.
pub(crate) fn scores(entries: impl Iterator<Item = (i64, Words)>) -> Vec<u8> {
    let mut card = Vec::new();
    for (key, words) in entries {
        put_number(&mut card, key.unsigned_abs());
        card.push(words.length);
        words.as_slice().iter().for_each(|word| card.extend_from_slice(&word.to_le_bytes()));
    }
    card
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(
        given: &[(&'static str, &'static str)],
    ) -> impl ExactSizeIterator<Item = (&'static str, &'static str)> {
        given.iter().copied()
    }

    #[test]
    fn parameters_and_tags_are_found_by_name_each_in_its_part() {
        let long = "x".repeat(300);
        let long: &'static str = long.leak();
        let card =
            about(pairs(&[("", "1"), ("a", long), ("ü", "\"\"")]), pairs(&[("a", ""), ("b", "é")]));
        let all: Vec<_> = params(&card).unwrap().map(Result::unwrap).collect();
        assert_eq!(all, [("", "1"), ("a", long), ("ü", "\"\"")]);
        assert_eq!(params(&card).unwrap().find("a"), Ok(Some(long)));
        assert_eq!(params(&card).unwrap().find("b"), Ok(None));
        assert_eq!(tags(&card).unwrap().find("a"), Ok(Some("")));
        assert_eq!(tags(&card).unwrap().find("b"), Ok(Some("é")));
        assert_eq!(about(pairs(&[]), pairs(&[])), [0, 0]);
    }

    #[test]
    fn summaries_are_found_by_the_number_of_their_key() {
        let words = |count: i64| Words::new(&(0..count).map(|k| k - 5).collect::<Vec<_>>());
        assert_eq!(words(4), None);
        let given =
            [(1, words(3).unwrap()), (200, words(12).unwrap()), (1 << 40, words(6).unwrap())];
        let card = scores(given.into_iter());
        let read: Vec<_> = Scores::read(&card).map(Result::unwrap).collect();
        assert_eq!(read, given);
        for (key, words) in given {
            assert_eq!(Scores::read(&card).find(key), Ok(Some(words)));
        }
        assert_eq!(Scores::read(&card).find(2), Ok(None));
    }

    #[test]
    fn a_card_that_was_cut_or_is_noise_is_broken_and_never_a_panic() {
        let card = about(pairs(&[("name", "1")]), pairs(&[("tag", "value")]));
        for length in 0..card.len() {
            let read = tags(&card[..length])
                .and_then(|mut tags| tags.try_for_each(|pair| pair.map(|_| ())));
            assert_eq!(read, Err(Broken), "{length} bytes");
        }
        assert_eq!(params(&[0xff; 20]).map(|_| ()), Err(Broken));
        assert_eq!(Scores::read(&[1, 5]).find(1), Err(Broken));
        assert_eq!(Scores::read(&[1, 3, 0]).next(), Some(Err(Broken)));
        assert_eq!(Scores::read(&[0xff; 12]).find(1), Err(Broken));
    }
}
