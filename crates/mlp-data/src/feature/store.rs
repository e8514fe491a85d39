//! The feature store: what a name and a version of a transform or a set of features mean.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mlp_core::{ContentHash, FittedTransformer, StoreError};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use super::set::{FeatureSet, FeatureSetSpec};
use crate::error::{Error, Result};

/// The name and version of a transform or a feature set, written `name@3`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VersionedName {
    /// The name: 1 to 250 characters, none of them `@` or a control character.
    name: String,
    /// The version: 1, 2, 3, … in the order of registration.
    version: u64,
}

impl VersionedName {
    pub(crate) fn new(name: &str, version: u64) -> Result<Self> {
        let length = name.chars().count();
        if !(1..=250).contains(&length) || name.contains('@') || name.chars().any(char::is_control)
        {
            return Err(Error::Invalid {
                what: format!("the name {:?}", crate::error::cut(name)),
                reason: "1 to 250 characters are allowed, none of them @ or a control character"
                    .to_owned(),
            });
        }
        Ok(Self { name: name.to_owned(), version })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version, from 1.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl fmt::Display for VersionedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}@{}", self.name, self.version))
    }
}

impl FromStr for VersionedName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.rsplit_once('@').and_then(|(name, version)| {
            Some((name, version.parse().ok().filter(|version| *version > 0)?))
        });
        match parsed {
            Some((name, version)) => Self::new(name, version),
            None => Err(Error::Invalid {
                what: format!("{:?}", crate::error::cut(text)),
                reason: "a name and a version are needed, such as \"scale@1\"".to_owned(),
            }),
        }
    }
}

impl TryFrom<String> for VersionedName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VersionedName> for String {
    fn from(name: VersionedName) -> Self {
        name.to_string()
    }
}

/// Transforms and feature sets, registered by name and version. A version once given never changes; nothing is ever dropped.
///
/// ```
/// use mlp_data::{DerivedFeatures, FeatureSetSpec, FeatureStore, Formula, Table};
/// use mlp_core::Scratch;
/// use ndarray::array;
/// use std::sync::Arc;
///
/// let store = FeatureStore::new();
/// let ratio = DerivedFeatures::new([("free_share", Formula::ratio("free", "total"))])?;
/// let ratio = store.register_transform("sulfur", Arc::new(ratio))?;
/// let spec = FeatureSetSpec::new(["free", "total"]).with_transform(&ratio).with_features(["free_share", "total"]);
/// let set = store.register_set("wine", spec)?;
/// assert_eq!(set.name().to_string(), "wine@1");
///
/// let table = Table::new(["total", "free"], array![[40.0, 10.0], [50.0, 25.0]])?;
/// let offline = set.compute(&table)?;
/// let mut online = [0.0; 2];
/// set.compute_row(&[25.0, 50.0], &mut online, &mut Scratch::new())?;
/// assert_eq!(offline.features().row(1).to_vec(), online);
/// # Ok::<(), mlp_data::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct FeatureStore {
    inner: RwLock<Registered>,
    /// Held from the look at what is registered until it is on the disk, so that no older state is written over a newer one.
    pub(crate) saving: Mutex<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Registered {
    pub(crate) transforms: BTreeMap<VersionedName, RegisteredTransform>,
    pub(crate) sets: BTreeMap<VersionedName, Arc<FeatureSet>>,
}

#[derive(Debug, Clone)]
pub(crate) struct RegisteredTransform {
    pub(crate) transform: Arc<dyn FittedTransformer>,
    /// The envelope of the transform, with its fitted state.
    pub(crate) bytes: Arc<[u8]>,
    /// That of the bytes.
    pub(crate) hash: ContentHash,
    /// That of the bytes which the same state gives today: older bytes may have its numbers written in another way.
    pub(crate) hash_today: ContentHash,
}

impl RegisteredTransform {
    pub(crate) fn new(transform: Arc<dyn FittedTransformer>) -> Result<Self> {
        let bytes: Arc<[u8]> = transform.save()?.to_bytes().into();
        let hash = hash_of(&bytes);
        Ok(Self { transform, bytes, hash, hash_today: hash })
    }
}

