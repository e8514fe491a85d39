//! Answers that are remembered.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::options::{CachePolicy, ServeOptions};
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

    /// Forgets the answer to this key.
    fn remove(&self, key: &[u8]);

    /// Forgets all.
    fn clear(&self);

    /// How many answers were forgotten to take new ones.
    fn evictions(&self) -> u64;

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
    /// How many bytes it takes with its key, about: what a bound in bytes counts.
    pub bytes: usize,
}

/// The cache that the options ask for.
pub(crate) fn of<O: Clone + Send + Sync + 'static>(
    options: &ServeOptions,
) -> Option<Box<dyn PredictionCache<O>>> {
    let bytes = options.cache_bytes.unwrap_or(usize::MAX);
    match (options.cache_entries, options.cache_policy) {
        (0, _) => None,
        (entries, CachePolicy::Quick) => Some(Box::new(QuickCache::bounded(entries, bytes))),
        (entries, CachePolicy::LeastRecentlyUsed) => {
            Some(Box::new(LruCache::bounded(entries, bytes)))
        }
    }
}

/// Forgets the least recently used answer when it is full.
pub struct LruCache<O, S = RandomState> {
    held: Mutex<Held<O, S>>,
    max_bytes: usize,
}

struct Held<O, S> {
    answers: lru::LruCache<Box<[u8]>, Remembered<O>, S>,
    bytes: usize,
    evictions: u64,
}

impl<O> LruCache<O> {
    /// A cache for so many answers, at least one.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self::bounded(entries, usize::MAX)
    }

    /// A cache for so many answers, at least one, that take so many bytes together at most. A larger answer is not kept.
    #[must_use]
    pub fn bounded(entries: usize, max_bytes: usize) -> Self {
        Self::with_hasher(entries, max_bytes, RandomState::default())
    }
}

impl<O, S: BuildHasher> LruCache<O, S> {
    fn with_hasher(entries: usize, max_bytes: usize, hasher: S) -> Self {
        let entries = NonZero::new(entries).unwrap_or(NonZero::<usize>::MIN);
        // Room is made for answers as they come, not for all that may come.
        let mut answers = lru::LruCache::unbounded_with_hasher(hasher);
        answers.resize(entries);
        Self { held: Mutex::new(Held { answers, bytes: 0, evictions: 0 }), max_bytes }
    }
}

impl<O, S: BuildHasher> Debug for LruCache<O, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let held = self.held.lock();
        write!(
            f,
            "LruCache({} of {}, {} bytes)",
            held.answers.len(),
            held.answers.cap(),
            held.bytes
        )
    }
}

impl<O: Clone + Send + Sync, S: BuildHasher + Send> PredictionCache<O> for LruCache<O, S> {
    fn get(&self, key: &[u8]) -> Option<Remembered<O>> {
        self.held.lock().answers.get(key).cloned()
    }

    fn insert(&self, key: Box<[u8]>, answer: Remembered<O>) {
        if answer.bytes > self.max_bytes {
            return;
        }
        let held = &mut *self.held.lock();
        held.bytes += answer.bytes;
        let is_known = held.answers.contains(&key);
        if let Some((_, gone)) = held.answers.push(key, answer) {
            held.bytes -= gone.bytes;
            held.evictions += u64::from(!is_known);
        }
        while held.bytes > self.max_bytes {
            let Some((_, gone)) = held.answers.pop_lru() else { break };
            held.bytes -= gone.bytes;
            held.evictions += 1;
        }
    }

    fn remove(&self, key: &[u8]) {
        let held = &mut *self.held.lock();
        if let Some(gone) = held.answers.pop(key) {
            held.bytes -= gone.bytes;
        }
    }

    fn clear(&self) {
        let held = &mut *self.held.lock();
        held.answers.clear();
        held.bytes = 0;
    }

    fn evictions(&self) -> u64 {
        self.held.lock().evictions
    }

    fn len(&self) -> usize {
        self.held.lock().answers.len()
    }
}

