//! What makes two alerts the same one.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use mlp_core::Labels;
use serde::{Deserialize, Serialize};

/// Identifies an alert by its labels: FNV-1a of 64 bits over names and values in order of the names, as Alertmanager computes it.
/// The manager drops labels without a value before, as Alertmanager does.
///
/// ```
/// use mlp_monitor::Fingerprint;
///
/// let labels = [("alertname", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
/// assert_eq!(Fingerprint::of(&labels.into()).to_string(), "d240efc3896bf266");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(u64);

/// Stands after each name and value: a byte that UTF-8 never has.
const SEPARATOR: u8 = 0xff;

impl Fingerprint {
    /// The fingerprint of an alert with these labels.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let bytes = labels.iter().flat_map(|(name, value)| {
            name.bytes().chain([SEPARATOR]).chain(value.bytes()).chain([SEPARATOR])
        });
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

/// Reads what `Display` writes: 16 hexadecimal digits.
impl FromStr for Fingerprint {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:016x}", self.0))
    }
}
