//! Checksums of records: what SQLite does not have.

/// Collects the fields of one record. Lengths are part of it, so that no two records look alike.
pub(crate) struct Checksum(blake3::Hasher);

impl Checksum {
    /// Begins with the table, so that a record of one table is none of another.
    pub(crate) fn of(table: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(table.as_bytes());
        Self(hasher)
    }

    pub(crate) fn int(mut self, value: i64) -> Self {
        self.0.update(&value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(value);
        self
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

    /// The first eight bytes of the hash.
    pub(crate) fn finish(self) -> i64 {
        let hash = self.0.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        i64::from_le_bytes(first)
    }
}
