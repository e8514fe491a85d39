//! How a server is set up.

use std::num::NonZero;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ServeError;

/// How a server works: replicas, queue, batches, cache. Spans are written as seconds.
///
/// ```
/// let options: mlp_serve::ServeOptions = serde_json::from_str(r#"{ "replicas": 4, "batch_delay": 0.0005 }"#)?;
/// assert_eq!(options.batch_delay.as_micros(), 500);
/// assert!(serde_json::from_str::<mlp_serve::ServeOptions>(r#"{ "replica": 4 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The name of the model, by which its numbers are told from those of other servers. Default: empty.
    pub model: String,
    /// Replicas of each version, 1 to 1,024. Default: one a core, since a prediction is arithmetic and more would only take turns.
    pub replicas: usize,
    /// How many rows may wait for a version before requests are refused, from 1: those that wait, not those that run. As many requests again may wait for
    /// an identical one, if answers are remembered. Default: 1,024, which even a model of a millisecond a row
    /// on two replicas works off in half a second; a longer queue only makes every answer late.
    pub queue_rows: usize,
    /// How many requests may wait or run for a version before further ones are refused, from 1. Default: any number, since what waits is bounded
    /// in rows.
    pub max_in_flight: Option<usize>,
    /// One of how many predictions the log hears of, from 1: chosen by identity, so that all versions that saw a request are heard or
    /// none. Default: 1, all of them.
    pub log_one_in: u64,
    /// The most rows of one batch, from 1. Default: 64, beyond which tabular models gain little from a larger batch.
    pub max_batch_rows: usize,
    /// How long a batch waits for more rows, and only if recent traffic shows that more callers can arrive. Default: 0: whatever waits is
    /// taken as soon as a replica is free, which batches under load and taxes no lone request.
    #[serde(with = "seconds")]
    pub batch_delay: Duration,
    /// A call that is expected to cost less than this is run by its caller when a replica is idle, because waking another thread twice
    /// costs more than it saves. 0: never. Default: 200 µs. A call in the caller's own thread cannot be left at its deadline, so a request with one is run
    /// by its caller only if the call is expected to take at most a quarter of its time; one that takes longer than expected is late by that much, and is
    /// told so.
    #[serde(with = "seconds")]
    pub inline_below: Duration,
    /// How long a batch should take at most: batches hold only as many rows as do, by what calls have cost so far. Default: any time.
    #[serde(with = "optional_seconds")]
    pub latency_target: Option<Duration>,
    /// After how many batches in a row that came to nothing but failures a replica is checked on the warm-up inputs, and built anew if it fails
    /// those too, or if there are none. Give warm-up inputs, so that bad inputs are not taken for a bad replica. 0: never. Default: 16.
    pub restart_after: u32,
    /// After how long a call of the model counts as stuck: the callers of its batch are told, and another replica and thread take the place of the one
    /// that does not come back, for as many as there are replicas. Each call for a batch that is halved has as long. No caller runs the model itself
    /// then. Default: never.
    #[serde(with = "optional_seconds")]
    pub stuck_after: Option<Duration>,
    /// Which share of its replicas must be well for a version to be ready, above 0 and at most 1. Default: 0.5.
    pub quorum: f64,
    /// How many answers each version remembers, any number, and room is taken only for those that are there; 0: none. Default: 0, since a look-up costs
    /// as much as many a model: about 0.1 µs with the making of its key, which each request pays and each hit earns back. A cache pays off where the
    /// cost of the model times the share of hits is more than that: at one hit in ten from about 1 µs a row.
    pub cache_entries: usize,
    /// How many bytes the remembered answers of a version may take, with their keys, about. One of more than 97 % of a sixteenth of them may not be
    /// remembered
    /// (see [`QuickCache`](crate::QuickCache)). Default: any number.
    pub cache_bytes: Option<usize>,
    /// Which answers make room for new ones. Default: those that are asked for seldom, which keeps more of what will be asked again.
    pub cache_policy: CachePolicy,
    /// How long a remembered answer is valid. Default: as long as its version.
    #[serde(with = "optional_seconds")]
    pub cache_ttl: Option<Duration>,
    /// The time a request has if it names none. Default: any.
    #[serde(with = "optional_seconds")]
    pub timeout: Option<Duration>,
    /// How many copies of requests may wait for a shadow; further ones are left out and counted. Default: 1,024.
    pub shadow_queue_rows: usize,
    /// How many versions the server holds at once, from 1. Default: 8: the active one, a few that stand ready, and shadows.
    pub max_versions: usize,
    /// How long dropping the server waits for what it has accepted. Default: 30 s.
    #[serde(with = "seconds")]
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            model: String::new(),
            replicas: std::thread::available_parallelism()
                .map_or(1, NonZero::get)
                .min(MAX_REPLICAS),
            queue_rows: 1_024,
            max_in_flight: None,
            log_one_in: 1,
            max_batch_rows: 64,
            batch_delay: Duration::ZERO,
            inline_below: Duration::from_micros(200),
            latency_target: None,
            restart_after: 16,
            stuck_after: None,
            quorum: 0.5,
            cache_entries: 0,
            cache_bytes: None,
            cache_policy: CachePolicy::default(),
            cache_ttl: None,
            timeout: None,
            shadow_queue_rows: 1_024,
            max_versions: 8,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Which remembered answers make room for new ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CachePolicy {
    /// Those asked for seldom or long ago ([`QuickCache`](crate::QuickCache)).
    #[default]
    Quick,
    /// The one asked for the longest ago ([`LruCache`](crate::LruCache)).
    LeastRecentlyUsed,
}

