//! Working memory that is lent to a model, so that predicting allocates nothing once warm.

/// A pool of working buffers, handed down through a chain of transformers and models.
///
/// [`take`](Self::take) lends a buffer, [`give`](Self::give) returns it for the next call. A buffer that is not returned is merely
/// allocated again.
///
/// ```
/// let mut scratch = mlp_core::Scratch::new();
/// let mut buffer = scratch.take(8);
/// buffer[0] = 1.0;
/// let place = buffer.as_ptr();
/// scratch.give(buffer);
/// assert_eq!(scratch.take(4).as_ptr(), place); // the same memory again, zeroed
/// ```
#[derive(Debug, Default)]
pub struct Scratch {
    pool: Vec<Vec<f64>>,
}

impl Scratch {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lends a buffer of `len` zeros.
    #[must_use]
    pub fn take(&mut self, len: usize) -> Vec<f64> {
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(len, 0.0);
        buffer
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Vec<f64>) {
        self.pool.push(buffer);
    }
}
