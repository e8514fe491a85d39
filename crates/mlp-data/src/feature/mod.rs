//! Features: transforms and sets of features by name and version, the same offline and online.

mod derive;
mod fill;
mod load;
mod persist;
mod set;
mod store;

pub use derive::{DerivedFeatures, Formula};
pub use fill::{Fill, FillMissing, FilledMissing};
pub use load::load_transform;
pub use set::{FeatureSet, FeatureSetSpec};
pub use store::{FeatureStore, VersionedName};
