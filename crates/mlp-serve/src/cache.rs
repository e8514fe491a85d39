//! Answers that are remembered.

use std::fmt::Debug;
use std::time::Duration;

use crate::sync::Mutex;

/// Remembers the answers of one version.
///
/// # Contract
///
/// * Keys are compared in full: two keys with the same hash are still two keys.
/// * It holds a bounded number of answers, and forgets some to take new ones.
/// * It is shared by threads and never blocks for long.
///
/// Each version has a cache of its own, so an answer of one version can never be given for another.
pub trait PredictionCache<O>: Debug + Send + Sync {
    /// The answer that was kept for this key, if it is still there.
    fn get(&self, key: &[u8]) -> Option<Remembered<O>>;

    /// Keeps an answer.
    fn insert(&self, key: Box<[u8]>, answer: Remembered<O>);

    /// Forgets all.
    fn clear(&self);

    /// How many answers are kept.
    fn len(&self) -> usize;

    /// Whether none is kept.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An answer as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Remembered<O> {
    /// What the model said.
    pub output: O,
    /// The replica that said it.
    pub replica: usize,
    /// When it expires, in the server's monotonic time.
    pub expires: Option<Duration>,
}

/// Forgets the least recently used answer when it is full.
pub struct LruCache<O>(Mutex<lru::LruCache<Box<[u8]>, Remembered<O>, std::hash::RandomState>>);

impl<O> LruCache<O> {
    /// A cache for so many answers, at least one.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let entries = std::num::NonZero::new(entries).unwrap_or(std::num::NonZero::<usize>::MIN);
        Self(Mutex::new(lru::LruCache::with_hasher(entries, std::hash::RandomState::new())))
    }
}

impl<O> Debug for LruCache<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cache = self.0.lock();
        write!(f, "LruCache({} of {})", cache.len(), cache.cap())
    }
}

impl<O: Clone + Send + Sync> PredictionCache<O> for LruCache<O> {
    fn get(&self, key: &[u8]) -> Option<Remembered<O>> {
        self.0.lock().get(key).cloned()
    }

    fn insert(&self, key: Box<[u8]>, answer: Remembered<O>) {
        self.0.lock().put(key, answer);
    }

    fn clear(&self) {
        self.0.lock().clear();
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(output: u8) -> Remembered<u8> {
        Remembered { output, replica: 0, expires: None }
    }

    #[test]
    fn the_least_recently_used_answer_is_forgotten() {
        let cache = LruCache::new(2);
        for name in [b"a", b"b"] {
            cache.insert(Box::from(&name[..]), remembered(name[0]));
        }
        assert!(cache.get(b"a").is_some());
        cache.insert(Box::from(&b"c"[..]), remembered(b'c'));
        assert_eq!(cache.get(b"b"), None);
        assert_eq!(cache.get(b"a").unwrap().output, b'a');
        assert_eq!(cache.len(), 2);
    }
}
