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

/// Forgets what was used neither often nor lately when it is full (S3-FIFO, by the quick_cache library): on skewed traffic it keeps more of
/// what will be asked again than [`LruCache`], and readers do not wait for each other.
pub struct QuickCache<O>(quick_cache::sync::Cache<Box<[u8]>, Remembered<O>>);

impl<O: Clone> QuickCache<O> {
    /// A cache for about so many answers.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self(quick_cache::sync::Cache::new(entries))
    }
}

impl<O: Clone> Debug for QuickCache<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuickCache({} of {})", self.0.len(), self.0.capacity())
    }
}

impl<O: Clone + Send + Sync> PredictionCache<O> for QuickCache<O> {
    fn get(&self, key: &[u8]) -> Option<Remembered<O>> {
        self.0.get(key)
    }

    fn insert(&self, key: Box<[u8]>, answer: Remembered<O>) {
        self.0.insert(key, answer);
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn len(&self) -> usize {
        self.0.len()
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

    /// The share of requests that a cache of 1,000 answers remembers when 100,000 keys are asked for by Zipf's law with exponent 0.9.
    fn hit_ratio(cache: &dyn PredictionCache<u8>) -> f64 {
        let mut shares: Vec<f64> = (1..=100_000).map(|rank| f64::from(rank).powf(-0.9)).collect();
        for place in 1..shares.len() {
            shares[place] += shares[place - 1];
        }
        let total = shares[shares.len() - 1];
        let mut random = mlp_core::random::stream(1, 0);
        let hits = (0..300_000).filter(|_| {
            let drawn = mlp_core::random::uniform(&mut random) * total;
            let key = shares.partition_point(|share| *share < drawn).to_le_bytes();
            let is_hit = cache.get(&key).is_some();
            if !is_hit {
                cache.insert(Box::from(&key[..]), remembered(0));
            }
            is_hit
        });
        hits.count() as f64 / 300_000.0
    }

    #[test]
    fn the_default_policy_remembers_more_of_skewed_traffic_than_lru() {
        let (quick, lru) = (hit_ratio(&QuickCache::new(1_000)), hit_ratio(&LruCache::new(1_000)));
        assert!(quick > lru + 0.05, "quick {quick}, lru {lru}");
    }

    #[test]
    fn both_caches_hold_no_more_than_their_bound_and_can_be_cleared() {
        let caches: [Box<dyn PredictionCache<u8>>; 2] =
            [Box::new(QuickCache::new(100)), Box::new(LruCache::new(100))];
        for cache in caches {
            for key in 0..10_000_u32 {
                cache.insert(Box::from(&key.to_le_bytes()[..]), remembered(0));
            }
            assert!((50..=100).contains(&cache.len()), "{cache:?}");
            cache.clear();
            assert!(cache.is_empty());
        }
    }
}