/// The most replicas of a version: each is a thread.
pub(crate) const MAX_REPLICAS: usize = 1_024;

macro_rules! with {
    ($($(#[$doc:meta])* $name:ident: $field:ident, $type:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )*};
}

impl ServeOptions {
    with! {
        /// Sets the name of the model.
        with_model: model, String;
        /// Sets the number of replicas of each version.
        with_replicas: replicas, usize;
        /// Sets how many rows may wait for a version.
        with_queue_rows: queue_rows, usize;
        /// Sets how many requests may wait or run for a version.
        with_max_in_flight: max_in_flight, Option<usize>;
        /// Sets one of how many predictions the log hears of.
        with_log_one_in: log_one_in, u64;
        /// Sets the most rows of one batch.
        with_max_batch_rows: max_batch_rows, usize;
        /// Sets how long a batch waits for more rows.
        with_batch_delay: batch_delay, Duration;
        /// Sets the cost below which a caller runs the model itself.
        with_inline_below: inline_below, Duration;
        /// Sets how long a batch should take at most.
        with_latency_target: latency_target, Option<Duration>;
        /// Sets after how many failed batches in a row a replica is checked and built anew.
        with_restart_after: restart_after, u32;
        /// Sets after how long a call of the model counts as stuck.
        with_stuck_after: stuck_after, Option<Duration>;
        /// Sets which share of the replicas must be well.
        with_quorum: quorum, f64;
        /// Sets how many answers each version remembers.
        with_cache_entries: cache_entries, usize;
        /// Sets how many bytes the remembered answers of a version may take.
        with_cache_bytes: cache_bytes, Option<usize>;
        /// Sets which answers make room for new ones.
        with_cache_policy: cache_policy, CachePolicy;
        /// Sets how long a remembered answer is valid.
        with_cache_ttl: cache_ttl, Option<Duration>;
        /// Sets the time a request has if it names none.
        with_timeout: timeout, Option<Duration>;
        /// Sets how many copies of requests may wait for a shadow.
        with_shadow_queue_rows: shadow_queue_rows, usize;
        /// Sets how many versions the server holds at once.
        with_max_versions: max_versions, usize;
        /// Sets how long dropping the server waits for what it has accepted.
        with_drain_timeout: drain_timeout, Duration;
    }

    /// Refuses options out of their range.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        let range = |option, given: usize, most: usize, allowed| {
            if (1..=most).contains(&given) {
                return Ok(());
            }
            Err(ServeError::InvalidOption { option, given: given.to_string(), allowed })
        };
        range("replicas", self.replicas, MAX_REPLICAS, "1 to 1,024")?;
        range("queue_rows", self.queue_rows, usize::MAX, "1 or more")?;
        range("max_batch_rows", self.max_batch_rows, usize::MAX, "1 or more")?;
        range("max_versions", self.max_versions, usize::MAX, "1 or more")?;
        range("max_in_flight", self.max_in_flight.unwrap_or(1), usize::MAX, "1 or more, or none")?;
        range("log_one_in", self.log_one_in.min(1) as usize, 1, "1 or more")?;
        let option = |option, given: String, allowed| {
            Err(ServeError::InvalidOption { option, given, allowed })
        };
        if !(self.quorum > 0.0 && self.quorum <= 1.0) {
            return option("quorum", self.quorum.to_string(), "above 0 and at most 1");
        }
        for (name, span) in
            [("stuck_after", self.stuck_after), ("latency_target", self.latency_target)]
        {
            if span.is_some_and(|span| span.is_zero()) {
                return option(name, "0".to_owned(), "above 0, or none");
            }
        }
        Ok(())
    }
}

mod seconds {
    use super::Duration;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(span.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod optional_seconds {
    use super::Duration;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        span.map(|span| span.as_secs_f64()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds: Option<f64> = Option::deserialize(from)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_read_back_what_they_write() {
        let options = ServeOptions::default()
            .with_timeout(Some(Duration::from_millis(1_500)))
            .with_batch_delay(Duration::from_micros(250));
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<ServeOptions>(&text).unwrap(), options);
        assert!(serde_json::from_str::<ServeOptions>(r#"{ "batch_delay": -1 }"#).is_err());
    }

    #[test]
    fn options_out_of_range_are_refused_by_name() {
        let refused = |options: ServeOptions| options.check().unwrap_err().to_string();
        assert_eq!(
            refused(ServeOptions::default().with_replicas(0)),
            "option replicas is 0, allowed is 1 to 1,024"
        );
        assert!(refused(ServeOptions::default().with_max_batch_rows(0)).contains("max_batch_rows"));
        assert!(ServeOptions::default().check().is_ok());
    }
}