/// Forgets what was used neither often nor lately when it is full (S3-FIFO, by the quick_cache library): on skewed traffic it keeps more of
/// what will be asked again than [`LruCache`], and readers do not wait for each other.
///
/// A bound in bytes is divided among at most 16 parts of at least 64 KiB, and an answer is kept in one of them: one that takes more than 97 % of a
/// part is not kept.
pub struct QuickCache<O, S = RandomState> {
    answers: quick_cache::sync::Cache<Key, Remembered<O>, Weight, S, Evictions>,
    weight: Weight,
    /// What an answer may weigh.
    most_weight: u64,
    evictions: Arc<AtomicU64>,
}

/// A key that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key(Box<[u8]>);

/// A key that is looked for, and belongs to somebody else.
struct Sought<'a>(&'a [u8]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Sought(&self.0).hash(state);
    }
}

impl Hash for Sought<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It is all that is hashed, so its length need not be told from what comes behind it.
        state.write(self.0);
    }
}

impl quick_cache::Equivalent<Key> for Sought<'_> {
    #[inline]
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == &*key.0
    }
}

/// What an answer without a bound in bytes weighs; one that takes more than its share of the bytes weighs more.
const UNIT: u64 = 1_024;

/// The share of a part for answers that were asked for again: no answer may weigh more.
const HOT: f64 = 0.97;

/// Weighs an answer by the bound that it uses up sooner.
#[derive(Debug, Clone)]
struct Weight {
    /// How many bytes an answer of weight [`UNIT`] has.
    share: f64,
}

impl Weight {
    fn of<O>(&self, answer: &Remembered<O>) -> u64 {
        let by_bytes = answer.bytes as f64 / self.share * UNIT as f64;
        (by_bytes.ceil() as u64).max(UNIT)
    }
}

impl<O> quick_cache::Weighter<Key, Remembered<O>> for Weight {
    fn weight(&self, _: &Key, answer: &Remembered<O>) -> u64 {
        self.of(answer)
    }
}

/// Counts what is forgotten.
#[derive(Debug, Clone)]
struct Evictions(Arc<AtomicU64>);

impl<O> quick_cache::Lifecycle<Key, Remembered<O>> for Evictions {
    type RequestState = ();

    fn begin_request(&self) {}

    // Unlike `on_evict`, it does not hear of an answer that takes the place of another to the same key.
    fn before_evict(&self, (): &mut (), _: &Key, _: &mut Remembered<O>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn on_evict(&self, (): &mut (), _: Key, _: Remembered<O>) {}
}

impl<O: Clone> QuickCache<O> {
    /// A cache for about so many answers.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self::bounded(entries, usize::MAX)
    }

    /// A cache for about so many answers that take so many bytes together at most. One that takes more than 97 % of a part of the bytes (see
    /// [`QuickCache`]) is not kept.
    #[must_use]
    pub fn bounded(entries: usize, max_bytes: usize) -> Self {
        Self::with_hasher(entries, max_bytes, RandomState::default())
    }
}

impl<O: Clone, S: BuildHasher + Clone> QuickCache<O, S> {
    fn with_hasher(entries: usize, max_bytes: usize, hasher: S) -> Self {
        // The bytes hold no more than these.
        let entries = entries.clamp(1, max_bytes / size_of::<Remembered<O>>() + 1);
        let weight = Weight { share: (max_bytes.max(1) as f64) / entries as f64 };
        let evictions = Arc::new(AtomicU64::new(0));
        // Weights are added up, and must not overflow.
        let capacity = (entries as u64).saturating_mul(UNIT).min(u64::MAX / 4);
        let answers = quick_cache::sync::Cache::with_options(
            quick_cache::OptionsBuilder::new()
                .estimated_items_capacity(entries)
                .weight_capacity(capacity)
                .hot_allocation(HOT)
                .shards(parts(max_bytes))
                .build()
                .expect("both capacities are given"),
            weight.clone(),
            hasher,
            Evictions(Arc::clone(&evictions)),
        );
        let most_weight = (answers.shard_capacity() as f64 * HOT) as u64;
        Self { answers, weight, most_weight, evictions }
    }
}

