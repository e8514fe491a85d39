//! Checksums of records: what SQLite does not have.
//!
//! They are against accidents, not against people: 64 bits, one multiplication for each eight bytes. Each step maps the state before it
//! one to one for a given word, and the words one to one for a given state, so a change within one word always changes the sum; any other
//! one goes unnoticed once in 2⁶⁴.

/// An odd constant with its bits spread: the golden ratio times 2⁶⁴.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Collects the fields of one record. Lengths are part of it, so that no two records look alike.
pub(crate) struct Checksum(u64);

impl Checksum {
    /// Begins with the table, so that a record of one table is none of another.
    pub(crate) fn of(table: &str) -> Self {
        Self(SPREAD).text(table)
    }

    fn word(self, word: u64) -> Self {
        let mixed = (self.0 ^ word).wrapping_mul(SPREAD);
        Self(mixed ^ (mixed >> 29))
    }

    pub(crate) fn int(self, value: i64) -> Self {
        self.word(value as u64)
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let (words, rest) = value.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words
            .iter()
            .chain([&last])
            .fold(self.word(value.len() as u64), |sum, word| sum.word(u64::from_le_bytes(*word)))
    }

    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// A field that may be missing.
    pub(crate) fn maybe<T>(self, value: Option<T>, field: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => field(self.int(1), value),
            None => self.int(0),
        }
    }

    /// A double as SQLite holds it: by value, because a NaN is stored as missing and −0 as 0.
    pub(crate) fn number(self, value: Option<f64>) -> Self {
        let stored = value.filter(|value| !value.is_nan());
        self.maybe(stored, |sum, value| sum.int((value + 0.0).to_bits() as i64))
    }

    /// The sum, once more mixed: the totals are exclusive ors of sums, in which likeness would cancel out.
    pub(crate) fn finish(self) -> i64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ (mixed >> 32)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_every_field_changes_the_sum() {
        let sum = |int: i64, text: &[u8], number: f64| {
            Checksum::of("t").int(int).bytes(text).number(Some(number)).finish()
        };
        let text = b"a text of twenty-one.";
        let right = sum(7, text, 0.3);
        for bit in 0..64 {
            assert_ne!(sum(7 ^ (1 << bit), text, 0.3), right);
            assert_ne!(sum(7, text, f64::from_bits(0.3_f64.to_bits() ^ (1 << bit))), right);
        }
        for bit in 0..text.len() * 8 {
            let mut flipped = *text;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum(7, &flipped, 0.3), right);
        }
        assert_ne!(
            Checksum::of("t").text("a").text("bc").finish(),
            Checksum::of("t").text("ab").text("c").finish()
        );
        assert_ne!(Checksum::of("t").text("a\0").finish(), Checksum::of("t").text("a").finish());
        assert_eq!(
            Checksum::of("t").number(Some(-0.0)).finish(),
            Checksum::of("t").number(Some(0.0)).finish()
        );
    }
}
