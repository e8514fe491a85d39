//! Feature flags: which units get something new, by attributes and by a sticky percentage.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The seed by which Unleash draws variants, different from that of the percentage so that the two draws are independent.
const VARIANT_SEED: u32 = 86_028_157;
/// The most rules of a flag.
pub const MAX_RULES: usize = 64;
/// The most bytes of a flag's group, attributes and values together.
pub const MAX_FLAG_BYTES: usize = 65_536;

/// MurmurHash3 in its 32-bit variant for x86 (Austin Appleby, public domain), of the pieces as if they stood in one text.
#[must_use]
pub fn murmur3_32(pieces: &[&str], seed: u32) -> u32 {
    let mut hash = seed;
    let mut block = 0_u32;
    let mut length = 0_u32;
    for byte in pieces.iter().flat_map(|piece| piece.bytes()) {
        block |= u32::from(byte) << (8 * (length % 4));
        length = length.wrapping_add(1);
        if length.is_multiple_of(4) {
            hash =
                (hash ^ scrambled(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
            block = 0;
        }
    }
    hash ^= scrambled(block);
    hash ^= length;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn scrambled(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

/// The bucket of a unit within a group, from 1 to 100: it is enabled at every percentage from its bucket on, as in Unleash.
#[must_use]
pub fn bucket(group: &str, unit: &str) -> u32 {
    murmur3_32(&[group, ":", unit], 0) % 100 + 1
}

/// The bucket by which a unit gets a variant, from 1 to 1,000, as in Unleash.
#[must_use]
pub fn variant_bucket(group: &str, unit: &str) -> u32 {
    murmur3_32(&[group, ":", unit], VARIANT_SEED) % 1_000 + 1
}

/// What must hold of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// The attribute is there and has one of these values.
    OneOf {
        /// Its name.
        attribute: String,
        /// The values.
        values: BTreeSet<String>,
    },
    /// The attribute is missing, or has none of these values.
    NoneOf {
        /// Its name.
        attribute: String,
        /// The values.
        values: BTreeSet<String>,
    },
}

impl Rule {
    fn parts(&self) -> (&str, &BTreeSet<String>) {
        let (Self::OneOf { attribute, values } | Self::NoneOf { attribute, values }) = self;
        (attribute, values)
    }

    fn bytes(&self) -> usize {
        let (attribute, values) = self.parts();
        attribute.len() + values.iter().map(String::len).sum::<usize>()
    }

    fn holds(&self, attributes: &[(&str, &str)]) -> bool {
        let (attribute, values) = self.parts();
        let value = attributes.iter().find(|(name, _)| *name == attribute).map(|(_, value)| *value);
        let is_among = value.is_some_and(|value| values.contains(value));
        is_among == matches!(self, Self::OneOf { .. })
    }
}

/// A flag: on for the units that its rules let through and whose bucket lies within its percentage.
///
/// A unit keeps its bucket: raising the percentage never takes the flag from anyone who had it. On its own a flag answers yes or no; given
/// to [`Deployment::start_flag`](crate::Deployment::start_flag) it chooses who gets a version.
///
/// ```
/// use mlp_rollback::{Flag, Rule};
///
/// let flag = Flag::new("fraud-model", 25)?
///     .with_rule(Rule::OneOf { attribute: "country".into(), values: ["NL".into()].into() })?;
/// assert!(flag.is_on("1", &[("country", "NL")])); // bucket 18
/// assert!(!flag.is_on("42", &[("country", "NL")])); // bucket 40
/// assert!(!flag.is_on("1", &[("country", "DE")]));
/// # Ok::<(), mlp_rollback::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FlagParts", into = "FlagParts")]
pub struct Flag {
    parts: FlagParts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlagParts {
    group: String,
    percent: u32,
    #[serde(default)]
    rules: Vec<Rule>,
}

impl Flag {
    /// A flag for a percentage of a group's units, from 0 to 100. Flags of one group and percentage are on for the same units.
    ///
    /// # Errors
    /// If the percentage is above 100, or the group is longer than 65,536 bytes.
    pub fn new(group: impl Into<String>, percent: u32) -> Result<Self> {
        FlagParts { group: group.into(), percent, rules: Vec::new() }.try_into()
    }

    /// Asks something of an attribute; all rules must hold.
    ///
    /// # Errors
    /// If the flag has 64 rules already, or more than 65,536 bytes of text.
    pub fn with_rule(mut self, rule: Rule) -> Result<Self> {
        self.parts.rules.push(rule);
        self.parts.try_into()
    }

    /// The same flag at another percentage.
    ///
    /// # Errors
    /// If the percentage is above 100.
    pub fn at_percent(mut self, percent: u32) -> Result<Self> {
        self.parts.percent = percent;
        self.parts.try_into()
    }

    /// The percentage.
    #[must_use]
    pub fn percent(&self) -> u32 {
        self.parts.percent
    }

    /// Whether the flag is on for this unit with these attributes. Allocates nothing.
    #[must_use]
    pub fn is_on(&self, unit: &str, attributes: &[(&str, &str)]) -> bool {
        bucket(&self.parts.group, unit) <= self.parts.percent
            && self.parts.rules.iter().all(|rule| rule.holds(attributes))
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} %", self.parts.group, self.parts.percent)?;
        match self.parts.rules.len() {
            0 => Ok(()),
            1 => f.write_str(" with 1 rule"),
            rules => write!(f, " with {rules} rules"),
        }
    }
}

impl TryFrom<FlagParts> for Flag {
    type Error = Error;

    fn try_from(parts: FlagParts) -> Result<Self> {
        if parts.percent > 100 {
            return Err(Error::ShareOutOfRange { given: f64::from(parts.percent) });
        }
        if parts.rules.len() > MAX_RULES {
            return Err(Error::LimitExceeded { what: "rules of a flag", limit: MAX_RULES });
        }
        let bytes = parts.group.len() + parts.rules.iter().map(Rule::bytes).sum::<usize>();
        if bytes > MAX_FLAG_BYTES {
            return Err(Error::LimitExceeded { what: "bytes of a flag", limit: MAX_FLAG_BYTES });
        }
        Ok(Self { parts })
    }
}

impl From<Flag> for FlagParts {
    fn from(flag: Flag) -> Self {
        flag.parts
    }
}