impl FeatureStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn from_registered(registered: Registered) -> Self {
        Self { inner: RwLock::new(registered), saving: Mutex::new(()) }
    }

    pub(crate) fn read<T>(&self, view: impl FnOnce(&Registered) -> T) -> T {
        view(&self.inner.read())
    }

    /// Registers a transform with its fitted state as the next version of the name. The same state as an earlier version gives that
    /// version.
    ///
    /// # Errors
    /// If the name is not allowed, or the transform cannot be saved: what cannot be kept cannot be a version.
    pub fn register_transform(
        &self,
        name: &str,
        transform: Arc<dyn FittedTransformer>,
    ) -> Result<VersionedName> {
        let registered = RegisteredTransform::new(transform)?;
        let mut inner = self.inner.write();
        let mut latest = 0;
        for (key, known) in inner.transforms.iter().filter(|(key, _)| key.name == name) {
            if [known.hash, known.hash_today].contains(&registered.hash) {
                return Ok(key.clone());
            }
            latest = key.version;
        }
        let key = VersionedName::new(name, latest + 1)?;
        inner.transforms.insert(key.clone(), registered);
        Ok(key)
    }

    /// A registered transform.
    ///
    /// # Errors
    /// If there is no such version.
    pub fn transform(&self, name: &VersionedName) -> Result<Arc<dyn FittedTransformer>> {
        self.read(|inner| Ok(Arc::clone(&find(inner, name)?.transform)))
    }

    /// The hash of a registered transform with its state: what a lineage record names.
    ///
    /// # Errors
    /// If there is no such version.
    pub fn transform_hash(&self, name: &VersionedName) -> Result<ContentHash> {
        self.read(|inner| Ok(find(inner, name)?.hash))
    }

    /// Registers a set of features as the next version of the name. The same set as an earlier version gives that version.
    ///
    /// # Errors
    /// If the name is not allowed, a transform is not registered, or a name is taken that neither a raw column nor an earlier transform
    /// gives.
    pub fn register_set(&self, name: &str, spec: FeatureSetSpec) -> Result<Arc<FeatureSet>> {
        let mut inner = self.inner.write();
        let mut latest = 0;
        for (key, known) in inner.sets.iter().filter(|(key, _)| key.name == name) {
            if *known.spec() == spec {
                return Ok(Arc::clone(known));
            }
            latest = key.version;
        }
        let set = Arc::new(build(&inner, VersionedName::new(name, latest + 1)?, spec)?);
        inner.sets.insert(set.name().clone(), Arc::clone(&set));
        Ok(set)
    }

    /// Registers a choice of a set's features, such as the ones that an elimination kept, as the next version of the set.
    ///
    /// # Errors
    /// If there is no such version of the set, or it has no such feature.
    pub fn register_selection<N: AsRef<str>>(
        &self,
        set: &VersionedName,
        features: &[N],
    ) -> Result<Arc<FeatureSet>> {
        let mut spec = self.set(set)?.spec().clone();
        let known = std::mem::take(&mut spec.features);
        for feature in features.iter().map(AsRef::as_ref) {
            if !known.iter().any(|name| name == feature) {
                let known = crate::error::name_some(&known);
                return Err(Error::UnknownColumn { name: feature.to_owned(), known });
            }
            spec.features.push(feature.to_owned());
        }
        self.register_set(set.name(), spec)
    }

    /// A version of a set of features.
    ///
    /// # Errors
    /// If there is no such version.
    pub fn set(&self, name: &VersionedName) -> Result<Arc<FeatureSet>> {
        let set = self.read(|inner| inner.sets.get(name).cloned());
        set.ok_or_else(|| StoreError::not_found("feature set", name).into())
    }

    /// The latest version of a set of features.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn latest_set(&self, name: &str) -> Result<Arc<FeatureSet>> {
        let latest = self.read(|inner| {
            inner.sets.iter().rfind(|(key, _)| key.name == name).map(|(_, set)| Arc::clone(set))
        });
        latest.ok_or_else(|| StoreError::not_found("feature set", name).into())
    }

    /// The transforms there are, in the order of names and versions.
    #[must_use]
    pub fn transforms(&self) -> Vec<VersionedName> {
        self.read(|inner| inner.transforms.keys().cloned().collect())
    }

    /// The sets there are, in the order of names and versions.
    #[must_use]
    pub fn sets(&self) -> Vec<VersionedName> {
        self.read(|inner| inner.sets.keys().cloned().collect())
    }
}

pub(crate) fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn find<'a>(inner: &'a Registered, name: &VersionedName) -> Result<&'a RegisteredTransform> {
    inner.transforms.get(name).ok_or_else(|| StoreError::not_found("transform", name).into())
}

pub(crate) fn build(
    inner: &Registered,
    name: VersionedName,
    spec: FeatureSetSpec,
) -> Result<FeatureSet> {
    let transforms = spec
        .transforms
        .iter()
        .map(|transform| Ok(Arc::clone(&find(inner, transform)?.transform)))
        .collect::<Result<_>>()?;
    FeatureSet::new(name, spec, transforms)
}
