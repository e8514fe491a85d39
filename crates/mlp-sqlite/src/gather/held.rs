//! What has been written and is not in the file yet.

use std::ffi::c_int;

/// How many bytes are held at most: 61 pages of 2 KiB with their headers. Of more than 131,071 bytes SQLite's VFS for Unix writes only what is
/// left of the number after division by 131,072 (`seekAndWriteFd`), since it never has to write more than a page.
pub(super) const CAPACITY: usize = 124 << 10;

/// One stretch of a file, which is written by one call. A code of SQLite stands for an error.
#[derive(Debug, Default)]
pub(super) struct Held {
    offset: i64,
    bytes: Vec<u8>,
    /// Whether the connection has the write lock. Without it nothing is held.
    is_writing: bool,
    /// Why what is held could not be written. Nothing is written then until it is forgotten: SQLite counts on what it was told is written.
    fault: Option<c_int>,
}

impl Held {
    /// From now on until all is forgotten writes are gathered.
    pub(super) fn begin(&mut self) {
        self.is_writing = true;
    }

    /// Takes a write; what is held is put into the file before, unless both are one stretch.
    pub(super) fn write(
        &mut self,
        offset: i64,
        data: &[u8],
        put: impl Fn(i64, &[u8]) -> Result<(), c_int>,
    ) -> Result<(), c_int> {
        if let Some(code) = self.fault {
            return Err(code);
        }
        if offset != self.end() || self.bytes.len() + data.len() > CAPACITY {
            self.flush(&put)?;
            self.offset = offset;
        }
        if !self.is_writing || data.len() > CAPACITY {
            return put(offset, data);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Puts what is held into the file if any of it is about to be read. What is read before it ends before it, as a log has no holes.
    pub(super) fn read(
        &mut self,
        offset: i64,
        amount: i64,
        put: impl Fn(i64, &[u8]) -> Result<(), c_int>,
    ) -> Result<(), c_int> {
        if offset < self.end() && self.offset < offset.saturating_add(amount) {
            return self.flush(put);
        }
        Ok(())
    }

    /// Puts what is held into the file.
    pub(super) fn flush(
        &mut self,
        put: impl Fn(i64, &[u8]) -> Result<(), c_int>,
    ) -> Result<(), c_int> {
        if let Some(code) = self.fault {
            return Err(code);
        }
        if !self.bytes.is_empty() {
            put(self.offset, &self.bytes).inspect_err(|code| self.fault = Some(*code))?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Drops what is held, and the error that there was: the write lock is given back.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
        self.fault = None;
        self.is_writing = false;
    }

    fn end(&self) -> i64 {
        self.offset.saturating_add(self.bytes.len() as i64)
    }
}
