//! Registered models: their versions, numbered and never reused, and the aliases that point at them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::str::FromStr;

use mlp_core::{ModelName, RecordId, StoreError, Timestamp, VersionNumber};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// A name that points at a version, such as `champion`: 1 to 250 letters, digits, `_`, `-` and `.`, and neither `latest` nor `v` with digits.
/// Capital and small letters differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Alias(String);

impl FromStr for Alias {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let length = text.chars().count();
        let reserved = |text: &str| {
            let number = text.strip_prefix(['v', 'V']);
            text.eq_ignore_ascii_case("latest")
                || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        };
        let reason = if length == 0 || length > 250 || !text.chars().all(allowed) {
            "an alias has 1 to 250 letters, digits, `_`, `-` and `.`"
        } else if reserved(text) {
            "`latest` and `v` with digits are reserved"
        } else {
            return Ok(Self(text.to_owned()));
        };
        let shown: String = text.chars().take(80).collect();
        Err(StoreError::invalid(format!("alias {shown:?}"), reason))
    }
}

impl TryFrom<String> for Alias {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether an alias moves freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It does.
    Open,
    /// It moves, and goes, only with a named approver.
    Protected,
}

/// One registered version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelVersion {
    /// The model.
    pub model: ModelName,
    /// Its number.
    pub version: VersionNumber,
    /// The lineage record of how it was made.
    pub record: RecordId,
    /// When it was registered.
    pub registered_at: Timestamp,
}

/// An alias moved, or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasMove {
    /// The alias.
    pub alias: Alias,
    /// Where it pointed.
    pub from: Option<VersionNumber>,
    /// Where it points now.
    pub to: Option<VersionNumber>,
    /// When.
    pub at: Timestamp,
    /// Who approved it.
    pub approver: Option<String>,
}

/// Keeps registered models.
///
/// # Contract
///
/// Each promise is a check in `testing` (feature `testing`).
///
/// * Versions of a model are numbered 1, 2, 3, …; a number is never given again, also after its version was deleted, and concurrent
///   registrations get different ones.
/// * Setting an alias moves it. Deleting a version removes its aliases. Each move is recorded, in order.
/// * A protected alias moves and goes only with a named approver; while it points at a version, that version cannot be deleted.
pub trait ModelRegistry: Debug + Send + Sync {
    /// Registers the next version of a model; the first one registers the model.
    ///
    /// # Errors
    /// As the backend says.
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError>;

    /// Reads one version.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError>;

    /// Reads all versions of a model, in the order of their numbers; none if there is no such model.
    ///
    /// # Errors
    /// As the backend says.
    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError>;

    /// Deletes a version, and with it the aliases that point at it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if a protected alias points at it.
    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Points an alias at a version, or with none removes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such version; [`StoreError::Conflict`] if the alias is protected and nobody is named.
    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Says whether an alias of a model moves freely from now on, also before it is set.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such model.
    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
    ) -> Result<(), StoreError>;

    /// Reads the aliases of a model.
    ///
    /// # Errors
    /// As the backend says.
    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError>;

    /// Reads how the aliases of a model moved, in order.
    ///
    /// # Errors
    /// As the backend says.
    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError>;

    /// Finds a version by an alias, by `latest`, or by `v` with its number.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn resolve(&self, model: &ModelName, name: &str) -> Result<ModelVersion, StoreError> {
        let missing = || StoreError::not_found("model version", format!("{model}@{name}"));
        if name == "latest" {
            return self.versions(model)?.pop().ok_or_else(missing);
        }
        let number = name.strip_prefix('v').and_then(|number| number.parse().ok());
        let version = match number {
            Some(number) => VersionNumber(number),
            None => {
                let alias: Alias = name.parse()?;
                self.aliases(model)?.get(&alias).copied().ok_or_else(missing)?
            }
        };
        self.version(model, version)
    }
}

/// Keeps registered models in memory.
#[derive(Debug, Default)]
pub struct InMemoryModelRegistry {
    models: RwLock<BTreeMap<ModelName, Registered>>,
}

#[derive(Debug, Default)]
struct Registered {
    last: u64,
    versions: BTreeMap<VersionNumber, ModelVersion>,
    aliases: BTreeMap<Alias, VersionNumber>,
    protection: BTreeMap<Alias, Protection>,
    moves: Vec<AliasMove>,
}

