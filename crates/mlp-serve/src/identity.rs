//! Identities and numbers of requests, made without asking the operating system for randomness each time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlp_core::PredictionId;
use uuid::Uuid;

use crate::time::Time;

const COUNTER_BITS: u32 = 26;
const NONCE_BITS: u32 = 48;

/// Makes UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then 26 bits of a counter, then 48 bits drawn once.
///
/// Two of one source differ unless it makes 33 million within a millisecond; two of different sources differ by the drawn bits.
#[derive(Debug)]
pub(crate) struct Identities {
    /// Of the requests that bring no number.
    counted: AtomicU64,
    /// Of those that do.
    numbered: AtomicU64,
    nonce: u64,
    /// Wall time less monotonic time when the source was made, in milliseconds.
    offset_ms: u64,
}

impl Identities {
    pub(crate) fn new(time: &Time) -> Self {
        let wall_ms = u64::try_from(time.now().as_micros() / 1_000).unwrap_or(0);
        Self {
            counted: AtomicU64::new(0),
            numbered: AtomicU64::new(0),
            nonce: PredictionId::generate().as_uuid().as_u64_pair().1 & ((1 << NONCE_BITS) - 1),
            offset_ms: wall_ms.saturating_sub(time.monotonic().as_millis() as u64),
        }
    }

    /// The next identity, at a moment of monotonic time, and the number of the request: the one it brings, or how many before it brought none.
    #[inline]
    pub(crate) fn next(&self, monotonic: Duration, brought: Option<u64>) -> (PredictionId, u64) {
        // Even and odd ones do not meet.
        let (counter, sequence) = match brought {
            None => {
                let number = self.counted.fetch_add(1, Ordering::Relaxed);
                (number << 1, number)
            }
            Some(brought) => (self.numbered.fetch_add(1, Ordering::Relaxed) << 1 | 1, brought),
        };
        (self.id(monotonic, counter & ((1 << COUNTER_BITS) - 1)), sequence)
    }

    /// The number that the next request without one will get.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.counted.load(Ordering::Relaxed)
    }

    #[inline]
    fn id(&self, monotonic: Duration, counter: u64) -> PredictionId {
        let millis = self.offset_ms.saturating_add(monotonic.as_millis() as u64) & ((1 << 48) - 1);
        // 12 bits of the counter stand before the variant, 14 behind it.
        let high = millis << 16 | 0x7 << 12 | counter >> 14;
        let low = 0b10 << 62 | (counter & 0x3fff) << NONCE_BITS | self.nonce;
        Uuid::from_u64_pair(high, low).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlp_core::SystemClock;
    use std::collections::HashSet;

    #[test]
    fn identities_are_valid_ordered_and_never_repeat() {
        let source = Identities::new(&Time::System(SystemClock::new()));
        let next = |brought| source.next(Duration::from_millis(5), brought).0;
        let mut ids: Vec<_> = (0..100_000).map(|_| next(None)).collect();
        assert!(ids.is_sorted());
        ids.extend((0..100_000).map(|number| next(Some(number))));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        let uuid = ids[7].as_uuid();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
    }

    #[test]
    fn two_sources_never_agree() {
        let time = Time::System(SystemClock::new());
        let (one, other) = (Identities::new(&time), Identities::new(&time));
        assert_ne!(one.next(Duration::ZERO, None), other.next(Duration::ZERO, None));
    }
}
