//! Stored sketches, looked through before they are trusted.
//!
//! `DDSketch` reads whatever it is given, and then looks for counters that are not there. So its parts are read and checked here first, and
//! handed on to it as if they came from the store. They get as many counters as there are now: once there were fewer.

use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use sketches_ddsketch::{Config, DDSketch};

use super::quantiles::{LEAST, MOST, config};
use crate::check;
use crate::error::StatsError;

/// What is stored of a sketch, before it is checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) accuracy: f64,
    pub(super) left_out: u64,
    sketch: Option<Parts>,
}

/// What is stored of a `DDSketch`.
#[derive(Deserialize)]
struct Parts {
    config: Mapping,
    store: Store,
    negative_store: Store,
    min: f64,
    max: f64,
    sum: f64,
    zero_count: u64,
}

/// How magnitudes are mapped to counters.
#[derive(Deserialize)]
struct Mapping {
    max_num_bins: u32,
    gamma: f64,
    gamma_ln: f64,
    min_value: f64,
    offset: i32,
}

/// The counters of one sign: that of the magnitude with the key `k` is at `k - offset`.
#[derive(Deserialize)]
struct Store {
    bins: Vec<u64>,
    count: u64,
    min_key: i32,
    max_key: i32,
    offset: i32,
    bin_limit: usize,
    is_collapsed: bool,
}

impl Stored {
    /// The sketch with the counters of now, if there was one and it can be.
    pub(super) fn sketch(self) -> Result<Option<DDSketch>, StatsError> {
        let config = config(self.accuracy);
        let Some(parts) = self.sketch else { return Ok(None) };
        let sketch = DDSketch::deserialize(parts.checked(&config)?);
        let error = StatsError::Unsupported { what: "a sketch of another kind" };
        sketch.map(Some).map_err(|_| error)
    }
}

impl Parts {
    fn checked(self, config: &Config) -> Result<Part, StatsError> {
        let counts = [self.store.count, self.negative_store.count, self.zero_count];
        let count: u128 = counts.into_iter().map(u128::from).sum();
        let allowed = (1..=u128::from(MOST)).contains(&count);
        check::parameter("count", count as f64, "from 1 to 2^63", allowed)?;
        check::within_largest("min and max", &[self.min, self.max])?;
        check::parameter("max", self.max, "at least min", self.max >= self.min)?;
        check::finite("sum", &[self.sum])?;
        Ok(Part::Fields(vec![
            ("config", self.config.checked(config)?),
            ("store", self.store.checked(config)?),
            ("negative_store", self.negative_store.checked(config)?),
            ("min", Part::Real(self.min)),
            ("max", Part::Real(self.max)),
            ("sum", Part::Real(self.sum)),
            ("zero_count", Part::Whole(self.zero_count)),
        ]))
    }
}

impl Mapping {
    fn checked(&self, config: &Config) -> Result<Part, StatsError> {
        // Another machine may have rounded the logarithm otherwise.
        let gamma_ln = config.gamma.ln();
        let fits = self.max_num_bins <= config.max_num_bins
            && self.gamma == config.gamma
            && (self.gamma_ln / gamma_ln - 1.0).abs() < 1e-12
            && (self.min_value, self.offset) == (LEAST, config.offset);
        check::parameter("gamma", self.gamma, "that of the accuracy", fits)?;
        Ok(Part::Fields(vec![
            ("max_num_bins", Part::Whole(config.max_num_bins.into())),
            ("gamma", Part::Real(config.gamma)),
            ("gamma_ln", Part::Real(gamma_ln)),
            ("min_value", Part::Real(LEAST)),
            ("offset", Part::Signed(config.offset)),
        ]))
    }
}

impl Store {
    fn checked(self, config: &Config) -> Result<Part, StatsError> {
        let limit = config.max_num_bins as usize;
        check::limit("counters", self.bins.len().max(self.bin_limit), limit)?;
        let total: u128 = self.bins.iter().copied().map(u128::from).sum();
        let fits = total == u128::from(self.count) && self.has_place(config);
        check::parameter("count", self.count as f64, "the sum of the counters", fits)?;
        Ok(Part::Fields(vec![
            ("bins", Part::Counts(self.bins)),
            ("count", Part::Whole(self.count)),
            ("min_key", Part::Signed(self.min_key)),
            ("max_key", Part::Signed(self.max_key)),
            ("offset", Part::Signed(self.offset)),
            ("bin_limit", Part::Whole(config.max_num_bins.into())),
            // With more counters than before the smallest magnitudes need not be taken together any more.
            ("is_collapsed", Part::Flag(false)),
        ]))
    }

    /// Whether the keys are such as values have, and every counter that counted lies between them.
    fn has_place(&self, config: &Config) -> bool {
        if self.bins.is_empty() {
            return (self.min_key, self.max_key, self.offset) == (i32::MAX, i32::MIN, 0);
        }
        let keys = config.key(LEAST)..=config.key(check::LARGEST);
        let at = |key: i32| usize::try_from(i64::from(key) - i64::from(self.offset)).ok();
        let (Some(first), Some(last)) = (at(self.min_key), at(self.max_key)) else { return false };
        let are_keys = keys.contains(&self.min_key) && keys.contains(&self.max_key);
        let are_places = first <= last && last < self.bins.len();
        let is_full = !self.is_collapsed || self.bins.len() == self.bin_limit;
        let is_outside = |at: usize| at < first || at > last;
        let mut outside = self.bins.iter().enumerate().filter(|(at, _)| is_outside(*at));
        self.count > 0 && are_keys && are_places && is_full && outside.all(|(_, count)| *count == 0)
    }
}

/// A part of a sketch on its way to it.
enum Part {
    Whole(u64),
    Signed(i32),
    Real(f64),
    Flag(bool),
    Counts(Vec<u64>),
    Fields(Vec<(&'static str, Part)>),
}

impl IntoDeserializer<'_> for Part {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Part {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Whole(value) => visitor.visit_u64(value),
            Self::Signed(value) => visitor.visit_i32(value),
            Self::Real(value) => visitor.visit_f64(value),
            Self::Flag(value) => visitor.visit_bool(value),
            Self::Counts(counts) => visitor.visit_seq(SeqDeserializer::new(counts.into_iter())),
            Self::Fields(fields) => visitor.visit_map(MapDeserializer::new(fields.into_iter())),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
