//! A reader that gives up on a record that does not end, and ends the last one.

use std::fmt;
use std::io::{self, Read};

/// Hands through at most `limit` bytes between two calls of [`restart`](Self::restart), and a line end behind the last byte: so every record
/// ends with one, and lines can be counted.
#[derive(Debug)]
pub(crate) struct Bounded<R> {
    inner: R,
    limit: usize,
    since_restart: usize,
    ended: bool,
    /// The added line end was read, and then the end.
    exhausted: bool,
}

/// A record did not end within the limit.
#[derive(Debug)]
pub(crate) struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is too long")
    }
}

impl std::error::Error for TooLong {}

impl<R> Bounded<R> {
    pub(crate) fn new(inner: R, limit: usize) -> Self {
        Self { inner, limit, since_restart: 0, ended: false, exhausted: false }
    }

    /// Whether the end was read after all line ends: the last record has no end of its own.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    pub(crate) fn restart(&mut self) {
        self.since_restart = 0;
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_restart >= self.limit {
            return Err(io::Error::other(TooLong));
        }
        let mut count = self.inner.read(buffer)?;
        if count == 0 && !self.ended && !buffer.is_empty() {
            self.ended = true;
            buffer[0] = b'\n';
            count = 1;
        }
        self.exhausted = count == 0;
        self.since_restart += count;
        Ok(count)
    }
}