/// How many parts there are, each with a lock of its own: a few for each core, but an answer has to fit into one of them.
fn parts(max_bytes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let fitting = if max_bytes == usize::MAX { usize::MAX } else { (max_bytes >> 16).clamp(1, 16) };
    // The library rounds up to a power of two.
    (4 * cores).min(1 << fitting.ilog2())
}

impl<O: Clone, S: BuildHasher + Clone> Debug for QuickCache<O, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuickCache({} of {})", self.answers.len(), self.answers.capacity() / UNIT)
    }
}

impl<O, S> PredictionCache<O> for QuickCache<O, S>
where
    O: Clone + Send + Sync,
    S: BuildHasher + Clone + Send + Sync,
{
    fn get(&self, key: &[u8]) -> Option<Remembered<O>> {
        self.answers.get(&Sought(key))
    }

    fn insert(&self, key: Box<[u8]>, answer: Remembered<O>) {
        if self.weight.of(&answer) > self.most_weight {
            // Not even instead of an earlier one.
            return self.remove(&key);
        }
        self.answers.insert(Key(key), answer);
    }

    fn remove(&self, key: &[u8]) {
        self.answers.remove(&Sought(key));
    }

    fn clear(&self) {
        self.answers.clear();
    }

    fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn len(&self) -> usize {
        self.answers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(output: u8) -> Remembered<u8> {
        Remembered { output, replica: 0, expires: None, bytes: 64 }
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

    /// The share of requests that a cache remembers when so many keys are asked for by Zipf's law with exponent 0.9.
    fn hit_ratio(cache: &dyn PredictionCache<u8>, keys: u32) -> f64 {
        let mut shares: Vec<f64> = (1..=keys).map(|rank| f64::from(rank).powf(-0.9)).collect();
        for place in 1..shares.len() {
            shares[place] += shares[place - 1];
        }
        let total = shares[shares.len() - 1];
        let mut random = mlp_core::random::stream(1, 0);
        let mut ask = || {
            let drawn = mlp_core::random::uniform(&mut random) * total;
            let key = shares.partition_point(|share| *share < drawn).to_le_bytes();
            let is_hit = cache.get(&key).is_some();
            if !is_hit {
                cache.insert(Box::from(&key[..]), remembered(0));
            }
            is_hit
        };
        // What an empty cache misses does not count.
        let _ = (0..300_000).filter(|_| ask()).count();
        (0..300_000).filter(|_| ask()).count() as f64 / 300_000.0
    }

    #[test]
    fn the_default_policy_remembers_more_of_skewed_traffic_than_lru() {
        let (quick, lru) = (
            hit_ratio(&QuickCache::new(1_000), 100_000),
            hit_ratio(&LruCache::new(1_000), 100_000),
        );
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
            assert!((9_000..=9_999).contains(&cache.evictions()), "{}", cache.evictions());
            cache.clear();
            assert!(cache.is_empty());
        }
    }

    #[test]
    fn a_bound_in_bytes_is_kept_and_an_answer_beyond_it_is_not_remembered() {
        let caches: [Box<dyn PredictionCache<u8>>; 2] = [
            Box::new(QuickCache::bounded(10_000, 64_000)),
            Box::new(LruCache::bounded(10_000, 64_000)),
        ];
        for cache in caches {
            for key in 0..5_000_u32 {
                cache.insert(Box::from(&key.to_le_bytes()[..]), remembered(0));
            }
            assert!((500..=1_000).contains(&cache.len()), "{cache:?}");
            let large = Remembered { bytes: 100_000, ..remembered(1) };
            cache.insert(Box::from(&b"large"[..]), large);
            assert_eq!(cache.get(b"large"), None, "{cache:?}");
            cache.insert(Box::from(&b"small"[..]), remembered(1));
            cache.remove(b"small");
            assert_eq!(cache.get(b"small"), None, "{cache:?}");
        }
    }

    /// Inserts so many answers under keys of their own.
    fn fill(cache: &dyn PredictionCache<u8>, answers: u32) {
        for key in 0..answers {
            cache.insert(Box::from(&key.to_le_bytes()[..]), remembered(0));
        }
    }

    #[test]
    fn a_cache_for_any_number_of_answers_takes_them_all_and_is_bounded_by_its_bytes() {
        let caches: [Box<dyn PredictionCache<u8>>; 2] =
            [Box::new(QuickCache::new(usize::MAX)), Box::new(LruCache::new(usize::MAX))];
        for cache in caches {
            fill(&*cache, 1_000);
            assert_eq!((cache.len(), cache.evictions()), (1_000, 0), "{cache:?}");
        }
        let caches: [Box<dyn PredictionCache<u8>>; 2] = [
            Box::new(QuickCache::bounded(usize::MAX, 64_000)),
            Box::new(LruCache::bounded(usize::MAX, 64_000)),
        ];
        for cache in caches {
            fill(&*cache, 5_000);
            assert!((500..=1_000).contains(&cache.len()), "{cache:?}");
        }
    }

    #[test]
    fn an_answer_of_a_sixteenth_of_the_bytes_is_remembered() {
        for max_bytes in [10_000, 64_000, 1 << 20, 64 << 20] {
            let caches: [Box<dyn PredictionCache<u8>>; 2] = [
                Box::new(QuickCache::bounded(1_000_000, max_bytes)),
                Box::new(LruCache::bounded(1_000_000, max_bytes)),
            ];
            for cache in caches {
                let bytes = (max_bytes / 17).max(max_bytes.min(64_000) / 10 * 9);
                cache.insert(Box::from(&b"large"[..]), Remembered { bytes, ..remembered(1) });
                assert!(cache.get(b"large").is_some(), "{bytes} of {max_bytes}: {cache:?}");
            }
        }
    }

    #[test]
    fn only_what_makes_room_for_another_counts_as_evicted() {
        let caches: [Box<dyn PredictionCache<u8>>; 2] =
            [Box::new(QuickCache::bounded(10, 64_000)), Box::new(LruCache::bounded(10, 64_000))];
        for cache in caches {
            for output in 0..5 {
                cache.insert(Box::from(&b"again"[..]), remembered(output));
            }
            cache.insert(Box::from(&b"large"[..]), Remembered { bytes: 100_000, ..remembered(1) });
            cache.remove(b"again");
            assert_eq!((cache.len(), cache.evictions()), (0, 0), "{cache:?}");
            fill(&*cache, 100);
            assert_eq!(cache.evictions(), 100 - cache.len() as u64, "{cache:?}");
        }
    }

    /// All keys have one of two hashes.
    #[derive(Debug, Clone, Default)]
    struct OneBit(u64);

    impl std::hash::Hasher for OneBit {
        fn finish(&self) -> u64 {
            self.0 & 1
        }

        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |hash, byte| hash.wrapping_add(u64::from(*byte)));
        }
    }

    proptest::proptest! {
        #[test]
        fn keys_with_the_same_hash_are_still_two_keys(
            keys in proptest::collection::vec(proptest::collection::vec(0..3_u8, 0..5), 1..60)
        ) {
            let hasher = std::hash::BuildHasherDefault::<OneBit>::default;
            let caches: [Box<dyn PredictionCache<Vec<u8>>>; 2] = [
                Box::new(QuickCache::with_hasher(100, usize::MAX, hasher())),
                Box::new(LruCache::with_hasher(100, usize::MAX, hasher())),
            ];
            for cache in caches {
                for key in &keys {
                    if let Some(found) = cache.get(key) {
                        proptest::prop_assert_eq!(&found.output, key);
                    }
                    let answer =
                        Remembered { output: key.clone(), replica: 0, expires: None, bytes: 64 };
                    cache.insert(Box::from(&key[..]), answer);
                    proptest::prop_assert_eq!(&cache.get(key).unwrap().output, key);
                }
            }
        }
    }

    #[test]
    fn of_skewed_traffic_a_hundredth_of_the_keys_is_nearly_half_of_the_requests() {
        let ratio = hit_ratio(&QuickCache::new(10_000), 1_000_000);
        assert!(ratio >= 0.45, "{ratio}");
    }
}
