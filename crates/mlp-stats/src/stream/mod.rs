//! Detectors of change in a stream, one value at a time.

mod adwin;
mod ddm;
mod eddm;
mod hddm_a;
mod hddm_w;
mod kswin;
mod page_hinkley;
mod running;

pub use adwin::{Adwin, AdwinConfig, AfterDrift};
pub use ddm::{Ddm, DdmConfig};
pub use eddm::{Eddm, EddmConfig};
pub use hddm_a::{HddmA, HddmAConfig};
pub use hddm_w::{HddmW, HddmWConfig};
pub use kswin::{Kswin, KswinConfig};
pub use page_hinkley::{PageHinkley, PageHinkleyConfig, PageHinkleyMode};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::error::StatsError;

/// What a detector says after a value.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DriftSignal {
    /// Nothing has changed.
    #[default]
    Stable,
    /// Something may be about to change.
    Warning,
    /// The stream has changed. The detector begins anew with the next value.
    Drift,
}

/// A detector of change: takes the values of a stream one by one, in constant or logarithmic memory.
///
/// Its state is serialisable: stored and read back it goes on to the last bit. Detectors of errors ([`Ddm`], [`Eddm`], [`HddmA`],
/// [`HddmW`]) take 0 for a right prediction and 1 for a wrong one.
///
/// ```
/// use mlp_stats::{Adwin, AdwinConfig, Ddm, DdmConfig, DriftDetector, DriftSignal};
///
/// let mut detectors: Vec<Box<dyn DriftDetector>> =
///     vec![Box::new(Adwin::new(AdwinConfig::default())?), Box::new(Ddm::new(DdmConfig::default())?)];
/// for detector in &mut detectors {
///     let found = (0..2_000).find(|i| {
///         let is_wrong = if *i < 1_000 { i % 10 == 0 } else { i % 2 == 0 };
///         detector.update(f64::from(u8::from(is_wrong))) == Ok(DriftSignal::Drift)
///     });
///     assert!(found.is_some_and(|i| (1_000..1_200).contains(&i)));
/// }
/// # Ok::<(), mlp_stats::StatsError>(())
/// ```
pub trait DriftDetector: std::fmt::Debug + Send {
    /// Takes the next value.
    ///
    /// # Errors
    /// If the value is NaN or beyond 1e140 in magnitude, whose squares could not be added up, or not 0 or 1 where those are wanted. The state is then as before.
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError>;

    /// Forgets all values.
    fn reset(&mut self);
}

impl<D: DriftDetector + ?Sized> DriftDetector for Box<D> {
    fn update(&mut self, value: f64) -> Result<DriftSignal, StatsError> {
        (**self).update(value)
    }

    fn reset(&mut self) {
        (**self).reset();
    }
}

/// How a detector is set, which its constructor and whoever reads a stored one checks alike.
trait Config {
    fn check(&self) -> Result<(), StatsError>;
}

/// Reads the configuration of a stored detector.
fn checked<'de, D: Deserializer<'de>, C: Config + Deserialize<'de>>(
    deserializer: D,
) -> Result<C, D::Error> {
    let config = C::deserialize(deserializer)?;
    config.check().map_err(D::Error::custom)?;
    Ok(config)
}

/// Detectors of errors take booleans at heart; this is their door for numbers.
fn as_error(value: f64) -> Result<bool, StatsError> {
    if value == 0.0 || value == 1.0 {
        return Ok(value == 1.0);
    }
    Err(StatsError::Parameter { name: "value", value, allowed: "0 or 1" })
}

fn finite(value: f64) -> Result<f64, StatsError> {
    let allowed = value.abs() <= crate::check::LARGEST;
    crate::check::parameter("value", value, "from -1e140 to 1e140", allowed).map(|()| value)
}

/// Drift before warning before neither.
fn signal(is_drift: bool, is_warning: bool) -> DriftSignal {
    match (is_drift, is_warning) {
        (true, _) => DriftSignal::Drift,
        (false, true) => DriftSignal::Warning,
        (false, false) => DriftSignal::Stable,
    }
}