impl InMemoryModelRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

fn not_found(model: &ModelName, version: VersionNumber) -> StoreError {
    StoreError::not_found("model version", format!("{model}@{version}"))
}

impl ModelRegistry for InMemoryModelRegistry {
    fn register(
        &self,
        model: &ModelName,
        record: RecordId,
        at: Timestamp,
    ) -> Result<VersionNumber, StoreError> {
        let mut models = self.models.write();
        let registered = models.entry(model.clone()).or_default();
        registered.last += 1;
        let version = VersionNumber(registered.last);
        let entry = ModelVersion { model: model.clone(), version, record, registered_at: at };
        registered.versions.insert(version, entry);
        Ok(version)
    }

    fn version(
        &self,
        model: &ModelName,
        version: VersionNumber,
    ) -> Result<ModelVersion, StoreError> {
        let models = self.models.read();
        let found = models.get(model).and_then(|registered| registered.versions.get(&version));
        found.cloned().ok_or_else(|| not_found(model, version))
    }

    fn versions(&self, model: &ModelName) -> Result<Vec<ModelVersion>, StoreError> {
        let models = self.models.read();
        Ok(models.get(model).map(|r| r.versions.values().cloned().collect()).unwrap_or_default())
    }

    fn delete_version(
        &self,
        model: &ModelName,
        version: VersionNumber,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let registered = models.get_mut(model).ok_or_else(|| not_found(model, version))?;
        if !registered.versions.contains_key(&version) {
            return Err(not_found(model, version));
        }
        let pointing: Vec<Alias> = registered
            .aliases
            .iter()
            .filter(|(_, to)| **to == version)
            .map(|(a, _)| a.clone())
            .collect();
        if let Some(alias) = pointing.iter().find(|alias| registered.is_protected(alias)) {
            let reason = format!("the protected alias {alias} points at it");
            return Err(StoreError::conflict(
                "model version",
                format!("{model}@{version}"),
                reason,
            ));
        }
        for alias in pointing {
            registered.point(alias, None, at, None);
        }
        registered.versions.remove(&version);
        Ok(())
    }

    fn set_alias(
        &self,
        model: &ModelName,
        alias: &Alias,
        version: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let missing = || match version {
            Some(version) => not_found(model, version),
            None => StoreError::not_found("model", model),
        };
        let registered = models.get_mut(model).ok_or_else(missing)?;
        if version.is_some_and(|version| !registered.versions.contains_key(&version)) {
            return Err(missing());
        }
        let named = approver.is_some_and(|name| !name.trim().is_empty());
        if registered.is_protected(alias) && !named {
            let reason = "it is protected: name who approves the move";
            return Err(StoreError::conflict("alias", alias, reason));
        }
        registered.point(alias.clone(), version, at, approver);
        Ok(())
    }

    fn protect(
        &self,
        model: &ModelName,
        alias: &Alias,
        protection: Protection,
    ) -> Result<(), StoreError> {
        let mut models = self.models.write();
        let registered =
            models.get_mut(model).ok_or_else(|| StoreError::not_found("model", model))?;
        registered.protection.insert(alias.clone(), protection);
        Ok(())
    }

    fn aliases(&self, model: &ModelName) -> Result<BTreeMap<Alias, VersionNumber>, StoreError> {
        Ok(self.models.read().get(model).map(|r| r.aliases.clone()).unwrap_or_default())
    }

    fn moves(&self, model: &ModelName) -> Result<Vec<AliasMove>, StoreError> {
        Ok(self.models.read().get(model).map(|r| r.moves.clone()).unwrap_or_default())
    }
}

impl Registered {
    fn is_protected(&self, alias: &Alias) -> bool {
        self.protection.get(alias) == Some(&Protection::Protected)
    }

    fn point(
        &mut self,
        alias: Alias,
        to: Option<VersionNumber>,
        at: Timestamp,
        approver: Option<&str>,
    ) {
        let from = match to {
            Some(version) => self.aliases.insert(alias.clone(), version),
            None => self.aliases.remove(&alias),
        };
        if from != to {
            self.moves.push(AliasMove {
                alias,
                from,
                to,
                at,
                approver: approver.map(str::to_owned),
            });
        }
    }
}
